"""What knows a paper: studies, tables beside the published ones, and drawings; on results made by hand."""

import inspect
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import ttest_1samp
from study_helpers import all_results, result, study_of

from rkd import METHODS, OnLists, Run
from rkd.study import tables
from rkd.study.figures import looks
from rkd.study.papers import both, mkd, unkd
from rkd.study.scales import SCALES
from rkd.study.study import MARK, Study


class Own(OnLists):
    """A method that no paper knows."""

    label = "My own"

    def draw(self, student, epoch):
        return self.unseen(3), {}

    def user_loss(self, scores):
        return scores.mean(1)


# -------------------------------------------------------------------------------------------------------------- studies

def test_unkds_ablations_hold_its_sweeps_and_second_choices():
    study = unkd.ablations(SCALES["laptop"], ("ml-100k",))
    tuned = study.groups["unkd"]
    assert [dict(run.settings)["groups"] for k in unkd.GROUPS for run in study.groups[f"K = {k}"][:1]] == [*range(1, 9)]
    setting = dict(tuned[0].settings)
    for label in (f"K = {setting['groups']}", "λ × 1", f"μ = {setting['mu']}"):
        assert study.groups[label] == tuned
    assert [run.seed for run in study.groups["K = 1"]] == [*range(5)]  # what groups are compared with
    assert [run.weight / tuned[0].weight for label in ("λ × 0.25", "λ × 4") for run in study.groups[label]] == (
        [0.25] * 3 + [4] * 3)
    check_second_choices(study, (*unkd.COMPARED[1:], "rrd"))


def check_second_choices(study, methods):
    """Of all of these, but for those whose choices are the same, the runs of the tail's choice with few seeds."""
    for method in methods:
        runs = SCALES["laptop"].runs("ml-100k", [method], few=True, choice="tail")
        same = runs == study.groups[method][:len(runs)]
        assert study.groups.get(f"{method}, tail", "none") == ("none" if same else runs)
    assert [label for label in study.groups if label.endswith(", tail")]


def test_what_stands_in_a_study_twice_has_one_result():
    """What has the same settings under two labels has the same seeds under both."""
    scale, first = SCALES["laptop"], ("ml-100k",)
    for study in (unkd.ablations, both.head_to_head, mkd.nkd, mkd.cpd, mkd.sld, mkd.mkd):
        seeds = {}
        for label, group in study(scale, first).groups.items():
            seeds.setdefault(replace(group[0], seed=0), {})[label] = tuple(run.seed for run in group)
        assert all(len(set(of.values())) == 1 for of in seeds.values()), seeds


def test_debiased_teachers_students_are_also_given_the_plain_teachers_settings():
    """All is the same but the method, and with it the teacher."""
    groups = unkd.ablations(SCALES["laptop"], ("ml-100k",)).groups
    for label, method, theirs in (("pd-cd, CD's settings", "pd-cd", "cd"), ("pd-htd, HTD's settings", "pd-htd", "htd")):
        matched = groups.get(label, groups[method])  # left out where these were chosen for both
        assert (label in groups) == (matched != groups[method])
        assert [replace(run, method=theirs) for run in matched] == groups[theirs]
        assert {(run.method, run.teacher.method) for run in matched} == {(method, "pd")}


def test_de_rrds_faults_one_by_one_and_all():
    groups = unkd.ablations(SCALES["laptop"], ("ml-100k",)).groups
    plain, faulty = groups["de-rrd"][0], METHODS["de-rrd"].as_released
    for fault, names in unkd.FAULTS.items():
        (run, *_) = groups[f"de-rrd, {fault}"]
        assert dict(run.settings).items() - dict(plain.settings).items() == {(name, faulty[name]) for name in names}
        assert run == replace(plain, settings=dict(run.settings))
    together, released = groups["de-rrd, all of these"][0], groups[unkd.RELEASED][0]
    assert dict(together.settings).items() >= faulty.items() and together.weight == plain.weight
    assert released == replace(together, weight=1.0)


def test_both_papers_methods_meet_on_unkds_split():
    study = both.head_to_head(SCALES["laptop"], ("ml-100k",))
    groups = study.groups
    assert {run.split for group in groups.values() for run in group} == {"unkd"}
    for method in both.COMPARED:
        assert [(run.method, run.seed) for run in groups[method]] == [(method, seed) for seed in range(5)]
    assert [dict(groups[f"K = {k}"][0].settings)["groups"] for k in both.STRATA] == list(both.STRATA)
    assert [dict(groups[f"τ = {tau}"][0].settings)["tau"] for tau in both.TAUS] == list(both.TAUS)
    check_second_choices(study, both.COMPARED[1:])


# --------------------------------------------------------------------------------------------------------------- tables

def test_table1_stands_on_the_papers_scale():
    scaled = result("none", metrics={"recall@10": 0.1, "popular/recall@10": 0.3, "unpopular/recall@10": 0.2,
                                     "popular/recall_unkd@10": 0.25, "unpopular/recall_unkd@10": 0.15})
    table = unkd.table1(study_of([scaled]).tidy())["Student"]
    assert table.to_dict() == {("ml-1m", "popular", "ours"): "0.2500", ("ml-1m", "popular", "published"): "0.2156",
                               ("ml-1m", "unpopular", "ours"): "0.1500", ("ml-1m", "unpopular", "published"): "0.0250",
                               ("ml-1m", "all", "ours"): "0.1000"}


def test_table1_sets_ours_beside_the_published():
    table = unkd.table1(study_of(all_results("ml-100k", "ml-1m")).tidy())
    assert table.loc[("ml-1m", "unpopular", "published")].to_dict() == {
        "Teacher": "0.0517", "Student": "0.0250", "RD": "0.0242", "CD": "0.0179"}  # the paper's Table 1
    assert table.loc[("ml-1m", "popular", "ours"), "Student"] == "0.2100 ± 0.0141"
    assert ("ml-100k", "popular", "published") not in table.index  # not a data set of the paper's
    assert ("ml-1m", "all", "published") not in table.index  # nor in its Table 1
    own = replace(result("rd"), run=Run("ml-1m", Own))
    table = unkd.table1(study_of([result("none"), own]).tidy())
    assert table.loc[("ml-1m", "popular", "published")].to_dict() == {"Student": "0.2156", "Own": ""}


def test_the_published_table1():
    table = unkd.published_table1("citeulike")
    assert table.loc["unpopular"].to_dict() == {"Student": 0.0095, "Teacher": 0.0537, "RD": 0.0085, "CD": 0.0088,
                                                "DE-RRD": 0.0075, "HTD": 0.0068}
    assert list(table.index) == ["popular", "unpopular"]


def test_table2_sets_ours_beside_the_published():
    facts = {name: {"users": 1, "items": 2, "interactions": 3, "sparsity_percent": 4.5, "fingerprint": ""}
             for name in ("citeulike", "ml-100k")}
    table = unkd.table2(facts)
    assert table.loc[("citeulike", "published")].tolist() == [5219, 25181, 125580, 99.91]
    assert table.loc[("ml-100k", "ours")].tolist() == [1, 2, 3, 4.5] and len(table) == 3


def unkd_study(*backbones, methods=("none", "cd", "de-rrd", "pd-cd", "unkd"), dataset="ml-1m") -> Study:
    """Two seeds of each method on each backbone, metrics by hand. User by user UnKD is certainly other than the plain
    student, and on average just like the rest."""
    users = np.random.default_rng(0).standard_normal(40)

    def of(method, backbone, seed):
        value = 0.1 + 0.01 * methods.index(method) + 0.002 * seed + 0.1 * (backbone == "lightgcn")
        names = ("recall@10", "ndcg@10", *unkd.RECALLS.values())
        by_user = {"none": users - 1, "unkd": users + 0.01 * users[::-1]}.get(method, users - 2 * users[::-1])
        return result(method, seed, dataset, dict.fromkeys(names, value), backbone,
                      by_user=dict.fromkeys(names, by_user.tolist()))

    return study_of([of(method, backbone, seed) for backbone in backbones or ("mf", "lightgcn") for method in methods
                     for seed in (0, 1)])


def test_table3_by_backbone_with_marks_and_the_published():
    table = unkd.table3(unkd_study())
    assert list(table.index) == [("ml-1m", m) for m in ("Student", "CD", "DE-RRD", "PD-CD", "UnKD")]
    assert table.index.names == ["dataset", "method"]
    row = table.loc[("ml-1m", "Student")]
    assert row["MF", "recall@10", "ours"] == "0.1010 ± 0.0014 †"  # 0.100 and 0.102: 0.002 / √2
    assert row["LightGCN", "ndcg@10", "ours"] == "0.2010 ± 0.0014 †"
    assert row["MF", "recall@10", "published"] == "0.1435" and row["LightGCN", "ndcg@10", "published"] == "0.2581"
    assert table.loc[("ml-1m", "UnKD"), ("MF", "ndcg@10", "published")] == "0.2615"
    assert table.loc[("ml-1m", "DE-RRD"), ("MF", "recall@10", "published")] == "0.1436"
    assert table.loc[("ml-1m", "PD-CD"), ("MF", "recall@10", "published")] == ""  # not in the paper's Table 3
    assert not any(MARK in cell for m in ("CD", "UnKD") for cell in table.loc[("ml-1m", m)])


@pytest.mark.parametrize("dataset, published", [("ml-1m", "0.1547"), ("citeulike", "0.0863")])
def test_a_method_that_the_paper_has_not_leaves_the_published_cell_empty(dataset, published):
    study = unkd_study("mf", methods=("none", "sld", Own, "unkd"), dataset=dataset)
    table = unkd.table3(study).loc[dataset]
    assert table["MF", "recall@10", "published"].to_dict() == {
        "Student": {"ml-1m": "0.1435", "citeulike": "0.0760"}[dataset], "SLD": "", "My own": "", "UnKD": published}
    assert table["MF", "recall@10", "ours"].tolist() == [
        "0.1010 ± 0.0014 †", "0.1110 ± 0.0014", "0.1210 ± 0.0014", "0.1310 ± 0.0014"]
    assert unkd.table4(study).loc[(dataset, "My own"), ("MF", "recall@10", "published")] == ""


def test_table3_without_a_published_data_set():
    table = unkd.table3(unkd_study("mf", dataset="ml-100k"))
    assert [column[2] for column in table.columns] == ["ours", "ours"]


def test_table3_of_two_data_sets_and_a_method_that_one_lacks():
    study = study_of([*unkd_study("mf", methods=("none", "unkd")),
                      *unkd_study("mf", methods=("none", "cd", "unkd"), dataset="citeulike")])
    table = unkd.table3(study)
    assert list(table.index) == [("ml-1m", "Student"), ("ml-1m", "UnKD"), ("citeulike", "Student"),
                                 ("citeulike", "UnKD"), ("citeulike", "CD")]
    assert table.loc[("citeulike", "CD"), ("MF", "ndcg@10", "published")] == "0.0518"


def test_a_method_at_other_settings_has_a_row_of_its_own():
    """Its figures are not mixed with the method's, and nothing published stands beside it."""
    study = unkd_study("mf", methods=("none", "unkd"))
    other = [replace(r, key=f"other {r.key}", metrics=dict.fromkeys(r.metrics, 0.5)) for r in study["unkd"]]
    for one, r in zip(other, study["unkd"]):
        one.by_user = r.by_user
    row = unkd.table3(study | Study({}, {unkd.AUTHORS: other}), ("recall@10",))["MF", "recall@10"].loc["ml-1m"]
    assert row["ours"].to_dict() == {"Student": "0.1010 ± 0.0014 †", "UnKD": "0.1110 ± 0.0014",
                                     "UnKD, its authors' settings": "0.5000 ± 0.0000"}
    assert row["published"].tolist() == ["0.1435", "0.1547", ""]


def test_table3_with_its_own_tests():
    """UnKD's users are above the student's for certain, and CD's own."""
    values = np.linspace(0, 1, 30)
    groups = {"unkd": values, "none": values / 2, "cd": values[::-1].copy()}
    study = study_of([result(method, seed, metrics={"recall@10": float(v.mean())}, by_user={"recall@10": v.tolist()})
                      for method, v in groups.items() for seed in (0, 1)])
    cells = unkd.table3(study, ("recall@10",))["MF", "recall@10", "ours"].loc["ml-1m"]
    assert cells.to_dict() == {"UnKD": "0.5000 ± 0.0000", "Student": "0.2500 ± 0.0000 †", "CD": "0.5000 ± 0.0000"}


def test_table4_sets_halves_beside_the_published():
    table = unkd.table4(unkd_study())
    assert table.loc[("ml-1m", "PD-CD"), ("MF", "unpopular/recall_unkd@10", "published")] == "0.0210"
    assert table.loc[("ml-1m", "UnKD"), ("LightGCN", "popular/recall_unkd@10", "published")] == "0.2384"
    assert table.loc[("ml-1m", "Student"), ("MF", "unpopular/recall_unkd@10", "ours")] == "0.1010 ± 0.0014 †"
    assert table.loc[("ml-1m", "Student"), ("LightGCN", "recall@10", "published")] == "0.1456"


def test_costs_are_medians_over_runs_by_hand():
    def runs(method, *seconds):
        return [replace(result(method, seed, per_epoch=x), epochs=10 * (seed + 1)) for seed, x in enumerate(seconds)]

    cost = both.cost(study_of(none=runs("none", 1.0, 2.0, 9.0), cd=runs("cd", 6.0, 3.0, 12.0)), ["cd"])
    assert cost.to_dict("index") == {"CD": {"seconds / epoch": 6.0, "least": 3.0, "most": 12.0, "× Student": 3.0,
                                            "epochs": 20.0, "seconds": 2.0}}


def deciles_of(method, *of_seeds) -> list:
    """A result for each seed of recall in the deciles 1, 2 and 10; NaN: nobody has any held out."""
    return [result(method, seed, metrics={"recall@10": 9.0, "decile 1/recall@20": 9.0} | {
        f"decile {n}/recall@10": x for n, x in zip((1, 2, 10), values)}) for seed, values in enumerate(of_seeds)]


def test_recall_by_decile_by_hand():
    """The differences go by seed: 0.3 and 0.1 in the first, no spread in the last."""
    nan = float("nan")
    study = study_of(none=deciles_of("none", (0.1, nan, 0.2), (0.5, nan, 0.3), (0.9, nan, 0.9)),
                     unkd=deciles_of("unkd", (0.4, nan, 0.3), (0.6, nan, 0.4)))
    plain, less = both.by_decile(study, ["unkd"]), both.by_decile(study, ["unkd"], less="none")
    assert plain.index.tolist() == less.index.tolist() == [("unkd", 1), ("unkd", 10)]
    assert plain["mean"].tolist() == pytest.approx([0.5, 0.35]) and less["mean"].tolist() == pytest.approx([0.2, 0.1])
    expected = ttest_1samp([0.3, 0.1], 0).confidence_interval()
    assert less.iloc[0, 1:].tolist() == pytest.approx([expected.low, expected.high])
    assert less.iloc[1].tolist() == pytest.approx([0.1] * 3)


def test_the_papers_methods_and_data_sets_are_ours():
    for name in ("unkd_table1", "unkd_table3", "unkd_table4"):
        paper = tables.published(name)
        named = set(paper["method"]) if "method" in paper else set(paper.columns[2:])
        assert {unkd.ours_of(method) for method in named} <= {method.label for method in METHODS.values()}
    assert set(tables.published("unkd_table2")["dataset"]) == set(unkd.DATASETS.values())


# ------------------------------------------------------------------------------------------------------------- drawings

def test_mixing_draws_points_neighbours_and_mixtures():
    points, neighbours = np.array([[0.0, 0], [1, 1], [2, 0], [50, 50]]), np.array([1, 2])
    mixtures = {"soft": np.array([[0.5, 0.5], [0.7, 0.1]]), "hard": np.array([[1.0, 0.0]])}
    figure = mkd.mixing(points, (0.25, 0.125), 0, neighbours, mixtures)
    assert [axis.get_title() for axis in figure.axes] == ["soft", "hard"]
    for axis, mixed in zip(figure.axes, mixtures.values()):
        drawn = {part.get_label(): part.get_offsets().tolist() for part in axis.collections}
        assert drawn["mixed"] == mixed.tolist() and drawn["its neighbours"] == points[neighbours].tolist()
        assert drawn["the item"] == [[0, 0]] and drawn["other items"] == points.tolist()
        assert axis.get_xlim()[1] < 5  # cut to what is near
        assert axis.get_xlabel() == "first direction (25% of the variance)"
    assert figure.axes[0].get_ylabel() == "second direction (12%)"


def test_deciles_are_drawn_side_by_side_in_the_looks_given():
    frame = pd.DataFrame({"mean": [0.4, 0.1, 0.5, 0.2], "low": [0.3, 0.0, 0.4, 0.1], "high": [0.5, 0.2, 0.6, 0.3]},
                         index=pd.MultiIndex.from_product([["none", "unkd"], [1, 2]]))
    axis = both.decile_panels({"Recall": frame}, like := looks(["Teacher", "UnKD", "Student"])).axes[0]
    for bars, name, shift, means in zip(axis.containers, ("Student", "UnKD"), (-0.25, 0.25), ([0.4, 0.1], [0.5, 0.2])):
        line = bars.lines[0]
        assert bars.get_label() == name and (line.get_marker(), line.get_color()) == like[name]
        assert line.get_xdata().tolist() == [1 + shift, 2 + shift] and line.get_ydata().tolist() == means
    assert axis.get_ylabel() == "Recall"


def test_every_drawing_is_drawn_here():
    """A new one gets a test of its own. (UnKD's: test_unkd_figures.py)"""
    tested = {"mixing", "discordant", "labels", "decile_panels"}
    functions = [function for module in (unkd, mkd, both) for function in vars(module).values()
                 if inspect.isfunction(function) and function.__module__ == module.__name__]
    assert {f.__name__ for f in functions if inspect.signature(f).return_annotation is Figure} == tested

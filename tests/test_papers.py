"""What knows a paper: studies, tables beside the published ones, and drawings; on results made by hand."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from study_helpers import all_results, result, study_of

from rkd import METHODS, OnLists, Run
from rkd.study import tables
from rkd.study.papers import both, mkd, unkd
from rkd.study.scales import SCALES
from rkd.study.study import MARK, Study


@pytest.fixture(autouse=True)
def closed():
    """No figure is left open."""
    yield
    pyplot.close("all")


class Own(OnLists):
    """A method that no paper knows."""

    label = "My own"

    def draw(self, student, epoch):
        return self.unseen(3), {}

    def user_loss(self, scores):
        return scores.mean(1)


# -------------------------------------------------------------------------------------------------------------- studies

# study → the method's label, and label (of sweeps: before " = ") → the setting that differs
VARIED = {mkd.nkd: ("NKD", {"no mixing": "mix", "the other mix": "mix", "users only": "on", "items only": "on",
                            "K": "k", "α": "alpha"}),
          mkd.cpd: ("CPD (both)", {"pair-wise only": "listwise", "list-wise only": "pairwise",
                                   "random lists": "sampling"}),
          mkd.sld: ("SLD", {"γ": "gamma", "τ": "tau"})}


@pytest.mark.parametrize("study", VARIED, ids=lambda study: study.__name__)
def test_mkds_studies_vary_one_thing_at_a_time(study):
    """Each group is the method as tuned but for one setting; one group of a sweep is as tuned."""
    groups, (ours, settings) = study(SCALES["smoke"], ("synthetic",)).groups, VARIED[study]
    tuned, met = groups[ours][0], {}
    for label, (run, *_) in groups.items():
        name, swept, _ = label.partition(" = ")
        if setting := settings.get(name):
            as_tuned = replace(run, settings=dict(run.settings) | {setting: dict(tuned.settings)[setting]})
            assert as_tuned == tuned and (swept or run != tuned), label
            met.setdefault(name, []).append(run)
    assert met.keys() == settings.keys()
    assert all(len(runs) == 1 or (tuned in runs and len(set(runs)) == len(runs) > 2) for runs in met.values())


def test_every_run_of_mkds_studies_is_on_mkds_split():
    for study in (mkd.nkd, mkd.cpd, mkd.sld, mkd.mkd):
        groups = study(SCALES["laptop"], ("ml-100k",)).groups
        assert {run.split for group in groups.values() for run in group} == {"ratio"}


def test_the_main_study_holds_its_comparisons():
    groups = mkd.mkd(SCALES["smoke"], ("synthetic",)).groups
    assert {*mkd.COMPARED, *mkd.COMBINATIONS} <= set(groups)
    full = dict(groups["mkd"][0].settings)
    for label, on in mkd.SUBSETS.items():
        (run,) = groups[label]
        assert {part: dict(run.settings)[part] for part in mkd.PARTS} == {
            part: full[part] if part in on else 0.0 for part in mkd.PARTS}
    assert [run.dim for dim in mkd.sizes(SCALES["smoke"]) for run in groups[f"mkd d={dim}"]] == [5, 10, 20]
    for part in mkd.PARTS:
        assert [dict(groups[f"{part} × {factor}"][0].settings)[part] for factor in mkd.FACTORS] == [
            full[part] * factor for factor in mkd.FACTORS]
    assert {run.backbone for label, group in groups.items() if "LightGCN" in label for run in group} == {"lightgcn"}


def test_unkds_ablations_hold_its_sweeps_and_second_choices():
    study = unkd.ablations(SCALES["laptop"], ("ml-100k",))
    tuned = study.groups["unkd"][0]
    assert [dict(run.settings)["groups"] for k in unkd.GROUPS for run in study.groups[f"K = {k}"]] == [*range(1, 9)]
    setting = dict(tuned.settings)
    for label in (f"K = {setting['groups']}", f"λ = {tuned.weight}", f"μ = {setting['mu']}"):
        assert study.groups[label] == [tuned]
    for label, (run, *_) in study.groups.items():
        if label.endswith(", tail"):
            method = label.removesuffix(", tail")
            assert (run.method, run.seed) == (method, 0) and run not in study.groups.get(method, [])


def test_both_papers_methods_meet_on_unkds_split():
    groups = both.head_to_head(SCALES["laptop"], ("ml-100k",)).groups
    assert {run.split for group in groups.values() for run in group} == {"unkd"}
    for method in both.COMPARED:
        assert [(run.method, run.seed) for run in groups[method]] == [(method, seed) for seed in (0, 1, 2)]
    assert [dict(groups[f"K = {k}"][0].settings)["groups"] for k in both.STRATA] == list(both.STRATA)
    assert [dict(groups[f"τ = {tau}"][0].settings)["tau"] for tau in both.TAUS] == list(both.TAUS)


def test_what_parts_add_by_hand():
    """The more parts, the better, by 0.1 each; SLD by 0.2 where CPD is on; with the seeds that all have."""
    def ndcg(on):
        return 0.1 * len(on) + 0.1 * ("sld" in on and "cpd" in on)

    groups = {label: [result("none", 0, metrics={"ndcg@10": ndcg(on)})] for label, on in mkd.COMBINATIONS.items()}
    groups["none"].append(result("none", 1, metrics={"ndcg@10": 9.0}))
    gains = mkd.gains(study_of(**groups), "sld")
    assert gains.to_dict() == pytest.approx({"none": 0.1, "nkd": 0.1, "cpd": 0.2, "NKD + CPD": 0.2})


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


def test_points_of_the_plane_by_hand():
    study = study_of(**{"none": all_results()[2:4], "cd, tail": [result("cd")], "K = 2": [result("rd", 1)]})
    points = unkd.points(study, {"cd, tail": "for the tail", "none": "as tuned"})
    nan = pytest.approx(np.nan, nan_ok=True)

    def about(x):
        return pytest.approx(x, abs=1e-5)

    assert points.to_dict("records") == [
        {"name": "CD, tail", "kind": "for the tail", "recall@10": 0.1, "recall@10 low": nan, "recall@10 high": nan,
         "unpopular/recall@10": 0.02, "unpopular/recall@10 low": nan, "unpopular/recall@10 high": nan},
        # 0.10 and 0.11: 0.005 times Student's t of one degree of freedom, 12.706
        {"name": "Student", "kind": "as tuned", "recall@10": about(0.105), "recall@10 low": about(0.105 - 0.06353),
         "recall@10 high": about(0.105 + 0.06353), "unpopular/recall@10": 0.04, "unpopular/recall@10 low": 0.04,
         "unpopular/recall@10 high": 0.04}]


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
    figure = mkd.mixing(points, 0, neighbours, mixtures)
    assert [axis.get_title() for axis in figure.axes] == ["soft", "hard"]
    for axis, mixed in zip(figure.axes, mixtures.values()):
        drawn = {part.get_label(): part.get_offsets().tolist() for part in axis.collections}
        assert drawn["mixed"] == mixed.tolist() and drawn["its neighbours"] == points[neighbours].tolist()
        assert drawn["the item"] == [[0, 0]] and axis.collections[0].get_offsets().tolist() == points.tolist()
        assert axis.get_xlim()[1] < 5  # cut to what is near


def test_labels_are_drawn_in_the_scores_order():
    distributions = {"γ = 1": np.array([0.2, 0.5, 0.3]), "γ = 0": np.array([0.1, 0.1, 0.8])}
    axis = mkd.labels(np.array([1.0, 3.0, 2.0]), distributions, "items").axes[0]
    assert {line.get_label(): line.get_xydata().tolist() for line in axis.lines} == {
        "γ = 1": [[1, 0.5], [2, 0.3], [3, 0.2]], "γ = 0": [[1, 0.1], [2, 0.8], [3, 0.1]]}
    assert axis.get_xlabel() == "items"


def test_every_drawing_is_drawn_here():
    """A new one gets a test of its own. (UnKD's: test_unkd_figures.py)"""
    functions = [function for module in (unkd, mkd, both) for function in vars(module).values()
                 if inspect.isfunction(function) and function.__module__ == module.__name__]
    assert {f.__name__ for f in functions if inspect.signature(f).return_annotation is Figure} == {"mixing", "labels"}

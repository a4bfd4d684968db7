"""Notebooks 1 and 2: effects in worlds whose truth is known, changes, truncations, and the drawings of them."""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from runs_helpers import computed
from scipy.stats import spearmanr, ttest_rel
from study_helpers import all_results, study_of

from rkd import Given, Run, evaluate, split_of
from rkd.datasets.synthetic import probe, world
from rkd.stats import verdicts
from rkd.study.papers import unkd, unkd_figures, worlds
from rkd.study.study import Study

# --------------------------------------------------------------------------------------------------------------- worlds

def test_effects_in_worlds_are_the_probes():
    """Each in the world of its own split_seed."""
    runs = [Run("synthetic-world", split="affinity", dim=4, epochs=2, split_seed=n) for n in (0, 1)]
    found = computed(runs)[0]
    for n, (r, row) in enumerate(zip(found, worlds.effects(Study({}, {"none × 4": found})).to_dict("records"))):
        users, items = r.model.factors()
        expected = probe(users @ items.T, world(seed=n))
        assert row == expected | {"model": "Student × 4", "world": n, "recall@10": r.metrics["recall@10"]}


EFFECTS = pd.DataFrame({"model": ["Teacher", "Teacher", "Student", "Student", "RD × 1", "RD × 1"],
                        "world": [0, 1] * 3, "affinity": [0.5, 0.7, 0.2, 0.4, 0.2, 0.2],
                        "popularity": [0.1, 0.3, 0.1, 0.2, 0.2, 0.3]})


def test_effects_over_worlds_by_hand():
    summary = worlds.summary(EFFECTS)
    assert summary.columns.tolist() == ["affinity-mean", "affinity-std", "popularity-mean", "popularity-std"]
    assert summary.loc["Teacher"].tolist() == pytest.approx([0.6, 0.02**0.5, 0.2, 0.02**0.5])


def test_effects_less_the_students_in_the_same_world():
    """RD's affinity is 0 and 0.2 below the student's: 0.1 times Student's t of one degree of freedom, 12.706."""
    less = worlds.over_student(EFFECTS.iloc[::-1])
    assert less.index.tolist() == ["RD × 1", "Teacher"]
    assert less.loc["RD × 1", "affinity"].tolist() == pytest.approx([-0.1, -0.1 - 1.2706, -0.1 + 1.2706], abs=1e-4)
    assert less.loc["RD × 1", "popularity"].tolist() == pytest.approx([0.1] * 3)


def test_claims_in_worlds_are_paired():
    """RD's affinity is 0.3 and 0.5 below the teacher's; its popularity is the same in each world, in another order."""
    effects = pd.concat([EFFECTS, EFFECTS.iloc[[5, 4]].assign(model="CD")])
    found = worlds.claims(effects, ("affinity", "RD × 1", "below", "Teacher"), ("popularity", "RD × 1", "above", "CD"))
    assert found.index.tolist() == [("affinity", "RD × 1", "below", "Teacher"), ("popularity", "RD × 1", "above", "CD")]
    assert found["difference"].tolist() == pytest.approx([-0.4, 0]) and (found["seeds"] == 2).all()
    expected = ttest_rel([0.2, 0.2], [0.5, 0.7])
    assert found["p"].iloc[0] == pytest.approx(expected.pvalue) and np.isnan(found["p"].iloc[1])
    assert verdicts(found).splitlines()[1] == "popularity: RD × 1 above CD: undecided (+0.0000, 2 seeds)"


def test_those_who_know_the_truth_by_a_loop():
    """Shares in one world, user by user from the sorted scores."""
    truth, found = world(seed=0), worlds.truths(1)
    counts = truth.split.train.item_counts
    order = counts.argsort(descending=True, stable=True).tolist()
    passed, unpopular = 0, set(order)
    for item in order:
        if passed + counts[item] / 2 < counts.sum() / 2:
            unpopular.remove(item)
        passed += counts[item]
    seen = [set() for _ in range(truth.split.n_users)]
    for user, item in zip(truth.split.train.users.tolist(), truth.split.train.items.tolist()):
        seen[user].add(item)

    def best(scores):
        lists = [[i for i in row if i not in seen[u]][:10]
                 for u, row in enumerate(scores.argsort(1, descending=True).tolist())]
        return np.mean([[i in unpopular for i in items] for items in lists])

    expected = [np.mean([i in unpopular for i in part.items.tolist()])
                for part in (truth.split.valid, truth.split.test)]  # as many for each user
    expected += [best(truth.affinity + truth.effect), best(truth.affinity)]
    assert found["mean"].tolist() == pytest.approx(expected, abs=1e-6)
    assert found["kind"].tolist() == ["data", "data", "reference", "reference"]


def test_the_plane_is_drawn_around_the_student():
    effects = pd.concat([EFFECTS, EFFECTS.iloc[4:].assign(model="RD × 4", affinity=[0.6, 0.8]),
                         EFFECTS.iloc[4:].assign(model="CD × 1")])
    less = worlds.over_student(effects)
    axis = worlds.plane(less).axes[0]
    lines = [part for part in axis.collections if part.get_label() in ("RD", "CD")]
    for part, models in zip(lines, (["RD × 1", "RD × 4"], ["CD × 1"])):
        expected = less.loc[models, [("affinity", "mean"), ("popularity", "mean")]].to_numpy()
        np.testing.assert_allclose(part.get_offsets(), expected)
    legend = axis.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["RD", "CD", "Student"]
    assert legend.get_title().get_text() == "Teacher: (+0.300, +0.050)"


# -------------------------------------------------------------------------------------------------------------- results

def test_changes_are_paired_by_seed_and_stand_beside_the_published():
    """Popular RD: 0.25 / 0.20 and 0.27 / 0.22 of the student's; the paper on MovieLens-1M: 0.2237 / 0.2156."""
    study = study_of(all_results("ml-1m", "ml-100k"))
    found = unkd.changes(study, {"ml-1m": "movielens"})
    assert list(found.index) == [(dataset, label, half) for dataset in ("ml-1m", "ml-100k") for label in ("rd", "cd")
                                 for half in ("popular", "unpopular")]
    row = found.loc[("ml-1m", "rd", "popular")]
    assert row["mean"] == pytest.approx((0.25 / 0.20 + 0.27 / 0.22) / 2 - 1)
    reach = abs(0.25 / 0.20 - 0.27 / 0.22) / 2 * 12.706
    assert row["high"] - row["mean"] == pytest.approx(reach, rel=1e-4) == row["mean"] - row["low"]
    assert row["published"] == pytest.approx(0.2237 / 0.2156 - 1)
    assert found["published"].notna().tolist() == [True] * 4 + [False] * 4


def test_the_published_halves_are_of_both_tables():
    """UnKD's own figures on MovieLens-1M stand in Table 4 alone."""
    found = unkd.published_halves("movielens")
    assert found["UnKD"].to_dict() == {"popular": 0.2205, "unpopular": 0.0311}
    assert found["DE-RRD"].to_dict() == {"popular": 0.2315, "unpopular": 0.0113} and found.notna().all(axis=None)


def test_truncated_teachers_and_mean_scores_by_a_singular_value_decomposition():
    run = Run("synthetic", "teacher", dim=6, epochs=2)
    (found,), _ = computed([run])
    users, items = (x.double() for x in found.model.factors())
    left, values, right = torch.linalg.svd(users @ items.T, full_matrices=False)
    table = unkd.truncated([found], [2, 6], ["recall@10", "aplt@10"])
    for dim in (2, 6):
        expected = evaluate(Given((left[:, :dim] * values[:dim], right[:dim].T)), split_of(run), ks=10)
        for metric in ("recall@10", "aplt@10"):
            assert table.loc[dim, (metric, "mean")] == pytest.approx(expected[metric], abs=1e-6)
    cut = unkd.cut(found, 2)
    claims = study_of(teacher=[found], cut=[cut]).claims(("cut", "below", "teacher", "recall@10"))
    difference = table.loc[2, ("recall@10", "mean")] - found.metrics["recall@10"]
    assert difference != 0 and claims["difference"].tolist() == pytest.approx([difference], abs=1e-6)
    assert claims["users"].tolist() == [len(found.by_user["users"])] and cut.run == run
    mean = (users @ items.T).mean(0).numpy()
    np.testing.assert_allclose(unkd.mean_scores(found), mean, rtol=1e-4, atol=1e-6)
    rho = unkd.popularity_correlations(study_of([found])).loc["teacher", "mean"]
    assert rho == pytest.approx(spearmanr(mean, split_of(run).train.item_counts).statistic, abs=1e-4)


# ------------------------------------------------------------------------------------------------------------- drawings

def interval(*means):
    return pd.DataFrame({"mean": means, "low": [m - 0.1 for m in means], "high": [m + 0.1 for m in means]})


def bars(axis):
    """Each error bar drawn: [(x, y) of its points], [its ends across]."""
    return [(part.lines[0].get_xydata().tolist(), [segment.tolist() for line in part.lines[2]
                                                   for segment in line.get_segments()]) for part in axis.containers]


def test_shares_are_drawn_as_they_are():
    table = interval(0.5, 0.25).set_index(pd.Index(["test data", "lists"])).assign(kind=["data", "model"])
    axes = unkd_figures.shares({"ml-1m": table, "citeulike": table.iloc[:1]}).axes
    assert [axis.get_title() for axis in axes] == ["ml-1m", "citeulike"]
    points = bars(axes[0])
    assert [part[0] for part in points] == [[[0.5, 0]], [[0.25, 1]]]
    np.testing.assert_allclose(points[1][1], [[[0.15, 1], [0.35, 1]]])
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["test data", "lists"]
    assert [text.get_text() for text in axes[0].texts] == ["50%", "25%"]
    assert axes[0].lines[0].get_xdata() == [0.5, 0.5]


def test_changes_over_the_student_are_drawn_as_they_are():
    index = pd.MultiIndex.from_product([["ml-1m", "own"], ["rd", "cd"], ["popular", "unpopular"]],
                                       names=["dataset", "label", "half"])
    changes = interval(*np.arange(8) / 10).set_index(index).assign(published=[0.7, -0.7] * 2 + [np.nan] * 4)
    figure = unkd_figures.change_over_student(changes, "paper")
    axes = figure.axes
    assert [axis.get_title() for axis in axes] == ["ml-1m", "own"]
    for axis, start in zip(axes, (0, 0.4)):
        popular, unpopular = ([x for x, _ in part[0]] for part in bars(axis))
        np.testing.assert_allclose([popular, unpopular], [[start, start + 0.2], [start + 0.1, start + 0.3]])
        assert [text.get_text() for text in axes[0].get_yticklabels()] == ["RD", "CD"]
    hollow = [line.get_xdata().tolist() for line in axes[0].lines if line.get_label().endswith(", paper")]
    assert hollow == [[0.7, 0.7], [-0.7, -0.7]]
    assert not any(line.get_label().endswith(", paper") for line in axes[1].lines)
    told = {text.get_text() for text in figure.legends[0].get_texts()}
    assert told == {"popular", "unpopular", "popular, paper", "unpopular, paper"}


def test_scores_are_drawn_standardised_against_popularity():
    """The scores 1, 2 and 3 are ∓ √1.5 and 0; an item that nobody has is drawn at 0."""
    scores = {"Teacher": np.array([1.0, 2, 3]), "RD": np.array([3.0, 2, 1])}
    left, right = unkd_figures.score_against_popularity(
        np.array([0, 10, 100]), scores, interval(0.9, 0.8).set_index(pd.Index(["teacher", "rd"]))).axes
    teacher, rd = left.collections
    np.testing.assert_allclose(teacher.get_offsets(), [[0, -(1.5**0.5)], [10, 0], [100, 1.5**0.5]])
    np.testing.assert_allclose(rd.get_offsets()[:, 1], [1.5**0.5, 0, -(1.5**0.5)])
    assert bars(right)[0][0] == [[0.9, 0], [0.8, 1]]
    assert [text.get_text() for text in right.get_yticklabels()] == ["Teacher", "RD"]


def test_low_rank_draws_a_line_and_the_students_beside_their_size():
    cut = pd.concat({"recall@10": interval(0.1, 0.2)}, axis=1).set_index(pd.Index([5, 10]))
    students = pd.concat({"recall@10": interval(0.3, 0.4)}, axis=1).set_index(pd.Index(["none", "rd"]))
    axis = unkd_figures.low_rank(cut, students, 10, {"recall@10": "Recall"}).axes[0]
    line, *marks = (part[0] for part in bars(axis))
    assert line == [[5, 0.1], [10, 0.2]]
    np.testing.assert_allclose(marks, [[[8, 0.3]], [[12.5, 0.4]]])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["the teacher, truncated", "Student", "RD"]


def test_what_is_left_within_groups_is_drawn_by_group():
    table = interval(0.5, 0.25).set_index(pd.Index([1, 4]))
    axis = unkd_figures.within_groups({"the teacher": table, "made up": table / 2}).axes[0]
    assert [part[0] for part in bars(axis)] == [[[1, 0.5], [4, 0.25]], [[1, 0.25], [4, 0.125]]]


def drawn_graph(axis):
    """(nodes, arrow → its line) of a causal graph as drawn."""
    nodes = {xy[:2]: letter for letter, xy in unkd_figures.NODES.items()}
    arrows = {nodes[arrow.xyann] + nodes[arrow.xy]: arrow.arrow_patch.get_linestyle() for arrow in axis.texts
              if hasattr(arrow, "arrow_patch")}
    return {text.get_text() for text in axis.texts if len(text.get_text()) == 1}, arrows


def test_causal_graphs():
    """The paper's: U → M ← I → Z → Y ← M, and with Z given, Z → Y cut."""
    nodes, arrows = drawn_graph(unkd_figures.causal_graph().axes[0])
    assert nodes == set("UIMZY") and arrows == dict.fromkeys(["UM", "IM", "MY", "IZ", "ZY"], "-")
    figure = unkd_figures.cut_graph()
    nodes, arrows = drawn_graph(figure.axes[0])
    assert nodes == set("UIMZY×") and arrows == dict.fromkeys(["UM", "IM", "MY", "IZ"], "-") | {"ZY": ":"}
    filled = [tuple(circle.get_offsets()[0]) for circle in figure.axes[0].collections
              if circle.get_facecolor()[0].tolist() != [1, 1, 1, 1]]
    assert filled == [unkd_figures.NODES["Z"][:2]]


def test_drawn_pairs_stand_where_their_items_do():
    """Items 0 and 5 were seen; two pairs in the first group, one in the second: a panel each."""
    popularity, scores = torch.tensor([90, 80, 70, 3, 2, 1, 60]), torch.tensor([9.0, 8, 7, 6, 5, 4, 3])
    group, unseen = torch.tensor([0, 0, 0, 1, 1, 1, 0]), torch.tensor([1, 2, 3, 4, 6])
    better, worse = torch.tensor([1, 2, 3]), torch.tensor([2, 6, 4])
    first, second = unkd_figures.drawn_pairs(popularity, scores, group, unseen, better, worse).axes

    def points(axis):  # the unseen items, the better, the worse
        return [part.get_offsets().tolist() for part in axis.collections]

    assert points(first) == [[[80, 8], [70, 7], [60, 3]], [[80, 8], [70, 7]], [[70, 7], [60, 3]]]
    assert points(second) == [[[3, 6], [2, 5]], [[3, 6]], [[2, 5]]]
    assert [line.get_xydata().tolist() for line in first.lines] == [[[80, 8], [70, 7]], [[70, 7], [60, 3]]]
    assert [axis.get_title() for axis in (first, second)] == ["group 1", "group 2"]


def test_every_drawing_is_drawn_here():
    """A new one gets a test of its own."""
    functions = [function for module in (unkd_figures, worlds) for function in vars(module).values()
                 if inspect.isfunction(function) and function.__module__ == module.__name__]
    assert {f.__name__ for f in functions if inspect.signature(f).return_annotation is Figure} == {
        "shares", "change_over_student", "score_against_popularity", "low_rank", "within_groups", "causal_graph",
        "cut_graph", "drawn_pairs", "plane"}

"""What a byte is worth: points, staircases, choices within a budget and claims, on results made by hand."""

import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

import rkd
from rkd import compress, stats, tune
from rkd.compress import quantize, truncate
from rkd.methods import name_of
from rkd.references import ials
from rkd.study.papers import both, frontier, frontier_figures, mkd
from rkd.study.papers.frontier import BUDGETS, FRONTS, METRICS, Point, chosen, claims, decisions, point, table
from rkd.study.scales import SCALES
from rkd.tuned import searched_as, tuned


@pytest.fixture(scope="module")
def split():
    return rkd.load("synthetic").split("unkd", 0)


def made(label, kind, n_bytes, valid, level=0.5, seeds=3, users=30):
    """A point whose users lie around a level, the same users whatever the point."""
    noise = np.random.default_rng(0).normal(0, 0.01, (seeds, users)) * (1 + level)
    return Point(label, kind, n_bytes, valid, {metric: pd.DataFrame(noise + level) for metric in METRICS})


POINTS = [made("Teacher", "teacher", 400, 0.9, 0.8), made("4 bits", "rounded", 54, 0.8, 0.7),
          made("cut to 2", "cut", 8, 0.3, 0.2), made("cut to 10", "cut", 40, 0.6, 0.75),
          made("SLD", "distilled", 40, 0.7, 0.65), made("SLD, 4 bits", "distilled, rounded", 9, 0.65, 0.6),
          made("iALS", "no teacher", 20, 0.62, 0.62), made("EASE's", "distilled from EASE", 5, 0.99, 0.99)]
DISTILLED, NO_TEACHER, NO_TRAINING = FRONTS.values()


# -------------------------------------------------------------------------------------------------------------- studies

def test_the_study_takes_runs_that_other_notebooks_make():
    """Of the usual size all, of the larger ones none's and MKD's."""
    laptop = SCALES["laptop"]
    groups = frontier.students(laptop, ("ml-100k",)).groups
    others = both.head_to_head(laptop, ("ml-100k",)).groups | mkd.mkd(laptop, ("ml-100k",)).groups
    for label in ("teacher", *frontier.STUDENTS, "none, d = 20", "none, d = 50", "mkd, d = 20", "mkd, d = 50"):
        assert groups[label] == others[label], label
    assert {run.dim for label, of in groups.items() if label != "teacher" for run in of} == {10, 20, 50}
    assert {len(of) for label, of in groups.items() if "," in label} == {len(laptop.few)}
    assert all(dict(run.settings)["bits"] == 4 for run in groups["sld-rounded, d = 20"])


def test_variants_have_their_methods_settings():
    """But for what is their own."""
    fingerprint = rkd.CATALOG["ml-100k"].fingerprint
    for method, variants in (("sld", ("sld-warm", "sld-rounded", "sld-ease")),
                             ("unkd", ("unkd-warm", "unkd-from-rounded"))):
        for variant in variants:
            assert name_of(searched_as(variant)) == method
            assert tuned(fingerprint, "mf", variant) == tuned(fingerprint, "mf", method)
    assert searched_as("unkd") is rkd.METHODS["unkd"]


# --------------------------------------------------------------------------------------------------------------- points

def test_a_point_has_each_seeds_users_and_all_its_bytes_shared_out(split):
    models = {seed: quantize(rkd.MF(split, 6, seed), 3) for seed in (0, 1)}
    one = point("x", "rounded", models, split)
    assert one.n_bytes == 3 + 4  # six times three bits, and the scale
    assert (one.dim, one.bits) == (6, 3)
    valid = [rkd.evaluate(model, split, "valid", 10)["ndcg@10"] for model in models.values()]
    assert one.valid == pytest.approx(np.mean(valid))
    for metric, values in one.by_user.items():
        assert list(values.index) == [0, 1]
        assert values.mean(axis=1).tolist() == pytest.approx(
            [rkd.evaluate(m, split, ks=10)[metric] for m in models.values()], rel=1e-5)


def test_what_needs_no_training_and_what_does(monkeypatch, split):
    """Kinds and bytes of every point, of results made by hand."""
    class Found:
        def __init__(self, method, seed, dim):
            self.run = rkd.Run("synthetic", method, seed, dim=dim)
            self.model = rkd.MF(split, dim, seed)

    of = {name: [Found(name, seed, dim) for seed in (0, 1)]
          for name, dim in (("teacher", 32), ("none", 8), ("unkd-warm", 8), ("sld-ease", 8))}
    found = {one.label: one for one in frontier.untrained(of["teacher"])}
    assert found["Teacher"].n_bytes == 128 and found["cut to 20"].n_bytes == 80 and found["4 bits"].n_bytes == 16 + 4
    assert found["cut to 20, 4 bits"].n_bytes == 10 + 4 and "cut to 40" not in found
    assert {one.kind for one in found.values()} <= {"teacher", *NO_TRAINING}
    shapes = {name: (one.dim, one.bits) for name, one in found.items()}
    assert shapes["Teacher"] == (32, 32) and shapes["cut to 20, 4 bits"] == (20, 4)
    wanted = rkd.evaluate(truncate(of["teacher"][0].model, 5), split, ks=10)["ndcg@10"]
    assert found["cut to 5"].by_user["ndcg@10"].loc[0].mean() == pytest.approx(wanted, rel=1e-5)

    study = frontier.Study({label: [one.run for one in group] for label, group in of.items()}, of)
    students = {one.label: (one.kind, one.n_bytes) for one in frontier.trained(study)}
    assert students["Student"] == ("no teacher", 32) and students["Student, 2 bits"] == ("no teacher, rounded", 2 + 4)
    assert students["UnKD, warm start, 4 bits"] == ("distilled, rounded", 4 + 4)
    assert students["SLD of EASE"] == ("distilled from EASE", 32) and len(students) == 3 * (1 + len(frontier.ROUNDED))


def test_references_and_what_they_keep(split):
    found = {one.label: one for one in frontier.references(split, 50.0, 7)}
    entities, n = split.n_users + split.n_items, split.n_items
    assert [one.n_bytes * entities for one in found.values()] == pytest.approx([4 * n * n, 8 * 7 * n, 4 * n])
    assert {(one.dim, one.bits) for one in found.values()} == {(None, None)}
    best = rkd.evaluate(rkd.references.ease(split, 50.0), split, ks=10)["ndcg@10"]
    assert found["EASE"].by_user["ndcg@10"].loc[0].mean() == pytest.approx(best, rel=1e-5)


def test_ials_is_chosen_on_validation_of_as_many_trials_as_any_method(split, monkeypatch):
    """With the first seed; then it is made with every seed, as it is and rounded."""
    pytest.importorskip("implicit")
    assert np.prod([len(values) for values in frontier.IALS.values()]) == tune.N
    monkeypatch.setattr(frontier, "IALS", {"l2": (2.0, 5.0), "alpha": (2.0, 5.0), "iterations": (2,)})
    found = frontier.factorised(split, (3, 6), seeds=(4, 5))
    assert [one.label for one in found if "bits" not in one.label] == ["iALS", "iALS, d = 6"]
    assert {(one.kind, one.dim, one.bits) for one in found if one.dim == 3} == {
        ("no teacher", 3, 32), *(("no teacher, rounded", 3, bits) for bits in frontier.ROUNDED)}

    def quality(part, seed, trial):
        return rkd.evaluate(ials(split, 6, *trial, 2, seed=seed), split, part, 10)["ndcg@10"]

    trials = [(l2, alpha) for l2 in (2.0, 5.0) for alpha in (2.0, 5.0)]
    best, on_test = (max(trials, key=partial(quality, part, 4)) for part in ("valid", "test"))
    assert best != on_test
    for seed in (4, 5):
        assert found[5].by_user["ndcg@10"].loc[seed].mean() == pytest.approx(quality("test", seed, best), rel=1e-5)


def test_without_implicit_a_line_says_so(split, monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    lines = []
    assert frontier.factorised(split, (3,), (0,), lines.append) == []
    assert lines == ["iALS is left out: iALS needs implicit: pip install implicit"]


# --------------------------------------------------------------------------------------------------------------- tables

def test_a_staircase_holds_the_naive_bests():
    points = POINTS[:-1]
    for metric in METRICS:
        steps = frontier.staircase(table(points), metric)
        for budget in (8, 9, 40, 54, 400):
            naive = max(one.by_user[metric].mean(axis=1).mean() for one in points if one.n_bytes <= budget)
            assert steps[steps.index <= budget].iloc[-1] == pytest.approx(naive)
        assert list(steps.index) == [8, 9, 20, 40, 400] and steps.is_monotonic_increasing
        assert list(frontier.stairs(table(points), metric).index) == [
            "cut to 2", "SLD, 4 bits", "iALS", "cut to 10", "Teacher"]


def test_the_choice_is_by_validation_and_within_the_budget():
    def label(*arguments):
        return (found := chosen(POINTS, *arguments)) and found.label

    assert label(39, DISTILLED) == "SLD, 4 bits" and label(40, DISTILLED) == "SLD"
    assert label(40, NO_TRAINING) == "cut to 10" and label(60, NO_TRAINING) == "4 bits"
    assert label(8, DISTILLED) is None and label(7, NO_TRAINING) is None
    assert label(19, NO_TEACHER) is None and label(400, NO_TEACHER) == "iALS"


def test_claims_are_of_the_chosen_and_by_the_one_standard():
    found = claims(POINTS)
    held = {(ours, theirs): verdict for (_, ours, _, theirs), verdict in found["verdict"].items()}
    assert {text.partition(" (")[0] for text, _ in held} == {f"the best student of ≤ {b} bytes" for b in BUDGETS}
    assert held["the best student of ≤ 20 bytes (SLD, 4 bits)", "cut to 2"] == "holds"
    assert held["the best student of ≤ 20 bytes (SLD, 4 bits)", "iALS"] == "fails"
    assert held["the best student of ≤ 40 bytes (SLD)", "iALS"] == "holds"
    assert held["the best student of ≤ 40 bytes (SLD)", "cut to 10"] == "fails"  # chosen on validation, worse on test
    assert {theirs for ours, theirs in held if "≤ 14" in ours} == {"cut to 2"}  # nothing of the other kind fits
    ours, theirs = POINTS[4].by_user["ndcg@10"], POINTS[3].by_user["ndcg@10"]
    by_hand = stats.compared((ours - theirs).to_numpy())
    row = found.loc["ndcg@10", "the best student of ≤ 40 bytes (SLD)", "above", "cut to 10"]
    assert row["difference"] == pytest.approx(by_hand.difference) and row["seeds"] == 3 and row["users"] == 30


def test_only_seeds_and_users_that_both_have_are_compared():
    ours, theirs = made("a", "cut", 1, 0, 0.5, seeds=3), made("b", "cut", 1, 0, 0.4, seeds=5)
    ours.by_user["ndcg@10"].loc[1, 7] = np.nan
    found = frontier.differences(ours, theirs, "ndcg@10")
    assert found.shape == (3, 29)
    wanted = ours.by_user["ndcg@10"].loc[2, 8] - theirs.by_user["ndcg@10"].loc[2, 8]
    assert found[2, 7] == pytest.approx(wanted)


def test_the_decision_table():
    found = decisions(POINTS, (8, 40))
    assert found.loc["≤ 8 bytes", "model"].to_dict() == {"distilled": "", "no teacher": "", "no training": "cut to 2"}
    assert found.loc["≤ 40 bytes", "model"].tolist() == ["SLD", "iALS", "cut to 10"]
    share = POINTS[4].by_user["ndcg@10"].mean(axis=1).mean() / POINTS[0].by_user["ndcg@10"].mean(axis=1).mean()
    assert found.loc[("≤ 40 bytes", "distilled"), ["bytes", "ndcg@10"]].tolist() == ["40", f"{share:.0%}"]


# ------------------------------------------------------------------------------------------------------------- drawings

def test_the_plane_and_the_answers_are_drawn(split):
    pytest.importorskip("faiss")
    lines = table([made("EASE", "reference", 4000, 0.5)])
    figure = frontier_figures.plane(table(POINTS), lines)
    assert [axis.get_xscale() for axis in figure.axes] == ["log"] * 2
    named = {text.get_text() for text in figure.axes[1].get_legend().get_texts()}
    assert {"EASE (4,000 B)", *(f"best, {name}" for name in FRONTS)} <= named
    users, items = (torch.randn(n, 8, generator=torch.Generator().manual_seed(n))
                    for n in (split.n_users, split.n_items))
    found = frontier.latency({"teacher": (users, items), "cut": truncate((users, items), 3)}, split,
                             ["FAISS, exact", "FAISS, 8 bits"])
    assert len(found) == 2 * 2 * 2 and set(found["model"]) == {"teacher", "cut"}
    assert found.loc[0, "ndcg@10"] == pytest.approx(rkd.evaluate((users, items), split, ks=10)["ndcg@10"])
    assert len(frontier_figures.answering(found).axes) == 2


def test_rotating_keeps_the_scores_and_helps_what_was_truncated(split):
    """In the mean over five seeds of models whose spectrum falls."""
    spread = torch.logspace(0, -1.5, 12)
    model = [torch.randn(n, 12, generator=torch.Generator().manual_seed(n)) * spread for n in (80, 90)]
    cut = truncate(model, 8)
    exact = torch.matmul(cut.factors()[0], cut.factors()[1].T)
    errors = []
    for seed in range(5):
        turned = compress.rotate(cut, seed)
        assert torch.allclose(turned.factors()[0] @ turned.factors()[1].T, exact, atol=1e-5)
        u, i = quantize(turned, 3).factors()
        errors.append((u @ i.T - exact).square().mean())
    u, i = quantize(cut, 3).factors()
    assert np.mean(errors) < 0.8 * (u @ i.T - exact).square().mean()

"""MKD's studies, what its parts add, and how labels are drawn; on results made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from study_helpers import result, study_of

from rkd import METHODS
from rkd.stats import verdicts
from rkd.study.papers import mkd
from rkd.study.scales import SCALES

SMOKE = SCALES["smoke"]


def settings(run) -> dict:
    return dict(run.settings)


# study → the method's label, and label (of sweeps: before " = ") → the setting that differs
VARIED = {mkd.nkd: ("NKD", {"no mixing": "mix", "the other mix": "mix", "users only": "on", "items only": "on",
                            "N": "k", "α": "alpha"}),
          mkd.cpd: ("CPD (both)", {"pair-wise only": "listwise", "list-wise only": "pairwise",
                                   "random lists": "sampling", "products": "normalised"}),
          mkd.sld: ("sld", {"γ": "gamma", "τ": "tau"})}


@pytest.mark.parametrize("study", VARIED, ids=lambda study: study.__name__)
def test_mkds_studies_vary_one_thing_at_a_time(study):
    """Each group is the method as tuned but for one setting; one group of a sweep is as tuned."""
    groups, (ours, settings) = study(SMOKE, ("synthetic",)).groups, VARIED[study]
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
        assert {run.split for group in groups.values() for run in group} == {SCALES["laptop"].mkd_split}


def test_nkds_study_tells_the_layers_apart_on_lightgcn():
    """Where they are two: NKD as it is, of the propagated embeddings, against the same of the input's."""
    groups = mkd.nkd(SMOKE, ("synthetic",)).groups
    (ours,), (of_input,) = groups["LightGCN, NKD"], groups["LightGCN, NKD of the input"]
    assert {run.backbone for label, group in groups.items() if "LightGCN" in label for run in group} == {"lightgcn"}
    assert dict(ours.settings)["layer"] == "output"
    assert of_input == replace(ours, settings=dict(ours.settings) | {"layer": "input"})


def test_slds_readings_are_trained_as_often_as_sld_and_with_what_was_tuned_for_it():
    groups = mkd.sld(SCALES["laptop"], ("ml-100k",)).groups
    for reading, its in METHODS["sld"].readings.items():
        for run, ours in zip(groups[reading], groups["sld"], strict=True):
            assert settings(run) == settings(ours) | its and run != ours
            assert replace(run, settings=settings(ours)) == ours
    for method in ("teacher", "none", "rrd", "rrd-top", "rce-kd", "sld"):
        assert [(run.name, run.seed) for run in groups[method]] == [(method, seed) for seed in SCALES["laptop"].seeds]


def test_the_main_study_holds_its_comparisons():
    groups = mkd.mkd(SMOKE, ("synthetic",)).groups
    assert {*mkd.COMPARED} <= set(groups)
    assert [run.dim for method in ("none", "mkd") for dim in mkd.sizes(SMOKE)
            for run in groups[f"{method}, d = {dim}"]] == 2 * [10, 20, 32]  # the teacher's
    full = settings(groups["mkd"][0])
    for part in mkd.PARTS:
        assert [settings(groups[f"{part} × {factor}"][0])[part] for factor in mkd.FACTORS] == [
            full[part] * factor for factor in mkd.FACTORS]


def test_sizes_end_with_the_teachers():
    assert mkd.sizes(SCALES["laptop"]) == [10, 20, 50, 100]
    assert mkd.sizes(replace(SMOKE, teacher_dim=20)) == [10, 20]


def test_combinations_are_on_lightgcn_on_three_layers_and_else_as_mkd():
    """All eight subsets once; "none" is the plain student."""
    assert len({frozenset(on) for on in mkd.COMBINATIONS.values()}) == len(mkd.COMBINATIONS) == 8
    graph = mkd.lightgcn(mkd.mkd(SMOKE, ("synthetic",))).groups
    assert {run.backbone for group in graph.values() for run in group} == {"lightgcn"}
    (ours,), (plain,) = graph["mkd"], graph["none"]
    assert plain.name == "none" and settings(ours)["layer"] == "output"
    for label, on in mkd.COMBINATIONS.items():
        if on:
            (run,) = graph[label]
            assert settings(run) == settings(ours) | {"layer": "input"} | {
                part: settings(ours)[part] if part in on else 0.0 for part in mkd.PARTS}
            assert replace(run, settings=settings(ours)) == ours


def combined(of_user, seeds=(0, 1)):
    """A study of the combinations: NDCG@10 0.1 for each part and 0.1 more where SLD meets CPD, and of each user."""
    def ndcg(on, seed):
        return 0.1 * len(on) + 0.1 * ("sld" in on and "cpd" in on) + 0.01 * seed

    return study_of(**{label: [result("none", seed, by_user={"ndcg@10": [ndcg(on, seed) + x for x in of_user(on)]})
                               for seed in seeds] for label, on in mkd.COMBINATIONS.items()})


def test_what_parts_add_by_hand():
    """SLD adds 0.2 where CPD is on, with the seeds that both have, user by user."""
    study = combined(lambda on: [0, 0.3 if "sld" in on else 0])
    study.results["none"].append(result("none", 2, by_user={"ndcg@10": [9.0, 9.0]}))
    gains = mkd.gains(study, "sld")
    assert {label: added.mean(0).tolist() for label, added in gains.items()} == {
        "none": pytest.approx([0.1, 0.4]), "NKD alone": pytest.approx([0.1, 0.4]),
        "CPD alone": pytest.approx([0.2, 0.5]), "NKD + CPD": pytest.approx([0.2, 0.5])}
    assert {added.shape for added in gains.values()} == {(2, 2)}


def test_what_parts_add_is_claimed_on_average_and_on_top_of_both_others():
    draws = np.random.default_rng(0)
    claims = mkd.additions(combined(lambda on: 0.05 * draws.standard_normal(60)), ["ndcg@10"])
    average = {part: f"with {part}, on average," for part in ("NKD", "CPD", "SLD")}
    expected = {(average["NKD"], "without"): 0.1, ("all three", "CPD + SLD"): 0.1,
                (average["CPD"], "without"): 0.15, ("all three", "NKD + SLD"): 0.2,
                (average["SLD"], "without"): 0.15, ("all three", "NKD + CPD"): 0.2}
    found = {(method, than): row for (_, method, _, than), row in claims["difference"].items()}
    assert found == {key: pytest.approx(value, abs=0.03) for key, value in expected.items()}
    assert (claims["verdict"] == "holds").all() and (claims["seeds"] == 2).all()
    assert verdicts(claims).startswith("ndcg@10: with NKD, on average, above without: holds (+0.")


def test_labels_are_drawn_in_the_scores_order():
    """A panel of dots for each, and the first one's again in the others."""
    distributions = {"γ = 1": np.array([0.2, 0.5, 0.3]), "γ = 0": np.array([0.1, 0.1, 0.8])}
    figure = mkd.labels(np.array([1.0, 3.0, 2.0]), distributions, "items")
    first, second = ([line.get_xydata().tolist() for line in axis.lines] for axis in figure.axes)
    teacher, student = [[1, 0.5], [2, 0.3], [3, 0.2]], [[1, 0.1], [2, 0.8], [3, 0.1]]
    assert first == [teacher] and second == [teacher, student]
    assert {line.get_linestyle() for axis in figure.axes for line in axis.lines} == {"None"}
    assert [axis.get_title() for axis in figure.axes] == ["γ = 1", "γ = 0"] and figure.get_supxlabel() == "items"

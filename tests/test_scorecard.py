"""The scorecard's words on results made up so that they hold, fail or decide nothing; and that every claim can be had
from the studies as they are."""

from dataclasses import replace
from os import environ

import numpy as np
import pytest
from matplotlib import pyplot
from scipy.stats import ttest_1samp
from study_helpers import result, study_of

from rkd.stats import comparisons, holm
from rkd.study import scorecard as card
from rkd.study.claims import CLAIMS, Claim, above
from rkd.study.papers import mkd, unkd
from rkd.study.reproduce import SOURCES
from rkd.study.scales import SCALES
from rkd.study.scorecard import counts, decide, draw, published_value, rounded, scorecard

SEEDS, USERS = range(5), 300


def made(method, level, rng, dataset="ml-1m", backbone="mf", spread=0.05, seeds=SEEDS, **of_run):
    """A method's results: its metrics of each user are about ``level`` (metric → value)."""
    found = []
    for seed in seeds:
        by_user = {metric: (value + spread * rng.standard_normal(USERS)).tolist() for metric, value in level.items()}
        metrics = {metric: float(np.mean(values)) for metric, values in by_user.items()}
        found.append(result(method, seed, dataset, metrics, backbone, by_user=by_user, **of_run))
    return found


def study(**levels):
    """A group of each method; its level in Recall@10, or of metrics."""
    rng = np.random.default_rng(0)
    return study_of(**{method: made(method, {"recall@10": level} if isinstance(level, float) else level, rng)
                       for method, level in levels.items()})


def claimed(study, *statements, name="a claim", paper="UnKD"):
    def of_study():
        """Stands for the function that makes the study."""

    claims = [Claim(name, paper, "a sentence", "02_unkd", of_study, lambda study: list(statements))]
    return scorecard({of_study: study}, claims).iloc[0]


RIVALS = [("unkd", "above", rival, "recall@10") for rival in ("rd", "cd")]


@pytest.mark.parametrize("unkd, word", [(0.30, "holds"), (0.201, "undecided"), (0.10, "fails")])
def test_the_word_of_one_statement(unkd, word):
    row = claimed(study(unkd=unkd, rd=0.20), RIVALS[0])
    assert row["verdict"] == word and row["decided by"] == "recall@10: UnKD above RD"
    assert row["difference"] == pytest.approx(unkd - 0.20, abs=0.01) and row["low"] < row["difference"] < row["high"]
    assert (row["low"] > 0, row["high"] < 0) == (word == "holds", word == "fails")
    assert (row["seeds"], row["users"]) == (5, USERS)
    below = claimed(study(unkd=unkd, rd=0.20), ("unkd", "below", "rd", "recall@10"))
    assert below["verdict"] == {"holds": "fails", "fails": "holds"}.get(word, word)


@pytest.mark.parametrize("rd, cd, word, decided_by", [
    (0.20, 0.25, "holds", "CD"), (0.20, 0.299, "undecided", "CD"), (0.20, 0.40, "fails", "CD"),
    (0.35, 0.40, "fails", "CD"), (0.40, 0.20, "fails", "RD"), (0.301, 0.20, "undecided", "RD")])
def test_all_statements_of_a_claim_must_hold(rd, cd, word, decided_by):
    """The closest rival decides; where one is certainly better, the clearest of these."""
    row = claimed(study(unkd=0.30, rd=rd, cd=cd), *RIVALS)
    assert row["verdict"] == word and row["decided by"] == f"recall@10: UnKD above {decided_by}"


def test_the_p_value_of_a_claim_by_hand():
    """One seed, so that each comparison is a t-test over the users."""
    rng = np.random.default_rng(1)
    found = {("m", "a", "above", str(i)): mean + rng.standard_normal((1, 50)) for i, mean in enumerate((0.5, 0.3, 1))}
    p = [ttest_1samp(values[0], 0).pvalue for values in found.values()]
    key, value, word = decide(comparisons(found), 3)
    assert (key[3], word) == (str(int(np.argmax(p))), "holds") and value == pytest.approx(max(p))
    found["m", "a", "above", "1"] = found["m", "a", "above", "1"] - 0.7
    wrong = ttest_1samp(found["m", "a", "above", "1"][0], 0)
    key, value, word = decide(comparisons(found), 3)
    assert wrong.statistic < 0 and (key[3], word) == ("1", "fails") and value == pytest.approx(3 * wrong.pvalue)
    assert decide(comparisons(found), 4)[1] == pytest.approx(4 * wrong.pvalue)  # one of them was not run


def test_holm_is_over_the_whole_scorecard():
    """What one claim shows beside another, it shows less clearly among twenty that show nothing."""
    def of_study():
        """As above."""

    made_up = study(unkd=0.22, rd=0.20, cd=0.20, none=0.20)
    nulls = [Claim(f"null {i}", "UnKD", "", "02_unkd", of_study, above("cd", "none", "recall@10")) for i in range(20)]
    claims = [Claim("one", "UnKD", "", "02_unkd", of_study, above("unkd", "rd", "recall@10")), *nulls]
    few, many = (scorecard({of_study: made_up}, claims[:n]) for n in (2, 21))
    assert many["p_holm"].iloc[0] == pytest.approx(21 / 2 * few["p_holm"].iloc[0])
    p = [many["p_holm"].iloc[0] / 21, *[few["p_holm"].iloc[1]] * 20]
    np.testing.assert_allclose(many["p_holm"].astype(float), holm(np.array(p)))
    assert many["smallest"].iloc[0] > few["smallest"].iloc[0]


def test_one_seed_is_said():
    rng = np.random.default_rng(0)
    one = study_of(unkd=made("unkd", {"recall@10": 0.3}, rng, seeds=[0]), rd=made("rd", {"recall@10": 0.2}, rng))
    assert claimed(one, RIVALS[0])["verdict"] == "holds, one seed"


def test_a_row_for_each_data_set_and_backbone_on_which_both_were_run():
    rng, level = np.random.default_rng(0), {"recall@10": 0.3}
    groups = {method: made(method, {"recall@10": value}, rng) + made(method, {"recall@10": 0.5 - value}, rng, "ml-100k")
              for method, value in (("unkd", 0.3), ("rd", 0.2))}
    groups["unkd"] += made("unkd", level, rng, backbone="lightgcn")
    groups["rd"] += made("rd", level, rng, "citeulike")
    claim = Claim("it", "UnKD", "", "02_unkd", study_of, above("unkd", "rd", "recall@10"))
    table = scorecard({study_of: study_of(**groups)}, [claim])
    assert table.index.tolist() == [("it", "ml-1m", "MF"), ("it", "ml-100k", "MF")]
    assert table["verdict"].tolist() == ["holds", "fails"]


def test_a_claim_of_which_some_runs_are_lacking_can_only_fail_there():
    """Better than all rivals cannot be said where one was to be run and was not; not better than one can, and counts as
    one of all statements."""
    rng, level = np.random.default_rng(0), {"ml-1m": 0.3, "ml-100k": 0.3, "citeulike": 0.1}
    whole = {method: [r for data, of in level.items()
                      for r in made(method, {"recall@10": of if method == "unkd" else value}, rng, data)]
             for method, value in (("unkd", None), ("rd", 0.2), ("cd", 0.1))}
    claim = Claim("it", "UnKD", "", "02_unkd", study_of, above("unkd", ("rd", "cd"), "recall@10"))
    part = study_of(**whole)
    every = scorecard({study_of: part}, [claim])
    assert every["verdict"].tolist() == ["holds", "holds", "fails"]
    part.results["cd"] = [r for r in whole["cd"] if r.run.dataset == "ml-100k"]
    table = scorecard({study_of: part}, [claim])
    assert table.index.tolist() == [("it", "ml-100k", "MF"), ("it", "citeulike", "MF")]
    assert table["verdict"].tolist() == ["holds", "fails"]
    del part.results["unkd"]
    assert len(scorecard({study_of: part}, [claim])) == 0


def test_the_records_of_a_scale_beside_whatever_else_results_come_from(tmp_path, monkeypatch):
    monkeypatch.setattr(card.reproduce, "records_folder", lambda scale: tmp_path / scale)
    monkeypatch.setenv("RKD_RECORDS", "elsewhere")
    assert card.recorded("paper") == {}
    (tmp_path / "smoke").mkdir()
    (tmp_path / "smoke" / "records.json").write_text("{}")
    monkeypatch.setattr(card, "computed", lambda scale, datasets: (scale, datasets, environ["RKD_RECORDS"]))
    monkeypatch.setattr(card.Scale, "available", lambda scale, log: scale.datasets)
    assert card.recorded("smoke") == (SCALES["smoke"], ("synthetic",), str(tmp_path / "smoke"))
    assert environ["RKD_RECORDS"] == "elsewhere"


def test_two_metrics_of_one_group_and_numbers_of_runs():
    lists = study(teacher={"aplt@10": 0.2, "held_out/aplt": 0.5})
    row = claimed(lists, ("teacher", "below", "teacher", ("aplt@10", "held_out/aplt")))
    assert row["verdict"] == "holds" and row["difference"] == pytest.approx(-0.3, abs=0.01)
    slow = study_of(mkd=[result("rd", seed, per_epoch=3 + seed / 100) for seed in SEEDS],
                    htd=[result("cd", seed, per_epoch=1.0) for seed in SEEDS])
    row = claimed(slow, ("mkd", "below", "htd", "log seconds per epoch"))
    assert row["verdict"] == "fails" and row["difference"] == pytest.approx(np.log(3.02), abs=1e-4)
    assert row["users"] == 1


# --------------------------------------------------------------------------------------------------- published figures

@pytest.mark.parametrize("where, expected", [
    (("ml-1m", "MF", "unkd", "recall@10"), 0.1547), (("citeulike", "LightGCN", "none", "ndcg@10"), 0.0510),
    (("citeulike", "MF", "unkd", unkd.RECALLS["unpopular"]), 0.0208), (("ml-1m", "MF", "mkd", "recall@10"), None),
    (("ml-1m", "MF", "de-rrd", unkd.RECALLS["popular"]), 0.2315), (("apps", "MF", "htd", "ndcg@10"), 0.0561),
    (("ml-1m", "LightGCN", "de-rrd", "recall@10"), 0.1487), (("apps", "LightGCN", "pd-cd", "recall@10"), None),
    (("ml-1m", "LightGCN", "rd", unkd.RECALLS["popular"]), None), (("ml-100k", "MF", "unkd", "recall@10"), None),
    (("ml-1m", "MF", "unkd", "unpopular/recall@10"), None),
    (("ml-1m", "LightGCN", "pd-htd", unkd.RECALLS["unpopular"]), 0.0159)])
def test_published_values_by_hand(where, expected):
    found = published_value(*where)
    assert np.isnan(found) if expected is None else found == expected


def test_published_differences_stand_beside_the_same_division_alone():
    both = study(unkd=0.3, rd=0.2)
    assert claimed(both, RIVALS[0])["published"] == pytest.approx(0.1547 - 0.1473)
    for r in both:
        r.run = replace(r.run, split="ratio")
    assert np.isnan(claimed(both, RIVALS[0])["published"])


# ----------------------------------------------------------------------------------------------------------- the claims

def made_up(groups, rng):
    """Results of a study's runs, with all that claims ask for."""
    names = ["recall@10", "ndcg@10", *unkd.RECALLS.values(), "aplt@10", "held_out/aplt"]
    results = {}
    for label, runs in groups.items():
        results[label] = []
        for run in runs:
            by_user = {name: rng.random(20).tolist() for name in names}
            one = result("rd", metrics={name: float(np.mean(values)) for name, values in by_user.items()},
                         by_user=by_user, per_epoch=1 + rng.random())
            one.run, one.history = run, [{"epoch": 1, "cosine_inconsistency": rng.random()}]
            one.effects = {"popularity": rng.random()}
            results[label].append(one)
    return results


def test_every_claim_speaks_of_groups_that_its_study_has():
    """On every backbone on which they are run, and with the number of the cell that computes the study."""
    scale = replace(SCALES["laptop"], datasets=("synthetic",), seeds=(0, 1), few=(0, 1), worlds=2)
    rng, studies = np.random.default_rng(0), {}
    for claim in CLAIMS:
        if claim.study not in studies:
            groups = claim.study(scale, scale.datasets).groups
            studies[claim.study] = card.Study(groups, made_up(groups, rng))
    table = scorecard(studies)
    assert list(dict.fromkeys(table.index.get_level_values("claim"))) == [claim.name for claim in CLAIMS]
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS) >= 25
    backbones = table.reset_index().groupby("claim")["backbone"].agg(set)
    for name in ("UnKD overall", "UnKD on the tail", "MKD against rivals", "MKD against its teacher"):
        assert backbones[name] == {"MF", "LightGCN"}
    assert all(backbones[f"{part.upper()} in MKD"] == {"LightGCN"} for part in mkd.PARTS)
    assert table["notebook"].str.partition(",")[0].map(lambda name: (SOURCES / f"{name}.ipynb").exists()).all()
    assert table.sort_index().loc["UnKD overall", "notebook"].str.fullmatch(r"02_unkd, code cell \d+").all()
    shown = rounded(table)
    assert shown["difference"].str.fullmatch(r"-?\d\.\d{4}").all() and (shown["published"] == "").all()
    summary = counts(table)
    assert summary.to_numpy().sum() == len(table) and list(summary.columns) == ["holds", "fails", "undecided"]
    figure = draw(table)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == len(table) and all(word in text for word, text in zip(
        table["verdict"].str.partition(",")[0], texts))
    pyplot.close(figure)


def test_the_chosen_K_is_the_better_on_validation():
    groups = {f"K = {k}": made("unkd", {"recall@10": 0.1, "ndcg@10": value}, np.random.default_rng(0))
              for k, value in ((1, 0.9), (2, 0.8), (4, 0.1), (5, 0.2), (6, 0.7))}
    found = next(claim for claim in CLAIMS if claim.name == "K of 4 or 5").of(study_of(**groups | {
        f"K = {k}": groups["K = 2"] for k in (3, 7, 8)}))
    assert [(ours, theirs) for ours, _, theirs, _ in found] == [("K = 5", f"K = {k}") for k in (2, 3, 6, 7, 8)]

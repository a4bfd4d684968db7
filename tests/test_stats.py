"""Certainty: against SciPy's own tests, worked cases, and simulated users."""

import numpy as np
import pandas as pd
import pytest
from runs_helpers import computed, tiny
from scipy.stats import ttest_1samp

from rkd import per_user, split_of
from rkd.stats import by_user, decided, holm, mean_std, paired_tests, verdict


def test_mean_and_std_by_hand():
    assert mean_std(pd.Series([0.1, 0.2, 0.3])) == "0.2000 ± 0.1000"
    assert mean_std(pd.Series([0.25])) == "0.2500"


def test_verdicts():
    low, high = pd.Series([0.1, 0.11, 0.12]), pd.Series([0.2, 0.21, 0.22])
    assert verdict("it is", high, low) == "it is: yes"
    assert verdict("it is", low, high) == "it is: no"
    # means 0.2 and 0.21, variances 0.01 each: standard error √(0.02 / 3) = 0.082, twice that is above 0.01
    assert verdict("it is", pd.Series([0.1, 0.2, 0.3]), pd.Series([0.11, 0.21, 0.31])) == (
        "it is: within the spread of the seeds")
    assert verdict("it is", pd.Series([0.2]), pd.Series([0.1])) == "it is: yes"


def test_holm_worked_by_hand():
    """p = 0.01, 0.02, 0.03, 0.6 of four: × 4, × 3 = 0.06, × 2 = 0.06 (not below the one before), × 1."""
    np.testing.assert_allclose(holm(np.array([0.03, 0.01, 0.6, 0.02])), [0.06, 0.04, 0.6, 0.06])
    np.testing.assert_allclose(holm(np.array([0.7, 0.8])), [1.0, 1.0])


def test_holm_keeps_false_alarms_below_the_level():
    """Of 2000 tables of six true null hypotheses at most about 5 % hold any p below 0.05; uncorrected it is 26 %."""
    p = np.random.default_rng(0).random((2000, 6))
    alarms = np.mean([(holm(row) < 0.05).any() for row in p])
    assert 0.03 < alarms < 0.07 < np.mean((p < 0.05).any(1))


@pytest.fixture
def results():
    """Two seeds of three methods."""
    runs = [tiny(method, seed, epochs=10) for method in ("none", "rd", "teacher") for seed in (0, 1)]
    found, _ = computed(runs)
    return {"none": found[:2], "rd": found[2:4], "teacher": found[4:]}


@pytest.mark.parametrize("metric", ["recall@10", "unpopular/recall@20"])
def test_paired_tests_are_scipys_over_users(results, metric):
    table = paired_tests(results["teacher"], {name: results[name] for name in ("none", "rd")}, metric)
    split, k = split_of(results["none"][0].run), int(metric[-2:])
    assert list(table.index) == ["none", "rd"]
    for name in table.index:
        users = [[per_user(r.model, split, "test", (k,))[metric].numpy() for r in results[method]]
                 for method in ("teacher", name)]
        difference = np.mean(users[0], 0) - np.mean(users[1], 0)
        difference = difference[~np.isnan(difference)]
        expected = ttest_1samp(difference, 0)
        row = table.loc[name]
        assert row["difference"] == pytest.approx(difference.mean())
        assert row["p"] == pytest.approx(expected.pvalue)
        assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    np.testing.assert_allclose(table["p_holm"], holm(table["p"].to_numpy()))


def test_a_users_mean_over_seeds_averages_to_the_results(results):
    values = by_user(results["rd"], "recall@10")
    assert np.nanmean(values) == pytest.approx(np.mean([r.metrics["recall@10"] for r in results["rd"]]))


def test_users_of_different_splits_are_not_compared(results):
    other, _ = computed([tiny(split_seed=1)])
    with pytest.raises(ValueError, match="within one data set and split only"):
        by_user(results["none"] + other, "recall@10")


@pytest.mark.parametrize("difference, p, answer", [(0.1, 0.01, "yes"), (-0.1, 0.01, "no"), (0.1, 0.2, "undecided"),
                                                   (0.0, float("nan"), "undecided")])
def test_what_a_test_says(difference, p, answer):
    assert decided("above", pd.Series({"difference": difference, "p_holm": p})) == f"above: {answer}"

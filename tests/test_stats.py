"""Certainty: against bootstraps by resampling, SciPy's tests, worked cases, and simulated seeds and users."""

import numpy as np
import pandas as pd
import pytest
from runs_helpers import computed, tiny
from scipy.stats import ttest_1samp, ttest_rel
from study_helpers import result

from rkd import per_user, split_of
from rkd.stats import (
    LEVEL,
    Comparison,
    by_seed,
    certain,
    claims,
    compared,
    differences,
    holm,
    interval,
    mean_std,
    moderated,
    verdicts,
)

NAMES = ("metric", "method", "is", "than")


def test_mean_and_std_by_hand():
    assert mean_std(pd.Series([0.1, 0.2, 0.3])) == "0.2000 ± 0.1000"
    assert mean_std(pd.Series([0.25])) == "0.2500"


def test_an_interval_over_seeds_is_scipys():
    values = [0.1, 0.25, 0.3, 0.42]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(pd.Series(values)).tolist() == pytest.approx([np.mean(values), expected.low, expected.high])
    alone = interval(pd.Series([0.25]))
    assert alone["mean"] == 0.25 and alone[["low", "high"]].isna().all()


# --------------------------------------------------------------------------------------------------- the crossed errors

def simulated(n_seeds, n_users, seeds=1.0, users=1.0, rest=1.0, rng=None):
    """Differences [seeds, users] of true mean 0: effects of seeds and of users, the latter skewed, and what is left,
    which is 0 for half of the users. Their standard deviations, the first's times 1 / √n_users."""
    rng = rng or np.random.default_rng(0)
    of_users = users * (rng.exponential(size=n_users) - 1)
    left = np.array([-1, 0, 0, 1])[rng.integers(4, size=(n_seeds, n_users))] * rest * 2**0.5
    return seeds * rng.standard_normal((n_seeds, 1)) / n_users**0.5 + of_users + left


def resampled(values, rng, n=20_000):
    """(over seeds, over users, over both): the variances of the mean among n bootstrap samples of rows, of columns, and
    of both at once, by counting how often each is drawn."""
    n_seeds, n_users = values.shape
    rows = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), n) / n_seeds
    columns = rng.multinomial(n_users, np.full(n_users, 1 / n_users), n) / n_users
    return (rows @ values.mean(1)).var(), (columns @ values.mean(0)).var(), ((rows @ values) * columns).sum(1).var()


@pytest.mark.parametrize("n_seeds, n_users", [(3, 60), (5, 40), (4, 25)])
def test_errors_are_a_crossed_bootstraps(n_seeds, n_users):
    """A bootstrap of n units has (n − 1) / n of their variance. Of both at once it counts the interaction, which stands
    in the seeds' and in the users' variance already, once more; we count it once, with the seeds."""
    values = simulated(n_seeds, n_users, seeds=2)
    seeds, users, both = resampled(values, np.random.default_rng(1))
    s, u = n_seeds / (n_seeds - 1), n_users / (n_users - 1)
    interaction = (both - seeds - users) * s * u
    found = compared(values)
    assert found.difference == pytest.approx(values.mean())
    assert found.seed_error**2 == pytest.approx(seeds * s, rel=0.05)
    assert found.user_error**2 == pytest.approx(users * u - interaction, rel=0.08)


def test_one_seed_is_a_paired_t_test_over_users_and_one_column_over_seeds():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(50), rng.random(50)
    for values in ((ours - theirs)[None], (ours - theirs)[:5, None]):
        found, expected = compared(values), ttest_1samp(values.ravel(), 0)
        bounds = expected.confidence_interval(1 - LEVEL)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
        assert (found.difference - found.reach(), found.difference + found.reach()) == pytest.approx(tuple(bounds))
    assert compared((ours - theirs)[None]).p == pytest.approx(ttest_rel(ours, theirs).pvalue, rel=1e-6)


@pytest.mark.parametrize("errors", [(0.01, 0.02), (0.02, 0.001), (0.0, 0.03), (0.03, 0.0)])
@pytest.mark.parametrize("n_seeds, n_users", [(3, 900), (5, 12)])
def test_chances_are_those_of_drawn_errors(errors, n_seeds, n_users):
    """Of a million sums of the two Student's t."""
    rng, found = np.random.default_rng(0), Comparison(0.03, *errors, n_seeds, n_users, n_seeds - 1)
    drawn = np.abs(errors[0] * rng.standard_t(n_seeds - 1, 10**6) + errors[1] * rng.standard_t(n_users - 1, 10**6))
    assert found.p == pytest.approx((drawn > 0.03).mean(), abs=0.002)
    assert found.reach() == pytest.approx(np.quantile(drawn, 0.95), rel=0.01)
    assert found.beyond(found.reach(0.01)) == pytest.approx(0.01, rel=1e-4)


def test_nothing_is_said_where_nothing_varies():
    alone = compared(np.array([[0.3]]))  # one seed, a metric of all lists together
    assert np.isnan([alone.p, alone.reach(), alone.smallest()]).all()
    table = claims({("coverage@10", "UnKD", "above", "RD"): np.array([[0.3]]),
                    ("gini@10", "UnKD", "below", "RD"): -np.array([[0.3], [0.31], [0.29]])}, NAMES)
    assert table["verdict"].tolist() == ["undecided, one seed", "holds"]
    assert verdicts(table) == ("coverage@10: UnKD above RD: undecided, one seed (+0.3000)\n"
                               "gini@10: UnKD below RD: holds (-0.3000 [-0.3248, -0.2752], 3 seeds)")


# ------------------------------------------------------------------------------------------------------------ simulated

def method(n_seeds, n_users, seeds, users, rest, rng):
    """What users get of a method, [seeds, users]: less than ``simulated``, which is a difference of two of them. Its
    seeds' deviation is drawn about ``seeds``, of methods in 68 of 100 within a factor of e."""
    return simulated(n_seeds, n_users, seeds * rng.lognormal(), users, rest, rng) / 2**0.5


def drawn(n_seeds, effect=0.0, n_claims=6, n_users=300, seeds=1.0, users=1.0, rest=1.0, *, rng):
    """Of a table of claims that one method is above others, which are worse by ``effect``: the differences and p_holm
    of ``claims``."""
    ours, *theirs = (method(n_seeds, n_users, seeds, users, rest, rng) for _ in range(n_claims + 1))
    found = moderated([compared(ours + effect - other) for other in theirs])
    return np.array([one.difference for one in found]), holm(np.array([one.p for one in found]))


def alarms(n_seeds, n_tables, **of):
    """The share of tables of untrue claims with any certainty."""
    rng = np.random.default_rng(n_seeds)
    return np.mean([(drawn(n_seeds, **of, rng=rng)[1] < LEVEL).any() for _ in range(n_tables)])


@pytest.mark.parametrize("n_seeds, of", [
    (1, {"seeds": 0}), (3, {"seeds": 1}), (3, {"seeds": 5}), (5, {"seeds": 5}), (3, {"seeds": 5, "users": 3}),
    (3, {"seeds": 3, "n_claims": 2}), (5, {"seeds": 3, "n_claims": 1, "users": 0})], ids=str)
def test_false_alarms_are_rarer_than_one_table_in_twenty(n_seeds, of):
    """Whatever varies most, seeds, users or both together, and however many claims. 200 tables: 5 % ± 1.5 %."""
    assert alarms(n_seeds, 200, **of) <= 0.05 + 2 * 0.015


def test_what_is_so_is_seen():
    """Five standard errors: with 5 seeds nearly always, with 3 in more than half of the cases; never the other way."""
    rng = np.random.default_rng(0)
    for n_seeds, least in ((5, 0.85), (3, 0.5)):
        error = ((np.exp(2) + 1) / n_seeds + 0.3**2) ** 0.5 / 300**0.5  # of seeds (lognormal), what is left, and users
        tables = [drawn(n_seeds, 5 * error, users=0.3, rng=rng) for _ in range(100)]
        sure = [difference[p < LEVEL] for difference, p in tables]
        assert np.mean([len(found) / 6 for found in sure]) > least and min(map(np.min, filter(len, sure))) > 0


def test_the_smallest_effect_is_mostly_seen():
    """By designs like the one that announced it, of another 5 seeds each; half of it is mostly missed."""
    rng = np.random.default_rng(0)
    smallest = np.median([compared(simulated(5, 300, rng=rng)).smallest(0.01) for _ in range(200)])
    seen, half = (np.mean([compared(simulated(5, 300, rng=rng) + effect).p < 0.01 for _ in range(400)])
                  for effect in (smallest, smallest / 2))
    assert 0.65 < seen < 0.85 and half < 0.3


# ---------------------------------------------------------------------------------------------------------------- words

def users(method, seed, values, **metrics):
    return result(method, seed, metrics=metrics, by_user={"recall@10": values})


def test_holm_worked_by_hand():
    """p = 0.01, 0.02, 0.03, 0.6 of four: × 4, × 3 = 0.06, × 2 = 0.06 (not below the one before), × 1."""
    np.testing.assert_allclose(holm(np.array([0.03, 0.01, 0.6, 0.02])), [0.06, 0.04, 0.6, 0.06])
    np.testing.assert_allclose(holm(np.array([0.7, 0.8])), [1.0, 1.0])


def test_a_table_of_claims():
    """One far above, one far below, one near; claimed both ways, which tells no more of the seeds than one way."""
    rng = np.random.default_rng(0)
    made = {shift: simulated(5, 200, rng=rng) + shift for shift in (1.5, -1.5, 0.02)}
    rows = {("m", f"{shift} {direction}", direction, "RD"): values
            for shift, values in made.items() for direction in ("above", "below")}
    table = claims(rows, NAMES)
    assert table["verdict"].tolist() == ["holds", "fails", "fails", "holds", "undecided", "undecided"]
    assert certain(table) == set(list(rows)[:4]) and table.index.names == list(NAMES)
    of_all = dict(zip(made, moderated([compared(values) for values in made.values()])))
    for key in rows:
        row, one = table.loc[key], of_all[float(key[1].split()[0])]
        assert one.freedom == 8
        assert (row["difference"], row["p"], row["smallest"]) == (one.difference, one.p, one.smallest(LEVEL / 6))
        assert (row["low"] + row["high"]) / 2 == pytest.approx(row["difference"])
        assert one.beyond((row["high"] - row["low"]) / 2) == pytest.approx(LEVEL, rel=1e-4)
        assert (row["seeds"], row["users"]) == (5, 200)
    np.testing.assert_allclose(table["p_holm"], holm(table["p"].to_numpy()))
    assert (table["smallest"] > [one.smallest() for one in of_all.values() for _ in range(2)]).all()


def test_seeds_errors_are_shared_by_hand():
    """Squares 1, 4 and 16: half its own and half of their mean, 7, with twice the freedom; of two alone 2/3 and 1/3."""
    found = [Comparison(0.1, error, 0.5, 3, 100, 2) for error in (1.0, 2, 4)]
    assert [one.seed_error**2 for one in moderated(found)] == pytest.approx([4, 5.5, 11.5])
    assert {(one.freedom, one.user_error, one.difference) for one in moderated(found)} == {(4, 0.5, 0.1)}
    assert [one.seed_error**2 for one in moderated(found[:2])] == pytest.approx([1.5, 3.5])
    assert moderated(found[:1]) == found[:1] and moderated(found[:1] * 2) == found[:1] * 2


def test_only_claims_on_one_metric_with_as_many_seeds_share_the_seeds_errors():
    rng = np.random.default_rng(0)
    made = {("m", "A"): simulated(5, 50, rng=rng), ("m", "B"): simulated(5, 50, 3, rng=rng),
            ("m", "C"): simulated(3, 50, rng=rng), ("n", "A"): simulated(5, 50, rng=rng)}
    table = claims({(metric, method, "above", "RD"): values for (metric, method), values in made.items()}, NAMES)
    alone = {key: compared(values) for key, values in made.items()}
    both = moderated([alone["m", "A"], alone["m", "B"]])
    expected = [one.p for one in (*both, alone["m", "C"], alone["n", "A"])]
    assert table["p"].tolist() == expected and both[0].p != alone["m", "A"].p


def test_lines_on_claims():
    noise = simulated(5, 200, seeds=1)
    rows = {("ml-1m", "MF", "ndcg@10", "UnKD", "above", "RD"): noise + 1.5,
            ("ml-1m", "MF", "ndcg@10", "UnKD", "below", "CD"): noise + 1.5,
            ("ml-1m", "MF", "ndcg@10", "UnKD", "above", "CD"): noise[:1]}
    names = ("dataset", "backbone", *NAMES)
    table = claims(rows, names)
    row, alone = table.iloc[0], table.iloc[2]
    many = f"({row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}], 5 seeds × 200 users)"
    assert verdicts(table).splitlines() == [
        f"ndcg@10: UnKD above RD: holds {many}", f"ndcg@10: UnKD below CD: fails {many}",
        f"ndcg@10: UnKD above CD: undecided, one seed ({alone['difference']:+.4f}, could have seen "
        f"{alone['smallest']:.4f}, 200 users)"]
    two = claims(rows | {("ml-1m", "LightGCN", "ndcg@10", "UnKD", "above", "RD"): noise}, names)
    assert verdicts(two).splitlines()[0].startswith("MF, ndcg@10: UnKD above RD: holds (")


# -------------------------------------------------------------------------------------------------------------- results

def test_differences_pair_seeds_and_users():
    """In whatever order the seeds come; user 1 has nothing to be measured on, once."""
    ours = [users("rd", 2, [0.5, 0.1, 0.3]), users("rd", 0, [0.1, 0.2, 0.4]), users("rd", 1, [9, 9, 9])]
    theirs = [users("none", 0, [0.2, float("nan"), 0.1]), users("none", 2, [0.1, 0.1, 0.1])]
    np.testing.assert_allclose(differences(theirs, ours, "recall@10"), [[0.1, -0.3], [-0.4, -0.2]])
    assert by_seed(ours, "recall@10").index.tolist() == [2, 0, 1]


def test_a_metric_of_all_lists_has_one_column():
    ours, theirs = ([users(method, seed, [0, 0], **{"coverage@10": value + seed}) for seed in (0, 1)]
                    for method, value in (("rd", 0.5), ("none", 0.2)))
    assert differences(ours, theirs, "coverage@10") == pytest.approx(np.array([[0.3], [0.3]]))


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match=r"no seed in common: \[0\] and \[1\]"):
        differences([users("rd", 0, [0.1])], [users("none", 1, [0.1])], "recall@10")
    nan = float("nan")
    with pytest.raises(ValueError, match="no user has a recall@10 to compare"):
        differences([users("rd", 0, [0.1, nan])], [users("none", 0, [nan, 0.2])], "recall@10")
    here, there = users("rd", 0, [0.1]), users("none", 0, [0.1])
    there.provenance |= {"fingerprint": "another"}
    with pytest.raises(ValueError, match="within one data set and split only"):
        differences([here], [there], "recall@10")


def test_differences_of_computed_results():
    """Against each model's own per_user, without those who have nothing to be measured on."""
    found, _ = computed([tiny(method, seed, epochs=10) for method in ("rd", "none") for seed in (0, 1)])
    by_user = [per_user(r.model, split_of(r.run)) for r in found]
    for metric in ("recall@10", "unpopular/recall@20", "decile 7/recall@10"):
        values = [of[metric].numpy() for of in by_user]
        there = ~np.isnan(values[0])
        expected = np.array([values[0] - values[2], values[1] - values[3]])[:, there]
        np.testing.assert_allclose(differences(found[:2], found[2:], metric), expected)
        assert by_seed(found[:2], metric).mean(axis=1)[1] == pytest.approx(found[1].metrics[metric])
    assert not there.all() and there.any()

"""The world of known truth, and the probe that reads affinity and popularity off a model's scores."""

import numpy as np
import pytest
import torch
from conftest import matrix

from rkd.datasets import synthetic
from rkd.datasets.synthetic import probe, world

SIZES = dict(n_users=400, n_items=200, rank=8, signal=2.0, n_train=30, n_valid=5, n_test=10, seed=3)


@pytest.fixture(scope="module")
def truth():
    return world(**SIZES, popularity=1.5)


def correlation(x, y) -> float:
    return np.corrcoef(x, y)[0, 1]


def score_test(world, dense, seen, feature, utility) -> float:
    """z-score of "each user drew one unseen item with p ∝ exp(utility)" against "∝ exp(utility + b · feature)", b ≠ 0.

    The derivative of the log-likelihood in b at 0: what was drawn minus what was to be expected, over its deviation.
    """
    p = np.where(seen, 0, np.exp(utility))
    p /= p.sum(1, keepdims=True)
    mean = (p * feature).sum(1)
    variance = (p * feature**2).sum(1) - mean**2
    assert (dense.sum(1) == 1).all()
    return ((dense * feature).sum(1) - mean).sum() / np.sqrt(variance.sum())


@pytest.mark.parametrize("signal", [1.0, 2.0])
def test_affinity_favours_no_item(signal):
    """Each item has mean 0 and deviation ``signal``; so in all, no item is liked more."""
    affinity = world(300, 80, signal=signal, n_train=5).affinity.double()
    torch.testing.assert_close(affinity.mean(0), torch.zeros(80, dtype=torch.float64), rtol=0, atol=1e-5)
    torch.testing.assert_close(affinity.std(0, correction=0), torch.full((80,), signal, dtype=torch.float64))
    assert np.linalg.matrix_rank(world(300, 80, rank=3, n_train=5).affinity.double().numpy(), tol=1e-3) == 3


def test_effect_is_independent_of_affinity(truth):
    """A user's affinities correlate with the effects no more than chance: by 1 / √items, as a root mean square."""
    each = [correlation(row, truth.effect) for row in truth.affinity.numpy()]
    assert np.sqrt(np.mean(np.square(each))) < 2 / np.sqrt(200)
    assert truth.effect.std().item() == pytest.approx(1.5, rel=0.15)


def test_what_is_seen_follows_the_effect_where_there_is_one(truth):
    popularity = matrix(truth.split.train).sum(0)
    assert correlation(popularity, truth.effect) > 0.8
    none = world(**SIZES, popularity=0.0)
    assert not none.effect.any()
    spread = matrix(none.split.train).sum(0).std()
    assert popularity.std() > 2 * spread  # without it, items differ little in popularity


@pytest.mark.parametrize("popularity", [0.0, 1.5])
def test_the_first_item_seen_is_drawn_by_affinity_plus_effect(popularity):
    """One draw for each of 3000 users fits exp(M + Z): neither factor is too strong or too weak in it."""
    w = world(3000, 50, signal=1.0, popularity=popularity, n_train=1, n_valid=0, n_test=1, seed=1)
    m, z = w.affinity.double().numpy(), w.effect.double().numpy()
    train, test = matrix(w.split.train), matrix(w.split.test)  # what is tested on is set aside before
    for feature in (m, z) if popularity else (m, np.random.default_rng(0).standard_normal(50)):
        assert abs(score_test(w, train, test, feature, m + z)) < 4
    assert score_test(w, train, test, m, z) > 10  # and the test can tell: affinity does matter,
    assert popularity == 0 or score_test(w, train, test, z, m) > 10  # and the effect where there is one


@pytest.mark.parametrize("popularity", [0.0, 1.5])
def test_test_items_are_drawn_by_affinity_alone(popularity):
    """From all items; 3000 users, one draw each: exp(M) fits, and Z has no part in it."""
    w = world(3000, 50, signal=1.0, popularity=popularity, n_train=5, n_valid=1, n_test=1, seed=2)
    m, z = w.affinity.double().numpy(), w.effect.double().numpy()
    test, nothing = matrix(w.split.test), np.zeros((3000, 50), bool)
    for feature in (m, z) if popularity else (m,):
        assert abs(score_test(w, test, nothing, feature, m)) < 4
    assert score_test(w, test, nothing, m, 0 * m) > 10
    assert popularity == 0 or score_test(w, test, nothing, z, m + z) < -10


def test_what_is_tested_on_does_not_follow_the_effect(truth):
    assert abs(correlation(matrix(truth.split.test).sum(0), truth.effect)) < 3 / np.sqrt(truth.split.n_items)


def test_probe_in_a_world_without_the_effect():
    still = world(100, 60, popularity=0.0, n_train=10)
    assert probe(still.affinity, still) == pytest.approx({"affinity": 1.0, "popularity": 0.0, "bias": 0.0}, abs=1e-5)


def test_parts_are_disjoint_and_of_the_sizes_asked_for():
    split = world(50, 40, n_train=11, n_valid=4, n_test=6).split
    parts = [matrix(part) for part in (split.train, split.valid, split.test)]
    assert sum(part.astype(int) for part in parts).max() == 1
    assert [set(part.sum(1)) for part in parts] == [{11}, {4}, {6}]


def test_validation_is_drawn_like_training(truth):
    """From one pool, shuffled: the items first drawn, the likelier ones, do not all go to training."""
    popularity = truth.effect[truth.split.train.items].mean(), truth.effect[truth.split.valid.items].mean()
    assert abs(popularity[0] - popularity[1]) < 0.1


def test_a_seed_repeats_a_world():
    first, again, other = (world(30, 40, n_train=5, n_valid=2, n_test=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.affinity, again.affinity) and torch.equal(first.effect, again.effect)
    assert first.split.fingerprint == again.split.fingerprint != other.split.fingerprint


def test_more_items_a_user_than_there_are():
    with pytest.raises(ValueError, match="30 [+] 5 [+] 10 items a user are more than the 44 there are"):
        world(10, 44, n_train=30, n_valid=5, n_test=10)


def test_the_small_data_set():
    data = synthetic.interactions()
    assert (data.n_users, data.n_items, len(data), data.name) == (300, 150, 7500, "synthetic")
    assert data.fingerprint == synthetic.interactions().fingerprint != synthetic.interactions(seed=1).fingerprint


# --------------------------------------------------------------------------------------------------------------- probe

def test_probe_tells_affinity_from_popularity(truth):
    affinity, effect = truth.affinity, truth.effect.expand_as(truth.affinity)
    assert probe(affinity, truth) == pytest.approx({"affinity": 1, "popularity": 0, "bias": 0}, abs=1e-6)
    assert probe(effect, truth) == pytest.approx({"affinity": 0, "popularity": 1, "bias": 1}, abs=1e-6)
    assert probe(-effect, truth) == pytest.approx({"affinity": 0, "popularity": -1, "bias": 1}, abs=1e-6)
    noise = torch.randn(affinity.shape, generator=torch.Generator().manual_seed(0))
    found = probe(noise, truth)
    assert abs(found["affinity"]) < 0.02 and abs(found["popularity"]) < 0.02


def standardised(x, outside):
    """Each row's entries outside training at mean 0 and deviation 1; NaN elsewhere."""
    x = np.where(outside, np.broadcast_to(x, outside.shape), np.nan)
    return (x - np.nanmean(x, 1, keepdims=True)) / np.nanstd(x, 1, keepdims=True)


@pytest.mark.parametrize("a, b", [(1, 1), (3, 1), (1, 2), (1, -0.5)])
def test_probe_finds_the_ratio_of_a_mixture(truth, a, b):
    outside = ~matrix(truth.split.train)
    mixture = a * standardised(truth.affinity.numpy(), outside) + b * standardised(truth.effect.numpy(), outside)
    found = probe(torch.from_numpy(np.nan_to_num(mixture)), truth)
    assert found["popularity"] / found["affinity"] == pytest.approx(b / a, rel=1e-5)
    assert found["bias"] == pytest.approx(b**2 / (a**2 + b**2), rel=1e-5)


def test_probe_is_least_squares_within_each_user(truth):
    scores = truth.affinity.numpy() ** 3 + truth.effect.numpy() * np.linspace(0, 2, 400)[:, None]
    outside = ~matrix(truth.split.train)
    y, m, z = (standardised(x, outside) for x in (scores, truth.affinity.numpy(), truth.effect.numpy()))
    slopes = [np.linalg.lstsq(np.stack([m[u, keep], z[u, keep]], 1), y[u, keep])[0] for u, keep in enumerate(outside)]
    affinity, popularity = np.mean(slopes, 0)
    found = probe(torch.from_numpy(scores), truth)
    assert (found["affinity"], found["popularity"]) == pytest.approx((affinity, popularity), rel=1e-4)


def test_probe_minds_neither_level_nor_scale_nor_trained_items(truth):
    generator = torch.Generator().manual_seed(1)
    scores = truth.affinity + 0.5 * truth.effect + torch.randn(400, 200, generator=generator)
    shift, scale = torch.randn(400, 1, generator=generator), torch.rand(400, 1, generator=generator) + 0.5
    other = scale * scores + shift
    other[truth.split.train.users, truth.split.train.items] = 1e6
    assert probe(other, truth) == pytest.approx(probe(scores, truth), rel=1e-4)

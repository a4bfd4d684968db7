"""Draws: what they may never hit, and the distributions they follow."""

import numpy as np
import pytest
import torch
from conftest import interactions_of, matrix, seeded
from scipy.stats import chisquare

from rkd.sampling import NegativeSampler, draw_ranks, ranking

TOO_UNLIKELY = 1e-4  # a p-value; the seeds are fixed, so a test that passes once passes ever after


def test_negatives_are_uniform_over_the_untrained_items(split, device):
    """Every user 4000 times: never a training item, all others equally often. User 1 has no training item at all."""
    train, n = split.to(device).train, 4000
    users = torch.arange(split.n_users, device=device)[:, None].expand(-1, n)
    drawn = NegativeSampler(train)(users, seeded(device))
    assert drawn.shape == users.shape and drawn.dtype == torch.int64
    for row, trained in zip(drawn.cpu().numpy(), matrix(split.train)):
        times = np.bincount(row, minlength=split.n_items)
        assert times[trained].sum() == 0
        assert chisquare(times[~trained]).pvalue > TOO_UNLIKELY


@pytest.mark.parametrize("free", [0, 3, 6])
def test_a_single_free_item_is_always_drawn(free):
    dense = np.ones((3, 7), bool)
    dense[1, free], dense[[0, 2], 2] = False, False
    drawn = NegativeSampler(interactions_of(dense))(torch.tensor([1] * 200 + [0, 2]), seeded("cpu"))
    assert drawn.tolist() == [free] * 200 + [2, 2]


def test_a_user_with_everything_has_no_negative():
    dense = np.eye(4, 3, dtype=bool)
    dense[2] = True
    with pytest.raises(ValueError, match="user 2 interacted with all 3 items"):
        NegativeSampler(interactions_of(dense))


def test_negatives_keep_the_users_shape_and_come_from_the_generator(split):
    sampler, users = NegativeSampler(split.train), torch.tensor([[3, 4, 5], [5, 4, 3]])
    first, again, other = (sampler(users.repeat(5, 1), seeded("cpu", seed)) for seed in (1, 1, 2))
    assert first.shape == (10, 3) and torch.equal(first, again) and not torch.equal(first, other)


def test_drawn_ranks_are_distinct(device):
    ranks = draw_ranks(500, 8, 10, 3.0, device, seeded(device))
    assert ranks.shape == (500, 8) and ranks.min() >= 0 and ranks.max() < 10
    assert all(len(set(row)) == 8 for row in ranks.tolist())
    assert sorted(draw_ranks(1, 10, 10, 0.5, device, seeded(device))[0].tolist()) == list(range(10))


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_the_first_rank_drawn_is_exponential(temperature, device):
    """p(r) ∝ exp(−r / temperature). The expected counts below 5 at the far end are left out of the test."""
    n, depth = 20_000, 30
    times = np.bincount(draw_ranks(n, 1, depth, temperature, device, seeded(device)).flatten().cpu(), minlength=depth)
    p = np.exp(-np.arange(depth) / temperature)
    enough = n * p / p.sum() >= 5
    expected = (p / p[enough].sum())[enough] * times[enough].sum()
    assert chisquare(times[enough], expected).pvalue > TOO_UNLIKELY
    assert times[~enough].sum() < 0.01 * n


def test_later_ranks_are_drawn_from_those_that_are_left():
    """Two of three ranks, in order: p(a, b) = p(a) · p(b) / (1 − p(a))."""
    n, p = 20_000, np.exp(-np.arange(3) / 2)
    p /= p.sum()
    first, second = draw_ranks(n, 2, 3, 2.0, "cpu", seeded("cpu", 3)).T
    times = np.bincount(3 * first + second, minlength=9).reshape(3, 3)
    expected = n * p[:, None] * p / (1 - p[:, None])
    off_diagonal = ~np.eye(3, dtype=bool)
    assert times.trace() == 0
    assert chisquare(times[off_diagonal], expected[off_diagonal]).pvalue > TOO_UNLIKELY


def test_more_ranks_than_there_are():
    with pytest.raises(ValueError, match="11 distinct ranks cannot be drawn from a ranking 10 deep"):
        draw_ranks(2, 11, 10, 1.0, "cpu", seeded("cpu"))


def test_ranking_against_brute_force(split, device):
    """Whole numbers as factors, so that there are ties. User 2 has the fewest items left: the depth is cut to that."""
    rng = np.random.default_rng(0)
    p, q = (rng.integers(-3, 4, (n, 2)).astype(np.float32) for n in (split.n_users, split.n_items))
    scores, train = p @ q.T, matrix(split.train)
    least = int((~train).sum(1).min())
    for depth in (1, 5, least, least + 1, 1000):
        ranked = ranking(torch.from_numpy(p).to(device), torch.from_numpy(q).to(device), split.to(device).train, depth)
        expected = [sorted(np.flatnonzero(~train[u]), key=lambda i: (-scores[u, i], i))[:min(depth, least)]
                    for u in range(split.n_users)]
        assert ranked.tolist() == expected  # so never a training item, never −1

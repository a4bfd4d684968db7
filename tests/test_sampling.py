"""Draws: what they may never hit, and the distributions they follow."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import interactions_of, matrix, seeded
from scipy.stats import chisquare, gumbel_r, kstest

from rkd import Interactions, sampling
from rkd.sampling import NegativeSampler, draw_places, draw_ranks, gumbel

TOO_UNLIKELY = 1e-4  # a p-value; the seeds are fixed, so a test that passes once passes ever after


@pytest.mark.parametrize("listed", [0, 1 << 23])
def test_negatives_are_uniform_over_the_unseen_items(split, listed, device, monkeypatch):
    """Every user 4000 times: never a training item, all others equally often. User 1 has no training item at all."""
    monkeypatch.setattr(sampling, "LISTED", listed)
    train, n = split.to(device).train, 4000
    users = torch.arange(split.n_users, device=device)[:, None].expand(-1, n)
    drawn = NegativeSampler(train)(users, seeded(device))
    assert drawn.shape == users.shape and drawn.dtype == torch.int64
    for row, trained in zip(drawn.cpu().numpy(), matrix(split.train)):
        times = np.bincount(row, minlength=split.n_items)
        assert times[trained].sum() == 0
        assert chisquare(times[~trained]).pvalue > TOO_UNLIKELY


def test_negatives_looked_up_are_those_searched_for(split, device, monkeypatch):
    """The same draws give the same items, in small data and, by a search, in large."""
    train, users = split.to(device).train, torch.arange(split.n_users, device=device).repeat(500)
    found = []
    for listed in (len(matrix(train).flatten()), len(matrix(train).flatten()) - 1):
        monkeypatch.setattr(sampling, "LISTED", listed)
        sampler = NegativeSampler(train)
        found.append(sampler(users, seeded(device)))
    assert torch.equal(*found) and not sampler.listed


@pytest.mark.parametrize("listed", [0, 99])
@pytest.mark.parametrize("free", [0, 3, 6])
def test_a_single_free_item_is_always_drawn(free, listed, monkeypatch):
    monkeypatch.setattr(sampling, "LISTED", listed)
    dense = np.ones((3, 7), bool)
    dense[1, free], dense[[0, 2], 2] = False, False
    drawn = NegativeSampler(interactions_of(dense))(torch.tensor([1] * 200 + [0, 2]), seeded("cpu"))
    assert drawn.tolist() == [free] * 200 + [2, 2]


def test_a_user_with_everything_has_no_negative():
    dense = np.eye(4, 3, dtype=bool)
    dense[2] = True
    full = interactions_of(dense)
    for ids, name in ((None, "2"), (np.array(["ann", "bob", "cid", "dan"]), "'cid'")):
        with pytest.raises(ValueError, match=f"^user {name} interacted with all 3 items"):
            NegativeSampler(replace(full, user_ids=ids))


def test_negatives_keep_the_users_shape_and_come_from_the_generator(split):
    sampler, users = NegativeSampler(split.train), torch.tensor([[3, 4, 5], [5, 4, 3]])
    first, again, other = (sampler(users.repeat(5, 1), seeded("cpu", seed)) for seed in (1, 1, 2))
    assert first.shape == (10, 3) and torch.equal(first, again) and not torch.equal(first, other)


def whole(n, depth, device="cpu"):
    return torch.full((n,), depth, device=device)


def test_drawn_ranks_are_distinct(device):
    ranks = draw_ranks(whole(500, 10, device), 8, 10, 3.0, seeded(device))
    assert ranks.shape == (500, 8) and ranks.min() >= 0 and ranks.max() < 10
    assert all(len(set(row)) == 8 for row in ranks.tolist())
    assert sorted(draw_ranks(whole(1, 10, device), 10, 10, 0.5, seeded(device))[0].tolist()) == list(range(10))


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_the_first_rank_drawn_is_exponential(temperature, device):
    """p(r) ∝ exp(−r / temperature). The expected counts below 5 at the far end are left out of the test."""
    n, depth = 20_000, 30
    drawn = draw_ranks(whole(n, depth, device), 1, depth, temperature, seeded(device))
    times = np.bincount(drawn.flatten().cpu(), minlength=depth)
    p = np.exp(-np.arange(depth) / temperature)
    enough = n * p / p.sum() >= 5
    expected = (p / p[enough].sum())[enough] * times[enough].sum()
    assert chisquare(times[enough], expected).pvalue > TOO_UNLIKELY
    assert times[~enough].sum() < 0.01 * n


def test_later_ranks_are_drawn_from_those_that_are_left():
    """Two of three ranks, in order: p(a, b) = p(a) · p(b) / (1 − p(a))."""
    n, p = 20_000, np.exp(-np.arange(3) / 2)
    p /= p.sum()
    first, second = draw_ranks(whole(n, 3), 2, 3, 2.0, seeded("cpu", 3)).T
    times = np.bincount(3 * first + second, minlength=9).reshape(3, 3)
    expected = n * p[:, None] * p / (1 - p[:, None])
    off_diagonal = ~np.eye(3, dtype=bool)
    assert times.trace() == 0
    assert chisquare(times[off_diagonal], expected[off_diagonal]).pvalue > TOO_UNLIKELY


@pytest.mark.parametrize("n_draws", [4, 10, 13])
def test_rows_that_have_fewer_ranks_leave_places_empty(n_draws, device):
    """All that they have come first, then −1; p is that of the ranks there are; a row of full depth has the same ranks
    whatever the others' lengths."""
    lengths = torch.tensor([0, 1, 3, 7, 10] * 400, device=device)
    ranks = draw_ranks(lengths, n_draws, 10, 2.0, seeded(device))
    assert ranks.shape == (2000, n_draws) and ranks.dtype == torch.int64
    for length, row in zip(lengths.tolist(), ranks.tolist()):
        there = row[:min(length, n_draws)]
        assert len(set(there)) == len(there) and all(0 <= rank < length for rank in there)
        assert row[len(there):] == [-1] * (n_draws - len(there))
    full = draw_ranks(whole(2000, 10, device), n_draws, 10, 2.0, seeded(device))
    assert torch.equal(ranks[lengths == 10], full[lengths == 10]) and (full[:, :10] >= 0).all()
    p = np.exp(-np.arange(3) / 2)
    times = np.bincount(ranks[lengths == 3, 0].cpu(), minlength=3)
    assert len(times) == 3 and chisquare(times, 400 * p / p.sum()).pvalue > TOO_UNLIKELY


def test_places_follow_their_probabilities(device):
    """Of each row its own, which need not add up to 1; single ones, then two of them in order. None is impossible."""
    log_p = torch.tensor([[1.0, -np.inf, 0.0, 2.5, -1.0], [-30.0, -30.0, -31.0, -np.inf, -29.0]], device=device)
    n, p = 8000, torch.softmax(log_p.cpu().double(), 1).numpy()
    rows = log_p.repeat_interleave(n, 0)
    places, possible = draw_places(rows, 1, seeded(device))
    assert places.shape == possible.shape == (2 * n, 1) and possible.all()
    assert torch.equal(rows, log_p.repeat_interleave(n, 0))  # what was given stays as it is
    pairs, possible = draw_places(rows, 2, seeded(device, 1))
    assert possible.all() and (pairs[:, 0] != pairs[:, 1]).all()
    for k in range(2):
        some, mine = p[k] > 0, slice(k * n, (k + 1) * n)
        times = np.bincount(places[mine, 0].cpu(), minlength=5)
        assert times[~some].sum() == 0 and chisquare(times[some], n * p[k, some]).pvalue > TOO_UNLIKELY
        times = np.bincount((5 * pairs[mine, 0] + pairs[mine, 1]).cpu(), minlength=25).reshape(5, 5)
        expected = n * p[k][:, None] * p[k] / (1 - p[k][:, None])
        np.fill_diagonal(expected, 0)
        assert times[expected == 0].sum() == 0
        assert chisquare(times[expected > 0], expected[expected > 0]).pvalue > TOO_UNLIKELY


def test_places_where_too_few_are_possible(device):
    """All that are possible come first and are marked so; others, still distinct, fill the row. A view may be given."""
    log_p = torch.full((4, 6), -torch.inf, device=device)
    log_p[1, 4], log_p[2, [0, 3, 5]], log_p[3] = -2.0, 0.0, 1.0
    for rows in (log_p, log_p.T.contiguous().T):
        places, possible = draw_places(rows, 5, seeded(device))
        assert possible.tolist() == [[k < n for k in range(5)] for n in (0, 1, 3, 5)]
        assert all(len(set(row)) == 5 for row in places.tolist())
        assert places[1, 0] == 4 and set(places[2, :3].tolist()) == {0, 3, 5}
    (places, possible), (again, _) = (draw_places(log_p[3:4, :1].expand(50, 7), 7, seeded(device)) for _ in range(2))
    assert possible.all() and torch.equal(places, again) and (places.sort(1).values.cpu() == torch.arange(7)).all()
    assert len(set(map(tuple, places.tolist()))) > 40  # rows that share memory have noise of their own


def test_gumbel_noise_is_scipys(device):
    """Kolmogorov and Smirnov's test of 20,000 draws; the mean is Euler's constant."""
    drawn = gumbel(torch.zeros(200, 100, device=device), seeded(device)).flatten().cpu().numpy()
    assert kstest(drawn, gumbel_r.cdf).pvalue > TOO_UNLIKELY and np.isfinite(drawn).all()
    assert drawn.mean() == pytest.approx(np.euler_gamma, abs=0.03)


def test_negatives_of_pairs_are_those_of_their_users_in_any_order(monkeypatch):
    """Searched user by user or not, looked up or not: the same draws."""
    monkeypatch.setattr(sampling, "LISTED", 0)
    users, items = torch.arange(23).repeat(3), torch.cat([torch.arange(23), torch.arange(23) + 5, torch.arange(23) + 9])
    for order in (torch.randperm(69, generator=torch.Generator().manual_seed(1)), users.argsort(stable=True)):
        train = Interactions(23, 37, users[order], items[order])
        negatives = sampling.NegativeSampler(train)
        assert not negatives.listed
        for _ in range(2):
            drawn, expected = (draw(train.users, torch.Generator().manual_seed(5))
                               for draw in (negatives.of_pairs, negatives))
            assert torch.equal(drawn, expected) and len(drawn.unique()) > 20

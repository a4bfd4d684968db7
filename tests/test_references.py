"""EASE against the regressions that it solves, item neighbours against loops, and what both promise of lists; iALS
against its objective."""

import sys

import numpy as np
import pytest
import torch

import rkd
from rkd.references import ease, ials, item_knn, matrix, popularity


@pytest.fixture(scope="module")
def split():
    return rkd.load("synthetic").split("unkd", 0)


@pytest.fixture(scope="module")
def x(split):
    dense = np.zeros((split.n_users, split.n_items))
    for u, i in zip(split.train.users.tolist(), split.train.items.tolist()):
        dense[u, i] = 1
    return dense


def same_lists(found, scores, x, depth):
    """Every user's list is that of the dense scores without its training items."""
    scores = np.where(x > 0, -np.inf, scores)
    for user, (items, listed) in enumerate(zip(found.items.tolist(), found.listed.tolist())):
        assert len(items) == depth and not x[user, items].any()
        assert np.allclose(listed, scores[user, items], atol=1e-5)
        assert np.allclose(listed, np.sort(scores[user])[::-1][:depth], atol=1e-5)


def test_ease_is_a_ridge_regression_of_each_item_on_all_others(split, x):
    l2, b = 3.0, np.zeros((split.n_items, split.n_items))
    for i in range(split.n_items):
        others = [j for j in range(split.n_items) if j != i]
        a = x[:, others]
        b[others, i] = np.linalg.solve(a.T @ a + l2 * np.eye(len(others)), a.T @ x[:, i])
    same_lists(ease(split, l2, depth=30), x @ b, x, 30)


def test_item_neighbours_are_the_naive_ones(split, x):
    k, shrink = 7, 2.0
    s = np.zeros((split.n_items, split.n_items))  # of item i (column) to its neighbours (rows)
    for i in range(split.n_items):
        near = []
        for j in range(split.n_items):
            both = (x[:, i] * x[:, j]).sum()
            if i != j and both:
                near.append((-both / (np.sqrt(x[:, i].sum() * x[:, j].sum()) + shrink), j))
        for similarity, j in sorted(near)[:k]:
            s[j, i] = -similarity
    same_lists(item_knn(split, k, shrink, depth=20), x @ s, x, 20)


def test_popularity_ranks_by_the_number_of_users(split, x):
    best = rkd.recommend(popularity(split), split, torch.arange(3), 5)
    for user, items in enumerate(best.tolist()):
        counts = np.where(x[user] > 0, -1, x.sum(0))
        assert sorted(counts[items], reverse=True) == list(counts[items]) == sorted(counts, reverse=True)[:5]


def test_ials_ends_where_its_objective_is_flat(split, x):
    """No factor's gradient of the dense sum is left, of factors that are not nothing."""
    pytest.importorskip("implicit")
    l2, alpha = 3.0, 5.0
    u, v = (table.double().requires_grad_() for table in ials(split, 4, l2, alpha, iterations=300).factors())
    p = torch.from_numpy(x)
    c = torch.where(p > 0, alpha, 1.0)
    (c * (p - u @ v.T) ** 2).sum().backward()
    for table in (u, v):
        assert table.abs().max() > 0.1
        torch.testing.assert_close(table.grad, -2 * l2 * table.detach(), rtol=0, atol=2e-3)


def test_ials_is_the_same_for_the_same_seed(split):
    pytest.importorskip("implicit")
    first, again, other = (ials(split, 4, iterations=3, seed=seed).factors() for seed in (0, 0, 1))
    assert all(map(torch.equal, first, again)) and not torch.equal(first[0], other[0])


def test_without_implicit_ials_says_what_to_install(split, monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(ImportError, match="^iALS needs implicit: pip install implicit$"):
        ials(split, 4)


def test_they_are_above_popularity_and_teach(split):
    floor = rkd.evaluate(popularity(split), split)["ndcg@10"]
    for model in (ease(split), item_knn(split)):
        assert rkd.evaluate(model, split)["ndcg@10"] > floor
        assert rkd.distill(model, split, "sld", epochs=1, progress=False).epochs == 1


def test_users_with_few_unseen_items_have_short_lists():
    users = torch.tensor([0, 0, 0, 1, 1, 2])
    items = torch.tensor([0, 1, 2, 0, 1, 3])
    train = rkd.Interactions(3, 4, users, items)
    empty = rkd.Interactions(3, 4, users[:0], items[:0])
    split = rkd.Split(train, empty, empty)
    assert (ease(split).items >= 0).sum(1).tolist() == [1, 2, 3]
    assert matrix(split).toarray().tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("made, words", [
    (lambda s: ease(s, 0.0), "l2 must be above 0"), (lambda s: ease(s, depth=0), "depth must be at least 1"),
    (lambda s: item_knn(s, 0), "k must be at least 1"),
    (lambda s: item_knn(s, shrink=-1.0), "shrink must be 0 or more"), (lambda s: ials(s, 0), "dim must be at least 1"),
    (lambda s: ials(s, 4, l2=-1.0), "l2 must be 0 or more"), (lambda s: ials(s, 4, alpha=0.0), "alpha must be above 0"),
    (lambda s: ials(s, 4, iterations=0), "iterations must be at least 1")])
def test_settings_out_of_range(split, made, words):
    with pytest.raises(ValueError, match=words):
        made(split)

"""The fast kernels: their values against the plain formulas, and their gradients against autograd on these."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import numpy, seeded
from torch.testing import assert_close

from rkd.kernels import (
    CHUNKS,
    SORTED,
    WHOLE,
    ItemLists,
    _sparse,
    bpr,
    bpr_formula,
    dots,
    list_scores,
    places_of,
    rows,
    scores_by_rows,
    top_k_of_rows,
    weighted_sums,
)
from rkd.methods import experts
from rkd.methods.experts import by_group

N_ITEMS = 9
USERS = [5, 20, 5]  # one of them twice
MANY = WHOLE * len(USERS)  # above so many users, list_scores scatters


def by_rows(table, users, lists):
    items = lists.items if users is None else lists.items[users]
    return scores_by_rows(table, users, items, len(lists.items), lists.of_users)


SCORES = pytest.mark.parametrize("scores", [list_scores, by_rows])


def normal(*shape, device="cpu", seed=0):
    return torch.randn(shape, generator=seeded(seed=seed)).to(device)


def plain_scores(table, users, items):
    users = range(len(items)) if users is None else users
    return (table[users][:, None] * table[len(items) + items[users]]).sum(2)


def some_lists(n_users, length, device):
    """Items in any order, in most lists some of them more than once; and nobody has item 4."""
    items = torch.randint(N_ITEMS - 1, (n_users, length), generator=seeded(seed=1))
    items[:, -1] = items[:, 0]
    return (items + (items >= 4)).to(device)


def test_rows_with_gradients_that_add_up(device):
    """Of an index of any shape, with repeats: over two backwards, and onto a gradient that was there."""
    table, weight, index = normal(7, 3, device=device), normal(2, 3, 3, device=device), [[4, 4, 1], [6, 4, 0]]
    index = torch.tensor(index, device=device)
    mine, plain = (table.clone().requires_grad_() for _ in range(2))
    for start in (None, normal(7, 3, device=device, seed=2)):
        for x in (mine, plain):
            x.grad = None if start is None else start.clone()
        for _ in range(2):
            found = rows(mine, index)
            assert torch.equal(found, table[index])
            (weight * found.square()).sum().backward()
            (weight * plain[index].square()).sum().backward()
        assert_close(mine.grad, plain.grad)


@pytest.mark.parametrize("n_rows", [50, SORTED + 10])
def test_gradients_of_so_many_rows_that_they_are_sorted_or_not(n_rows, device):
    """Above and below the table's length; rows that none is of stay as they were."""
    index = torch.randint(n_rows - 1, (SORTED + 5,), generator=seeded(seed=1)).to(device)
    index[index == 7] = 8
    table, weight = normal(n_rows, 3, device=device), normal(SORTED + 5, 3, device=device, seed=2)
    table.requires_grad_().grad = start = normal(n_rows, 3, device=device, seed=3)
    expected = start.double().cpu().index_add(0, index.cpu(), weight.double().cpu())
    (rows(table, index) * weight).sum().backward()
    assert_close(table.grad.double().cpu(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(table.grad.cpu()[[7, -1]], expected[[7, -1]].float())


def test_places_of_values_are_those_of_a_stable_sort():
    values = torch.tensor([3, 0, 3, 5, 0, 3], dtype=torch.int32)
    offsets, places = places_of(values, 7)
    assert offsets.tolist() == [0, 2, 2, 2, 5, 5, 6, 6] and places.tolist() == [1, 4, 0, 2, 5, 3]
    assert [x.tolist() for x in places_of(values[:0], 2)] == [[0, 0, 0], []]


@SCORES
@pytest.mark.parametrize("of_users", [False, True])
@pytest.mark.parametrize("length", [1, 5, N_ITEMS + 3])
@pytest.mark.parametrize("n_users, users", [(MANY, USERS), (MANY + 1, USERS), (6, [3, 0, 5, 1, 2, 4]), (40, [39]),
                                            (6, None)])
def test_scores_of_lists_are_autograds_to_their_gradients(scores, n_users, users, length, of_users, device):
    """Of users' and of items' rows, from nothing and onto a gradient that was there, twice each; in float64. Lists of
    users for items are the same where what is listed comes first in the table."""
    def turned(x):
        return x.roll(N_ITEMS, 0) if of_users else x

    table, items = normal(n_users + N_ITEMS, 4, device=device), some_lists(n_users, length, device)
    users = None if users is None else torch.tensor(users, device=device)  # None: everyone
    weight = normal(n_users if users is None else len(users), length, device=device, seed=3)
    lists = ItemLists(items, N_ITEMS, of_users)
    mine, plain = turned(table).clone().requires_grad_(), table.double().requires_grad_()
    for start in (None, normal(*table.shape, device=device, seed=2)):
        mine.grad, plain.grad = (None, None) if start is None else (turned(start).clone(), start.double())
        for _ in range(2):
            found, expected = scores(mine, users, lists), plain_scores(plain, users, items)
            assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
            (weight * found.square()).sum().backward()
            (weight * expected.square()).sum().backward()
            assert_close(mine.grad.double(), turned(plain.grad), rtol=1e-5, atol=1e-4)


def test_scores_by_rows_take_a_list_for_each_of_the_users(device):
    """Not for everyone: user 5 comes twice, with other items each time. No users: everyone in order."""
    table = normal(MANY + N_ITEMS, 4, device=device).requires_grad_()
    items, users = some_lists(3, 6, device), torch.tensor(USERS, device=device)
    found, plain = scores_by_rows(table, users, items, MANY), table.detach().clone().requires_grad_()
    expected = torch.stack([plain[MANY + row] @ plain[u] for u, row in zip(USERS, items)])
    assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    assert_close(table.grad, plain.grad, rtol=1e-5, atol=1e-5)
    everyone = some_lists(MANY, 2, device)
    assert torch.equal(scores_by_rows(table, None, everyone, MANY),
                       scores_by_rows(table, torch.arange(MANY, device=device), everyone, MANY))


def test_weighted_sums_of_rows(device):
    """A sparse matrix with an empty row, an empty last row and a repeated column, times a dense one."""
    offsets, columns = (torch.tensor(x, device=device) for x in ([0, 2, 2, 5, 5], [3, 1, 0, 3, 0]))
    weights, table = normal(5, device=device), normal(4, 3, device=device, seed=1)
    dense = torch.zeros(4, 4, device=device)
    for row, column, weight in zip([0, 0, 2, 2, 2], columns.tolist(), weights):
        dense[row, column] += weight
    for kind in (torch.int64, torch.int32):
        assert_close(weighted_sums(offsets.to(kind), columns.to(kind), weights, table), dense @ table)


@pytest.mark.parametrize("length", [1, 5, N_ITEMS, N_ITEMS + 3])
def test_dots_of_every_users_list(length, device):
    """Items repeat; lists may be longer than the catalogue, which sparse products cannot do."""
    users, of_items = normal(12, 4, device=device), normal(N_ITEMS, 4, device=device, seed=1)
    items = some_lists(12, length, device)
    lists = ItemLists(items, N_ITEMS)
    assert _sparse(users, lists) == (device.type == "cpu" and length <= N_ITEMS)
    found = dots(users, of_items, lists)
    assert found.shape == (12, length)
    expected = [[u @ of_items.cpu().double()[i] for i in row] for u, row in zip(users.cpu().double(), items.tolist())]
    assert_close(found.cpu().double(), torch.tensor(expected).double().view(12, length), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_users, whole", [(MANY, True), (MANY + 1, False)])
def test_both_ways_back_are_taken(n_users, whole):
    """The transpose of all lists is made where it pays, and only there: so the test above is of both."""
    table, lists = normal(n_users + N_ITEMS, 4).requires_grad_(), ItemLists(some_lists(n_users, 5, "cpu"), N_ITEMS)
    list_scores(table, torch.tensor(USERS), lists).sum().backward()
    assert ("by_item" in vars(lists)) == whole


@SCORES
def test_scores_beside_other_terms_of_a_loss(scores, device):
    """Gradients of several reads of one table add up, two of them of the same lists, whose incoming one is no matrix in
    memory; the table itself is read once as well."""
    table, items = normal(MANY + N_ITEMS, 4, device=device), some_lists(MANY, 5, device)
    users, others = torch.tensor(USERS, device=device), torch.arange(MANY, device=device)
    mine, plain, lists = table.clone().requires_grad_(), table.clone().requires_grad_(), ItemLists(items, N_ITEMS)
    (scores(mine, users, lists).mean() + 2 * scores(mine, others, lists).T[1:].sum() + rows(mine, users).sum()
     + mine.square().sum()).backward()
    (plain_scores(plain, users, items).mean() + 2 * plain_scores(plain, others, items).T[1:].sum() + plain[users].sum()
     + plain.square().sum()).backward()
    assert_close(mine.grad, plain.grad, rtol=1e-5, atol=1e-4)


def test_importing_and_using_it_warns_of_nothing():
    """In a process of its own, since torch says only once that CSR is in beta."""
    code = ("import torch; from rkd.kernels import csr\n"
            "print(csr(torch.tensor([0, 1, 4]), torch.tensor([2, 1, 0, 1]), torch.ones(4), 3).to_dense().tolist())")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout == "[[0.0, 0.0, 1.0], [1.0, 2.0, 0.0]]\n"


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("group, n_groups", [([4, 0, 4, 2, 4, 0, 5, 2], 7), ([0, 0, 0], 1), ([3, 3], 4), ([1], 3)])
def test_rows_by_group(group, n_groups, fixed, device, monkeypatch):
    """Each row in its group's matrix, above the zeros, and where its slot says; and the gradient back from there."""
    monkeypatch.setattr(experts, "fixed_shapes", lambda device: fixed)
    table, group = normal(len(group), 3, device=device).requires_grad_(), torch.tensor(group, device=device)
    matrices, slot = by_group(table, group, n_groups)
    sizes = group.bincount(minlength=n_groups)
    most = len(group) if fixed else int(sizes.max())
    assert matrices.shape == (n_groups, most, 3) and len(set(slot.tolist())) == len(group)
    assert torch.equal(matrices.flatten(0, 1)[slot], table)
    assert torch.equal(slot // most, group) and (slot % most < sizes[group]).all()
    assert matrices.any(2).sum(1).tolist() == sizes.tolist()
    weight = normal(*matrices.shape, device=device, seed=1)
    (weight * matrices).sum().backward()
    assert torch.equal(table.grad, weight.flatten(0, 1)[slot])


def test_bprs_formula_is_numpys():
    """−mean log σ(⟨u, i⟩ − ⟨u, j⟩) + l2 · half the squares of all three over the batch's size."""
    triples = normal(3, 20, 5).double()
    (u, i, j), = numpy(triples)
    margin = (u * i).sum(1) - (u * j).sum(1)
    expected = np.log1p(np.exp(-margin)).mean() + 0.3 * (u**2 + i**2 + j**2).sum() / 2 / 20
    assert bpr_formula(triples, 0.3).item() == pytest.approx(expected)
    assert bpr_formula(triples).item() == pytest.approx(np.log1p(np.exp(-margin)).mean())


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_bpr_is_its_formula_and_autograds_gradient_of_it(l2, device):
    """Times a factor, so that the incoming gradient counts."""
    mine = normal(3, 50, 7, device=device).requires_grad_()
    plain = mine.detach().clone().requires_grad_()
    found, expected = bpr(mine.clone(), l2), bpr_formula(plain, l2)
    assert_close(found, expected)
    (3 * found).backward()
    (3 * expected).backward()
    assert_close(mine.grad, plain.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("width", [CHUNKS, 5 * CHUNKS, 50 * CHUNKS])
@pytest.mark.parametrize("levels", [2, 9, 10_000])
def test_top_k_of_rows_is_a_stable_sorts(width, levels, device):
    """Few different scores, so that ties run across every cut, or hardly any ties; a row of nothing but −∞, one with a
    single score, and k from 1 to all of the row."""
    rng = np.random.default_rng(levels)
    scores = rng.integers(levels, size=(40, width)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    scores[7], scores[8, 1:], scores[8, 0] = -np.inf, -np.inf, 3
    order = np.argsort(-scores, axis=1, kind="stable")
    expected = np.where(np.take_along_axis(scores, order, 1) > -np.inf, order, -1)
    for k in {1, 2, 7, width - 1, width}:
        found = top_k_of_rows(torch.from_numpy(scores).to(device), k)
        assert found.shape == (40, k) and np.array_equal(found.cpu().numpy(), expected[:, :k])

"""Models that are what they are: factors against NumPy's products, lists against looking each item up"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import interactions_of, product

from rkd import MF, Given, LightGCN, Lists
from rkd.given import fixed
from rkd.kernels import DENSE, ItemLists


def close(found, expected, tolerance=1e-6):
    torch.testing.assert_close(found.detach().cpu().double(), expected.double(), rtol=1e-4, atol=tolerance)


# ------------------------------------------------------------------------------------------------------------- factors

@pytest.fixture
def given(split, device):
    """(a Given on the device, all its scores as NumPy gives them)"""
    rng = np.random.default_rng(3)
    p, q = rng.standard_normal((split.n_users, 6)), rng.standard_normal((split.n_items, 6))
    return Given((p, q)).to(device), p @ q.T


@pytest.mark.parametrize("length", [1, 2, 5, 40])
def test_given_scores_are_numpys(given, length, device):
    """Of so few items that they are scored one by one, of more, which are picked from the dense product, and of lists
    longer than the catalogue of 37."""
    assert DENSE * 1 < 37 < DENSE * 2
    model, expected = given
    lists = np.random.default_rng(length).integers(37, size=(23, length))
    listed = torch.from_numpy(lists).to(device)
    for users in (np.array([4, 22, 4, 0]), None):
        index = np.arange(23) if users is None else users
        some = None if users is None else torch.from_numpy(users).to(device)
        close(model.scores(some, ItemLists(listed, 37)), torch.from_numpy(expected[index[:, None], lists[index]]))
        own = np.random.default_rng(9).integers(37, size=(len(index), length))  # a user's two lists differ
        close(model.scores(some, torch.from_numpy(own).to(device)), torch.from_numpy(expected[index[:, None], own]))


def test_given_scores_of_more_users_than_one_block(device):
    rng = np.random.default_rng(0)
    p, q = rng.standard_normal((600, 3)), rng.standard_normal((30, 3))
    users, items = rng.integers(600, size=700), rng.integers(30, size=(700, 10))
    found = Given((p, q)).to(device).scores(*(torch.from_numpy(x).to(device) for x in (users, items)))
    close(found, torch.from_numpy((p @ q.T)[users[:, None], items]))


def test_given_takes_what_is_two_matrices(split):
    p, q = np.ones((23, 2)), np.arange(74).reshape(37, 2)
    trained = torch.nn.Parameter(torch.ones(23, 2))
    for pair in ((p, q), [p.tolist(), q.tolist()], (trained, torch.from_numpy(q)), (x for x in (p, q))):
        model = Given(pair)
        users, items = model.factors()
        assert users.dtype == items.dtype == torch.float32 and not users.requires_grad
        assert np.array_equal(users, p) and np.array_equal(items, q) and (model.n_users, model.n_items) == (23, 37)
        assert model.inputs() is model.factors()
    with pytest.raises(TypeError, match="expected a model or a pair .*, not int"):
        Given(7)
    with pytest.raises(TypeError, match="expected a model or a pair .*, not tuple"):
        Given((p, q, q))
    for pair in ((p, q[:, :1]), (p[0], q), (p, q[None])):
        with pytest.raises(ValueError, match="factors must be two matrices of equal width"):
            Given(pair)


def test_inputs_come_along(split, device):
    """A model before propagation, through ``fixed`` and onto a device."""
    model = LightGCN(split, 4)
    found = fixed(model, split, device)
    for mine, whole in zip((*found.factors(), *found.inputs()), (*model.factors(), *model.inputs())):
        assert mine.device == device
        close(mine, whole)
    again = found.to("cpu").inputs()
    assert all(x.device.type == "cpu" for x in again) and torch.equal(torch.cat(again), model.table)
    assert found.inputs() is not found.factors() and fixed(MF(split, 3), split).inputs()[0].shape == (23, 3)


# --------------------------------------------------------------------------------------------------------------- fixed

def test_what_can_be_fixed(split, device):
    """On the split's device, or the one given; a model as it is now, whatever becomes of it later."""
    model, pair = MF(split, 3), (np.ones((23, 2)), np.ones((37, 2)))
    lists = Lists([[0]] * 23, [[1.0]] * 23, 37)
    there = split.to(device)
    for anything in (model, pair, Given(pair), SimpleNamespace(factors=lambda: pair)):
        found = fixed(anything, there)
        assert isinstance(found, Given) and found.factors()[0].device == device
        assert (product(found) == product(model if anything is model else pair_of(pair))).all()
    assert isinstance(fixed(lists, there), Lists) and fixed(lists, there).items.device == device
    assert fixed(pair, there, "cpu").factors()[0].device.type == "cpu"


def pair_of(arrays):
    return [torch.from_numpy(x) for x in arrays]


def test_what_cannot_be_fixed(split):
    for nothing in (7, None, "mf", (np.ones((23, 2)),), MF):
        with pytest.raises(TypeError):
            fixed(nothing, split)
    other = interactions_of(np.ones((22, 37), bool)).split()
    for model in (MF(other, 3), LightGCN(other, 3), Given((np.ones((22, 2)), np.ones((37, 2)))),
                  (np.ones((22, 2)), np.ones((37, 2))), Lists([[0]] * 22, [[1.0]] * 22, 37)):
        with pytest.raises(ValueError, match="the model is of 22 users and 37 items, the split of 23 and 37"):
            fixed(model, split)
    with pytest.raises(ValueError, match="of 23 users and 36 items, the split of 23 and 37"):
        fixed(Lists([[0]] * 23, [[1.0]] * 23, 36), split)


# --------------------------------------------------------------------------------------------------------------- lists

# item → score, of 9 items
LISTED = [{5: 0.5, 2: 3.0, 8: -1.0}, {0: 2.0}, {7: 1.0, 3: 1.0}, {8: -2.0, 0: -4.0, 1: -3.0}]


@pytest.fixture
def lists(device) -> Lists:
    """LISTED, filled up by −1, with scores there that must not count."""
    items, scores = (torch.tensor([[*row, *[fill] * (3 - len(row))] for row in rows])
                     for rows, fill in ((LISTED, -1), ([list(row.values()) for row in LISTED], 99.0)))
    return Lists(items, scores, 9).to(device)


def test_a_list_scores_what_it_holds_and_all_else_as_its_worst(lists, device):
    def score(user, item):
        return LISTED[user].get(item, min(LISTED[user].values()))

    everything = torch.arange(9, device=device).expand(4, 9)
    whole = [[score(u, i) for i in range(9)] for u in range(4)]
    assert lists.scores(None, everything).tolist() == lists.scores(None, ItemLists(everything, 9)).tolist() == whole
    users = torch.tensor([3, 0, 3], device=device)
    items = torch.tensor([[1, 1, 6], [8, 2, 5], [0, 8, 1]], device=device)  # repeated, in any order
    expected = [[score(u, i) for i in row] for u, row in zip((3, 0, 3), items.tolist())]
    assert lists.scores(users, items).tolist() == expected
    assert lists.scores(users, ItemLists(everything, 9)).tolist() == [whole[u] for u in (3, 0, 3)]


def test_a_lists_top_is_its_own_order(lists, device):
    """Best first, the earlier of equals; without those seen; −1 where there are no more."""
    users, nothing = torch.tensor([0, 2, 3, 1], device=device), interactions_of(np.zeros((4, 9), bool)).to(device)
    assert lists.top(users, 2, nothing).tolist() == [[2, 5], [7, 3], [8, 1], [0, -1]]
    assert lists.top(users, 5, nothing).tolist() == [[2, 5, 8, -1, -1], [7, 3, -1, -1, -1], [8, 1, 0, -1, -1],
                                                     [0, -1, -1, -1, -1]]
    dense = np.zeros((4, 9), bool)
    dense[0, [2, 4]] = dense[1, 0] = dense[3, 1] = True
    seen = interactions_of(dense).to(device)
    assert lists.top(users, 2, seen).tolist() == [[5, 8], [7, 3], [8, 0], [-1, -1]]
    assert lists.ranking(1, seen).tolist() == [[5], [-1], [7], [8]]
    some = torch.tensor([0, 3, 5], device=device)
    assert lists.top(users, 2, seen, some).tolist() == [[5, -1], [3, -1], [0, -1], [-1, -1]]
    assert lists.top(users, 9, seen, some).shape == (4, 3)  # no longer than there are items
    with pytest.raises(ValueError, match="there is no item to rank"):
        lists.top(users, 2, seen, some[:0])


def test_lists_of_a_models_scores_are_that_model(given, split, device):
    """All items listed, in an order of chance: the same scores, the same rankings."""
    model, scores = given
    items = np.random.default_rng(0).permuted(np.tile(np.arange(37), (23, 1)), axis=1)
    whole = Lists(items, np.take_along_axis(scores, items, 1), 37).to(device)
    train, some = split.to(device).train, torch.tensor([1, 4, 20, 36], device=device)
    for depth in (1, 10, 37):
        assert torch.equal(whole.ranking(depth, train), model.ranking(depth, train))
        assert torch.equal(whole.ranking(depth, train, some), model.ranking(depth, train, some))
    close(whole.scores(None, torch.arange(37, device=device).expand(23, 37)), torch.from_numpy(scores))


def test_lists_have_no_embeddings(lists):
    for name in ("factors", "inputs"):
        with pytest.raises(ValueError, match="Lists has scores, but no embeddings"):
            getattr(lists, name)()


@pytest.mark.parametrize("items, scores, message", [
    ([0, 1], [1, 2], "two matrices"),
    ([[0, 1]], [[1]], r"two matrices \[n_users, L\], not \(1, 2\) and \(1, 1\)"),
    ([[], []], [[], []], "two matrices"),
    ([[0], [1]], [[1.0], [math.nan]], "not a finite number"),
    ([[0], [1]], [[1.0], [-math.inf]], "not a finite number"),
    ([[0], [5]], [[1], [2]], "item 5 is listed, but there are 5"),
    ([[0, 1], [-1, -1]], [[1, 2], [1, 2]], "the list of user 1 is empty"),
    ([[0, 1, 2], [4, 3, 4]], [[1, 2, 3], [1, 2, 3]], "user 1's list holds item 4 twice"),
])
def test_what_lists_refuse(items, scores, message):
    with pytest.raises(ValueError, match=message):
        Lists(items, scores, 5)


def test_places_left_empty_may_hold_any_score():
    """So may two of them: they are no item that is given twice."""
    lists = Lists([[-1, 2, -1], [4, -1, -1]], [[math.nan, 1.0, math.inf], [2.0, 0.0, 0.0]], 5)
    assert lists.scores(None, torch.tensor([[2, 4, 0]] * 2)).tolist() == [[1, 1, 1], [2, 2, 2]]

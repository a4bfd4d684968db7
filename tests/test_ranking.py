"""Rankings of all items and of some, and what users have seen, against brute force. (Evaluation: test_evaluate.py)"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import interactions_of, matrix, seeded

from rkd import MF, Distiller, Given
from rkd.ranking import rows_of, seen, top_k_within


def whole_factors(split, seed):
    """Whole numbers as factors, so that there are ties."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-3, 4, (n, 2)).astype(np.float32) for n in (split.n_users, split.n_items)]


def brute(scores, train, items, depth):
    """Each user's best of ``items`` that are not in train, equal scores by id: lists of at most ``depth``."""
    return [sorted((i for i in items if not train[u, i]), key=lambda i: (-scores[u, i], i))[:depth]
            for u in range(len(scores))]


def filled(lists, width):
    return [row + [-1] * (width - len(row)) for row in lists]


def test_rankings_against_brute_force(split, device):
    """Of everyone, and of some in any order; −1 where a user has no more, of whom user 2 has the fewest left."""
    p, q = whole_factors(split, 0)
    train, there = matrix(split.train), split.to(device)
    model, least = Given((p, q)).to(device), int((~train).sum(1).min())
    for depth in (1, 5, least, least + 1, split.n_items, 1000):
        expected = filled(brute(p @ q.T, train, range(split.n_items), depth), depth)
        assert model.ranking(depth, there.train).tolist() == expected
        users = [7, 2, 2, 0]
        some = model.top(torch.tensor(users, device=device), depth, there.train)
        assert some.tolist() == [expected[u] for u in users]
    assert expected[2].count(-1) == 1000 - least


def test_a_methods_best_are_what_each_user_has(split, device):
    """Never a training item; −1 where one has no more, be it all, which shortens nobody else's."""
    p, q = whole_factors(split, 0)
    train, there = matrix(split.train), split.to(device)
    teacher, least = Given((p, q)).to(device), int((~train).sum(1).min())
    method = Distiller(teacher, there, seeded(device))
    for depth in (1, 5, least, least + 1, 1000):
        width = min(depth, split.n_items)
        expected = filled(brute(p @ q.T, train, range(split.n_items), width), width)
        assert method.best(teacher, depth).tolist() == expected
    full = train.copy()
    full[4] = True
    emptied = replace(split, **{part: interactions_of(full if part == "train" else full & False)
                                for part in ("train", "valid", "test")}).to(device)
    expected[4] = [-1] * split.n_items
    assert Distiller(teacher, emptied, seeded(device)).best(teacher, 1000).tolist() == expected


def test_rankings_of_some_items_against_brute_force(split, device):
    """With ties. User 2 has few left or none, so that its ranking is shorter, −1 at its end."""
    p, q = whole_factors(split, 1)
    train, there, shorter = matrix(split.train), split.to(device).train, 0
    factors = [torch.from_numpy(x).to(device) for x in (p, q)]
    everyone = torch.arange(split.n_users, device=device)
    for items in ([0, 7, 11, 30], [5], [3, 36], range(split.n_items), range(8, 33), np.flatnonzero(train[2])):
        for depth in (1, 4, 1000):
            wanted = torch.tensor(list(items), device=device)
            width = min(depth, len(items))
            expected = filled(brute(p @ q.T, train, items, depth), width)
            found = top_k_within(*factors, everyone, depth, there, wanted)
            assert found.dtype == torch.int64 and found.tolist() == expected
            assert Given(factors).ranking(depth, there, wanted).tolist() == expected
            some = top_k_within(*factors, torch.tensor([9, 2, 2], device=device), depth, there, wanted)
            assert some.tolist() == [expected[u] for u in (9, 2, 2)]
            shorter += -1 in expected[2]
    assert shorter > 6 and set(expected[2]) == {-1}


def test_none_of_the_items(split):
    none, model = torch.zeros(0, dtype=torch.int64), MF(split, 3)
    for rank in (model.ranking, Given(model.factors()).ranking):
        with pytest.raises(ValueError, match="there is no item to rank: .* Take fewer groups"):
            rank(5, split.train, none)


def test_seen_against_brute_force(split, device):
    """Every pair, in any order and more than once; users without training items and with almost all have theirs."""
    train, there = matrix(split.train), split.to(device).train
    items = np.random.default_rng(0).permuted(np.tile(np.arange(split.n_items), (split.n_users, 2)), axis=1)
    for users in (np.arange(split.n_users), np.array([22, 2, 2, 0])):
        found = seen(there, torch.from_numpy(users).to(device), torch.from_numpy(items[users]).to(device))
        found = found.cpu().numpy()
        assert found.dtype == bool and (found == np.take_along_axis(train[users], items[users], 1)).all()
    everyone = torch.arange(23, device=device)
    assert seen(there, everyone, torch.zeros(23, 0, device=device).long()).shape == (23, 0)
    nothing = interactions_of(train & False).to(device)
    assert not seen(nothing, everyone, torch.from_numpy(items).to(device)).any()


def test_rows_of_users_are_their_pairs(split, device):
    """In the order of the users, who may repeat."""
    users, train = [5, 1, 2, 5], matrix(split.train)
    rows, items = rows_of(split.to(device).train, torch.tensor(users, device=device))
    expected = [(row, i) for row, u in enumerate(users) for i in np.flatnonzero(train[u])]
    assert list(zip(rows.tolist(), items.tolist())) == expected

"""Before the first epoch: whoever gives a teacher whose rows are in another order, whose numbers are none, or which is
of another size is told so, by their own ids."""

import warnings

import numpy as np
import pytest
import torch

import rkd
from rkd import MF, Given, Lists, TeacherWarning, distill, evaluate, train
from rkd.datasets import synthetic
from rkd.door import better, clear, drawn, warn_of_order

QUIET = dict(progress=False, device="cpu")


@pytest.fixture(scope="module")
def split():
    return synthetic.world(150, 100, rank=4, signal=2.0, popularity=1.5, n_train=30).split


@pytest.fixture(scope="module")
def teacher(split):
    return train(MF(split, 16), split, lr=1e-2, epochs=40, **QUIET).model


def order(n, how):
    """Row numbers in another order of users or items 1…n."""
    if how == "as text":
        return np.argsort([str(k) for k in range(1, n + 1)])
    return {"right": np.arange(n), "by appearance": np.random.default_rng(3).permutation(n),
            "down": np.roll(np.arange(n), 1), "up": np.roll(np.arange(n), -1)}[how]


def told(teacher, split) -> str:
    """The warning, or ""."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_order(teacher, split)
    return "\n".join(str(warning.message) for warning in caught)


def lists_of(model, split, depth=30):
    """Of unseen items, as every library recommends; made before rows get into another order."""
    items = model.ranking(depth, split.train)
    return items, model.scores(None, items.clamp(min=0))


def in_order(kind, teacher, split, users, items):
    """The teacher with its rows in these orders: the row of user k is that of user users[k]."""
    u, v = teacher.factors()
    if kind == "factors":
        return Given((u[users], v[items]))
    listed, scores = lists_of(Given((u, v)), split)
    return Lists(torch.from_numpy(np.argsort(items))[listed][users], scores[users], split.n_items)


@pytest.mark.parametrize("kind", ["factors", "lists"])
def test_a_teacher_in_the_splits_order_passes(kind, teacher, split):
    right = in_order(kind, teacher, split, order(150, "right"), order(100, "right"))
    assert told(right, split) == ""


@pytest.mark.parametrize("kind", ["factors", "lists"])
@pytest.mark.parametrize("users, items", [("as text", "right"), ("by appearance", "right"), ("right", "as text"),
                                          ("right", "by appearance"), ("as text", "as text"),
                                          ("by appearance", "by appearance"), ("down", "right"), ("right", "down"),
                                          ("up", "up"), ("right", "up")])
def test_a_teacher_in_another_order_is_noticed(kind, users, items, teacher, split):
    """Even where only its users are, and the items' popularity is all that it still knows."""
    wrong = in_order(kind, teacher, split, order(150, users), order(100, items))
    assert "rkd.Given((user_factors, item_factors), user_ids=…" in told(wrong, split)


@pytest.mark.parametrize("users, items, rows", [("down", "right", "user rows"), ("right", "up", "item rows"),
                                                ("down", "down", "user rows and item rows")])
def test_rows_off_by_one_are_named(users, items, rows, teacher, split):
    wrong = in_order("factors", teacher, split, order(150, users), order(100, items))
    assert f"fits the data better with its {rows} moved by one" in told(wrong, split)


def test_users_in_another_order_still_score_far_above_chance(teacher, split):
    """So that the AUC alone would not have noticed."""
    users, _, items = drawn(split.train, split)
    wrong = in_order("factors", teacher, split, order(150, "by appearance"), order(100, "right"))
    assert better(wrong, users, items).mean() > 0.6


def test_the_draws_are_what_they_are_called(split, teacher):
    """Pairs, other users, and items unseen by the first; the same each time, and nobody else's draws."""
    state = torch.get_rng_state()
    users, others, items = drawn(split.train, split)
    assert all(torch.equal(a, b) for a, b in zip((users, others, items), drawn(split.train, split)))
    assert torch.equal(state, torch.get_rng_state())
    pairs = set(zip(split.train.users.tolist(), split.train.items.tolist()))
    assert set(zip(users.tolist(), items[:, 0].tolist())) <= pairs
    assert not set(zip(users.tolist(), items[:, 1].tolist())) & pairs
    assert (users != others).all() and len(users) > 10_000


def test_better_is_the_share_of_pairs_won():
    model = Given((np.array([[1.0], [-1.0]]), np.array([[1.0], [2.0], [2.0]])))
    users, items = torch.tensor([0, 0, 1]), torch.tensor([[1, 0], [1, 2], [1, 0]])
    assert better(model, users, items).tolist() == [1, 0.5, 0]


@pytest.mark.parametrize("who", ["users", "items", "unseen"])
def test_clear_counts_users_and_items_not_pairs(who):
    """A gain of 0.4 in 2,000 pairs, ± 1 by user or item: of 1,000 of them it is clear, of 10 it is not."""
    for n, expected in ((1000, True), (10, False)):
        other, some = torch.arange(2000), torch.arange(n).repeat(2000 // n)
        users, first, second = (some if one == who else other for one in ("users", "items", "unseen"))
        assert clear(0.4 + torch.tensor([1.0, -1.0])[some % 2], users, torch.stack([first, second], 1)) is expected
    each = torch.arange(10), torch.arange(20).view(10, 2)
    assert clear(torch.ones(10), *each) and not clear(torch.zeros(10), *each)


def test_distill_warns_where_it_is_called_and_a_run_does_not(teacher, split):
    u, v = teacher.factors()
    with pytest.warns(TeacherWarning, match="tells a user's items from others no better") as caught:
        first = distill((u[order(150, "by appearance")], v), split, "rd", epochs=1, **QUIET)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = distill((u[order(150, "by appearance")], v), split, "rd", epochs=1, **QUIET)
    assert torch.equal(first.model.table, again.model.table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rkd.compute([rkd.Run("synthetic", "cd", epochs=1, dim=2, teacher_dim=2)], jobs=1, device="cpu",
                    log=lambda _: None)


def test_a_teacher_with_ids_is_as_good_as_one_in_order(teacher, split):
    """Whatever order its rows come in: the same student to the bit."""
    u, v = teacher.factors()
    users, items = order(150, "by appearance"), order(100, "as text")
    given = Given((u[users], v[items]), user_ids=users, item_ids=items)
    found = [distill(t, split, "cd", epochs=2, **QUIET).model.table for t in (teacher, given)]
    assert torch.equal(*found)


def named(split):
    """The split with ids: users u0, u1, …, items 1000, 1001, …."""
    pairs = [(f"u{u:03}", 1000 + i) for u, i in zip(split.train.users.tolist(), split.train.items.tolist())]
    return rkd.load(pairs).split()


@pytest.mark.parametrize("side, rows, message", [
    (1, [7], "the teacher's factors of 1 items hold NaN or infinity: item 1007"),
    (0, [3, 140], "the teacher's factors of 2 users hold NaN or infinity: user u003, u140"),
    (1, range(9), "9 items hold NaN or infinity: item 1000, 1001, 1002, 1003, 1004, …"),
])
def test_numbers_that_are_none_are_named_at_once(side, rows, message, teacher, split):
    """Whoever the method is; rkd's own models as well."""
    split, pair = named(split), [x.clone() for x in teacher.factors()]
    pair[side][list(rows)] = np.nan
    model = MF(split, 16)
    model.table.data = torch.cat(pair)
    for given in (pair, model):
        for method in ("cd", "de"):
            with pytest.raises(ValueError, match=message):
                distill(given, split, method, epochs=1, **QUIET)
    with pytest.raises(ValueError, match=message.replace("teacher", "model")):
        evaluate(tuple(pair), split)


def test_scores_that_overflow_are_told_at_once(teacher, split):
    u, v = teacher.factors()
    with pytest.raises(ValueError, match=r"the teacher's scores overflow, with factors up to 1e\+20 and 1e\+20"):
        distill((torch.full_like(u, 1e20), torch.full_like(v, 1e20)), split, "de", epochs=1, **QUIET)


def test_other_sizes_are_told_at_once(teacher, split):
    u, v = teacher.factors()
    with pytest.raises(ValueError, match="the teacher is of 150 users and 101 items, the split of 150 and 100; leave "
                                         "out the row that only pads, the first"):
        distill((u, torch.cat([v[:1], v])), split, "rd", **QUIET)
    with pytest.raises(ValueError, match=r"the teacher is of 150 users and 90 items, the split of 150 and 100. Rows"):
        distill((u, v[:90]), split, "rd", **QUIET)
    small, seen = synthetic.world(20, 30, n_train=5, n_valid=2, n_test=2).split, []
    with pytest.raises(ValueError, match="the model is of 20 users and 30 items, the split of 150 and 100"):
        train(MF(small, 4), split, callback=seen.append, **QUIET)
    assert not seen

"""DCD: what is ranked too low and too high, the draws and the loss by loops, and the limits that must hold."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from conftest import a_batch, agreement_gained, brute_ranking, either_way, interactions_of, loss_of, product, seeded
from scipy.stats import chisquare
from test_by_item import a_mixed_batch, rankings
from test_rrd import brute_loss

from rkd import Given, Split
from rkd.methods import DCD
from rkd.methods.dcd import Correction, ItemCorrection


def errors(ranked, scores, sharpness):
    """(underestimated by, overestimated by) of a teacher's ranking, item → the value, by loops."""
    by_student = sorted(ranked, key=lambda i: -scores[i])  # stable: ties as the teacher has them
    low = {i: np.tanh(max(0, sharpness * (by_student.index(i) - ranked.index(i)))) for i in ranked}
    high = {i: np.tanh(max(0, sharpness * (ranked.index(i) - by_student.index(i)))) for i in ranked}
    return [{i: value for i, value in found.items() if value > 0} for found in (low, high)]


def drawn(method, row):
    """(underestimated, overestimated) as they were drawn for a user, or an item."""
    items, present = method.lists.items[row].tolist(), method.extra["present"][row].tolist()
    k = len(items) // 2
    return [[items[n] for n in places if present[n]] for places in (range(k), range(k, 2 * k))]


def three_users(**settings):
    """(method, student) of three users who have seen the last of seven items: the student agrees with the teacher's
    0 1 2 3 4 5 on all, has 5 first, and has it the other way round."""
    train, none = np.zeros((3, 7), bool), np.zeros((3, 7), bool)
    train[:, 6] = True
    of_student = torch.tensor([[5, 4, 3, 2, 1, 0, 9], [4, 3, 2, 1, 0, 5, 9], [0, 1, 2, 3, 4, 5, 9.0]])
    teacher = Given((torch.ones(3, 1), torch.tensor([[5, 4, 3, 2, 1, 0, 9.0]]).T))
    split = Split(*map(interactions_of, (train, none, none)))
    return Correction(teacher, split, seeded(), **settings), Given((of_student, torch.eye(7)))


def test_worked_by_hand():
    """Pool of 4: the first user's student is right, so is the second's on 0 1 2 3; the third's puts 3 2 1 0, so that 0
    and 1 stand too low, by 3 and by 1, and 2 and 3 too high."""
    method, student = three_users(k=2, pool=4)
    method.begin_epoch(student, 1)
    assert [drawn(method, user) for user in (0, 1)] == [[[], []]] * 2
    under, over = drawn(method, 2)
    assert under == [0, 1] and sorted(over) == [2, 3]
    scores = torch.tensor([[2, 3, 5, 1.0]] * 3).log()  # 2/11 · 3/9
    assert method.user_loss(scores, **method.extra).tolist() == pytest.approx([0, 0, -np.log(2 / 33)], rel=1e-5)


def test_one_item_too_high_by_hand():
    """The second user's student has item 5 first: it is above all others by its one step too many each."""
    method, student = three_users(k=6, pool=6)
    method.begin_epoch(student, 1)
    assert drawn(method, 1) == [[0, 1, 2, 3, 4], [5]]
    scores = torch.zeros(3, 12)
    assert method.user_loss(scores, **method.extra)[1].item() == pytest.approx(np.log(6 * 5 * 4 * 3 * 2), rel=1e-5)


@either_way
@pytest.mark.parametrize("side", ["users", "items"])
@pytest.mark.parametrize("settings", [{"k": 3, "pool": 8}, {"k": 7, "pool": 12, "sharpness": 2.0}, {}])
def test_draws_and_loss_by_loops(world, side, settings, device):
    split, teacher, student = world
    method = {"users": Correction, "items": ItemCorrection}[side](teacher, split, seeded(device), **settings)
    ranked, s = brute_ranking(product(teacher), split), product(student)
    ranked, s = (ranked, s) if side == "users" else (rankings(teacher, split), s.T)
    method.begin_epoch(student, 1)
    losses, fewer = [], 0
    for row, order in enumerate(ranked):
        order = order[:method.pool]
        wrong, found = errors(order, s[row], method.sharpness), drawn(method, row)
        for there, possible in zip(found, wrong):
            assert len(set(there)) == len(there) == min(method.k, len(possible)) and set(there) <= set(possible)
            fewer += len(there) < method.k
        under, over = found
        assert under == [i for i in order if i in under]
        losses.append(brute_loss(s[row, under], s[row, over]) if under else 0.0)
    assert fewer and len(losses) == len(method.lists.items)
    batch = a_mixed_batch(device) if side == "items" else a_batch(device)
    counted = {*batch.positives.tolist(), *batch.negatives.tolist()} if side == "items" else {*batch.users.tolist()}
    assert loss_of(method, student, batch) == pytest.approx(np.mean([losses[row] for row in counted]), rel=1e-5)


@pytest.mark.parametrize("sharpness", [0.1, 0.8])
def test_draws_follow_the_errors(sharpness):
    """Three ranks too low, one, and nothing: two of the student's 3 2 1 0, without replacement, by the one formula; of
    the second user's five, each as often as another."""
    method, student = three_users(k=2, pool=6, sharpness=sharpness, refresh=9999)
    pairs, fifths = Counter(), Counter()
    for epoch in range(1, 1201):
        method.begin_epoch(student, epoch)
        pairs[tuple(drawn(method, 2)[0])] += 1  # 0, 1, 2 too low by 5, 3, 1
        fifths.update(drawn(method, 1)[0])
    w = np.tanh(sharpness * np.array([5, 3, 1]))
    p = w / w.sum()
    expected = Counter()
    for a, b in permutations(range(3), 2):
        expected[tuple(sorted((a, b)))] += 1200 * p[a] * p[b] / (1 - p[a])
    assert set(pairs) == set(expected)
    assert chisquare([pairs[pair] for pair in expected], list(expected.values())).pvalue > 1e-3
    assert chisquare([fifths[i] for i in range(5)]).pvalue > 1e-3


@pytest.mark.parametrize("users, items", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_a_student_that_is_the_teacher_is_not_corrected(world, users, items, device):
    """Nothing is ranked too low or too high: no loss, no gradient. And there is some as soon as it is another."""
    split, teacher, student = world
    method, batch = DCD(Given(student.factors()), split, seeded(device), users=users, items=items), a_batch(device)
    method.begin_epoch(student, 1)
    loss = method.loss(student, batch)
    loss.backward()
    assert loss == 0 and not student.table.grad.any()
    with torch.no_grad():
        student.table[split.n_users:] = student.table[split.n_users:].roll(1, 0)
    method.begin_epoch(student, 4)
    assert loss_of(method, student, batch) > 1


def test_errors_are_renewed_every_refresh_epochs_and_drawn_each(world, device):
    split, teacher, student = world
    method, found, lists = Correction(teacher, split, seeded(device), k=3, pool=10, refresh=3), [], []
    for epoch in range(1, 8):
        with torch.no_grad():
            student.table[split.n_users:] = student.table[split.n_users:].roll(1, 0)  # every epoch another ranking
        method.begin_epoch(student, epoch)
        found.append(method.log_p[0].tolist())
        lists.append(str(method.lists.items.tolist()))
    assert [epoch for epoch in range(2, 8) if found[epoch - 1] != found[epoch - 2]] == [4, 7]
    assert len(set(lists)) == 7


def test_dcd_is_the_sum_of_both_sides(world, device):
    split, teacher, student = world
    both = DCD(teacher, split, seeded(device, 1), users=0.7, items=0.3, users_k=4, items_k=5)
    generator, batch = seeded(device, 1), a_mixed_batch(device)
    sides = Correction(teacher, split, generator, k=4), ItemCorrection(teacher, split, generator, k=5)
    for epoch in (1, 2):
        for method in (both, *sides):
            method.begin_epoch(student, epoch)
        parts = [loss_of(method, student, batch) for method in sides]
        assert loss_of(both, student, batch) == pytest.approx(0.7 * parts[0] + 0.3 * parts[1], rel=1e-6)


def test_more_items_than_the_pool_has_are_refused(world, device):
    with pytest.raises(ValueError, match="9 items cannot be drawn from a pool of 8"):
        DCD(world[1], world[0], seeded(device), items_k=9, items_pool=8)


def test_a_student_of_dcd_comes_closer_to_the_teachers_ranking():
    """Share of the teacher's top 10 that is in the student's: on average over 2 worlds 0.02 more than the plain
    student's."""
    assert np.mean(agreement_gained(2, "dcd", weight=0.03, users_k=20, items_k=20)) > 0.02

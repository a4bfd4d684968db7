"""RD: its weights and its loss by hand, while warming up and after."""

import math

import numpy as np
import pytest
import torch
from conftest import a_batch, brute_ranking, loss_of, matrix, product, seeded

from rkd import MF, Given
from rkd.batch import CountedUsers
from rkd.datasets import synthetic
from rkd.methods import RD
from rkd.methods.rd import ranking_distillation


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def test_rd_takes_the_teachers_best_unseen_items(world, device):
    split, teacher, _ = world
    method = RD(teacher, split, seeded(device), k=7)
    assert method.top.items.tolist() == [row[:7] for row in brute_ranking(product(teacher), split)]


def rd_loss_by_hand(world, users, k, sharpness, mu, random_items=None, among="unseen", averaged=False,
                    renormalised=True):
    """The paper's formula with loops; without ``random_items`` that of the warm-up. ``among`` "all": as UnKD's code."""
    split, teacher, student = world
    ranked, s = brute_ranking(product(teacher), split), product(student.factors())
    unseen = (~matrix(split.train)).sum(1)
    losses = []
    for u in users:
        weights, first = [], sum(np.exp(-r / sharpness) for r in range(1, k + 1))
        for r, i in enumerate(ranked[u][:k], 1):
            weight = np.exp(-r / sharpness)
            if random_items is not None:
                above = np.mean([s[u, j] > s[u, i] for j in random_items[u]])
                rank = above * unseen[u] + 1 if among == "unseen" else np.floor(round(above * 36, 6)) + 1
                weight *= max(0, np.tanh(mu * (rank - (r if among == "unseen" else r - 1))))
            weights.append(weight)
        total = (sum(weights) if renormalised else first) * (k if averaged else 1)
        losses.append(-sum(w / total * log_sigmoid(s[u, i]) for w, i in zip(weights, ranked[u])) if total else 0.0)
    return np.mean(losses)


def test_rd_while_warming_up_by_hand(world, device):
    split, teacher, student = world
    method, batch = RD(teacher, split, seeded(device), k=6, sharpness=3.0, warmup=2), a_batch(device)
    for epoch in (1, 2):
        method.begin_epoch(student, epoch)
        expected = rd_loss_by_hand(world, batch.users.tolist(), 6, 3.0, None)
        assert loss_of(method, student, batch) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("other", [{}, dict(among="all"), dict(averaged=True), dict(renormalised=False),
                                   {name: RD.as_released[name] for name in ("among", "averaged")}])
def test_rd_after_warming_up_by_hand(world, other, device):
    """With the random items that the method drew for itself, which are never training items."""
    split, teacher, student = world
    method = RD(teacher, split, seeded(device), k=6, sharpness=3.0, mu=0.2, n_samples=20, warmup=2, **other)
    drawn, sample = [], method.negatives
    method.negatives = lambda users, generator: drawn.append(sample(users, generator)) or drawn[-1]
    batch = a_batch(device, users=[*range(23), 4, 4, 7])
    for epoch in (2, 3, 4):
        method.begin_epoch(student, epoch)
        items = drawn[-1].cpu().numpy() if drawn else None
        assert len(drawn) == epoch - 2 and (items is None or items.shape == (23, 20))
        expected = rd_loss_by_hand(world, batch.users.tolist(), 6, 3.0, 0.2, items, **other)
        assert loss_of(method, student, batch) == pytest.approx(expected, rel=1e-5)
    assert not matrix(split.train)[np.arange(23)[:, None], items].any()
    assert not torch.equal(drawn[0], drawn[1])  # fresh ones each epoch
    with torch.no_grad():
        student.table[split.n_users:] = student.table[split.n_users:].roll(5, 0)  # an optimizer's step
    weighed_anew = rd_loss_by_hand(world, batch.users.tolist(), 6, 3.0, 0.2, items, **other)
    assert len(drawn) == 2 and loss_of(method, student, batch) == pytest.approx(weighed_anew, rel=1e-5)


def discrepancies(method, student):
    everyone = CountedUsers(None, torch.ones(student.n_users, device=student.table.device))
    return method.discrepancy(student, everyone, student.scores(None, method.top).detach())


def test_rd_lets_go_of_what_the_student_ranks_as_high_as_the_teacher(world, device):
    """A student that is the teacher itself: no discrepancy at the top, so next to no weight there."""
    split, teacher, _ = world
    student = MF(split, 6).to(device)
    with torch.no_grad():
        student.table.copy_(torch.cat(teacher.factors()))
    method = RD(teacher, split, seeded(device), k=5, n_samples=20_000, warmup=0)
    method.begin_epoch(student, 1)
    assert (discrepancies(method, student) < 0.05).all()
    with torch.no_grad():
        student.table[:split.n_users] *= -1  # the other way round: everything is far too low
    assert (discrepancies(method, student) > 0.2).float().mean() > 0.9


def test_rd_never_counts_an_item_above_itself():
    """The random items are the teacher's own: for the best of them none is higher, whatever the rounding."""
    split = synthetic.world(60, 40, n_train=8).split
    generator = torch.Generator().manual_seed(0)
    teacher = Given(torch.randn(n, 10, generator=generator) for n in (60, 40))
    method = RD(teacher, split, generator, k=1, mu=1.0, n_samples=7)
    method.negatives = lambda users, generator: method.top.items.expand(-1, 7)
    student = MF(split, 10)
    with torch.no_grad():
        student.table.copy_(torch.cat(teacher.factors()))
    method.begin_epoch(student, method.warmup + 1)
    assert not discrepancies(method, student).any()  # estimated rank 1, like the teacher's


def test_ranking_distillation_by_hand():
    found = ranking_distillation(*torch.tensor([[[0, 1], [2, -3]], [[0.75, 0.25], [0, 1]]], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.75 * math.log(2) - 0.25 * log_sigmoid(1), -log_sigmoid(-3)])

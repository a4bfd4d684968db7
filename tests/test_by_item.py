"""The item side: lists of users for every item, RRD's and IR-RRD's, by loops over the exchanged data."""

import numpy as np
import pytest
import torch
from conftest import agreement_gained, interactions_of, loss_of, matrix, product, seeded
from scipy.stats import chisquare
from test_rrd import brute_loss

import rkd
from rkd import MF, Given, LightGCN, Lists, Split
from rkd.batch import Batch
from rkd.methods import IRRRD, RRD
from rkd.methods.by_item import exchanged
from rkd.methods.ir_rrd import ItemRRD

HALF = dict(k=3, n_uninteresting=4, pool=6)


def of_user_side(settings):
    return {f"users_{name}": value for name, value in settings.items()}


def rankings(model, split):
    """For each item, the users who have not trained on it, best first."""
    scores, seen = product(model).T, matrix(split.train).T
    return [[u for u in np.argsort(-row, kind="stable") if not others[u]] for row, others in zip(scores, seen)]


def a_mixed_batch(device, n_items=37):
    generator = seeded("cpu", 3)
    return Batch(*(torch.randint(n, (12,), generator=generator).to(device) for n in (23, n_items, n_items)))


def test_exchanged_is_the_transpose(world):
    split, other = world[0], exchanged(world[0])
    for name in ("train", "valid", "test"):
        assert (matrix(getattr(other, name)) == matrix(getattr(split, name)).T).all()
    dense = np.zeros((3, 4), bool)
    dense[:, 1], dense[0, 2] = True, True  # everybody has item 1
    found = matrix(exchanged(Split(*map(interactions_of, (dense, dense & False, dense & False)))).train)
    assert found.tolist() == [[False] * 3, [False] * 3, [True, False, False], [False] * 3]


def test_an_items_users(world, device):
    """K of the pool in the teacher's order, and L from outside; all are users who do not have the item."""
    split, teacher, student = world
    method, ranked = ItemRRD(teacher, split, seeded(device), **HALF), rankings(teacher, split)
    for epoch in (1, 2, 3):
        method.begin_epoch(student, epoch)
        assert method.lists.items.shape == (37, 7)
        for item, row in enumerate(method.lists.items.tolist()):
            pool = ranked[item][:min(6, len(ranked[item]) // 2)]
            there = method.extra["present"][item, :3].bool().tolist()
            places = [pool.index(user) for user, here in zip(row[:3], there) if here]
            assert places == sorted(set(places)) and len(places) == min(3, len(pool))
            assert set(row[3:]) <= set(ranked[item]) - set(pool)


def test_the_first_user_drawn_follows_the_formula(world, device):
    split, teacher, student = world
    method, times = ItemRRD(teacher, split, seeded(device), k=1, pool=5, temperature=1.5), np.zeros(5)
    ranked = rankings(teacher, split)
    whole = [item for item in range(37) if len(ranked[item]) >= 10]
    for epoch in range(1, 101):
        method.begin_epoch(student, epoch)
        first = method.lists.items[:, 0].tolist()
        for item in whole:
            times[ranked[item].index(first[item])] += 1
    p = np.exp(-np.arange(5) / 1.5)
    assert chisquare(times, times.sum() * p / p.sum()).pvalue > 1e-3


@pytest.mark.parametrize("backbone", [MF, LightGCN])
def test_loss_and_gradient_by_hand(world, backbone, device):
    """The mean over the distinct items of a batch, positive and negative; the gradient by autograd's own products."""
    split, teacher, _ = world
    student = backbone(split, 4, seed=2).to(device)
    method, batch = ItemRRD(teacher, split, seeded(device), **HALF), a_mixed_batch(device)
    method.begin_epoch(student, 1)
    scores, users = product(student), method.lists.items.cpu().numpy()
    items = sorted({*batch.positives.tolist(), *batch.negatives.tolist()})
    assert 5 < len(items) < 24
    present = method.extra["present"][:, :3].bool().cpu().numpy()
    expected = np.mean([brute_loss(scores[users[i, :3][present[i]], i], scores[users[i, 3:], i]) for i in items])
    loss = method.loss(student, batch)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    student.end_step()
    table = student.table.detach().clone().requires_grad_()
    u, v = student.propagate(table).split([23, 37])
    of_lists = torch.stack([v[i] @ u[method.lists.items[i].long()].T for i in items])
    plain = method.user_loss(of_lists, **{name: x[items] for name, x in method.extra.items()}).mean()
    torch.testing.assert_close(student.table.grad, torch.autograd.grad(plain, table)[0], rtol=1e-4, atol=1e-6)


def test_the_item_side_is_rrd_of_the_exchanged_world(world, device):
    """The same draws, and in a step of every item the same loss, as RRD where users are items and items are users."""
    split, teacher, student = world
    (u, v), other = teacher.factors(), exchanged(split)
    method = ItemRRD(teacher, split, seeded(device, 5), **HALF)
    plain = RRD(Given((v, u)), other, seeded(device, 5), **HALF)
    turned = MF(other, 4).to(device)
    with torch.no_grad():
        turned.table.copy_(torch.cat([student.table[23:], student.table[:23]]))
    everyone = torch.arange(37, device=device)
    for epoch in (1, 2):
        method.begin_epoch(student, epoch)
        plain.begin_epoch(turned, epoch)
        assert torch.equal(method.lists.items, plain.lists.items)
        of_all = Batch(everyone % 23, everyone, everyone.flip(0))
        assert loss_of(method, student, of_all) == pytest.approx(
            loss_of(plain, turned, Batch(everyone, everyone % 23, everyone % 23)), rel=1e-5)


def test_ir_rrd_is_the_sum_of_both_sides(world, device):
    split, teacher, student = world
    half = of_user_side(HALF) | {f"items_{name}": value for name, value in HALF.items()}
    both, generator = IRRRD(teacher, split, seeded(device, 1), users=0.7, items=0.3, **half), seeded(device, 1)
    sides = RRD(teacher, split, generator, **HALF), ItemRRD(teacher, split, generator, **HALF)
    batch = a_mixed_batch(device)
    for epoch in (1, 2, 3):
        for method in (both, *sides):
            method.begin_epoch(student, epoch)
        parts = [loss_of(method, student, batch) for method in sides]
        assert loss_of(both, student, batch) == pytest.approx(0.7 * parts[0] + 0.3 * parts[1], rel=1e-6)


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_without_the_item_side_it_is_rrd_to_the_bit(world, backbone, untuned):
    split, teacher = (x.to("cpu") for x in world[:2])
    options = dict(backbone=backbone, dim=4, lr=0.01, l2=0.01, weight=0.3, epochs=4, device="cpu", progress=False)
    plain = rkd.distill(teacher, split, "rrd", **options, **HALF).model.table
    assert torch.equal(rkd.distill(teacher, split, "ir-rrd", items=0.0, **options, **of_user_side(HALF)).model.table,
                       plain)
    assert not torch.equal(
        rkd.distill(teacher, split, "ir-rrd", items=0.1, **options, **of_user_side(HALF)).model.table, plain)


@pytest.mark.parametrize("name, side", [("ir-rrd", "RRD"), ("dcd", "DCD")])
def test_a_teacher_of_lists_has_no_item_side(world, name, side, untuned):
    split, teacher, _ = (x.to("cpu") for x in world)
    items = teacher.ranking(9, split.train)
    lists = Lists(items, teacher.scores(None, items.clamp(min=0)), 37)
    options = dict(epochs=1, device="cpu", progress=False)
    with pytest.raises(ValueError, match=f"^{side}'s item side ranks all users for an item by the teacher's "
                                         "embeddings, and this teacher has none; items=0 leaves the item side out$"):
        rkd.distill(lists, split, name, **options)
    assert rkd.distill(lists, split, name, items=0.0, **options).model.table.isfinite().all()


@pytest.mark.parametrize("name", ["ir-rrd", "dcd", "rce-kd"])
def test_six_users_and_eight_items(name, untuned):
    """One of the users has all items but one, one of the items all users; with the settings as they are published."""
    dense = np.zeros((6, 8), bool)
    dense[0, :7], dense[:, 2] = True, True
    dense[[1, 2, 3, 4, 5], [0, 1, 3, 4, 5]] = True
    held = np.zeros_like(dense)
    held[[1, 2, 3, 4], [6, 7, 0, 1]] = True
    split = Split(*map(interactions_of, (dense, held, held & False)))
    generator = seeded()
    teacher = Given(torch.randn(n, 3, generator=generator) for n in (6, 8))
    fit = rkd.distill(teacher, split, name, dim=2, lr=0.05, l2=0.0, weight=1.0, epochs=5, device="cpu", progress=False)
    plain = rkd.distill(teacher, split, name, dim=2, lr=0.05, l2=0.0, weight=0.0, epochs=5, device="cpu",
                        progress=False)
    assert fit.model.table.isfinite().all() and not torch.equal(fit.model.table, plain.model.table)


def test_a_student_of_ir_rrd_comes_closer_to_the_teachers_ranking():
    """Share of the teacher's top 10 that is in the student's: on average over 2 worlds 0.03 more than the plain
    student's."""
    assert np.mean(agreement_gained(2, "ir-rrd", weight=0.1, users_k=20, users_n_uninteresting=20, users_pool=100)
                   ) > 0.03

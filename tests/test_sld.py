"""SLD and its stratified variant: what is in a list, the draws against their formula, the loss by loops."""

import numpy as np
import pytest
import torch
from conftest import a_batch, brute_ranking, loss_of, matrix, popularity_learned, product, seeded
from scipy.stats import chisquare

from rkd import Given, popularity_groups
from rkd.datasets import synthetic
from rkd.methods import SLD, StratifiedSLD
from rkd.methods.sld import merged

BOTH = pytest.mark.parametrize("kind, strata", [(SLD, {}), (StratifiedSLD, {"groups": 3})])


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def z(x):
    return (x - x.mean()) / max(x.std(), 1e-6)


def better_ranks(a, b):
    """Each item of two rankings and its better rank, with loops."""
    best = {}
    for ranked in (a, b):
        for rank, item in enumerate(ranked):
            best[item] = min(rank, best.get(item, rank))
    return best


def found_ranks(items, ranks):
    """The same of merged()'s answer for a user; no item may be there twice."""
    assert len({i for i in items if i >= 0}) == sum(i >= 0 for i in items)
    assert all((i < 0) == (r == float("inf")) for i, r in zip(items, ranks))
    return {i: r for i, r in zip(items, ranks) if i >= 0}


def test_merged_against_loops(device):
    rng = np.random.default_rng(0)
    lengths = [(6, 6), (6, 2), (0, 5), (0, 0), (1, 1)] * 8
    rows = [[rng.permutation(9)[:n].tolist() for n in pair] for pair in lengths]
    a, b = (torch.tensor([row[k] + [-1] * (6 - len(row[k])) for row in rows], device=device) for k in (0, 1))
    items, ranks = merged(a, b)
    assert items.shape == ranks.shape == (40, 12) and items.dtype == torch.int64
    for row, *found in zip(rows, items.tolist(), ranks.tolist()):
        assert found_ranks(*found) == better_ranks(*row)


@pytest.mark.parametrize("kind, strata, q, pool", [
    (SLD, {}, 5, 7), (SLD, {}, 9, 6), (SLD, {}, 20, 100), (StratifiedSLD, {"groups": 3}, 5, 7),
    (StratifiedSLD, {"groups": 3}, 9, 6),
    (StratifiedSLD, {"groups": 3}, 20, 100),
])
def test_what_is_in_a_list(world, kind, strata, q, pool, device):
    """Of the present, those in the first q places are distinct, of the two top pools, all of these if they are fewer;
    none is a training item, all are of the stratum's group; every unseen draw is present; each epoch draws afresh."""
    split, teacher, student = world
    method = kind(teacher, split, seeded(device), q=q, pool=pool, n_uninteresting=4, **strata)
    n_groups, seen = strata.get("groups", 1), matrix(split.train)
    group = popularity_groups(split.train.item_counts, n_groups).cpu().numpy()
    rankings, drawn = [brute_ranking(product(f), split) for f in (teacher, student)], []
    for epoch in (1, 2):
        method.begin_epoch(student, epoch)
        present = method.extra["present"].bool().cpu().numpy()
        items = method.lists.items.cpu().numpy().reshape(present.shape)
        assert present.shape == (23, n_groups, q + 4)
        for u, g in np.ndindex(23, n_groups):
            mine, there = items[u, g], present[u, g]
            best = set().union(*([i for i in ranked[u] if group[i] == g][:pool] for ranked in rankings))
            first = mine[:q][there[:q]].tolist()
            assert len(first) == len(set(first)) == min(q, len(best)) and set(first) <= best
            assert (group[mine[there]] == g).all() and not seen[u, mine[there]].any()
            assert (group[mine[q:]] == g).all() and (there[q:] == ~seen[u, mine[q:]]).all()
        drawn.append(items)
    assert (drawn[0] != drawn[1]).any((1, 2)).sum() > 15
    scores = product(teacher)[np.arange(23)[:, None, None], items]
    np.testing.assert_allclose(method.extra["teacher"].cpu(), scores, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.7, 3.0])
def test_draws_follow_the_formula(world, temperature, device):
    """A single item: p ∝ exp(−r / temperature), r the better of its ranks. The others: uniform over the unseen."""
    split, teacher, student = world
    method = SLD(teacher, split, seeded(device), q=1, n_uninteresting=40, pool=4, temperature=temperature, refresh=999)
    n, times, uniform = 400, np.zeros((23, 37)), np.zeros((23, 37))
    for epoch in range(1, n + 1):
        method.begin_epoch(student, epoch)
        items, present = method.lists.items.cpu().numpy(), method.extra["present"][:, 0].bool().cpu().numpy()
        np.add.at(times, (np.arange(23), items[:, 0]), present[:, 0])
        np.add.at(uniform, (np.arange(23)[:, None], items[:, 1:]), present[:, 1:])
    expected = np.zeros_like(times)
    rankings = [brute_ranking(product(f), split) for f in (teacher, student)]
    for row, a, b in zip(expected, *rankings):
        for item, rank in better_ranks(a[:4], b[:4]).items():
            row[item] = np.exp(-rank / temperature)
    expected *= n / expected.sum(1, keepdims=True)
    possible = expected > 0
    assert not times[~possible].any() and (times.sum(1) == n).all()
    for u in range(23):
        often = expected[u] >= 5
        wanted = expected[u, often] * times[u, often].sum() / expected[u, often].sum()
        assert chisquare(times[u, often], wanted).pvalue > 1e-4
        assert chisquare(uniform[u, ~matrix(split.train)[u]]).pvalue > 1e-4


def test_the_students_ranking_is_renewed_every_refresh_epochs(world, device):
    split, teacher, student = world
    method, unions = SLD(teacher, split, seeded(device), pool=5, q=3, refresh=3), []
    of_teacher = brute_ranking(product(teacher), split)
    for epoch in range(1, 8):
        with torch.no_grad():
            student.table[split.n_users:] = student.table[split.n_users:].roll(1, 0)  # every epoch another ranking
        method.begin_epoch(student, epoch)
        ((items, ranks),) = method.union
        unions.append([found_ranks(*row) for row in zip(items.tolist(), ranks.tolist())])
        if epoch in (1, 4, 7):
            of_student = brute_ranking(product(student), split)
            assert unions[-1] == [better_ranks(a[:5], b[:5]) for a, b in zip(of_teacher, of_student)]
    assert [epoch for epoch in range(2, 8) if unions[epoch - 1] != unions[epoch - 2]] == [4, 7]


def by_loops(method, world, users):
    """(loss, its gradient to the table), labels being constants; a user counts once for each interaction."""
    _, teacher, student = world
    t, s, present = product(teacher), product(student), method.extra["present"].bool().cpu().numpy()
    items, pull, loss = method.lists.items.cpu().numpy().reshape(present.shape), np.zeros_like(s), 0.0
    for u in users:
        for mine in (row[there] for row, there in zip(items[u], present[u]) if there.any()):
            p = softmax((method.gamma * z(t[u, mine]) + (1 - method.gamma) * z(s[u, mine])) / method.tau)
            q, share = softmax(s[u, mine] / method.student_tau), 1 / (present.shape[1] * len(users))
            loss += share * (p * np.log(p / q)).sum()
            np.add.at(pull[u], mine, share * (q - p) / method.student_tau)
    u, v = (x.cpu().double().numpy() for x in student.factors())
    return loss, np.concatenate([pull @ v, pull.T @ u])


@BOTH
@pytest.mark.parametrize("gamma, tau, student_tau", [(0.75, 0.5, 1.0), (0.0, 1.3, 0.6), (1.0, 0.4, 2.0)])
def test_loss_and_gradient_by_hand(world, kind, strata, gamma, tau, student_tau, device):
    """The student moves between the epochs and once within: labels are of its scores as they are."""
    split, teacher, student = world
    method = kind(teacher, split, seeded(device), gamma=gamma, tau=tau, student_tau=student_tau, q=6, n_uninteresting=5,
                  **strata)
    for epoch, fresh in ((1, True), (2, True), (2, False)):
        if fresh:
            method.begin_epoch(student, epoch)
        with torch.no_grad():
            student.table[split.n_users:] = student.table[split.n_users:].roll(2, 0)
        for users in ((4, 4, 7, 0, 4, 1, 22, 7, 2), tuple(range(23))):
            student.table.grad = None
            loss = method.loss(student, a_batch(device, users))
            loss.backward()
            expected, gradient = by_loops(method, world, users)
            assert loss.shape == () and loss.item() == pytest.approx(expected, rel=1e-5)
            np.testing.assert_allclose(student.table.grad.cpu(), gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gamma", [1.0, 0.3])
def test_raw_scores_by_hand(world, gamma, device):
    """Neither side standardised: softmax((γ z + (1 − γ) s) / τ) against softmax(s / τ), of the teacher's list alone."""
    split, teacher, student = world
    method = SLD(teacher, split, seeded(device), **SLD.readings["raw scores"] | dict(q=4, pool=6, gamma=gamma))
    (t, s), of_teacher = (product(model) for model in (teacher, student)), brute_ranking(product(teacher), split)
    for epoch in (1, 2):
        method.begin_epoch(student, epoch)
        items, present = method.lists.items.cpu().numpy(), method.extra["present"][:, 0].bool().cpu().numpy()
        losses = []
        for u, (mine, there) in enumerate(zip(items, present)):
            assert there[:4].all() and set(mine[:4]) <= set(of_teacher[u][:6]) and len(set(mine[:4])) == 4
            mine = mine[there]
            p, q = softmax((gamma * t[u, mine] + (1 - gamma) * s[u, mine]) / 0.1), softmax(s[u, mine] / 0.1)
            losses.append((p * (np.log(p.clip(1e-300)) - np.log(q))).sum())
        found = loss_of(method, student, a_batch(device, range(23)))
        assert found == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_students_list_with_the_teachers_softmax_by_hand(world, device):
    """Its own best q as it is in each epoch, nothing drawn: the loss less the labels' entropy is a cross-entropy."""
    split, teacher, student = world
    settings = SLD.readings["student's list"] | dict(q=5, pool=5, tau=0.7, student_tau=0.7)
    method, t = SLD(teacher, split, seeded(device), **settings), product(teacher)
    for epoch in (1, 2, 3):
        method.begin_epoch(student, epoch)
        s, losses = product(student), []
        best = [row[:5] for row in brute_ranking(s, split)]
        assert [sorted(row) for row in method.lists.items.tolist()] == [sorted(row) for row in best]
        for u, row in enumerate(best):
            p, q = softmax(t[u, row] / 0.7), softmax(s[u, row] / 0.7)
            losses.append(-(p * np.log(q)).sum() + (p * np.log(p)).sum())
        assert loss_of(method, student, a_batch(device, range(23))) == pytest.approx(np.mean(losses), rel=1e-4)
        with torch.no_grad():
            student.table[split.n_users:] = student.table[split.n_users:].roll(1, 0)


@pytest.mark.parametrize("guide, most", [("both", 6), ("teacher", 3), ("student", 3)])
def test_a_list_longer_than_the_rankings(world, guide, most, device):
    SLD(world[1], world[0], seeded(device), guide=guide, q=most, pool=3)
    with pytest.raises(ValueError, match=f"^{most + 1} items cannot be drawn from {most}, the best by {guide} of"):
        SLD(world[1], world[0], seeded(device), guide=guide, q=most + 1, pool=3)


def test_one_group_is_sld_to_the_bit(world, device):
    split, teacher, student = world
    settings = dict(gamma=0.4, tau=0.7, student_tau=1.2, q=5, n_uninteresting=3, temperature=2.0, pool=9, refresh=2)
    losses = []
    for kind, strata in ((SLD, {}), (StratifiedSLD, {"groups": 1})):
        method = kind(teacher, split, seeded(device, 3), **settings, **strata)
        for epoch in (1, 2, 3):
            method.begin_epoch(student, epoch)
            losses.append((method.loss(student, a_batch(device)).item(), method.lists.items.tolist()))
    assert losses[:3] == losses[3:]


@pytest.mark.parametrize("kind, strata, low, high", [(SLD, {}, 0.9, 1.0), (StratifiedSLD, {"groups": 30}, -0.35, 0.35)])
def test_what_a_teacher_of_popularity_alone_teaches(kind, strata, low, high):
    """Its scores are the counts. SLD's student ranks by popularity; in many groups next to nothing of it is left."""
    split = synthetic.world(120, 90, popularity=1.5, n_train=20, n_valid=3, n_test=3, seed=3).split
    counts = split.train.item_counts.float()
    teacher = Given((torch.ones(split.n_users, 1), counts[:, None]))
    method = kind(teacher, split, seeded(), gamma=1.0, q=2, n_uninteresting=10, **strata)
    assert low <= popularity_learned(method) <= high


def test_more_groups_than_items(world, device):
    with pytest.raises(ValueError, match="n_groups must be between 1 and .* not 38"):
        StratifiedSLD(world[1], world[0], seeded(device), groups=38)

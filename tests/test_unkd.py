"""UnKD: the draws against their formula, the pairs against what they must be, the loss by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, spearmanr

from conftest import matrix
from rkd import MF, popularity_groups, synthetic
from rkd.distill import UnKD
from rkd.distill.base import Batch
from rkd.losses import pairwise_distillation
from rkd.sampling import draw_two_ranks, ranking


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def split():
    return synthetic.world(120, 90, popularity=1.5, n_train=20, n_valid=3, n_test=3, seed=3).split


@pytest.fixture(scope="module")
def teacher(split):
    return torch.randn(split.n_users, 6, generator=seeded(1)), torch.randn(split.n_items, 6, generator=seeded(2))


@pytest.mark.parametrize("length", [2, 3, 12, 60])
def test_two_ranks_follow_the_formula(length):
    """P(a, b) = p(a) · p(b) / (1 − p(a)) for a ≠ b, p(r) ∝ exp(−r / 5): chi-square over the pairs with 10 or more."""
    first, second = (ranks.flatten().numpy() for ranks in draw_two_ranks(torch.full((2000,), length), 60, 5.0, seeded()))
    p = np.exp(-np.arange(length) / 5) / np.exp(-np.arange(length) / 5).sum()
    expected = np.outer(p, p) / (1 - p)[:, None] * len(first)
    np.fill_diagonal(expected, 0)
    found = np.zeros((length, length))
    np.add.at(found, (first, second), 1)
    assert not found.diagonal().any()
    often = expected >= 10
    expected[often] *= found[often].sum() / expected[often].sum()
    assert chisquare(found[often], expected[often]).pvalue > 1e-3


def test_rows_too_short_for_two_ranks():
    first, second = draw_two_ranks(torch.tensor([0, 1, 2]), 50, 5.0, seeded())
    assert not first[:2].any() and not second[:2].any() and torch.equal(first[2] + second[2], torch.ones(50).long())


@pytest.mark.parametrize("groups", [1, 2, 4, 7])
def test_pairs_are_of_one_group_untrained_and_in_the_teachers_order(split, teacher, groups):
    method = UnKD(teacher, split, seeded(), groups=groups, n_pairs=29)
    group = popularity_groups(split.train.item_counts, groups).numpy()
    scores, trained = (teacher[0] @ teacher[1].T).numpy(), matrix(split.train)
    each = []
    for epoch in (1, 2):
        method.begin_epoch(None, epoch)
        better, worse = method.better.numpy(), method.worse.numpy()
        assert better.shape == (split.n_users, groups * (29 // groups)) and ((better < 0) == (worse < 0)).all()
        users, places = (better >= 0).nonzero()
        i, j = better[users, places], worse[users, places]
        assert (group[i] == group[j]).all() and (group[i] == places // (29 // groups)).all()
        assert not trained[users, i].any() and not trained[users, j].any()
        assert (scores[users, i] > scores[users, j]).all()
        each.append(better)
    assert (each[0] != each[1]).any()  # fresh each epoch
    left = np.stack([(~trained[:, group == g]).sum(1) for g in range(groups)], 1)
    assert ((better >= 0) == np.repeat(left > 1, 29 // groups, axis=1)).all()  # a pair wherever there can be one


def test_one_group_is_plain_pairwise_distillation(split, teacher):
    """The ranking that pairs are drawn from is the teacher's of the whole catalogue."""
    method = UnKD(teacher, split, seeded(), groups=1, mu=3.0)
    ((ranked, lengths),) = method.ranked
    assert torch.equal(ranked, ranking(*teacher, split.train, depth=30)) and (lengths == 30).all()


def test_loss_by_hand(split, teacher):
    """A user counts once for each interaction in the batch, its pairs are averaged."""
    method, student = UnKD(teacher, split, seeded(), groups=3), MF(split, 4, seed=5)
    method.begin_epoch(student, 1)
    users = torch.tensor([3, 7, 3, 3, 0])
    u, v = (x.numpy().astype(float) for x in student.factors())
    losses = []
    for user in users.tolist():
        pairs = [(i, j) for i, j in zip(method.better[user].tolist(), method.worse[user].tolist()) if i >= 0]
        losses.append(np.mean([np.log1p(np.exp(-(u[user] @ v[i] - u[user] @ v[j]))) for i, j in pairs]))
    assert method.loss(student, Batch(users, users, users)).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_pairwise_loss_worked_by_hand():
    better, worse = torch.tensor([[2.0, 0.0], [1.0, 5.0]]), torch.tensor([[0.0, 0.0], [0.0, 9.0]])
    possible = torch.tensor([[True, True], [True, False]])
    expected = [(np.log1p(np.exp(-2)) + np.log(2)) / 2, np.log1p(np.exp(-1))]
    np.testing.assert_allclose(pairwise_distillation(better, worse, possible), expected, rtol=1e-6)
    assert pairwise_distillation(better, worse, ~possible & possible).tolist() == [0, 0]  # no pairs, no loss


@pytest.mark.parametrize("groups, low, high", [(1, 0.9, 1.0), (30, -0.35, 0.35)])
def test_what_a_teacher_of_popularity_alone_teaches(split, groups, low, high):
    """Its scores are the counts. A student taught by nothing else ranks by popularity if there is one group; if the
    groups are many, next to nothing of it is left between items of different groups."""
    counts = split.train.item_counts.float()
    teacher = torch.ones(split.n_users, 1), counts[:, None]
    method, student = UnKD(teacher, split, seeded(), groups=groups, n_pairs=30, mu=100.0), MF(split, 8, seed=0)
    optimizer, users = torch.optim.Adam([student.table], lr=0.02), torch.arange(split.n_users)
    for epoch in range(1, 61):
        method.begin_epoch(student, epoch)
        optimizer.zero_grad()
        method.loss(student, Batch(users, users, users)).backward()
        optimizer.step()
    u, v = student.factors()
    assert low <= spearmanr((v @ u.mean(0)).numpy(), counts.numpy()).statistic <= high


def test_settings_out_of_range(split, teacher):
    with pytest.raises(ValueError, match="n_pairs must be at least groups"):
        UnKD(teacher, split, seeded(), groups=4, n_pairs=3)
    with pytest.raises(ValueError, match="n_groups must be between 1 and"):
        UnKD(teacher, split, seeded(), groups=91, n_pairs=100)

"""UnKD: the draws against their formula, the pairs against what they must be, the loss by hand."""

import numpy as np
import pytest
import torch
from conftest import matrix, popularity_learned, product, seeded
from scipy.stats import chisquare

from rkd import MF, Given, popularity_groups
from rkd.batch import Batch
from rkd.datasets import synthetic
from rkd.methods import UnKD
from rkd.methods.unkd import pairwise_distillation
from rkd.sampling import draw_two_ranks


@pytest.fixture(scope="module")
def split():
    return synthetic.world(120, 90, popularity=1.5, n_train=20, n_valid=3, n_test=3, seed=3).split


@pytest.fixture(scope="module")
def teacher(split):
    return Given(torch.randn(n, 6, generator=seeded(seed=s)) for s, n in ((1, split.n_users), (2, split.n_items)))


@pytest.mark.parametrize("length", [2, 3, 12, 60])
def test_two_ranks_follow_the_formula(length):
    """P(a, b) = p(a) · p(b) / (1 − p(a)) for a ≠ b, p(r) ∝ exp(−r / 5): chi-square over the pairs with 10 or more."""
    ranks = draw_two_ranks(torch.full((2000,), length), 60, 5.0, seeded())
    first, second = (x.flatten().numpy() for x in ranks)
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
def test_pairs_are_of_one_group_unseen_and_in_the_teachers_order(split, teacher, groups):
    method = UnKD(teacher, split, seeded(), groups=groups, n_pairs=29)
    group = popularity_groups(split.train.item_counts, groups).numpy()
    scores, trained = product(teacher), matrix(split.train)
    each = []
    for epoch in (1, 2):
        method.begin_epoch(None, epoch)
        better, worse = (items.numpy() for items in method.pairs())
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


@pytest.mark.parametrize("mu", [1.5, 6.0])
def test_pairs_follow_the_formula_within_each_group(split, teacher, mu):
    """P{a, b} = p(a) p(b) (1 / (1 − p(a)) + 1 / (1 − p(b))) for places in a user's own ranking of the group's unseen
    items, cut at 10 mu: chi-square over the pairs to be expected 10 times or more, of 4000 pairs each of 3 users."""
    method, trained = UnKD(teacher, split, seeded(), groups=3, n_pairs=12_000, mu=mu), matrix(split.train)
    method.begin_epoch(None, 1)
    pairs = method.pairs()
    group, scores = popularity_groups(split.train.item_counts, 3).numpy(), product(teacher)
    for user in (0, 5, 119):
        for g in range(3):
            items = np.flatnonzero((group == g) & ~trained[user])
            ranked = items[np.argsort(-scores[user, items])][:int(10 * mu)].tolist()
            p = np.exp(-np.arange(len(ranked)) / mu)
            p /= p.sum()
            expected = np.triu(4000 * np.outer(p, p) * (1 / (1 - p)[:, None] + 1 / (1 - p)), 1)
            found, drawn = np.zeros_like(expected), slice(4000 * g, 4000 * (g + 1))
            for i, j in zip(*(items[user, drawn].tolist() for items in pairs)):
                found[ranked.index(i), ranked.index(j)] += 1
            often = expected >= 10
            assert found.sum() == 4000 and abs(found[~often].sum() - expected[~often].sum()) < 200
            expected[often] *= found[often].sum() / expected[often].sum()
            assert chisquare(found[often], expected[often]).pvalue > 1e-4


def test_one_group_is_plain_pairwise_distillation(split, teacher):
    """Pairs from the teacher's ranking of the whole catalogue, by the very same draws; −log σ of the difference."""
    method, student = UnKD(teacher, split, seeded(), groups=1, n_pairs=40, mu=3.0), MF(split, 4, seed=5)
    ranked, (same,), (lengths,) = teacher.ranking(30, split.train), method.ranked, method.lengths
    assert torch.equal(ranked, same) and (lengths == 30).all()
    method.begin_epoch(student, 1)
    first, second = draw_two_ranks(lengths, 40, 3.0, seeded())
    places = torch.stack([first, second]).sort(0).values  # the better one first
    u, v = student.factors()
    better, worse = ((u[:, None] * v[ranked.gather(1, place)]).sum(2) for place in places)
    users = torch.arange(split.n_users)
    found = method.loss(student, Batch(users, users, users)).item()
    assert found == pytest.approx(-torch.nn.functional.logsigmoid(better - worse).mean().item(), rel=1e-5)


def shifted(model, offset):
    """A model of the same scores, each item's higher by its offset."""
    users, items = model.factors()
    return Given((torch.cat([users, torch.ones(len(users), 1)], 1), torch.cat([items, offset[:, None]], 1)))


def test_between_groups_nothing_is_taught(split):
    """A teacher that scores all items of a group higher has the same pairs, a student that does so the same loss: UnKD
    never pulls one group up against another. Pair-wise distillation without groups does."""
    generator = seeded(seed=4)
    teacher = Given([(8 * torch.randn(n, 6, generator=generator)).round() / 8 for n in (split.n_users, split.n_items)])
    group, users = popularity_groups(split.train.item_counts, 3), torch.arange(split.n_users)
    raised = shifted(teacher, torch.tensor([9.0, 4.0, -2.0])[group])

    def student(like):
        model = MF(split, like.factors()[0].shape[1])
        with torch.no_grad():
            model.table.copy_(torch.cat(like.factors()))
        return model

    def taught(groups, teacher, like):
        """(the pairs, the loss, the pull on all scores of each group)"""
        method, model = UnKD(teacher, split, seeded(), groups=groups, mu=30.0), student(like)
        method.begin_epoch(model, 1)
        loss = method.loss(model, Batch(users, users, users))
        loss.backward()
        pull = torch.zeros(3).index_add_(0, group, -model.table.grad[split.n_users:, -1])
        return torch.stack(method.pairs()), loss.item(), pull.tolist()

    plain = MF(split, 4, seed=1)
    level, tilted = (shifted(plain, offset[group]) for offset in (torch.zeros(3), torch.tensor([0.0, 1.0, 3.0])))
    pairs, loss, pull = taught(3, teacher, level)
    assert torch.equal(taught(3, raised, level)[0], pairs)
    assert taught(3, raised, tilted)[1] == pytest.approx(loss, rel=1e-5)
    assert pull == pytest.approx([0, 0, 0], abs=1e-6)
    assert not torch.equal(taught(1, raised, level)[0], taught(1, teacher, level)[0])
    pairs, loss, pull = taught(1, raised, level)
    assert taught(1, raised, tilted)[1] > loss + 0.1 and pull[0] > 0.05 and pull[2] < -0.05


def test_loss_by_hand(split, teacher):
    """A user counts once for each interaction in the batch, its pairs are averaged."""
    method, student = UnKD(teacher, split, seeded(), groups=3), MF(split, 4, seed=5)
    method.begin_epoch(student, 1)
    users = torch.tensor([3, 7, 3, 3, 0])
    u, v = (x.numpy().astype(float) for x in student.factors())
    losses = []
    for user in users.tolist():
        pairs = [(i, j) for i, j in zip(*(items[user].tolist() for items in method.pairs())) if i >= 0]
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
    teacher = Given((torch.ones(split.n_users, 1), counts[:, None]))
    method = UnKD(teacher, split, seeded(), groups=groups, n_pairs=30, mu=100.0)
    assert low <= popularity_learned(method) <= high


def test_settings_out_of_range(split, teacher):
    with pytest.raises(ValueError, match="n_pairs must be at least groups"):
        UnKD(teacher, split, seeded(), groups=4, n_pairs=3)
    with pytest.raises(ValueError, match="n_groups must be between 1 and"):
        UnKD(teacher, split, seeded(), groups=91, n_pairs=100)

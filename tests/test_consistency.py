"""How much a projection turns round: against loops, and for maps whose answer is known; the items that are asked."""

import json

import numpy as np
import pytest
import torch
from conftest import brute_ranking, matrix, product, seeded
from scipy.stats import chisquare

from rkd import MF, Given
from rkd.consistency import EACH, GROUPS, USERS, inconsistency, ranked_sample
from rkd.datasets import synthetic
from rkd.methods import CPD
from rkd.methods.projector import Projector


def brute_inconsistency(before, after):
    """(G × G, overall) with loops over users, and over ordered pairs of places."""
    n, n_groups, each = before.shape
    total, counted = np.zeros((2, n_groups, n_groups))
    places = [(g, k) for g in range(n_groups) for k in range(each)]
    for b, a in zip(before, after):
        for p in places:
            for q in places:
                if p != q:
                    x, y = np.sign(b[p] - b[q]), np.sign(a[p] - a[q])
                    total[p[0], q[0]] += 0.0 if x == y else 0.5 if x == 0 or y == 0 else 1.0
                    counted[p[0], q[0]] += 1
    return total / np.maximum(counted, 1), total.sum() / counted.sum()


def scores(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=seeded(seed=seed))


# ------------------------------------------------------------------------------------------------------- inconsistency

def test_inconsistency_worked_by_hand():
    """Four items a, b | c, d scored 4 > 3 > 2 > 1 and then b > d > a = c. Turned: (a, b) in the first group, (c, d) in
    the second; between them (a, d), and (a, c), tied, by half: 1.5 of 4. In all 3.5 of 6 pairs."""
    by_rank, overall = inconsistency(torch.tensor([[[4.0, 3], [2, 1]]]), torch.tensor([[[1.0, 9], [1, 5]]]))
    assert by_rank == [[1, 1.5 / 4], [1.5 / 4, 1]] and overall == pytest.approx(3.5 / 6)


@pytest.mark.parametrize("shape", [(1, 2, 3), (7, 3, 1), (4, 1, 5), (11, 4, 3)])
@pytest.mark.parametrize("levels", [None, 3])
def test_inconsistency_against_loops(shape, levels, device):
    """With and without ties; the matrix is symmetric, of plain numbers, to four digits."""
    before, after = scores(*shape), scores(*shape, seed=1)
    if levels:
        before, after = (x.clamp(-1, 1).mul(levels).round() for x in (before, after))
    by_rank, overall = inconsistency(before.float().to(device), after.float().to(device))
    expected = brute_inconsistency(before.numpy(), after.numpy())
    np.testing.assert_allclose(by_rank, expected[0], atol=6e-5)
    assert overall == pytest.approx(expected[1], rel=1e-5)
    assert by_rank == np.transpose(by_rank).tolist()
    assert json.loads(json.dumps([by_rank, overall])) == [by_rank, overall]


@pytest.mark.parametrize("grows", [lambda x: 3 * x - 7, torch.exp, torch.atan, lambda x: x**3])
def test_what_keeps_the_order_is_consistent_and_what_reverses_it_is_not(grows):
    """Even if it is another map for every user; 1 when reversed, ½ when everything becomes alike."""
    before, of_user = scores(9, 4, 3), torch.linspace(0.1, 2, 9)[:, None, None]
    kept = grows(before) * of_user + of_user
    assert inconsistency(before, kept) == ([[0.0] * 4] * 4, 0.0)
    assert inconsistency(before, -kept) == ([[1.0] * 4] * 4, 1.0)
    assert inconsistency(before, 0 * kept) == ([[0.5] * 4] * 4, 0.5)


def test_an_isometry_of_users_and_items_is_consistent():
    """From 5 dimensions into 8; of the users alone, it is not."""
    users, items = scores(12, 5), scores(12, 6, 5, seed=1)
    isometry = torch.linalg.qr(scores(8, 5, seed=2)).Q.T  # [5, 8], rows orthonormal

    def scored(u, i):
        return torch.einsum("nd,nkd->nk", u, i).view(12, 2, 3)

    assert inconsistency(scored(users, items), scored(users @ isometry, items @ isometry))[1] == 0
    assert inconsistency(scored(users, items), scored(users @ isometry[:, :5], items))[1] > 0.2


def test_a_projector_before_training_is_as_good_as_chance():
    """About half of the pairs, on average over projectors, and in every part of the ranking."""
    found = []
    for seed in range(20):
        generator = seeded(seed=seed)
        users, items = torch.randn(200, 8, generator=generator), torch.randn(200, 20, 8, generator=generator)
        of_users, of_items = (Projector(8, 16, 5, generator) for _ in range(2))
        after = torch.einsum("nd,nkd->nk", of_users(users), of_items(items.flatten(0, 1)).view(200, 20, 16))
        before = torch.einsum("nd,nkd->nk", users, items)
        by_rank, overall = inconsistency(before.view(200, 10, 2), after.detach().view(200, 10, 2))
        found.append([overall, *np.ravel(by_rank)])
    assert np.abs(np.array(found)[:, 0] - 0.5).max() < 0.1
    assert np.abs(np.mean(found, 0) - 0.5).max() < 0.06


# ------------------------------------------------------------------------------------------------------- ranked_sample

def test_the_sampled_items_lie_in_their_tenth_of_the_teachers_ranking(world, device):
    """Every user of the few, once; users have from 4 to 37 unseen items, and a place on a border is in both."""
    split, teacher, _ = world
    ranked, trained, drawn = brute_ranking(product(teacher), split), matrix(split.train), []
    for seed in range(30):
        users, items = ranked_sample(teacher, split, seeded(device, seed))
        assert sorted(users.tolist()) == list(range(23)) and items.shape == (23, GROUPS, EACH)
        for u, groups in zip(users.tolist(), items.tolist()):
            n = len(ranked[u])
            for g, group in enumerate(groups):
                assert not trained[u, group].any()
                assert all(g * n / 10 - 1 < ranked[u].index(i) < (g + 1) * n / 10 for i in group)
        drawn.append(str(items.tolist()))
    assert len(set(drawn)) == 30
    again = ranked_sample(teacher, split, seeded(device, 0))
    assert str(again[1].tolist()) == drawn[0]


def test_every_place_of_a_tenth_is_as_likely(device):
    """100 unseen items for each of 300 users, of whom USERS are asked: every tenth has ten places."""
    split = synthetic.world(300, 120, n_train=20).split.to(device)
    teacher = Given(torch.randn(n, 4, generator=seeded(seed=n)).to(device) for n in (300, 120))
    users, items = ranked_sample(teacher, split, seeded(device))
    assert len(users) == len(set(users.tolist())) == USERS and max(users.tolist()) >= USERS
    place, ranked = np.zeros((USERS, GROUPS, EACH), int), brute_ranking(product(teacher), split)
    for row, (u, of_user) in enumerate(zip(users.tolist(), items.cpu().numpy())):
        place[row] = np.argsort(ranked[u])[np.searchsorted(np.sort(ranked[u]), of_user)]
    assert (place // 10 == np.arange(GROUPS)[:, None]).all()
    assert chisquare(np.bincount(place.flatten(), minlength=100)).pvalue > 1e-3


def test_an_isometry_is_consistent_where_a_tenth_holds_few_items(device):
    """Of 80 unseen items each tenth has 8."""
    split = synthetic.world(60, 100, n_train=20).split.to(device)
    teacher, student = (MF(split, d, seed=d).to(device) for d in (6, 4))
    method = CPD(Given(teacher.factors()), split, seeded(device))
    isometry = torch.linalg.qr(scores(6, 4)).Q.T.float().to(device)
    method.networks = dict.fromkeys(("users", "items"), lambda s: s @ isometry)
    assert method.report(student)["inconsistency"] == 0

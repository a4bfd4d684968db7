"""RCE-KD: its lists, draws, weights and cross-entropies by loops, and the limits that must hold."""

import numpy as np
import pytest
import torch
from conftest import a_batch, agreement_gained, brute_ranking, interactions_of, loss_of, product, seeded
from scipy.stats import chisquare

from rkd import Given, Split
from rkd.methods import RCEKD
from rkd.ranking import among


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def cross_entropy(z, s, items, tau):
    """Of softmax(s / τ) to softmax(z / τ) over some items."""
    return -(softmax(z[items] / tau) * np.log(softmax(s[items] / tau))).sum() if items else 0.0


def parts(method, user):
    """(Q_S, A, what is missed of Q_T) of a user, as they stand in its list."""
    items, present = method.lists.items[user].tolist(), method.extra["present"][user].tolist()
    k, width = method.of_teacher.shape[1], len(items)
    return [[items[n] for n in places if present[n]] for places in (range(k), range(k, width - k),
                                                                    range(width - k, width))]


def by_loops(method, teacher, student, split, user, of_student=None):
    """The loss of one user, its company A taken as drawn: from the formulas alone."""
    z, s = product(teacher)[user], product(student)[user]
    of_teacher = brute_ranking(product(teacher), split)[user][:method.k]
    ranked = brute_ranking(product(of_student or student), split)[user][:method.pool]
    company = parts(method, user)[1]
    assert len(set(company)) == len(company) == min(method.n_samples, len(ranked)) and set(company) <= set(ranked)
    gamma = np.exp(-method.beta * len(set(of_teacher) & set(company)) / max(len(of_teacher), 1))
    best = ranked[:method.k]
    missed = [i for i in of_teacher if i not in best and i not in company]
    return ((1 - gamma) * cross_entropy(z, s, best, method.tau)
            + gamma * cross_entropy(z, s, company + missed, method.tau))


def one_user(ranking_of_teacher, ranking_of_student, **settings):
    """A method for one user who has not seen any of n items but the last, ranked so by teacher and student."""
    n, none = len(ranking_of_teacher) + 1, np.zeros((1, len(ranking_of_teacher) + 1), bool)
    train = none.copy()
    train[0, -1] = True
    split = Split(*map(interactions_of, (train, none, none)))
    teacher, student = (Given((torch.ones(1, 1), -torch.tensor([[*ranked, n - 1]]).argsort(1).T.float()))
                        for ranked in (ranking_of_teacher, ranking_of_student))
    return RCEKD(teacher, split, seeded(), **settings), student


def test_worked_by_hand():
    """Five unseen items, teacher 0 1 2 3 4, student 4 3 2 1 0; k = 2, everything of the pool of 3 is in A.

    Q_T = {0, 1}, Q_S = {4, 3}, A = {4, 3, 2}, of Q_T nothing is in A: γ = 1 and L = CE({4, 3, 2, 0, 1}). Scores are 0
    to −4 one way and the other, so that p ∝ e^−i and q ∝ e^(i − 4)."""
    method, student = one_user(range(5), [4, 3, 2, 1, 0], k=2, n_samples=3, pool=3)
    method.begin_epoch(student, 1)
    best, company, missed = parts(method, 0)
    assert (best, sorted(company), missed) == ([4, 3], [2, 3, 4], [0, 1])
    p = np.exp([0, -1, -2, -3, -4]) / np.exp([0, -1, -2, -3, -4]).sum()
    found = method.user_loss(torch.tensor([[0.0, -1, *[i - 4 for i in company], -4, -3]]), **method.extra)
    assert found.item() == pytest.approx(-(p * np.log(p[::-1])).sum(), rel=1e-5)


def test_half_of_the_teachers_items_in_a_by_hand():
    """Teacher 0 1 2 3, student 1 2 0 3; k = 2, A is the pool of 2: Q_T = {0, 1}, Q_S = A = {1, 2}, γ = e^(−β/2)."""
    method, student = one_user(range(4), [1, 2, 0, 3], k=2, n_samples=2, pool=2, beta=1.4)
    method.begin_epoch(student, 1)
    best, company, missed = parts(method, 0)
    assert (best, sorted(company), missed) == ([1, 2], [1, 2], [0])
    z, s = np.array([0, -1, -2]), np.array([-2.0, 0, -1])
    gamma, scores = np.exp(-0.7), torch.tensor([[0.0, -1, *[float(s[i]) for i in company], -2.0, 0]])
    expected = (1 - gamma) * cross_entropy(z, s, [1, 2], 1) + gamma * cross_entropy(z, s, [0, 1, 2], 1)
    assert method.user_loss(scores, **method.extra).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("settings", [
    {"k": 3, "n_samples": 4, "pool": 8}, {"k": 5, "n_samples": 2, "pool": 5, "beta": 0.7, "tau": 2.0},
    {"k": 12, "n_samples": 30, "pool": 30, "tau": 0.5}, {"k": 4, "n_samples": 9, "pool": 30}, {}])
def test_lists_and_loss_by_loops(world, settings, device):
    """Whoever has fewer items has shorter lists; a list holds for the epoch, the scores are of the moment."""
    split, teacher, student = world
    method = RCEKD(teacher, split, seeded(device), **settings)
    for epoch in (1, 2):
        method.begin_epoch(student, epoch)
        before = Given([x.clone() for x in student.factors()])
        with torch.no_grad():
            student.table[split.n_users:] = student.table[split.n_users:].roll(2, 0)
        expected = [by_loops(method, teacher, student, split, u, before) for u in range(split.n_users)]
        scores = student.scores(None, method.lists)
        np.testing.assert_allclose(method.user_loss(scores, **method.extra).detach().cpu(), expected, rtol=2e-5)
        for user in range(split.n_users):
            best, company, missed = parts(method, user)
            assert best == brute_ranking(product(before), split)[user][:method.k]
            assert not set(missed) & {*best, *company}
            assert {*missed, *best, *company} >= set(brute_ranking(product(teacher), split)[user][:method.k])


@pytest.mark.parametrize("temperature", [0.8, 3.0])
def test_company_follows_the_formula(temperature):
    """Of the student's pool 2 5 1 0, Q_T = {5, 0} has 2, 2, 1, 1 at their ranks or below."""
    method, student = one_user([5, 0, 1, 2, 3, 4], [2, 5, 1, 0, 3, 4], k=2, n_samples=1, pool=4, refresh=9999,
                               temperature=temperature)
    times = np.zeros(4)
    for epoch in range(1, 1001):
        method.begin_epoch(student, epoch)
        (item,) = parts(method, 0)[1]
        times[[2, 5, 1, 0].index(item)] += 1
    expected = np.exp(np.array([3, 3, 2, 2]) / temperature)
    assert chisquare(times, times.sum() * expected / expected.sum()).pvalue > 1e-3


def test_more_than_fifty_below_count_as_fifty():
    """Student and teacher agree on 60 items: 60, 59, … at their ranks or below. At temperature 0.1 the first 11 are
    drawn, which count 50, each as often as another."""
    method, student = one_user(range(60), range(60), k=60, n_samples=1, pool=60, refresh=9999, temperature=0.1)
    times = np.zeros(60)
    for epoch in range(1, 801):
        method.begin_epoch(student, epoch)
        times[parts(method, 0)[1][0]] += 1
    assert times[:11].sum() >= 798 and chisquare(times[:11]).pvalue > 1e-3


def test_without_gamma_it_is_the_cross_entropy_of_the_students_best(world, device):
    """beta → ∞, wherever A holds one of the teacher's items; and with beta = 0 it is the other half alone."""
    split, teacher, student = world
    s, z = product(student), product(teacher)
    for beta in (1e6, 0.0):
        method = RCEKD(teacher, split, seeded(device), k=9, n_samples=12, pool=20, beta=beta)
        method.begin_epoch(student, 1)
        found = method.user_loss(student.scores(None, method.lists), **method.extra).tolist()
        for user, ranked in enumerate(brute_ranking(z, split)):
            best, company, missed = parts(method, user)
            assert set(ranked[:9]) & set(company)
            items = best if beta else company + missed
            assert found[user] == pytest.approx(cross_entropy(z[user], s[user], items, 1), rel=2e-5)


def test_where_student_and_teacher_agree_nothing_pulls(world, device):
    split, _, student = world
    method = RCEKD(Given(student.factors()), split, seeded(device), k=5, n_samples=5, pool=10)
    method.begin_epoch(student, 1)
    loss = method.loss(student, a_batch(device))
    loss.backward()
    assert loss > 0.1 and student.table.grad.abs().max() < 1e-5
    with torch.no_grad():
        student.table[split.n_users:] = student.table[split.n_users:].roll(2, 0)
    assert loss_of(method, student, a_batch(device)) > loss


def test_the_students_ranking_is_renewed_every_refresh_epochs(world, device):
    split, teacher, student = world
    method, rankings = RCEKD(teacher, split, seeded(device), k=2, n_samples=2, pool=4, refresh=3), []
    for epoch in range(1, 8):
        with torch.no_grad():
            student.table[split.n_users:] = student.table[split.n_users:].roll(1, 0)  # every epoch another ranking
        method.begin_epoch(student, epoch)
        rankings.append(method.ranked.tolist())
    assert [epoch for epoch in range(2, 8) if rankings[epoch - 1] != rankings[epoch - 2]] == [4, 7]


def test_a_pool_smaller_than_its_lists_is_refused(world, device):
    for settings in ({"k": 9, "pool": 8, "n_samples": 3}, {"k": 3, "pool": 8, "n_samples": 9}):
        with pytest.raises(ValueError, match="pool must be at least as large"):
            RCEKD(world[1], world[0], seeded(device), **settings)


def test_a_student_of_rce_kd_comes_closer_to_the_teachers_ranking():
    """Share of the teacher's top 10 that is in the student's: on average over 2 worlds 0.05 more than the plain
    student's."""
    assert np.mean(agreement_gained(2, "rce-kd", weight=1.0)) > 0.05


def test_among_against_loops():
    rng = np.random.default_rng(0)
    items, lists = rng.integers(-1, 9, (40, 7)), rng.integers(-1, 9, (40, 4))
    expected = [[i >= 0 and i in other for i in row] for row, other in zip(items.tolist(), lists.tolist())]
    assert among(torch.from_numpy(items), torch.from_numpy(lists)).tolist() == expected

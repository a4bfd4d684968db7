"""CPD: its two regularisers by hand, its loss against loops, whom its gradients reach, its lists, what it reports."""

import json

import numpy as np
import pytest
import torch
from conftest import brute_ranking, loss_of, matrix, numpy, product, seeded
from nkd_helpers import plain_projection
from scipy.spatial.distance import cosine
from scipy.special import softmax
from scipy.stats import chisquare
from test_consistency import brute_inconsistency

from rkd import MF, distill, train
from rkd.batch import Batch
from rkd.datasets import synthetic
from rkd.methods import CPD, MKD
from rkd.methods.cpd import list_consistency, pair_consistency
from rkd.models import BACKBONES

pytestmark = pytest.mark.usefixtures("untuned")


def t(*rows):
    return torch.tensor(rows, dtype=torch.float64)


# ----------------------------------------------------------------------------------------------------- the regularisers

def test_pair_consistency_worked_by_hand():
    """Kept, turned by 2 · 3, kept, turned by 1 · 4, tied: 10 / 5; the gradient is −before / 5 where it was turned."""
    before, after = t(1, -2, -3, 4, 0), t(5, 3, -1, -1, 7).requires_grad_()
    loss = pair_consistency(before, after)
    assert loss.item() == pytest.approx((6 + 4) / 5)
    assert torch.autograd.grad(loss, after)[0].tolist() == pytest.approx([0, 2 / 5, 0, -4 / 5, 0])


def test_list_consistency_worked_by_hand():
    """Shares ½, ½ against ¼, ¾; ¾, ¼ against themselves; with τ = ½ the shares of the squares, 9/10, 1/10 | ½, ½."""
    before, after = t([1, 1], [3, 1]).log(), t([1, 3], [6, 2]).log()
    entropies = [-(np.log(1 / 4) + np.log(3 / 4)) / 2, -0.75 * np.log(0.75) - 0.25 * np.log(0.25)]
    whole = t([1, 1], [1, 1])
    assert list_consistency(before, after, 1.0, whole).tolist() == pytest.approx(entropies)
    assert list_consistency(t([3, 1]).log(), t([4, 4]).log(), 0.5, whole[:1]).tolist() == pytest.approx([np.log(2)])
    turned = list_consistency(t([4, 4]).log(), t([3, 1]).log(), 0.5, whole[:1])
    assert turned.tolist() == pytest.approx([-np.log(0.09) / 2])
    assert list_consistency(before, after, 1.0, t([1, 0], [0, 0])).tolist() == [0, 0]  # of one item, of none


# ------------------------------------------------------------------------------------------------------------ the loss

def made(world, device, **settings) -> CPD:
    """CPD with its projectors, which are ``trained``, and its lists of epoch 1."""
    split, teacher, student = world
    method = CPD(teacher, split, seeded(device), **settings)
    method.trained = list(method.parameters(student))
    method.begin_epoch(student, 1)
    return method


def with_student(world, backbone, device):
    """The world with a student of this backbone, its scores of about 1."""
    student = BACKBONES[backbone](world[0], 4, seed=2).to(device)
    with torch.no_grad():
        student.table.mul_(4)
    return *world[:2], student


def pairs(device) -> Batch:
    """Pairs in which users and items come more than once, and items both as positives and as negatives."""
    columns = [[4, 4, 7, 0, 4, 1, 22, 7, 9, 4], [5, 6, 5, 30, 6, 5, 2, 1, 5, 8], [6, 2, 2, 31, 8, 6, 5, 1, 3, 5]]
    return Batch(*torch.tensor(columns, device=device))


def projected(projector, rows) -> np.ndarray:
    """P of each row, expert by expert."""
    w1, b1, w2, b2 = (x.detach().cpu().double().numpy() for x in projector.parameters())
    return np.array([np.mean([np.maximum(s @ a + b, 0) @ c + d for a, b, c, d in zip(w1, b1, w2, b2)], 0)
                     for s in rows])


def loss_by_hand(method, world, batch) -> tuple[float, float, float]:
    """(L_FD, L_pair, L_list) of the batch's first pairs, one pair, one user and one item at a time."""
    (s_u, s_i), (t_u, t_i) = (numpy(*model.factors()) for model in (world[2], world[1]))
    p_u, p_i = (projected(method.networks[side], s) for side, s in (("users", s_u), ("items", s_i)))
    u, i, j = (x[:method.n_pairs].tolist() for x in (batch.users, batch.positives, batch.negatives))

    def far(entities, of_teacher, of_student):
        return np.mean([cosine(of_teacher[e], of_student[e]) for e in set(entities)])  # 1 − the cosine

    features = far(u, t_u, p_u) + (far(i, t_i, p_i) + far(j, t_i, p_i)) / 2
    if method.normalised:
        p_u, p_i = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (p_u, p_i))
    turned = [max(0, -(p_u[a] @ p_i[b] - p_u[a] @ p_i[c]) * (s_u[a] @ s_i[b] - s_u[a] @ s_i[c]))
              for a, b, c in zip(u, i, j)]
    entropies = [] if method.listwise else [0.0]
    for a in u if method.listwise else []:  # a user counts as often as it is there
        items = [item for item in method.lists[a].tolist() if item >= 0]  # user 22 has few left
        before, after = (np.array([x[a] @ y[item] for item in items]) for x, y in ((s_u, s_i), (p_u, p_i)))
        entropies.append(-(softmax(before / method.tau) * np.log(softmax(after / method.tau))).sum())
    return features, np.mean(turned), np.mean(entropies)


@pytest.mark.parametrize("settings", [
    dict(), dict(pairwise=2.0, listwise=0.5, tau=0.3), dict(sampling="random", q=7, n_experts=1),
    dict(n_pairs=4, pool=3), dict(pairwise=0.0, q=1), dict(listwise=0.0, n_experts=2),
    dict(pairwise=0.0, listwise=0.0, n_pairs=1)])
@pytest.mark.parametrize("normalised", [True, False])
def test_cpds_loss_by_hand(world, normalised, settings, device):
    settings = dict(pairwise=0.3, listwise=1.0, normalised=normalised) | settings
    method = made(world, device, dropout=0.0, **settings)
    for epoch in (2, 3):
        parts = loss_by_hand(method, world, pairs(device))
        expected = parts[0] + settings["pairwise"] * parts[1] + settings["listwise"] * parts[2]
        assert loss_of(method, world[2], pairs(device)) == pytest.approx(expected, rel=1e-5)
        method.begin_epoch(world[2], epoch)


def gradients(method, student, batch, state):
    """Of the student's table, and of the projectors; the generator in this state first, so that dropout is the same."""
    method.generator.set_state(state)
    for parameter in (student.table, *method.trained):
        parameter.grad = None
    method.loss(student, batch).backward()
    student.end_step()
    return student.table.grad.clone(), [parameter.grad.clone() for parameter in method.trained]


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("on, settings", [("pairwise", dict(listwise=0.0, pairwise=5.0)), ("both", dict(pairwise=5.0)),
                                          ("listwise", dict(pairwise=0.0)), ("random", dict(sampling="random"))])
def test_the_regularisers_train_the_projectors_alone(world, backbone, on, settings, normalised, device):
    """With and without them the student's gradient is the same to the bit; of each projector every layer's is another,
    save, with products, the last bias of the items' one, which adds the same to all of a user's scores."""
    split, teacher, student = world = with_student(world, backbone, device)
    method, batch = made(world, device, dropout=0.3, normalised=normalised, **settings), pairs(device)
    state = method.generator.get_state()
    with_them, projectors = gradients(method, student, batch, state)
    method.pairwise = method.listwise = 0.0
    without, plain = gradients(method, student, batch, state)
    assert torch.equal(with_them, without) and without[:23].any() and without[23:].any()
    *differences, last = [(a - b).abs().max().item() for a, b in zip(projectors, plain)]
    assert len(differences) == 7 and min(differences) > 1e-6 and (last > 1e-6) == normalised


@pytest.mark.parametrize("backbone", BACKBONES)
def test_without_regularisers_it_is_feature_distillation(world, backbone, device):
    """Value and gradients, the student's and the projectors', by autograd of the plain formula; nothing is drawn."""
    _, teacher, student = world = with_student(world, backbone, device)
    method, batch = made(world, device, pairwise=0.0, listwise=0.0, dropout=0.0, n_pairs=8), pairs(device)
    state = method.generator.get_state()
    method.begin_epoch(student, 2)
    found, found_loss = gradients(method, student, batch, state), loss_of(method, student, batch)
    assert torch.equal(method.generator.get_state(), state) and not hasattr(method, "lists")
    table = student.table.detach().clone().requires_grad_()
    s = student.propagate(table).split([23, 37])

    def far(entities, side):
        entities = torch.tensor(sorted(set(entities[:8].tolist())), device=device)
        mapped = plain_projection(method.trained[4 * side:4 * side + 4], s[side][entities])
        return 1 - torch.cosine_similarity(teacher.factors()[side][entities], mapped).mean()

    loss = far(batch.users, 0) + far(batch.positives, 1) / 2 + far(batch.negatives, 1) / 2
    expected = torch.autograd.grad(loss, [table, *method.trained])
    assert found_loss == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close([found[0], *found[1]], list(expected), atol=1e-6, rtol=1e-4)


def test_dropout_silences_in_feature_distillation_only(world, device):
    """With it L_FD is another at every call; what the regularisers add on the same draws is what it is without."""
    method, found = made(world, device, pairwise=0.3, listwise=1.0, dropout=0.5), []
    _, turned, entropy = loss_by_hand(method, world, pairs(device))
    for method.pairwise, method.listwise in ((0.3, 1.0), (0.0, 0.0)):
        method.generator.manual_seed(5)
        found.append([loss_of(method, world[2], pairs(device)) for _ in range(3)])
    assert len(set(found[1])) == 3
    assert np.subtract(*found) == pytest.approx([0.3 * turned + entropy] * 3, rel=1e-4)


# ----------------------------------------------------------------------------------------------------------- the lists

@pytest.mark.parametrize("sampling", ["rank-aware", "random"])
def test_the_lists_are_unseen_and_fresh(world, sampling, device):
    """Rank-aware: distinct ones of the teacher's pool, here of 4; a user with fewer items left than Q has them all."""
    split, teacher, student = world
    lengths = (made(world, device, q=20, sampling=sampling).lists >= 0).sum(1).cpu().numpy()
    left = (~matrix(split.train)).sum(1)
    assert (lengths == (20 if sampling == "random" else left.clip(max=20))).all() and left.min() == 12
    method, seen = made(world, device, sampling=sampling, q=3, pool=4), matrix(split.train)
    pools, drawn = [set(row[:4]) for row in brute_ranking(product(teacher), split)], set()
    for epoch in range(2, 32):
        assert method.lists.shape == (23, 3)
        for u, row in enumerate(method.lists.tolist()):
            assert not seen[u, row].any()
            assert sampling == "random" or (len(set(row)) == 3 and set(row) <= pools[u])
        drawn.add(str(method.lists.tolist()))
        method.begin_epoch(student, epoch)
    assert len(drawn) == 30


@pytest.mark.parametrize("temperature", [0.7, 3.0])
def test_a_rank_aware_draw_follows_the_formula(world, temperature, device):
    """p(rank r) ∝ exp(−r / temperature) within a pool of 4."""
    split, teacher, student = world
    method = made(world, device, q=1, pool=4, temperature=temperature)
    ranked, times, p = brute_ranking(product(teacher), split), np.zeros(4), np.exp(-np.arange(4) / temperature)
    for epoch in range(2, 302):
        for row, (item,) in zip(ranked, method.lists.tolist()):
            times[row.index(item)] += 1
        method.begin_epoch(student, epoch)
    assert chisquare(times, p / p.sum() * 300 * 23).pvalue > 1e-3


def test_random_draws_are_uniform_over_the_unseen(world, device):
    method = made(world, device, sampling="random", q=2000)
    for row, ranked in zip(method.lists.tolist(), brute_ranking(product(world[1]), world[0])):
        times = np.bincount(row, minlength=37)[ranked]
        assert times.sum() == 2000 and chisquare(times).pvalue > 1e-4


# ------------------------------------------------------------------------------------------- reported, and in training

@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_is_reported_by_hand(world, backbone, device):
    """Of the scored embeddings, without dropout, drawing nothing; and MKD hands it on."""
    split, teacher, student = world = with_student(world, backbone, device)
    method = made(world, device, dropout=0.5)
    state, found = method.generator.get_state(), method.report(student)
    users, items = (x.cpu().numpy() for x in method.sample)
    s_u, s_i = (f.cpu().double().numpy() for f in student.factors())
    p_u, p_i = (projected(method.networks[side], s) for side, s in (("users", s_u), ("items", s_i)))
    unit = p_i / np.linalg.norm(p_i, axis=1, keepdims=True)
    before, products, cosines = (np.array([(x @ y.T)[u, rows] for u, rows in zip(users, items)])
                                 for x, y in ((s_u, s_i), (p_u, p_i), (p_u, unit)))
    assert torch.equal(method.generator.get_state(), state) and len(found) == 4
    for name, after in (("inconsistency", products), ("cosine_inconsistency", cosines)):
        by_rank, overall = brute_inconsistency(before, after)
        assert found[name] == pytest.approx(overall, abs=1e-3)  # a tie may go either way, by rounding
        np.testing.assert_allclose(found[f"{name}_by_rank"], by_rank, atol=5e-3)
    assert found["inconsistency_by_rank"] != found["cosine_inconsistency_by_rank"]
    both = MKD(teacher, split, seeded(device))
    list(both.parameters(student))
    assert both.report(student).keys() == found.keys()


def taught(seed, listwise, epochs=20, **settings):
    """The student of CPD in a small world, as it came about; of so large a weight that its 20 epochs show."""
    split = synthetic.world(150, 100, rank=4, signal=2.0, popularity=1.5, n_train=30, seed=seed).split
    options = dict(lr=1e-2, l2=1e-2, seed=seed, device="cpu", progress=False)
    teacher = train(MF(split, 16, seed), split, epochs=40, **options).model
    settings = dict(q=20, n_pairs=2048, pairwise=0.0, listwise=listwise, tau=1.0) | settings
    return distill(teacher, split, "cpd", dim=4, weight=1.0, epochs=epochs, **settings, **options)


def test_the_listwise_regulariser_makes_the_projection_more_consistent():
    """In cosines, which are all that L_FD sees: by a tenth at least of what it was, on average over 2 worlds (in
    calibration on 3 worlds 0.03 to 0.36), and in the first tenth of the ranking by more than with products, which
    their norms can meet (0.14 to 0.21 less with cosines, 0.04 to 0.1 with products)."""
    found = []
    for seed in range(2):
        plain, cosines, products = (taught(seed, listwise, normalised=normalised).history
                                    for listwise, normalised in ((0.0, True), (5.0, True), (5.0, False)))
        found.append([(row["cosine_inconsistency"], row["cosine_inconsistency_by_rank"][0][0])
                      for row in (plain[-1], cosines[-1], products[-1])])
        assert plain[-1]["inconsistency"] < plain[0]["inconsistency"] - 0.1  # its geometry alone keeps some preferences
    plain, cosines, products = np.mean(found, 0)
    assert cosines[0] < 0.9 * plain[0] and cosines[1] < products[1] - 0.05 < plain[1] - 0.05


@pytest.mark.parametrize("sampling", ["rank-aware", "random"])
def test_every_row_of_the_history_has_the_report_and_a_seed_repeats_it(sampling):
    """In plain values, also of an epoch out of turn; the same bits for the same seed."""
    first, again = (taught(3, 1.0, epochs=7, sampling=sampling, pairwise=0.3, dropout=0.2) for _ in range(2))
    assert [row["epoch"] for row in first.history] == [5, 7]
    for row in first.history:
        assert row.keys() == {"epoch", "loss", "ndcg@10", "recall@10", "inconsistency", "inconsistency_by_rank",
                              "cosine_inconsistency", "cosine_inconsistency_by_rank"}
        for name in ("inconsistency", "cosine_inconsistency"):
            assert np.shape(row[f"{name}_by_rank"]) == (10, 10) and 0 < row[name] < 1
    assert json.loads(json.dumps(first.history, allow_nan=False)) == first.history == again.history
    assert torch.equal(first.model.table, again.model.table)

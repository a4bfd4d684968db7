"""FreqD: its loss by hand and against dense matrices, its edges, and its limits."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import agreement_gained, interactions_of, loss_of, matrix, numpy, seeded
from nkd_helpers import brute_projection, pair_of, plain_projection, some_batch
from test_neighbours import dense_graph

from rkd import MF, Given, LightGCN
from rkd.batch import Batch
from rkd.methods import FreqD

SIDES = ("users", "items")


@pytest.fixture
def pair(split, device):
    return pair_of(split, device)


def made(pair, **settings) -> FreqD:
    split, teacher, student = pair
    method = FreqD(teacher, split, seeded(student.table.device, 1), **settings)
    method.own = list(method.parameters(student))
    method.begin_epoch(student, 1)
    return method


def dense_filters(split, k, alpha) -> list[np.ndarray]:
    """(1 − alpha) I + alpha Â of users and of items, all edges kept; neighbours by counting what is shared."""
    have, found = matrix(split.train).astype(int), []
    for rows in (have, have.T):
        shared = rows @ rows.T
        np.fill_diagonal(shared, 0)
        near = [[other for other in np.argsort(-row, kind="stable") if row[other]][:k] for row in shared]
        found.append((1 - alpha) * np.eye(len(rows)) + alpha * dense_graph(near))
    return found


def loss_by_hand(method, pair, batch, filters) -> float:
    """The docstring's L, with everything mapped and smoothed."""
    total = []
    factors = zip(SIDES, filters, pair[1].factors(), pair[2].factors())
    squares = {side: ((h @ brute_projection(method.networks[side], *numpy(s)) - h @ numpy(t)[0]) ** 2).sum(1)
               for side, h, t, s in factors}
    for side, entities in zip(("users", "items", "items"), (batch.users, batch.positives, batch.negatives)):
        total.append(squares[side][sorted(set(entities[:method.n_pairs].tolist()))].mean())
    return total[0] + (total[1] + total[2]) / 2


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.2, "k": 2}, {"alpha": 1.0, "n_experts": 1},
                                      {"n_pairs": 4, "k": 100}], ids=str)
@pytest.mark.parametrize("backbone", [MF, LightGCN])
def test_freqds_loss_against_dense_matrices(pair, backbone, settings, device):
    split, teacher, _ = pair
    pair = split, teacher, backbone(split, 4, seed=2).to(device)
    method = made(pair, keep=1.0, **settings)
    filters = dense_filters(split, method.k, method.alpha)
    expected = loss_by_hand(method, pair, some_batch(device), filters)
    assert loss_of(method, pair[2], some_batch(device)) == pytest.approx(expected, rel=1e-4)


def test_freqds_loss_worked_by_hand(device):
    """Users 0, 1 share two items, 1, 2 one; P(s) = max(0, s), teacher (1, 0, 0), student (0, 0, 2), H = ½ I + ½ Â. The
    batch's item is nobody's, and its embeddings are zero."""
    dense = np.zeros((3, 4), bool)
    dense[[0, 0, 1, 1, 1, 2], [0, 1, 0, 1, 2, 2]] = True
    split = SimpleNamespace(train=interactions_of(dense).to(device), n_users=3, n_items=4)
    student = MF(split, 1).to(device)
    teacher = Given([torch.tensor([[1.0], [0], [0]], device=device), torch.zeros(4, 1, device=device)])
    method = FreqD(teacher, split, seeded(device), alpha=0.5, k=1, keep=1.0, n_experts=1)
    with torch.no_grad():
        student.table.copy_(torch.tensor([[0.0], [0], [2], [0], [0], [0], [0]]))
        for parameter in method.parameters(student):
            parameter.copy_(torch.ones(1, 1, 1) if parameter.dim() == 3 else torch.zeros(1, 1))
    method.begin_epoch(student, 1)
    # k = 1: 0 ↔ 1, 2 → 1; A: 1, ½; D: 1, 1.5, .5
    near, far = 1.5**-0.5, 0.5 * 0.75**-0.5
    difference = [0 - 0.5, (2 * far - near) / 2]
    batch = Batch(*torch.tensor([[0, 1], [0, 1], [3, 3]], device=device))
    assert loss_of(method, student, batch) == pytest.approx((difference[0] ** 2 + difference[1] ** 2) / 2)


@pytest.mark.parametrize("keep", [0.3, 1.0])
def test_without_the_graph_it_is_feature_distillation(pair, keep, device):
    """alpha = 0: ‖P(s) − t‖², whatever the edges; to the gradients of student and projectors."""
    method, student, batch = made(pair, alpha=0.0, keep=keep), pair[2], some_batch(device)
    loss = method.loss(student, batch)
    found = torch.autograd.grad(loss, method.own, retain_graph=True)
    loss.backward(inputs=[student.table, *method.own])
    table = student.table.detach().clone().requires_grad_()
    s = table.split([23, 37])
    far = [(plain_projection(method.own[4 * side:4 * side + 4], s[side]) - pair[1].factors()[side]).square().sum(1)
           for side in (0, 1)]
    u, i, j = (torch.tensor(sorted(set(x.tolist())), device=device) for x in (batch.users, batch.positives,
                                                                              batch.negatives))
    expected = far[0][u].mean() + (far[1][i].mean() + far[1][j].mean()) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = torch.autograd.grad(expected, [table, *method.own])
    torch.testing.assert_close([student.table.grad, *found], list(gradients), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("keep", [0.5, 1.0])
def test_gradients_are_the_dense_formulas(pair, keep, device):
    """Of the table, which neighbours of the batch's entities reach as well, and of the projectors."""
    method, student, batch = made(pair, keep=keep), pair[2], some_batch(device)
    filters = [method.smooth(side, torch.eye(n, device=device)) for side, n in zip(SIDES, (23, 37))]
    method.loss(student, batch).backward()
    found = [student.table.grad, *(parameter.grad for parameter in method.own)]
    table = student.table.detach().clone().requires_grad_()
    s = table.split([23, 37])
    far = [(h @ plain_projection(method.own[4 * side:4 * side + 4], s[side]) - h @ pair[1].factors()[side])
           .square().sum(1) for side, h in enumerate(filters)]
    u, i, j = (x.unique() for x in (batch.users, batch.positives, batch.negatives))
    expected = far[0][u].mean() + (far[1][i].mean() + far[1][j].mean()) / 2
    torch.testing.assert_close(found, list(torch.autograd.grad(expected, [table, *method.own])), rtol=1e-4, atol=1e-5)
    outside = torch.ones(23, dtype=torch.bool, device=device)
    outside[u] = False
    assert found[0][:23][outside].any()


def test_edges_are_kept_as_often_as_said_and_both_ways(pair, device):
    """H of an epoch is H with some edges left out, the others' weights over ``keep``; its mean over epochs is H."""
    method, keep, alpha = made(pair, keep=0.7, alpha=0.4), 0.7, 0.4
    whole = dense_filters(pair[0], 5, alpha)
    for side, full in zip(SIDES, whole):
        eye, drawn = torch.eye(len(full), device=device), []
        for epoch in range(300):
            method.begin_epoch(pair[2], epoch)
            drawn.append(method.smooth(side, eye).cpu().double().numpy())
        drawn = np.array(drawn)
        assert np.array_equal(drawn, drawn.transpose(0, 2, 1))
        edges = np.triu(full, 1) > 0
        kept = drawn[:, edges] / full[edges] * keep
        assert set(kept.round(4).flatten()) == {0.0, 1.0}
        assert kept.mean() == pytest.approx(keep, abs=0.02) and np.abs(kept.mean(0) - keep).max() < 0.13
        assert np.abs(np.corrcoef(kept.T) - np.eye(edges.sum())).max() < 0.3
        np.testing.assert_allclose(drawn[:, np.eye(len(full), dtype=bool)], 1 - alpha, rtol=1e-6)


def test_ids_of_ones_own_are_exchanged_with_users_and_items(pair, device):
    """As many users as items it need not be."""
    split, teacher, student = pair
    ids = {"user_ids": np.arange(split.n_users) + 10, "item_ids": np.arange(split.n_items) + 500}
    named = replace(split, **{name: replace(part, **ids) for name, part in split.parts.items()})
    graphs = [made((of, teacher, student)).graphs for of in (split, named)]
    for side in SIDES:
        assert torch.equal(graphs[0][side].weights, graphs[1][side].weights)


def test_settings_out_of_range(pair):
    for settings, message in ((dict(keep=0.0), "FreqD's keep must be above 0 and at most 1, not 0.0"),
                              (dict(alpha=1.1), "alpha must be between 0 and 1"), (dict(k=0), "k must be at least 1")):
        with pytest.raises(ValueError, match=message):
            made(pair, **settings)


def test_a_student_of_freqd_comes_closer_to_the_teachers_ranking():
    """Share of the teacher's top 10 that is in the student's: on average over 3 worlds 0.03 more than the plain
    student's (in calibration 0.04 to 0.09)."""
    assert np.mean(agreement_gained(3, "freqd", weight=0.3, n_pairs=128)) > 0.03

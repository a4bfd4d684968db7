"""Neighbours: nearest ones against sorting all distances, companions and their graph against dense matrices."""

import numpy as np
import pytest
import torch
from conftest import interactions_of, matrix, random_interactions, seeded

from rkd import neighbours, ranking
from rkd.neighbours import companions, nearest, normalised_graph


def brute(embeddings, k) -> list[list[int]]:
    """The k others of least distance, equal ones by their id."""
    x = embeddings.detach().cpu().double().numpy()
    distance = ((x[:, None] - x[None]) ** 2).sum(2)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :k].tolist()


def some(n=70, d=5, seed=0, device="cpu"):
    return torch.randn(n, d, generator=seeded("cpu", seed)).to(device)


@pytest.mark.parametrize("block_scores", [None, 1, 300])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_nearest_are_the_first_of_all_distances_sorted(block_scores, shift, monkeypatch, device):
    """In one block, row by row and by three rows; also where squares far from the origin drown differences."""
    if block_scores:
        monkeypatch.setattr(ranking, "BLOCK_SCORES", block_scores)
    embeddings = some(device=device) * torch.arange(1, 6, device=device) + shift
    found = nearest(embeddings, 9)
    assert found.dtype == torch.int64 and found.device == device and found.tolist() == brute(embeddings, 9)


def test_distance_not_direction_decides():
    """From 0 on the line 0, 1, −2, 10: an inner product would prefer 10, a cosine would not tell 1 from 10."""
    assert nearest(torch.tensor([[0.0], [1], [-2], [10]]), 3).tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [1, 0, 2]]


@pytest.mark.parametrize("block_scores", [None, 1])
def test_ties_go_to_the_lower_id_and_none_is_its_own_neighbour(block_scores, monkeypatch, device):
    """A grid around 0, where most distances are tied, and every point there twice: a twin is nearest, never oneself."""
    if block_scores:
        monkeypatch.setattr(ranking, "BLOCK_SCORES", block_scores)
    grid = torch.cartesian_prod(*[torch.arange(-2.0, 3)] * 2).to(device)
    embeddings = torch.cat([grid, grid])
    found = nearest(embeddings, 6)
    assert found.tolist() == brute(embeddings, 6)
    assert found[:, 0].tolist() == [*range(25, 50), *range(25)]
    assert not (found == torch.arange(50, device=device)[:, None]).any()


@pytest.mark.parametrize("n", [2, 4])
def test_k_is_cut_to_all_others(n, device):
    embeddings = some(n, device=device)
    assert nearest(embeddings, 100).tolist() == nearest(embeddings, n - 1).tolist() == brute(embeddings, n - 1)


@pytest.mark.parametrize("n", [0, 1])
def test_less_than_two_have_no_neighbours(n):
    with pytest.raises(ValueError, match=f"^{n} embeddings have no neighbours"):
        nearest(torch.zeros(n, 3), 2)


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        nearest(torch.tensor([[0.0], [1], [float("nan")]]), 1)


def test_parameters_and_doubles_will_do(device):
    embeddings = torch.nn.Parameter(some(device=device))
    found = nearest(embeddings, 4)
    assert not found.requires_grad and found.tolist() == nearest(embeddings.detach().cpu().double(), 4).tolist()


# ------------------------------------------------------------------------------------------- by interactions in common

def test_companions_worked_by_hand():
    """Users of items 012, 01, 2, 345 and none: the first shares two with the second, one with the third; nobody shares
    with the last two, nor is anyone a companion of oneself."""
    dense = np.zeros((5, 6), bool)
    for user, items in enumerate(([0, 1, 2], [0, 1], [2], [3, 4, 5], [])):
        dense[user, items] = True
    assert companions(interactions_of(dense), 2).tolist() == [[1, 2], [0, -1], [0, -1], [-1, -1], [-1, -1]]


@pytest.mark.parametrize("block_scores", [None, 1, 100])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_companions_are_the_first_of_all_that_share_something(block_scores, k, monkeypatch, device):
    """By how much they share, equal ones by id: in one block, user by user, and by a few."""
    if block_scores:
        monkeypatch.setattr(neighbours, "BLOCK_SCORES", block_scores)
    data = random_interactions()
    have = matrix(data).astype(int)
    found = companions(data.to(device), k)
    assert found.shape == (23, min(k, 22)) and found.device == device
    for user, row in enumerate(found.tolist()):
        shared = have @ have[user]
        shared[user] = 0
        best = [other for other in np.argsort(-shared, kind="stable") if shared[other]][:k]
        assert row == best + [-1] * (len(row) - len(best))


def test_a_graph_of_three_worked_by_hand(device):
    """0 and 1 are each other's, 2 has 1: A is 1 between 0 and 1, ½ between 1 and 2; 3 is alone."""
    graph = normalised_graph(torch.tensor([[1], [0], [1], [-1]], device=device))
    near, far = (1 * 1.5) ** -0.5, 0.5 * (1.5 * 0.5) ** -0.5
    expected = [[0, near, 0, 0], [near, 0, far, 0], [0, far, 0, 0], [0, 0, 0, 0]]
    assert graph.n_edges == 2
    np.testing.assert_allclose(graph.times(torch.eye(4, device=device)).cpu(), expected, rtol=1e-6)
    halved = graph.thinned(torch.tensor([0.5, 0.0], device=device)).times(torch.eye(4, device=device))
    np.testing.assert_allclose(halved.cpu(), np.array(expected) * [[0, 0.5, 0, 0], [0.5, 0, 0, 0], [0] * 4, [0] * 4],
                               rtol=1e-6)


def dense_graph(near) -> np.ndarray:
    """D^-½ (N + Nᵀ) / 2 D^-½."""
    n = len(near)
    points = np.zeros((n, n))
    for row, others in enumerate(near):
        for other in others:
            if other >= 0:
                points[row, other] = 1
    both = (points + points.T) / 2
    degree = both.sum(1)
    return np.array([[both[a, b] / np.sqrt(degree[a] * degree[b]) if both[a, b] else 0.0 for b in range(n)]
                     for a in range(n)])


def test_a_graph_against_dense_matrices(device):
    near = companions(random_interactions(seed=3), 4)
    graph, rows = normalised_graph(near.to(device)), torch.randn(23, 3, device=device, generator=seeded(device))
    dense = dense_graph(near.tolist())
    np.testing.assert_allclose(graph.times(rows).cpu(), dense @ rows.cpu().numpy(), rtol=1e-4, atol=1e-6)
    assert np.count_nonzero(dense) == 2 * graph.n_edges == len(graph.columns)
    assert graph.edges.bincount().tolist() == [2] * graph.n_edges
    leaf = rows.clone().requires_grad_()
    pull = torch.randn(23, 3, device=device, generator=seeded(device, 1))
    (graph.times(leaf) * pull).sum().backward()
    np.testing.assert_allclose(leaf.grad.cpu(), dense.T @ pull.cpu().numpy(), rtol=1e-4, atol=1e-6)

"""Nearest neighbours against sorting all distances."""

import numpy as np
import pytest
import torch
from conftest import seeded

from rkd import ranking
from rkd.neighbours import nearest


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

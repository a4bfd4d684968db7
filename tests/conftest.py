"""What several test files use: a device, a small data set with awkward corners, and a cache of each test's own."""

import numpy as np
import pytest
import torch

import rkd.tuned
from rkd.data import Interactions, Split

torch.set_num_threads(1)  # the sizes here are tiny: more threads only wait for each other

DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available(), *["mps"] * torch.backends.mps.is_available()]


@pytest.fixture(params=DEVICES)
def device(request):
    return torch.empty(0, device=request.param).device  # cuda:0, as tensors there call it


@pytest.fixture(autouse=True)
def own_cache(request, tmp_path, monkeypatch):
    """An empty cache for every test, save those that fetch something."""
    if request.node.get_closest_marker("network") is None:
        monkeypatch.setenv("RKD_CACHE", str(tmp_path / "cache"))


def random_interactions(n_users=23, n_items=37, seed=0, name="data", density=0.25) -> Interactions:
    """Uneven users (the first has one item, the second none, the third almost all), and two items nobody has."""
    rng = np.random.default_rng(seed)
    chosen = rng.random((n_users, n_items)) < density * rng.uniform(0.2, 2, (n_users, 1)) * rng.uniform(0.1, 2, n_items)
    chosen[0], chosen[1], chosen[2] = False, False, True
    chosen[0, n_items // 2] = True
    chosen[2, -4:] = False
    chosen[:, [3, n_items - 1]] = False
    users, items = np.nonzero(chosen)
    order = rng.permutation(len(users))
    return Interactions(n_users, n_items, torch.from_numpy(users[order]), torch.from_numpy(items[order]), name)


@pytest.fixture
def data() -> Interactions:
    return random_interactions()


@pytest.fixture
def split(data) -> Split:
    return data.split("unkd", seed=0)


def matrix(interactions: Interactions) -> np.ndarray:
    """The pairs as a dense matrix of booleans, [n_users, n_items]."""
    dense = np.zeros((interactions.n_users, interactions.n_items), dtype=bool)
    dense[interactions.users.cpu().numpy(), interactions.items.cpu().numpy()] = True
    return dense


def interactions_of(dense, name="data") -> Interactions:
    """The pairs of a dense matrix."""
    users, items = np.nonzero(dense)
    return Interactions(*np.shape(dense), torch.from_numpy(users), torch.from_numpy(items), name)


@pytest.fixture
def untuned(tmp_path, monkeypatch):
    """No tuned settings for anything."""
    monkeypatch.setattr(rkd.tuned, "PATH", tmp_path / "tuned.json")
    rkd.tuned.PATH.write_text("{}")

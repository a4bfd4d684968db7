"""What several test files use: a device, a small data set with awkward corners, a teacher and a student for it, a
cache of each test's own, and files of named data sets with the facts that they are checked against."""

import sys
import tempfile
from contextlib import nullcontext
from dataclasses import replace

import rkd.tuned  # rkd before torch, whose instruction set it pins
from rkd import CATALOG, MF, Given, Interactions, Split, distill, recommend, train
from rkd.batch import Batch
from rkd.datasets import synthetic
from rkd.device import fixed_shapes

import numpy as np
import pytest
import torch
from contract import as_on_a_gpu
from scipy.stats import spearmanr

torch.set_num_threads(1)  # the sizes here are tiny: more threads only wait for each other

DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available(), *["mps"] * torch.backends.mps.is_available()]
FIXED = "cpu, its shapes fixed"  # as a GPU's are
either_way = pytest.mark.parametrize("device", [*DEVICES, FIXED], indirect=True)


def numpy(*tensors):
    return [x.detach().cpu().double().numpy() for x in tensors]


def numeric_gradient(f, x, step=1e-6):
    """Of a function of an array, by central differences: the array's shape."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        shift = np.zeros_like(x)
        shift[index] = step
        gradient[index] = (f(x + shift) - f(x - shift)) / (2 * step)
    return gradient


@pytest.fixture(autouse=True)
def closed():
    """No figure is left open."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):  # only where a test has drawn
        pyplot.close("all")


@pytest.fixture(params=DEVICES)
def device(request):
    """Each device there is; in tests marked ``either_way`` also the CPU going an accelerator's way."""
    with as_on_a_gpu() if request.param == FIXED else nullcontext():
        yield torch.empty(0, device=request.param.partition(",")[0]).device  # cuda:0, as tensors there call it


@pytest.fixture(autouse=True)
def own_cache(request, tmp_path, monkeypatch):
    """An empty cache for every test, save those that fetch something, and a temporary folder in which no other process
    holds a core."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    if request.node.get_closest_marker("network") is None:
        monkeypatch.setenv("RKD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty RKD_DATA and an empty cache."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("RKD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RKD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def put(tmp_path):
    """Write a file into RKD_DATA (or elsewhere in tmp_path) and return its path."""
    def write(name, content, folder="data"):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path
    return write


@pytest.fixture
def small(monkeypatch):
    """Give a named data set other facts, such as the counts of a small file."""
    def change(name, users, items, interactions, **facts):
        facts = {"fingerprint": None, "min_items": 1, **facts}
        dataset = replace(CATALOG[name], users=users, items=items, interactions=interactions, **facts)
        monkeypatch.setitem(CATALOG, name, dataset)
    return change


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


def seeded(device="cpu", seed=0) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


@pytest.fixture
def world(split, device):
    """(split, teacher, student) on the device: 23 users, 37 items; scores of a few units.

    Factors are multiples of 1/8, so that scores are exact in whatever order a product is summed.
    """
    generator = seeded("cpu", 9)
    teacher = Given([(8 * torch.randn(n, 6, generator=generator)).round().div(8).to(device)
                     for n in (split.n_users, split.n_items)])
    student = MF(split, 4, seed=2)
    with torch.no_grad():
        student.table.copy_((32 * student.table).round() / 8)
    return split.to(device), teacher, student.to(device)


def product(model) -> np.ndarray:
    """All scores of a model, or of a pair of factors: [n_users, n_items] float64."""
    factors = model.factors() if hasattr(model, "factors") else model
    return (factors[0].cpu().double() @ factors[1].cpu().double().T).numpy()


def brute_ranking(scores, split: Split):
    """Each user's unseen items, best first."""
    train = matrix(split.train)
    return [[i for i in np.argsort(-row, kind="stable") if not trained[i]] for row, trained in zip(scores, train)]


def a_batch(device, users=(4, 4, 7, 0, 4, 1, 22, 7)) -> Batch:
    users = torch.tensor(users, device=device)
    return Batch(users, torch.zeros_like(users), torch.ones_like(users))


def drawn_for(entities) -> list[int]:
    """For whom a step draws, in order: these users or items, each once; where shapes are fixed the repeated as well,
    of which the first counts."""
    return sorted(entities.tolist() if fixed_shapes(entities.device) else set(entities.tolist()))


def first_of(ids) -> list[int]:
    """Where each distinct one first stands in a list."""
    return [ids.index(one) for one in dict.fromkeys(ids)]


def loss_of(method, student, batch) -> float:
    """The loss of a batch, of the student as it is now."""
    student.end_step()
    return method.loss(student, batch).item()


def popularity_learned(method) -> float:
    """Rank correlation of the items' popularity with the mean scores of a student that this method alone has taught."""
    split = method.split
    student, users = MF(split, 8, seed=0), torch.arange(split.n_users)
    optimizer = torch.optim.Adam([student.table], lr=0.02)
    for epoch in range(1, 61):
        method.begin_epoch(student, epoch)
        optimizer.zero_grad()
        method.loss(student, Batch(users, users, users)).backward()
        optimizer.step()
    u, v = student.factors()
    return spearmanr((v @ u.mean(0)).numpy(), split.train.item_counts.numpy()).statistic


@pytest.fixture
def untuned(tmp_path, monkeypatch):
    """No tuned settings for anything."""
    (tmp_path / "tuning").mkdir()
    monkeypatch.setattr(rkd.tuned, "TRIALS", tmp_path / "tuning")


def trained_in_worlds(n, method, **settings):
    """(split, teacher, plain student, the method's student) in each of n small worlds."""
    for seed in range(n):
        split = synthetic.world(150, 100, rank=4, signal=2.0, popularity=1.5, n_train=30, seed=seed).split
        options = dict(lr=1e-2, l2=1e-2, epochs=40, seed=seed, device="cpu", progress=False)
        teacher = train(MF(split, 16, seed), split, **options).model
        plain = train(MF(split, 4, seed), split, **options).model
        yield split, teacher, plain, distill(teacher, split, method, dim=4, **settings, **options).model


def agreement_gained(n, method, **settings):
    """By how much a larger share of the teacher's top 10 is in the student's than in the plain student's: n worlds."""
    gains = []
    for split, *models in trained_in_worlds(n, method, **settings):
        best, *others = (recommend(m, split, torch.arange(150), 10) for m in models)
        shared = [(best[:, :, None] == other[:, None]).any(2).double().mean().item() for other in others]
        gains.append(shared[1] - shared[0])
    return gains

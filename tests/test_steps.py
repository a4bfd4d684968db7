"""What a training step asks of the device: how many operations, how many bytes, and nothing of the host."""

import pytest
import torch
from conftest import seeded
from torch.utils._python_dispatch import TorchDispatchMode

from rkd import MF, LightGCN, lookup, split_of
from rkd.distill import METHODS, base
from rkd.distill.base import Batch
from rkd.sampling import NegativeSampler
from rkd.train import adam, step_loss, train_epoch

# What a GPU's host would have to wait for: a value fetched, or a shape that depends on values.
WAITS = {"_local_scalar_dense", "nonzero", "_unique2", "unique_consecutive", "masked_select", "bincount",
         "is_nonzero", "equal"}
EVERY = ["none", *METHODS]
# (operations, kilobytes written) of a step on a CPU: those of the day when they were counted
COUNTED = {
    "none": (44, 139), "rd": (91, 788), "cd": (89, 785), "de": (238, 1157), "rrd": (125, 1441), "de-rrd": (319, 2446),
    "htd": (438, 1860), "pd-cd": (89, 785), "pd-htd": (438, 1860), "unkd": (98, 980), "nkd": (247, 1178),
    "cpd": (355, 3097), "sld": (143, 2284), "mkd": (660, 6264), "stratified-sld": (143, 2305),
    "stratified-mkd": (660, 6274)}


class Recorder(TorchDispatchMode):
    """Notes every operation, by its name and the shapes of what it returns, and how much it writes."""

    def __init__(self):
        super().__init__()
        self.operations, self.bytes = [], 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        found = function(*arguments, **keywords or {})
        returned = [x for x in (found if isinstance(found, (tuple, list)) else [found]) if isinstance(x, torch.Tensor)]
        name = function.overloadpacket.__name__
        if name in ("index", "index_put", "index_put_") and any(x is not None and x.dtype == torch.bool for x in arguments[1]):
            name = "masked_select"
        self.operations.append((name, tuple(tuple(x.shape) for x in returned)))
        self.bytes += sum(x.numel() * x.element_size() for x in returned if not function.is_view)
        return found

    def waits(self) -> set[str]:
        return WAITS & {name for name, _ in self.operations}


def training(name, backbone=MF, **settings):
    """(student, split, negatives, Adam, generator), the method, after one epoch on the data set "synthetic"."""
    split, generator = split_of("synthetic"), seeded()
    teacher = tuple(torch.randn(n, 32, generator=generator) for n in (split.n_users, split.n_items))
    student = backbone(split, 4, seed=1)
    method = METHODS[name](teacher, split, generator, **settings) if name in METHODS else None
    state = student, split, NegativeSampler(split.train), adam(student, 1e-2, method), generator
    train_epoch(*state, 1, 1e-2, 512, method, 0.5)
    return state, method


def record_step(state, method, size, seed=5) -> Recorder:
    """One step on a batch of so many pairs, forth, back and Adam."""
    student, split, negatives, optimizer, generator = state
    chosen = torch.randint(len(split.train), (size,), generator=seeded(seed=seed))
    users = split.train.users[chosen]
    batch = Batch(users, split.train.items[chosen], negatives(users, generator))
    with Recorder() as recorder:
        optimizer.zero_grad(set_to_none=False)
        step_loss(student, batch, 1e-2, method, 0.5).backward()
        student.end_step()
        optimizer.step()
    return recorder


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    for module in (lookup, base):
        monkeypatch.setattr(module, "fixed_shapes", lambda device: True)


@pytest.mark.parametrize("backbone", [MF, LightGCN])
@pytest.mark.parametrize("name", EVERY)
def test_off_the_cpu_no_step_waits_and_all_steps_are_alike(name, backbone, as_on_a_gpu):
    """As CUDA graphs need it: for batches that are small against the users, and for those that are not."""
    state, method = training(name, backbone)
    for size in (32, 512):
        one, other = (record_step(state, method, size, seed) for seed in (5, 6))
        assert not one.waits()
        assert one.operations == other.operations and len(one.operations) > 20


@pytest.mark.parametrize("name", EVERY)
def test_off_the_cpu_no_epoch_waits(name, as_on_a_gpu):
    """Epoch 2, when no student's ranking is renewed (CD and SLD do that every fifth, and wait there)."""
    state, method = training(name)
    with Recorder() as recorder:
        train_epoch(*state, 2, 1e-2, 512, method, 0.5)
    assert not recorder.waits()


# Those that draw for every entity anew, as many as there are: without these draws, or not at all.
UNDRAWN = {name: {} for name in METHODS} | {"nkd": {"mix": "none", "dropout": 0.0}, "cpd": {"dropout": 0.0}}
for name in ("de", "de-rrd", "htd", "pd-htd", "mkd", "stratified-mkd"):
    del UNDRAWN[name]


@pytest.mark.parametrize("size", [32, 512])
@pytest.mark.parametrize("name", UNDRAWN)
def test_fixed_shapes_change_no_gradient(name, size, monkeypatch):
    """The way of a CPU and that of a GPU, on the same draws."""
    found = []
    for fixed in (False, True):
        state, method = training(name, **UNDRAWN[name])
        with monkeypatch.context() as patch:
            for module in (lookup, base):
                patch.setattr(module, "fixed_shapes", lambda device: fixed)
            record_step(state, method, size)
        found.append(state[0].table.grad.clone())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_no_step_does_more_than_when_it_was_counted(name):
    """Operations and bytes written on a CPU: what a slip costs shows here, on any machine, long before a clock tells."""
    state, method = training(name)
    recorder = record_step(state, method, 512)
    operations, kilobytes = COUNTED[name]
    assert 0.8 * operations < len(recorder.operations) <= operations
    assert 0.8 * kilobytes < recorder.bytes / 1000 <= 1.02 * kilobytes

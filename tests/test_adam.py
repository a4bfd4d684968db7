"""Adam over the rows that are read: against Adam over all rows, step by step, and what it refuses."""

import numpy as np
import pytest
import torch

import rkd
from rkd import METHODS, MF, Distiller, LightGCN, distill, train
from rkd.adam import LazyAdam
from rkd.datasets import synthetic
from rkd.kernels import rows

QUIET = dict(device="cpu", progress=False)


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_a_row_moves_as_if_at_every_step(split, scale):
    """Rows that are read at random, some at every step and some hardly ever, with gradients of any size, so that eps is
    nothing or all: after each epoch the table and its moments are those of torch's Adam, in float64."""
    generator = torch.Generator().manual_seed(3)
    model = MF(split, 4)
    n = len(model.table)
    expected = model.table.detach().double().clone().requires_grad_()
    plain, lazy = torch.optim.Adam([expected], lr=0.02), LazyAdam(model, 0.02)
    often = torch.rand(n, generator=generator) ** 4
    for _ in range(3):
        for _ in range(80):
            index = (torch.rand(n, generator=generator) < often).nonzero().flatten().repeat(2)  # each is read twice
            push = scale * torch.randn(len(index), 4, generator=generator)
            lazy.zero_grad()
            first, second = (rows(model.table, index.flip(0)) * push).sum(), rows(model.table, index[:3]).sum()
            (first + scale * second).backward()
            lazy.step()
            expected.grad = torch.zeros_like(expected).index_add_(0, index.flip(0), push.double())
            expected.grad.index_add_(0, index[:3], torch.full((len(index[:3]), 4), scale, dtype=torch.float64))
            plain.step()
        behind = (model.table.detach() - expected).abs().max()
        lazy.end_epoch()
        moved = (model.table.detach() - expected).abs().max()
        assert moved < 1e-4 < behind  # of movements of some 0.02 a step
        state = plain.state[expected]
        for name in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(lazy.moments()[name].view(n, 4).double(), state[name], rtol=1e-3,
                                       atol=1e-6 * float(state[name].abs().max()))
    assert not model.table.grad.any()


def spread_out():
    """A world where a batch of 64 reads a small part of all embeddings."""
    return synthetic.world(400, 300, rank=3, signal=3.0, popularity=1.0, n_train=12, n_valid=3, n_test=3, seed=0).split


@pytest.fixture(scope="module")
def world():
    return spread_out()


@pytest.mark.parametrize("method", [None, "unkd", "rd", "de", "mkd", "ir-rrd"])
def test_lazy_training_finds_the_same_model(world, method):
    """Of plain MF, and of methods that read lists, embeddings, both, and lists of users."""
    def learn(lazy):
        options = dict(lr=5e-3, batch_size=64, epochs=3, evaluate_every=1, seed=1, lazy=lazy, **QUIET)
        if method is None:
            return train(MF(world, 8, seed=1), world, **options)
        return distill(MF(world, 12), world, method, dim=8, weight=0.5, l2=1e-2, **options)

    dense, lazy = learn(False), learn(True)
    movement = dense.model.table - MF(world, 8, seed=1).table
    assert movement.abs().mean() > 0.01
    assert (lazy.model.table - dense.model.table).abs().mean() < 1e-3 * movement.abs().mean()
    assert [e["loss"] for e in lazy.history] == pytest.approx([e["loss"] for e in dense.history], rel=1e-4)
    assert not hasattr(lazy.model.table, "keeper") and lazy.model.table.grad is None


def test_lazy_training_repeats_and_resumes_to_the_bit(world):
    """On its own Fit, and on one of Adam over all rows, whose state is the same."""
    def learn(epochs, **more):
        return train(MF(world, 6), world, lr=5e-3, batch_size=64, epochs=epochs, evaluate_every=1, **QUIET, **more)

    at_once = learn(4, lazy=True)
    for resumed in (learn(4, lazy=True), learn(4, lazy=True, resume=learn(2, lazy=True))):
        assert torch.equal(resumed.model.table, at_once.model.table) and resumed.history == at_once.history
    mixed = learn(4, lazy=True, resume=learn(2))
    torch.testing.assert_close(mixed.model.table, at_once.model.table, rtol=0, atol=1e-3)


def test_a_step_moves_what_it_reads_alone(world):
    """The other rows wait for ``end_epoch``, and move then."""
    model = MF(world, 4)
    lazy, before = LazyAdam(model, 0.1), model.table.detach().clone()
    for index in (torch.tensor([0, 5, 5]), torch.tensor([7])):
        rows(model.table, index).sum().backward()
        lazy.step()
    assert (model.table.detach() != before).any(1).nonzero().flatten().tolist() == [0, 5, 7]
    after = model.table.detach().clone()
    lazy.end_epoch()
    assert (model.table.detach() != after).any(1).nonzero().flatten().tolist() == [0, 5]  # 7 has missed no step


def test_what_is_not_for_lazy_training(world):
    with pytest.raises(ValueError, match="lazy=True is of no use to LightGCN"):
        train(LightGCN(world, 4), world, epochs=1, lazy=True, **QUIET)

    class Direct(Distiller):
        def loss(self, student, batch):
            return student.table.square().mean()

    distill(MF(world, 4), world, Direct, dim=4, epochs=1, **QUIET)
    with pytest.raises(TypeError, match="a loss reads the student's table itself"):
        distill(MF(world, 4), world, Direct, dim=4, epochs=1, lazy=True, **QUIET)
    assert np.isfinite(rkd.evaluate(MF(world, 4), world)["ndcg@10"]) and "unkd" in METHODS

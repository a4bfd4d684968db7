"""The projector against loops over experts and entities in NumPy, with the same draws; the distance of directions."""

from functools import partial

import numpy as np
import pytest
import torch
from conftest import numpy, seeded
from nkd_helpers import brute_projection, kept_units, plain_projection, replay
from scipy.stats import binomtest

from rkd.methods.projector import Projector, cosine_distance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cosine_distance_by_hand(dtype, device):
    """1 − 3/5, − 1 and − −1, whatever the lengths; what has no direction is at distance 1."""
    dtype = torch.float32 if device.type == "mps" else dtype
    a, b = (torch.tensor(x, dtype=dtype, device=device) for x in
            ([[1, 0], [1e3, 2e3], [-1, 2], [0, 0]], [[30, 40], [0.01, 0.02], [2, -4], [1, 2]]))
    assert cosine_distance(a, b).tolist() == pytest.approx([0.4, 0, 2, 1], abs=1e-6)


def test_the_gradient_of_the_cosine_distance():
    generator = seeded("cpu", 6)
    a, b = (torch.randn(7, 5, generator=generator, dtype=torch.float64) for _ in "ab")
    assert torch.autograd.gradcheck(partial(cosine_distance, a), b.requires_grad_())


@pytest.fixture
def projector(device):
    """Four experts from 3 dimensions to 8, by way of 5; and 20 entities."""
    generator = seeded(device, 3)
    return Projector(3, 8, 4, generator), torch.randn(20, 3, device=device, generator=generator)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_projector_against_loops(projector, dropout):
    """Without dropout nothing is drawn; with it, each entity and expert has units of its own silenced."""
    projector, student = projector
    draws = replay(projector.generator)
    found = projector(student, dropout)
    expected = brute_projection(projector, *numpy(student), kept_units(draws, (20, 4, 5), dropout))
    np.testing.assert_allclose(numpy(found)[0], expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(projector.generator.get_state(), draws.get_state())


def doubles(*tensors):
    """Leaves of the same values, in double precision."""
    return [x.detach().double().requires_grad_() for x in tensors]


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_projectors_gradients_are_autograds(projector, dropout, device):
    """Of every layer and of the embeddings; they add to what is there."""
    if device.type == "mps":
        pytest.skip("no double precision there")
    projector, student = projector
    factors = torch.from_numpy(kept_units(replay(projector.generator), (20, 4, 5), dropout)).to(device)
    pull = torch.randn(20, 8, device=device, generator=seeded(device, 9))
    for times in (1, 2):
        generator_state = projector.generator.get_state()
        own = student.clone().requires_grad_()
        (projector(own, dropout) * pull).sum().backward()
        projector.generator.set_state(generator_state)
        leaves = doubles(student, *projector.parameters())
        (plain_projection(leaves[1:], leaves[0], factors) * pull).sum().backward()
        torch.testing.assert_close(own.grad.double(), leaves[0].grad, rtol=1e-4, atol=1e-6)
        for parameter, leaf in zip(projector.parameters(), leaves[1:]):
            torch.testing.assert_close(parameter.grad.double(), times * leaf.grad, rtol=1e-4, atol=1e-6)


def test_dropout_keeps_the_expectation(projector):
    """The mean of 40,000 draws for one entity is within 5 standard errors of what is without dropout."""
    projector, student = projector
    found, plain = numpy(projector(student[:1].expand(40_000, 3), 0.3), projector(student[:1]))
    assert (np.abs(found.mean(0) - plain[0]) < 5 * found.std(0) / 200).all() and found.std(0).min() > 0


def test_dropout_silences_its_share(device):
    """One expert that is the identity shows its hidden units: 0, or greater by 1 / (1 − share)."""
    projector = Projector(6, 6, 1, seeded(device, 4))
    with torch.no_grad():
        for parameter, value in zip(projector.parameters(), (torch.eye(6), 0.0, torch.eye(6), 0.0)):
            parameter.copy_(torch.as_tensor(value).expand(parameter.shape))
    units = projector(torch.ones(2000, 6, device=device), dropout=0.3)
    silent = units == 0
    assert units[~silent].tolist() == pytest.approx(np.full(int((~silent).sum()), 1 / 0.7))
    assert binomtest(int(silent.sum()), 12_000, 0.3).pvalue > 1e-3


def test_the_last_layer_takes_sums_to_sums(projector, device):
    """Weighted sums of entities' hidden units become the same sums of what they are mapped to."""
    projector, student = projector
    weights = torch.randn(6, 20, device=device, generator=projector.generator)
    found = projector.last(weights @ projector.hidden(student), weights.sum(1, keepdim=True))
    torch.testing.assert_close(found, weights @ projector(student), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["scores", "cosines"])
def test_scores_after_projection_are_those_of_the_projected(projector, kind, device):
    """⟨q, P(s)⟩, or the cosine, pair by pair, and its gradients for the queries and for every layer."""
    if device.type == "mps":
        pytest.skip("no double precision there")
    projector, student = projector
    queries = torch.randn(4, 8, device=device, generator=projector.generator).requires_grad_()
    found = getattr(projector, kind)(queries, student.view(4, 5, 3))
    found.square().sum().backward()
    leaves = doubles(queries, *projector.parameters())
    mapped = plain_projection(leaves[1:], student.double()).view(4, 5, 8)
    expected = torch.einsum("nd,nld->nl", leaves[0], mapped)
    if kind == "cosines":
        expected = torch.cosine_similarity(leaves[0][:, None], mapped, dim=2)
    expected.square().sum().backward()
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    for x, leaf in zip((queries, *projector.parameters()), leaves):
        torch.testing.assert_close(x.grad.double(), leaf.grad, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_cosines_after_projection():
    """In double precision, against differences."""
    projector = Projector(3, 4, 2, seeded("cpu", 3)).double()
    inputs = [torch.randn(*shape, dtype=torch.float64, generator=seeded("cpu", 5)).requires_grad_()
              for shape in ((2, 4), (2, 3, 3))]
    assert torch.autograd.gradcheck(projector.cosines, inputs)

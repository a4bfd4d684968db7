"""HTD's topology losses against loops over pairs and groups, and limits that must hold."""

import numpy as np
import pytest
import torch
from conftest import numeric_gradient
from topology_helpers import brute_entity, brute_group, constant

from rkd.methods.htd import entity_topology, group_topology


def one_hot(group, n):
    return torch.nn.functional.one_hot(torch.as_tensor(group), n).double()


@pytest.fixture
def topology():
    """(student [11, 3], teacher [11, 5], groups); of five groups one is empty and one has a single member."""
    rng = np.random.default_rng(4)
    return rng.standard_normal((11, 3)), rng.standard_normal((11, 5)), np.array([0, 0, 2, 4, 0, 2, 1, 2, 2, 4, 0])


def test_topologies_worked_by_hand():
    """Student (1, 0), (0, 2) | (3, 0), teacher three times (1): all its cosines are 1.

    In a group: differences 0, 1, 1, 0 | 0, less the constant, 5. To the other group's prototype, of direction (1, 1) or
    (1, 0): the student's cosines are 1, 0 | 1 / √2. The two further groups are empty.
    """
    s, t = torch.tensor([[1.0, 0], [0, 1], [3, 0]]).double(), torch.tensor([[1.0], [2], [3]]).double()
    member = one_hot([0, 0, 1], 4)
    assert entity_topology(s, t, member).item() == pytest.approx(2 - 5)
    assert group_topology(s, t, member).item() == pytest.approx(0 + 1 + (1 - 0.5**0.5) ** 2)


def test_entity_topology_against_pairs(topology):
    """Up to the constant, and therefore to the very gradient."""
    s, t, group = topology
    student = torch.from_numpy(s).requires_grad_()
    found = entity_topology(student, torch.from_numpy(t), one_hot(group, 5))
    assert found.item() + constant(t, group) == pytest.approx(brute_entity(s, t, group))
    expected = numeric_gradient(lambda x: brute_entity(x, t, group), s)
    np.testing.assert_allclose(torch.autograd.grad(found, student)[0], expected, atol=1e-7)


def test_group_topology_against_loops(topology):
    """The prototypes are given: with them, the gradient would be another."""
    s, t, group = topology
    student = torch.from_numpy(s).requires_grad_()
    found = group_topology(student, torch.from_numpy(t), one_hot(group, 5))
    assert found.item() == pytest.approx(brute_group(s, t, group))
    gradient = torch.autograd.grad(found, student)[0].numpy()
    np.testing.assert_allclose(gradient, numeric_gradient(lambda x: brute_group(x, t, group, s), s), atol=1e-7)
    assert np.abs(gradient - numeric_gradient(lambda x: brute_group(x, t, group), s)).max() > 1e-3


def test_a_single_group_has_no_other(topology):
    s, t, _ = (torch.from_numpy(x) for x in topology)
    student = s.requires_grad_()
    loss = group_topology(student, t, one_hot([3] * 11, 5))
    assert loss == 0 and not torch.autograd.grad(loss, student)[0].any()


@pytest.mark.parametrize("topology_loss", [entity_topology, group_topology])
def test_rows_of_no_group_count_for_nothing(topology, topology_loss):
    """As repeated entities are where shapes are fixed: neither in the value nor in the gradient, nor have they one."""
    s, t, group = topology
    member = one_hot(group, 5)
    member[[1, 4]] = 0
    student = torch.from_numpy(s).requires_grad_()
    kept = torch.tensor([i for i in range(11) if i not in (1, 4)])
    found = topology_loss(student, torch.from_numpy(t), member)
    alone = topology_loss(student[kept], torch.from_numpy(t)[kept], member[kept])
    assert found.item() == pytest.approx(alone.item())
    gradients = [torch.autograd.grad(loss, student)[0] for loss in (found, alone)]
    torch.testing.assert_close(*gradients)
    assert not gradients[0][[1, 4]].any()


def test_a_rotated_teacher_has_the_teachers_topology(topology):
    """Lengths do not count either. The least that there is: both gradients vanish."""
    _, t, group = topology
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    lengths = np.linspace(0.5, 2, 11)[:, None]
    student, teacher, member = torch.from_numpy(lengths * t @ rotation), torch.from_numpy(t), one_hot(group, 5)
    student.requires_grad_()
    entity = entity_topology(student, teacher, member)
    assert entity.item() == pytest.approx(-constant(t, group))
    np.testing.assert_allclose(torch.autograd.grad(entity, student)[0], 0, atol=1e-12)
    student = torch.from_numpy(t @ rotation).requires_grad_()  # a prototype is a mean, in which lengths do count
    between = group_topology(student, teacher, member)
    assert between.item() == pytest.approx(0, abs=1e-20)
    np.testing.assert_allclose(torch.autograd.grad(between, student)[0], 0, atol=1e-12)

"""The equations on numbers that can be checked by hand, and bpr's own gradient against autograd's."""

import math

import pytest
import torch
from conftest import numeric_gradient
from torch.nn.functional import logsigmoid

from rkd.losses import bpr, collaborative_distillation, half_square, ranking_distillation, weighted_mean


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def test_bpr_by_hand():
    """Margins ⟨u, i − j⟩ of 2 and −1; the squares are 5 + 2, 2 + 1 and 0 + 5."""
    users, positives, negatives = t([1, 2], [1, -1]), t([0, 1], [1, 1]), t([0, 0], [2, 1])
    plain = -(log_sigmoid(2) + log_sigmoid(-1)) / 2
    assert bpr(torch.stack([users, positives, negatives])).item() == pytest.approx(plain)
    assert bpr(torch.stack([users, positives, negatives]), l2=0.1).item() == pytest.approx(plain + 0.1 * (7 + 3 + 5) / 2 / 2)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_bpr_is_the_plain_formula_with_autograds_gradient(l2, device):
    generator = torch.Generator().manual_seed(0)
    mine = [torch.randn(50, 7, generator=generator).to(device).requires_grad_() for _ in range(3)]
    plain = [x.detach().clone().requires_grad_() for x in mine]
    u, i, j = plain
    expected = (-logsigmoid((u * i).sum(1) - (u * j).sum(1)).mean()
                + l2 * (u.square().sum() + i.square().sum() + j.square().sum()) / 2 / 50)
    found = bpr(torch.stack(mine), l2)
    torch.testing.assert_close(found, expected)
    (3 * found).backward()  # a factor, so that the incoming gradient counts
    (3 * expected).backward()
    for a, b in zip(mine, plain):
        torch.testing.assert_close(a.grad, b.grad)


def test_bprs_gradient_numerically():
    """By central differences: torch's gradcheck goes backward twice."""
    triples = torch.randn(3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    numeric = numeric_gradient(lambda x: bpr(torch.from_numpy(x), 0.2).item(), triples.detach().numpy())
    bpr(triples.clone(), 0.2).backward()
    torch.testing.assert_close(triples.grad, torch.from_numpy(numeric), rtol=1e-3, atol=1e-6)


def test_what_bpr_has_overwritten_is_refused_a_second_use():
    """Never a wrong gradient in silence."""
    source = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    twice = bpr(source.clone())
    twice.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        twice.backward()
    shared = source.clone()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (shared.exp().sin() * shared + bpr(shared)).sum().backward()


def test_bpr_of_extreme_margins_is_finite():
    u, i, j = (x.requires_grad_() for x in (t([100.0]), t([-100.0]), t([100.0])))
    loss = bpr(torch.stack([u, i, j]))
    loss.backward()
    assert loss.item() == pytest.approx(20_000) and u.grad.item() == pytest.approx(200)


def test_half_square_by_hand():
    """(1 + 4 + 9) and 16, halved, over a batch of 2."""
    assert half_square(torch.stack([t([1, 2], [3, 0]), t([0, 0], [0, 4]), t([0, 0], [0, 0])])).item() == pytest.approx(
        (14 + 16) / 2 / 2)


def test_half_square_is_bprs_second_term():
    e = torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bpr(e, 0.7), bpr(e) + 0.7 * half_square(e))


def test_weighted_mean_by_hand():
    assert weighted_mean(t(1, 5, 2), t(1, 2, 3)).item() == pytest.approx((1 + 10 + 6) / 6)


def test_weighted_mean_by_counts_is_the_mean_over_positions():
    loss, positions = torch.randn(5, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 0, 3, 3, 1])
    users, counts = positions.unique(return_counts=True)
    torch.testing.assert_close(weighted_mean(loss[users], counts.float()), loss[positions].mean())


def test_ranking_distillation_by_hand():
    found = ranking_distillation(t([0, 1], [2, -3]), t([0.75, 0.25], [0, 1]))
    assert found.tolist() == pytest.approx([0.75 * math.log(2) - 0.25 * log_sigmoid(1), -log_sigmoid(-3)])


def test_collaborative_distillation_by_hand():
    """−q log σ(s) − (1 − q) log(1 − σ(s)), the mean over each user's items."""
    found = collaborative_distillation(t([0, 2], [-1, 0]), t([0.5, 0.9], [0.0, 1.0]))
    first = math.log(2), -0.9 * log_sigmoid(2) - 0.1 * log_sigmoid(-2)
    second = -log_sigmoid(1), math.log(2)
    assert found.tolist() == pytest.approx([sum(first) / 2, sum(second) / 2])


def test_collaborative_distillation_is_least_where_the_student_agrees():
    q = t([0.2, 0.7, 0.99])
    s = q.logit().requires_grad_()
    collaborative_distillation(s[None], q[None]).sum().backward()
    torch.testing.assert_close(s.grad, torch.zeros_like(s))

"""bpr on numbers that can be checked by hand, its gradient numerically, and what it overwrites. (Against its formula:
test_kernels.py)"""

import math

import pytest
import torch
from conftest import numeric_gradient

from rkd.kernels import bpr, half_square
from rkd.losses import CosineContrastive, SampledSoftmax


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def test_bpr_by_hand():
    """Margins ⟨u, i − j⟩ of 2 and −1; the squares are 5 + 2, 2 + 1 and 0 + 5."""
    users, positives, negatives = t([1, 2], [1, -1]), t([0, 1], [1, 1]), t([0, 0], [2, 1])
    plain = -(log_sigmoid(2) + log_sigmoid(-1)) / 2
    assert bpr(torch.stack([users, positives, negatives])).item() == pytest.approx(plain)
    regularised = bpr(torch.stack([users, positives, negatives]), l2=0.1)
    assert regularised.item() == pytest.approx(plain + 0.1 * (7 + 3 + 5) / 2 / 2)


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


# ------------------------------------------------------------------------------------------- many negatives for a pair

def naive(objective, users, positives, negatives):
    """The formulas by loops over a batch's pairs and its first two negatives."""
    total = 0.0
    for u, i in zip(users, positives):
        score = [sum(a * b for a, b in zip(u, x)) for x in (i, *negatives[:2])]
        if isinstance(objective, SampledSoftmax):
            weights = [math.exp(s / objective.temperature) for s in score]
            total += -math.log(weights[0] / sum(weights))
        else:
            over = [max(0.0, s - objective.margin) for s in score[1:]]
            total += 1 - score[0] + objective.negative_weight * sum(over) / 2
    return total / len(users)


@pytest.mark.parametrize("objective", [SampledSoftmax(0.3, 2), CosineContrastive(0.1, 5.0, 2)])
def test_shared_negatives_by_loops(objective):
    e = torch.randn(3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert objective.of_scored(e, None, 0.0).item() == pytest.approx(naive(objective, *e.tolist()))
    regularised = objective.of_scored(e, None, 0.7)
    assert regularised.item() == pytest.approx(naive(objective, *e.tolist()) + 0.7 * half_square(e).item())


def test_a_softmax_against_one_negative_is_bpr():
    """Where there is one pair and one negative: −log σ(s_ui − s_uj)."""
    e = torch.randn(3, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert SampledSoftmax(1.0, 8).of_scored(e, None, 0.0).item() == pytest.approx(bpr(e).item())


@pytest.mark.parametrize("made, words", [
    (lambda: SampledSoftmax(0.0), "temperature must be above 0"),
    (lambda: SampledSoftmax(1.0, 0), "n_negatives must be at least 1"),
    (lambda: CosineContrastive(1.5), "margin must be between 0 and 1"),
    (lambda: CosineContrastive(0.5, -1.0), "negative_weight must be 0 or more")])
def test_settings_out_of_range(made, words):
    with pytest.raises(ValueError, match=words):
        made()

"""Soft labels and the divergence from them: by hand, against torch's cross-entropy, where items are absent."""

from math import log

import numpy as np
import pytest
import torch
from conftest import seeded
from torch.nn.functional import cross_entropy

from rkd.methods.sld import soft_label_distillation, soft_labels, standardised


def some_lists(dtype=torch.float64):
    """(teacher's and student's scores, present) of lists of 7, one whole, one empty, one of 1: [5, 2, 7] each."""
    generator = seeded()
    t, s = (3 * torch.randn(5, 2, 7, generator=generator, dtype=dtype) for _ in range(2))
    present = torch.rand(5, 2, 7, generator=generator) < 0.6
    present[0, 0], present[1, 1], present[2, 0] = True, False, torch.arange(7) == 3
    return t, s, present


def test_labels_and_divergence_worked_by_hand(device):
    """z_T = (−1, 1), z_S = (1, −1), mixed (−½, ½), over tau (−1, 1); the student's probabilities are ¾ and ¼."""
    teacher, student = torch.tensor([[[[5.0, 99, 9]], [[7, 7, 7]]], [[[2, -4, 0]], [[1, 1, 4]]]], device=device)
    present = torch.tensor([[[True, False, True]], [[True, True, False]]], device=device)
    assert standardised(teacher, present).tolist() == [[[-1, 0, 1]], [[0, 0, 0]]]
    label = soft_labels(teacher, student, present, 0.75, 0.5)
    p = 1 / (1 + np.exp(-2))
    np.testing.assert_allclose(label.cpu(), [[[1 - p, 0, p]], [[0.5, 0.5, 0]]], rtol=1e-5)
    scores = torch.tensor([[[0.7 * log(3), 50, 0]], [[-8, -8, 1000]]], device=device)
    expected = [[(1 - p) * log((1 - p) / 0.75) + p * log(p / 0.25)], [0]]
    found = soft_label_distillation(scores, label, present, 0.7).cpu()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_absent_places_have_no_probability_no_loss_and_no_gradient(dtype):
    """Whatever their scores: labels and loss are those of the other places alone. A list of none has loss 0."""
    t, s, present = some_lists(dtype)
    label = soft_labels(t, s, present, 0.6, 0.4)
    some = present.any(2)
    assert not label[some][~present[some]].any() and torch.allclose(label.sum(2), torch.ones(5, 2, dtype=dtype))
    other_t, other_s = (x.masked_fill(~present, 3e5) for x in (t, s))
    assert torch.equal(soft_labels(other_t, other_s, present, 0.6, 0.4), label)
    each = []
    for scores in (s.clone().requires_grad_(), other_s.requires_grad_()):
        loss = soft_label_distillation(scores, label, present, 0.8)
        loss.sum().backward()
        assert (loss[some & (present.sum(2) > 1)] > 0).all() and not scores.grad[~present].any()
        assert loss[2, 0].item() == 0 and loss[1, 1].item() == pytest.approx(0, abs=1e-6)
        assert scores.grad[present & (present.sum(2, keepdim=True) > 1)].all()
        each.append(loss)
    assert torch.equal(*each)


def test_no_divergence_between_a_label_and_a_student_that_agrees():
    """By scores that are τ log p + c; and by a student that is its own teacher, its scores standardised."""
    t, s, present = some_lists()
    label = soft_labels(t, s, present, 0.3, 0.7)
    z_s = standardised(s, present)
    cases = [(0.4 * label.log().clamp(min=-300) + 5, label, 0.4)]
    for teacher, student, gamma in ((t, s, 0.0), (s, t, 1.0), (s, s, 0.4)):
        cases.append((z_s, soft_labels(teacher, student, present, gamma, 0.9), 0.9))
    for scores, p, tau in cases:
        scores = scores.clone().requires_grad_()
        loss = soft_label_distillation(scores, p, present, tau)
        loss.sum().backward()
        np.testing.assert_allclose(loss.detach(), 0, atol=1e-12)
        np.testing.assert_allclose(scores.grad, 0, atol=1e-12)
    assert (soft_label_distillation(z_s, label, present, 0.7)[present.sum(2) > 1] > 1e-3).all()


def test_the_teacher_alone_is_cross_entropy_to_its_soft_labels():
    """gamma = 1: torch's own cross-entropy less the label's entropy, which no student can change; the same gradient."""
    t, s, present = some_lists()
    for row, scores, places in zip(t.flatten(0, 1), s.flatten(0, 1), present.flatten(0, 1)):
        if not places.any():
            continue
        mine, plain = (scores.clone().requires_grad_() for _ in range(2))
        label = soft_labels(row, torch.full_like(row, torch.pi), places, 1.0, 0.5)
        known = row[places]
        z = (known - known.mean()) / known.std(correction=0) if len(known) > 1 else torch.zeros_like(known)
        target = torch.softmax(z / 0.5, 0)
        found, expected = soft_label_distillation(mine, label, places, 0.8), cross_entropy(plain[places] / 0.8, target)
        entropy = -(target * target.log()).sum()
        torch.testing.assert_close(found, expected - entropy)
        torch.testing.assert_close(*(torch.autograd.grad(x, y)[0] for x, y in ((found, mine), (expected, plain))))

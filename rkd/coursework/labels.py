"""Exercise 7: soft labels, and SLD."""

import torch
from torch import Tensor

from ..methods.sld import soft_label_distillation, soft_labels, standardised
from .draws import chosen, normal
from .task import formula


def standardise(scores: Tensor, present: Tensor) -> Tensor:
    """Mean 0 and variance 1 over each row's present items, 0 elsewhere: [n, L] each (present bool) → [n, L]."""
    return standardised(scores, present)


def _standardise(scores, present, correction=0, power=0.5):
    n = present.sum(1, keepdim=True)
    centred = (scores - (scores * present).sum(1, keepdim=True) / n) * present
    return centred / (centred.square().sum(1, keepdim=True) / (n - correction)) ** power


def _everywhere(scores, present):
    return ((scores - scores.mean(1, keepdim=True)) / scores.std(1, keepdim=True, correction=0)) * present


def _zeroed(scores, present):
    return _everywhere(scores * present, present)


def _left_over(scores, present):
    n, inside = present.sum(1, keepdim=True), scores * present
    mean = inside.sum(1, keepdim=True) / n
    return (scores - mean) / (((scores - mean) * present).square().sum(1, keepdim=True) / n).sqrt()


def soft_label(teacher: Tensor, student: Tensor, present: Tensor, gamma: float, tau: float) -> Tensor:
    """softmax((γ z_T + (1 − γ) z_S) / τ) over the present items, z standardised: [n, L] each → [n, L]."""
    return soft_labels(teacher.detach(), student.detach(), present, gamma, tau)


def _label(teacher, student, present, gamma, tau, standard=standardised, mask=True):
    mixed = gamma * standard(teacher, present) + (1 - gamma) * standard(student, present)
    return torch.softmax((mixed / tau).masked_fill(~present & mask, -torch.inf), 1)


def _mixed_after(teacher, student, present, gamma, tau):
    return gamma * soft_label(teacher, student, present, 1.0, tau) + (1 - gamma) * soft_label(
        teacher, student, present, 0.0, tau)


def sld_loss(scores: Tensor, label: Tensor, present: Tensor, tau: float) -> Tensor:
    """KL(p ‖ softmax(s / τ)) over each row's present items: [n, L] each → [n]."""
    return soft_label_distillation(scores, label, present, tau)


def _log_q(scores, present, tau, mask=True):
    return torch.log_softmax((scores / tau).masked_fill(~present & mask, -1e4), 1)


def _reverse(scores, label, present, tau):
    log_q = _log_q(scores, present, tau)
    return (log_q.exp() * (log_q - label.clamp(min=1e-30).log()) * present).sum(1)


def _naive(scores, label, present, tau):
    log_q = torch.log_softmax((scores / tau).masked_fill(~present, -torch.inf), 1)
    return (label * (label.log() - log_q)).sum(1)


def _cross_entropy(scores, label, present, tau):
    return -(label * _log_q(scores, present, tau)).sum(1)


STANDARDISE_MISTAKES = {
    "absent items are counted in the mean and the deviation": _everywhere,
    "absent items are set to 0 and then counted in the mean and the deviation": _zeroed,
    "absent items should be 0 in the end": _left_over,
    "the variance is divided by n − 1 in place of n": lambda s, p: _standardise(s, p, correction=1),
    "it is divided by the variance; the deviation, its root, is asked for": lambda s, p: _standardise(s, p, power=1.0),
    "the mean is taken away, the deviation not divided by": lambda s, p: _standardise(s, p, power=0.0),
    "the deviation is divided by, the mean not taken away": lambda s, p: _standardise(s, p) + p * (
        (s * p).sum(1, keepdim=True) / p.sum(1, keepdim=True)) / _deviation(s, p),
    "it goes over the users; each row, a user's list, is standardised by itself":
        lambda s, p: _standardise(s.T, p.T).T,
    "it standardises over all rows at once; each row by itself is asked for":
        lambda s, p: (s - s[p].mean()) / s[p].std(correction=0) * p,
}


def _deviation(scores, present):
    n = present.sum(1, keepdim=True)
    mean = (scores * present).sum(1, keepdim=True) / n
    return (((scores - mean) * present).square().sum(1, keepdim=True) / n).sqrt()


LABEL_MISTAKES = {
    "γ is the teacher's share; yours is the student's": lambda t, s, p, g, tau: _label(s, t, p, g, tau),
    "it multiplies by τ; a temperature divides": lambda t, s, p, g, tau: _label(t, s, p, g, 1 / tau),
    "τ is missing": lambda t, s, p, g, tau: _label(t, s, p, g, 1.0),
    "absent items get some probability: mask them before the softmax":
        lambda t, s, p, g, tau: _label(t, s, p, g, tau, mask=False),
    "absent items are masked after the softmax, so that the rest does not sum to 1":
        lambda t, s, p, g, tau: _label(t, s, p, g, tau, mask=False) * p,
    "the scores are not standardised: one τ cannot fit all users":
        lambda t, s, p, g, tau: _label(t, s, p, g, tau, standard=lambda x, present: x),
    "two distributions are mixed; mix the scores, then take the softmax": _mixed_after,
    "the student has no say: γ mixes both": lambda t, s, p, g, tau: _label(t, s, p, 1.0, tau),
    "the student's share is 1 − γ": lambda t, s, p, g, tau: torch.softmax(
        ((g * standardised(t, p) + standardised(s, p)) / tau).masked_fill(~p, -torch.inf), 1),
    "the softmax goes over the users; it goes over the list": lambda t, s, p, g, tau: torch.softmax(
        ((g * standardised(t, p) + (1 - g) * standardised(s, p)) / tau).masked_fill(~p, -torch.inf), 0),
    "it returns the logarithm of the label": lambda *a: soft_label(*a).log(),
}

SLD_MISTAKES = {
    "it is the reverse, KL(q ‖ p); KL(p ‖ q) is asked for": _reverse,
    "it is the cross-entropy; the KL divergence is that less the label's own entropy": _cross_entropy,
    "it is the negative of the divergence": lambda *a: -sld_loss(*a),
    "absent items are in the student's softmax: mask them":
        lambda s, y, p, t: (torch.special.entr(y).neg() - y * _log_q(s, p, t, mask=False)).sum(1),
    "τ is missing": lambda s, y, p, t: sld_loss(s, y, p, 1.0),
    "it multiplies by τ; a temperature divides": lambda s, y, p, t: sld_loss(s, y, p, 1 / t),
    "it is the mean over the list; the sum is asked for": lambda s, y, p, t: sld_loss(s, y, p, t) / s.shape[1],
    "it is one number for the batch; one for each user is asked for": lambda *a: sld_loss(*a).mean(),
    "where the label is 0 it computes 0 · log 0, which is not a number: the limit is 0 (torch.special.entr)": _naive,
    "no gradient reaches the student's scores: did you detach them or leave torch?": lambda *a: sld_loss(*a).detach(),
}


def _partial(seed, n, length):
    """Which items are present: at least three of each row and column."""
    present = chosen(seed, n, length, share=0.7)
    present[:3], present[:, :3] = True, True
    return present


def _masked(seed, n, length):
    return {"scores": 2 * normal(seed, n, length) + 3, "present": _partial(seed, n, length)}


def _both(seed, n, length, gamma, tau):
    return {"teacher": 5 * normal(seed, n, length) + 2, "student": normal(seed + 50, n, length) - 1,
            "present": _partial(seed, n, length), "gamma": gamma, "tau": tau}


def _labelled(seed, n, length, tau):
    present = _partial(seed, n, length)
    label = torch.softmax(normal(seed + 50, n, length).masked_fill(~present, -torch.inf), 1)
    return {"scores": normal(seed, n, length, scale=2.0), "label": label, "present": present, "tau": tau}


TASKS = {
    "standardise": formula(standardise, STANDARDISE_MISTAKES, visible=(_masked(1, 6, 8), _masked(2, 9, 9)),
                           hidden=(_masked(3, 20, 15), _masked(4, 4, 30))),
    "soft_label": formula(soft_label, LABEL_MISTAKES, visible=(_both(1, 6, 8, 0.75, 0.5), _both(2, 7, 7, 0.2, 2.0)),
                          hidden=(_both(3, 10, 20, 0.6, 0.25),)),
    "sld_loss": formula(sld_loss, SLD_MISTAKES, gradient_of=("scores",),
                        visible=(_labelled(1, 6, 8, 0.5), _labelled(2, 7, 7, 2.0)),
                        hidden=(_labelled(3, 10, 20, 1.5),)),
}

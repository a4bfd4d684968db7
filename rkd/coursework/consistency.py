"""Exercise 6: projectors, consistency and CPD."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .draws import normal
from .task import formula


def turned_round(before: Tensor, after: Tensor) -> Tensor:
    """The share of pairs of different items whose order differs, a tie in one counting half: [n, L] each → a scalar."""
    return _turned(before, after).sum() / _pairs(before)


def _turned(before, after):
    return (_sign(before) - _sign(after)).abs() / 2  # [n, L, L]


def _sign(scores):
    return (scores[:, :, None] - scores[:, None, :]).sign()


def _pairs(scores):
    n, length = scores.shape
    return n * length * (length - 1)


def pair_penalty(u: Tensor, i: Tensor, j: Tensor, map_users: Tensor, map_items: Tensor) -> Tensor:
    """mean max(0, −after · before): before = ⟨u, i⟩ − ⟨u, j⟩, after = cos(u map_users, i map_items) − cos(u map_users,
    j map_items); embeddings [B, d_s], taken as given, maps [d_s, d_t] → a scalar."""
    return _penalty(u.detach(), i.detach(), j.detach(), map_users, map_items)


def _penalty(u, i, j, map_users, map_items, cost=lambda before, after: (-before * after).relu()):
    return cost(_margin(u, i, j), _cosines(u @ map_users, i @ map_items, j @ map_items)).mean()


def _margin(u, i, j):
    return (u * (i - j)).sum(1)


def _cosines(u, i, j):
    return _margin(normalize(u), normalize(i), normalize(j))


def _other_scores(before=_margin, after=_cosines):
    """The same, with other differences of scores."""
    def wrong(u, i, j, a, b):
        u, i, j = u.detach(), i.detach(), j.detach()
        return (-before(u, i, j) * after(u @ a, i @ b, j @ b)).relu().mean()
    return wrong


def _other_cost(cost):
    """The same, with another cost of (before, after)."""
    return lambda u, i, j, a, b: _penalty(u.detach(), i.detach(), j.detach(), a, b, cost)


def list_penalty(before: Tensor, after: Tensor, tau: float) -> Tensor:
    """Cross-entropy of softmax(after / τ) to softmax(before / τ), before taken as given: [n, Q] each → [n]."""
    return _cross(before.detach(), after, tau, tau)


def _cross(before, after, tau_before, tau_after, dim=1):
    return -(torch.softmax(before / tau_before, dim) * torch.log_softmax(after / tau_after, dim)).sum(1)


def _naive(before, after, tau):
    weights = [(x / tau).exp() for x in (before.detach(), after)]
    p, q = (w / w.sum(1, keepdim=True) for w in weights)
    return -(p * q.log()).sum(1)


TURNED_MISTAKES = {
    "an item's comparison with itself is counted among the pairs, and can never be turned round":
        lambda b, a: _turned(b, a).mean(),
    "a tie counts half, since it is right in one half of the ways to break it; yours counts whole":
        lambda b, a: (_sign(b) != _sign(a)).sum() / _pairs(b),
    "a tie counts half; yours counts nothing": lambda b, a: (_sign(b) * _sign(a) < 0).sum() / _pairs(b),
    "it is the share of pairs that keep their order": lambda b, a: 1 - turned_round(b, a),
    "it counts the pairs; their share is asked for": lambda b, a: _turned(b, a).sum() / 2,
    "only neighbours in the list are compared; all pairs are asked for":
        lambda b, a: ((b.diff(dim=1).sign() - a.diff(dim=1).sign()).abs() / 2).mean(),
    "the signs' difference is 2 where an order is turned round: halve it":
        lambda b, a: 2 * turned_round(b, a),
    "the list's first item only is compared with the others; all pairs are asked for":
        lambda b, a: (((b[:, :1] - b[:, 1:]).sign() - (a[:, :1] - a[:, 1:]).sign()).abs() / 2).mean(),
    "users are compared with each other: pairs are of one user's items": lambda b, a: turned_round(b.T, a.T),
    "it is one value for each user; the share over all is asked for":
        lambda b, a: _turned(b, a).sum((1, 2)) / (_pairs(b) / len(b)),
}

PAIR_MISTAKES = {
    "a gradient is let into the student: these two terms train the projectors alone (detach the embeddings)": _penalty,
    "a gradient is let into the student by way of after: detach the embeddings there as well":
        lambda u, i, j, a, b: (-_margin(u, i, j).detach() * _cosines(u @ a, i @ b, j @ b)).relu().mean(),
    "a gradient is let into the student by way of before: detach it":
        lambda u, i, j, a, b: (-_margin(u, i, j) * _cosines(
            u.detach() @ a, i.detach() @ b, j.detach() @ b)).relu().mean(),
    "after is made of inner products; cosines are asked for": _other_scores(after=_margin),
    "the user's projection is not divided by its length: a cosine divides by both":
        _other_scores(after=lambda u, i, j: _margin(u, normalize(i), normalize(j))),
    "the items' projections are not divided by their lengths: a cosine divides by both":
        _other_scores(after=lambda u, i, j: _margin(normalize(u), i, j)),
    "before is made of cosines; the student's own scores are inner products": _other_scores(before=_cosines),
    "it is the cosine with the difference of the items; the difference of two cosines is asked for":
        _other_scores(after=lambda u, i, j: (normalize(u) * normalize(i - j)).sum(1)),
    "it punishes preferences that are kept: the sign is turned": _other_cost(lambda b, a: (b * a).relu()),
    "max(0, ·) is missing: pairs that are kept earn a reward without end": _other_cost(lambda b, a: -b * a),
    "it is the sum over the pairs; the mean is asked for": lambda u, *rest: pair_penalty(u, *rest) * len(u),
    "before is not in it: a pair whose negative the student prefers would be punished for being kept":
        _other_cost(lambda b, a: (-a).relu()),
    "after is not in it": _other_cost(lambda b, a: (-b).relu() + 0 * a),
    "it takes the sign of before; its size says how sure the student is":
        _other_cost(lambda b, a: (-b.sign() * a).relu()),
    "it is −log σ of the product (the authors' later variant); max(0, −product) is asked for":
        _other_cost(lambda b, a: -torch.nn.functional.logsigmoid(b * a)),
    "it is squared": _other_cost(lambda b, a: (-b * a).relu().square()),
    "no gradient reaches the projectors: only the student's embeddings are detached":
        lambda *a: pair_penalty(*a).detach(),
    "users and items have changed projectors": lambda u, i, j, a, b: pair_penalty(u, i, j, b, a),
}

LIST_MISTAKES = {
    "a gradient is let into the student: before is the label (detach it)": lambda b, a, t: _cross(b, a, t, t),
    "the label and the prediction have changed places": lambda b, a, t: _cross(a, b.detach(), t, t),
    "it multiplies by τ; a temperature divides": lambda b, a, t: _cross(b.detach(), a, 1 / t, 1 / t),
    "τ is missing": lambda b, a, t: _cross(b.detach(), a, 1, 1),
    "τ is missing on the side of the label": lambda b, a, t: _cross(b.detach(), a, 1, t),
    "τ is missing on the side of the projection": lambda b, a, t: _cross(b.detach(), a, t, 1),
    "the softmax goes over the users; it goes over the list": lambda b, a, t: _cross(b.detach(), a, t, t, dim=0),
    "it is the mean over the list; the sum is asked for": lambda b, a, t: list_penalty(b, a, t) / b.shape[1],
    "it is one number for the batch; one for each user is asked for": lambda b, a, t: list_penalty(b, a, t).mean(),
    "it is the negative of the loss": lambda b, a, t: -list_penalty(b, a, t),
    "it is the KL divergence, which is the cross-entropy less the label's entropy":
        lambda b, a, t: list_penalty(b, a, t) - _cross(b.detach(), b.detach(), t, t),
    "the softmax overflows: exp of a large score is infinite (torch has log_softmax)": _naive,
    "no gradient reaches the projection": lambda b, a, t: list_penalty(b, a, t).detach(),
}


def _ties(seed, n, length):
    return {"before": normal(seed, n, length).round(), "after": normal(seed + 50, n, length).round()}


def _entities(seed, n, d_s, d_t):
    embeddings = dict(zip(("u", "i", "j"), normal(seed, 3, n, d_s)))
    return embeddings | {"map_users": normal(seed + 50, d_s, d_t), "map_items": normal(seed + 60, d_s, d_t)}


def _lists(seed, n, length, tau, scale=1.0):
    before, after = (normal(s, n, length, scale=scale) for s in (seed, seed + 50))
    return {"before": before, "after": after, "tau": tau}


TASKS = {
    "turned_round": formula(turned_round, TURNED_MISTAKES, visible=(_ties(1, 5, 6), _ties(2, 3, 10)),
                            hidden=(_ties(3, 20, 4), _ties(4, 1, 12))),
    "pair_penalty": formula(pair_penalty, PAIR_MISTAKES, gradient_of=("u", "i", "j", "map_users", "map_items"),
                            visible=(_entities(1, 12, 3, 5), _entities(2, 20, 4, 4)), hidden=(_entities(3, 40, 5, 9),)),
    "list_penalty": formula(list_penalty, LIST_MISTAKES, gradient_of=("before", "after"),
                            visible=(_lists(1, 4, 6, 0.5), _lists(2, 7, 7, 2.0)),
                            hidden=(_lists(3, 3, 5, 0.25, scale=60.0),)),
}

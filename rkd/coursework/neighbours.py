"""Exercise 5: neighbours, and NKD."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .draws import normal
from .task import Task, form, formula, shaped


def nearest(embeddings: Tensor, k: int) -> Tensor:
    """The k nearest others of each row by Euclidean distance, nearest first: [n, d] → [n, k] int64."""
    return _order(torch.cdist(embeddings, embeddings).fill_diagonal_(torch.inf))[:, :k]


def _order(distance):
    return distance.argsort(1)


def _by_similarity(similarity, k):
    return _order(-similarity.fill_diagonal_(-torch.inf))[:, :k]


def _cosines(e):
    return normalize(e) @ normalize(e).T


def feature_distance(teacher: Tensor, projected: Tensor) -> Tensor:
    """mean over entities of 1 − cos(t_e, P(s_e)): [n, d] each → a scalar."""
    return 1 - _cos(teacher, projected).mean()


def _cos(a, b):
    return (normalize(a) * normalize(b)).sum(1)


def _mixed(found, given) -> str | None:
    """What is wrong with mixtures r ⊙ e + (1 − r) ⊙ e_n, r uniform in [0, 2 α], for each coordinate apart."""
    own, neighbour, alpha = (given[name] for name in ("own", "neighbour", "alpha"))
    value = shaped(found["value"], own)
    if form(value) != form(own):
        return f"it should return {form(own)}, and returns {form(value)}"
    r = (value.double() - neighbour) / (own.double() - neighbour)  # [n, d]
    if not bool(r.isfinite().all()):
        return "it returns values that are not finite"
    n, across, down = r.numel() ** 0.5, r.std(1).mean(), r.std(0).mean()
    if down < 1e-3 and across < 1e-3:
        return f"every coordinate of every row has the same r ({r.mean():.2f}): draw r for each coordinate"
    if across < 1e-3:
        return "all coordinates of a row have the same r: draw one for each coordinate"
    if down < 1e-3:
        return "all rows have the same r: draw anew for each row"
    if bool(((r - r.round()).abs() < 1e-3).all()):
        return "r is 0 or 1 everywhere, which is hard mixing: soft mixing draws r uniformly from [0, 2α]"
    if r.min() < -1e-3:
        return f"r goes below 0 (to {r.min():.2f}): it is uniform in [0, 2α]"
    mean, low, top = (x.item() for x in (r.mean(), r.min(), r.max()))
    even = 2 * alpha / 12**0.5  # the deviation of a uniform r
    if abs(mean - alpha) < 2 / n and top < 2 * alpha + 1e-3:
        if abs(r.std() - even) < 1 / n:
            return None
        return f"r has deviation {r.std():.2f}, a uniform one {even:.2f}: is it uniform in [0, 2α]?"
    if abs(mean - (1 - alpha)) < 2 / n and abs(top - 1) < 0.02 and abs(1 - low - 2 * alpha) < 0.02:
        return "own and neighbour have changed places: r weighs the entity's own embedding"
    if abs(mean - alpha / 2) < 2 / n and abs(top - alpha) < 0.02:
        return "r is uniform in [0, α]; [0, 2α] is asked for, so that its mean is α"
    if abs(mean - 0.5) < 2 / n and abs(top - 1) < 0.02:
        return "r is uniform in [0, 1] whatever α is; [0, 2α] is asked for"
    return (f"r has mean {mean:.2f} and goes up to {top:.2f}; uniform in [0, 2α] it has mean {alpha:.2f} and ends at "
            f"{2 * alpha:.2f}")


NEAREST_MISTAKES = {
    "every entity is its own nearest neighbour: leave it out":
        lambda e, k: _order(torch.cdist(e, e).fill_diagonal_(-1))[:, :k],
    "it finds the farthest, not the nearest": lambda e, k: _order(-torch.cdist(e, e).fill_diagonal_(-torch.inf))[:, :k],
    "it goes by cosine; Euclidean distance is asked for": lambda e, k: _by_similarity(_cosines(e), k),
    "it goes by inner product; Euclidean distance is asked for": lambda e, k: _by_similarity(e @ e.T, k),
    "it goes by the sum of absolute differences; Euclidean distance is asked for":
        lambda e, k: _order(torch.cdist(e, e, p=1).fill_diagonal_(torch.inf))[:, :k],
    "it is off by one: the nearest neighbour is left out": lambda e, k: nearest(e, k + 1)[:, 1:],
    "one neighbour too many": lambda e, k: nearest(e, k + 1),
    "one neighbour too few": lambda e, k: nearest(e, k)[:, :-1],
    "it returns distances; the neighbours' numbers are asked for":
        lambda e, k: torch.cdist(e, e).fill_diagonal_(torch.inf).sort(1).values[:, :k],
    "the neighbours are right, their order is not: nearest first": lambda e, k: nearest(e, k).sort(1).values,
    "it returns every row's rank; the numbers of the k nearest are asked for":
        lambda e, k: _order(torch.cdist(e, e).fill_diagonal_(torch.inf)).argsort(1)[:, :k],
    "the neighbours are along the first axis: one row for each entity is asked for": lambda e, k: nearest(e, k).T,
}

DISTANCE_MISTAKES = {
    "it is the mean cosine itself: 1 − cos is a distance": lambda t, p: _cos(t, p).mean(),
    "the norms are missing: an inner product is not a cosine": lambda t, p: 1 - (t * p).sum(1).mean(),
    "it is the sum over the entities; the mean is asked for": lambda t, p: (1 - _cos(t, p)).sum(),
    "it is one value for each entity; their mean is asked for": lambda t, p: 1 - _cos(t, p),
    "the norm is taken along the wrong axis: each entity, a row, has its own":
        lambda t, p: 1 - (normalize(t, dim=0) * normalize(p, dim=0)).sum(1).mean(),
    "it is a squared distance of the vectors; 1 − cos does not depend on their length":
        lambda t, p: (t - p).square().sum(1).mean(),
    "it compares every entity with every other: row by row is asked for":
        lambda t, p: 1 - (normalize(t) @ normalize(p).T).mean(),
    "the gradient into the student's projection is missing: did you detach it?":
        lambda t, p: feature_distance(t, p.detach()),
}


def _mixing(seed, alpha):
    return {"own": normal(seed, 300, 40) + 4, "neighbour": normal(seed + 50, 300, 40) - 4, "alpha": alpha,
            "generator": seed}


TASKS = {
    "nearest": formula(nearest, NEAREST_MISTAKES,
                       visible=({"embeddings": normal(1, 12, 3), "k": 4}, {"embeddings": normal(2, 30, 5) + 1, "k": 3}),
                       hidden=({"embeddings": normal(3, 50, 8) - 2, "k": 5}, {"embeddings": normal(4, 9, 2), "k": 1})),
    "soft_mix": Task(visible=(_mixing(1, 0.3), _mixing(2, 0.5)), hidden=(_mixing(3, 0.45), _mixing(4, 0.1)),
                     judge=_mixed),
    "feature_distance": formula(
        feature_distance, DISTANCE_MISTAKES, gradient_of=("projected",),
        visible=({"teacher": normal(1, 6, 5), "projected": normal(2, 6, 5, scale=3.0)},),
        hidden=({"teacher": normal(3, 1, 9), "projected": normal(4, 1, 9)},
                {"teacher": normal(5, 40, 3), "projected": normal(6, 40, 3, scale=0.1)})),
}

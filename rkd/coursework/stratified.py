"""Exercise 4: stratified sampling, and the UnKD loss."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..popularity import popularity_groups
from .draws import chosen, counts, normal
from .task import Task, form, formula, shaped

N_DRAWS = 20_000


def mass_groups(popularity: Tensor, n_groups: int) -> Tensor:
    """Groups of equal total popularity, 0 the most popular: [n_items] int64 → [n_items] int64."""
    return popularity_groups(popularity, n_groups)


def _cut_at(end):
    """An item on a cut to the group in which it begins, or ends."""
    def wrong(popularity, n_groups):
        sizes, order = popularity.sort(descending=True, stable=True)
        edge = sizes.cumsum(0) - (0 if end else sizes)
        group = (n_groups * edge // popularity.sum()).clamp(max=n_groups - 1)
        return torch.empty_like(group).scatter_(0, order, group)
    return wrong


def _equal_numbers(popularity, n_groups):
    return popularity.argsort(descending=True, stable=True).argsort() * n_groups // len(popularity)


def _masses(found, expected, given):
    """By how much the groups' masses differ, where they do."""
    popularity, n_groups = given["popularity"], given["n_groups"]
    if int(found.min()) < 0 or int(found.max()) >= n_groups:
        return f"groups are numbered from 0 to {n_groups - 1}; yours go from {int(found.min())} to {int(found.max())}"
    mass = torch.zeros(n_groups).index_add_(0, found.long(), popularity.float())
    apart = (mass.max() - mass.min()) / mass.mean()
    return f"your groups' masses differ by {apart:.0%}; equal mass is asked for: did you sort by popularity?"


def unkd_loss(better: Tensor, worse: Tensor, possible: Tensor) -> Tensor:
    """−mean log σ(s⁺ − s⁻) over each user's possible pairs, 0 where there is none: [n, P] each → [n]."""
    return -(logsigmoid(better - worse) * possible).sum(1) / possible.sum(1).clamp(min=1)


def _unclamped(better, worse, possible):
    return -(logsigmoid(better - worse) * possible).sum(1) / possible.sum(1)


def _drawn(found, given) -> str | None:
    """What is wrong with pairs of ranks, drawn with p(r) ∝ e^(−r/μ) without replacement, the better first."""
    wanted, depth, mu = [torch.zeros(given["n"])] * 2, given["depth"], given["mu"]
    value = shaped(found["value"], wanted)
    if form(value) != form(wanted):
        return f"it should return {form(wanted)}, and returns {form(value)}"
    a, b = (x.double() for x in value)
    if bool((a != a.round()).any()) or bool((b != b.round()).any()):
        return "ranks are whole numbers"
    if min(a.min(), b.min()) == 1 and max(a.max(), b.max()) == depth:
        return "it is off by one rank: ranks count from 0, the best"
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= depth:
        return f"there are ranks outside 0 … {depth - 1}"
    if (equal := (a == b).double().mean()) > 0:
        return f"{equal:.0%} of the pairs have the same rank twice: draw without replacement"
    if bool((a > b).all()):
        return "the worse rank comes first; the better one, the smaller number, is asked for"
    if (turned := (a > b).double().mean()) > 0:
        return f"in {turned:.0%} of the pairs the first rank is the worse: sort each pair"
    ranks, expected = torch.arange(depth).double(), _joint(-torch.arange(depth).double() / mu)
    counted = torch.bincount((a * depth + b).long(), minlength=depth**2).view(depth, depth) / given["n"]
    if (counted - expected).abs().max() < 6 * (expected.max() / given["n"]) ** 0.5:
        return None
    for words, log_p in OTHER_DRAWS.items():
        if (counted - _joint(log_p(ranks, mu))).abs().max() < 0.02:
            return words
    return (f"rank 0 is in {counted[0].sum():.0%} of your pairs, by the formula in {expected[0].sum():.0%}: "
            "p(r) ∝ exp(−r / μ), then the same over the ranks left")


def _joint(log_p):
    """The probability of each pair, the better rank first, drawn without replacement: [depth] → [depth, depth]."""
    p = torch.softmax(log_p, 0)
    in_order = p[:, None] * p / (1 - p[:, None])
    return (in_order + in_order.T).triu(1)


OTHER_DRAWS = {
    "all ranks are equally likely; p(r) ∝ exp(−r / μ) is asked for": lambda r, mu: 0 * r,
    "low ranks are favoured: the exponent's sign is turned": lambda r, mu: r / mu,
    "the exponent is −r μ; −r / μ is asked for": lambda r, mu: -r * mu,
    "the probabilities are made by 1 / (r + 1); exp(−r / μ) is asked for": lambda r, mu: -(r + 1).log(),
}

GROUPS_MISTAKES = {
    "the groups hold equally many items; equal mass is asked for": _equal_numbers,
    "the groups are numbered from the least popular; 0 is the most popular":
        lambda c, n: n - 1 - mass_groups(c, n),
    "the groups are numbered from 1; 0 is the most popular": lambda c, n: mass_groups(c, n) + 1,
    "an item on a cut goes to the side that holds its middle; yours goes by its end": _cut_at(end=True),
    "an item on a cut goes to the side that holds its middle; yours goes by its beginning": _cut_at(end=False),
    "the groups are in order of popularity; bring them back to the order of the item ids":
        lambda c, n: mass_groups(c, n)[c.argsort(descending=True, stable=True)],
    "the sum is missing: popularity is cut at equal values, not at equal mass":
        lambda c, n: (n - 1 - (n * c) // (c.max() + 1)),
}

UNKD_MISTAKES = {
    "it is the negative of the loss": lambda b, w, p: -unkd_loss(b, w, p),
    "the better and the worse item have changed places": lambda b, w, p: unkd_loss(w, b, p),
    "it is divided by all places; divide by the user's possible pairs":
        lambda b, w, p: -(logsigmoid(b - w) * p).mean(1),
    "pairs that do not exist are counted: mask with possible": lambda b, w, p: -logsigmoid(b - w).mean(1),
    "it is the sum over the pairs; the mean is asked for": lambda b, w, p: -(logsigmoid(b - w) * p).sum(1),
    "it masks the scores, and log σ(0) = −log 2 is still counted for pairs that do not exist":
        lambda b, w, p: -logsigmoid((b - w) * p).sum(1) / p.sum(1).clamp(min=1),
    "a user without any pair gets 0 / 0, not a number: its loss is 0": _unclamped,
    "it is one number for the batch; one for each user is asked for": lambda b, w, p: unkd_loss(b, w, p).mean(),
    "the logarithm is missing": lambda b, w, p: -(torch.sigmoid(b - w) * p).sum(1) / p.sum(1).clamp(min=1),
    "it is a hinge; −log σ is asked for": lambda b, w, p: ((w - b).relu() * p).sum(1) / p.sum(1).clamp(min=1),
    "it takes the logarithm of 0 where the student is far off: torch has a logsigmoid":
        lambda b, w, p: -(torch.sigmoid(b - w).log().masked_fill(~p, 0)).sum(1) / p.sum(1).clamp(min=1),
    "no gradient reaches the student's scores: did you detach them or leave torch?":
        lambda b, w, p: unkd_loss(b, w, p).detach(),
}


def _pairs(seed, n, n_pairs, scale=1.0, share=0.7, nobody=False):
    possible = chosen(seed, n, n_pairs, share=share)
    possible[:, 0] = not nobody
    possible[0] = not nobody
    return {"better": normal(seed, n, n_pairs, scale=scale), "worse": normal(seed + 50, n, n_pairs, scale=scale),
            "possible": possible}


def _ranks(seed, depth, mu):
    return {"n": N_DRAWS, "depth": depth, "mu": mu, "generator": seed}


TASKS = {
    "mass_groups": formula(mass_groups, GROUPS_MISTAKES, _masses,
                           visible=({"popularity": counts(1, 12), "n_groups": 3},
                                    {"popularity": counts(2, 60), "n_groups": 4}),
                           hidden=({"popularity": counts(3, 30), "n_groups": 2},
                                   {"popularity": counts(4, 200), "n_groups": 7},
                                   {"popularity": torch.tensor([5, 0, 3, 3, 5, 1, 3, 0, 1, 3]), "n_groups": 3})),
    "draw_pairs": Task(visible=(_ranks(1, 6, 2.0), _ranks(2, 12, 4.0)), hidden=(_ranks(3, 3, 5.0), _ranks(4, 2, 1.0)),
                       judge=_drawn),
    "unkd_loss": formula(unkd_loss, UNKD_MISTAKES, gradient_of=("better", "worse"),
                         visible=(_pairs(1, 5, 6), _pairs(2, 3, 9)),
                         hidden=(_pairs(3, 8, 4, scale=80.0), _pairs(4, 6, 3, share=0.2, nobody=True))),
}

"""Full-ranking evaluation: every item that a user has not trained on is ranked, none is sampled."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .data import Split
from .hits import Hits, rank
from .metrics import METRICS, unpopular_share
from .models import fixed


def evaluate(model, split: Split, on: str = "test", ks: Sequence[int] = (10, 20)) -> dict[str, float]:
    """Rank the whole catalogue for every user with held-out items, without the user's training items, and average.

    model : an rkd model, or (user factors, item factors), arrays or tensors, whose inner products are the scores.
    on    : "valid" or "test". Users without items there are left out of every average.
    ks    : lengths of the lists.

    Returns "NAME@K" for each of METRICS and each K, and once "users", how many are averaged over, and "held_out/aplt",
    the APLT of the held-out items themselves.

    Ties of score go to the lower item id, whatever the device. A list is shorter than K only where the user has
    fewer unseen items; places left empty count as misses. Raises what hits.rank does.
    """
    found = rank(model, split, on, _longest(ks))
    values = _values(found, ks)
    means = torch.stack([value.nanmean() for value in values.values()]).tolist()
    return {"users": len(found.users)} | dict(zip(values, means))


def per_user(model, split: Split, on: str = "test", ks: Sequence[int] = (10, 20)) -> dict[str, Tensor]:
    """The metrics user by user, for tests: name → [n], over the users with held-out items, ascending.

    "users" holds their ids. Metrics of all lists together are left out.
    """
    found = rank(model, split, on, _longest(ks))
    return {"users": found.users} | {name: value for name, value in _values(found, ks).items() if value.dim()}


def _values(found: Hits, ks: Sequence[int]) -> dict[str, Tensor]:
    """What ``evaluate`` returns, before the mean: name → [n], or a scalar of all lists together."""
    values = {"held_out/aplt": unpopular_share(found)}
    for k in ks:
        for name, metric in METRICS.items():
            value = metric(found, k)
            columns = value.T if value.dim() == 2 else [value]
            values |= {f"{name.replace('#', str(number))}@{k}": column for number, column in enumerate(columns, 1)}
    return values


def _longest(ks: Sequence[int]) -> int:
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must hold list lengths of 1 or more, not {tuple(ks)}")
    return max(ks)


def recommend(model, split: Split, users: Tensor, k: int) -> Tensor:
    """The k best unseen items of each user, best first: [len(users), k] int64 (−1: no more items)."""
    return fixed(model, split).top(users, k, exclude=split.train)

"""Full-ranking evaluation: every item that a user has not trained on is ranked, none is sampled."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .data import Split
from .device import neutral
from .hits import Hits, rank
from .limits import plain, whole
from .metrics import METRICS, unpopular_share


@neutral()
def evaluate(model, split: Split, on: str = "test", ks: Sequence[int] = (10, 20)) -> dict[str, float]:
    """Rank the whole catalogue for every user with held-out items, without the user's training items, and average.

    model : an rkd model, or whatever rkd.Given takes: (user factors, item factors), a model of another library, ….
    on    : "valid" or "test". Users without items there are left out of every average.
    ks    : lengths of the lists, or one.

    Returns "NAME@K" for each of METRICS and each K, and once "users", how many are averaged over, and "held_out/aplt",
    the APLT of the held-out items themselves.

    Ties of score go to the lower item id, whatever the device. A list is shorter than K only where the user has
    fewer unseen items; places left empty count as misses. Raises what hits.rank does.
    """
    ks = lengths(ks)
    found = rank(model, split, on, max(ks))
    values = _values(found, ks)
    means = torch.stack([value.nanmean() for value in values.values()]).tolist()
    return {"users": len(found.users)} | dict(zip(values, means))


@neutral()
def per_user(model, split: Split, on: str = "test", ks: Sequence[int] = (10, 20)) -> dict[str, Tensor]:
    """The metrics user by user, for tests: name → [n], over the users with held-out items, ascending.

    "users" holds their ids. Metrics of all lists together are left out.
    """
    ks = lengths(ks)
    found = rank(model, split, on, max(ks))
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


def lengths(ks) -> tuple[int, ...]:
    """Lengths of lists, of a sequence, an array or one number. Raises ValueError where there is none, or one is no
    whole number of 1 or more."""
    ks = plain(ks)
    try:
        found = tuple(whole("k", k) for k in (ks if hasattr(ks, "__len__") else [ks]))
    except ValueError:
        found = ()
    if not found:
        raise ValueError(f"ks must hold lengths of lists, whole numbers of 1 or more, as (10, 20) does, not {ks!r}")
    return found

"""Full-ranking evaluation: every item that a user has not trained on is ranked, none is sampled.

METRICS is the one list of metrics: a function put there is in every result and table, computed from stored models.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .data import Split
from .device import neutral
from .given import fixed
from .hits import Hits, ndcg, rank, recall
from .popularity import popular_items


def precision(found: Hits, k: int) -> Tensor:
    """Hits / k: [n]."""
    return found.hits[:, :k].sum(1) / k


def hit_rate(found: Hits, k: int) -> Tensor:
    """1 if any hit: [n]."""
    return (found.hits[:, :k].sum(1) > 0).to(found.hits.dtype)


def popular_recall(found: Hits, k: int) -> Tensor:
    """Recall among the items that make up the popular half of the training interactions: [n]; NaN for a user who has
    none of them held out."""
    return _recall_among(found, k, popular_items(found.split.train.item_counts))


def unpopular_recall(found: Hits, k: int) -> Tensor:
    """Recall among all other items: [n]; NaN for a user who has none of them held out."""
    return _recall_among(found, k, ~popular_items(found.split.train.item_counts))


def _recall_among(found: Hits, k: int, mask: Tensor) -> Tensor:
    return (found.hits * found.shown(mask))[:, :k].sum(1) / found.count(mask)  # 0 / 0 = NaN: none held out


def unpopular_share(found: Hits, k: int) -> Tensor:
    """The share of all lists' places that hold an item of the unpopular half: a scalar."""
    shown = found.shown(~popular_items(found.split.train.item_counts))[:, :k].sum()
    return shown.to(found.hits.dtype) / (found.lists[:, :k] >= 0).sum()


def coverage(found: Hits, k: int) -> Tensor:
    """The share of the catalogue that is in any list: a scalar."""
    return (_times_shown(found, k) > 0).to(found.hits.dtype).mean()


def gini(found: Hits, k: int) -> Tensor:
    """The Gini coefficient of the items' counts in the lists, items never listed included; 0: all are shown equally
    often, towards 1: all places go to one item. A scalar."""
    times = _times_shown(found, k)
    n = len(times)
    order = torch.arange(1, n + 1, device=times.device, dtype=times.dtype)
    return (2 * order - n - 1) @ times.sort().values / (n * times.sum())


def _times_shown(found: Hits, k: int) -> Tensor:
    lists = found.lists[:, :k]
    return torch.bincount(lists[lists >= 0], minlength=found.split.n_items).to(found.hits.dtype)


def popularity(found: Hits, k: int) -> Tensor:
    """The mean number of training interactions of a list's items: [n]."""
    lists = found.lists[:, :k]
    filled = lists >= 0
    counts = found.split.train.item_counts.to(found.hits.dtype)[lists.clamp(min=0)] * filled
    return counts.sum(1) / filled.sum(1).clamp(min=1)


# name → function of Hits and k, which returns a value for each user, [n], NaN where there is none, or one of all lists
METRICS: dict[str, Callable[[Hits, int], Tensor]] = {
    "recall": recall, "ndcg": ndcg, "precision": precision, "hit_rate": hit_rate, "popular/recall": popular_recall,
    "unpopular/recall": unpopular_recall, "unpopular_share": unpopular_share, "coverage": coverage, "gini": gini,
    "popularity": popularity}


@neutral()
def evaluate(model, split: Split, on: str = "test", ks: Sequence[int] = (10, 20)) -> dict[str, float]:
    """Rank the whole catalogue for every user with held-out items, without the user's training items, and average.

    model : an rkd model, or whatever rkd.Given takes: (user factors, item factors), a model of another library, ….
    on    : "valid" or "test". Users without items there are left out of every average.
    ks    : lengths of the lists.

    Returns "NAME@K" for each of METRICS and each K, and once "users", how many are averaged over, and
    "unpopular_share", that of the held-out items themselves.

    Ties of score go to the lower item id, whatever the device. A list is shorter than K only where the user has
    fewer unseen items; places left empty count as misses. Raises what hits.rank does.
    """
    found = rank(model, split, on, _longest(ks))
    unpopular = ~popular_items(split.train.item_counts)
    result = {"users": len(found.users),
              "unpopular_share": unpopular[found.held_out].to(found.hits.dtype).mean().item()}
    return result | {f"{name}@{k}": metric(found, k).nanmean().item() for k in ks for name, metric in METRICS.items()}


@neutral()
def per_user(model, split: Split, on: str = "test", ks: Sequence[int] = (10, 20)) -> dict[str, Tensor]:
    """The metrics user by user, for paired tests: name → [n], over the users with held-out items, ascending.

    "users" holds their ids. Metrics of all lists together are left out.
    """
    found = rank(model, split, on, _longest(ks))
    values = {f"{name}@{k}": metric(found, k) for k in ks for name, metric in METRICS.items()}
    return {"users": found.users} | {name: value for name, value in values.items() if value.dim()}


def _longest(ks: Sequence[int]) -> int:
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must hold list lengths of 1 or more, not {tuple(ks)}")
    return max(ks)


@neutral()
def recommend(model, split: Split, users: Tensor, k: int) -> Tensor:
    """The k best unseen items of each user, best first: [len(users), k] int64 (−1: no more items)."""
    return fixed(model, split).top(users, k, exclude=split.train)

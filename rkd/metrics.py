"""METRICS, the one list of metrics: a function put there is in every result and table, computed from stored models.

Items are popular or unpopular by their training interactions (popularity.py); those never trained on are unpopular.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from .hits import Hits, ndcg, recall
from .popularity import popular_items, popularity_deciles


def precision(found: Hits, k: int) -> Tensor:
    """Hits / k: [n]."""
    return found.hits[:, :k].sum(1) / k


def hit_rate(found: Hits, k: int) -> Tensor:
    """1 if any hit: [n]."""
    return (found.hits[:, :k].sum(1) > 0).to(found.hits.dtype)


def popular_recall(found: Hits, k: int) -> Tensor:
    """Recall among the popular half: [n]; NaN for a user who has none of it held out."""
    return _hits_among(found, k, popular := _popular(found)) / found.count(popular)


def unpopular_recall(found: Hits, k: int) -> Tensor:
    """Recall among all other items: [n]; NaN for a user who has none of them held out."""
    return _hits_among(found, k, unpopular := ~_popular(found)) / found.count(unpopular)


def popular_recall_unkd(found: Hits, k: int) -> Tensor:
    """Recall among the popular half as UnKD's code counts it (Procedure.py, utils.py): [n]; 0 for a user who has none
    of it held out, so that the mean is over all users. The scale of the paper's Tables 1 and 4."""
    return _hits_among(found, k, popular := _popular(found)) / found.count(popular).clamp(min=1)


def unpopular_recall_unkd(found: Hits, k: int) -> Tensor:
    """The same among the unpopular half, to which no item belongs that was never trained on: [n]."""
    unpopular = ~_popular(found) & (found.split.train.item_counts > 0)
    return _hits_among(found, k, unpopular) / found.count(unpopular).clamp(min=1)


def decile_recall(found: Hits, k: int) -> Tensor:
    """Recall within each decile of popularity, ten groups of equal mass, the most popular first: [n, 10]; NaN where a
    user has none of the decile held out."""
    decile = _groups(popularity_deciles, found.split.train.item_counts)
    n = len(found.users)
    held_out = torch.bincount(10 * found.owner + decile[found.held_out], minlength=10 * n).view(n, 10)
    hits, lists = found.hits[:, :k], found.lists[:, :k].clamp(min=0)  # an empty place is no hit
    return hits.new_zeros(n, 10).scatter_add_(1, decile[lists], hits) / held_out


def aplt(found: Hits, k: int) -> Tensor:
    """Average percentage of long-tail items: the share of a list's items that are of the unpopular half, [n]; NaN for
    an empty list. (Abdollahpouri et al., FLAIRS 2019, whose long tail is another)"""
    return found.shown(~_popular(found))[:, :k].sum(1) / _filled(found, k).sum(1).to(found.hits.dtype)


def arp(found: Hits, k: int) -> Tensor:
    """Average recommendation popularity: the mean number of training interactions of a list's items, [n]; NaN for an
    empty list. (Yin et al., VLDB 2012)"""
    filled, lists = _filled(found, k), found.lists[:, :k].clamp(min=0)
    return (found.split.train.item_counts.to(found.hits.dtype)[lists] * filled).sum(1) / filled.sum(1)


def unpopular_share(found: Hits) -> Tensor:
    """The share of a user's held-out items that are of the unpopular half, [n]: the APLT of a list of them."""
    return found.count(~_popular(found)) / found.sizes


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


def _popular(found: Hits) -> Tensor:
    return _groups(popular_items, found.split.train.item_counts)


@lru_cache(maxsize=4)
def _groups(of, counts: Tensor) -> Tensor:
    """of(counts), once for the tensor that a split keeps."""
    return of(counts)


def _hits_among(found: Hits, k: int, mask: Tensor) -> Tensor:
    return (found.hits * found.shown(mask))[:, :k].sum(1)


def _filled(found: Hits, k: int) -> Tensor:
    return found.lists[:, :k] >= 0


def _times_shown(found: Hits, k: int) -> Tensor:
    lists = found.lists[:, :k]
    return torch.bincount(lists[lists >= 0], minlength=found.split.n_items).to(found.hits.dtype)


# name → function of Hits and k, which returns a value for each user, [n], NaN where there is none, or one of all lists;
# or, where # stands in the name for the numbers from 1, as many values for each user, [n, numbers]
METRICS: dict[str, Callable[[Hits, int], Tensor]] = {
    "recall": recall, "ndcg": ndcg, "precision": precision, "hit_rate": hit_rate,
    "popular/recall": popular_recall, "unpopular/recall": unpopular_recall,
    "popular/recall_unkd": popular_recall_unkd, "unpopular/recall_unkd": unpopular_recall_unkd,
    "decile #/recall": decile_recall, "arp": arp, "aplt": aplt, "coverage": coverage, "gini": gini}

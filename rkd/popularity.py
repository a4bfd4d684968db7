"""Groups of items of equal popularity mass.

An item's popularity is the number of its training interactions. UnKD distils within such groups, and the popular and
unpopular halves of every evaluation are the two groups of ``popularity_groups(counts, 2)``.
"""

import torch
from torch import Tensor


def popularity_groups(counts: Tensor, n_groups: int) -> Tensor:
    """Cut the items, sorted by popularity, into ``n_groups`` groups of (nearly) equal total popularity.

    counts : [n_items] int64, training interactions per item.
    Returns [n_items] int64: 0 for the most popular group … n_groups − 1 for the least. An item on a cut goes to the
    side that holds its middle, so each group's mass is within one item's popularity of equal. Equal counts are ordered
    by item id; items without interactions are in the last group.       (UnKD: group partition)

    Raises ValueError where n_groups is not between 1 and the number of items with interactions.
    """
    n_seen = int((counts > 0).sum())
    if not 1 <= n_groups <= n_seen:
        raise ValueError(f"n_groups must be between 1 and {n_seen}, the number of items with interactions, not "
                         f"{n_groups}")
    return _cut(counts, n_groups)


def popularity_deciles(counts: Tensor) -> Tensor:
    """Ten of ``popularity_groups``: [n_items] int64, 0 for the most popular tenth of all interactions … 9. The first
    five are the popular half. Some are empty where few items have interactions."""
    return _cut(counts, 10)


def _cut(counts: Tensor, n_groups: int) -> Tensor:
    popularity, order = counts.sort(descending=True, stable=True)
    twice_middle = 2 * popularity.cumsum(0) - popularity  # twice: the mass before an item and half its own
    group = (n_groups * twice_middle // (2 * popularity.sum())).clamp(max=n_groups - 1)
    return torch.empty_like(group).scatter_(0, order, group)


def items_by_group(counts: Tensor, n_groups: int) -> list[Tensor]:
    """The item ids of each of ``popularity_groups``, ascending, the most popular group first: n_groups tensors
    int64."""
    group = popularity_groups(counts, n_groups)
    return [(group == g).nonzero().flatten() for g in range(n_groups)]


def popular_items(counts: Tensor) -> Tensor:
    """[n_items] bool: the few items that make up the popular half of all training interactions."""
    return popularity_groups(counts, 2) == 0


def popularity_in_scores(user_factors: Tensor, item_factors: Tensor, counts: Tensor, n_groups: int) -> float:
    """How far a model ranks by popularity: Spearman's correlation between a user's scores and the items' popularity
    within each of ``n_groups`` groups, averaged over users and groups. 1: by popularity alone; n_groups = 1: over all.

    user_factors [n_users, d], item_factors [n_items, d], counts [n_items] int64.
    """
    correlations = []
    for items in items_by_group(counts, n_groups):
        values, place, times = counts[items].unique(return_inverse=True, return_counts=True)
        popularity = (times.cumsum(0) - (times + 1) / 2)[place].to(item_factors.dtype)  # ranks, ties at their mean
        if len(values) > 1:
            rank = (user_factors @ item_factors[items].T).argsort(1).argsort(1).to(item_factors.dtype)  # [n_users, n_g]
            correlations.append(torch.corrcoef(torch.cat([popularity[None], rank]))[0, 1:].mean())
    return torch.stack(correlations).mean().item()

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
        raise ValueError(f"n_groups must be between 1 and {n_seen}, the number of items with interactions, not {n_groups}")
    popularity, order = counts.sort(descending=True, stable=True)
    twice_middle = 2 * popularity.cumsum(0) - popularity  # twice: the mass before an item and half its own
    group = (n_groups * twice_middle // (2 * popularity.sum())).clamp(max=n_groups - 1)
    return torch.empty_like(group).scatter_(0, order, group)


def popular_items(counts: Tensor) -> Tensor:
    """[n_items] bool: the few items that make up the popular half of all training interactions."""
    return popularity_groups(counts, 2) == 0

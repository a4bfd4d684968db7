"""What lists show: a user's lists by several models side by side, and lists calibrated to each user's taste."""

from collections.abc import Mapping

import pandas as pd
import torch

from ..data import Split
from ..given import Lists
from ..models import Model
from ..popularity import popular_items

HIT, POPULAR, UNPOPULAR = "✓", "●", "○"


def side_by_side(models: Mapping[str, Model], split: Split, user: int, titles: Mapping[int, str] | None = None,
                 k: int = 10) -> pd.DataFrame:
    """A user's k best unseen items by each model, a column each: ● for an item of the popular half, ○ for another, its
    title (or id), its training interactions, and ✓ where the user has it in the test part. titles: the publisher's item
    id → title."""
    counts, popular = split.train.item_counts, popular_items(split.train.item_counts)
    held_out = set(split.test.items[split.test.users == user].tolist())

    def told(item):
        own = item if split.train.item_ids is None else split.train.item_ids[item]
        title = (titles or {}).get(own, f"item {own}")
        return (f"{POPULAR if popular[item] else UNPOPULAR} {title} ({int(counts[item])})"
                f"{f' {HIT}' if item in held_out else ''}")

    lists = {name: model.top(torch.tensor([user]), k, split.train)[0] for name, model in models.items()}
    return pd.DataFrame({name: pd.Series([told(item) for item in items.tolist() if item >= 0],
                                         index=range(1, int((items >= 0).sum()) + 1)) for name, items in lists.items()}
                        ).rename_axis("rank").fillna("")


def calibrated(model: Model, split: Split, k: int = 10) -> Lists:
    """A model's lists of k unseen items, in which the unpopular half has the share that it has among the user's
    training items: the best ⌊k · share + ½⌋ of that half and the best of the other, by score. A list is shorter where a
    half has not so many left.                             (the idea: Steck, RecSys 2018, who calibrates to genres)"""
    train = split.train
    popular = popular_items(train.item_counts)
    n_items, n_popular = (torch.bincount(train.users, minlength=split.n_users, weights=x.double())
                          for x in (torch.ones_like(train.items), popular[train.items]))
    wanted = k - (k * (1 - n_popular / n_items.clamp(min=1)) + 0.5).floor()[:, None]  # popular ones, [n_users, 1]
    halves = [model.ranking(k, train, half.nonzero().flatten()) for half in (popular, ~popular)]  # [n_users, k] each
    place = torch.arange(k, device=popular.device)
    items = torch.cat([torch.where(place[:half.shape[1]] < of, half, -1)
                       for half, of in zip(halves, (wanted, k - wanted))], 1)
    return Lists(items, model.scores(None, items.clamp(min=0)), split.n_items)

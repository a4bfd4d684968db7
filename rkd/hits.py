"""A model's lists beside the held-out items, user by user: what metrics look at, and what ends training."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .data import Split
from .device import real
from .given import fixed
from .ranking import rows_of


@dataclass(frozen=True)
class Hits:
    """Every user's list of K items, and which of them the user has held out. Floats are float64 (float32 on mps).

    split           : what was held out from what.
    users           : [n] ids of the users with held-out items, ascending.
    lists           : [n, K] items, best first, −1 where there are no more.
    hits            : [n, K] 1 or 0.
    held_out, sizes : the held-out items, flat [m], and how many of them each user has, [n].
    owner           : [m] places in ``users``: whose the held-out items are.
    """

    split: Split
    users: Tensor
    lists: Tensor
    hits: Tensor
    held_out: Tensor
    owner: Tensor
    sizes: Tensor

    def count(self, mask: Tensor) -> Tensor:
        """How many held-out items each user has among those of ``mask`` (bool [n_items]): [n]."""
        return torch.bincount(self.owner[mask[self.held_out]], minlength=len(self.users)).to(self.sizes.dtype)

    def shown(self, mask: Tensor) -> Tensor:
        """Which places of the lists hold an item of ``mask`` (bool [n_items]): bool [n, K]."""
        return mask[self.lists.clamp(min=0)] & (self.lists >= 0)


def rank(model, split: Split, on: str, k: int) -> Hits:
    """Rank the whole catalogue, without training items, for every user with held-out items.

    model : see models.fixed; on : "valid" or "test". Raises ValueError for another ``on``, a k below 1, a model of
    other sizes than the split's, scores that are not numbers, or a part without interactions.
    """
    if on not in ("valid", "test"):
        raise ValueError(f"on must be 'valid' or 'test', not {on!r}")
    if k < 1:
        raise ValueError(f"lists must be of 1 item or more, not {k}")
    part = getattr(split, on)
    users = torch.bincount(part.users, minlength=split.n_users).nonzero().flatten()
    if len(users) == 0:
        raise ValueError(f"the {on} part of {split} holds no interactions: nothing to evaluate on")
    lists = fixed(model, split).top(users, k, exclude=split.train)
    owner, held_out = rows_of(part, users)
    keys = owner * split.n_items + held_out  # ascending
    wanted = torch.arange(len(users), device=users.device)[:, None] * split.n_items + lists
    dtype = real(users.device)
    hits = (torch.isin(wanted, keys) & (lists >= 0)).to(dtype)
    return Hits(split, users, lists, hits, held_out, owner, torch.bincount(owner, minlength=len(users)).to(dtype))


def recall(found: Hits, k: int) -> Tensor:
    """Hits in the first k / held-out items of the user: [n]."""
    return found.hits[:, :k].sum(1) / found.sizes


def ndcg(found: Hits, k: int) -> Tensor:
    """DCG (gain 1, discount 1 / log₂(rank + 1)) over that of min(k, held-out items) hits at the top: [n]."""
    discount = 1 / torch.arange(2, k + 2, device=found.users.device, dtype=found.hits.dtype).log2()
    ideal = torch.cat([discount.new_zeros(1), discount.cumsum(0)])
    return found.hits[:, :k] @ discount / ideal[found.sizes.clamp(max=k).long()]

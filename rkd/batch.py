"""One step's training pairs, and the distinct users and items in it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .device import fixed_shapes
from .kernels import EVERYONE


@dataclass
class Batch:
    """One step's training pairs, each with a negative: three int64 tensors [B]."""

    users: Tensor
    positives: Tensor
    negatives: Tensor

    def counted_users(self, n_users: int, once: bool = False) -> "CountedUsers":
        """The batch's distinct users and how often each occurs, or with ``once`` 1 for each that does. If ``n_users`` ≤
        2 · B, all users are returned (some with count 0), which is cheaper; on a GPU users may repeat, their counts
        adding up. A loss over these, weighted by the counts, is the loss over ``users``, or over the distinct ones."""
        if n_users <= EVERYONE * len(self.users):
            times = torch.zeros(n_users, device=self.users.device)
            times.index_add_(0, self.users, torch.ones_like(self.users, dtype=times.dtype))
            return CountedUsers(None, times.clamp(max=1) if once else times)
        if once:
            return CountedUsers(*distinct(self.users))
        if fixed_shapes(self.users.device):
            return CountedUsers(self.users, torch.ones_like(self.users, dtype=torch.float32))
        times = self.users.bincount()  # faster than sorting
        users = times.nonzero().flatten()
        return CountedUsers(users, times[users].float())


@dataclass
class CountedUsers:
    """Users and how often each is in a batch: ``index`` [n] int64, None for everyone in order, ``times`` [n] floats."""

    index: Tensor | None
    times: Tensor

    def of(self, values: Tensor) -> Tensor:
        """These users' rows of what there is for everyone: [n_users, …] → [n, …]."""
        return values if self.index is None else values.index_select(0, self.index)

    def mean(self, per_user: Tensor) -> Tensor:
        """The mean of a loss of each of these users, [n], weighted by their counts."""
        return weighted_mean(per_user, self.times)


def distinct(entities: Tensor) -> tuple[Tensor, Tensor]:
    """Users or items [n], each once, and their weights, 1; where shapes are fixed all of them, the repeated with weight
    0.

    ``weighted_mean`` of a loss over them is its mean over the distinct ones, either way.
    """
    if fixed_shapes(entities.device):
        entities = entities.sort().values
        first = torch.ones_like(entities, dtype=torch.float32)
        first[1:] = (entities[1:] != entities[:-1]).float()
        return entities, first
    entities = entities.unique()
    return entities, torch.ones_like(entities, dtype=torch.float32)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ w ℓ / Σ w of losses and weights [n]."""
    return values @ weight / weight.sum()

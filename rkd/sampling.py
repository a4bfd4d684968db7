"""Draws: uniform negatives, and items by their rank in somebody's ranking. All of fixed shape, on the device."""

import torch
from torch import Generator, Tensor

from .data import Interactions
from .device import real
from .ranking import top_k


class NegativeSampler:
    """Uniform draws from the items that a user has *not* in ``train``; never a training item, and no rejection.

    With the user's items sorted, t₀ < t₁ < …, the r-th item outside them is r + #{j : t_j − j ≤ r}: one binary search.

    Raises ValueError where a user has every item of the catalogue, so that no negative exists.
    """

    def __init__(self, train: Interactions):
        offsets, items = train.csr
        counts = offsets.diff()
        if bool((counts >= train.n_items).any()):
            full = int((counts >= train.n_items).nonzero()[0])
            raise ValueError(f"user {full} interacted with all {train.n_items} items: no negative can be drawn. "
                             "Remove such users, or add the items that they did not choose")
        users = torch.arange(train.n_users, device=items.device).repeat_interleave(counts)
        skipped = items - (torch.arange(len(items), device=items.device) - offsets[users])  # t_j − j
        self._stride = train.n_items + 1
        self._keys = users * self._stride + skipped  # ascending
        self._offsets, self._free = offsets, train.n_items - counts

    def __call__(self, users: Tensor, generator: Generator) -> Tensor:
        """One item for each entry of ``users`` (int64, any shape): int64 of that shape."""
        u = users.flatten()
        draw = torch.rand(len(u), device=u.device, dtype=real(u.device), generator=generator)
        free = self._free[u]
        rank = torch.minimum((draw * free).long(), free - 1)
        below = torch.searchsorted(self._keys, u * self._stride + rank, right=True) - self._offsets[u]
        return (rank + below).view(users.shape)


def ranking(user_factors: Tensor, item_factors: Tensor, train: Interactions, depth: int) -> Tensor:
    """Every user's ``depth`` best items that are not training items, best first: [n_users, depth] int64.

    depth is cut to the items that every user has left, so that no place is empty.
    """
    depth = min(depth, train.n_items - int(train.csr[0].diff().max()))
    users = torch.arange(train.n_users, device=item_factors.device)
    return top_k(user_factors, item_factors, users, depth, exclude=train)


def draw_ranks(n_rows: int, n_draws: int, depth: int, temperature: float, device, generator: Generator) -> Tensor:
    """Distinct 0-based ranks below ``depth``, p(r) ∝ exp(−r / temperature), without replacement: [n_rows, n_draws].

    By the Gumbel-top-k trick (Kool et al., ICML 2019): the places of the largest log p + Gumbel noise.
    Raises ValueError where more ranks are asked for than there are.
    """
    if n_draws > depth:
        raise ValueError(f"{n_draws} distinct ranks cannot be drawn from a ranking {depth} deep")
    noise = torch.empty(n_rows, depth, device=device).exponential_(generator=generator).log_().neg_()  # Gumbel(0, 1)
    return (noise - torch.arange(depth, device=device) / temperature).topk(n_draws).indices


def draw_two_ranks(lengths: Tensor, n_draws: int, temperature: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Two different 0-based ranks, n_draws times for each row: the first with p(r) ∝ exp(−r / temperature) over the
    row's ``lengths`` [n_rows] ranks, the second the same over the ranks left: [n_rows, n_draws] each.

    Rows with fewer than two ranks yield zeros. By inversion of the truncated geometric distribution; for the second,
    the first's share of the unit interval is cut out.
    """
    def uniform():
        return torch.rand(len(lengths), n_draws, device=lengths.device, dtype=real(lengths.device), generator=generator)

    def below(rank):  # the probability of the ranks before this one
        return torch.expm1(-rank / temperature) / torch.expm1(-length / temperature)

    def invert(x):  # the rank in whose share of the unit interval x lies
        rank = torch.floor(-temperature * torch.log1p(x * torch.expm1(-length / temperature))).long()
        return torch.minimum(rank, last)

    last = (lengths - 1).clamp(min=0)[:, None]
    length = lengths[:, None].clamp(min=1).to(real(lengths.device))
    first = invert(uniform())
    start, end = below(first), below(first + 1)
    x = uniform() * (1 - (end - start))
    second = invert(torch.where(x < start, x, x + (end - start)))
    other = torch.where(first < last, first + 1, first - 1).clamp(min=0)  # rounding at the cut must not yield the first
    second = torch.where(second == first, other, second)
    return first, torch.where(last > 0, second, first)

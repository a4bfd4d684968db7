"""Draws: uniform negatives, and ranks in somebody's ranking. All of fixed shape, on the device."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from .data import Interactions
from .device import real
from .kernels import LISTED


class NegativeSampler:
    """Uniform draws from the items that a user has *not* in ``train``; never a training item, and no rejection.

    With the user's items sorted, t₀ < t₁ < …, the r-th item outside them is r + #{j : t_j − j ≤ r}: one binary search.
    Where there are at most LISTED pairs of users and items, it is looked up instead, ten times as fast.

    Raises ValueError where a user has every item of the catalogue, so that no negative exists.
    """

    def __init__(self, train: Interactions):
        offsets, items = train.csr
        counts = offsets.diff()
        if bool((counts >= train.n_items).any()):
            full = int((counts >= train.n_items).nonzero()[0])
            user = full if train.user_ids is None else train.user_ids[full]
            raise ValueError(f"user {user} interacted with all {train.n_items} items: no negative can be drawn. "
                             "Remove such users, or add the items that they did not choose")
        self._offsets, self._free = offsets, train.n_items - counts
        users = torch.arange(train.n_users, device=items.device).repeat_interleave(counts)
        self.listed = train.n_users * train.n_items <= LISTED
        if self.listed:
            unseen = torch.ones(train.n_users, train.n_items, dtype=torch.bool, device=items.device)
            unseen[users, items] = False
            self._items = unseen.nonzero()[:, 1].int()  # one user's after the other's
            self._starts = self._free.cumsum(0) - self._free
        else:
            self._stride = train.n_items + 1
            skipped = items - (torch.arange(len(items), device=items.device) - offsets[users])  # t_j − j
            self._keys = users * self._stride + skipped  # ascending

    def __call__(self, users: Tensor, generator: Generator) -> Tensor:
        """One item for each entry of ``users`` (int64, any shape): int64 of that shape."""
        u = users.flatten()
        draw = torch.rand(len(u), device=u.device, dtype=real(u.device), generator=generator)
        free = self._free.index_select(0, u)
        rank = torch.minimum((draw * free).long(), free - 1)
        if self.listed:
            return self._items.index_select(0, self._starts.index_select(0, u) + rank).long().view(users.shape)
        below = torch.searchsorted(self._keys, u * self._stride + rank, right=True) - self._offsets.index_select(0, u)
        return (rank + below).view(users.shape)


def draw_ranks(lengths: Tensor, n_draws: int, depth: int, temperature: float, generator: Generator) -> Tensor:
    """Distinct 0-based ranks below each row's length, p(r) ∝ exp(−r / temperature), without replacement: lengths
    [n_rows] int64, ``depth`` at most → [n_rows, n_draws], −1 in the last places of a row that has fewer.

    By the Gumbel-top-k trick (Kool et al., ICML 2019): the places of the largest log p + Gumbel noise. What one row
    gets does not depend on the others' lengths.
    """
    ranks = torch.arange(depth, device=lengths.device)
    log_p = torch.where(ranks < lengths[:, None], -ranks / temperature, -torch.inf)
    drawn, possible = draw_places(log_p, min(n_draws, depth), generator)
    return pad(torch.where(possible, drawn, -1), (0, n_draws - drawn.shape[1]), value=-1)


def draw_places(log_p: Tensor, n_draws: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Distinct places of each row, p ∝ exp(log_p), −inf being impossible, without replacement: [n, M] → [n, n_draws],
    and whether each is possible: where a row has too few places that are, some of the others fill it up."""
    values, places = gumbel(log_p, generator).add_(log_p).topk(n_draws)
    return places, values > -torch.inf


def gumbel(like: Tensor, generator: Generator) -> Tensor:
    """Gumbel(0, 1) noise, −log(−log U), of the shape of ``like``: ten times as fast as exponential_() on a CPU."""
    uniform = torch.empty_like(like).uniform_(generator=generator).clamp_(min=torch.finfo(like.dtype).tiny)
    return uniform.log_().neg_().log_().neg_()


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

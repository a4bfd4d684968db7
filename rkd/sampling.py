"""Draws: uniform negatives, and ranks in somebody's ranking. All of fixed shape, on the device."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from .data import Interactions
from .device import fixed_shapes, real
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
            raise ValueError(f"{train.named_user(full)} interacted with all {train.n_items} items: no negative can be "
                             "drawn. Remove such users, or add the items that they did not choose")
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
        self._by_user = None

    def __call__(self, users: Tensor, generator: Generator) -> Tensor:
        """One item for each entry of ``users`` (int64, any shape): int64 of that shape."""
        u = users.flatten()
        return self._at(u, self._draw(u, generator)).view(users.shape)

    def of_pairs(self, users: Tensor, generator: Generator) -> Tensor:
        """The same for the training pairs' users [n], in whichever order these lie, which must not change from call to
        call: searched user by user, several times faster."""
        if self._by_user is None:
            done = self.listed or fixed_shapes(users.device) or bool((users.diff() >= 0).all())
            self._by_user = () if done else tuple(users.sort(stable=True))
        if not self._by_user:
            return self(users, generator)
        ascending, order = self._by_user
        found = self._at(ascending, self._draw(users, generator).index_select(0, order))
        return torch.empty_like(found).index_copy_(0, order, found)

    def _draw(self, users: Tensor, generator: Generator) -> Tensor:
        return torch.rand(len(users), device=users.device, dtype=real(users.device), generator=generator)

    def _at(self, u: Tensor, draw: Tensor) -> Tensor:
        """The users' items at these uniform numbers from 0 to 1, [n] each: [n] int64."""
        free = self._free.index_select(0, u)
        rank = torch.minimum((draw * free).long(), free - 1)
        if self.listed:
            return self._items.index_select(0, self._starts.index_select(0, u) + rank).long()
        below = torch.searchsorted(self._keys, u * self._stride + rank, right=True) - self._offsets.index_select(0, u)
        return rank + below


def draw_ranks(lengths: Tensor, n_draws: int, depth: int, temperature: float, generator: Generator) -> Tensor:
    """Distinct 0-based ranks below each row's length, p(r) ∝ exp(−r / temperature), without replacement: lengths
    [n_rows] int64, ``depth`` at most → [n_rows, n_draws], −1 in the last places of a row that has fewer.

    By the Gumbel-top-k trick (Kool et al., ICML 2019): the places of the largest log p + Gumbel noise. What one row
    gets does not depend on the others' lengths.
    """
    ranks = torch.arange(depth + 1, device=lengths.device)
    of_length = torch.where(ranks[:-1] < ranks[:, None], -ranks[:-1] / temperature, -torch.inf)  # [depth + 1, depth]
    log_p = of_length.index_select(0, lengths)  # twice as fast as made for each row
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


class Ranks:
    """0-based ranks below each row's length, p(r) ∝ exp(−r / temperature), one at a time, so that they may repeat: by
    inversion of the truncated geometric distribution. lengths [n_rows] int64; a row of length 0 yields 0."""

    def __init__(self, lengths: Tensor, temperature: float):
        self.temperature, self.last = temperature, (lengths - 1).clamp(min=0)[:, None]
        self.length = lengths[:, None].clamp(min=1).to(real(lengths.device))

    def uniform(self, n_draws: int, generator: Generator) -> Tensor:
        """Uniform numbers from 0 to 1, [n_rows, n_draws]."""
        return torch.rand(len(self.length), n_draws, device=self.length.device, dtype=self.length.dtype,
                          generator=generator)

    def below(self, rank: Tensor) -> Tensor:
        """The probability of the ranks before these."""
        return torch.expm1(-rank / self.temperature) / torch.expm1(-self.length / self.temperature)

    def at(self, x: Tensor) -> Tensor:
        """The ranks in whose share of the unit interval x lies: [n_rows, n] → the same, int64."""
        rank = torch.floor(-self.temperature * torch.log1p(x * torch.expm1(-self.length / self.temperature))).long()
        return torch.minimum(rank, self.last)


def draw_two_ranks(lengths: Tensor, n_draws: int, temperature: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Two different 0-based ranks, n_draws times for each row: the first with p(r) ∝ exp(−r / temperature) over the
    row's ``lengths`` [n_rows] ranks, the second the same over the ranks left: [n_rows, n_draws] each.

    Rows with fewer than two ranks yield zeros. For the second, the first's share of the unit interval is cut out.
    """
    ranks = Ranks(lengths, temperature)
    first = ranks.at(ranks.uniform(n_draws, generator))
    start, end = ranks.below(first), ranks.below(first + 1)
    x = ranks.uniform(n_draws, generator) * (1 - (end - start))
    second = ranks.at(torch.where(x < start, x, x + (end - start)))
    # rounding at the cut must not yield the first
    other = torch.where(first < ranks.last, first + 1, first - 1).clamp(min=0)
    second = torch.where(second == first, other, second)
    return first, torch.where(ranks.last > 0, second, first)


def draw_better_ranks(lengths: Tensor, n_draws: int, temperature: float, generator: Generator) -> Tensor:
    """The better of two 0-based ranks, n_draws times for each row, either with p(r) ∝ exp(−r / temperature) over the
    row's ``lengths`` [n_rows] ranks; all may repeat: [n_rows, n_draws] int64, −1 where a row has none."""
    ranks = Ranks(lengths, temperature)
    one, other = (ranks.at(ranks.uniform(n_draws, generator)) for _ in range(2))
    return torch.where(lengths[:, None] > 0, torch.minimum(one, other), -1)

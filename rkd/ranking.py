"""Exact top-K of inner-product scores over the whole catalogue, in blocks of users; and which items a user has seen."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from .data import Interactions
from .kernels import BLOCK_SCORES, CHECKED, CHUNKS, top_k_of_rows


def top_k(user_factors: Tensor, item_factors: Tensor, users: Tensor, k: int, exclude: Interactions) -> Tensor:
    """The k items of highest score ⟨u, i⟩ for each of ``users``, best first; ties go to the lower item id.

    user_factors [n_users, d], item_factors [n_items, d], users [n] int64.
    exclude : a user's items there are never returned.
    Returns [n, k] int64, with −1 where a user has fewer than k items left.

    Raises ValueError where a factor is not finite or the scores overflow. Memory: one block of scores, at least one row
    of n_items.
    """
    for name, table in (("user", user_factors), ("item", item_factors)):
        if not bool(finite_rows(table).all()):
            raise ValueError(f"the {name} factors hold NaN or infinity: did training diverge? Try a smaller lr")
    if overflow(user_factors, item_factors):
        raise ValueError("the scores overflow: did training diverge? Try a smaller lr")
    n_items, device = len(item_factors), item_factors.device
    width = -(-n_items // CHUNKS) * CHUNKS
    padded = torch.zeros(width, item_factors.shape[1], device=device)
    padded[:n_items] = item_factors
    block = max(1, BLOCK_SCORES // width)
    buffer = torch.empty(min(block, len(users)), width, device=device)
    ranked = torch.full((len(users), k), -1, device=device)
    for start in range(0, len(users), block):
        batch = users[start:start + block]
        scores = torch.mm(user_factors[batch], padded.T, out=buffer[:len(batch)])  # [b, width]
        rows, items = rows_of(exclude, batch)
        scores[rows, items] = -torch.inf
        scores[:, n_items:] = -torch.inf
        top = top_k_of_rows(scores, min(k, n_items))
        ranked[start:start + block, :top.shape[1]] = top
    return ranked


def finite_rows(table: Tensor) -> Tensor:
    """Which rows of a table [n, d] hold finite numbers alone: bool [n]. In blocks, so that next to nothing of a table
    in a mapped file is in memory at once."""
    return torch.cat([block.isfinite().all(1) for block in table.split(max(1, CHECKED // table.shape[1]))])


def largest(table: Tensor) -> float:
    """The largest absolute value."""
    return max(abs(float(bound)) for bound in table.aminmax())


def overflow(user_factors: Tensor, item_factors: Tensor) -> bool:
    """Whether the scores ⟨u, i⟩ may be beyond what float32 holds."""
    return largest(user_factors) * largest(item_factors) * item_factors.shape[1] > 3e38


def rows_of(interactions: Interactions, users: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs of ``users`` [n] as (position in ``users``, item), two flat tensors, sorted by both."""
    offsets, items = interactions.csr
    counts = offsets[users + 1] - offsets[users]
    rows = torch.arange(len(users), device=users.device).repeat_interleave(counts)
    within = torch.arange(len(rows), device=users.device) - (counts.cumsum(0) - counts)[rows]
    return rows, items[offsets[users][rows] + within]


def top_k_within(user_factors: Tensor, item_factors: Tensor, users: Tensor, k: int, exclude: Interactions,
                 items: Tensor) -> Tensor:
    """``top_k`` among ``items`` alone (ids, ascending [m]): [n, min(k, m)]. Raises ValueError where ``items`` is
    empty."""
    refuse_none(items)
    place = items.new_full((exclude.n_items,), -1)
    place[items] = torch.arange(len(items), device=items.device)
    inside = place[exclude.items]
    seen_inside = Interactions(exclude.n_users, len(items), exclude.users[inside >= 0], inside[inside >= 0])
    ranked = top_k(user_factors, item_factors[items], users, min(k, len(items)), seen_inside)
    return torch.where(ranked >= 0, items[ranked.clamp(min=0)], -1)


def refuse_none(items: Tensor) -> None:
    """Raises ValueError where ``items`` is empty."""
    if len(items) == 0:
        raise ValueError("there is no item to rank: one item holds so much of the popularity that a group is empty. "
                         "Take fewer groups")


def seen(train: Interactions, users: Tensor, items: Tensor) -> Tensor:
    """Which items a user has in ``train``: users [n], items [n, m] → bool [n, m]."""
    offsets, of_users = train.csr
    everyone = torch.arange(train.n_users, device=items.device)
    keys = everyone.repeat_interleave(offsets.diff(), output_size=len(of_users)) * train.n_items + of_users  # ascending
    keys = pad(keys, (0, 1), value=-1)  # what is beyond the last is found here, and is none
    wanted = users[:, None] * train.n_items + items
    return keys[torch.searchsorted(keys[:-1], wanted)] == wanted


def among(items: Tensor, lists: Tensor) -> Tensor:
    """Which of a row's items the same row of ``lists`` has: [n, M] and [n, K] → bool [n, M]; −1 is no item."""
    lists = lists.sort(1).values
    place = torch.searchsorted(lists, items.contiguous()).clamp(max=lists.shape[1] - 1)
    return (lists.gather(1, place) == items) & (items >= 0)

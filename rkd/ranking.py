"""Exact top-K of inner-product scores over the whole catalogue, in blocks of users."""

import torch
from torch import Tensor

from .data import Interactions

BLOCK_SCORES = 1 << 21  # scores held at once (8 MiB): small enough to stay in a core's cache while they are ranked
CHUNKS = 8


def top_k(user_factors: Tensor, item_factors: Tensor, users: Tensor, k: int, exclude: Interactions) -> Tensor:
    """The k items of highest score ⟨u, i⟩ for each of ``users``, best first; ties go to the lower item id.

    user_factors [n_users, d], item_factors [n_items, d], users [n] int64.
    exclude : a user's items there are never returned.
    Returns [n, k] int64, with −1 where a user has fewer than k items left.

    Raises ValueError where a factor is not finite or the scores overflow. Memory: one block of scores, at least one row
    of n_items.
    """
    for name, table in (("user", user_factors), ("item", item_factors)):
        if not bool(table.isfinite().all()):
            raise ValueError(f"the {name} factors hold NaN or infinity: did training diverge? Try a smaller lr")
    if float(user_factors.abs().max()) * float(item_factors.abs().max()) * item_factors.shape[1] > 3e38:
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
        top = _top_k_of_rows(scores, min(k, n_items))
        ranked[start:start + block, :top.shape[1]] = top
    return ranked


def rows_of(interactions: Interactions, users: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs of ``users`` [n] as (position in ``users``, item), two flat tensors, sorted by both."""
    offsets, items = interactions.csr
    counts = offsets[users + 1] - offsets[users]
    rows = torch.arange(len(users), device=users.device).repeat_interleave(counts)
    within = torch.arange(len(rows), device=users.device) - (counts.cumsum(0) - counts)[rows]
    return rows, items[offsets[users][rows] + within]


def _top_k_of_rows(scores: Tensor, k: int) -> Tensor:
    """Top k columns of each row [b, k], −1 for −inf.

    Columns c, c + w, c + 2w, … (w = width / CHUNKS) form a chunk. The best k + 1 scores of a row lie in the k + 1 chunks
    of highest maximum, so that only these are searched: several times faster than a top-k of the row on a CPU.
    """
    rows, width = scores.shape
    n_best = min(k + 1, width)  # one more than asked for shows a tie across the cut
    if n_best * CHUNKS < width:
        chunked = scores.view(rows, CHUNKS, width // CHUNKS)
        chunks = chunked.amax(1).topk(n_best).indices[:, None, :].expand(-1, CHUNKS, -1)  # [b, CHUNKS, k + 1]
        values, place = chunked.gather(2, chunks).flatten(1).topk(n_best)
        columns = chunks + torch.arange(CHUNKS, device=scores.device)[:, None] * (width // CHUNKS)
        top = columns.flatten(1).gather(1, place)
    else:
        values, top = scores.topk(n_best)
    # Which of equal scores comes first depends on the search, so where there are any the whole row is sorted.
    tied = ((values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -torch.inf)).any(1).nonzero().flatten()
    top = top[:, :k].masked_fill(values[:, :k] == -torch.inf, -1)
    values, order = scores[tied].sort(descending=True, stable=True)
    top[tied] = order[:, :k].masked_fill(values[:, :k] == -torch.inf, -1)
    return top

"""Neighbours among users or among items: nearest by embeddings, or with most interactions in common."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .data import Interactions
from .kernels import BLOCK_SCORES, symmetric_sums, weighted_sums
from .ranking import top_k


def nearest(embeddings: Tensor, k: int) -> Tensor:
    """The k nearest others of each row by Euclidean distance, nearest first: [n, d] → [n, k] int64.

    k is cut to n − 1. Searched in blocks of rows, so that no n × n matrix is held. Raises ValueError where there are
    fewer than two rows.
    """
    n, device = len(embeddings), embeddings.device
    if n < 2:
        raise ValueError(f"{n} embeddings have no neighbours among themselves")
    # −‖a − b‖² = 2 ⟨a, b⟩ − ‖b‖² − ‖a‖², and the last term is the same for all b
    centred = embeddings.detach().float()
    centred = centred - centred.mean(0)
    queries = torch.cat([2 * centred, -torch.ones(n, 1, device=device)], 1)
    keys = torch.cat([centred, centred.square().sum(1, keepdim=True)], 1)
    rows = torch.arange(n, device=device)
    return top_k(queries, keys, rows, min(k, n - 1), exclude=Interactions(n, n, rows, rows))


def companions(data: Interactions, k: int) -> Tensor:
    """The k other users with whom each shares most items, most first, equal ones by id: [n_users, k] int64, −1 where
    fewer share any. (Of items: those of ``Interactions`` whose users and items are exchanged.) k is cut to n − 1.

    Counted in blocks of users, so that no n × n matrix is held.
    """
    n, (offsets, items), device = data.n_users, data.csr, data.users.device
    order = torch.arange(n, device=device)
    found = []
    for block in order.split(max(1, BLOCK_SCORES // max(n, data.n_items))):
        have = torch.zeros(data.n_items, len(block), device=device)
        here = (data.users >= block[0]) & (data.users <= block[-1])
        have[data.items[here], data.users[here] - block[0]] = 1
        shared = weighted_sums(offsets, items, torch.ones_like(items, dtype=have.dtype), have).T.long()  # [block, n]
        shared[block - block[0], block] = 0
        best = (shared * n + (n - 1 - order)).topk(min(k, n - 1)).indices
        found.append(best.masked_fill(shared.gather(1, best) == 0, -1))
    return torch.cat(found)


@dataclass
class Graph:
    """A graph of n nodes without direction, as a symmetric CSR matrix: ``offsets`` [n + 1], ``columns`` and ``weights``
    of its entries; ``edges`` [entries]: each entry's edge, 0 … n_edges − 1, the same for both directions."""

    offsets: Tensor
    columns: Tensor
    weights: Tensor
    edges: Tensor
    n_edges: int

    def thinned(self, kept: Tensor) -> "Graph":
        """The same graph, each edge's weight times a factor: kept [n_edges]."""
        return replace(self, weights=self.weights * kept.index_select(0, self.edges))

    def times(self, rows: Tensor) -> Tensor:
        """The matrix times rows [n, d], differentiable: [n, d]."""
        return symmetric_sums(self.offsets, self.columns, self.weights, rows)


def normalised_graph(neighbours: Tensor) -> Graph:
    """Â = D^-½ A D^-½ of A = (N + Nᵀ) / 2, N the 0-1 matrix of each row's neighbours, [n, k] with −1 for none; D the
    sums of A's rows. A row without neighbours, and that is nobody's, has no entry."""
    n, device = len(neighbours), neighbours.device
    own = torch.arange(n, device=device)[:, None].expand_as(neighbours)[neighbours >= 0]
    other = neighbours[neighbours >= 0]
    keys, times = (torch.minimum(own, other) * n + torch.maximum(own, other)).unique(return_counts=True)
    a, b, edges = keys // n, keys % n, torch.arange(len(keys), device=device)
    rows, order = torch.cat([a, b]).sort(stable=True)
    columns, edges, half = torch.cat([b, a])[order], edges.repeat(2)[order], times.float().repeat(2)[order] / 2
    degree = torch.zeros(n, device=device).index_add_(0, rows, half)
    offsets = torch.zeros(n + 1, dtype=torch.int64, device=device)
    offsets[1:] = torch.bincount(rows, minlength=n).cumsum(0)
    return Graph(offsets, columns, half * (degree[rows] * degree[columns]).rsqrt(), edges, len(keys))

"""The two backbones. Both score a pair by an inner product, so both are, in the end, two tables of factors."""

import torch
from torch import Tensor, nn

from .data import Split
from .lookup import ItemLists, list_scores, rows, weighted_sums


class MF(nn.Module):
    """Matrix factorisation: the score of (u, i) is ⟨e_u, e_i⟩.                  (BPR-MF: Rendle et al., UAI 2009)

    split : gives the sizes (and to LightGCN the graph); dim : d; seed : of the Xavier-uniform initialisation, which is
    the same whatever the device.

    ``table`` [n_users + n_items, d], users first, is all there is to train. A step of training reads it through
    ``embed``; between ``begin_step`` and ``end_step`` gradients gather in place.
    """

    def __init__(self, split: Split, dim: int, seed: int = 0):
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim must be 1 or more, not {dim}")
        self.n_users, self.n_items, self.dim = split.n_users, split.n_items, dim
        generator = torch.Generator().manual_seed(seed)
        table = torch.cat([nn.init.xavier_uniform_(torch.empty(n, dim), generator=generator)
                           for n in (self.n_users, self.n_items)])
        self.table = nn.Parameter(table)

    @property
    def output(self) -> Tensor:
        """The embeddings that are scored, [n_users + n_items, d]: here the table itself."""
        return self.table

    def propagate(self, table: Tensor) -> Tensor:
        """Input embeddings → scored embeddings, a symmetric linear map: [n_users + n_items, d] → the same."""
        return table

    def begin_step(self):
        """Bring the scored embeddings up to date with the table."""

    def end_step(self):
        """Carry the scored embeddings' gradient back to the table."""

    def users(self, index: Tensor) -> Tensor:
        """Scored embeddings of users, differentiable within a step: [*index.shape, d]."""
        return rows(self.output, index)

    def items(self, index: Tensor) -> Tensor:
        """Scored embeddings of items, differentiable within a step: [*index.shape, d]."""
        return rows(self.output, index + self.n_users)

    def input_users(self, index: Tensor) -> Tensor:
        """Input embeddings of users, before any propagation: [*index.shape, d]."""
        return rows(self.table, index)

    def input_items(self, index: Tensor) -> Tensor:
        """Input embeddings of items, before any propagation: [*index.shape, d]."""
        return rows(self.table, index + self.n_users)

    def scores(self, users: Tensor | None, lists: ItemLists) -> Tensor:
        """⟨e_u, e_i⟩ of each user's list of items, differentiable within a step: users [n], None for all → [n, L]."""
        return list_scores(self.output, users, lists)

    @torch.no_grad()
    def factors(self) -> tuple[Tensor, Tensor]:
        """(user factors [n_users, d], item factors [n_items, d]), detached; the model as anyone may use it."""
        return tuple(self.propagate(self.table.detach()).split([self.n_users, self.n_items]))

    @torch.no_grad()
    def inputs(self) -> tuple[Tensor, Tensor]:
        """What the factors are before any propagation: (users [n_users, d], items [n_items, d]), detached."""
        return tuple(self.table.detach().split([self.n_users, self.n_items]))


class LightGCN(MF):
    """MF whose embeddings are first spread over the graph of training interactions: E = mean(E₀, ÂE₀, …, Â^L E₀).

    Â is the adjacency of users and items with entries 1 / √(deg u · deg i).          (He et al., SIGIR 2020, Eq. 7, 8)
    n_layers : L. The other arguments are MF's. Raises ValueError where n_layers is below 1.
    """

    def __init__(self, split: Split, dim: int, seed: int = 0, n_layers: int = 2):
        super().__init__(split, dim, seed)
        if n_layers < 1:
            raise ValueError(f"n_layers must be 1 or more (0 is MF), not {n_layers}")
        self.n_layers = n_layers
        for name, tensor in zip(("offsets", "columns", "weights"), normalised_adjacency(split.train)):
            self.register_buffer(name, tensor, persistent=False)

    def propagate(self, table: Tensor) -> Tensor:
        total = layer = table
        for _ in range(self.n_layers):
            layer = weighted_sums(self.offsets, self.columns, self.weights, layer)  # [n_users + n_items, d]
            total = total + layer
        return total.div_(self.n_layers + 1)

    @property
    def output(self) -> Tensor:
        """The propagated embeddings as they were at ``begin_step``, [n_users + n_items, d]."""
        return self._propagated

    def begin_step(self):
        self._propagated = self.propagate(self.table.detach()).requires_grad_()

    def end_step(self):
        if self.output.grad is None:  # nothing in this step's loss was scored
            return
        back = self.propagate(self.output.grad)  # Â is symmetric, so this map is its own transpose
        self.table.grad = back if self.table.grad is None else self.table.grad.add_(back)


def normalised_adjacency(train) -> tuple[Tensor, Tensor, Tensor]:
    """Â of LightGCN, [n_users + n_items]², in CSR form: (offsets, columns, weights 1 / √(deg u · deg i))."""
    n, device = train.n_users + train.n_items, train.users.device
    users, items = train.users, train.items + train.n_users
    degree = torch.bincount(torch.cat([users, items]), minlength=n)
    weight = degree[users].float().rsqrt() * degree[items].float().rsqrt()
    keys, order = (torch.cat([users, items]) * n + torch.cat([items, users])).sort()
    offsets = torch.zeros(n + 1, dtype=torch.int64, device=device)
    offsets[1:] = torch.bincount(keys // n, minlength=n).cumsum(0)
    return offsets, keys % n, weight.repeat(2)[order]


BACKBONES = {"mf": MF, "lightgcn": LightGCN}

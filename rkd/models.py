"""Models: whatever can score and rank. Teacher and student are both models. MF and LightGCN are what is trained."""

import torch
from torch import Tensor, nn

from .data import Interactions, Split
from .device import neutral
from .kernels import ItemLists, list_scores, rows, scores_by_rows, weighted_sums
from .ranking import top_k, top_k_within


class Model:
    """What teachers and students have in common: ``n_users``, ``n_items``, ``scores`` and ``top``."""

    n_users: int
    n_items: int

    def scores(self, users: Tensor | None, items: "Tensor | ItemLists") -> Tensor:
        """The scores of each user's list of items: [n, L].

        users : [n] int64, or None for everyone in order.
        items : [n, L] int64, a list for each of ``users``; or everyone's ItemLists, of which the rows of ``users``
                count.
        """
        raise TypeError(f"{type(self).__name__} must define scores")

    @neutral()
    def top(self, users: Tensor, k: int, exclude: Interactions, items: Tensor | None = None) -> Tensor:
        """The k best items of each user, best first, without those that it has in ``exclude``: [n, k] int64, −1 where
        there are no more. items : rank only these (ids, ascending), None: all; then k is cut to their number.

        By the inner products of ``factors``, unless a model does it otherwise."""
        if items is None:
            return top_k(*self.factors(), users, k, exclude)
        return top_k_within(*self.factors(), users, k, exclude, items)

    def ranking(self, depth: int, exclude: Interactions, items: Tensor | None = None) -> Tensor:
        """``top`` of every user: [n_users, depth]."""
        return self.top(torch.arange(self.n_users, device=exclude.users.device), depth, exclude, items)

    def factors(self) -> tuple[Tensor, Tensor]:
        """(user factors [n_users, d], item factors [n_items, d]), detached, whose inner products are the scores. Raises
        ValueError for a model that has none."""
        raise ValueError(f"{type(self).__name__} has scores, but no embeddings")

    def inputs(self) -> tuple[Tensor, Tensor]:
        """What the factors are before any propagation: (users [n_users, d], items [n_items, d]), detached."""
        return self.factors()

    def to(self, device) -> "Model":
        """The same model on a device."""
        raise TypeError(f"{type(self).__name__} must define to")


class MF(nn.Module, Model):
    """Matrix factorisation: the score of (u, i) is ⟨e_u, e_i⟩.                  (BPR-MF: Rendle et al., UAI 2009)

    split : gives the sizes (and to LightGCN the graph); dim : d; seed : of the Xavier-uniform initialisation, which is
    the same whatever the device.

    ``table`` [n_users + n_items, d], users first, is all there is to train. Gradients of what is read gather in place;
    for LightGCN ``end_step`` then carries them back to the table.
    """

    label = "MF"
    to = nn.Module.to

    @neutral()
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
        """The embeddings that are scored, a leaf [n_users + n_items, d]: here the table itself."""
        return self.table

    def propagate(self, table: Tensor) -> Tensor:
        """Input embeddings → scored embeddings, a symmetric linear map: [n_users + n_items, d] → the same."""
        return table

    def end_step(self) -> None:
        """Called after backward: carries the scored embeddings' gradient back to the table."""

    def rows(self, side: str, index: Tensor, layer: str = "output") -> Tensor:
        """Embeddings of ``side`` "users" or "items", differentiable: [*index.shape, d]. layer : "output", those that
        are scored, or "input", those before any propagation."""
        table = self.output if layer == "output" else self.table
        return rows(table, index if side == "users" else index + self.n_users)

    def scores(self, users, items):
        """See Model; differentiable."""
        if not isinstance(items, ItemLists):
            return scores_by_rows(self.output, users, items, self.n_users)
        return list_scores(self.output, users, items)

    @torch.no_grad()
    def factors(self):
        return tuple(self.propagate(self.table.detach()).split([self.n_users, self.n_items]))

    @torch.no_grad()
    def inputs(self):
        return tuple(self.table.detach().split([self.n_users, self.n_items]))


class LightGCN(MF):
    """MF whose embeddings are first spread over the graph of training interactions: E = mean(E₀, ÂE₀, …, Â^L E₀).

    Â is the adjacency of users and items with entries 1 / √(deg u · deg i).          (He et al., SIGIR 2020, Eq. 7, 8)
    n_layers : L. The other arguments are MF's. Raises ValueError where n_layers is below 1.
    """

    label = "LightGCN"

    @neutral()
    def __init__(self, split: Split, dim: int, seed: int = 0, n_layers: int = 2):
        super().__init__(split, dim, seed)
        if n_layers < 1:
            raise ValueError(f"n_layers must be 1 or more (0 is MF), not {n_layers}")
        self.n_layers, self._propagated = n_layers, None
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
        """The propagated embeddings of this step, [n_users + n_items, d]: computed when first read after
        ``end_step``."""
        if self._propagated is None:
            self._propagated = self.propagate(self.table.detach()).requires_grad_()
        return self._propagated

    def end_step(self) -> None:
        pulled = None if self._propagated is None else self._propagated.grad
        self._propagated = None
        if pulled is not None:
            back = self.propagate(pulled)  # Â is symmetric, so this map is its own transpose
            self.table.grad = back if self.table.grad is None else self.table.grad.add_(back)


def normalised_adjacency(train: Interactions) -> tuple[Tensor, Tensor, Tensor]:
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

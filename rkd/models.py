"""Models: whatever can score and rank. Teacher and student are both models.

MF and LightGCN are trained here; ``Given`` and ``Lists`` are teachers from elsewhere.
"""

import torch
from torch import Tensor, nn

from .data import Interactions, Split
from .kernels import DENSE, ItemLists, dots, list_scores, rows, scores_by_rows, weighted_sums
from .limits import plain
from .ranking import refuse_none, seen, top_k, top_k_within


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

    def top(self, users: Tensor, k: int, exclude: Interactions, items: Tensor | None = None) -> Tensor:
        """The k best items of each user, best first, without those that it has in ``exclude``: [n, k] int64, −1 where
        there are no more. items : rank only these (ids, ascending), None: all; then k is cut to their number."""
        raise TypeError(f"{type(self).__name__} must define top")

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


class Given(Model):
    """A model that is what it is: (user factors [n_users, d], item factors [n_items, d]), arrays or tensors from
    anywhere, taken as float32.

    inputs : the same before any propagation, for models that have that; by default the factors.
    Raises TypeError for anything but a pair, ValueError for matrices of unequal width.
    """

    def __init__(self, factors, inputs=None):
        self._factors = matrices(factors)
        self._inputs = self._factors if inputs is None else matrices(inputs)
        self.n_users, self.n_items = map(len, self._factors)

    def factors(self):
        return self._factors

    def inputs(self):
        return self._inputs

    def scores(self, users, items):
        u, v = self._factors
        if isinstance(items, ItemLists):
            found = dots(u, v, items)
            return found if users is None else found.index_select(0, users)
        u = u if users is None else u.index_select(0, users)
        if items.shape[1] * DENSE < self.n_items:
            return dots(u, v, ItemLists(items, self.n_items))
        return torch.cat([(u @ v.T).gather(1, some) for u, some in zip(u.split(256), items.split(256))])

    def top(self, users, k, exclude, items=None):
        if items is None:
            return top_k(*self._factors, users, k, exclude)
        return top_k_within(*self._factors, users, k, exclude, items)

    def to(self, device):
        given = Given([x.to(device) for x in self._factors])
        if self._inputs is not self._factors:
            given._inputs = tuple(x.to(device) for x in self._inputs)
        return given


class Lists(Model):
    """A teacher that is no inner product: a list of items for every user, with scores.

    items  : [n_users, L] whole numbers, a user's items, in any order; −1 fills up shorter lists.
    scores : [n_users, L], the higher the better.
    n_items : size of the catalogue.

    An item that is not in a user's list scores as the user's worst listed item. RD, CD, RRD, UnKD and SLD learn from
    lists; methods that need embeddings say so. Raises ValueError where shapes differ, a score is not finite, an item
    lies outside the catalogue, twice in a list, or a list is empty.
    """

    def __init__(self, items, scores, n_items: int):
        items, scores = torch.as_tensor(items).long(), torch.as_tensor(scores).float()
        if items.dim() != 2 or items.shape != scores.shape or not items.shape[1]:
            raise ValueError(f"items and scores must be two matrices [n_users, L], not {tuple(items.shape)} and "
                             f"{tuple(scores.shape)}")
        absent = items < 0
        if not bool(scores[~absent].isfinite().all()):
            raise ValueError("a listed score is not a finite number")
        if bool((items >= n_items).any()):
            raise ValueError(f"item {int(items.max())} is listed, but there are {n_items}")
        if bool(absent.all(1).any()):
            raise ValueError(f"the list of user {int(absent.all(1).nonzero()[0])} is empty")
        order = scores.masked_fill(absent, -torch.inf).sort(dim=1, descending=True, stable=True)
        self.n_users, self.n_items = len(items), n_items
        self.items = items.clamp(min=-1).gather(1, order.indices)  # best first, −1 at the end
        self.listed = order.values
        users = torch.arange(len(items), device=items.device)[:, None]
        keys = torch.where(self.items < 0, torch.iinfo(torch.int64).max, users * n_items + self.items)
        self._keys, self._place = keys.flatten().sort()
        same = (self._keys[1:] == self._keys[:-1]) & (self._keys[1:] < self.n_users * n_items)
        if bool(same.any()):
            twice = int(self._keys[1:][same][0])
            raise ValueError(f"user {twice // n_items}'s list holds item {twice % n_items} twice")
        self._floor = self.listed.masked_fill(self.items < 0, torch.inf).amin(1)  # [n_users]

    def scores(self, users, items):
        if isinstance(items, ItemLists):
            items = items.items.long() if users is None else items.items.index_select(0, users).long()
        if users is None:
            users = torch.arange(self.n_users, device=items.device)
        wanted = users[:, None] * self.n_items + items
        place = torch.searchsorted(self._keys, wanted).clamp(max=len(self._keys) - 1)
        found = self.listed.flatten()[self._place[place]]
        return torch.where(self._keys[place] == wanted, found, self._floor[users][:, None])

    def top(self, users, k, exclude, items=None):
        listed = self.items.index_select(0, users)
        usable = (listed >= 0) & ~seen(exclude, users, listed.clamp(min=0))
        if items is not None:
            refuse_none(items)
            usable &= torch.isin(listed, items)
            k = min(k, len(items))
        order = (~usable).long().argsort(dim=1, stable=True)  # the usable first, in their order
        ranked = torch.where(usable, listed, -1).gather(1, order)[:, :k]
        return nn.functional.pad(ranked, (0, k - ranked.shape[1]), value=-1)

    def to(self, device):
        return Lists(self.items.to(device), self.listed.to(device), self.n_items)


class MF(nn.Module, Model):
    """Matrix factorisation: the score of (u, i) is ⟨e_u, e_i⟩.                  (BPR-MF: Rendle et al., UAI 2009)

    split : gives the sizes (and to LightGCN the graph); dim : d; seed : of the Xavier-uniform initialisation, which is
    the same whatever the device.

    ``table`` [n_users + n_items, d], users first, is all there is to train. Gradients of what is read gather in place;
    for LightGCN ``end_step`` then carries them back to the table.
    """

    label = "MF"
    to = nn.Module.to

    def __init__(self, split: Split, dim: int, seed: int = 0):
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim must be 1 or more, not {dim}")
        self.n_users, self.n_items, self.dim = split.n_users, split.n_items, dim
        self.seed = plain(seed)
        self.table = nn.Parameter(self.initial())

    def initial(self) -> Tensor:
        """The table that the seed begins with: [n_users + n_items, d]."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.cat([nn.init.xavier_uniform_(torch.empty(n, self.dim), generator=generator)
                          for n in (self.n_users, self.n_items)])

    @property
    def fresh(self) -> bool:
        """Whether the table is still the one that its seed began with."""
        return torch.equal(self.table.detach().cpu(), self.initial())

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

    def top(self, users, k, exclude, items=None):
        return Given(self.factors()).top(users, k, exclude, items)

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


def matrices(pair) -> tuple[Tensor, Tensor]:
    """A pair of arrays or tensors as two float32 matrices of equal width, detached. Raises TypeError or ValueError."""
    try:
        users, items = (torch.as_tensor(x).detach().float() for x in pair)
    except (TypeError, ValueError) as error:
        raise TypeError("expected a model or a pair (user factors, item factors), not "
                        f"{type(pair).__name__}") from error
    if users.dim() != 2 or items.dim() != 2 or users.shape[1] != items.shape[1]:
        raise ValueError("factors must be two matrices of equal width, [n_users, d] and [n_items, d], "
                         f"not {tuple(users.shape)} and {tuple(items.shape)}")
    return users, items


def fixed(model, split: Split, device=None) -> Model:
    """A model as it is now, on the split's device or the one given: Given or Lists.

    model : Lists; a model with factors(), of rkd or of your own; or a pair (user factors, item factors).
    Raises TypeError for anything else, and ValueError where its sizes are not the split's.
    """
    if isinstance(model, (Given, Lists)):
        found = model
    elif hasattr(model, "factors"):
        found = Given(model.factors(), model.inputs() if hasattr(model, "inputs") else None)
    else:
        found = Given(model)
    if (found.n_users, found.n_items) != (split.n_users, split.n_items):
        raise ValueError(f"the model is of {found.n_users} users and {found.n_items} items, "
                         f"the split of {split.n_users} and {split.n_items}")
    return found.to(split.train.users.device if device is None else device)


BACKBONES = {"mf": MF, "lightgcn": LightGCN}

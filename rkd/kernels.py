"""The one place where speed costs readability: gradients written by hand, and constants measured on a CPU.

Beside each kernel stands its plain formula; tests hold the two together. Gradients of a table's rows add into its .grad
in place: autograd's own backward makes a dense zero tensor of the table's size at every gather, which on a CPU, not the
arithmetic, was most of a training step.
"""

import warnings
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import embedding_bag, logsigmoid

from .device import fixed_shapes

SORTED = 4096  # so many gradients of rows, and as many as there are rows, are added up faster sorted by row
WHOLE = 8  # gradients of all lists at once pay while the users are at most so many times those of the batch
EVERYONE = 2  # a loss of all users pays while they are at most so many times those of the batch
DENSE = 20  # scores of lists pay as one dense product once a list holds the so-manieth part of the catalogue
LISTED = 1 << 23  # cells of users × items up to which negatives are looked up in a list (of int32: 32 MiB)
BLOCK_SCORES = 1 << 21  # scores held at once (8 MiB): small enough to stay in a core's cache while they are ranked
BLOCK_ROWS = 2048  # of a table, moved at once: at d = 64 they stay in a core's cache
CHECKED = 1 << 20  # numbers of a table that are checked at once
CHUNKS = 8  # into which a row of scores is cut to find its top


def csr(offsets: Tensor, columns: Tensor, values: Tensor, n_columns: int) -> Tensor:
    """A sparse CSR matrix, [len(offsets) − 1, n_columns]; columns of a row in any order, repeated ones add up."""
    return torch.sparse_csr_tensor(offsets, columns, values, (len(offsets) - 1, n_columns), check_invariants=False)


with warnings.catch_warnings():  # torch says once per process that CSR is in beta
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    csr(torch.zeros(2, dtype=torch.int32), torch.zeros(0, dtype=torch.int32), torch.zeros(0), 1)


def weighted_sums(offsets: Tensor, columns: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """A sparse matrix in CSR form, [n, m], times a dense one, [m, d]: [n, d], without gradient. At d = 100 three times
    as fast on a CPU as the product of torch's sparse matrices, and level with it at d = 10."""
    return embedding_bag(columns, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)


class _SymmetricSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, offsets: Tensor, columns: Tensor, weights: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(offsets, columns, weights)
        return weighted_sums(offsets, columns, weights, table)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return None, None, None, weighted_sums(*ctx.saved_tensors, grad)


def symmetric_sums(offsets: Tensor, columns: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """``weighted_sums`` by a symmetric matrix, [n, n], with gradient for the table: the matrix is its own transpose."""
    return _SymmetricSums.apply(offsets, columns, weights, table)


def places_of(values: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Where 0, 1, …, n − 1 stand in values [m], on a CPU: (offsets [n + 1], places [m], ascending for each value). A
    counting sort: four times as fast as argsort."""
    one_row = csr_array((np.arange(len(values), dtype=np.int32), values.int().numpy(),
                         np.array([0, len(values)], np.int32)), shape=(1, n))
    by_column = one_row.tocsc()
    return torch.from_numpy(by_column.indptr), torch.from_numpy(by_column.data)


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor) -> Tensor:
        ctx.table = table
        ctx.save_for_backward(index)
        return table.index_select(0, index)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (index,), total = ctx.saved_tensors, gradient(ctx.table)
        if fixed_shapes(index.device) or len(index) < max(len(total), SORTED):
            total.index_add_(0, index, grad)
        else:
            offsets, places = places_of(index, len(total))
            total += embedding_bag(places, grad, offsets, mode="sum", include_last_offset=True)
        return None, None


def rows(table: Tensor, index: Tensor) -> Tensor:
    """table[index] for a leaf table [n, d] and an index of any shape: [*index.shape, d]; gradients go to table.grad, or
    to who keeps the table (adam.LazyAdam)."""
    keeper = getattr(table, "keeper", None)
    read = rows_of_table(table, index.flatten()) if keeper is None else keeper.rows(index.flatten())
    return read.view(*index.shape, table.shape[1])


def rows_of_table(table: Tensor, index: Tensor) -> Tensor:
    """``rows`` of the table as it is, for a flat index."""
    return _Rows.apply(table, index)


def put_rows(table: Tensor, index: Tensor, values: Tensor) -> None:
    """table.index_copy_(0, index, values) on a CPU, each row copied as one piece of memory: in half the time at d = 64.
    One row of values is put everywhere."""
    _pieces(table)[index.numpy()] = _pieces(values)


def _pieces(table: Tensor) -> np.ndarray:
    """The rows of a table in memory as items without a type: [n]."""
    array = table.detach().numpy()
    return array.view(np.dtype((np.void, array.strides[0]))).reshape(len(array))


class ItemLists:
    """A list of items for every user, as long for all: ``items`` [n_users, L] int64, in any order, repeats allowed.

    Made once for an epoch's draws, so that what a step needs of them can be prepared once as well.
    of_users : the other way round, a list of users for every item; then read "user" for "item" here, and "item" for
               "user".
    """

    def __init__(self, items: Tensor, n_items: int, of_users: bool = False):
        self.items, self.n_items, self.of_users = items.int(), n_items, of_users  # [n_users, L]

    def halves(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """(rows of those who have a list, rows of what is listed) of a table [n_users + n_items, d], users first."""
        if self.of_users:
            return table[self.n_items:], table[:self.n_items]
        return table[:len(self.items)], table[len(self.items):]

    def columns(self, users: Tensor | None) -> tuple[Tensor, Tensor]:
        """(offsets [n + 1], columns [n · L]) of these users' lists, None: everyone's, as the rows of a CSR matrix."""
        items = self.items if users is None else self.items.index_select(0, users)  # [n, L]
        offsets = torch.arange(len(items) + 1, device=items.device, dtype=torch.int32) * items.shape[1]
        return offsets, items.flatten()

    def rows_read(self, users: Tensor | None) -> Tensor:
        """The rows of a table [n_users + n_items, d] that the scores of these users' lists depend on, flat int64."""
        own, listed = (self.n_items, 0) if self.of_users else (0, len(self.items))
        if users is None:
            users = torch.arange(len(self.items), device=self.items.device)
        return torch.cat([users + own, self.items.index_select(0, users).flatten() + listed])

    @cached_property
    def by_item(self) -> tuple[Tensor, Tensor, Tensor]:
        """The transpose of all lists: (offsets [n_items + 1], each entry's user [n_users · L], its place in
        ``items``)."""
        offsets, places = places_of(self.items.flatten(), self.n_items)
        return offsets, places // self.items.shape[1], places


def dots(user_factors: Tensor, item_factors: Tensor, lists: ItemLists) -> Tensor:
    """⟨u, i⟩ for the items of every user's list, without gradient: [n_users, L]."""
    if not _sparse(user_factors, lists):
        return (item_factors[lists.items] @ user_factors[:, :, None]).squeeze(2)
    return _products(user_factors, item_factors, *lists.columns(None))


def _sparse(table: Tensor, lists: ItemLists) -> bool:
    """Whether sparse products can serve: torch's takes no more entries than the dense matrix would have."""
    return not fixed_shapes(table.device) and lists.items.shape[1] <= lists.n_items


def _products(u: Tensor, items: Tensor, offsets: Tensor, columns: Tensor) -> Tensor:
    """⟨u_r, items_c⟩ at the entries (r, c) of a CSR pattern with rows of equal length: [n, L]."""
    pattern = csr(offsets, columns, u.new_zeros(len(columns)), len(items))
    return torch.sparse.sampled_addmm(pattern, u, items.T, beta=0.0).values().view(len(u), -1)


class _ListScores(torch.autograd.Function):
    """list_scores by products with sparse matrices: no [n, L, d] tensor is ever made."""

    @staticmethod
    def forward(ctx, table: Tensor, users: Tensor | None, lists: ItemLists) -> Tensor:
        u, listed = lists.halves(table)
        u = u if users is None else u.index_select(0, users)
        ctx.table, ctx.lists, ctx.users, ctx.pattern = table, lists, users, lists.columns(users)
        return _products(u, listed, *ctx.pattern)

    @staticmethod
    def backward(ctx, grad: Tensor):
        lists, users, n_users = ctx.lists, ctx.users, len(ctx.lists.items)
        (u, listed), (of_users, of_listed) = lists.halves(ctx.table), lists.halves(gradient(ctx.table))
        pulls = weighted_sums(*ctx.pattern, grad.flatten(), listed)  # [n, d]
        if users is None:
            of_all = grad
            of_users += pulls
        else:
            of_users.index_add_(0, users, pulls)
            if n_users > WHOLE * len(users):
                pushes = (grad[:, :, None] * u.index_select(0, users)[:, None]).flatten(0, 1)  # [n · L, d]
                of_listed.index_add_(0, ctx.pattern[1].long(), pushes)
                return None, None, None
            of_all = grad.new_zeros(lists.items.shape).index_add_(0, users, grad)
        # gathered by item: several times faster than scattered, for each user once
        offsets, owners, places = lists.by_item
        of_listed += weighted_sums(offsets, owners, of_all.flatten().index_select(0, places), u)
        return None, None, None


def list_scores(table: Tensor, users: Tensor | None, lists: ItemLists) -> Tensor:
    """⟨table[u], table[n_users + i]⟩ for the items of each user's list: users [n], None for everyone → [n, L];
    gradients go to table.grad, table [n_users + n_items, d] being a leaf. On a CPU by sparse products, several times
    faster."""
    if _sparse(table, lists):
        if hasattr(table, "keeper"):
            table.keeper.touch(lists.rows_read(users))
        return _ListScores.apply(table, users, lists)
    items = lists.items if users is None else lists.items.index_select(0, users)
    return scores_by_rows(table, users, items, len(lists.items), lists.of_users)


def scores_by_rows(table: Tensor, users: Tensor | None, items: Tensor, n_users: int, of_users: bool = False) -> Tensor:
    """The formula of ``list_scores``, on any device: items [n, L], a list for each of users [n], None for everyone.
    of_users : as for ItemLists."""
    own, listed = (len(table) - n_users, 0) if of_users else (0, n_users)  # where their rows begin
    if users is None:
        users = torch.arange(n_users, device=table.device)
    return (rows(table, items + listed) @ rows(table, users + own)[:, :, None]).squeeze(2)


def half_square(triples: Tensor) -> Tensor:
    """½ ‖·‖² of a batch's embeddings, [3, B, d], over B."""
    flat = triples.flatten()
    return flat @ flat / (2 * triples.shape[1])


def bpr_formula(triples: Tensor, l2: float = 0.0) -> Tensor:
    """−mean log σ(⟨u, i⟩ − ⟨u, j⟩) + l2 · ½ (‖u‖² + ‖i‖² + ‖j‖²) / B of the embeddings u, i, j of B users, positive and
    negative items: [3, B, d].

    (BPR-Opt, Rendle et al., UAI 2009; the norm of the batch's embeddings over B as in UnKD's and LightGCN's code)
    """
    u, i, j = triples
    return -logsigmoid((u * i).sum(1) - (u * j).sum(1)).mean() + l2 * half_square(triples)


class _BPR(torch.autograd.Function):
    """bpr_formula with its gradient in closed form: half the time of autograd's own, which keeps and re-reads every
    step."""

    @staticmethod
    def forward(ctx, triples, l2):
        users, positives, negatives = triples
        difference = positives - negatives  # [B, d]
        margin = (users * difference).sum(1)  # [B]
        ctx.save_for_backward(triples, difference, margin)
        ctx.l2 = l2
        return -logsigmoid(margin).mean() + l2 * half_square(triples)

    @staticmethod
    def backward(ctx, grad):
        triples, difference, margin = ctx.saved_tensors
        grad = grad / len(margin)
        push = (-grad * torch.sigmoid(-margin))[:, None]  # [B, 1]
        pull = push * triples[0]
        triples *= grad * ctx.l2  # the gradient takes their place: they are in the cache, a new tensor would not be
        triples[0].addcmul_(push, difference)
        triples[1].add_(pull)
        triples[2].sub_(pull)
        return triples, None


def bpr(triples: Tensor, l2: float = 0.0) -> Tensor:
    """``bpr_formula``, 1.25 to 1.4 times as fast for plain MF. backward() overwrites ``triples`` with the gradient:
    pass a tensor that nothing else needs, such as ``rows`` makes. (Autograd refuses a second backward, and that of
    another loss which needs them.)"""
    return _BPR.apply(triples, l2)


def gradient(table: Tensor) -> Tensor:
    """A leaf's .grad, for adding to; zeros where there was none."""
    if table.grad is None:
        table.grad = torch.zeros_like(table)
    return table.grad


def top_k_of_rows(scores: Tensor, k: int) -> Tensor:
    """Top k columns of each row [b, k], −1 for −inf.

    Columns c, c + w, c + 2w, … (w = width / CHUNKS) form a chunk. The best k + 1 scores of a row lie in the k + 1
    chunks of highest maximum, so that only these are searched: several times faster than a top-k of the row on a CPU.
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

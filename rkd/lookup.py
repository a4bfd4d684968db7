"""Rows of a table, and scores of lists of items, with gradients that add into the table's .grad in place.

Autograd's own backward makes a dense zero tensor of the table's size at every gather; on a CPU that, not the
arithmetic, was most of a training step.
"""

import warnings
from functools import cached_property

import torch
from torch import Tensor

WHOLE = 8  # gradients of all lists at once pay while the users are at most so many times those of the batch


def csr(offsets: Tensor, columns: Tensor, values: Tensor, n_columns: int) -> Tensor:
    """A sparse CSR matrix, [len(offsets) − 1, n_columns]; columns of a row in any order, repeated ones add up."""
    return torch.sparse_csr_tensor(offsets, columns, values, (len(offsets) - 1, n_columns), check_invariants=False)


with warnings.catch_warnings():  # torch says once per process that CSR is in beta
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    csr(torch.zeros(2, dtype=torch.int32), torch.zeros(0, dtype=torch.int32), torch.zeros(0), 1)


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor) -> Tensor:
        ctx.table = table
        ctx.save_for_backward(index)
        return table.index_select(0, index)

    @staticmethod
    def backward(ctx, grad: Tensor):
        _grad(ctx.table).index_add_(0, *ctx.saved_tensors, grad)
        return None, None


def rows(table: Tensor, index: Tensor) -> Tensor:
    """table[index] for a leaf table [n, d] and an index of any shape: [*index.shape, d]; gradients go to table.grad."""
    return _Rows.apply(table, index.flatten()).view(*index.shape, table.shape[1])


class ItemLists:
    """A list of items for every user, as long for all: ``items`` [n_users, L] int64, in any order, repeats allowed.

    Made once for an epoch's draws, so that what a step needs of them can be prepared once as well.
    """

    def __init__(self, items: Tensor, n_items: int):
        self.items, self.n_items = items.int(), n_items  # [n_users, L]

    def columns(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """(offsets [n + 1], columns [n · L]) of these users' lists as the rows of a CSR matrix."""
        length = self.items.shape[1]
        return (torch.arange(0, (len(users) + 1) * length, length, device=users.device, dtype=torch.int32),
                self.items.index_select(0, users).flatten())

    @cached_property
    def by_item(self) -> tuple[Tensor, Tensor, Tensor]:
        """The transpose of all lists: (offsets [n_items + 1], each entry's user [n_users · L], its place in ``items``)."""
        places = self.items.flatten().argsort(stable=True)
        offsets = places.new_zeros(self.n_items + 1)
        offsets[1:] = self.items.flatten().bincount(minlength=self.n_items).cumsum(0)
        return offsets.int(), (places // self.items.shape[1]).int(), places


def dots(user_factors: Tensor, item_factors: Tensor, lists: ItemLists) -> Tensor:
    """⟨u, i⟩ for the items of every user's list, without gradient: [n_users, L]."""
    if not _sparse(user_factors, lists):
        return (item_factors[lists.items] @ user_factors[:, :, None]).squeeze(2)
    users = torch.arange(len(user_factors), device=user_factors.device)
    return _products(user_factors, item_factors, *lists.columns(users))


def _sparse(table: Tensor, lists: ItemLists) -> bool:
    """Whether sparse products can serve: torch's takes no more entries than the dense matrix would have."""
    return table.device.type == "cpu" and lists.items.shape[1] <= lists.n_items


def _products(u: Tensor, items: Tensor, offsets: Tensor, columns: Tensor) -> Tensor:
    """⟨u_r, items_c⟩ at the entries (r, c) of a CSR pattern with rows of equal length: [n, L]."""
    pattern = csr(offsets, columns, u.new_zeros(len(columns)), len(items))
    return torch.sparse.sampled_addmm(pattern, u, items.T, beta=0.0).values().view(len(u), -1)


class _ListScores(torch.autograd.Function):
    """list_scores by products with sparse matrices: no [n, L, d] tensor is ever made."""

    @staticmethod
    def forward(ctx, table: Tensor, users: Tensor, lists: ItemLists) -> Tensor:
        u = table.index_select(0, users)
        offsets, columns = lists.columns(users)
        ctx.table, ctx.lists = table, lists
        ctx.save_for_backward(users, u, offsets, columns)
        return _products(u, table[len(lists.items):], offsets, columns)

    @staticmethod
    def backward(ctx, grad: Tensor):
        users, u, offsets, columns = ctx.saved_tensors
        table, lists, total = ctx.table, ctx.lists, _grad(ctx.table)
        n_users, length = lists.items.shape
        total.index_add_(0, users, csr(offsets, columns, grad.flatten(), lists.n_items) @ table[n_users:])
        if n_users <= WHOLE * len(users):  # gather by item: several times faster than scattering, for each user once
            of_all = grad.new_zeros(n_users, length).index_add_(0, users, grad)
            item_offsets, owners, places = lists.by_item
            transposed = csr(item_offsets, owners, of_all.flatten().index_select(0, places), n_users)
            total[n_users:] += transposed @ table[:n_users]
        else:
            total[n_users:].index_add_(0, columns.long(), (grad[:, :, None] * u[:, None]).flatten(0, 1))
        return None, None, None


def list_scores(table: Tensor, users: Tensor, lists: ItemLists) -> Tensor:
    """⟨table[u], table[n_users + i]⟩ for the items of each user's list: users [n] → [n, L]; gradients go to table.grad,
    table [n_users + n_items, d] being a leaf. On a CPU by sparse products, several times faster there."""
    if _sparse(table, lists):
        return _ListScores.apply(table, users, lists)
    return scores_by_rows(table, users, lists)


def scores_by_rows(table: Tensor, users: Tensor, lists: ItemLists) -> Tensor:
    """What ``list_scores`` is, row by row, on any device."""
    items = rows(table, lists.items.index_select(0, users) + len(lists.items))  # [n, L, d]
    return (items @ rows(table, users)[:, :, None]).squeeze(2)


def _grad(table: Tensor) -> Tensor:
    if table.grad is None:
        table.grad = torch.zeros_like(table)
    return table.grad

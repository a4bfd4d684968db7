"""Recommendations by row number, for whoever holds a model and its split; by own ids: served.py."""

import torch
from torch import Tensor

from .data import Split
from .device import neutral
from .given import fixed
from .limits import plain, whole


@neutral()
def recommend(model, split: Split, users, k: int) -> Tensor:
    """The k best unseen items of each user, best first: [len(users), k] int64 row numbers, −1: no more items.

    model : as for evaluate. users : row numbers, a tensor, an array, a list or one number; or a mask [n_users] of
    bools. Raises ValueError for anything else, a row that is not there, and a k that is no whole number of 1 or more.
    """
    rows = rows_of_users(users, split.n_users).to(split.train.users.device)
    return fixed(model, split).top(rows, whole("k", k), exclude=split.train)


def rows_of_users(users, n_users: int) -> Tensor:
    """Row numbers as an int64 tensor, each of a user that is there."""
    said = f"users must be row numbers from 0 to {n_users - 1}"
    if isinstance(users, (str, bytes)):
        raise ValueError(f"{said}, not {users!r}: rkd.serve(model, split).recommend({users!r}) takes own ids")
    try:
        rows = torch.as_tensor(plain(users)).flatten()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{said}, not {users!r}: rkd.serve(model, split).recommend(…) takes own ids") from None
    if rows.dtype == torch.bool:
        if len(rows) != n_users:
            raise ValueError(f"a mask of users must have {n_users} entries, one for each, not {len(rows)}")
        return rows.nonzero().flatten()
    if rows.is_floating_point() and len(rows) or rows.is_complex():
        raise ValueError(f"{said}, not {rows.dtype}")
    rows = rows.long()
    outside = (rows < 0) | (rows >= n_users)
    if bool(outside.any()):
        place = int(outside.nonzero()[0])
        raise ValueError(f"{said}, but entry {place} is {int(rows[place])}")
    return rows

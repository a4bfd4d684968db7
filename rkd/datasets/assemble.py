"""Pairs of one or more files → Interactions: ids numbered, none missing, no pair twice."""

import numpy as np
import pandas as pd
import torch

from ..data import Interactions
from .errors import DataError
from .ids import clean


def assemble(parts: dict[str, pd.DataFrame], name: str, min_items: int = 1, valid_users: float = 0.5,
             repeats: str = "error", notes: list[str] | None = None,
             size: tuple[int, int] | None = None) -> Interactions:
    """Put the pairs of one or more files together, number their ids, and leave out users with less than ``min_items``.

    Ids become 0…n - 1 in sorted order: in numeric order if all are whole numbers, else as strings; with ``size``, of
    the rows and columns of a matrix, they are these numbers already. ``repeats``: "drop" the second of two equal pairs,
    or "error". ``notes`` receives a line for what the reader should know.

    Raises DataError for missing ids, for a pair given twice, and if nothing is left.
    """
    files, notes = " and ".join(map(str, parts)), [] if notes is None else notes
    told = []
    pairs = pd.concat([part[["user", "item"]] for part in parts.values()], ignore_index=True)
    if pairs.empty:
        raise DataError(f"{files}: no pairs in it")
    try:
        (users, user_ids), (items, item_ids) = clean(pairs["user"], pairs["item"], told)
    except TypeError as error:  # from a list or a dict in the place of an id
        raise DataError(f"{files} cannot be read: an id is no text or number ({error})") from None
    notes += [f"{files}: {line}" for line in told]
    if (missing := (users < 0) | (items < 0)).any():
        raise DataError(f"{_place(parts, missing.argmax())}: user or item is missing (empty, or NA among numbers; "
                        f"{missing.sum()} such in all): fill it in or drop it")
    if size:
        users, items = user_ids[users], item_ids[items]
        user_ids, item_ids = np.arange(size[0]), np.arange(size[1])

    repeated = pd.Series(users * len(item_ids) + items).duplicated().to_numpy()
    if repeated.any() and repeats == "error":
        first = repeated.argmax()
        raise DataError(f"{_place(parts, first)}: user {user_ids[users[first]]} and item {item_ids[items[first]]} are "
                        f"given before ({repeated.sum()} repeats in all): drop them, for example by "
                        'load(…, repeats="drop")')
    if repeated.any():
        users, items = users[~repeated], items[~repeated]
        notes.append(f"{files}: {repeated.sum()} repeats of a pair are left out, {len(users)} pairs remain")

    kept = np.bincount(users)[users] >= min_items
    if not kept.any():
        raise DataError(f"{files}: no user with {min_items} items or more")
    if not kept.all():
        kept_users, users = np.unique(users[kept], return_inverse=True)
        kept_items, items = np.unique(items[kept], return_inverse=True)
        user_ids, item_ids = user_ids[kept_users], item_ids[kept_items]
    return Interactions(len(user_ids), len(item_ids), torch.from_numpy(users), torch.from_numpy(items), name,
                        valid_users, user_ids, item_ids)


def _place(parts: dict[str, pd.DataFrame], pair: int) -> str:
    """File and line of a pair, counted over all parts."""
    for path, part in parts.items():
        if pair < len(part):
            return f"{path}, {part.index.name} {part.index[pair]}"
        pair -= len(part)

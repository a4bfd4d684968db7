"""Pairs of one or more files → Interactions: ids numbered, none missing, no pair twice."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from ..data import PARTS, Interactions
from .errors import DataError
from .ids import clean


def assemble(parts: dict[str, pd.DataFrame], name: str, min_items: int = 1, valid_users: float = 0.5,
             repeats: str = "error", notes: list[str] | None = None, size: tuple[int, int] | None = None,
             given: Sequence[int] | None = None) -> Interactions:
    """Put the pairs of one or more files together, number their ids, and leave out users with less than ``min_items``.

    Ids become 0…n - 1 in sorted order: in numeric order if all are whole numbers, else as strings; with ``size``, of
    the rows and columns of a matrix, they are these numbers already. ``given`` says of each file which part its pairs
    are (see Interactions). ``repeats``: "drop" the second of two equal pairs, "within" only where both are in one part,
    or "error"; first is the one of the earlier part, of the earlier time, of the earlier row. ``notes`` receives a line
    for what the reader should know.

    Raises DataError for missing ids, for a pair given twice, and if nothing is left.
    """
    files, notes = " and ".join(map(str, parts)), [] if notes is None else notes
    told = []
    if not any(map(len, parts.values())):
        raise DataError(f"{files}: no pairs in it")
    ids = (_joined([part[column] for part in parts.values()]) for column in ("user", "item"))
    try:
        (users, user_ids), (items, item_ids) = clean(*ids, told)
    except TypeError as error:  # from a list or a dict in the place of an id
        raise DataError(f"{files} cannot be read: an id is no text or number ({error})") from None
    notes += [f"{files}: {line}" for line in told]
    if (missing := (users < 0) | (items < 0)).any():
        raise DataError(f"{_place(parts, missing.argmax())}: user or item is missing (empty, or NA among numbers; "
                        f"{missing.sum()} such in all): fill it in or drop it")
    if size:
        users, items = user_ids[users], item_ids[items]
        user_ids, item_ids = np.arange(size[0]), np.arange(size[1])
    which, times = None, None
    if given is not None:
        which = np.repeat(np.array(given, dtype=np.int8), [len(part) for part in parts.values()])
    if all("time" in part for part in parts.values()):
        times = pd.concat([part["time"] for part in parts.values()]).to_numpy()

    keys = users * len(item_ids) + items
    kept = ~_repeats(keys, repeats, which, times)
    if (twice := pd.Series(keys[kept]).duplicated().to_numpy()).any():
        first = np.flatnonzero(kept)[twice.argmax()]
        before = f" in {_place(parts, (keys == keys[first]).argmax())}" if given else ""
        raise DataError(f"{_place(parts, first)}: user {user_ids[users[first]]} and item {item_ids[items[first]]} are "
                        f"given before{before} ({twice.sum()} repeats in all): drop them, for example by "
                        'repeats="drop"')
    if not kept.all():
        notes.append(f"{files}: {(~kept).sum()} repeats of a pair are left out, {kept.sum()} pairs remain")

    kept &= np.bincount(users[kept], minlength=len(user_ids))[users] >= min_items
    if not kept.any():
        raise DataError(f"{files}: no user with {min_items} items or more")
    users, items, which, times = (None if column is None else column[kept] for column in (users, items, which, times))
    if min_items > 1:
        kept_users, users = np.unique(users, return_inverse=True)
        kept_items, items = np.unique(items, return_inverse=True)
        user_ids, item_ids = user_ids[kept_users], item_ids[kept_items]
    times, which = (None if column is None else torch.from_numpy(column) for column in (times, which))
    return Interactions(len(user_ids), len(item_ids), torch.from_numpy(users), torch.from_numpy(items), name,
                        valid_users, user_ids, item_ids, times, which)


def _joined(columns: list[pd.Series]) -> pd.Series:
    """One column of several; of different types as they are, since whole numbers would suffer as floats."""
    if len({str(column.dtype) for column in columns}) > 1:
        columns = [column.astype(object) for column in columns]
    return pd.concat(columns, ignore_index=True)


def _repeats(keys: np.ndarray, repeats: str, which: np.ndarray | None, times: np.ndarray | None) -> np.ndarray:
    """Which of the pairs to leave out, since there is an equal one before them: bool [n]."""
    again = np.zeros(len(keys), dtype=bool)
    if repeats == "within" and which is not None:
        keys = keys * len(PARTS) + which
    if repeats != "error" and pd.Series(keys).duplicated().any():
        order = np.lexsort([column for column in (times, which, keys) if column is not None])
        again[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    return again


def _place(parts: dict[str, pd.DataFrame], pair: int) -> str:
    """File and line of a pair, counted over all parts."""
    for path, part in parts.items():
        if pair < len(part):
            return f"{path}, {part.index.name} {part.index[pair]}"
        pair -= len(part)

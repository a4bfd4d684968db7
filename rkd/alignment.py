"""Rows that go by their owner's ids, put into the order of a split by value."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .data import Split
from .datasets.ids import as_known


def known_ids(split: Split, side: str) -> np.ndarray:
    """The ids of a split's "user" or "item" rows; their numbers where the data came without."""
    ids, n = (split.train.user_ids, split.n_users) if side == "user" else (split.train.item_ids, split.n_items)
    return np.arange(n) if ids is None else ids


def rows_for(split: Split, side: str, ids) -> Tensor:
    """For each of the split's users or items the row that has its id, [n] int64; −1 where there is none and there are
    no training pairs either, as for items that are held out from all who have them.

    ids : the id of every row. Ids that the split has not are left out. Raises ValueError where one with training pairs
    is not there, or one is there twice.
    """
    known = known_ids(split, side)
    if ids is known or np.array_equal(ids, known):
        return torch.arange(len(known))
    given, wanted = as_known(ids, known), [*map(str, known.tolist())]
    rows = {name: row for row, name in enumerate(given) if name}
    if len(rows) < len(given):
        repeats = Counter(given)
        if twice := [name for name in wanted if repeats[name] > 1]:
            raise ValueError(f"{len(twice)} {side} ids are given twice: {listed(twice)}")
    found = np.array([rows.get(name, -1) for name in wanted], dtype=np.int64)
    trained = torch.bincount(getattr(split.train, f"{side}s"), minlength=len(known)).cpu().numpy() > 0
    if len(absent := known[(found < 0) & trained]):
        unnamed = "" if getattr(split.train, f"{side}_ids") is not None else "; this split has no ids but row numbers"
        raise ValueError(f"{len(absent)} of the split's {len(known)} {side}s are not among the {len(given)} {side} ids "
                         f"given: {listed(absent.tolist())}{unnamed}")
    return torch.from_numpy(found)


def listed(ids: list, n: int = 5) -> str:
    """The first few of many ids, in words."""
    return ", ".join(map(str, ids[:n])) + (", …" if len(ids) > n else "")


def in_rows(ids, n_rows: int, side: str):
    """Ids as somebody keeps them, as one for every row: a list or array, a table's index, a vocabulary with ids(), or a
    dict id → row, of which rows beyond the last are left out. None where there are none."""
    if isinstance(ids, Mapping):
        rows = np.full(n_rows, None, dtype=object)
        for name, row in ids.items():
            if 0 <= row < n_rows:
                rows[row] = name
        return rows
    ids = ids.ids() if callable(getattr(ids, "ids", None)) else ids
    if ids is not None and (np.ndim(ids) != 1 or len(ids) != n_rows):
        raise ValueError(f"{side}_ids must be a flat list of {n_rows} ids, one for each row of the {side} factors, not "
                         f"{f'{len(ids)} of them' if np.ndim(ids) == 1 else type(ids).__name__}")
    return ids

"""Ids as they stand in files and tables → numbers 0…n - 1 and the sorted originals: one way for text and numbers."""

import re
from decimal import Decimal
from itertools import compress

import numpy as np
import pandas as pd

WHOLE = re.compile(r"(0|-?[1-9][0-9]*)(?:\.0+)?")
ABSENT = {"nan", "na", "n/a", "null", "none", "\\n"}  # in a column of numbers; elsewhere they are names
SPOILT = re.compile(r"\d(\.\d+)?[eE]\+\d+")


def clean(users: pd.Series, items: pd.Series, notes: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For users and for items (numbers, originals): int64 [n_pairs], -1 where the id is missing, and the sorted ids.

    If all of a column's ids are whole numbers within 64 bits, its originals are int64, and "7.0" is 7; else they are
    strings as they stand ("007"). A column that has one number both as "1" and as "1.0" is text where the other
    column's ids are text too: versions, say; beside numbers it is numbers of which some went through floats.
    """
    columns = {"user": _Column(users, "user", notes), "item": _Column(items, "item", notes)}
    for column, other in (("user", "item"), ("item", "user")):
        if columns[column].written_twice and not columns[other].numeric:
            columns[column].numeric = False
            notes.append(f"the {column} ids have the same number with and without '.0' "
                         f"({columns[column].written_twice!r}): they count as different ids")
    return [column.numbered() for column in columns.values()]


class _Column:
    """One column's ids: ``codes`` [n_pairs] into ``names``, -1 where missing; ``numeric`` if all are whole numbers
    within 64 bits, ``numbers``; ``written_twice``: an id that stands there both as "1" and as "1.0"."""

    def __init__(self, ids: pd.Series, role: str, notes: list[str]):
        self.codes, unique = _factorized(ids)
        names = [_text(value) for value in unique]
        stripped = [name.strip() for name in names]
        whole = [WHOLE.fullmatch(name) for name in stripped]
        if any(whole) and all(match or name.lower() in ABSENT for match, name in zip(whole, stripped)):
            present = np.array(list(map(bool, whole)))
            place = np.append(np.where(present, np.cumsum(present) - 1, -1), -1)
            self.codes = place[self.codes]  # code -1 takes the last, -1
            names, stripped, whole = (list(compress(values, present)) for values in (names, stripped, whole))
        self.names, self.numbers, self.written_twice = names, [], ""
        self.numeric = all(whole) and all(-2**63 <= int(match[1]) < 2**63 for match in whole)
        if self.numeric:
            self.numbers, written = [int(match[1]) for match in whole], {}
            self.written_twice = next((name for number, name in zip(self.numbers, stripped)
                                       if written.setdefault(number, name) != name), "")
        if any(isinstance(value, (float, np.floating)) and 2**53 < abs(value) < np.inf for value in unique):
            notes.append(f"the {role} ids are floats beyond 2^53: their last digits may have been lost before")
        if spoilt := next(filter(SPOILT.fullmatch, names), None):
            notes.append(f"the {role} id {spoilt!r} looks like a number that a spreadsheet has rounded: different ids "
                         "may have become one")

    def numbered(self) -> tuple[np.ndarray, np.ndarray]:
        values = np.array(self.numbers, dtype=np.int64) if self.numeric else np.array(self.names, dtype=object)
        originals, place = np.unique(values, return_inverse=True)
        return np.append(place, -1)[self.codes], originals


def as_known(ids, known: np.ndarray) -> list[str]:
    """Any ids, a list or array of them, as text that equals that of the same id in ``known``, ids as ``clean`` leaves
    them: 7, 7.0 and "7" are one number, and of text ids "7.0" is none. "" where an id is missing."""
    codes, unique = _factorized(pd.Series(np.asarray(ids) if isinstance(ids, np.ndarray) else list(ids)))
    names = [_text(value) for value in unique]
    numeric = known.dtype.kind == "i"
    for place, (name, value) in enumerate(zip(names, unique)):
        if (numeric or not isinstance(value, str)) and (match := WHOLE.fullmatch(name.strip())):
            names[place] = match[1]
    return [*map([*names, ""].__getitem__, codes)]


def _factorized(ids: pd.Series) -> tuple[np.ndarray, list]:
    """(codes, -1 where missing, and the different ids that they stand for)."""
    if isinstance(ids.dtype, pd.CategoricalDtype):
        ids = ids.cat.remove_unused_categories()
        codes, unique = ids.cat.codes.to_numpy(np.int64), ids.cat.categories
    else:
        codes, unique = pd.factorize(ids)
    return codes, list(unique) if unique.dtype == np.float32 else unique.tolist()


def _text(value) -> str:
    """An id as a text file would have it, without exponent if it is a whole number."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (float, np.floating)) and 1e6 <= abs(value) < np.inf and value == int(value):
        return str(int(value))
    return str(value)

"""Ids as they stand in files and tables → numbers 0…n - 1 and the sorted originals: one way for text and numbers."""

import re
from decimal import Decimal

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
    def __init__(self, ids: pd.Series, role: str, notes: list[str]):
        if isinstance(ids.dtype, pd.CategoricalDtype):
            ids = ids.cat.remove_unused_categories()
            codes, unique = ids.cat.codes.to_numpy(np.int64), ids.cat.categories
        else:
            codes, unique = pd.factorize(ids)
        if getattr(unique.dtype, "kind", "O") == "f" and len(unique) and np.abs(unique.astype(float)).max() > 2 ** 53:
            notes.append(f"the {role} ids are floats beyond 2^53: their last digits may have been lost before")
        self.names = [_text(value) for value in unique.tolist()] if unique.dtype != np.float32 else [
            _text(value) if float(value).is_integer() else str(value) for value in unique]
        stripped = [name.strip() for name in self.names]
        matches = [WHOLE.fullmatch(name) for name in stripped]
        if all(match or name.lower() in ABSENT for match, name in zip(matches, stripped)) and any(matches):
            present = np.array([match is not None for match in matches])
            codes = np.where(codes >= 0, np.where(present, np.cumsum(present) - 1, -1)[codes], -1)
            self.names, matches = ([x for x, here in zip(values, present) if here] for values in (self.names, matches))
        self.codes = codes
        self.numbers = [int(match[1]) for match in matches if match]
        self.numeric = len(self.numbers) == len(self.names) and all(-2**63 <= n < 2**63 for n in self.numbers)
        self.written_twice = ""
        if self.numeric and len(set(self.numbers)) < len({name.strip() for name in self.names}):
            seen = {}
            for number, name in zip(self.numbers, self.names):
                if seen.setdefault(number, name.strip()) != name.strip():
                    self.written_twice = name.strip()
                    break
        if spoilt := next((name for name in self.names if SPOILT.fullmatch(name)), None):
            notes.append(f"the {role} id {spoilt!r} looks like a number that a spreadsheet has rounded: different ids "
                         "may have become one")

    def numbered(self) -> tuple[np.ndarray, np.ndarray]:
        values = np.array(self.numbers, dtype=np.int64) if self.numeric else np.array(self.names, dtype=object)
        originals, place = np.unique(values, return_inverse=True)
        return np.append(place, -1)[self.codes], originals  # code -1 takes the last, -1


def _text(value) -> str:
    """An id as text, a whole number without decimals however it is stored."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (float, Decimal)) and value == value and abs(value) != float("inf") and value == int(value):
        return str(int(value))
    return str(value)

"""Which of the pairs that were read count: by their ratings, labels or counts, and never without a word."""

from dataclasses import dataclass

import pandas as pd

from .errors import DataError
from .ids import ABSENT


@dataclass
class Pairs:
    """What was read of one table: the columns "user", "item" and, where there are any, "rating" and "time".

    Its index says where each pair stood: index.name is "line" or "row", counted from 1. ``rating``, ``time``: these
    columns' names in the user's terms; ``others``: further columns of ratings.
    """

    frame: pd.DataFrame
    rating: str = ""
    others: tuple[str, ...] = ()
    time: str = ""


def positives(parts: dict[str, Pairs], threshold: float | None, notes: list[str]) -> dict[str, pd.DataFrame]:
    """The pairs that count: those rated ``threshold`` or more; without one all, but of labels 0 and 1 only the ones.

    Adds a line to ``notes`` where ratings were ignored, or rows left out that the caller did not ask to leave out.
    """
    everything = {label: part.frame for label, part in parts.items()}
    label, first = next(iter(parts.items()))
    if unrated := [label for label, part in parts.items() if not part.rating]:
        if len(unrated) < len(parts):
            raise DataError(f"{unrated[0]}: has no column of ratings, but other files have: say which by rating_col=")
        if threshold is not None:
            raise DataError(f"{label}: threshold={threshold:g}, but no column is known to hold ratings: name it by "
                            "rating_col=")
        return everything
    name = first.rating
    if first.others:
        notes.append(f"{label}: of several columns that may hold ratings {name!r} is taken, "
                     f"{' and '.join(map(repr, first.others))} ignored; rating_col= names another")

    numbers = {label: as_numbers(frame["rating"]) for label, frame in everything.items()}
    for where, frame in everything.items():
        words = frame["rating"][numbers[where].isna()].dropna()
        words = words[~words.astype(str).str.strip().str.lower().isin(ABSENT)]
        if len(words):
            if threshold is not None:
                raise DataError(f"{where}, {frame.index.name} {words.index[0]}: {name} {str(words.iloc[0])!r} is not a "
                                "number")
            shown = ", ".join(repr(str(word)) for word in words.unique()[:3])
            notes.append(f"{where}: column {name!r} ({shown}, …) holds other things than numbers, and is ignored: "
                         "every row is a positive")
            return everything

    ratings = pd.concat(numbers.values(), ignore_index=True)
    values, missing = sorted(ratings.dropna().unique()), int(ratings.isna().sum())
    if threshold is None:
        threshold = _unasked(label, name, ratings, values, missing, notes)
    if threshold is None:
        return everything
    if missing:
        notes.append(f"{label}: {missing} rows without {name} are left out")
    kept = {label: frame[(numbers[label] >= threshold).to_numpy()] for label, frame in everything.items()}
    if not any(map(len, kept.values())):
        span = f", which are {values[0]:g} … {values[-1]:g}" if values else ""
        raise DataError(f"{label}: no pairs with {name} {threshold:g} or more{span}")
    return kept


def _unasked(label: str, name: str, ratings: pd.Series, values: list[float], missing: int,
             notes: list[str]) -> float | None:
    """The threshold where the caller gave none: 1 for labels 0 and 1, else None; and the line that says so."""
    if not values or values == [1] and not missing:  # nothing is ignored
        return None
    low, high = values[0], values[-1]
    if low < high and set(values) == {0, 1} or high == 0:
        notes.append(f"{label}: column {name!r} holds labels 0 and 1: the {(ratings == 1).sum()} rows with 1 are kept, "
                     f"the {(ratings == 0).sum()} with 0 left out (threshold=0 keeps all)")
        return 1
    if low == high:
        notes.append(f"{label}: {name} is {low:g} in every row{f' but {missing}' if missing else ''}, and is ignored: "
                     "every row is a positive")
        return None
    example = next(value for value in values if value >= low + 0.7 * (high - low))
    notes.append(f"{label}: {name} {low:g} … {high:g} are ignored: every row is a positive; for example "
                 f"threshold={example:g} keeps the rows with {example:g} or more")
    return None


def as_numbers(ratings: pd.Series) -> pd.Series:
    """Ratings as floats, NaN for what is none; "3,5" is 3.5, True is 1."""
    if isinstance(ratings.dtype, pd.CategoricalDtype):
        ratings = ratings.astype(ratings.cat.categories.dtype)
    numbers = pd.to_numeric(ratings, errors="coerce").astype("Float64").astype("float64")
    odd = numbers.isna() & ratings.notna()
    if odd.any():
        words = ratings[odd].astype(str).str.strip().str.lower()
        words = words.str.replace(r"^(-?\d+),(\d{1,2})$", r"\1.\2", regex=True).replace({"true": "1", "false": "0"})
        numbers[odd] = pd.to_numeric(words, errors="coerce")
    return numbers

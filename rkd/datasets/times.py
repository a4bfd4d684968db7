"""When each pair came about: numbers as they stand, dates as seconds since 1970 (UTC)."""

import numpy as np
import pandas as pd

from .errors import DataError
from .ratings import Pairs


def read_times(parts: dict[str, Pairs], asked: bool, notes: list[str]) -> None:
    """Turn the column "time" of every part into numbers; where they cannot be told of every pair, leave it out of all.

    asked : whether the caller named the column: then what is no time is an error, else a line for ``notes``, which is
        all that a data set needs whose times nobody wants.
    """
    numbers = {}
    for label, part in parts.items():
        if not part.time:
            continue
        numbers[label] = as_numbers(part.frame["time"])
        if (wrong := numbers[label].isna()).any():
            line = part.frame.index[wrong][0]
            value = part.frame["time"][wrong].iloc[0]
            what = "is empty" if pd.isna(value) else f"{str(value)!r} is neither a number nor a date such as 2031-05-17"
            message = f"{label}, {part.frame.index.name} {line}: {part.time} {what} ({wrong.sum()} such in all)"
            if asked:
                raise DataError(message)
            notes.append(f"{message}: no times are known, so split(\"time\") cannot divide these data")
            break
    complete = numbers.keys() == parts.keys() and not any(values.isna().any() for values in numbers.values())
    for label, part in parts.items():
        if part.time:
            part.frame = part.frame.assign(time=numbers[label]) if complete else part.frame.drop(columns="time")


def as_numbers(values: pd.Series) -> pd.Series:
    """int64 where all are whole numbers, else float64; NaN for what is neither a number nor a date in ISO's order."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if pd.api.types.is_datetime64_any_dtype(values):
        numbers = _seconds(values)
    else:
        numbers = pd.to_numeric(values, errors="coerce")
        if (numbers.isna() & values.notna()).any():
            text = values.astype("string").str.strip()
            dates = _seconds(pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce"))
            numbers = dates if dates.notna().any() else numbers.astype("float64")
    if pd.api.types.is_signed_integer_dtype(numbers) and not numbers.isna().any():
        return numbers.astype("int64")
    numbers = numbers.astype("Float64").astype("float64").replace([np.inf, -np.inf], np.nan)
    whole = numbers.notna().all() and (numbers == numbers.round()).all() and (numbers.abs() < 2**53).all()
    return numbers.astype("int64") if whole else numbers


def _seconds(dates: pd.Series) -> pd.Series:
    if dates.dt.tz is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    return (dates - pd.Timestamp(0)) / pd.Timedelta(1, "s")

"""Tables and matrices that are in memory already → pairs: pandas, Arrow (Polars, DuckDB), SciPy, NumPy, lists."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow
from scipy import sparse

from .columns import Places, Wanted
from .errors import DataError
from .ratings import Pairs


def read_object(source, wanted: Wanted, notes: list[str]) -> Pairs:
    """The pairs of a table (pandas, Arrow, columns, records), of a sparse matrix, of two arrays or lists, of a list."""
    if isinstance(source, pd.DataFrame):
        return read_frame("the DataFrame", source, wanted, notes)
    if isinstance(source, pyarrow.RecordBatch):
        source = pyarrow.Table.from_batches([source])
    if hasattr(source, "__arrow_c_stream__"):
        try:
            table = pyarrow.RecordBatchReader.from_stream(source).read_all()
        except (pyarrow.ArrowException, TypeError, ValueError) as error:
            raise DataError(f"the {type(source).__name__} cannot be read as a table: {error}") from None
        return read_columns("the table", table.column_names, table.column, wanted, notes)
    records = isinstance(source, list) and source and all(isinstance(record, Mapping) for record in source)
    if isinstance(source, Mapping) or records or isinstance(source, np.ndarray) and source.dtype.names:
        try:
            frame = pd.DataFrame(source)
        except ValueError as error:
            raise DataError(f"the {type(source).__name__} cannot be read as a table: {error}") from None
        return read_frame(f"the {type(source).__name__}", frame, wanted, notes)
    if wanted != Wanted():
        raise ValueError("user_col, item_col, rating_col and time_col are for tables, not for a "
                         f"{type(source).__name__}")
    if sparse.issparse(source) and source.ndim == 2:
        cells = source.tocoo()
        return _rows({"user": cells.row, "item": cells.col, "rating": cells.data}, "value")
    if isinstance(source, np.ndarray):
        if source.ndim != 2 or source.shape[1] != 2:
            raise DataError(f"an array of {' × '.join(map(str, source.shape))}: pairs are n × 2; of a matrix of users "
                            "× items make scipy.sparse.csr_array(matrix) first")
        return _rows({"user": source[:, 0], "item": source[:, 1]})
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes, bytearray)):
        return _sequence(source)
    hint = ": .collect() it first" if hasattr(source, "collect") else ""
    raise TypeError("load takes a data set's name, a file's path, a table (pandas, Polars, Arrow, DuckDB), a sparse "
                    f"matrix, or (users, items), not {type(source).__name__}{hint}")


def _sequence(source: Sequence) -> Pairs:
    """(users, items), or a list of pairs."""
    pairs = all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in source)
    if isinstance(source, tuple) and len(source) == 2 or len(source) == 2 and not pairs:
        users, items = (_array(ids, role) for ids, role in zip(source, ("users", "items")))
        if len(users) != len(items):
            raise DataError(f"{len(users)} users but {len(items)} items: one of each per pair")
        return _rows({"user": users, "item": items})
    if len(source) == 2 and pairs and all(isinstance(pair, list) for pair in source):
        raise DataError("a list of two lists of two may be (users, items) or two pairs: give a tuple of two, or tuples")
    if not pairs:
        raise DataError("a list must hold pairs (user, item); or give the tuple (users, items)")
    return _rows({"user": [user for user, _ in source], "item": [item for _, item in source]})


def _array(ids, role: str) -> np.ndarray | pd.Series:
    if isinstance(ids, (str, bytes)) or not hasattr(ids, "__len__"):
        raise DataError(f"{role} must be an array or list of ids, not {type(ids).__name__}")
    if isinstance(ids, (list, tuple)):
        return pd.Series(ids, dtype=None if len(ids) else "object")
    ids = ids if isinstance(ids, (pd.Series, pd.Categorical)) else np.asarray(ids)
    if ids.ndim != 1:
        raise DataError(f"{role} must be flat, but have the shape {ids.shape}")
    return ids


def _rows(columns: dict, rating: str = "") -> Pairs:
    frame = pd.DataFrame({name: pd.Series(values).reset_index(drop=True) for name, values in columns.items()})
    frame.index = pd.RangeIndex(1, 1 + len(frame), name="row")
    return Pairs(frame, rating)


def _picked(label: str, names: list, wanted: Wanted, notes: list[str]) -> tuple[Places, dict[str, int]]:
    """The places, and those of the columns by the names under which Pairs has them."""
    unnamed = names == list(range(len(names))) and len(names) > 1
    if unnamed and len(names) > 2 and wanted.rating is None:
        notes.append(f"{label}: has no names of columns: ratings in it are ignored, unless rating_col= says which "
                     "column they are")
    places = wanted.without_names(len(names), label) if unnamed else wanted.among(names, label)
    used = {"user": places.user, "item": places.item, "rating": places.rating, "time": places.time}
    return places, {column: place for column, place in used.items() if place is not None}


def read_frame(label: str, frame: pd.DataFrame, wanted: Wanted, notes: list[str]) -> Pairs:
    names = [*frame.columns]
    if not {*filter(None, frame.index.names)} <= {*names}:  # an index with a name is a column, too
        frame = frame.reset_index()
        names = [*frame.columns]
    places, used = _picked(label, names, wanted, notes)
    pairs = _rows({column: frame.iloc[:, place] for column, place in used.items()})
    return _with_names(pairs, names, places)


def read_columns(label: str, names: list[str], column_at: Callable[[int], pyarrow.ChunkedArray], wanted: Wanted,
                 notes: list[str]) -> Pairs:
    """The pairs of Arrow's columns; ``column_at`` gives or reads the one at a place."""
    places, used = _picked(label, names, wanted, notes)
    pairs = {}
    for column, place in used.items():
        values = column_at(place)
        if pyarrow.types.is_nested(values.type):
            if column == "time" and wanted.time is None:
                continue
            raise DataError(f"{label} cannot be read: its column {names[place]!r} holds {values.type}, not ids")
        if pyarrow.types.is_binary(values.type) or pyarrow.types.is_large_binary(values.type):
            values = values.cast("string")
        if pyarrow.types.is_dictionary(values.type):  # pandas' categories: Arrow decodes not all kinds of text
            chunks = [_categories(chunk) for chunk in values.chunks] or [pd.Series(dtype="object")]
            pairs[column] = pd.concat(chunks, ignore_index=True)
            continue
        if pyarrow.types.is_integer(values.type) and values.null_count:
            values = values.cast("string")
        pairs[column] = values.to_pandas()
    return _with_names(_rows(pairs), names, places)


def _categories(chunk: pyarrow.DictionaryArray) -> pd.Series:
    """The values as they are, NaN or None for null: categories of chunks may differ."""
    unique = chunk.dictionary.to_pandas()
    codes = chunk.indices.cast("int64").fill_null(-1).to_numpy()
    return unique.reindex(codes)


def _with_names(pairs: Pairs, names: list, places: Places) -> Pairs:
    pairs.rating = "" if places.rating is None else str(names[places.rating])
    pairs.others = tuple(str(names[place]) for place in places.others)
    pairs.time = "" if "time" not in pairs.frame else str(names[places.time])
    return pairs

"""One file → its pairs as they stand there: a frame with the columns "user" and "item".

Its index says where in the file each pair stood: index.name is "line" or "row", counted from 1. Every reader raises
DataError, which names the file and, where there is one, the line.
"""

import csv
import gzip
import json
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

USER_COLUMNS = ("user", "user_id", "userid")
ITEM_COLUMNS = ("item", "item_id", "itemid", "movie_id", "movieid")
SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t"}


class DataError(Exception):
    """A data set that cannot be found, fetched or read, or is not what its publisher describes."""


def read_table(path: Path, separator: str, columns: tuple[int, int] | None = None) -> pd.DataFrame:
    """Text with one pair a line, as strings; further columns are ignored.

    ``columns`` are the places of user and item in a file without header. Without it they are found by their names in
    line 1, or are the first two if line 1 is no header.
    """
    with _explained(path):
        with _open(path) as text:
            head = list(islice(csv.reader(text, delimiter=separator), 2))
        if not head:
            raise DataError(f"{path} is empty")
        if "\0" in "".join(head[0]):
            raise DataError(f"{path} holds no text")
        places, has_header = (columns, False) if columns else _columns(path, head)
        width = len(head[0])
        if max(places) >= width:
            raise DataError(f"{path}, line 1: expected {max(places) + 1} fields or more with {separator!r} between "
                            f"them, found {width}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # raised for a first row with too many fields
            frame = pd.read_csv(path, sep=separator, header=None, names=range(width), index_col=False, dtype=str,
                                skiprows=int(has_header), skip_blank_lines=False, encoding="utf-8-sig")
        frame.index = pd.RangeIndex(1 + has_header, 1 + has_header + len(frame), name="line")
        if frame[[*places, width - 1]].isna().to_numpy().any():
            frame = frame[~frame.index.isin(_blank_lines(path, separator, width))]
    return frame[list(places)].set_axis(["user", "item"], axis=1)


def read_ratings(path: Path, separator: str, columns: tuple[int, int]) -> pd.DataFrame:
    """MovieLens's files: as ``read_table``, and the ids must be whole numbers. Every rating is a pair."""
    pairs = read_table(path, separator, columns)
    for column, ids in pairs.items():
        wrong = ~ids.str.fullmatch("[0-9]+", na=False).to_numpy(dtype=bool)
        if wrong.any():
            line = pairs.index[wrong][0]
            raise DataError(f"{path}, line {line}: {column} {ids[line]!r} is not a whole number")
    return pairs


def read_lists(path: Path, counted: bool) -> pd.DataFrame:
    """One user's items a line: "user item item …"; or if ``counted`` "count item item …", where line u is user u - 1.

    The count tells a whole line from a truncated one.
    """
    firsts, items, lengths = [], [], []
    with _explained(path), _open(path) as text:
        for line, fields in enumerate(map(str.split, text), 1):
            try:
                first, *rest = map(int, fields)
            except ValueError:
                raise DataError(f"{path}, line {line}: expected whole numbers with spaces between them") from None
            if counted and first != len(rest):
                raise DataError(f"{path}, line {line}: says {first} items but holds {len(rest)}: a damaged file")
            firsts.append(first)
            lengths.append(len(rest))
            items += rest
    lines = np.repeat(np.arange(1, len(firsts) + 1), np.array(lengths, dtype=int))
    users = lines - 1 if counted else np.array(firsts)[lines - 1]
    return pd.DataFrame({"user": users, "item": items}, index=pd.Index(lines, name="line"))


def read_reviews(path: Path) -> pd.DataFrame:
    """Amazon's reviews: one JSON object a line, with the fields reviewerID and asin."""
    pairs = []
    with _explained(path), _open(path) as text:
        for line, review in enumerate(map(str.strip, text), 1):
            try:
                review = json.loads(review)
                pairs.append((review["reviewerID"], review["asin"]))
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{path}, line {line}: expected a JSON object with reviewerID and asin") from None
    return pd.DataFrame(pairs, columns=["user", "item"], index=pd.RangeIndex(1, 1 + len(pairs), name="line"))


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file with columns for user and item; further columns are ignored."""
    with _explained(path):
        names = pyarrow.parquet.read_schema(path).names
        places, found = _columns(path, [names])
        if not found:
            raise DataError(f"{path} has no columns 'user' and 'item', but {', '.join(names) or 'none'}: rename them")
        user, item = (names[place] for place in places)
        table = pyarrow.parquet.read_table(path, columns=[user, item], partitioning=None)
        frame = pyarrow.table({"user": table[user].cast("string"), "item": table[item].cast("string")}).to_pandas()
    frame.index = pd.RangeIndex(1, 1 + len(frame), name="row")
    return frame


def read_file(path: Path) -> pd.DataFrame:
    """A file of your own, by its name's ending: .csv, .tsv or RecBole's .inter, each also with .gz; or .parquet."""
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder: name the file in it")
    if path.suffix.lower() == ".parquet":
        return read_parquet(path)
    ending = (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
    if ending not in SEPARATORS:
        raise DataError(f"{path}: cannot tell its format; save it as .csv, .tsv (either may be .gz) or .parquet")
    return read_table(path, SEPARATORS[ending])


def _open(path: Path, errors: str = "strict"):
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", errors=errors, newline="")


def _columns(path: Path, head: list[list[str]]) -> tuple[tuple[int, int], bool]:
    """The places of user and item, and whether line 1 named them. ``head`` holds the fields of lines 1 and 2."""
    names = [field.strip().lower().split(":")[0] for field in head[0]]
    user, item = (next((names.index(name) for name in known if name in names), None)
                  for known in (USER_COLUMNS, ITEM_COLUMNS))
    if user is not None and item is not None:
        return (user, item), True
    second = head[1] if len(head) > 1 else []
    word_above_number = any(not any(map(str.isdigit, top)) and below.replace(".", "", 1).isdigit()
                            for top, below in zip(head[0], second))
    if user is not None or item is not None or word_above_number:
        raise DataError(f"{path}, line 1: a header needs columns 'user' and 'item', but names {', '.join(head[0])}: "
                        "rename them (a file without header has user and item first)")
    return (0, 1), False


def _blank_lines(path: Path, separator: str, width: int) -> list[int]:
    """The numbers of a table's blank lines; raises DataError at a line with fewer fields than ``width``."""
    blank = []
    with _open(path) as text:
        for line, fields in enumerate(csv.reader(text, delimiter=separator), 1):
            if not fields:
                blank.append(line)
            elif len(fields) < width:
                raise DataError(f"{path}, line {line}: expected {width} fields, found {len(fields)}")
    return blank


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever reading a file raises into a DataError that names the file."""
    try:
        yield
    except UnicodeDecodeError:
        raise DataError(f"{path}{_undecodable_line(path)}: not UTF-8 text; save the file as UTF-8") from None
    except EOFError:
        raise DataError(f"{path} is truncated: its compressed data end too early") from None
    except pd.errors.ParserWarning:
        raise DataError(f"{path}: its first row has more fields than line 1") from None
    except (OSError, ValueError, pyarrow.ArrowNotImplementedError, csv.Error, zlib.error) as error:
        reason = " ".join(str(error).removeprefix("Error tokenizing data. C error: ").split())
        raise DataError(f"{path} cannot be read: {reason}") from error


def _undecodable_line(path: Path) -> str:
    with suppress(OSError, EOFError, zlib.error), _open(path, errors="replace") as text:
        for line, content in enumerate(text, 1):
            if "\ufffd" in content:
                return f", line {line}"
    return ""

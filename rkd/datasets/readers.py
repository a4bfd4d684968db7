"""One file → its Pairs as they stand there.

Every reader raises DataError, which names the file and, where there is one, the line.
"""

import bz2
import csv
import gzip
import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from .columns import Wanted
from .errors import DataError
from .objects import read_columns
from .ratings import Pairs
from .tables import SEPARATORS, Text, read_text

UNPACK = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}


def read_table(path: Path, separator: str, columns: tuple[int, ...] | None = None) -> Pairs:
    """A publisher's text with one pair a line, as strings; further columns, ratings too, are ignored.

    ``columns`` are the places of user, item and, where there is one, time in a file without header. Without it they are
    found by their names in line 1, or are the first two if line 1 is no header.
    """
    wanted = Wanted(*columns[:2], time=columns[2] if len(columns) > 2 else None) if columns else Wanted()
    with _explained(path):
        pairs = read_text(Text(str(path), _unpacked(path)[1], None, separator), wanted, False if columns else None, [])
    return Pairs(pairs.frame.drop(columns="rating", errors="ignore"), time=pairs.time)


def read_ratings(path: Path, separator: str, columns: tuple[int, ...]) -> Pairs:
    """MovieLens's files: as ``read_table``, and the ids must be whole numbers. Every rating is a pair."""
    pairs = read_table(path, separator, columns)
    for column in ("user", "item"):
        ids = pairs.frame[column]
        wrong = ~ids.str.fullmatch("[0-9]+", na=False).to_numpy(dtype=bool)
        if wrong.any():
            line = ids.index[wrong][0]
            raise DataError(f"{path}, line {line}: {column} {ids[line]!r} is not a whole number")
    return pairs


def read_titles(path: Path, separator: str, encoding: str = "utf-8") -> dict[int, str]:
    """A publisher's list of items, a line each, first its id and then its title: id → title. Lines that do not begin
    with a whole number, as a header, are left out."""
    with _explained(path):
        rows = [line.split(separator) for line in _unpacked(path)[1].decode(encoding).splitlines()]
    return {int(item): title.strip() for item, title, *_ in (row for row in rows if len(row) > 1)
            if item.isdecimal()}


def read_lists(path: Path, counted: bool, lines: Iterable[str] | None = None) -> Pairs:
    """One user's items a line: "user item item …"; or if ``counted`` "count item item …", where line u is user u - 1.

    The count tells a whole line from a truncated one.
    """
    firsts, items, lengths = [], [], []
    with _explained(path), nullcontext(lines) if lines is not None else _open(path) as text:
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
    return Pairs(pd.DataFrame({"user": users, "item": items}, index=pd.Index(lines, name="line")))


def read_reviews(path: Path) -> Pairs:
    """Amazon's reviews: one JSON object a line, with the fields reviewerID and asin, and maybe unixReviewTime."""
    pairs = []
    with _explained(path), _open(path) as text:
        for line, review in enumerate(map(str.strip, text), 1):
            try:
                review = json.loads(review)
                pairs.append((review["reviewerID"], review["asin"], review.get("unixReviewTime")))
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{path}, line {line}: expected a JSON object with reviewerID and asin") from None
    index = pd.RangeIndex(1, 1 + len(pairs), name="line")
    return Pairs(pd.DataFrame(pairs, columns=["user", "item", "time"], index=index), time="unixReviewTime")


def read_file(path: Path, wanted: Wanted, sep: str | None, header: bool | None, notes: list[str]) -> dict[str, Pairs]:
    """A file of your own, by its name's ending, or a folder of Parquet parts: {what to call it: its pairs}.

    .parquet; .csv, .tsv, RecBole's .inter, .txt, .dat or .data, each also packed (.gz, .bz2, .xz, or .zip, of whose
    files one is named as archive.zip/name if there are more).
    """
    if path.is_dir():
        with _explained(path):
            parts = _parts(path)
        if not parts:
            raise DataError(f"{path} is a folder: name the file in it")
        with _explained(path):
            if len({tuple(pyarrow.parquet.read_schema(part).names) for part in parts}) > 1:
                raise DataError(f"{path}: its Parquet files have different columns: name one of them")
        return {label: pairs for part in parts for label, pairs in read_file(part, wanted, sep, header, notes).items()}
    label = str(path)
    with _explained(path):
        path, data = (path, None) if path.suffix.lower() in (".parquet", ".pq") else _unpacked(path)
        ending = path.suffix.lower()
        if ending in (".parquet", ".pq"):
            if sep is not None or header is not None:
                raise DataError(f"{label}: sep= and header= are for text, and this is Parquet")
            file = pyarrow.parquet.ParquetFile(path if data is None else BytesIO(data))
            names = file.schema_arrow.names
            return {label: read_columns(label, names, lambda place: file.read([names[place]]).column(0), wanted, notes)}
        if ending not in SEPARATORS and sep is None:
            raise DataError(f"{label}: cannot tell its format; save it as .csv, .tsv, .txt (each may be .gz, .bz2, .xz "
                            "or .zip) or .parquet, or name what separates its fields by sep=")
        untold = sep is None and header is None and wanted == Wanted()
        if ending == ".txt" and untold and _are_lists(data, label, notes):
            return {label: read_lists(Path(label), counted=False, lines=data.decode("utf-8-sig").splitlines())}
        return {label: read_text(Text(label, data, SEPARATORS.get(ending), sep), wanted, header, notes)}


def _parts(folder: Path) -> list[Path]:
    """The Parquet files in a folder and in its folders of the form "name=value", as Spark and others write them."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and "=" in path.name:
            found += _parts(path)
        elif path.suffix.lower() == ".parquet" and path.name[0] not in "._" and path.is_file():
            found.append(path)
    return found


def _are_lists(data: bytes, label: str, notes: list[str]) -> bool:
    """Whether a text is LightGCN's: each line a user's number and the numbers of the items that it has."""
    users, widths = set(), set()
    for line in BytesIO(data):
        fields = line.split()
        if not all(map(bytes.isdigit, fields)) or b"\t" in line or not fields or fields[0] in users:
            return False
        users.add(fields[0])
        widths.add(len(fields))
    if widths in (set(), {1}, {2}):
        return False
    if len(widths) == 1 and len(users) > 1:
        notes.append(f"{label}: read as lists, a user and its items a line; if it is a table, sep=' ' says so")
    return True


def _unpacked(path: Path) -> tuple[Path, bytes]:
    """(path without the endings of packing, content) of a file, packed or not."""
    archive = next((parent for parent in (path, *path.parents) if parent.suffix.lower() == ".zip"
                    and os.path.isfile(parent)), None)
    if archive:
        with zipfile.ZipFile(archive) as packed:
            names = [name for name in packed.namelist() if not name.endswith("/") and "__MACOSX" not in name]
            if archive != path:
                name = path.relative_to(archive).as_posix()
                if name not in names:
                    raise DataError(f"{archive} has no {name!r}, but {', '.join(names[:9])}")
            elif len(names) != 1:
                raise DataError(f"{archive} holds {len(names)} files ({', '.join(names[:9])}): name one of them as "
                                f"{archive}/{names[0] if names else 'NAME'}")
            else:
                (name,) = names
            data = packed.read(name)
        path = Path(name) if Path(name).suffix else archive.with_suffix("")
    else:
        with open(path, "rb") as file:
            data = file.read()
    if unpack := UNPACK.get(path.suffix.lower()):
        return path.with_suffix(""), unpack(data)
    return path, data


def _open(path: Path, errors: str = "strict"):
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", errors=errors, newline="")


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
    except (OSError, ValueError, RuntimeError, pyarrow.ArrowException, csv.Error, zlib.error, lzma.LZMAError,
            zipfile.BadZipFile) as error:
        reason = " ".join(str(error).removeprefix("Error tokenizing data. C error: ").split())
        raise DataError(f"{path} cannot be read: {reason}") from error


def _undecodable_line(path: Path) -> str:
    with suppress(OSError, EOFError, zlib.error), _open(path, errors="replace") as text:
        for line, content in enumerate(text, 1):
            if "\ufffd" in content:
                return f", line {line}"
    return ""

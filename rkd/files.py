"""Where the cache is, and files that are there whole or not at all."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def cache_folder() -> Path:
    """$RKD_CACHE, by default ~/.cache/rkd: data sets in its folder data, runs in runs; it need not exist."""
    return Path(os.environ.get("RKD_CACHE") or "~/.cache/rkd").expanduser()


def write_whole(path: Path, writer: Callable[[Path], None]) -> None:
    """Write a file whole or not at all, whatever else writes it or kills this process; writer fills the path it is
    given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".writing-*"):  # by a process that was killed
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > 3600:
                left.unlink()
    scratch = path.with_name(f".writing-{uuid4().hex}")
    try:
        writer(scratch)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)

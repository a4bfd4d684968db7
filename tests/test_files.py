"""Files that are written whole or not at all, and where the cache is."""

import os
import time
from pathlib import Path

import pytest

from rkd.files import cache_folder, write_whole


def test_where_the_cache_is(monkeypatch, tmp_path):
    """It need not exist; set to nothing, RKD_CACHE is as if it were not set."""
    monkeypatch.setenv("RKD_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere" and not cache_folder().exists()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for unset in (lambda: monkeypatch.setenv("RKD_CACHE", ""), lambda: monkeypatch.delenv("RKD_CACHE")):
        unset()
        assert cache_folder() == Path(tmp_path, ".cache", "rkd")
    monkeypatch.setenv("RKD_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"


def contents(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_file_is_there_only_when_it_is_whole(tmp_path):
    """While it is written, and after a writer that fails half-way, the old one stands; nothing is left over."""
    path, seen = tmp_path / "file", []

    def writer(text, error=None):
        def write(scratch):
            scratch.write_text(text)
            seen.append((scratch.stat().st_ino, path.read_text() if path.exists() else None))
            if error:
                raise error
        return write

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, writer("ha", OSError("disk full")))
    assert contents(tmp_path) == {}
    write_whole(path, writer("first"))
    write_whole(path, writer("second"))
    assert path.stat().st_ino == seen[-1][0]  # moved in one step, not copied
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, writer("th", KeyboardInterrupt()))
    assert contents(tmp_path) == {"file": "second"}
    assert [before for _, before in seen] == [None, None, "first", "second"]


def test_two_writers_do_not_meet(tmp_path):
    """The second writes from within the first; the one to finish last stays."""
    path = tmp_path / "file"

    def outer(scratch):
        scratch.write_text("outer")
        write_whole(path, lambda other: other.write_text("inner"))
        assert scratch.read_text() == "outer" and path.read_text() == "inner"

    write_whole(path, outer)
    assert contents(tmp_path) == {"file": "outer"}


def test_what_a_killed_writer_left_is_swept_up_after_an_hour(tmp_path):
    for name, hours in ((".writing-old", 1.1), (".writing-young", 0.9), ("other", 100)):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, times=(time.time() - 3600 * hours,) * 2)
    write_whole(tmp_path / "file", lambda scratch: scratch.write_text("file"))
    assert sorted(contents(tmp_path)) == [".writing-young", "file", "other"]


def test_folders_are_made_on_the_way(tmp_path):
    write_whole(tmp_path / "a" / "b" / "file", lambda scratch: scratch.write_text("file"))
    assert contents(tmp_path / "a" / "b") == {"file": "file"}

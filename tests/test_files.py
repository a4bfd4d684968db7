"""Files that are written whole or not at all, and where the cache is."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rkd.files import HOST, cache_folder, locked, make_writable, write_whole


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


def test_what_killed_writers_left_is_swept_up_in_time(tmp_path):
    """After an hour; that of a process that lives stays, that of another machine, whose clock may differ, for a day."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    kept = [(HOST, ended.pid, 0.9), (HOST, os.getpid(), 23), ("other", ended.pid, 23), ("other", ended.pid, -2)]
    swept = [(HOST, ended.pid, 1.1), (HOST, os.getpid(), 25), ("other", ended.pid, 25), ("", "", 25)]
    for i, (host, pid, hours) in enumerate(kept + swept):
        path = tmp_path / f".writing-{host}-{pid}-{i}"
        path.write_text("")
        os.utime(path, times=(time.time() - 3600 * hours,) * 2)
    (tmp_path / "other").write_text("other")
    os.utime(tmp_path / "other", times=(0, 0))
    write_whole(tmp_path / "file", lambda scratch: scratch.write_text("file"))
    left = contents(tmp_path)
    assert {int(name.rpartition("-")[2]) for name in left if name.startswith(".")} == set(range(len(kept)))
    assert left["file"] == "file" and "other" in left


@pytest.mark.skipif(os.name != "posix", reason="there are no modes here")
@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_says_who_may_read(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "file", lambda scratch: scratch.write_text("file"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_no_home_is_said_in_words(monkeypatch):
    """An account without a name or a home, as in a container."""
    pwd = pytest.importorskip("pwd")

    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("RKD_CACHE")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(OSError, match="there is no home folder.*: name a folder in RKD_CACHE"):
        cache_folder()


def test_a_folder_that_takes_nothing_is_said_in_words(tmp_path, monkeypatch):
    make_writable(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir() and contents(tmp_path / "a" / "b") == {}
    (tmp_path / "file").write_text("file")
    for folder in (tmp_path / "file", tmp_path / "file" / "b"):
        with pytest.raises(OSError, match=f"nothing can be written into {folder}; .* another folder .*RKD_CACHE"):
            make_writable(folder)

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rkd.files.TemporaryFile", full)
    with pytest.raises(OSError, match="No space left on device: nothing can be written.*make room"):
        make_writable(tmp_path)


def test_a_lock_is_held_once_and_one_that_cannot_be_opened_stops_nobody(tmp_path, monkeypatch):
    script = ("import sys, pathlib\nfrom rkd.files import locked\nwith locked(pathlib.Path(sys.argv[1])):\n"
              "    print('held', flush=True)")
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "lock"], stdout=subprocess.PIPE)
    with locked(tmp_path / "lock"):
        time.sleep(0.3)
        assert process.poll() is None
    assert process.communicate()[0] == b"held\n"

    def another_users(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self.lock_file))

    monkeypatch.setattr("rkd.files.FileLock.acquire", another_users)
    with locked(tmp_path / "lock"):
        pass


def test_folders_are_made_on_the_way(tmp_path):
    write_whole(tmp_path / "a" / "b" / "file", lambda scratch: scratch.write_text("file"))
    assert contents(tmp_path / "a" / "b") == {"file": "file"}

"""Processes in which students' code runs, with limits on processor time, memory, output and files.

It guards against mistakes and mischief: loops without end, too much memory, floods of output, crashes, what is left
running, files changed. It is not a sandbox: the code runs with your rights, and could read or delete your files. Grade
what you do not trust in a container.
"""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from . import answers

PACKAGE = Path(__file__).parents[1]
PATIENCE = 4  # what only waits may do so for this many times its processor time
PROCESSES = 64  # of a submission at once
MOST_ANSWERED = 8 << 20  # bytes, to one question
SERVE = "import sys; from rkd.coursework.runner import serve; serve(int(sys.argv[1]))"
ENDED = "ended its process (a crash, an exit or too much memory)"
QUIET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
         "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore",
         "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"}  # the last: macOS refuses to fork without it


@dataclass(frozen=True)
class Limits:
    """seconds: of processor time, of one cell, or of one function on its cases; total: of a submission; PATIENCE times
    as many of waiting. What waits for a processor spends neither. memory: MiB that a submission may take beyond what it
    begins with."""

    seconds: float = 30.0
    total: float = 300.0
    memory: int = 4096


LIMITS = Limits()


class Killed(Exception):
    """The process is of no further use; the message, "it" left out, says what became of the code. again : it ended by
    itself, or was ended by another's hand, so that it may be tried again."""

    def __init__(self, words: str, again: bool = False):
        super().__init__(words)
        self.again = again


@dataclass
class Account:
    """What a submission has used of its limits, over all its processes."""

    limits: Limits
    spent: float = 0.0
    waited: float = 0.0
    stopped: int = 0  # how often something ran over its time; what comes after has the less

    @property
    def left(self) -> float:
        return max(0.0, self.limits.total - max(self.spent, self.waited / PATIENCE))

    @property
    def seconds(self) -> float:
        """For the next cell or function."""
        return min(self.limits.seconds / (1 + self.stopped), self.left)


def files(folder: Path) -> dict[Path, Path]:
    """Every file in a folder, named from its parent, without Python's own."""
    return {path.relative_to(folder.parent): path for path in sorted(folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts}


def contents(folder: Path) -> dict[Path, bytes]:
    """The same, what they hold."""
    return {name: path.read_bytes() for name, path in files(folder).items()}


class Server:
    """Lends processes that have imported what exercises need. It begins when the first is asked for, from a copy of rkd
    of its own, and anew when a submission has ended it or changed the copy."""

    def __init__(self, package: dict[Path, bytes] | None = None):
        self.package = package or contents(PACKAGE)
        self.process, self.seen, self.closed = None, set(), False

    def start(self) -> None:
        """Raises Killed where it does not begin."""
        self.stop()
        if self.closed:
            raise Killed("could not be started: the grading is over")
        self.folder = Path(tempfile.mkdtemp(prefix="rkd-grading-"))
        for path, content in self.package.items():
            target = self.folder / "package" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        path = os.pathsep.join([str(self.folder / "package"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
        self.control, theirs = socket.socketpair()
        with theirs, open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", SERVE, str(theirs.fileno())], pass_fds=[theirs.fileno()],
                env=os.environ | QUIET | {"PYTHONPATH": path.strip(os.pathsep)}, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
        self.control.settimeout(600)
        with suppress(OSError):
            if self.control.recv(16) == b"ready":
                self.control.settimeout(60)
                self.base = psutil.Process(self.process.pid).memory_info().rss
                return
        said = (self.folder / "log").read_text(errors="replace").strip().split("\n")[-1]
        self.stop()
        raise Killed(f"could not be started: {said}", again=True)

    def stop(self) -> None:
        """End it and all that runs below it."""
        if self.process:
            self.clear()
            self.process.kill()
            self.process.wait()
            self.control.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.process = None

    def intact(self) -> bool:
        """Whether it runs, and from the files that it began with."""
        with suppress(OSError):
            if self.process and self.process.poll() is None:
                copy = files(self.folder / "package" / PACKAGE.name)
                return copy.keys() == self.package.keys() and all(
                    path.stat().st_size == len(self.package[name]) and path.read_bytes() == self.package[name]
                    for name, path in copy.items())
        return False

    def family(self) -> list[psutil.Process]:
        """All that a submission has started and that still runs, in sessions of its own as well."""
        with suppress(psutil.Error):
            self.seen |= set(psutil.Process(self.process.pid).children(recursive=True))
        self.seen = {process for process in self.seen if process.is_running()}
        return [process for process in self.seen if _status(process) != psutil.STATUS_ZOMBIE]

    def clear(self) -> None:
        """End the family: first stopped, so that none begins another, then killed."""
        end = time.monotonic() + 10
        while (left := self.family()) and time.monotonic() < end:
            for act in (psutil.Process.suspend, psutil.Process.kill):
                for process in left:
                    with suppress(psutil.Error):
                        act(process)
            time.sleep(0.01)
        self.seen = set()

    @contextmanager
    def fresh(self, account: Account, helpers: dict[str, bytes] | None = None):
        """A Kernel that works in a folder of its own, in which ``helpers`` lie. Raises Killed where none begins."""
        if not self.intact():
            self.start()
        try:
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            (folder / "here").mkdir()
            for name, content in (helpers or {}).items():
                (folder / "here" / name).write_bytes(content)
            ours, theirs = socket.socketpair()
            with theirs:
                about = {"folder": str(folder), "memory": account.limits.memory << 20}
                socket.send_fds(self.control, [json.dumps(about).encode()], [theirs.fileno()])
                process = psutil.Process(int(self.control.recv(32)))
            ours.settimeout(60)
            ours.recv(16)  # it is ready, or has ended, which will be found
        except (OSError, ValueError, psutil.Error) as error:  # another's submission has ended or emptied it
            self.stop()
            raise Killed(f"could not be started ({type(error).__name__})", again=True) from None
        with ours:
            try:
                yield Kernel(self, process, ours, account)
            finally:
                self.clear()
                shutil.rmtree(folder, ignore_errors=True)


class Kernel:
    """One process of a submission; made by ``Server.fresh``."""

    def __init__(self, server: Server, process: psutil.Process, link: socket.socket, account: Account):
        self.server, self.process, self.link, self.account = server, process, link, account
        self.counted = sum(map(_seconds, server.family()))  # to begin with, which costs the student nothing
        link.setblocking(False)

    def run(self, cell: str, whole: bool = True) -> str | None:
        """Run one cell, or only its imports and definitions; the error that it ends with, in a line, or None. Raises
        Killed where the process does not survive it, or it runs over its limits."""
        told = self._told({"cell": cell, "whole": whole}, self.account.seconds)
        if told.get("full"):
            raise Killed("took too much memory")
        error = told.get("error")
        return None if error is None else str(error)[:300]

    def ask(self, name: str, cases: list, found: list[dict]) -> None:
        """Append to ``found`` what the function ``name`` answers to the cases [[given, gradient_of], …] that it lacks.
        Raises Killed as above."""
        left, before = self.account.seconds, self.account.spent
        for case in cases[len(found):]:
            told = self._told({"ask": name, "case": answers.encode(case)}, left - self.account.spent + before)
            try:
                found.append(answers.decode(told["answer"]))
            except Exception:  # forged
                found.append({"error": ["Stopped", "gives no answer that can be read"]})

    def _told(self, command: dict, seconds: float) -> dict:
        """The reply to a command."""
        if seconds <= 0:
            raise Killed("was not reached in time")
        self._use()
        to_send, told, tick, looked = json.dumps(command).encode() + b"\n", bytearray(), 0.02, time.monotonic()
        spent, waited = self.account.spent + seconds, self.account.waited + PATIENCE * seconds
        try:
            while not told.endswith(b"\n"):
                readable, writable, _ = select.select([self.link], [self.link] * bool(to_send), [], tick)
                if writable:
                    to_send = to_send[self.link.send(to_send):]
                if readable:
                    piece = self.link.recv(1 << 20)
                    told += piece
                    if not piece:
                        raise Killed(ENDED, again=True)
                    if len(told) > MOST_ANSWERED:
                        raise Killed("answers without end")
                if (since := time.monotonic() - looked) > tick and not told.endswith(b"\n"):
                    self._look(since)
                    if self.account.spent > spent or self.account.waited > waited:
                        self.account.stopped += 1
                        raise Killed(f"took more than {seconds:.3g} s of processor time" if self.account.spent > spent
                                     else f"waited for more than {PATIENCE * seconds:.3g} s")
                    tick, looked = min(2 * tick, 0.5), time.monotonic()
            reply = json.loads(told)
            return reply if isinstance(reply, dict) else {}
        except (OSError, psutil.Error):
            raise Killed(ENDED, again=True) from None
        except (ValueError, RecursionError):
            raise Killed("writes where only its answers belong") from None

    def _look(self, since: float) -> None:
        """Enter what was used ``since`` so many seconds. Raises Killed for what takes too much else, or is no more."""
        family = self._use()
        if self.process not in family and not select.select([self.link], [], [], 0)[0]:  # nor are there last words
            raise Killed(ENDED, again=True)
        if not any(_status(process) == psutil.STATUS_RUNNING for process in family):
            self.account.waited += since
        taken = sum(max(0, _memory(process) - self.server.base) for process in family)
        if taken > self.account.limits.memory << 20:
            raise Killed("took too much memory")
        if len(family) > PROCESSES:
            raise Killed(f"started more than {PROCESSES} processes")

    def _use(self) -> list[psutil.Process]:
        """Enter what the family has used into the account; returns the family."""
        family = self.server.family()
        used = max(self.counted, sum(map(_seconds, family)))
        self.account.spent, self.counted = self.account.spent + used - self.counted, used
        return family


def _seconds(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return sum(process.cpu_times()[:4])  # of its dead children as well
    return 0.0


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def _status(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.status()
    return psutil.STATUS_ZOMBIE

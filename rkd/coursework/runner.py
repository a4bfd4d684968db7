"""The server in which submissions run: it has imported all that exercises need before any student's code runs, and
forks for each submission. Started by kernel.py, and told by it what to do."""

import ast
import ctypes
import mmap
import os
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from json import dumps, loads
from pathlib import Path

import psutil
import torch
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ..study import figures  # noqa: F401 -- all that it imports, for students
from .answers import answer, decode, encode

MOST_WRITTEN = 64 << 20  # bytes of one file
KEPT = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Shell(InteractiveShell):
    """A notebook's, without a screen: nothing is shown, and quit() does not end it."""

    def enable_gui(self, gui=None):
        """%matplotlib asks for it."""

    def ask_exit(self):
        """quit() asks for it."""

    def showtraceback(self, *args, **options):
        """The error itself is in the result."""


def serve(control: int) -> None:
    """Fork for each socket that comes along ``control``, and say the child's pid; end, with all children, when the
    grader does."""
    link = socket.socket(fileno=control)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead vanish by themselves
    if sys.platform == "linux":  # what a submission leaves behind stays below this process (PR_SET_CHILD_SUBREAPER)
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    torch.set_num_threads(1)
    link.sendall(b"ready")
    while True:
        message, received, *_ = socket.recv_fds(link, 1 << 16, 1)
        if not received:
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    child.kill()
            shutil.rmtree(os.getcwd(), ignore_errors=True)
            return
        if (pid := os.fork()) == 0:
            with suppress(BaseException):
                link.close()
                work(socket.socket(fileno=received[0]), **loads(message))
            os._exit(1)
        os.close(received[0])
        link.sendall(str(pid).encode())


def work(link: socket.socket, folder: str, memory: int) -> None:
    """Obey commands, a line of JSON each, with a line each, in a folder that takes the home's place as well."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    places = {"HOME": "home", "TMPDIR": "tmp", "RKD_CACHE": "cache", "RKD_FIGURES": "figures", "IPYTHONDIR": "ipython"}
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]  # they lead elsewhere
    for name, place in places.items():
        os.environ[name] = os.path.join(folder, place)
        os.makedirs(os.environ[name])
    tempfile.tempdir = None
    os.chdir(os.path.join(folder, "here"))
    sys.path.insert(0, "")
    shell = Shell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    limit(memory)
    link.sendall(b"ready")
    with link.makefile("rb") as commands:
        for line in commands:
            link.sendall(dumps(obey(shell, memory, **loads(line))).encode() + b"\n")


def limit(memory: int) -> None:
    """Limit what this process and each of its children may take."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_WRITTEN, MOST_WRITTEN))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the system does not enforce it
        most = psutil.Process().memory_info().vms + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        with suppress(OSError):  # where memory runs out, this one is to go
            Path("/proc/self/oom_score_adj").write_text("1000")


def obey(shell: Shell, memory: int, cell: str = "", whole: bool = True, ask: str = "", case=None) -> dict:
    """Run a cell, or only its imports and definitions, {"error": a line or None, "full": whether it has failed and kept
    all memory}; or ask a function for its answer to a case [given, gradient_of], {"answer": …}."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 -- whatever became of those before
    try:
        if ask:
            torch.set_default_device(None)  # as a cell may have left them
            torch.set_default_dtype(torch.float32)
            given, gradient_of = decode(case)
            return {"answer": encode(answer(shell.user_ns.get(ask), given, gradient_of))}
        result = shell.run_cell(cell if whole else definitions(shell.transform_cell(cell)), store_history=False)
        error = result.error_before_exec or result.error_in_exec
    except BaseException as raised:
        error = raised
    if ask:
        return {"answer": {"dict": {"error": [type(error).__name__, str(error)[:500]]}}}
    line = error and f"{type(error).__name__}: {error}".strip().split("\n")[0][:300]
    return {"error": line, "full": "memory" in str(line).lower() and full(memory)}


def full(memory: int) -> bool:
    """Whether a cell that asked for too much has kept it: no quarter of the limit can be had."""
    try:
        mmap.mmap(-1, memory >> 2).close()
    except (OSError, MemoryError):
        return True
    return False


def definitions(text: str) -> str:
    """A cell's imports, functions and classes alone."""
    tree = ast.parse(text)
    tree.body = [node for node in tree.body if isinstance(node, KEPT)]
    return ast.unparse(tree)

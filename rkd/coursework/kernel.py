"""A fresh Jupyter kernel with limits on time, memory, output and files: for running what students have written.

It guards against mistakes: loops without end, too much memory, floods of output, a crash. It is not a sandbox: the code
runs with your rights, and could read or delete your files. Grade what you do not trust in a container.
"""

import asyncio
import json
import os
import re
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from jupyter_client.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

from ..study.reproduce import settle
from . import answers

MOST_OUTPUT = 1 << 20  # characters of one cell
MOST_WRITTEN = 64 << 20  # bytes of one file
PREAMBLE = """
def _begin(text, memory, most_written):
    import sys, types
    module = types.ModuleType("_answers")
    exec(compile(text, "answers.py", "exec"), module.__dict__)
    sys.modules["_answers"] = module
    try:
        import resource
    except ImportError:  # not Unix: no limits of this kind
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_written, most_written))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the system does not enforce it
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))

_begin({text!r}, {memory}, {most_written})
del _begin
"""


@dataclass(frozen=True)
class Limits:
    """seconds: of one cell, or of one function on its cases; total: seconds of a submission; memory: MiB that the
    kernel may take beyond what it begins with (enforced on Linux)."""

    seconds: float = 30.0
    total: float = 300.0
    memory: int = 4096


LIMITS = Limits()


class Killed(Exception):
    """The kernel is of no further use; the message, "it" left out, says what became of the code."""


class _Client(NotebookClient):
    """Forgets what is printed, and interrupts a cell that prints too much."""

    printed = 0

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] not in ("stream", "display_data", "update_display_data", "execute_result", "error",
                                   "clear_output"):
            return super().process_message(msg, cell, cell_index)
        before, self.printed = self.printed, self.printed + len(str(msg["content"]))
        if before <= MOST_OUTPUT < self.printed:
            asyncio.ensure_future(ensure_async(self.km.interrupt_kernel()))
        return None


class Kernel:
    """A running kernel; made by ``fresh``."""

    def __init__(self, client: NotebookClient, folder: Path, limits: Limits, deadline: float):
        self.client, self.folder, self.limits, self.deadline = client, folder, limits, deadline

    def run(self, source: str, seconds: float | None = None) -> str | None:
        """Run one cell; the error that it ends with, in a line, or None. Raises Killed where the kernel does not
        survive it, it takes more than ``seconds`` (default: the limits'), or no time is left."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Killed("was not reached in time")
        self.client.timeout, self.client.printed = max(1, round(min(left, seconds or self.limits.seconds))), 0
        cell = new_code_cell(source)
        self.client.nb.cells = [cell]
        try:
            self.client.execute_cell(cell, 0)
        except CellExecutionError as error:
            if self.client.printed > MOST_OUTPUT and error.ename == "KeyboardInterrupt":
                return "was stopped: it prints without end"
            if "memory" in f"{error.ename} {error.evalue}".lower() and not self._has_memory():
                raise Killed("took too much memory") from None
            return _line(f"{error.ename}: {error.evalue}")
        except (CellTimeoutError, TimeoutError):
            raise Killed(f"was stopped after {self.client.timeout} s") from None
        except DeadKernelError:
            raise Killed("ended the kernel (a crash, an exit or too much memory)") from None
        return None

    def _has_memory(self) -> bool:
        """Whether a cell that asked for too much has given it back: a quarter of the limit can be had."""
        probe = new_code_cell(f"__import__('mmap').mmap(-1, {self.limits.memory << 18}).close()")
        try:
            self.client.execute_cell(probe, 0)
        except (CellExecutionError, CellTimeoutError, TimeoutError, DeadKernelError):
            return False
        return True

    def ask(self, name: str, cases: list) -> tuple[list[dict], bool]:
        """What the kernel's function ``name`` answers to cases [[given, gradient_of], …], see answers.answer, and
        whether the kernel has survived it. A case without an answer has an error called "Stopped"."""
        asked, told = self.folder / "cases.json", self.folder / "answers.jsonl"
        asked.write_text(json.dumps(answers.encode(cases)))
        told.unlink(missing_ok=True)
        function = f"get_ipython().user_ns.get({name!r})"
        code = f"__import__('_answers').write_answers({function}, {str(asked)!r}, {str(told)!r})"
        alive, error = True, None
        try:
            if (error := self.run(code)) and not error.startswith("was "):
                error = f"raises {error}"
        except Killed as killed:
            alive, error = False, str(killed)
        found = []
        with suppress(Exception):  # a line may be cut off, or another's
            found += [answers.decode(json.loads(line)) for line in told.read_text().splitlines()[:len(cases)]]
        missing = {"error": ["Stopped", error or "gives no answer that can be read"]}
        return found + [missing] * (len(cases) - len(found)), alive


@contextmanager
def fresh(folder: Path, limits: Limits, deadline: float):
    """A fresh kernel that works in ``folder``, with an rkd cache of its own. Raises Killed where none begins."""
    settle()
    own = {"RKD_CACHE": str(folder / "cache"), "RKD_FIGURES": str(folder / "figures"),
           "IPYTHONDIR": str(folder / "ipython"), "OMP_NUM_THREADS": "1"}
    client = _Client(new_notebook(), kernel_name="python3", iopub_timeout=2, shutdown_kernel="immediate",
                     extra_arguments=["--log-level=CRITICAL"])
    with client.setup_kernel(env=os.environ | own, cwd=str(folder)):
        group = getattr(client.km.provisioner, "pgid", None)
        try:
            kernel = Kernel(client, folder, limits, deadline)
            text = Path(answers.__file__).read_text(encoding="utf-8")
            preamble = PREAMBLE.format(text=text, memory=limits.memory << 20, most_written=MOST_WRITTEN)
            if error := kernel.run(preamble, seconds=60):
                raise Killed(f"cannot be prepared: {error}")
            yield kernel
        finally:
            if group:  # and whatever it has started
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)


def _line(text: str) -> str:
    """The first line without colours, at most 300 characters."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip().split("\n")[0][:300]

"""What a process does with one run: train, evaluate and store it, on a core of its own, or say why not."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import current_process
from pathlib import Path

import joblib
import torch
from filelock import FileLock, Timeout

from .device import neutral, resolve_device
from .evaluate import METRICS
from .files import locked, make_writable
from .fingerprint import code_fingerprint, package_fingerprint
from .methods import method_of
from .run import Run, fit, split_of
from .store import Result, measure, model_of, paths, store, stored, trained, weights_size

CHANGED = "its code or data were changed while runs were being computed: start again"


@dataclass(frozen=True)
class Task:
    """A run to be computed, its key and its teacher's, the fingerprints that must hold where it is computed (``basis``
    of the run), the key of METRICS and METRICS themselves, and where it was asked for (``place``)."""

    run: Run
    key: str
    teacher_key: str | None
    basis: tuple[str, str, str]
    metrics_key: str
    metrics: dict
    place: tuple[int, str, dict[str, str]]
    device: str = "auto"
    progress: bool = False


def basis(run: Run) -> tuple[str, str, str]:
    """Fingerprints of what a worker process reads anew and must find as it is here: rkd, a method from another file
    (of one from a notebook it is told the code itself), the data."""
    made = method_of(run.method)
    own = "" if made.__module__.partition(".")[0] in ("rkd", "__main__") else code_fingerprint(classes=(made,))
    return package_fingerprint(), own, split_of(run).fingerprint


def place() -> tuple[int, str, dict[str, str]]:
    """This process, where it is, and what it has been told of rkd."""
    return os.getpid(), os.getcwd(), {name: value for name, value in os.environ.items() if name.startswith("RKD_")}


def compute_one(task: Task) -> tuple[str, Result | None, str]:
    """Train, evaluate and store what is not there yet, or wait for the process that is at it already: (key, result,
    what went wrong)."""
    run, key = task.run, task.key
    try:
        elsewhere = os.getpid() != task.place[0]
        if elsewhere:
            _follow(*task.place)
        if (elsewhere and basis(run) != task.basis) or split_of(run).fingerprint != task.basis[2]:
            return key, None, CHANGED
        METRICS.clear()  # a worker process may know others from before
        METRICS.update(task.metrics)
        record, split = paths(run, key)[0], split_of(run)
        record.parent.mkdir(parents=True, exist_ok=True)
        with locked(record.with_suffix(".lock")):
            if stored(run, key, task.metrics_key) is None:
                make_writable(record.parent, room=(1 << 16) + weights_size(run))
                with neutral(), core(resolve_device(task.device)) as device:
                    if trained(run, key) is None:
                        teacher = _teacher(run, task.teacher_key)
                        store(run, key, fit(run, teacher, split, device, task.progress), device)
                    measure(run, key, task.metrics_key, device)
            result = stored(run, key, task.metrics_key)
        if split_of(run).fingerprint != task.basis[2]:
            return key, None, CHANGED
        return key, result, "" if result else f"{record} was changed or deleted as soon as it was written"
    except Exception as error:
        return key, None, f"{type(error).__name__}: {error}"


def _follow(parent: int, folder: str, told: dict[str, str]) -> None:
    """In a worker process of this machine: go where its parent is, hear what it has been told, and end when it ends."""
    if not current_process().name.startswith("Loky"):  # one of joblib's other kinds, maybe on another machine
        return
    _end_with(parent)
    for name in [name for name in os.environ if name.startswith("RKD_") and name not in told]:
        del os.environ[name]
    os.environ.update(told)
    os.chdir(folder)


@cache
def _end_with(parent: int) -> None:
    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _teacher(run: Run, key: str | None):
    """The teacher's model, None where nothing is distilled."""
    if key is None:
        return None
    found = trained(run.teacher, key)
    if found is None:
        raise RuntimeError(f"its teacher failed ({run.teacher})")
    return model_of(run.teacher, key, found["weights"])


@contextmanager
def core(device: torch.device) -> Iterator[torch.device]:
    """Hold the device; on a CPU one of the cores that this process may use, for one thread, that no other process of
    this user trains on."""
    if device.type != "cpu":
        yield device
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lock = _free_core()
    try:
        yield device
    finally:
        torch.set_num_threads(threads)
        if lock:
            lock.release()


def _free_core() -> FileLock | None:
    """Wait for a core and lock it; None where there can be no locks, as on a full disk."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(joblib.cpu_count())
    folder = Path(tempfile.gettempdir()) / f"rkd-cores-{user}"
    locks = [FileLock(folder / f"core-{i}.lock") for i in sorted(allowed)[:joblib.cpu_count()]]
    try:
        folder.mkdir(exist_ok=True)
        while True:
            for lock in locks:
                with suppress(Timeout):
                    lock.acquire(timeout=0)
                    return lock
            time.sleep(0.05)
    except (OSError, NotImplementedError):
        return None

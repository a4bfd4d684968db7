"""Who computes what: runs that are not on disk are trained side by side, each once, teachers first."""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from multiprocessing import current_process
from pathlib import Path

import joblib
import torch
from filelock import FileLock, Timeout

from .altered import refuse_altered
from .device import neutral, resolve_device
from .evaluate import METRICS
from .files import locked, make_writable
from .fingerprint import code_fingerprint, package_fingerprint
from .methods import Distiller, method_of
from .run import Run, fit, split_of
from .store import DECIDED, Result, key_of, measure, metrics_key, model_of, paths, store, stored, trained

CHANGED = "its code or data were changed while runs were being computed: start again"


class RunsFailed(RuntimeError):
    """Some runs could not be computed; all others were, and are kept. ``failures``: run → what went wrong."""

    def __init__(self, failures: dict[Run, str], n_runs: int):
        self.failures = failures
        lines = "\n".join(f"- {run}: {reason}" for run, reason in failures.items())
        super().__init__(f"{len(failures)} of {n_runs} runs failed; the others are kept:\n{lines}")


def compute(runs: Iterable[Run], jobs: int | None = None, device: str = "auto",
            log: Callable[[str], None] = print) -> list[Result]:
    """The results of ``runs``, in their order: from disk where they are there, else computed now, teachers first.

    jobs : processes at once; by default one per core, or one where the device is not the CPU. On a CPU each process
           computes on one thread, so that a result does not depend on how many there are.
    log  : receives one plain line per run that had to be computed.

    A run is on disk whole or not at all: whenever this is killed, only the runs in progress are lost. Several processes
    may compute at once: each run is trained by one of them, and on CPUs no more train than the machine has cores.
    Metrics that are new are computed from the models on disk. Raises RunsFailed at the end where runs failed; the
    others are kept.
    """
    runs, metrics = list(runs), metrics_key()
    keys = {run: key_of(run, device) for run in runs}
    keys |= {run.teacher: key_of(run.teacher, device) for run in runs if run.distils}
    refuse_altered("rkd.run", "rkd.evaluate", *(method_of(run.method).__module__ for run in keys), without=DECIDED)
    results = {key: stored(run, key, metrics) for run, key in keys.items()}
    missing = {key: run for run, key in keys.items() if results[key] is None}
    for folder in {paths(run, key)[0].parent for key, run in missing.items()}:
        make_writable(folder)
    if jobs is None:
        jobs = joblib.cpu_count() if resolve_device(device).type == "cpu" else 1
    bases = {key: _basis(run) for key, run in missing.items()}
    common = dict(device=device, progress=jobs == 1, metrics=(metrics, dict(METRICS)), place=_place())
    done, failures = 0, {}
    for distil in (False, True):
        stage = [run for run in missing.values() if run.distils == distil]
        stage.sort(key=_size, reverse=True)  # the long first
        tasks = {keys[run]: joblib.delayed(_compute_one)(run, keys[run], run.teacher and keys[run.teacher],
                                                         bases[keys[run]], **common) for run in stage}
        for key, result, failure in _side_by_side(tasks, jobs):
            done += 1
            if failure:
                failures[missing[key]] = failure
                log(f"run {done}/{len(missing)}: {missing[key]} failed: {failure}")
            else:
                results[key] = result
                log(f"run {done}/{len(missing)}: {missing[key]}, {result.epochs} epochs, {result.seconds:.0f} s")
    if failures:
        raise RunsFailed(failures, len(missing))
    return [replace(results[keys[run]], run=run) for run in runs]


def _side_by_side(tasks: dict[str, tuple], jobs: int) -> Iterator[tuple]:
    """What each task returns, as it comes. Where the system kills a worker process, which ends them all, those tasks
    that were running are tried once more at the end, each alone."""
    again = {}
    while tasks:
        parallel = joblib.Parallel(min(jobs, len(tasks)), return_as="generator_unordered", batch_size=1)
        try:
            for came in parallel(list(tasks.values())):
                del tasks[came[0]]
                yield came
        except BrokenProcessPool:
            again |= {key: tasks.pop(key) for key in list(tasks)[:jobs]}  # they begin in this order
    for key, task in again.items():
        try:
            yield from joblib.Parallel(2)([task])
        except BrokenProcessPool:
            yield key, None, "its process was killed twice, as by a system short of memory: compute fewer at once"


def _size(run: Run) -> tuple:
    """Larger for runs that take longer: those of LightGCN, of methods that train perceptrons as well, of teachers."""
    trains_more = run.distils and method_of(run.method).parameters is not Distiller.parameters
    return run.backbone == "lightgcn", trains_more, run.dim


def _basis(run: Run) -> tuple[str, str, str]:
    """Fingerprints of what a worker process reads anew and must find as it is here: rkd, a method from another file
    (of one from a notebook it is told the code itself), the data."""
    made = method_of(run.method)
    own = "" if made.__module__.partition(".")[0] in ("rkd", "__main__") else code_fingerprint(classes=(made,))
    return package_fingerprint(), own, split_of(run).fingerprint


def _place() -> tuple[int, str, dict[str, str]]:
    """This process, where it is, and what it has been told of rkd."""
    return os.getpid(), os.getcwd(), {name: value for name, value in os.environ.items() if name.startswith("RKD_")}


def _compute_one(run: Run, key: str, teacher_key: str | None, basis: tuple, device: str, progress: bool,
                 metrics: tuple[str, dict], place: tuple) -> tuple[str, Result | None, str]:
    """Train, evaluate and store what is not there yet, or wait for the process that is at it already: (key, result,
    what went wrong)."""
    try:
        elsewhere = os.getpid() != place[0]
        if elsewhere:
            _follow(*place)
        if (elsewhere and _basis(run) != basis) or split_of(run).fingerprint != basis[2]:
            return key, None, CHANGED
        METRICS.clear()  # a worker process may know others from before
        METRICS.update(metrics[1])
        record, split = paths(run, key)[0], split_of(run)
        record.parent.mkdir(parents=True, exist_ok=True)
        with locked(record.with_suffix(".lock")):
            if stored(run, key, metrics[0]) is None:
                make_writable(record.parent, room=(1 << 16) + 4 * run.dim * (split.n_users + split.n_items))
                with neutral(), _core(resolve_device(device)) as device:
                    if trained(run, key) is None:
                        store(run, key, fit(run, _teacher(run, teacher_key), split, device, progress), device)
                    measure(run, key, metrics[0], device)
            result = stored(run, key, metrics[0])
        if split_of(run).fingerprint != basis[2]:
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
def _core(device: torch.device) -> Iterator[torch.device]:
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

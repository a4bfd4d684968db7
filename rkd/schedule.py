"""Who computes what: runs that are not on disk are trained side by side, each once, teachers first."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import joblib
import torch
from filelock import FileLock, Timeout

from .device import resolve_device
from .evaluate import METRICS
from .fingerprint import package_fingerprint
from .methods import Distiller, method_of
from .run import Run, fit, split_of
from .store import Result, key_of, measure, metrics_key, model_of, paths, store, stored, trained


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
    results = {key: stored(run, key, metrics) for run, key in keys.items()}
    missing = {key: run for run, key in keys.items() if results[key] is None}
    if jobs is None:
        jobs = joblib.cpu_count() if resolve_device(device).type == "cpu" else 1
    task = dict(device=device, progress=jobs == 1, metrics=(metrics, dict(METRICS)), package=package_fingerprint())
    done, failures = 0, {}
    for distil in (False, True):
        stage = [run for run in missing.values() if run.distils == distil]
        stage.sort(key=_size, reverse=True)  # the long first
        parallel = joblib.Parallel(n_jobs=min(jobs, max(len(stage), 1)), return_as="generator_unordered")
        tasks = (joblib.delayed(_compute_one)(run, keys[run], run.teacher and keys[run.teacher], **task)
                 for run in stage)
        for key, result, failure in parallel(tasks):
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


def _size(run: Run) -> tuple:
    """Larger for runs that take longer: those of LightGCN, of methods that train perceptrons as well, of teachers."""
    trains_more = run.distils and method_of(run.method).parameters is not Distiller.parameters
    return run.backbone == "lightgcn", trains_more, run.dim


def _compute_one(run: Run, key: str, teacher_key: str | None, device: str, progress: bool, metrics: tuple[str, dict],
                 package: str) -> tuple[str, Result | None, str]:
    """Train, evaluate and store what is not there yet, or wait for the process that is at it already: (key, result,
    what went wrong)."""
    if package_fingerprint() != package:
        return key, None, "rkd was edited while runs were being computed: start again"
    METRICS.clear()  # a worker process may know others from before
    METRICS.update(metrics[1])
    try:
        record = paths(run, key)[0]
        record.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(record.with_suffix(".lock")):
            if stored(run, key, metrics[0]) is None:
                with _core(resolve_device(device)) as device:
                    if trained(run, key) is None:
                        store(run, key, fit(run, _teacher(run, teacher_key), split_of(run), device, progress), device)
                    measure(run, key, metrics[0], device)
            return key, stored(run, key, metrics[0]), ""
    except Exception as error:
        return key, None, f"{type(error).__name__}: {error}"


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
    """Hold the device; on a CPU one of this machine's cores, for one thread, that no other process trains on."""
    if device.type != "cpu":
        yield device
        return
    folder = Path(tempfile.gettempdir()) / f"rkd-cores-{Path.home().name}"
    folder.mkdir(exist_ok=True)
    locks = [FileLock(folder / f"core-{i}.lock") for i in range(joblib.cpu_count())]
    threads = torch.get_num_threads()
    while (lock := next(filter(_acquired, locks), None)) is None:
        time.sleep(0.05)
    torch.set_num_threads(1)
    try:
        yield device
    finally:
        torch.set_num_threads(threads)
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True

"""Who computes what: runs that are not on disk are trained side by side, each once, teachers first."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import joblib

from .altered import refuse_altered
from .cluster import on_cluster
from .device import resolve_device
from .evaluate import METRICS
from .files import make_writable
from .methods import Distiller, method_of
from .records import source
from .run import Run
from .store import DECIDED, Result, key_of, metrics_key, paths, stored
from .worker import Task, basis, compute_one, place


class RunsFailed(RuntimeError):
    """Some runs could not be computed; all others were, and are kept. ``failures``: run → what went wrong."""

    def __init__(self, failures: dict[Run, str], n_runs: int):
        self.failures = failures
        lines = "\n".join(f"- {run}: {reason}" for run, reason in failures.items())
        super().__init__(f"{len(failures)} of {n_runs} runs failed; the others are kept:\n{lines}")


def compute(runs: Iterable[Run], jobs: int | None = None, device: str = "auto",
            log: Callable[[str], None] = print, cluster: str | None = None) -> list[Result]:
    """The results of ``runs``, in their order: from disk where they are there, else computed now, teachers first.

    jobs : processes at once; by default one per core, or one where the device is not the CPU. On a CPU each process
           computes on one thread, so that a result does not depend on how many there are.
    log  : receives one plain line per run that had to be computed.
    cluster : the address of a dask scheduler, "tcp://host:8786", whose workers compute instead of this machine; or
           "local:N", N workers on this one (see cluster.py). jobs then does not count.

    A run is on disk whole or not at all: whenever this is killed, only the runs in progress are lost. Several processes
    may compute at once: each run is trained by one of them, and on CPUs no more train than the machine has cores.
    Metrics that are new are computed from the models on disk. Raises RunsFailed at the end where runs failed; the
    others are kept.

    Where $RKD_RECORDS names a folder of records (records.py), results come from there instead, without data or models,
    and nothing is trained; NotRecorded is raised for a run that is not there.
    """
    if records := source():
        return records.results(runs, log)
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
    common = dict(metrics_key=metrics, metrics=dict(METRICS), place=place(), device=device, progress=jobs == 1)
    tasks = {key: Task(run, key, run.teacher and keys[run.teacher], basis(run), **common)
             for key, run in sorted(missing.items(), key=lambda item: _size(item[1]), reverse=True)}  # the long first
    failures = {}
    for done, (key, result, failure) in enumerate(on_cluster(cluster, tasks, log) if cluster else
                                                  _in_stages(tasks, jobs), 1):
        if failure:
            failures[missing[key]] = failure
            log(f"run {done}/{len(missing)}: {missing[key]} failed: {failure}")
        else:
            results[key] = result
            log(f"run {done}/{len(missing)}: {missing[key]}, {result.epochs} epochs, {result.seconds:.0f} s")
    if failures:
        raise RunsFailed(failures, len(missing))
    return [replace(results[keys[run]], run=run) for run in runs]


def _in_stages(tasks: dict[str, Task], jobs: int) -> Iterator[tuple]:
    """What each task returns, on this machine, teachers first."""
    for distil in (False, True):
        yield from _side_by_side({key: joblib.delayed(compute_one)(task) for key, task in tasks.items()
                                  if task.run.distils == distil}, jobs)


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

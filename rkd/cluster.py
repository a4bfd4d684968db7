"""Many machines: tasks computed by the workers of a dask cluster, which places them, moves what they need and starts
them again where a worker dies (https://distributed.dask.org). Here stands only what is checked first and what travels.

Where all machines see one cache folder, results are read from there. Where they do not, a run's files come back with
its result, and a teacher's go to its student's worker, up to LARGEST bytes a run. A student waits for its own teacher
alone. A worker that dies costs the tasks it was at; a task that has killed three workers is set aside.
"""

import logging
import multiprocessing
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import torch

from .files import cache_folder, make_writable, write_whole
from .fingerprint import package_fingerprint
from .pinned import INSTRUCTIONS
from .run import Run, split_of
from .store import paths, weights_size
from .worker import Task, compute_one

LARGEST = 1 << 28  # bytes of a run's files that may travel through the scheduler: 256 MiB
MINUTE = 60  # without a worker, until a warning


def on_cluster(address: str, tasks: dict[str, Task], log: Callable[[str], None]) -> Iterator[tuple]:
    """What each task returns (worker.compute_one), as it comes, computed by the workers of the dask scheduler at
    ``address``, or of a local cluster of N processes for "local:N".

    Raises ValueError without dask, or where a worker's code, torch or data differ from those here (a line for each),
    or what would have to travel is too large; OSError where no scheduler answers, or it ends.
    """
    with _connected(address) as client:
        from dask.distributed import TimeoutError, wait

        shared = _prepared(client, tasks, log)
        futures = {}
        for distil in (False, True):  # a student's task names its teacher's
            for place, (key, task) in enumerate(tasks.items()):
                if task.run.distils == distil:
                    teacher = futures.get(task.teacher_key) or _teachers_files(task, shared)
                    futures[key] = client.submit(_on_worker, task, teacher, shared, key=f"rkd-{key}-{uuid4().hex}",
                                                 priority=-place)
        keys, failed = {future: key for key, future in futures.items()}, set()
        futures.clear()
        while keys:
            try:
                done = wait(list(keys), timeout=MINUTE, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                if not client.scheduler_info()["workers"]:
                    log(f"no worker for a minute: {len(keys)} runs wait for one to join {address}")
                continue
            for future in done:
                key = keys.pop(future)
                came = _came(future, tasks[key], failed, address)
                failed |= {key} if came[2] else set()
                yield came


def _came(future, task: Task, failed: set[str], address: str) -> tuple:
    """What a finished task returned, its files kept here; where it did not return, why."""
    if future.status in ("cancelled", "lost"):
        raise OSError(f"the cluster at {address} is gone; runs that were complete are kept")
    if future.status == "error":
        if task.teacher_key in failed:
            return task.key, None, f"its teacher failed ({task.run.teacher})"
        error = future.exception()
        killed = type(error).__name__ == "KilledWorker"
        return task.key, None, ("three workers died while they were at it: it is set aside" if killed
                                else f"{type(error).__name__}: {error}")
    key, result, failure, files = future.result()
    if files:
        _keep(task.run, key, files)
    return key, result, failure


def _on_worker(task: Task, teacher: tuple | None, shared: bool) -> tuple:
    """On a worker: compute_one, with the teacher's files and the run's own where no folder is shared."""
    if teacher and teacher[3]:
        _keep(task.run.teacher, task.teacher_key, teacher[3])
    key, result, failure = compute_one(task)
    return key, result, failure, None if shared or failure else _files(task.run, key)


def _teachers_files(task: Task, shared: bool) -> tuple | None:
    """What ``_on_worker`` would have returned for a teacher that is on disk here."""
    return None if shared or task.teacher_key is None else (task.teacher_key, None, "",
                                                            _files(task.run.teacher, task.teacher_key))


def _files(run: Run, key: str) -> list[bytes]:
    """A run's files: record, weights, metrics."""
    return [path.read_bytes() for path in paths(run, key)]


def _keep(run: Run, key: str, files: list[bytes]) -> None:
    """Write a run's files where they are not the same already, the record last."""
    for path, content in sorted(zip(paths(run, key), files), key=lambda pair: pair[0].suffixes == [".json"]):
        if not path.is_file() or path.read_bytes() != content:
            write_whole(path, lambda scratch, content=content: scratch.write_bytes(content))


# ------------------------------------------------------------------------------------------------------ what is checked

def _prepared(client, tasks: dict[str, Task], log: Callable[[str], None]) -> bool:
    """Check every worker, those that join later too; returns whether all see the cache folder of this process."""
    from dask.distributed import TimeoutError, WorkerPlugin

    class Refuse(WorkerPlugin):
        """A worker of other code, torch or data that joins later ends at once."""

        name = "rkd"

        def __init__(self, wanted):
            self.wanted = wanted

        def setup(self, worker):
            if lines := differences(self.wanted, facts([*self.wanted["data"]], "")):
                raise RuntimeError(f"rkd refuses this worker: {'; '.join(lines)}")

    while not client.scheduler_info()["workers"]:
        try:
            client.wait_for_workers(1, timeout=MINUTE)
        except TimeoutError:
            log(f"no worker for a minute: {len(tasks)} runs wait for one to join")
    runs = [task.run for task in tasks.values()]
    data = sorted({(run.dataset, run.split, run.split_seed) for run in runs})
    token = f".shared-{uuid4().hex}"
    make_writable(cache_folder())
    (cache_folder() / token).touch()
    try:
        wanted, found = facts(data, token), client.run(facts, data, token, on_error="return")
    finally:
        (cache_folder() / token).unlink()
    lines = [f"{address}: {line}" for address, theirs in sorted(found.items())
             for line in differences(wanted, theirs)]
    if lines:
        raise ValueError("\n".join(["these workers cannot compute what this process asks for:", *lines]))
    kinds = {theirs["processor"] for theirs in found.values()}
    if len(kinds | {wanted["processor"]}) > 1:
        log(f"processors of several kinds ({', '.join(sorted(kinds))}; here {wanted['processor']}): the same run may "
            "differ in its last bits, and provenance says which made it")
    client.register_plugin(Refuse(wanted))
    shared = all(theirs["shared"] for theirs in found.values())
    if not shared and (large := [run for run in runs if weights_size(run) > LARGEST]):
        raise ValueError(f"{large[0]} comes to {weights_size(large[0]) >> 20} MiB, and no more than {LARGEST >> 20} "
                         "travel through the scheduler: let RKD_CACHE name one folder that all machines share")
    return shared


def facts(data: list[tuple[str, str, int]], token: str) -> dict:
    """What must be the same wherever runs are computed, and what may differ: the processor, and whether the cache
    folder holds ``token``. data : (data set, split, its seed) each."""
    def fingerprint(*what):
        try:
            return split_of(*what).fingerprint
        except Exception as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]

    return {"code": package_fingerprint(), "torch": torch.__version__, "processor": INSTRUCTIONS,
            "host": platform.node(), "data": {what: fingerprint(*what) for what in map(tuple, data)},
            "shared": bool(token) and (cache_folder() / token).exists()}


def differences(here: dict, there: "dict | BaseException") -> list[str]:
    """Why a worker with these facts cannot compute what is asked for here, a line each."""
    if isinstance(there, BaseException):
        return [f"{type(there).__name__}: {there}".splitlines()[0]]
    lines = [f"its {name} is {there[key]}, here {here[key]}"
             for key, name in (("code", "rkd"), ("torch", "torch")) if there[key] != here[key]]
    return lines + [f"its {dataset}, split {split!r}, is {there['data'][what]}, here {print_}"
                    for what, print_ in here["data"].items() for dataset, split, _ in [what]
                    if there["data"][what] != print_]


@contextmanager
def _connected(address: str) -> Iterator:
    """A client of the scheduler at an address; for "local:N" of a cluster that ends with it."""
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError:
        raise ValueError("computing on a cluster needs dask: pip install 'rkd[cluster]'") from None
    kind, _, n = address.partition(":")
    if kind != "local":
        try:
            client = Client(address, timeout=10)
        except (OSError, ValueError) as error:
            raise OSError(f"no dask scheduler answers at {address} ({type(error).__name__})") from None
        with client:
            yield client
    elif not n.isdecimal() or not int(n):
        raise ValueError(f"a local cluster is local:N, N processes of this machine, not {address!r}")
    else:
        if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker to be, that reads the script
            sys.exit(1)
        try:
            cluster = LocalCluster(n_workers=int(n), threads_per_worker=1, dashboard_address=None,
                                   silence_logs=logging.ERROR)
        except RuntimeError as error:
            raise RuntimeError(f"{address} did not start ({error}). Its processes read the script that calls compute "
                               'again: there the call belongs under if __name__ == "__main__":') from None
        with cluster, Client(cluster) as client:
            yield client

"""Runs computed by real dask workers on this machine: the same bits as by one process, whatever dies on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from runs_helpers import EVERYTHING, ROOT, computed, files, python, same, tiny

from rkd import RunsFailed, cluster, compute
from rkd.cluster import differences
from rkd.store import key_of

distributed = pytest.importorskip("dask.distributed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills processes")

# A method whose first run, or every run, ends its process in the middle of training.
DEADLY = """
import os, signal
from pathlib import Path
from rkd.methods.unkd import UnKD

class Once(UnKD):
    def begin_epoch(self, student, epoch):
        flag = Path({flag!r})
        if epoch == 3 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().begin_epoch(student, epoch)

class Always(UnKD):
    def begin_epoch(self, student, epoch):
        os.kill(os.getpid(), signal.SIGKILL)

class Raises(UnKD):
    def begin_epoch(self, student, epoch):
        raise ValueError("no such luck")
"""


class Machines:
    """A scheduler and workers, each a process of its own, with a cache folder of its own or a shared one."""

    def __init__(self, folder: Path):
        self.folder, self.workers = folder, []
        self.scheduler = self.start("scheduler", "--port", "0", "--no-dashboard")
        end = time.monotonic() + 60
        while not (folder / "scheduler.json").exists():
            assert time.monotonic() < end and self.scheduler.poll() is None, "no scheduler"
            time.sleep(0.05)
        while not (text := (folder / "scheduler.json").read_text()):
            time.sleep(0.05)
        self.address = json.loads(text)["address"]

    def start(self, kind, *arguments, root=ROOT, **variables):
        """A process that imports rkd from ``root``."""
        return python("-m", f"distributed.cli.dask_{kind}", "--scheduler-file", self.folder / "scheduler.json",
                      *arguments, root=root,
                      PYTHONPATH=os.pathsep.join([str(root), str(self.folder), *sys.path]), **variables)

    def worker(self, cache, nanny=False, root=ROOT):
        arguments = ["--nthreads", "1", "--no-dashboard", *([] if nanny else ["--no-nanny"])]
        self.workers.append(self.start("worker", *arguments, root=root, RKD_CACHE=cache))

    def end(self):
        for process in (*self.workers, self.scheduler):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in (*self.workers, self.scheduler):
            try:
                process.communicate(timeout=10)
            except Exception:
                process.kill()
                process.communicate()


@pytest.fixture
def machines(tmp_path, monkeypatch):
    (tmp_path / "scheduler").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "scheduler")
    found = Machines(tmp_path / "scheduler")
    yield found
    found.end()


@pytest.fixture
def deadly(machines):
    """The methods of DEADLY, from a file that workers can import."""
    name = f"deadly_{time.time_ns()}"
    (machines.folder / f"{name}.py").write_text(DEADLY.format(flag=str(machines.folder / "flag")))
    return __import__(name)


def serial(runs, monkeypatch, tmp_path):
    """The same runs by this process alone, in a cache of their own."""
    with monkeypatch.context() as patch:
        patch.setenv("RKD_CACHE", str(tmp_path / "serial"))
        results, _ = computed(runs)
        return [(result, result.model.table) for result in results]


def equal(found, wanted):
    assert all(torch.equal(one.model.table, table) and repr(one.metrics) == repr(other.metrics)
               and one.history == other.history for one, (other, table) in zip(found, wanted))


RUNS = [tiny(method, seed) for seed in (0, 1) for method in ("none", "cd", "unkd")]


def test_a_shared_folder_and_a_worker_killed_in_the_middle_of_a_run(machines, deadly, monkeypatch, tmp_path):
    """The other worker takes its task over; a run that raises stops no other; the next call computes nothing."""
    wanted = serial(RUNS, monkeypatch, tmp_path)
    for _ in range(2):
        machines.worker(os.environ["RKD_CACHE"])
    runs, lines = [*RUNS, tiny(deadly.Once), tiny(deadly.Raises)], []
    with pytest.raises(RunsFailed) as failed:
        compute(runs, log=lines.append, cluster=machines.address)
    assert list(failed.value.failures.values()) == ["ValueError: no such luck"] and len(lines) == 10
    assert (machines.folder / "flag").exists() and sum(worker.poll() is None for worker in machines.workers) == 1
    again, lines = computed(runs[:-1])
    assert lines == []
    equal(again, wanted)
    with monkeypatch.context() as patch:
        patch.setenv("RKD_CACHE", str(tmp_path / "alone"))
        assert same(computed(runs[-2:-1])[0][0], again[-1])


def test_caches_apart(machines, monkeypatch, tmp_path):
    """Files come back with the results, a teacher's go with its students; one of them is here already."""
    wanted = serial(RUNS, monkeypatch, tmp_path)
    computed([tiny("teacher", 1)])
    for name in "ab":
        machines.worker(tmp_path / name)
    lines = []
    results = compute(RUNS, log=lines.append, cluster=machines.address)
    assert len(lines) == 7 and len(files()) == 8 and len(files(*EVERYTHING)) == 24
    equal(results, wanted)
    assert {path.name for name in "ab" for path in (tmp_path / name).glob("runs/*/*teacher*.json")
            if "metrics" not in path.name} >= {f"mf-teacher-5-{seed}-{key_of(tiny('teacher', seed))}.json"
                                               for seed in (0, 1)}
    monkeypatch.setattr(cluster, "LARGEST", 100)
    with pytest.raises(ValueError, match="comes to 0 MiB, and no more than 0 travel.*RKD_CACHE name one folder"):
        compute([tiny("rd")], cluster=machines.address)


def test_a_task_that_kills_three_workers_is_set_aside_and_named(machines, deadly):
    machines.worker(os.environ["RKD_CACHE"], nanny=True)  # a new one for each that dies
    lines = []
    with pytest.raises(RunsFailed) as failed:
        compute([tiny(deadly.Always), tiny("none")], log=lines.append, cluster=machines.address)
    ((run, reason),) = failed.value.failures.items()
    assert run.name == "Always" and reason == "three workers died while they were at it: it is set aside"
    assert len(files()) == 2  # the teacher and the plain student


def test_no_workers_is_said_and_one_that_joins_goes_on(machines, monkeypatch):
    """All workers are gone for a while: at the start here, which is the same wait as later."""
    monkeypatch.setattr(cluster, "MINUTE", 0.2)
    lines = []

    def log(line):
        lines.append(line)
        if len(lines) == 1:
            machines.worker(os.environ["RKD_CACHE"])

    (result,) = compute([tiny()], log=log, cluster=machines.address)
    assert lines[0] == "no worker for a minute: 1 runs wait for one to join" and "4 epochs" in lines[-1]
    machines.workers[0].kill()
    machines.workers[0].communicate()
    lines.clear()
    (result,) = compute([tiny(seed=1)], log=log, cluster=machines.address)
    assert lines[0].startswith("no worker for a minute") and result.epochs == 4


def test_the_driver_dies(machines, tmp_path):
    """What was stored is there, and the next call computes the rest."""
    machines.worker(os.environ["RKD_CACHE"])
    driver = python("-c", "import sys; sys.path[:0] = sys.argv[2:]\nimport rkd\nfrom runs_helpers import tiny\n"
                    "rkd.compute([tiny(seed=s, epochs=120) for s in range(30)], cluster=sys.argv[1])", machines.address,
                    *sys.path, RKD_CACHE=os.environ["RKD_CACHE"])
    assert driver.stdout.readline().startswith("run 1/30")
    driver.kill()
    driver.communicate()
    stored = len(files())
    assert stored >= 1
    lines = []
    results = compute([tiny(seed=s, epochs=120) for s in range(30)], log=lines.append, cluster=machines.address)
    assert len(results) == 30 and 30 - stored >= len(lines) >= 1


def test_a_worker_of_other_code_is_refused(machines, tmp_path):
    """Before anything is computed, in one line; one that joins later ends at once."""
    shutil.copytree(ROOT / "rkd", tmp_path / "other" / "rkd", ignore=shutil.ignore_patterns("__pycache__", "tuning"))
    (tmp_path / "other" / "rkd" / "tuning").mkdir()
    with open(tmp_path / "other" / "rkd" / "train.py", "a") as file:
        file.write("\n\nOTHER = 1\n")
    machines.worker(tmp_path / "x", root=tmp_path / "other")
    with pytest.raises(ValueError, match=r"cannot compute what this process asks for:\ntcp://[^\n]*: its rkd is \w+, "
                                         r"here \w+$"):
        compute([tiny()], cluster=machines.address)
    assert files() == []


def test_a_local_cluster():
    """One command to try it."""
    lines = []
    (result,) = compute([tiny("unkd")], log=lines.append, cluster="local:1")
    assert len(lines) == 2 and same(result, computed([tiny("unkd")])[0][0])


def test_a_script_that_its_workers_would_run_again_is_told_what_it_lacks(tmp_path):
    """And nothing else, such as tracebacks of workers that never were."""
    script = tmp_path / "script.py"
    script.write_text("from rkd import Run, compute\n"
                      "compute([Run('synthetic', dim=3, epochs=1)], cluster='local:1')\n")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1 and ended.stderr.count("Traceback") == 1
    assert ended.stderr.strip().endswith('under if __name__ == "__main__":')


@pytest.mark.parametrize("address, error, words", [
    ("local:no", ValueError, "a local cluster is local:N, N processes of this machine, not 'local:no'"),
    ("local:0", ValueError, "a local cluster is local:N"),
    ("tcp://127.0.0.1:1", OSError, "no dask scheduler answers at tcp://127.0.0.1:1")])
def test_addresses_that_are_none(address, error, words):
    with pytest.raises(error, match=words):
        compute([tiny()], cluster=address)


def test_differences_are_said_a_line_each():
    here = {"code": "a", "torch": "2.13", "data": {("ml-100k", "unkd", 0): "f"}}
    assert differences(here, here) == [] and differences(here, RuntimeError("x\ny")) == ["RuntimeError: x"]
    there = {"code": "b", "torch": "2.12", "data": {("ml-100k", "unkd", 0): "DataError: none"}}
    assert differences(here, there) == ["its rkd is b, here a", "its torch is 2.12, here 2.13",
                                        "its ml-100k, split 'unkd', is DataError: none, here f"]

"""Who computes what: runs are computed once, side by side or not, and kept whatever fails or is killed."""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from runs_helpers import EVERYTHING, METRICS, ROOT, computed, files, python, same, times, tiny, write_trials
from safetensors.torch import load_file

import rkd
from rkd import Run, RunsFailed, compute, split_of
from rkd.altered import refuse_altered
from rkd.store import DECIDED, key_of, metrics_key
from rkd.worker import Task, basis, compute_one, core


@pytest.fixture
def workers():
    """New worker processes: others know the cache of an earlier test."""
    get_reusable_executor().shutdown()
    yield
    get_reusable_executor().shutdown()


@pytest.fixture
def cores(tmp_path, monkeypatch):
    """A temporary folder, and so locks of the cores, of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_results_are_computed_once_and_kept_in_order():
    runs = [tiny("cd"), tiny("none"), tiny("rd"), tiny("teacher"), tiny("none")]
    first, lines = computed(runs)
    assert [result.run for result in first] == runs
    assert len(lines) == 4 == len(files()) and all("4 epochs" in line for line in lines)
    assert "teacher" in lines[0] and {line.split(":")[0] for line in lines} == {f"run {n}/4" for n in range(1, 5)}
    written = times(*EVERYTHING)
    assert len(written) == 12
    again, lines = computed(runs[::-1])
    assert lines == [] and again[::-1] == first
    assert times(*EVERYTHING) == written


def test_the_same_data_under_two_names_are_computed_once(tmp_path):
    """Each result says the name that it was asked for; at once, or one after the other."""
    data = rkd.load("synthetic")
    (tmp_path / "copy.csv").write_text("".join(f"{u},{i}\n" for u, i in zip(data.users.tolist(), data.items.tolist())))
    both = "synthetic", str(tmp_path / "copy.csv")
    for seed, names in enumerate((both, both[::-1])):
        runs = [Run(name, seed=seed, lr=1e-3, l2=1e-2, dim=3, epochs=4, batch_size=2048) for name in names]
        results, lines = computed(runs)
        assert len(lines) == 1 and [result.run for result in results] == runs
        assert results[0].metrics == results[1].metrics and torch.equal(results[0].model.table, results[1].model.table)
        (alone,), lines = computed(runs[1:])
        assert lines == [] and alone.run == runs[1] and same(alone, results[1])


def test_two_processes_give_the_same_bits_as_one(monkeypatch, tmp_path, workers):
    runs = [tiny(method, seed) for seed in (0, 1) for method in ("none", "cd")]
    two, lines = computed(runs, jobs=2)
    two_models = [result.model.table for result in two]
    monkeypatch.setenv("RKD_CACHE", str(tmp_path / "other"))
    one, more = computed(runs)
    assert len(lines) == len(more) == 6  # with two teachers
    assert all(torch.equal(result.model.table, table) for result, table in zip(one, two_models))
    assert all(repr(a.metrics) == repr(b.metrics) and a.history == b.history for a, b in zip(one, two))


# --------------------------------------------------------------------------------------------------------- what fails

@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_fails_stops_no_other(jobs, untuned, workers):
    """One diverges, and one teacher, that of LightGCN; all others are kept, and what failed is said with its reason."""
    write_trials(split_of("synthetic").data_fingerprint, "teacher", {"lr": 1e30}, backbone="lightgcn")
    good = [tiny(), tiny("cd"), tiny("none", backbone="lightgcn")]
    diverges, orphan = tiny(seed=1, lr=1e30), tiny("cd", backbone="lightgcn")
    lines = []
    with pytest.raises(RunsFailed) as error:
        compute([good[0], diverges, orphan, *good[1:]], jobs, "cpu", lines.append)
    failures = error.value.failures
    assert failures.keys() == {diverges, orphan, orphan.teacher}
    for run in (diverges, orphan.teacher):
        assert failures[run].startswith("ValueError: ") and "did training diverge" in failures[run]
    assert failures[orphan] == "RuntimeError: its teacher failed (synthetic lightgcn teacher d=5 seed 0)"
    text = str(error.value)
    assert text.startswith("3 of 7 runs failed; the others are kept:\n- ") and text.count("\n") == 3
    assert all(f"- {run}: {reason}" in text.splitlines() for run, reason in failures.items())
    assert len(lines) == 7 and {line.split(":")[0] for line in lines} == {f"run {n}/7" for n in range(1, 8)}
    assert sum(" failed: " in line for line in lines) == 3
    results, lines = computed(good)
    assert lines == [] and [result.run for result in results] == good and len(files(*EVERYTHING)) == 4 * 3


def test_a_full_or_closed_cache_is_said_before_anything_is_trained(monkeypatch, tmp_path):
    """And what is there is served from it."""
    (first,), _ = computed([tiny()])

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rkd.files.TemporaryFile", full)
    monkeypatch.setattr("rkd.worker.fit", None)
    with pytest.raises(OSError, match="No space left on device: nothing can be written into .*RKD_CACHE"):
        computed([tiny(seed=1)])
    again, lines = computed([tiny()])
    assert lines == [] and same(first, again[0])


class Killed(rkd.Distiller):
    """Its process is killed, as by a system short of memory; where ``once``, the first time alone."""

    once: bool = False

    def loss(self, student, batch):
        mark = Path(os.environ["RKD_CACHE"], "killed")
        if not (self.once and mark.exists()):
            mark.write_text("")
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        return student.rows("users", batch.users).square().mean()


def test_a_worker_that_is_killed_costs_no_other_run(workers):
    """What was running is tried again, alone."""
    once, always = tiny(Killed, settings={"once": True}), tiny(Killed)
    good = [tiny("cd", seed) for seed in range(3)]
    with pytest.raises(RunsFailed, match="1 of 8 runs failed") as error:
        computed([*good, once, always], jobs=2)
    assert error.value.failures.keys() == {always} and "was killed twice" in error.value.failures[always]
    results, lines = computed([*good, once])
    assert lines == [] and [result.run for result in results] == [*good, once]


def test_workers_end_with_their_parent(tmp_path):
    """Killed outright, in the middle of training."""
    script = ("import os, time\nfrom rkd import Run, compute\n"
              "compute([Run('synthetic', 'none', seed, dim=3, epochs=100000, lr=1e-6) for seed in range(2)], 2, 'cpu')")
    process = python("-c", script)

    def holding():
        """Processes that have this test's cache: the parent and its workers."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if os.environ["RKD_CACHE"].encode() in path.read_bytes() and path.parent.name != str(os.getpid()):
                    found.append(path.parent.name)
        return found

    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc here")
    deadline = time.monotonic() + 60
    while len(list(Path(os.environ["RKD_CACHE"]).glob("runs/*/*.lock"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert process.poll() is None and len(holding()) > 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while holding() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert holding() == []


def test_what_failed_is_tried_again(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(RunsFailed, match="No space left on device"):
        patch.setattr("rkd.store.write_whole", full)
        computed([tiny()])
    assert files(*EVERYTHING) == []
    (result,), lines = computed([tiny()])
    assert len(lines) == 1 and result.metrics.keys() == METRICS


def test_an_interruption_is_no_failure(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rkd.worker.fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        computed([tiny()])


def test_processes_of_two_versions_of_the_code_do_not_compute_together():
    """As where rkd was edited and a new worker process imports other code than the one whose keys it fills."""
    run, _, own, data = tiny(), *basis(tiny())
    key, result, failure = compute_one(Task(run, key_of(run), None, ("another", own, data), metrics_key(), rkd.METRICS,
                                            (0, "", {})))
    assert (key, result) == (key_of(run), None) and files(*EVERYTHING) == []
    assert failure == "its code or data were changed while runs were being computed: start again"


def own(path, users):
    path.write_text("".join(f"u{u},i{(u + k) % 40}\n" for u in range(users) for k in range(8)))
    return Run(path, dim=2, epochs=2)


def test_data_that_were_changed_are_read_anew(tmp_path, monkeypatch):
    """Between two calls: by this process, by workers that know the file from before, and from another folder."""
    path = tmp_path / "own.csv"
    for users, jobs in ((60, 2), (50, 2), (40, 1)):
        runs = [own(path, users), replace(own(path, users), seed=1)]
        results, lines = computed(runs, jobs=jobs)
        assert len(lines) == 2 and {result.metrics["users"] for result in results} == {users / 2}
        assert split_of(runs[0]) is split_of(str(path)) and split_of(str(path)).n_users == users
    for users in (30, 20):
        (tmp_path / str(users)).mkdir()
        own(tmp_path / str(users) / "own.csv", users)
        monkeypatch.chdir(tmp_path / str(users))
        assert computed([Run("own.csv", dim=2, epochs=2)])[0][0].metrics["users"] == users / 2


def test_data_changed_during_a_run_are_said(tmp_path, monkeypatch):
    path = tmp_path / "own.csv"
    run, fit = own(path, 60), rkd.worker.fit
    monkeypatch.setattr("rkd.worker.fit", lambda *args: (fit(*args), own(path, 50))[0])
    with pytest.raises(RunsFailed):
        computed([run])
    monkeypatch.setattr("rkd.worker.fit", fit)
    for users in (50, 60):
        own(path, users)
        assert computed([run])[0][0].metrics["users"] == users / 2


def test_a_method_of_ones_own_file_that_a_worker_would_read_otherwise_is_refused(tmp_path, monkeypatch, workers):
    """The file is edited after the runs were told; the workers, which import it anew, find the edit."""
    path = tmp_path / "own_method.py"
    text = "import rkd\n\n\nclass Mine(rkd.Distiller):\n    def loss(self, student, batch):\n        return {}\n"
    path.write_text(text.format("student.rows('users', batch.users).square().mean()"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    from own_method import Mine
    lines = []

    def then_edit(line):
        lines.append(line)
        path.write_text(text.format("student.rows('users', batch.users).abs().mean()"))

    with pytest.raises(RunsFailed, match="its code or data were changed"):
        compute([tiny(Mine, dim=dim) for dim in (2, 3)], 2, "cpu", then_edit)  # the teacher's line comes before
    assert len(lines) == 3 and len(files()) == 1


def test_workers_follow_their_parent(tmp_path, monkeypatch):
    """To another folder with a file of the same name, and to another cache."""
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "own.csv").write_text("".join(f"u{u},i{(u + k * (i + 1)) % 40}\n" for u in range(60)
                                                          for k in range(8)))
    fingerprints = []
    for i in range(2):
        monkeypatch.chdir(tmp_path / str(i))
        monkeypatch.setenv("RKD_CACHE", str(tmp_path / str(i) / "cache"))
        results, _ = computed([Run("own.csv", seed=seed, dim=2, epochs=2) for seed in range(2)], jobs=2)
        assert len(files()) == 2
        fingerprints += {result.provenance["fingerprint"] for result in results}
        assert fingerprints[i] == split_of("own.csv").fingerprint
    assert fingerprints[0] != fingerprints[1]


@pytest.mark.parametrize("place, name, value", [
    ("rkd.losses", "bpr", lambda *_: 0), ("rkd.methods.cd", "DEPTHS", 11), ("rkd.methods.cd.CD", "loss", max),
    ("rkd.models.MF", "top", lambda *_: 0), ("rkd.methods.cd.CD", "begin_epoch", lambda *_: 0),
    ("rkd.methods.cd.CD", "n_samples", 7), ("rkd.models", "BACKBONES", {"mf": type("MF", (rkd.MF,), {})}),
])
def test_code_changed_in_this_process_is_refused(place, name, value, monkeypatch):
    """A result would be kept, or shown, under the key of what the files say. Other methods' code is no matter."""
    runs = [tiny("cd"), tiny("rd")]
    first, _ = computed(runs)
    with monkeypatch.context() as patch:
        patch.setattr(f"{place}.{name}", value, raising=False)
        with pytest.raises(ValueError, match=rf"{place}.{name}\b.*: changed in this process, .* Restart"):
            computed(runs)
        if "cd" in place:
            assert computed(runs[1:])[1] == []
    again, lines = computed(runs)
    assert lines == [] and all(same(a, b) for a, b in zip(first, again))


def test_nothing_counts_as_changed_when_everything_has_been_used():
    computed([tiny(method) for method in rkd.METHODS if rkd.METHODS[method] is not rkd.METHODS["teacher"]][:6])
    refuse_altered("rkd.run", "rkd.evaluate", *(made.__module__ for made in rkd.METHODS.values()), without=DECIDED)


def test_autocast_around_compute_changes_nothing():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (result,), _ = computed([tiny()])
    table = result.model.table
    shutil.rmtree(os.environ["RKD_CACHE"])
    (again,), _ = computed([tiny()])
    assert torch.equal(again.model.table, table)


# ----------------------------------------------------------------------------------------------------- what is told

def longest_list(found, k):
    """A metric of these tests' own: the places that are filled in the fullest list, a scalar."""
    return (found.lists[:, :k] >= 0).sum(1).max().double()


def test_worker_processes_measure_what_is_in_metrics_now(monkeypatch, workers):
    """They know no metric of their own accord that was added here, and forget one that is gone."""
    runs = [tiny(), tiny("teacher")]
    before, _ = computed(runs, jobs=2)
    kept = times(".json", ".safetensors")
    monkeypatch.setitem(rkd.METRICS, "longest", longest_list)
    after, lines = computed(runs, jobs=2)
    assert len(lines) == 2 and times(".json", ".safetensors") == kept  # nothing was trained
    for old, new in zip(before, after):
        assert new.metrics == old.metrics | {"longest@10": 10.0, "longest@20": 20.0}
        assert new.valid_metrics.keys() == new.metrics.keys()
    monkeypatch.delitem(rkd.METRICS, "longest")
    again, lines = computed(runs, jobs=2)
    assert len(lines) == 2 and all(same(a, b) for a, b in zip(before, again))


def test_a_method_in_a_notebook(tmp_path, monkeypatch):
    """Defined in a cell, with a metric, and computed by two processes, which import neither; then defined otherwise;
    and as at first again."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    cells = ["""import rkd
from rkd.store import key_of

SCALE = 0.5

class Mine(rkd.Distiller):
    def loss(self, student, batch):
        return SCALE * student.rows("users", batch.users).square().mean()

class Both(rkd.Sum):
    parts = {"mine": Mine, "unkd": rkd.METHODS["unkd"]}
    mine: float = 1.0
    unkd: float = 1.0

def filled(found, k):
    return (found.lists[:, :k] >= 0).sum(1).double()

rkd.METRICS["filled"] = filled

def run(method):
    return rkd.Run("synthetic", method, dim=3, teacher_dim=5, epochs=4)""", """lines = []
results = rkd.compute([run(Mine), run(Both)], 2, "cpu", lines.append)
print(len(lines), *(result.key for result in results))
print(*(result.metrics["filled@10"] for result in results))""", """class Mine(rkd.Distiller):
    def loss(self, student, batch):
        return SCALE * student.rows("users", batch.users).abs().mean()

class Both(rkd.Sum):
    parts = {"mine": Mine, "unkd": rkd.METHODS["unkd"]}
    mine: float = 1.0
    unkd: float = 1.0

print(key_of(run(Mine), "cpu"), key_of(run(Both), "cpu"))""", """class Mine(rkd.Distiller):  # as at first
    def loss(self, student, batch):
        return SCALE * student.rows("users", batch.users).square().mean()

lines = []
(result,) = rkd.compute([run(Mine)], 2, "cpu", lines.append)
print(len(lines), result.key)
SCALE = 0.25
print(key_of(run(Mine), "cpu"))"""]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path / "ipython")}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(env=environment, cwd=str(tmp_path))
    _, first, second, third = ("".join(output.get("text", "") for output in cell.outputs).split()
                               for cell in notebook.cells)
    n, mine, both, *filled = first
    assert n == "3" and filled == ["10.0", "10.0"]  # with the teacher
    assert second[0] != mine and second[1] != both  # the sum's part is another
    assert third[:2] == ["0", mine] and third[2] not in (mine, second[0])


# ---------------------------------------------------------------------------------------------------- what is killed

SCRIPT = """
import os, signal, sys, pathlib
from rkd import Run, compute

moment, written = sys.argv[1], []
write_bytes, write_text = pathlib.Path.write_bytes, pathlib.Path.write_text

def half_then_die(path, content):
    write_bytes(path, content[:len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

def die_before(path, text, **options):
    written.append(path)
    if len(written) == {"before the record": 1, "before the metrics": 2}[moment]:
        os.kill(os.getpid(), signal.SIGKILL)
    return write_text(path, text, **options)

if moment == "while writing weights":
    pathlib.Path.write_bytes = half_then_die
if moment.startswith("before"):
    pathlib.Path.write_text = die_before
runs = [Run("synthetic", "none", seed, dim=3, epochs=int(sys.argv[2])) for seed in range(3)]
results = compute(runs, jobs=1, device="cpu")
print(*(result.model.table.double().sum().item() for result in results))
"""


def check_whole(paths):
    """Every record that is visible reads, and has beside it the weights that it speaks of."""
    for path in paths:
        weights = path.with_suffix(".safetensors")
        assert json.loads(path.read_text())["weights"] == sha256(weights.read_bytes()).hexdigest()
        assert load_file(weights)["table"].shape == (450, 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_kills_at_random_moments_lose_nothing():
    """Of what was finished; and the end is as if nobody had been killed (tests/kills.py)."""
    process = python(ROOT / "tests" / "kills.py", 10)
    out, error = process.communicate()
    told = eval(out.partition(" ")[2])
    assert told == {"killed": told["killed"], "lost": 0, "half-written": 0, "different": 0}, error
    assert told["killed"] > 5


def test_a_kill_in_the_middle_loses_the_run_in_progress_alone():
    process = python("-c", SCRIPT, "in the middle", 150)
    deadline = time.monotonic() + 60
    while not files(".metrics.json") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    out, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error
    finished, trained = times(".metrics.json"), times(".json", ".safetensors")
    assert 1 <= len(finished) < 3
    check_whole(files())

    results, lines = computed([Run("synthetic", "none", seed, dim=3, epochs=150) for seed in range(3)])
    assert len(lines) == 3 - len(finished) and len(files(*EVERYTHING)) == 9
    check_whole(files())
    assert finished.items() <= times(".metrics.json").items()
    assert {path: when for path, when in trained.items() if path.with_suffix(".json") in trained}.items() <= \
        times(".json", ".safetensors").items()
    assert [result.run.seed for result in results] == [0, 1, 2]


@pytest.mark.parametrize("moment, left", [
    ("while writing weights", ()), ("before the record", (".safetensors",)),
    ("before the metrics", (".json", ".safetensors"))])
def test_a_kill_at_a_bad_moment_shows_nothing_half_written(moment, left):
    process = python("-c", SCRIPT, moment, 4)
    _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error
    before = times(*EVERYTHING)
    assert sorted("".join(path.suffixes) for path in before) == sorted(left)
    for path in files(".safetensors"):
        assert load_file(path)["table"].shape == (450, 3)
    check_whole(files())
    results, lines = computed([Run("synthetic", "none", seed, dim=3, epochs=4) for seed in range(3)])
    assert len(lines) == 3 and len(files(*EVERYTHING)) == 9
    check_whole(files())
    assert all(result.metrics.keys() == METRICS for result in results)
    if moment == "before the metrics":  # what was whole was not trained again
        assert before.items() <= times(*EVERYTHING).items()


def test_two_processes_at_the_same_runs_both_end_well():
    processes = [python("-c", SCRIPT, "to the end", 40) for _ in range(2)]
    printed = []
    for process in processes:
        out, error = process.communicate()
        assert process.returncode == 0, error
        printed.append(out.splitlines()[-1])
    assert printed[0] == printed[1] and len(files()) == 3
    check_whole(files())
    results, lines = computed([Run("synthetic", "none", seed, dim=3, epochs=40) for seed in range(3)])
    assert lines == [] and printed[0].split() == [str(r.model.table.double().sum().item()) for r in results]


def test_of_two_processes_one_trains_a_run_and_the_other_waits():
    """Both tell the same time that it took, to the digit."""
    script = ("import sys\nfrom rkd import Run, compute\n"
              "runs = [Run('synthetic', 'none', seed, dim=3, epochs=60) for seed in range(3)]\n"
              "print([r.seconds for r in compute(runs, jobs=1, device='cpu', log=lambda line: None)])")
    processes = [python("-c", script) for _ in range(2)]
    printed = {process.communicate()[0] for process in processes}
    assert len(printed) == 1 and len(files()) == 3 and printed != {""}


def test_no_more_train_at_once_than_there_are_cores(monkeypatch, cores):
    """With two cores and four threads that want one for a moment, whatever their caches; and the threads per process
    are as before."""
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    device, before, at_once, most = torch.device("cpu"), torch.get_num_threads(), [], []

    def train(i):
        monkeypatch.setenv("RKD_CACHE", f"cache-{i}")
        with core(device):
            at_once.append(i)
            most.append(len(at_once))
            time.sleep(0.1)
            at_once.remove(i)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(train, range(4)))
    assert max(most) == 2 and len(most) == 4 and torch.get_num_threads() == before


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned here")
def test_processes_pinned_to_different_cores_do_not_wait_for_each_other(cores, monkeypatch, tmp_path):
    """As a cluster's scheduler pins them: each of one core, whose lock has its number."""
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    held = []
    for number in (3, 5):
        monkeypatch.setattr("os.sched_getaffinity", lambda pid, number=number: {number})
        held.append(core(torch.device("cpu")))
        held[-1].__enter__()
    assert sorted(path.name for path in tmp_path.glob("rkd-cores-*/*")) == ["core-3.lock", "core-5.lock"]
    for one in held:
        one.__exit__(None, None, None)


def test_where_no_core_can_be_locked_training_goes_on(cores, tmp_path):
    """As on a full disk, or where another user has taken the folder's name."""
    (tmp_path / f"rkd-cores-{os.getuid() if hasattr(os, 'getuid') else ''}").write_text("")
    with core(torch.device("cpu")) as device:
        assert device == torch.device("cpu") and torch.get_num_threads() == 1


def test_a_core_is_free_again_when_its_process_dies(cores, monkeypatch, tmp_path):
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    process = python("-c", "import time, torch, joblib\njoblib.cpu_count = lambda: 1\nfrom rkd.worker import core\n"
                     "with core(torch.device('cpu')):\n    print('held', flush=True)\n    time.sleep(60)",
                     TMPDIR=tmp_path)
    assert process.stdout.readline() == "held\n"
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(lambda: core(torch.device("cpu")).__enter__())
        time.sleep(0.3)
        assert not waits.done()
        process.kill()
        assert waits.result(10) == torch.device("cpu")
    process.communicate()


def test_a_device_that_is_no_cpu_takes_nocore(cores, tmp_path):
    with core(torch.device("meta")) as device:
        assert device == torch.device("meta") and list(tmp_path.glob("rkd-cores-*")) == []

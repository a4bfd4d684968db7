"""Runs: what tells them apart, that they are computed once, what a kill leaves behind."""

import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from runs_helpers import METRICS, ROOT, computed, files, python, same, tiny
from safetensors.torch import load_file

import rkd
import rkd.fingerprint
import rkd.synthetic
import rkd.tuned
from rkd import DataError, Run, compute_groups, evaluate, split_of
from rkd.distill import ALONE, METHODS, settings_of
from rkd.runs import _core, key_of, stored

# ----------------------------------------------------------------------------------------------------------------- Run

def test_a_runs_defaults(untuned):
    teacher, plain, student = (Run("synthetic", method) for method in ("teacher", "none", "cd"))
    assert (teacher.dim, plain.dim, student.dim, student.teacher_dim) == (100, 10, 10, 100)
    assert (plain.weight, plain.settings) == (0.0, ()) and dict(student.settings).items() >= {"n_samples": 30}.items()
    assert (student.backbone, student.split, student.split_seed) == ("mf", "unkd", 0)
    assert (student.seed, student.epochs) == (0, 500)
    assert student.teacher == teacher and teacher.teacher is None and plain.teacher is None
    assert student.distils and not teacher.distils and not plain.distils
    assert hash(student) == hash(Run("synthetic", "cd")) and student.as_dict()["settings"]["guide"] == "student"


def test_tuned_settings_stand_in_for_what_is_not_given(untuned):
    rkd.tuned.PATH.write_text(json.dumps({
        "accuracy": {
            "a": {"unkd": {"mf": {"cd": {"lr": 1, "l2": 2, "batch_size": 64, "weight": 3, "t1": 4.0}},
                           "lightgcn": {"cd": {"lr": 5, "l2": 6}}},
                  "ratio": {"mf": {"cd": {"lr": 30, "weight": 31}}}},
            "b": {"unkd": {"mf": {"none": {"lr": 10, "l2": 11}}, "lightgcn": {"none": {"lr": 12, "l2": 13}}}},
            "ml-100k": {"unkd": {"mf": {"cd": {"lr": 7, "l2": 8, "batch_size": 65, "weight": 9}, "teacher": {"lr": 14, "l2": 15}}}}},
        "tail": {"a": {"unkd": {"mf": {"cd": {"lr": 20, "l2": 21, "weight": 22}}}}}}))
    run = Run("a", "cd")
    assert (run.lr, run.l2, run.batch_size, run.weight, dict(run.settings)["t1"]) == (1, 2, 64, 3, 4.0)
    run = Run("a", "cd", split="ratio")
    assert (run.lr, run.l2, run.weight) == (30, 2, 31)  # its own first, then those of "unkd"
    run = Run("a", "cd", lr=0.5, settings={"t1": 2.5, "t2": 1})
    assert (run.lr, run.l2, dict(run.settings)) == (0.5, 2, settings_of("cd") | {"t1": 2.5, "t2": 1})

    def found(*arguments):
        run = Run(*arguments[:2], backbone=arguments[2])
        return run.lr, run.l2, run.weight

    assert found("a", "cd", "lightgcn") == (5, 6, 3)  # the weight of MF
    assert found("b", "cd", "mf") == (10, 11, 9)  # the plain student's lr and l2, MovieLens-100K's weight
    assert found("b", "cd", "lightgcn") == (12, 13, 9)
    assert found("c", "cd", "mf") == (7, 8, 9)  # all from MovieLens-100K
    assert found("c", "teacher", "lightgcn") == found("ml-100k", "teacher", "mf") == (14, 15, 0)
    assert found("c", "pd", "mf") == (14, 15, 0)  # a teacher's, as long as PD has none of its own
    assert Run("c", "cd").batch_size == 2048 and Run("ml-100k", "cd").batch_size == 65  # never from other data
    assert found("a", "rd", "mf") == (1e-3, 1e-2, 0.1) and found("a", "none", "mf") == (1e-3, 1e-2, 0.0)  # nothing known
    assert rkd.tuned.tuned("a", "mf", "cd", "tail") == {"lr": 20, "l2": 21, "weight": 22, "batch_size": 2048}


def test_a_runs_teacher_shares_data_seed_and_backbone():
    run = Run("synthetic", "rd", 3, "lightgcn", dim=4, split="ratio", split_seed=2, lr=0.5, weight=0.7, epochs=9,
              teacher_dim=6)
    assert run.teacher == Run("synthetic", "teacher", 3, "lightgcn", 6, "ratio", 2, epochs=9)
    assert run.teacher.lr != 0.5 and run.teacher.teacher_dim == 6


@pytest.mark.parametrize("arguments, message", [
    (dict(method="nothing"), "unknown method 'nothing': choose from teacher, pd, none, " + ", ".join(METHODS)),
    (dict(backbone="nothing"), "unknown backbone 'nothing': choose from mf, lightgcn"),
    (dict(method="none", weight=1.0), "distils nothing"),
    (dict(method="pd", weight=1.0), "'pd' distils nothing"),
    (dict(method="teacher", settings={"k": 3}), "teacher has no setting 'k'; it has no settings of its own"),
    (dict(method="pd", settings={"k": 3}), "pd has no setting 'k'; it has gamma=0.1"),
    (dict(method="rd", settings={"guide": "teacher"}), "rd has no setting 'guide'"),
    (dict(method="rd", settings={"k": 3.5}), "rd's k is a int such as 30"),
])
def test_what_a_run_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Run("synthetic", **arguments)


# ---------------------------------------------------------------------------------------------------------------- keys

def test_every_setting_changes_the_key(untuned):
    given = dict(dim=3, epochs=4, teacher_dim=5, lr=0.1, l2=0.1, weight=0.1)
    others = [dict(seed=1), dict(backbone="lightgcn"), dict(dim=4), dict(split="ratio"), dict(split_seed=1),
              dict(lr=0.2), dict(l2=0.2), dict(weight=0.2), dict(settings={"t1": 1.0}), dict(epochs=5),
              dict(teacher_dim=6)]
    runs = [Run("synthetic", "cd", **given | other) for other in [{}, *others]]
    assert len({key_of(run) for run in runs}) == len(runs)
    assert key_of(Run("synthetic", "cd", **given, settings={"t1": 2.0})) == key_of(runs[0])  # the default, spelt out
    assert len({key_of(tiny(method, dim=5)) for method in (*ALONE, *METHODS)}) == len(ALONE) + len(METHODS)


def test_the_teachers_key_minds_only_what_concerns_the_teacher():
    first = tiny("cd").teacher
    assert first == tiny("cd", dim=4, lr=0.7, weight=0.7, settings={"t1": 1.0}).teacher == tiny("rd").teacher
    assert key_of(first) != key_of(tiny("cd", seed=1).teacher)


def test_a_student_of_another_teacher_has_another_key(untuned):
    """The teacher's settings are not the student's own, but tuning the teacher anew changes what the student learns."""
    run = tiny("cd")
    before = key_of(run)
    rkd.tuned.PATH.write_text('{"accuracy": {"synthetic": {"unkd": {"mf": {"teacher": {"lr": 0.5}}}}}}')
    assert tiny("cd") == run and key_of(run) != before


def test_the_data_decide_not_their_name(tmp_path):
    """A copy under another path is the same run; one pair less is another."""
    data = rkd.load("synthetic")
    lines = [f"{u},{i}\n" for u, i in zip(data.users.tolist(), data.items.tolist())]
    (tmp_path / "copy.csv").write_text("".join(reversed(lines)))
    (tmp_path / "less.csv").write_text("".join(lines[1:]))
    key, copy, less = (key_of(Run(str(name), lr=1e-3, l2=1e-2))
                       for name in ("synthetic", tmp_path / "copy.csv", tmp_path / "less.csv"))
    assert key == copy != less


# ------------------------------------------------------------------------------------------------------------- compute

def test_results_are_computed_once_and_kept_in_order():
    runs = [tiny("cd"), tiny("none"), tiny("rd"), tiny("teacher"), tiny("none")]
    first, lines = computed(runs)
    assert [result.run for result in first] == runs
    assert len(lines) == 4 == len(files()) and all("4 epochs" in line for line in lines)
    assert "teacher" in lines[0] and {line.split(":")[0] for line in lines} == {f"run {n}/4" for n in range(1, 5)}
    written = {path: path.stat().st_mtime_ns for path in files("")}
    again, lines = computed(runs[::-1])
    assert lines == [] and again[::-1] == first
    assert {path: path.stat().st_mtime_ns for path in files("")} == written


def test_named_lists_are_computed_at_once_and_keep_their_names():
    a, b = tiny(seed=1), tiny("cd")
    found = compute_groups({"both": [a, b], "none": [], "again": [a]}, jobs=1)
    assert {name: [r.run for r in results] for name, results in found.items()} == {"both": [a, b], "none": [], "again": [a]}
    assert same(found["both"][0], found["again"][0]) and len(files()) == 3  # the teacher as well


def test_provenance_tells_committed_code_from_edited_code(tmp_path):
    shutil.copytree(ROOT / "rkd", tmp_path / "rkd", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    code = ("import torch, rkd; from rkd.runs import provenance; "
            "print(provenance(rkd.split_of('synthetic'), torch.device('cpu'))['dirty'])")
    for edit, dirty in (("", "False"), ("# edited\n", "True")):
        with open(tmp_path / "rkd" / "losses.py", "a") as file:
            file.write(edit)
        assert python("-c", code, root=tmp_path).communicate()[0].strip() == dirty


def test_a_result_is_what_its_model_evaluates_to():
    (result,), lines = computed([tiny("cd", backbone="lightgcn")])
    assert len(lines) == 2  # its teacher as well
    split = split_of(result.run)
    assert repr(evaluate(result.model, split)) == repr(result.metrics)
    assert repr(evaluate(result.model, split, on="valid")) == repr(result.valid_metrics)
    assert result.metrics.keys() == METRICS and result.key == key_of(result.run, "cpu")
    assert result.best_epoch in [entry["epoch"] for entry in result.history] and result.epochs == 4
    assert result.model.dim == 3 and type(result.model).__name__ == "LightGCN"
    assert result.provenance["fingerprint"] == split.fingerprint and result.provenance["torch"] == torch.__version__


def test_a_result_is_what_train_and_distill_return():
    """compute() adds nothing of its own: the same calls by hand give the same table."""
    (teacher, student), _ = computed([tiny("teacher", seed=2), tiny("cd", seed=2)])
    split = split_of("synthetic")
    options = dict(epochs=4, seed=2, device="cpu", progress=False)
    fit = rkd.train(rkd.MF(split, 5, seed=2), split, lr=teacher.run.lr, l2=teacher.run.l2, **options)
    assert torch.equal(fit.model.table, teacher.model.table)
    run = student.run
    fit = rkd.distill(fit.model, split, "cd", dim=3, lr=run.lr, l2=run.l2, weight=run.weight, **options)
    assert torch.equal(fit.model.table, student.model.table) and fit.history == student.history


def test_the_synthetic_world_has_runs_too():
    """Its division comes with it: "affinity", test items by affinity alone; other divisions of it there are none."""
    split = split_of(Run("synthetic-world", split="affinity", split_seed=1))
    assert split.fingerprint == rkd.synthetic.world(seed=1).split.fingerprint and split.protocol == "affinity"
    with pytest.raises(DataError, match="no data set and no file 'synthetic-world'"):
        split_of(Run("synthetic-world", split="unkd"))


def test_two_processes_give_the_same_bits_as_one(monkeypatch, tmp_path):
    runs = [tiny(method, seed) for seed in (0, 1) for method in ("none", "cd")]
    get_reusable_executor().shutdown()  # workers that know the cache of an earlier test
    two, lines = computed(runs, jobs=2)
    get_reusable_executor().shutdown()
    two_models = [result.model.table for result in two]
    monkeypatch.setenv("RKD_CACHE", str(tmp_path / "other"))
    one, more = computed(runs)
    assert len(lines) == len(more) == 6  # with two teachers
    assert all(torch.equal(result.model.table, table) for result, table in zip(one, two_models))
    assert all(repr(a.metrics) == repr(b.metrics) and a.history == b.history for a, b in zip(one, two))


@pytest.mark.parametrize("damage", [
    lambda record, weights: record.write_text(record.read_text()[:100]),
    lambda record, weights: record.write_text(""),
    lambda record, weights: record.write_text("[1, 2]"),
    lambda record, weights: record.write_text('{"key": "of another release"}'),
    lambda record, weights: record.unlink(),
    lambda record, weights: weights.unlink(),
    lambda record, weights: record.write_bytes(b"\xff\xfe"),
    lambda record, weights: weights.write_bytes(weights.read_bytes()[:-1]),
], ids=["truncated", "empty", "list", "other fields", "no record", "no weights", "no text", "truncated weights"])
def test_a_damaged_result_is_computed_again(damage):
    (first,), _ = computed([tiny()])
    table = first.model.table
    damage(files()[0], files(".safetensors")[0])
    assert stored(first.run, first.key) is None
    (again,), lines = computed([tiny()])
    assert len(lines) == 1 and again.metrics == first.metrics and torch.equal(again.model.table, table)


SCRIPT = """
import os, signal, sys, pathlib, rkd.runs
from rkd.runs import Run, compute, compute_groups

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

def half_then_die(tensors, path):
    pathlib.Path(path).write_bytes(b"half of the weights")
    die()

if sys.argv[1] == "while writing weights":
    rkd.runs.save_file = half_then_die
if sys.argv[1] == "before the record":
    pathlib.Path.write_text = die
runs = [Run("synthetic", "none", seed, dim=3, epochs=int(sys.argv[2])) for seed in range(3)]
results = compute(runs, jobs=1, device="cpu")
print(*(result.model.table.double().sum().item() for result in results))
"""


def check_whole(paths):
    """Every record that is visible reads, and has weights beside it that read."""
    for path in paths:
        assert json.loads(path.read_text())["metrics"].keys() == METRICS
        assert load_file(path.with_suffix(".safetensors"))["table"].shape == (450, 3)


def test_a_kill_in_the_middle_loses_the_run_in_progress_alone():
    process = python("-c", SCRIPT, "in the middle", 150)
    deadline = time.monotonic() + 60
    while not files() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    out, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error
    finished = {path: path.stat().st_mtime_ns for path in files()}
    assert 1 <= len(finished) < 3
    check_whole(finished)

    results, lines = computed([Run("synthetic", "none", seed, dim=3, epochs=150) for seed in range(3)])
    assert len(lines) == 3 - len(finished) and len(files()) == 3
    check_whole(files())
    assert finished.items() <= {path: path.stat().st_mtime_ns for path in files()}.items()
    assert [result.run.seed for result in results] == [0, 1, 2]


def test_a_kill_at_a_bad_moment_shows_nothing_half_written(tmp_path, monkeypatch):
    moments = {moment: tmp_path / moment for moment in ("while writing weights", "before the record")}
    processes = [python("-c", SCRIPT, moment, 4, cache=cache) for moment, cache in moments.items()]
    for process, cache in zip(processes, moments.values()):
        _, error = process.communicate()
        assert process.returncode == -signal.SIGKILL, error
        monkeypatch.setenv("RKD_CACHE", str(cache))
        assert files() == []
        for path in files(".safetensors"):
            assert load_file(path)["table"].shape == (450, 3)
        _, lines = computed([Run("synthetic", "none", seed, dim=3, epochs=4) for seed in range(3)])
        assert len(lines) == 3
        check_whole(files())


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


def test_no_more_train_at_once_than_there_are_cores(monkeypatch):
    """With two cores and four threads that want one for a moment; and the threads per process are as before."""
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    device, before, at_once, most = torch.device("cpu"), torch.get_num_threads(), [], []
    (Path(os.environ["RKD_CACHE"]) / "runs").mkdir(parents=True, exist_ok=True)

    def train(i):
        with _core(device):
            at_once.append(i)
            most.append(len(at_once))
            time.sleep(0.1)
            at_once.remove(i)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(train, range(4)))
    assert max(most) == 2 and len(most) == 4 and torch.get_num_threads() == before

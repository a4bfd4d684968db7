"""Runs: what tells them apart, that they are computed once, what a kill leaves behind, and the command line."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from safetensors.torch import load_file

import rkd
import rkd.fingerprint
import rkd.synthetic
import rkd.tuned
from rkd import DataError, Run, compute, evaluate, split_of
from rkd.__main__ import _print_json, main, parse_settings
from rkd.distill import METHODS, Distiller, settings_of
from rkd.runs import Result, key_of, stored

ROOT = Path(rkd.__file__).parents[1]
METRICS = {f"{name}@{k}" for k in (10, 20) for name in
           ("recall", "precision", "hit_rate", "ndcg", "popular/recall", "unpopular/recall", "unpopular_share",
            "coverage", "gini", "popularity")} | {"users", "unpopular_share"}


def tiny(method="none", seed=0, **settings) -> Run:
    """A run of a fraction of a second, on the data set "synthetic"."""
    return Run("synthetic", method, seed, **{"dim": 5 if method == "teacher" else 3, "epochs": 4, "teacher_dim": 5}
               | settings)


def files(suffix=".json") -> list[Path]:
    """What lies whole in the cache; scratch files, which start with a dot, do not count."""
    found = Path(os.environ["RKD_CACHE"]).glob(f"runs/*/*{suffix}")
    return sorted(path for path in found if not path.name.startswith("."))


def same(first: Result, second: Result) -> bool:
    """Equal in all but the time that it took."""
    names = {f.name for f in fields(Result)} - {"seconds", "seconds_per_epoch"}
    return (all(repr(getattr(first, name)) == repr(getattr(second, name)) for name in names)
            and torch.equal(first.model.table, second.model.table))


def computed(runs, **options) -> tuple[list[Result], list[str]]:
    lines = []
    return compute(runs, device="cpu", log=lines.append, **{"jobs": 1} | options), lines


def python(*arguments, cache=None, root=ROOT, **options) -> subprocess.Popen:
    """This interpreter in a process of its own, which imports rkd from ``root``."""
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    if cache:
        environment["RKD_CACHE"] = str(cache)
    return subprocess.Popen([sys.executable, *map(str, arguments)], env=environment, cwd=root, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


# ----------------------------------------------------------------------------------------------------------------- Run

@pytest.fixture
def untuned(tmp_path, monkeypatch):
    """No tuned settings for anything."""
    monkeypatch.setattr(rkd.tuned, "PATH", tmp_path / "tuned.json")
    rkd.tuned.PATH.write_text("{}")


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
        "a": {"mf": {"cd": {"lr": 1, "l2": 2, "weight": 3, "t1": 4.0}}, "lightgcn": {"cd": {"lr": 5, "l2": 6}}},
        "b": {"mf": {"none": {"lr": 10, "l2": 11}}, "lightgcn": {"none": {"lr": 12, "l2": 13}}},
        "ml-100k": {"mf": {"cd": {"lr": 7, "l2": 8, "weight": 9}, "teacher": {"lr": 14, "l2": 15}}}}))
    run = Run("a", "cd")
    assert (run.lr, run.l2, run.weight, dict(run.settings)["t1"]) == (1, 2, 3, 4.0)
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
    assert found("a", "rd", "mf") == (1e-3, 1e-2, 0.1) and found("a", "none", "mf") == (1e-3, 1e-2, 0.0)  # nothing known


def test_a_runs_teacher_shares_data_seed_and_backbone():
    run = Run("synthetic", "rd", 3, "lightgcn", dim=4, split="ratio", split_seed=2, lr=0.5, weight=0.7, epochs=9,
              teacher_dim=6)
    assert run.teacher == Run("synthetic", "teacher", 3, "lightgcn", 6, "ratio", 2, epochs=9)
    assert run.teacher.lr != 0.5 and run.teacher.teacher_dim == 6


@pytest.mark.parametrize("arguments, message", [
    (dict(method="nothing"), "unknown method 'nothing': choose from teacher, none, " + ", ".join(METHODS)),
    (dict(backbone="nothing"), "unknown backbone 'nothing': choose from mf, lightgcn"),
    (dict(method="none", weight=1.0), "distils nothing"),
    (dict(method="teacher", settings={"k": 3}), "distils nothing"),
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
    assert len({key_of(tiny(method, dim=5)) for method in ("teacher", "none", *METHODS)}) == 2 + len(METHODS)


def test_the_teachers_key_minds_only_what_concerns_the_teacher():
    first = tiny("cd").teacher
    assert first == tiny("cd", dim=4, lr=0.7, weight=0.7, settings={"t1": 1.0}).teacher == tiny("rd").teacher
    assert key_of(first) != key_of(tiny("cd", seed=1).teacher)


def test_a_student_of_another_teacher_has_another_key(untuned):
    """The teacher's settings are not the student's own, but tuning the teacher anew changes what the student learns."""
    run = tiny("cd")
    before = key_of(run)
    rkd.tuned.PATH.write_text('{"synthetic": {"mf": {"teacher": {"lr": 0.5, "l2": 0.01}}}}')
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


def restart():
    """Have the code read anew, as a new process would."""
    rkd.fingerprint._read.cache_clear()
    rkd.fingerprint.IMPORTED.clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, whose code the keys are made of."""
    copy = shutil.copytree(ROOT / "rkd", tmp_path / "copied" / "rkd", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(rkd.fingerprint, "PACKAGE", copy)
    restart()
    yield copy
    restart()


def keys() -> dict[tuple, str]:
    restart()
    return {(b, m): key_of(tiny(m, backbone=b)) for b in ("mf", "lightgcn") for m in ("teacher", "none", "rd", "cd")}


def edit(path: Path, pattern: str, replacement: str):
    """Replace the first match."""
    text, n = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.DOTALL | re.MULTILINE)
    assert n == 1, f"no {pattern} in {path.name}"
    path.write_text(text)


def add_statement(path: Path, definition: str):
    """Another statement before the first ``return`` of a function or method: code that differs."""
    edit(path, rf"(def {definition}\(.*?\n)( +)(return )", r"\1\2edited = True\n\2\3")


def everything(backbone, method):
    return True


@pytest.mark.parametrize("file, definition, concerns", [
    ("losses.py", "collaborative_distillation", lambda backbone, method: method == "cd"),
    ("losses.py", "ranking_distillation", lambda backbone, method: method == "rd"),
    ("losses.py", "weighted_mean", lambda backbone, method: method in ("rd", "cd")),
    ("losses.py", "bpr", everything),
    ("losses.py", "half_square", everything),
    ("sampling.py", "draw_ranks", lambda backbone, method: method == "cd"),
    ("sampling.py", "__call__", everything),
    ("models.py", "normalised_adjacency", lambda backbone, method: backbone == "lightgcn"),
    ("models.py", "scores", everything),
    ("distill/rd.py", "discrepancy", lambda backbone, method: method == "rd"),
    ("train.py", "train_epoch", everything),
    ("evaluate.py", "_gini", everything),
    ("popularity.py", "popularity_groups", everything),
    ("ranking.py", "top_k", everything),
    ("figures.py", "", None), ("catalog.py", "load", None), ("tune.py", "trials", None),
])
def test_code_changes_the_keys_that_it_concerns(package, file, definition, concerns):
    before = keys()
    if definition:
        add_statement(package / file, definition)
    else:
        (package / file).write_text("edited = True\n")
    after = keys()
    assert {k for k in before if before[k] != after[k]} == {k for k in before if concerns and concerns(*k)}


def test_constants_count_as_code(package):
    before = keys()
    edit(package / "distill" / "cd.py", r"^DEPTHS = \d+", "DEPTHS = 11")
    assert {method for (_, method), key in keys().items() if key != before[_, method]} == {"cd"}
    before = keys()
    edit(package / "train.py", r"^PATIENCE = \d+", "PATIENCE = 21")
    assert all(key != before[k] for k, key in keys().items())


def test_comments_docstrings_and_new_definitions_change_no_key(package):
    before = keys()
    for path in package.glob("**/*.py"):
        text = path.read_text()
        text = re.sub(r'"""', '"""Said otherwise. ', text, count=1)  # the module's docstring
        text = re.sub(r'(    """)([A-Z])', r"\1Said otherwise. \2", text)  # those of functions and classes
        path.write_text(f"# a comment\n{text}\n\ndef nobody_uses_this(x):\n    return x\n")
    (package / "distill" / "another.py").write_text("from ..losses import bpr\n")
    assert keys() == before


def test_an_edited_package_has_other_keys(package):
    """As whoever edits a loss meets it: the copy imported by a process of its own."""
    before = keys()
    add_statement(package / "losses.py", "collaborative_distillation")
    script = ("from rkd.runs import *; import rkd; print(rkd.__file__); runs = [Run('synthetic', m, epochs=4, dim=d, "
              "teacher_dim=5) for m, d in (('teacher', 5), ('cd', 3))]; print(*map(key_of, runs))")
    out, error = python("-c", script, root=package.parent).communicate()
    path, found = out.splitlines()
    assert Path(path).parent == package, error
    assert found.split()[0] == before["mf", "teacher"] and found.split()[1] != before["mf", "cd"]


@pytest.mark.parametrize("lines, call", [
    ("from ..losses import ranking_distillation", "ranking_distillation"),
    ("from ..losses import ranking_distillation as loss", "loss"),
    ("from rkd.losses import ranking_distillation", "ranking_distillation"),
    ("from .. import losses", "losses.ranking_distillation"),
    ("from . import rd", "rd.ranking_distillation"),
])
def test_code_counts_however_it_is_imported(package, lines, call):
    (package / "distill" / "own.py").write_text(f"{lines}\n\n\ndef own(x):\n    return {call}(x, x)\n")

    def fingerprint():
        restart()
        return rkd.fingerprint.code_fingerprint(("rkd.distill.own", "own"))

    before = fingerprint()
    add_statement(package / "losses.py", "ranking_distillation")
    assert fingerprint() != before


def test_an_import_that_hides_code_is_refused(package):
    (package / "distill" / "own.py").write_text("import rkd.losses\n\n\ndef own(x):\n    return x\n")
    with pytest.raises(ValueError, match="own says 'import rkd.losses': import the names"):
        rkd.fingerprint.code_fingerprint(("rkd.distill.own", "own"))


def test_code_edited_under_a_running_process_is_refused(package):
    """Its result would be kept under the key of code that did not compute it."""
    key_of(tiny("cd"))
    path = package / "losses.py"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with pytest.raises(ValueError, match="losses.py was edited since it was imported: restart the kernel"):
        key_of(tiny("cd"))


def test_a_method_outside_the_package_has_no_key(monkeypatch):
    monkeypatch.setitem(METHODS, "own", type("Own", (Distiller,), {"__module__": __name__}))
    with pytest.raises(ValueError, match="put the method into a file in rkd/distill/"):
        key_of(tiny("own"))


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
from rkd.runs import Run, compute

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


# -------------------------------------------------------------------------------------------------------- command line

def cli_keys() -> set[str]:
    return {f.name for f in fields(Run)} | {"max_epochs", "metrics", "valid_metrics", "epochs", "best_epoch",
                                            "seconds_per_epoch", "seconds", "key", "provenance"}


def test_the_command_line_ends_with_one_json_object():
    process = python("-m", "rkd", "run", "--dataset", "synthetic", "--method", "cd", "--backbone", "mf", "--dim", 3,
                     "--teacher-dim", 5, "--seed", 1, "--set", "n_samples=7", "--set", "guide=teacher", "--epochs", 3,
                     "--weight", 0.25, "--device", "cpu", "--json")
    out, error = process.communicate()
    assert process.returncode == 0 and error == ""
    shown = json.loads(out.splitlines()[-1])
    assert shown.keys() == cli_keys() and shown["metrics"].keys() == shown["valid_metrics"].keys() == METRICS
    run = Run("synthetic", "cd", 1, dim=3, teacher_dim=5, weight=0.25, settings={"n_samples": 7, "guide": "teacher"},
              epochs=3)
    assert {**run.as_dict(), "epochs": 3, "max_epochs": 3}.items() <= shown.items()
    (result,), lines = computed([run])
    assert lines == [] and result.metrics == shown["metrics"] and result.key == shown["key"]
    assert shown["seconds"] > shown["seconds_per_epoch"] > 0 and shown["best_epoch"] == 3


def test_mistakes_on_the_command_line_end_in_one_line():
    process = python("-m", "rkd", "run", "--dataset", "synthetic", "--method", "rd", "--set", "k=many")
    out, error = process.communicate()
    assert (process.returncode, out, error) == (2, "", "rkd: --set k=many: k is a int such as 30\n")


@pytest.mark.parametrize("arguments, message", [
    ("--method nothing", "unknown method 'nothing'"),
    ("--backbone nothing", "unknown backbone 'nothing'"),
    ("--split nothing", "unknown split 'nothing'"),
    ("--dataset nothing", "there is no data set and no file 'nothing'"),
    ("--device tpu", "device 'tpu' is not available here"),
    ("--method rd --set k", "--set takes NAME=VALUE, not 'k'"),
    ("--method rd --set k=2.5", "--set k=2.5: k is a int such as 30"),
    ("--method cd --set t1=warm", "--set t1=warm: t1 is a float such as 2.0"),
    ("--method rd --set guide=teacher", "rd has no setting 'guide'"),
    ("--method cd --set guide=nobody --teacher-dim 3", "guide must be 'student' or 'teacher'"),
    ("--method none --set k=3", "distils nothing"),
    ("--method none --weight 1", "distils nothing"),
    ("--epochs 0", "epochs and batch_size 1 or more"),
    ("--dim 0", "dim must be 1 or more"),
    ("--lr -1", "lr must be above 0"),
    ("--lr 1e30", "did training diverge"),
])
def test_what_the_command_line_refuses(arguments, message, capsys):
    status = main(["run", "--dataset", "synthetic", "--epochs", "5", "--device", "cpu", *arguments.split()])
    out, error = capsys.readouterr()
    assert status == 2 and error.startswith("rkd: ") and message in error
    assert error.count("\n") == 1 and "recall" not in out


def test_settings_are_parsed_by_their_defaults_type():
    assert parse_settings("cd", ["n_samples=5", "t1=3", "guide=teacher", "t2=-1e-2"]) == {
        "n_samples": 5, "t1": 3.0, "guide": "teacher", "t2": -0.01}
    assert type(parse_settings("cd", ["t1=3"])["t1"]) is float
    assert parse_settings("cd", ["guide=a=b"]) == {"guide": "a=b"} and parse_settings("none", []) == {}


def test_a_file_of_ones_own(tmp_path, capsys):
    """User u has the items u … u + 7 of 40, all named by words."""
    path = tmp_path / "own.csv"
    path.write_text("user,item\n" + "".join(f"u{u},i{(u + i) % 40}\n" for u in range(60) for i in range(8)))
    arguments = ["run", "--dataset", str(path), "--epochs", "2", "--dim", "2", "--device", "cpu", "--json"]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert first["dataset"] == str(path) and first["provenance"]["data"] == "own" and first["metrics"]["users"] == 30
    assert main(arguments) == 0  # from disk: the same times, to the digit
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == first
    assert main(["data", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts.items() >= {"users": 60, "items": 40, "interactions": 480, "sparsity_percent": 80.0}.items()


def test_data_and_methods(capsys):
    assert main(["data", "synthetic"]) == 0
    assert "300 users, 150 items, 7500 interactions" in capsys.readouterr().out
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    for name in METHODS:
        assert name in out and all(f"{k}={v!r}" in out for k, v in settings_of(name).items())
    assert main(["data", "nothing"]) == 2


def test_json_is_strict(capsys):
    _print_json({"a": float("nan"), "b": {"c": float("inf"), "d": 1.5}, "e": [1]})
    assert capsys.readouterr().out == '{"a": null, "b": {"c": null, "d": 1.5}, "e": [1]}\n'

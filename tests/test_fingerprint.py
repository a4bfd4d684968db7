"""The key of a run against edits of the code: what concerns it changes it, and nothing else does."""

import os
import re
import shutil
from pathlib import Path

import pytest
from runs_helpers import ROOT, python, tiny

import rkd
import rkd.fingerprint
import rkd.synthetic
import rkd.tuned
from rkd.distill import METHODS, Distiller
from rkd.runs import key_of


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
    methods = "teacher", "none", "rd", "cd", "pd-cd", "de-rrd"
    return {(b, m): key_of(tiny(m, backbone=b)) for b in ("mf", "lightgcn") for m in methods}


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
    ("losses.py", "collaborative_distillation", lambda backbone, method: method in ("cd", "pd-cd")),
    ("losses.py", "relaxed_ranking", lambda backbone, method: method == "de-rrd"),
    ("losses.py", "entity_topology", lambda backbone, method: False),
    ("losses.py", "ranking_distillation", lambda backbone, method: method == "rd"),
    ("losses.py", "weighted_mean", everything),
    ("losses.py", "bpr", everything),
    ("losses.py", "half_square", everything),
    ("sampling.py", "draw_ranks", lambda backbone, method: method in ("cd", "pd-cd", "de-rrd")),
    ("sampling.py", "__call__", everything),
    ("models.py", "normalised_adjacency", lambda backbone, method: backbone == "lightgcn"),
    ("models.py", "scores", everything),
    ("distill/rd.py", "discrepancy", lambda backbone, method: method == "rd"),
    ("distill/experts.py", "temperature", lambda backbone, method: method == "de-rrd"),
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
    assert {method for (_, method), key in keys().items() if key != before[_, method]} == {"cd", "pd-cd"}
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

"""The keys of a run and of its metrics against edits of the code: what concerns them changes them, and nothing else."""

import ast
import os
import re
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from runs_helpers import ROOT, python, tiny

import rkd
from rkd import fingerprint
from rkd.fingerprint import IMPORTED, PATHS, TIMES, code_fingerprint, package_fingerprint
from rkd.store import DECIDED, key_of, metrics_key

METHODS = "teacher", "none", "rd", "cd", "pd-cd", "de-rrd", "unkd", "nkd", "mkd"


def restart():
    """Have the code read anew, as a new process would."""
    paths = {fingerprint._module(path): path for path in sorted(fingerprint.PACKAGE.rglob("*.py"))}
    for held, new in ((PATHS, paths), (IMPORTED, {module: path.read_text() for module, path in paths.items()}),
                      (TIMES, {module: path.stat().st_mtime_ns for module, path in paths.items()})):
        held.clear()
        held.update(new)
    fingerprint._imports.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, whose code the keys are made of."""
    before = [(held, dict(held)) for held in (PATHS, IMPORTED, TIMES)]
    copy = shutil.copytree(ROOT / "rkd", tmp_path / "copied" / "rkd", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("rkd.fingerprint.PACKAGE", copy)
    restart()
    yield copy
    for held, values in before:
        held.clear()
        held.update(values)
    fingerprint._imports.cache_clear()


def keys() -> dict[tuple, str]:
    restart()
    fits = {(b, m): key_of(tiny(m, backbone=b)) for b in ("mf", "lightgcn") for m in METHODS}
    return fits | {"metrics": metrics_key()}


def edit(path: Path, pattern: str, replacement: str):
    """Replace the first match."""
    text, n = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.DOTALL | re.MULTILINE)
    assert n == 1, f"no {pattern} in {path.name}"
    path.write_text(text)


def add_statement(path: Path):
    """Another statement before the first ``return``: code that differs."""
    edit(path, r"^( +)(return)\b", r"\1edited = True\n\1\2")


def of(*methods):
    return lambda key: key != "metrics" and key[1] in methods


def every_fit(key):
    return key != "metrics"


def metrics_alone(key):
    return key == "metrics"


def everything(key):
    return True


def nothing(key):
    return False


@pytest.mark.parametrize("file, concerns", [
    ("methods/cd.py", of("cd", "pd-cd")),
    ("methods/rd.py", of("rd")),
    ("methods/unkd.py", of("unkd")),
    ("methods/experts.py", of("de-rrd", "pd-cd")),  # PD-CD's file holds PD-HTD too
    ("methods/rrd.py", of("de-rrd")),
    ("methods/nkd.py", of("nkd", "mkd")),
    ("methods/alone.py", every_fit),
    ("methods/base.py", every_fit),
    ("consistency.py", of("mkd")),
    ("neighbours.py", of("nkd", "mkd")),
    ("popularity.py", lambda key: key == "metrics" or key[1] in ("unkd", "mkd")),
    ("losses.py", every_fit), ("sampling.py", every_fit), ("train.py", every_fit), ("batch.py", every_fit),
    ("distillation.py", every_fit), ("run.py", every_fit), ("fit.py", every_fit), ("served.py", nothing),
    ("evaluate.py", metrics_alone),
    ("hits.py", everything), ("models.py", everything), ("ranking.py", everything), ("kernels.py", everything),
    ("data.py", everything), ("device.py", everything),
    ("store.py", nothing), ("schedule.py", nothing), ("tune.py", nothing), ("tuned.py", nothing), ("bench.py", nothing),
    ("methods/__init__.py", nothing), ("datasets/catalog.py", nothing), ("study/figures.py", nothing),
])
def test_code_changes_the_keys_that_it_concerns(package, file, concerns):
    before = keys()
    add_statement(package / file)
    after = keys()
    assert {k for k in before if before[k] != after[k]} == {k for k in before if concerns(k)}


def test_constants_count_as_code(package):
    before = keys()
    edit(package / "methods" / "cd.py", r"^DEPTHS = \d+", "DEPTHS = 11")
    assert {key[1] for key, value in keys().items() if value != before[key]} == {"cd", "pd-cd"}
    before = keys()
    edit(package / "train.py", r"patience: int = \d+", "patience: int = 21")
    assert all((value != before[key]) == every_fit(key) for key, value in keys().items())


def test_comments_docstrings_and_layout_change_no_key(package):
    before = keys()
    for path in package.glob("**/*.py"):
        text = path.read_text()
        text = re.sub(r'"""', '"""Said otherwise. ', text, count=1)  # the module's docstring
        text = re.sub(r'(    """)([A-Z])', r"\1Said otherwise. \2", text)  # those of functions and classes
        path.write_text(f"# a comment\n\n{text}\n\n")
    (package / "methods" / "another.py").write_text("from ..kernels import bpr\n")
    assert keys() == before


def test_an_edited_package_has_other_keys(package):
    """As whoever edits a loss meets it: the copy imported by a process of its own."""
    before = keys()
    add_statement(package / "methods" / "cd.py")
    script = ("from rkd.store import key_of; from rkd import Run; import rkd; print(rkd.__file__); "
              "runs = [Run('synthetic', m, epochs=4, dim=d, teacher_dim=5) for m, d in (('teacher', 5), ('cd', 3))]; "
              "print(*map(key_of, runs))")
    out, error = python("-c", script, root=package.parent).communicate()
    path, found = out.splitlines()
    assert Path(path).parent == package, error
    assert found.split()[0] == before["mf", "teacher"] and found.split()[1] != before["mf", "cd"]


@pytest.mark.parametrize("lines", [
    "from ..neighbours import nearest",
    "from ..neighbours import nearest as found",
    "from rkd.neighbours import nearest",
    "from .. import neighbours",
    "from rkd import neighbours as found",
    "import rkd.neighbours",
    "import rkd.neighbours as found",
    "from . import nkd",
    "from .nkd import NKD",
])
def test_code_counts_however_it_is_imported(package, lines):
    (package / "methods" / "own.py").write_text(f"{lines}\n")

    def found():
        restart()
        return code_fingerprint("rkd.methods.own")

    before = found()
    add_statement(package / "neighbours.py")
    assert found() != before


def of_the_package(node: ast.Import | ast.ImportFrom) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else ["rkd"] * bool(node.level) + [
        node.module or "rkd"]
    return any(name.partition(".")[0] == "rkd" for name in names)


def test_nothing_is_imported_where_the_fingerprint_does_not_look():
    """Imports of rkd's own lie at the top of a file, and name what they take from the file that defines it: what
    decides a fit is not got by way of rkd, nor, in a method, of rkd.methods."""
    told, todo = set(), ["rkd.run", "rkd.evaluate", *(method.__module__ for method in rkd.METHODS.values())]
    while todo:
        module = todo.pop()
        if module in told or module in DECIDED:
            continue
        told.add(module)
        todo += fingerprint._imports(module)
        tree = ast.parse(IMPORTED[module])
        imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert all(node in tree.body for node in imports if of_the_package(node)), module
        for node in imports:
            if isinstance(node, ast.ImportFrom) and node.level and not node.module:  # from . import, from .. import
                package = module.rsplit(".", node.level)[0]
                assert all(f"{package}.{alias.name}" in IMPORTED for alias in node.names), module
            if module.startswith("rkd.methods"):
                assert getattr(node, "module", None) not in ("rkd", "rkd.methods"), module
    assert {"rkd.kernels", "rkd.methods.base", "rkd.hits"} <= told


def test_code_edited_under_a_running_process_is_refused(package):
    """Its result would be kept under the key of code that did not compute it."""
    before = key_of(tiny("cd"))
    add_statement(package / "losses.py")
    for method in ("cd", "none"):
        with pytest.raises(ValueError, match="rkd.losses was edited since it was imported: restart the kernel"):
            key_of(tiny(method))
    (package / "losses.py").write_text(IMPORTED["rkd.losses"])  # as it was
    assert key_of(tiny("cd")) == before
    (package / "losses.py").unlink()
    with pytest.raises(ValueError, match="rkd.losses was edited"):
        key_of(tiny("cd"))


def test_a_files_time_and_its_comments_say_nothing(package):
    before = key_of(tiny("cd"))
    os.utime(package / "losses.py", ns=(0, TIMES["rkd.losses"] + 1))
    assert key_of(tiny("cd")) == before
    (package / "losses.py").write_text("# a comment\n" + IMPORTED["rkd.losses"])
    assert key_of(tiny("cd")) == before


def test_an_edit_that_does_not_concern_a_run_does_not_stop_it(package):
    before = key_of(tiny("rd"))
    add_statement(package / "methods" / "unkd.py")
    assert key_of(tiny("rd")) == before
    with pytest.raises(ValueError, match="rkd.methods.unkd was edited"):
        key_of(tiny("unkd"))


def test_processes_may_compute_together_as_long_as_what_computes_is_the_same(package):
    restart()
    before = package_fingerprint()
    for file, alike in (("study/figures.py", True), ("coursework/task.py", True), ("methods/unkd.py", False),
                        ("store.py", False)):
        add_statement(package / file)
        restart()
        assert (package_fingerprint() == before) == alike
        before = package_fingerprint()
    (package / "losses.py").write_text("# a comment\n" + IMPORTED["rkd.losses"])
    restart()
    assert package_fingerprint() == before


# ------------------------------------------------------------------------------------------- classes from outside rkd

OWN = '''
import torch
from rkd import Distiller
from rkd.popularity import popular_items

HALF = 0.5
PLACES = {"first": [1, 2]}


def squared(x):
    return scaled(x) ** 2


def scaled(x):
    return x * HALF


class Mine(Distiller):
    """Words."""

    k: int = 3

    def loss(self, student, batch):
        """More words."""
        return squared(student.rows("users", batch.users)[:, :self.k]).mean() * PLACES["first"][0]


def nobody_uses_this():
    return 1
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of one's own with this text, in a file of this name: its class Mine."""
    def imported(text=OWN, file="mine.py"):
        path = tmp_path / file
        path.write_text(text)
        spec = spec_from_file_location("mine", path)
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "mine", module)
        spec.loader.exec_module(module)
        return module.Mine

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two edits within a second are two edits
    return imported


def key_of_class(made):
    return key_of(tiny(made))


def test_a_class_of_ones_own_has_a_key_by_its_source(mine):
    """The same source, whatever stands around it and wherever it lies: the same key."""
    key = key_of_class(mine())
    others = [OWN, "# comments\n\n\n" + OWN, OWN.replace('"""Words."""', '"""Other words."""'),
              OWN.replace("return 1", "return 2"), OWN.replace("class Mine", "BESIDE = 3\n\n\nclass Mine")]
    assert [key_of_class(mine(text, f"mine{i}.py")) for i, text in enumerate(others)] == [key] * len(others)
    assert key != key_of_class("rd") and key_of(tiny(mine(), settings={"k": 2})) != key


def test_a_script_gives_the_same_key_as_a_module(mine, tmp_path):
    """The class and what it uses in the file that is run."""
    (tmp_path / "script.py").write_text(OWN + """
if __name__ == "__main__":
    from rkd import Run
    from rkd.store import key_of
    print(key_of(Run("synthetic", Mine, dim=3, epochs=4, teacher_dim=5)))
""")
    out, error = python(tmp_path / "script.py").communicate()
    assert out == key_of_class(mine()) + "\n", error


@pytest.mark.parametrize("was, becomes", [
    (".mean()", ".sum()"), ("k: int = 3", "k: int = 2"), ("** 2", "** 4"), ("x * HALF", "x / HALF"),
    ("HALF = 0.5", "HALF = 0.25"), ('"first": [1, 2]', '"first": [3, 2]'),
], ids=["class", "default", "function", "function's function", "constant", "constant in a list in a dict"])
def test_what_a_class_of_ones_own_uses_counts(mine, was, becomes):
    assert was in OWN
    assert key_of_class(mine()) != key_of_class(mine(OWN.replace(was, becomes), "other.py"))


def test_a_constant_set_anew_counts(mine):
    made = mine()
    before = key_of_class(made)
    sys.modules["mine"].HALF = 0.125
    assert key_of_class(made) != before


def test_a_reloaded_module_counts_as_it_is_now(mine):
    """As under IPython's autoreload: the same file, edited, and loaded again."""
    before = key_of_class(mine())
    assert key_of_class(mine(OWN.replace(".mean()", ".sum()"))) != before
    assert key_of_class(mine()) == before


def test_a_module_edited_but_not_loaded_again_is_refused(mine, tmp_path):
    made = mine()
    before = key_of_class(made)
    (tmp_path / "mine.py").write_text(OWN.replace(".mean()", ".sum()"))
    with pytest.raises(ValueError, match="mine.py was edited since it was imported: restart the kernel"):
        key_of_class(made)
    (tmp_path / "mine.py").write_text(OWN)
    assert key_of_class(made) == before


BASES = {
    "subclass": "from rkd.methods.unkd import UnKD\n\n\nclass Mine(UnKD):\n    mu: float = 5.0\n",
    "sum": "import rkd\n\n\nclass Mine(rkd.Sum):\n    parts = {'unkd': rkd.METHODS['unkd']}\n    unkd: float = 1.0\n",
    "function": "import rkd\nfrom rkd.methods.unkd import pairwise_distillation\n\n\nclass Mine(rkd.Distiller):\n"
                "    def loss(self, student, batch):\n        return pairwise_distillation(batch, batch, batch)\n",
    "module": "import rkd\nimport rkd.methods.unkd\n\n\nclass Mine(rkd.Distiller):\n"
              "    def loss(self, student, batch):\n"
              "        return rkd.methods.unkd.pairwise_distillation(batch, batch, batch)\n",
    "of its function": "import rkd\nfrom rkd.methods.unkd import pairwise_distillation as loss\n\n\ndef own(x):\n"
                       "    return loss(x, x, x)\n\n\nclass Mine(rkd.Distiller):\n    def loss(self, student, batch):\n"
                       "        return own(batch)\n",
}


@pytest.mark.parametrize("how", BASES)
def test_what_a_class_of_ones_own_takes_from_rkd_counts(package, mine, how):
    made = mine(BASES[how])
    before = key_of_class(made)
    add_statement(package / "methods" / "cd.py")
    restart()
    assert key_of_class(made) == before
    add_statement(package / "methods" / "unkd.py")
    restart()
    assert key_of_class(made) != before


def test_a_metric_of_ones_own_counts_with_what_it_takes_from_rkd(package, mine, monkeypatch):
    mine(OWN + "\n\nfrom rkd.neighbours import nearest\n\n\ndef metric(found, k):\n    return nearest(found, k)\n")
    monkeypatch.setitem(rkd.METRICS, "mine", sys.modules["mine"].metric)
    before = metrics_key()
    add_statement(package / "neighbours.py")
    restart()
    assert metrics_key() != before


def test_a_class_whose_source_is_nowhere_is_refused():
    space = {}
    exec("import rkd\n\nclass Mine(rkd.Distiller):\n    def loss(self, student, batch):\n        return 0", space)
    with pytest.raises(ValueError, match="the source of Mine cannot be found.*define it in a notebook cell or a file"):
        key_of_class(space["Mine"])

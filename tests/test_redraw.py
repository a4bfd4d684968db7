"""Notebooks on records: what needs models or data is left out with a line, and all else is drawn."""

import ast
import shutil

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_notebook
from records_helpers import GROUPS, RUNS, recorded_in

from rkd.kept import NotRecorded
from rkd.study import notebook, reproduce
from rkd.study.redraw import Watcher, names
from rkd.study.reproduce import main
from rkd.study.study import Study

CELLS = ["""
import os
scores = {}
def model(run):
    if run == "recorded":
        return 3
    raise NotRecorded("records hold no models")
""", """
for run in ("recorded", "other"):
    scores[run] = model(run)
drawn = [scores]
table = model("recorded")
table
""", """
total = table + 1
shown = drawn[0]
total
""", """
drawn = 7
drawn
""", """
drawn + len(scores)
"""]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(the results of RUNS; the folder of their records)"""
    return recorded_in(tmp_path_factory.mktemp("made"), RUNS)


@pytest.fixture
def shell():
    kernel = InteractiveShell()
    lines = []
    kernel.push({"NotRecorded": NotRecorded})
    kernel.ast_transformers.append(Watcher(kernel.user_ns, lines.append))
    yield kernel, lines
    InteractiveShell.clear_instance()


def test_statements_that_need_what_is_not_there_are_left_out(shell):
    kernel, lines = shell
    results = [kernel.run_cell(cell, store_history=False) for cell in CELLS]
    assert all(result.success for result in results)
    assert [result.result for result in results] == [None, 3, 4, 7, None]
    why = "(records hold no models)"
    assert lines == [f"left out: for run in ('recorded', 'other'):; drawn = [scores] {why}",
                     f"left out: shown = drawn[0] {why}", f"left out: drawn + len(scores) {why}"]
    assert kernel.run_cell("print(1 / 0)").error_in_exec.__class__ is ZeroDivisionError  # all else is as ever


@pytest.mark.parametrize("code, uses, makes", [
    ("a = b + c.d", {"b", "c"}, {"a"}), ("a[0] = b", {"a", "b"}, {"a"}), ("a.b.append(c)", {"a", "c"}, {"a"}),
    ("for x in xs: y = x", {"xs"}, {"x", "y"}), ("f(x, g=[z for z in zs])", {"f", "x", "zs"}, set()),
    ("a += b", {"a", "b"}, {"a"}), ("import a.b as c, d", set(), {"c", "d"}),
    ("def f(x): return y", {"y"}, {"f"}), ("lambda x: (first, second := x)", {"first"}, set()),
    ("class C(D):\n  def f(self, x):\n    first, other = x\n    return first + y", {"D", "y"}, {"C"}),
    ("figures.save(a)", {"figures", "a"}, set())])
def test_names(code, uses, makes):
    found = names(ast.parse(code).body[0])
    assert (uses, makes) == ({*found[0]} - {"x"} | uses & {"x"}, {*found[1]})


@pytest.fixture
def toy(tmp_path, monkeypatch, made):
    """A function that writes a notebook of these cells, where there are records and no data; and its records."""
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("RKD_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("RKD_RECORDS", str(shutil.copytree(made[1], tmp_path / "records")))
    monkeypatch.setattr(reproduce, "SOURCES", tmp_path / "sources")
    (tmp_path / "sources").mkdir()

    def write(products, *cells):
        first = new_code_cell('SCALE = "smoke"\nJOBS = None', metadata={"tags": ["parameters"]})
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        found = new_notebook(cells=[first, *map(new_code_cell, cells)],
                             metadata={"kernelspec": kernel, "rkd": {"products": products}})
        nbformat.write(found, tmp_path / "sources" / "toy.ipynb")
        return tmp_path / "figures" / "smoke"

    return write


DRAW = """
from rkd import Run
from rkd.study import tables
from rkd.study.notebook import start
from rkd.study.study import Study
scale, datasets = start(SCALE)
groups = {name: [Run("synthetic", name, seed, dim=3, epochs=4, teacher_dim=5) for seed in (0, 1)]
          for name in ("none", "cd")}
study = Study(groups).compute(JOBS)
""", """
users, items = study["cd"][0].model.factors()
""", """
tables.save_table(study.table(["recall@10"], against="none").rename_axis("method"), "main", SCALE, study)
tables.save_table(items, "factors", SCALE, study)
"""


def test_a_notebook_is_drawn_from_records(toy, made, capsys):
    """As ./reproduce.sh --from-records does: the table is the one of trained results, the other product is named."""
    to = toy(["main", "factors"], *DRAW)
    assert main(["--scale", "smoke", "--from-records"]) == 0
    out = capsys.readouterr().out
    assert "wrote main into" in out and "left out factors: they need models or data" in out
    assert sorted(path.name for path in to.glob("*.*")) == ["main.csv", "main.md", "main.provenance.json", "main.tex"]
    results = {name: [r for r in made[0] if r.run in GROUPS[name]] for name in ("none", "cd")}
    table = Study({}, results).table(["recall@10"], against="none")
    table.rename_axis("method").reset_index().to_csv(to / "expected", index=False)
    assert (to / "main.csv").read_text() == (to / "expected").read_text()


def test_what_a_notebook_only_forgot_is_a_fault_with_records_too(toy, capsys):
    toy(["main", "forgotten"], *DRAW[:1], DRAW[2].splitlines()[1])
    assert main(["--scale", "smoke", "--from-records"]) == 1
    assert "did not write forgotten" in capsys.readouterr().err


def test_records_that_are_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RKD_RECORDS", str(tmp_path))
    with pytest.raises(SystemExit):
        main(["--scale", "smoke", "--from-records"])
    assert f"{tmp_path} holds no records" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--from-records", "--cluster", "local:2"])


def test_paper_scale_comes_from_its_records_unless_it_is_told_otherwise(tmp_path, monkeypatch, made):
    monkeypatch.setattr(notebook, "records_folder", lambda scale: made[1])
    monkeypatch.delenv("RKD_RECORDS", raising=False)
    monkeypatch.setitem(notebook.SCALES, "paper", notebook.SCALES["smoke"])
    assert notebook.start("smoke")[1] == ("synthetic",) and "RKD_RECORDS" not in notebook.os.environ
    monkeypatch.setenv("RKD_RECORDS", "")
    notebook.start("paper")
    assert notebook.os.environ["RKD_RECORDS"] == ""
    monkeypatch.delenv("RKD_RECORDS")
    notebook.start("paper")
    assert notebook.os.environ["RKD_RECORDS"] == str(made[1])
    monkeypatch.setenv("RKD_RECORDS", "")

"""Coursework: the student copies and the solutions are what their sources make of them, and nothing leaks."""

import re
import subprocess
import sys

import matplotlib
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from test_notebooks import MOST_LINES, UNWANTED, code_cells, texts

from rkd.coursework import TASKS
from rkd.coursework.release import (
    EXERCISES,
    MARKER,
    SOLUTION,
    SOLUTIONS,
    SOURCES,
    UNANSWERED,
    executed,
    graded,
    main,
    solution_copy,
    student_copy,
)
from rkd.coursework.task import Wrong
from rkd.study.reproduce import ROOT

NAMES = sorted(path.name for path in SOURCES.glob("*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=NAMES)
def name(request):
    """Each exercise's file."""
    return request.param


@pytest.fixture
def source(name):
    return read(SOURCES / name)


@pytest.fixture
def solution(name):
    return read(SOLUTIONS / name)


def test_every_source_has_its_copies_and_no_copy_is_without_source():
    assert len(NAMES) == 9
    for folder in (EXERCISES, SOLUTIONS):
        assert sorted(path.name for path in folder.glob("*.ipynb")) == NAMES


def test_student_copies_equal_regeneration(name, source):
    assert (EXERCISES / name).read_text(encoding="utf-8") == nbformat.writes(student_copy(source)) + "\n"


def test_solutions_equal_regeneration(source, solution):
    for cell in code_cells(solution):
        cell.outputs, cell.execution_count = [], None
    assert nbformat.writes(solution) == nbformat.writes(solution_copy(source))


def test_no_solution_is_in_a_student_copy(name, source):
    copy = (EXERCISES / name).read_text(encoding="utf-8")
    student = "\n".join(cell.source for cell in read(EXERCISES / name).cells)
    assert not MARKER.search(copy) and "hidden=True" not in copy
    secret = [line.strip() for cell in source.cells for region in SOLUTION.finditer(cell.source)
              for line in region[2].splitlines() if line.strip()]
    secret += [line for cell in source.cells if cell.cell_type == "markdown" and graded(cell).get("solution")
               for line in re.split(r"(?<=[.:?]) |\n+", cell.source) if line.strip()]
    assert len(secret) >= 8
    for line in secret:
        assert line not in student


def test_student_copies_have_no_output(name):
    for cell in code_cells(read(EXERCISES / name)):
        assert cell.outputs == [] and cell.execution_count is None


def test_nbgrader_can_use_the_sources(source):
    marked = [graded(cell) for cell in source.cells if graded(cell)]
    ids = [about["grade_id"] for about in marked]
    assert len(ids) == len(set(ids))
    for cell in source.cells:
        about, kind = graded(cell), cell.cell_type
        if about:
            assert set(about) - {"points"} == {"schema_version", "grade", "grade_id", "locked", "solution", "task"}
            assert about["schema_version"] == 3 and about["task"] is False
            assert re.fullmatch(r"[a-zA-Z0-9_\-]+", about["grade_id"])
            assert about["locked"] == (not about["solution"])
            assert ("points" in about) == about["grade"] and about.get("points", 1) > 0
        assert ("### BEGIN SOLUTION" in cell.source) == (kind == "code" and bool(about.get("solution")))
        assert ("### BEGIN HIDDEN TESTS" in cell.source) == about.get("grade_id", "").endswith("-hidden")
    functions = [about["grade_id"] for about in marked if about["solution"] and not about["grade"]]
    written = [about["grade_id"] for about in marked if about["solution"] and about["grade"]]
    assert len(written) == 1 and ids == [f"{f}{end}" for f in functions for end in ("", "-check", "-hidden")] + written
    assert set(functions) <= set(TASKS)


def test_all_points_are_as_the_guide_says():
    guide = (EXERCISES / "README.md").read_text(encoding="utf-8")
    total = 0
    for name in NAMES:
        points = [graded(cell).get("points", 0) for cell in read(SOURCES / name).cells]
        total += sum(points)
        assert re.search(rf"\({name}\).*\| {sum(points[:-1])} \+ {points[-1]} \|", guide), name
    assert total == 118 and f"Together {total} points" in guide


def test_each_exercise_says_what_is_learned_and_plots(source):
    assert "**You will learn**" in source.cells[0].source and "**The question:**" in source.cells[0].source
    assert any("plot" in cell.metadata.get("tags", []) for cell in code_cells(source))


def test_parameters_are_explained(source):
    (cell,) = [cell for cell in code_cells(source) if "parameters" in cell.metadata.get("tags", [])]
    for parameter in ("SEED", "POPULARITY"):
        assert re.search(rf"^{parameter} *= *[^#\n]+# *\w", cell.source, re.MULTILINE)


def test_student_copies_run_up_to_the_first_stub(name, tmp_path, monkeypatch):
    matplotlib.use("agg")
    namespace = {}
    for cell in code_cells(read(EXERCISES / name)):
        if graded(cell).get("grade"):
            with pytest.raises(Wrong, match=r"it is not written yet \(about \d+ lines?\)"):
                exec(cell.source, namespace)
            break
        exec(cell.source, namespace)


@pytest.mark.parametrize("name", ["02_metrics.ipynb", "04_unkd.ipynb", "05_nkd.ipynb", "06_cpd.ipynb", "07_sld.ipynb",
                                  "09_bytes.ipynb"])
def test_other_data_will_do(source, monkeypatch):
    """As the guide says of these: the line that makes the data can be replaced."""
    matplotlib.use("agg")
    namespace, replaced = {}, 0
    for cell in code_cells(solution_copy(source)):
        other = 'split = rkd.load("synthetic").split("unkd")'
        text, n = re.subn(r"seen = world\(.*\)\nsplit = seen.split", other, cell.source)
        replaced += n
        exec(text, namespace)
    assert replaced == 1 and namespace["split"].protocol == "unkd"
    matplotlib.pyplot.close("all")


# The house rules for what is committed with outputs (test_notebooks.py).

def test_solutions_were_executed_in_order_without_trouble(solution):
    cells = code_cells(solution)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert solution.metadata.kernelspec.name == "python3"
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", cell.source
        for text in texts(cell):
            assert not UNWANTED.search(text), UNWANTED.search(text)[0]


def test_solutions_say_that_every_task_is_right(solution):
    said = "".join(text for cell in code_cells(solution) if graded(cell).get("grade") for text in texts(cell))
    functions = [graded(c)["grade_id"] for c in code_cells(solution) if graded(c).get("solution")]
    assert said == "".join(f"{function}: right\n" * 2 for function in functions)


def test_solutions_draw(solution):
    assert any("image/png" in output.get("data", {}) for cell in code_cells(solution) for output in cell.outputs)


def test_code_cells_are_short(source):
    for cell in code_cells(solution_copy(source)):
        lines = cell.source.splitlines()
        assert len(lines) <= MOST_LINES and max(map(len, lines)) <= 120, cell.source


# The release itself.

def notebook(*sources, **metadata):
    return new_notebook(cells=[new_code_cell(text, metadata=metadata) for text in sources])


def test_regions_are_replaced():
    text = ("def f(x):\n    y = 1\n    ### BEGIN SOLUTION\n    # why\n    z = 2\n\n    return z\n"
            "    ### END SOLUTION\nf(1)")
    assert student_copy(notebook(text)).cells[0].source == (
        'def f(x):\n    y = 1\n    raise NotImplementedError("about 2 lines")\nf(1)')
    assert solution_copy(notebook(text)).cells[0].source == (
        "def f(x):\n    y = 1\n    # why\n    z = 2\n\n    return z\nf(1)")
    text = "a = 1\n### BEGIN HIDDEN TESTS\nassert a\n### END HIDDEN TESTS"
    assert student_copy(notebook(text)).cells[0].source == "a = 1"
    assert solution_copy(notebook(text)).cells[0].source == "a = 1\nassert a"


@pytest.mark.parametrize("text", ["### BEGIN SOLUTION\nx", "x\n### END SOLUTION", "### BEGIN HIDDEN TESTS\nx",
                                  "### BEGIN SOLUTION\nx\n### END HIDDEN TESTS"])
@pytest.mark.parametrize("make", [student_copy, solution_copy])
def test_a_marker_without_its_partner(text, make):
    with pytest.raises(ValueError, match="### (BEGIN|END) .* has no partner, in the cell that begins"):
        make(notebook(text))


def test_written_answers_are_emptied(source):
    cells = [c for c in student_copy(source).cells if c.cell_type == "markdown" and graded(c).get("solution")]
    assert [cell.source for cell in cells] == [UNANSWERED]


def test_a_class_seed(tmp_path, capsys):
    assert main(["--seed", "1234", "--to", str(tmp_path / "class")]) == 0
    assert sorted(path.name for path in (tmp_path / "class").iterdir()) == NAMES
    for name in NAMES:
        ours, theirs = read(EXERCISES / name), read(tmp_path / "class" / name)
        changed = [(a.source, b.source) for a, b in zip(ours.cells, theirs.cells, strict=True) if a != b]
        assert len(changed) == 1 and changed[0][1] == changed[0][0].replace("SEED = 1 ", "SEED = 1234 ")
    for arguments, words in ((["--seed", "2"], "--seed goes with --to"),
                             (["--seed", "x", "--to", "y"], "'x' is not a whole number")):
        with pytest.raises(SystemExit):
            main(arguments)
        error = capsys.readouterr().err
        assert error.startswith("reproduce: ") and words in error and error.count("\n") == 1


def test_a_source_without_seed():
    with pytest.raises(ValueError, match="no cell tagged 'parameters' that sets SEED"):
        student_copy(notebook("x = 1", tags=["parameters"]), seed=2)


def test_reproduce_knows_the_exercises():
    """Its help names the command, and its tests re-execute the solutions."""
    text = (ROOT / "reproduce.sh").read_text(encoding="utf-8")
    usage = subprocess.check_output(["bash", str(ROOT / "reproduce.sh"), "--help"], text=True)
    assert "./reproduce.sh exercises" in usage and "python -m rkd.coursework.release" in text
    assert "notebooks/solutions/*.ipynb" in text


def test_executed():
    done = executed(notebook("print(6 * 7)"))
    assert done.cells[0].outputs[0].text == "42\n" and dict(done.metadata) == {}


def test_nothing_else_imports_coursework():
    for path in (ROOT / "rkd").rglob("*.py"):
        if path.parent.name != "coursework" and path.name != "__main__.py":
            assert "coursework" not in path.read_text(encoding="utf-8"), path
    code = "import sys, rkd.__main__; print('nbclient' in sys.modules, 'rkd.coursework' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False False\n"

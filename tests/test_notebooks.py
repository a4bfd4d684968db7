"""What is committed in notebooks/: executed in order, with outputs that hold on any machine. (nbval compares them.)"""

import ast
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from rkd.study.reproduce import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ABSOLUTE = r"(?<![\w.:/<])/\w[\w.-]*/[\w.]\S*|file:/\S*|\b[A-Z]:\\\w\S*"
UNWANTED = re.compile(rf"{ABSOLUTE}|\w*Warning|Traceback")
MOST_LINES = 25


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def notebook(request):
    """Each committed notebook."""
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook) -> list:
    """The code cells that hold anything."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def texts(cell) -> list[str]:
    """All that a cell's outputs hold as text: streams and every text form of what it displays."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {"stream": output.get("text", "")})
        found += [text for kind, text in data.items() if isinstance(text, str) and not kind.startswith("image/")]
    return found


def saved(cell) -> set[str]:
    """The names that a cell's calls of save_table and save_figure give, in a loop over a tuple as well."""
    tree, names = ast.parse(cell.source), set()
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For)]
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("save_table", "save_figure"):
            name = call.args[1]
            if isinstance(name, ast.Constant):
                names.add(name.value)
                continue
            loop = next(loop for loop in loops if call in ast.walk(loop))
            place = [target.id for target in loop.target.elts].index(name.id)
            names |= {row.elts[place].value for row in loop.iter.elts}
    return names


def test_is_valid(notebook):
    nbformat.validate(notebook)


def test_it_promises_what_it_saves(notebook):
    """In its metadata, where reproduce.sh reads what each notebook makes."""
    promised = notebook.metadata.get("rkd", {}).get("products", [])
    assert sorted(promised) == sorted(set.union(*map(saved, code_cells(notebook)))) != []


def test_saved_names_are_read_from_the_code():
    code = """tables.save_table(frame.round(2), "a", SCALE, study)
for drawn, title, of in ((one, "b", study), (two, "c", study)):
    figures.save_figure(drawn, title, SCALE, of)"""
    assert saved(new_code_cell(code)) == {"a", "b", "c"} and saved(new_code_cell('print("a")')) == set()


def test_every_code_cell_was_executed_once_in_order(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_rkd_is_imported_before_torch(notebook):
    """Else torch would take instructions of its own choice, and what is computed would have other bits and keys."""
    code = "\n".join(cell.source for cell in code_cells(notebook))
    imported = re.findall(r"^(?:import|from) (rkd|torch)\b", code, re.MULTILINE)
    assert imported[:1] == ["rkd"]


def test_kernel_is_python3(notebook):
    assert notebook.metadata.kernelspec.name == "python3"


def test_outputs_hold_no_error_and_no_stderr(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", output.text


def test_outputs_hold_no_path_warning_or_traceback(notebook):
    for cell in code_cells(notebook):
        for text in texts(cell):
            assert not UNWANTED.search(text), UNWANTED.search(text)[0]


def test_parameters_are_explained(notebook):
    tagged = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for name in ("SCALE", "JOBS"):
        assert re.search(rf"^{name} *= *[^#\n]+# *\w", tagged[0].source, re.MULTILINE), f"{name} = …  # what it is"


def test_it_starts_where_results_may_come_from_records(notebook):
    """By ``start`` (test_redraw.py), right after the parameters, in a cell that needs no data: only those after it may
    be left out. And it takes no data set's facts past the records."""
    first, second, third = (cell.source for cell in code_cells(notebook)[:3])
    assert "rkd.study.notebook import" in first and second.startswith("SCALE")
    assert third.startswith("scale, datasets = start(SCALE)") and "rkd." not in third
    assert not re.search(r"\b(SCALES|use_style|statistics)\b", "\n".join(cell.source for cell in code_cells(notebook)))


def test_code_cells_are_short(notebook):
    for cell in code_cells(notebook):
        lines = cell.source.count("\n") + 1
        assert lines <= MOST_LINES, f"{lines} lines:\n{cell.source}"
        assert max(map(len, cell.source.splitlines())) <= 120, cell.source


@pytest.mark.parametrize("text", [
    "saved to /home/me/x", "C:\\Users\\me", "/Users/me", "('/tmp/a',)", "file:///tmp", "\n/root/.cache",
    "<td>/srv/a</td>", "FutureWarning: x", "Traceback (most recent call last)"])
def test_unwanted_is_found(text):
    assert UNWANTED.search(text)


@pytest.mark.parametrize("text", [
    "figures/laptop/unkd-table1.csv", "Recall@10 / NDCG@10", "a/tmp/b", "1/2", "https://arxiv.org/abs/2211.14729",
    "../figures/x", "<td>1</td></tr>", "train/valid/test"])
def test_wanted_is_let_through(text):
    assert not UNWANTED.search(text)

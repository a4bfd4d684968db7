"""The check of tables and prose, on small folders made by hand, and on what is committed."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from rkd.study.check import ROOT, Table, allowed, compare, main, read_table, spreads_of
from rkd.study.prose import STATED, check_notebook, sentences

MAIN = """method,recall@10,ndcg@10,seconds
Teacher,0.2231 ± 0.0012 †,0.4229 ± 0.0040,1.5
Student,0.2083 ± 0.0036,0.4000 ± 0.0030,2.5
SLD,0.2105,0.4100,3.5
"""
TESTS = """metric,against,difference,low,p
recall@10,Teacher,-0.0118,-0.0176,0.0001
ndcg@10,Teacher,0.0050,-0.0010,0.2000
"""


@pytest.fixture
def study(tmp_path):
    """A function that checks tmp_path, with tables in committed/ and regenerated/: exit status and lines."""
    for folder in ("committed", "regenerated"):
        (tmp_path / folder).mkdir()
        put_table(tmp_path / folder / "main.csv", MAIN)
        put_table(tmp_path / folder / "tests.csv", TESTS)
    put_notebook(tmp_path / "notebooks" / "01_a.ipynb", "The teacher has 0.223.")
    (tmp_path / "README.md").write_text("# A\n\nThe student has 0.208.\n")

    def run(capsys, *more):
        status = main(["--root", str(tmp_path), "--against", str(tmp_path / "committed"),
                       "--figures", str(tmp_path / "regenerated"), *more])
        return status, capsys.readouterr().out.splitlines()

    return run


def put_table(path: Path, text: str, instructions: str | None = "avx2, MKL's AVX2") -> None:
    path.write_text(text, encoding="utf-8")
    entry = {"split": "unkd, seed 0"} | ({"instructions": instructions} if instructions else {})
    path.with_suffix(".provenance.json").write_text(json.dumps({"data": {"ml-100k": entry}, "seeds": [0, 1, 2]}))


def put_notebook(path: Path, *markdown: str, output="teacher 0.2231, λ=0.057, 49.93%", code="print(result)") -> Path:
    """One code cell with an output between what is asked (it mentions 0.999) and the given cells."""
    path.parent.mkdir(exist_ok=True)
    cells = [{"cell_type": "markdown", "source": "# 1 · A question\nIs it 0.999?"},
             {"cell_type": "code", "source": code, "outputs": [{"output_type": "stream", "text": [output]}]},
             *({"cell_type": "markdown", "source": text.splitlines(keepends=True)} for text in markdown)]
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return path


def change(tmp_path, old: str, new: str, *, name="main", instructions="avx2, MKL's AVX2") -> None:
    """Change a text of a regenerated table, and what it says it was computed with."""
    path = tmp_path / "regenerated" / f"{name}.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    put_table(path, text.replace(old, new), instructions)


def test_what_is_equal_passes(study, capsys):
    assert study(capsys) == (0, ["check: 2 tables as committed, 2 numbers of the prose found"])


@pytest.mark.parametrize("old, new, cell", [
    ("0.4100", "0.4101", "SLD, ndcg@10: committed '0.4100', regenerated '0.4101'"),
    ("0.0036", "0.0037", "Student, recall@10: committed '0.2083 ± 0.0036', regenerated '0.2083 ± 0.0037'"),
    (" †", "", "Teacher, recall@10: committed '0.2231 ± 0.0012 †', regenerated '0.2231 ± 0.0012'"),
    ("0.4100", "0.41", "SLD, ndcg@10: committed '0.4100', regenerated '0.41'"),
])
def test_with_the_same_instructions_every_text_must_be_equal(study, tmp_path, capsys, old, new, cell):
    change(tmp_path, old, new)
    assert study(capsys) == (1, [f"{tmp_path}/regenerated/main.csv: {cell}", "check: 1 fault"])


@pytest.mark.parametrize("instructions", [None, "avx512", "avx2"])
def test_with_other_instructions_a_mean_may_move_within_the_spread(study, tmp_path, capsys, instructions):
    """Pooled spread of recall@10: √((0.0012² + 0.0036²) / 2) = 0.00268. Not only a new figure but a mark less, another
    standard deviation and another p."""
    change(tmp_path, "0.2231 ± 0.0012 †", "0.2260 ± 0.0051", instructions=instructions)
    change(tmp_path, "0.2105", "0.2070 †", instructions=instructions)
    change(tmp_path, "0.2000", "0.6000", name="tests", instructions=instructions)
    change(tmp_path, "0.0050", "0.0030", name="tests", instructions=instructions)
    status, lines = study(capsys)
    assert (status, lines[-1].split(",")[0]) == (0, "check: 2 tables as committed (2 of them not to the digit")


@pytest.mark.parametrize("name, old, new", [
    ("main", "0.2231 ± 0.0012 †", "0.2400 ± 0.0012 †"), ("main", "0.2105", "0.2400"), ("main", "SLD", "RRD"),
    ("tests", "-0.0118", "0.0418"), ("main", "0.2105", "0.2105 ± 0.0010"), ("main", "0.2105", "nan")])
def test_with_other_instructions_more_than_the_spread_is_a_fault(study, tmp_path, capsys, name, old, new):
    change(tmp_path, old, new, name=name, instructions="avx512")
    status, lines = study(capsys)
    assert status == 1 and all(line.startswith(f"{tmp_path}/regenerated/{name}.csv: ") for line in lines[:-1])
    assert any(old in line for line in lines[:-1]) and any(new in line for line in lines[:-1])


def test_where_one_side_has_no_instructions_the_spread_counts(study, tmp_path, capsys):
    put_table(tmp_path / "committed" / "main.csv", MAIN, None)
    change(tmp_path, "0.4100", "0.4101")
    assert study(capsys)[0] == 0


def test_what_follows_from_means_and_spreads_is_let_through_elsewhere():
    """A verdict and the smallest effect, but not the number of users; with the same instructions neither."""
    columns = ["than", "verdict", "smallest", "users"]
    where = {"data": {"a": {"instructions": "avx2"}}}
    old, new, other = (Table("t", columns, {("RD",): dict(zip(columns, row))}, provenance) for row, provenance in (
        (("RD", "holds", "0.0100", "943"), {}), (("RD", "undecided", "0.9000", "943"), {}),
        (("RD", "holds", "0.0100", "900"), {})))
    assert not list(compare(old, new, {"": 0.01}))
    assert list(compare(old, other, {"": 0.01})) == ["RD, users: committed '943', regenerated '900'"]
    pinned = [replace(table, provenance=where) for table in (old, new)]
    assert [line.split(":")[0] for line in compare(*pinned, {"": 0.01})] == ["RD, verdict", "RD, smallest"]


def test_rows_of_other_libraries_may_move_within_the_spread():
    """Whatever instructions rkd's own have."""
    where = {"data": {"a": {"instructions": "avx2"}}, "seeds": [0, 1]}
    old, near, far = (Table("bytes", ["model", "ndcg@10"], {
        (model,): {"model": model, "ndcg@10": value} for model in ("iALS, 4 bits", "PQ, 20 bytes", "SLD")}, where)
        for value in ("0.4000", "0.4010", "0.9000"))
    spreads = {"ndcg@10": 0.002, "": 0.0}
    assert [line.split(",")[0] for line in compare(old, near, spreads)] == ["SLD"]
    assert [line.split(",")[0] for line in compare(old, far, spreads)] == ["iALS", "PQ", "SLD"]


def test_rows_of_time_are_not_compared():
    where = {"data": {"a": {"instructions": "avx2"}}}
    old, new = (Table("t", ["claim", "difference"], {("its cost",): {"claim": "its cost", "difference": cost}, ("b",): {
        "claim": "b", "difference": "0.1000"}}, where) for cost in ("0.2000", "0.3000"))
    assert not list(compare(old, new, {"": 0.0})) and [labels for labels, _ in new.cells()] == [("b",)]


def test_how_far_a_cell_may_move_by_hand(monkeypatch):
    monkeypatch.setattr("rkd.study.check.ERRORS", 3)
    rows = {("A",): {"m": "A", "recall@10": "0.2000 ± 0.0030", "other": "0.10"},
            ("B",): {"m": "B", "recall@10": "0.3000 ± 0.0040", "other": "0.10"},
            ("C",): {"m": "C", "recall@10": "0.1000", "other": "0.10"}}
    table = Table("t", ["m", "recall@10", "other"], rows, {"seeds": [0, 1, 2]})
    spreads = spreads_of([table])
    pooled = ((0.003**2 + 0.004**2) / 2) ** 0.5
    assert allowed(table, ("A",), "recall@10", spreads) == pytest.approx(3 * (2 / 3) ** 0.5 * pooled)
    assert allowed(table, ("B",), "recall@10", spreads) == pytest.approx(3 * (2 / 3) ** 0.5 * 0.004)  # its own
    assert allowed(table, ("C",), "recall@10", spreads) == pytest.approx(3 * 2**0.5 * pooled)
    share = (0.003 / 0.2 + 0.004 / 0.3) / 2  # no spread of this column is known
    assert allowed(table, ("A",), "other", spreads) == pytest.approx(3 * 2**0.5 * share * 0.1)


def test_metrics_and_labels_of_the_committed_tables():
    """One rule finds them: a word with @ in column or row, and as many label columns as tell the rows apart."""
    def of(name, n_labels, column):
        table = read_table(ROOT / "figures" / "laptop" / f"{name}.csv")
        labels = next(iter(table.rows))
        assert len(labels) == n_labels
        return table.metric(labels, column)

    assert of("unkd-table3", 2, "MF recall@10 ours") == "recall@10"
    assert of("unkd-table4", 2, "MF unpopular/recall_unkd@10 ours") == "unpopular/recall_unkd@10"
    assert of("mkd-sizes", 2, "d = 10") == "ndcg@10"
    assert of("unkd-tests", 6, "difference") == "ndcg@10"
    assert of("unkd-sweeps", 2, "ndcg@10") == "ndcg@10"
    assert of("unkd-table1", 2, "Teacher") == "unkd-table1"


@pytest.mark.parametrize("instructions", ["avx2", None])
@pytest.mark.parametrize("old, new, fault", [
    ("SLD,0.2105,0.4100,3.5\n", "", "rows: SLD is missing"),
    ("SLD,", "RRD,0.2,0.4,3\nSLD,", "rows: RRD is not in the committed table"),
    ("ndcg@10", "ndcg@20", "columns: ndcg@10 is missing"),
    ("method,", "name,", "columns: name is not in the committed table")])
def test_rows_and_columns_must_be_the_same(study, tmp_path, capsys, old, new, fault, instructions):
    change(tmp_path, old, new, instructions=instructions)
    status, lines = study(capsys)
    assert status == 1 and f"{tmp_path}/regenerated/main.csv: {fault}" in lines


def test_order_counts(study, tmp_path, capsys):
    lines = MAIN.splitlines(keepends=True)
    put_table(tmp_path / "regenerated" / "main.csv", "".join([lines[0], lines[2], lines[1], lines[3]]))
    assert study(capsys)[1][0] == f"{tmp_path}/regenerated/main.csv: rows are in another order"


def test_files_must_be_the_same(study, tmp_path, capsys):
    (tmp_path / "regenerated" / "tests.csv").rename(tmp_path / "regenerated" / "new.csv")
    folder = f"{tmp_path}/regenerated"
    assert study(capsys) == (1, [f"{folder}/new.csv is not among the committed tables",
                                 f"{folder}/tests.csv is missing", "check: 2 faults"])


def test_a_table_that_needs_models_may_be_missing_where_that_is_said(study, tmp_path, capsys):
    """It, and no other; one that is there is compared."""
    assert study(capsys, "--without", "tests")[0] == 0
    change(tmp_path, "-0.0118", "-0.9", name="tests")
    assert study(capsys, "--without", "tests")[1][-1] == "check: 1 fault"
    (tmp_path / "regenerated" / "tests.csv").unlink()
    assert study(capsys, "--without", "other")[1] == [f"{tmp_path}/regenerated/tests.csv is missing", "check: 1 fault"]
    assert study(capsys, "--without", "other", "tests")[0] == 0


def test_times_are_left_out(study, tmp_path, capsys):
    change(tmp_path, "1.5", "9.5")
    (tmp_path / "regenerated" / "cost.csv").write_text("a,b\n1,2\n")
    assert study(capsys)[0] == 0


def test_what_is_committed_is_read_from_git(study, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("RKD_FIGURES", raising=False)
    root, git = str(tmp_path), ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    assert main(["--root", root]) == 1
    assert "--against FOLDER" in capsys.readouterr().out
    shutil.copytree(tmp_path / "committed", tmp_path / "figures" / "laptop")
    for command in (["init", "-q"], ["add", "figures"], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *command], check=True)
    assert main(["--root", root]) == 0
    table = tmp_path / "figures" / "laptop" / "main.csv"
    table.write_text(MAIN.replace("0.4100", "0.4101"), encoding="utf-8")
    assert main(["--root", root]) == 1
    assert "SLD, ndcg@10: committed '0.4100', regenerated '0.4101'" in capsys.readouterr().out
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path / "elsewhere"))  # where the regenerated tables are looked for then
    shutil.copytree(tmp_path / "committed", tmp_path / "elsewhere" / "laptop")
    assert main(["--root", root]) == 0


def test_nothing_to_check_is_a_fault(study, tmp_path, capsys):
    (tmp_path / "notebooks" / "01_a.ipynb").unlink()
    assert study(capsys) == (1, [f"no notebooks in {tmp_path}/notebooks", "check: 1 fault"])


def faults_of(tmp_path, *markdown, **cell) -> list[str]:
    """The faults of a notebook's prose; its tables are in tmp_path/tables."""
    return check_notebook(put_notebook(tmp_path / "01_a.ipynb", *markdown, **cell), tmp_path, tmp_path / "tables")[0]


@pytest.mark.parametrize("text", [
    "0.2231 it is", "0.223.", "**0.22**", "λ = 0.06", "49.9 %, 49.93%", "22.3 % (of 0.2231)", "102 % and 3",
    "$K = 0.7$, `lr=0.7`, $$x\n= 0.7$$", "[x](0.7.md) and arXiv 2311.04549, Python 3.11, 1.2.3", "```\n0.7\n```",
    "## 1.7 Heading\n\nAs 1.7 says.", "## What differs from the paper\n\n0.7\n\n## Try it\n\n0.7",
    "## What is ours\n0.7"])
def test_numbers_that_stand_in_the_outputs_or_state_no_result(tmp_path, text):
    assert faults_of(tmp_path, text) == []


@pytest.mark.parametrize("text, number, nearest", [
    ("So it is 0.224.", "0.224", "0.2231"), ("0.2230", "0.2230", "0.2231"), ("λ = 0.05", "0.05", "0.057"),
    ("It is 1.7 %.", "1.7 %", "0.2231"), ("## Try it\n0.2231\n## Results\n0.71", "0.71", "0.2231")])
def test_numbers_that_stand_nowhere(tmp_path, text, number, nearest):
    fault, = faults_of(tmp_path, "Nothing.", text)
    assert fault.startswith("01_a.ipynb, cell 3 (“")
    assert f": {number} stands in no output (nearest: {nearest}), in the sentence “" in fault


def test_only_a_tie_may_be_rounded_either_way(tmp_path):
    assert faults_of(tmp_path, "0.238, 0.239", output="0.2385") == []
    assert len(faults_of(tmp_path, "0.239", output="0.23849")) == 1


def test_numbers_in_tables_and_html(tmp_path):
    """In those that the notebook saves, and for a cell with a link in what it leads to and the like."""
    saves = 'tables.save_table(x.rename_axis("method"), "mine", SCALE, used)'
    for name, value in (("tables/mine", 0.31), ("figures/paper/mine-partial", 0.32), ("figures/paper/linked", 0.33),
                        ("figures/paper/other", 0.34)):
        path = tmp_path / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"a,b\nx,{value}\n")
    link = "([table](../figures/paper/linked.csv))"
    assert faults_of(tmp_path, "0.31", f"0.32, 0.33 {link}", code=saves) == []
    assert [line.split(": ")[1].split()[0] for line in faults_of(tmp_path, f"0.34 {link}", "0.32", code=saves)] == [
        "0.34", "0.32"]
    path = put_notebook(tmp_path / "01_a.ipynb", "0.77")
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["outputs"] = [{"data": {"text/html": ["<td width=0.5>0.7", "71</td>"]}}]
    path.write_text(json.dumps(notebook))
    assert check_notebook(path, tmp_path, tmp_path / "tables") == ([], 1)


def test_tables_of_another_scale_have_no_prose(study, tmp_path, capsys):
    """What the notebooks say is of laptop scale, unless others are named."""
    put_notebook(tmp_path / "notebooks" / "01_a.ipynb", "The teacher has 0.9.")
    assert study(capsys)[0] == 1
    assert study(capsys, "--scale", "paper") == (0, ["check: 2 tables as committed"])
    assert study(capsys, "--scale", "paper", "--notebooks", str(tmp_path / "notebooks"))[0] == 1
    put_table(tmp_path / "regenerated" / "main.csv", MAIN.replace("0.2", "0.3"))
    assert study(capsys, "--scale", "paper")[0] == 1


def test_readme(study, tmp_path, capsys):
    (tmp_path / "README.md").write_text("## Run it\n\nIn 7.77 s.\n\n## Results\n\n0.208 with 0.5 of [it](a/0.9.md).\n\n"
                                        "```\n0.99\n```\n")
    status, lines = study(capsys)
    assert status == 1 and lines[0].startswith("README.md: 0.5 stands in no output (nearest: 0.4229)")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "benchmark.md").write_text("| 0.479 |")
    assert study(capsys)[0] == 0
    readme = (tmp_path / "README.md").read_text()
    for link, status in (("figures/other.md", 0), ("figures/none.md", 1), ("other.md", 1)):
        (tmp_path / "figures" / "other.md").write_text("| 0.8765 |")
        (tmp_path / "README.md").write_text(f"{readme}\n## More\n\nThe teacher has 0.877 [here]({link}).\n")
        assert study(capsys)[0] == status


@pytest.mark.parametrize("original", sorted((ROOT / "notebooks").glob("0*.ipynb")), ids=lambda path: path.name)
def test_a_broken_number_of_a_committed_notebook_is_found(tmp_path, original):
    """The first number that its prose states, changed in a copy."""
    notebook = json.loads(original.read_text(encoding="utf-8"))
    cell, text = next((cell, found[0]) for cell in notebook["cells"][2:] if cell["cell_type"] == "markdown"
                      for sentence in sentences("".join(cell["source"])) for found in STATED.findall(sentence)
                      if f"## {found[0]} " not in str(notebook))
    cell["source"] = re.sub(rf"(?<![.\d]){re.escape(text)}(?!\d)", "98.7654", "".join(cell["source"]), count=1)
    copy = tmp_path / original.name
    copy.write_text(json.dumps(notebook), encoding="utf-8")
    before, after = (check_notebook(path, ROOT, ROOT / "figures" / "laptop") for path in (original, copy))
    assert after[1] == before[1] and len(after[0]) == len(before[0]) + 1
    assert sum("98.7654" in line and "stands in no output" in line for line in after[0]) == 1

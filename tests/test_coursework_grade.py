"""Coursework: grading gives what is due, whatever a submission does. Each grade here starts a kernel or more."""

import csv
import json
import os
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rkd.__main__ import main
from rkd.coursework import grade as grading
from rkd.coursework.grade import Grade, Mark, exercises, grade, recognised
from rkd.coursework.kernel import Kernel, Limits
from rkd.coursework.release import SOURCES, graded, solution_copy, student_copy
from rkd.coursework.report import grade_all, markdown, submissions

LIMITS = Limits(seconds=4, total=120, memory=1024)
METRICS = nbformat.read(SOURCES / "02_metrics.ipynb", as_version=4)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Figures and the working folder apart: grading sets the one, and must leave nothing in the other."""
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path / "figures"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def tagged(source: str, grade_id: str):
    return new_code_cell(source, metadata={"nbgrader": {"grade_id": grade_id}})


def right(name: str) -> str:
    """The solution of one of exercise 2's tasks."""
    return next(c.source for c in solution_copy(METRICS).cells if graded(c).get("grade_id") == name)


def save(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell("import torch"), *cells]), path)
    return path


def reasons(found: Grade) -> dict:
    """(task, hidden) → None, or why points are lost."""
    return {(mark.task, mark.hidden): mark.reason for mark in found.marks}


def test_the_exercises():
    known = exercises()
    assert [e.name for e in known] == sorted(path.stem for path in SOURCES.glob("*.ipynb"))
    assert known[1].tasks == ["ranked", "dcg", "recall_and_ndcg", "popular_half"]
    assert known[1].written == {"why-halves": 3}
    assert recognised(SOURCES / "x.ipynb", {"dcg", "what"}, known).name == "02_metrics"
    assert recognised(SOURCES / "ann_07_sld.ipynb", {""}, known).name == "07_sld"
    assert recognised(SOURCES / "x.ipynb", {""}, known) is None


def test_no_sources(tmp_path):
    with pytest.raises(ValueError, match="there are no sources of exercises in .*; grading needs a checkout"):
        exercises(tmp_path)


def test_a_test_of_no_task(tmp_path):
    cell = new_code_cell("x", metadata={"nbgrader": {"grade": True, "grade_id": "nothing-check", "points": 1}})
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "01.ipynb")
    with pytest.raises(ValueError, match="01.ipynb: 'nothing-check' is no TASK-check or TASK-hidden"):
        exercises(tmp_path)


def test_a_whole_class(tmp_path, capsys):
    """Full marks for a solution, none for the copy as it was handed out, nothing for what is no submission."""
    (tmp_path / "class" / "ann").mkdir(parents=True)
    nbformat.write(solution_copy(METRICS), tmp_path / "class" / "ann" / "02.ipynb")
    nbformat.write(student_copy(METRICS), tmp_path / "class" / "bob.ipynb")
    (tmp_path / "class" / "broken.ipynb").write_text("{")
    save(tmp_path / "class" / "other.ipynb")
    (tmp_path / "class" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "class" / ".ipynb_checkpoints" / "bob.ipynb").write_text("{")
    assert main(["grade", str(tmp_path / "class"), "--to", str(tmp_path / "grades"), "--memory", "2048"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["ann/02.ipynb: 02_metrics, 12 of 12 points, 3 by hand",
                     "bob.ipynb: 02_metrics, 0 of 12 points, 3 by hand",
                     "broken.ipynb: no exercise, 0 of 0 points", "other.ipynb: no exercise, 0 of 0 points",
                     f"written into {tmp_path / 'grades'}"]
    with open(tmp_path / "grades" / "grades.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [(row["submission"], row["points"]) for row in table] == [
        ("ann/02.ipynb", "12"), ("bob.ipynb", "0"), ("broken.ipynb", "0"), ("other.ipynb", "0")]
    assert table[0]["reasons"] == "" and "no notebook that can be read" in table[2]["reasons"]
    assert "it is not written yet (about 2 lines)" in table[1]["reasons"] and "no exercise" in table[3]["reasons"]
    ann = json.loads((tmp_path / "grades" / "ann" / "02.json").read_text(encoding="utf-8"))
    assert (ann["points"], ann["possible"], ann["by_hand"], ann["notes"]) == (12, 12, 3, [])
    assert all(mark["reason"] is None for mark in ann["marks"]) and "popularity" in ann["written"][0]["answer"]
    bob = (tmp_path / "grades" / "bob.md").read_text(encoding="utf-8")
    assert "**0 of 12 points**, and up to 3 by hand" in bob and "(no answer)" in bob
    assert "| ranked | visible | 0 of 2 | it is not written yet (about 1 line) |" in bob


MEDDLING = """
import rkd.coursework.checking as checking, rkd.coursework.task as task, rkd.neighbours, rkd.popularity
rkd.popularity.popularity_groups = lambda *a: None
task.close = lambda *a: True
checking.check = rkd.coursework.check = check = print
for name in checking.TASKS:
    object.__setattr__(checking.TASKS[name], "judge", lambda *a: None)
open("left_behind.txt", "w").write("x")
rkd.neighbours.nearest(torch.eye(3), 1)  # is kept in the cache
open({done!r}, "w").write("all of it")
"""


def test_tests_are_not_the_submissions_to_change(tmp_path):
    """It patches rkd, redefines check, edits and deletes test cells: what is right counts, what is wrong does not."""
    path = save(tmp_path / "meddling.ipynb", new_code_cell(MEDDLING.format(done=str(tmp_path / "done"))),
                new_code_cell("def my_scores(scores, train):\n    return scores.masked_fill(train, -torch.inf)"),
                tagged("def ranked(scores, train, k):\n    return my_scores(scores, train).topk(k).indices", "ranked"),
                tagged("import os; os._exit(0)  # edited", "ranked-check"),
                tagged("def dcg(hits):\n    return (hits / torch.log(torch.arange(hits.shape[1]) + 2)).sum(1)", "dcg"),
                new_code_cell(right("dcg").replace("def dcg", "def dcg2"), metadata={"tags": ["plot"]}),
                tagged("def recall_and_ndcg(lists:\n    pass", "recall_and_ndcg"),
                new_code_cell(right("popular_half")),  # its metadata is lost
                new_markdown_cell("They weigh the same.", metadata={"nbgrader": {"grade_id": "why-halves"}}))
    found = grade(path, exercises(), Limits(seconds=30, memory=2048))
    why = reasons(found)
    assert why["ranked", False] is why["ranked", True] is None
    assert why["popular_half", False] is why["popular_half", True] is None
    assert why["dcg", False] == why["dcg", True] == "it takes the natural logarithm; base 2 is asked for"
    assert "there is no such function, since its cell failed: SyntaxError" in why["recall_and_ndcg", False]
    assert (found.points, found.possible, found.by_hand, found.notes) == (6, 12, 3, [])
    assert found.written == [{"question": "why-halves", "possible": 3, "answer": "They weigh the same."}]
    assert (tmp_path / "done").read_text() == "all of it"
    assert os.listdir() == [] and not os.path.exists(os.environ["RKD_CACHE"])


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{number}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_cells_that_misbehave(tmp_path):
    """Loops, floods, crashes and gluttony cost nothing but the cell; functions that do so cost their own points."""
    path = save(tmp_path / "wild.ipynb",
                new_code_cell("import time\nwhile True:\n    try:\n        time.sleep(1)\n    except BaseException:\n"
                              "        pass"),
                new_code_cell("while True:\n    print('x' * 1000)"),
                new_code_cell("hog = []\nwhile True:\n    hog.append(bytearray(1 << 27))"),
                new_code_cell("import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
                              f"open({str(tmp_path / 'child')!r}, 'a').write(f'{{child.pid}} ')"),
                new_code_cell("import os; os._exit(3)"),
                new_code_cell("with open('big', 'wb') as file:\n    file.write(bytes(1 << 27))"),
                new_code_cell(f"import os; open({str(tmp_path / 'size')!r}, 'w').write(str(os.path.getsize('big')))"),
                new_code_cell("input('name? ')"),
                tagged(right("ranked"), "ranked"),
                tagged("import time\ndef dcg(hits):\n    time.sleep(600)", "dcg"),
                tagged("def recall_and_ndcg(lists, held_out):\n    while True:\n        print('x' * 1000)",
                       "recall_and_ndcg"),
                tagged("def popular_half(train, test):\n    return torch.empty(3 << 28)[:12] > 0  # 3 GiB",
                       "popular_half"))
    found = grade(path, exercises(), LIMITS)
    why = reasons(found)
    assert why["ranked", False] is why["ranked", True] is None and found.points == 3
    assert why["dcg", False] == why["dcg", True] == "it was stopped after 4 s"
    assert why["recall_and_ndcg", False] == "it was stopped: it prints without end"
    assert "it raises RuntimeError" in why["popular_half", False] and "memory" in why["popular_half", False]
    assert found.notes == ["the cell that begins 'import time' was left out, since it was stopped after 4 s",
                           "the cell that begins 'hog = []' was left out, since it took too much memory",
                           "the cell that begins 'import os; os._exit(3)' was left out, since it ended the kernel (a "
                           "crash, an exit or too much memory)"]
    assert 0 < int((tmp_path / "size").read_text()) <= 1 << 26
    children = [int(number) for number in (tmp_path / "child").read_text().split()]
    assert os.listdir() == [] and len(children) >= 3 and not any(map(alive, children))


@pytest.mark.parametrize("left, error, words", [
    ("", "SystemExit: 0", "raises SystemExit: 0"), ("", "was stopped: it prints without end", "was stopped: it prints"),
    ('{"dict": []}\n', None, "gives no answer that can be read"), ("[1, 2]\n[3]\n", None, "cannot be judged")])
def test_functions_without_an_answer(left, error, words, tmp_path, monkeypatch):
    """One that ends the cell, one that floods, and ones that write into the file of answers."""
    def run(self, code):
        (tmp_path / "answers.jsonl").write_text(left)
        return error

    monkeypatch.setattr(Kernel, "run", run)
    found, alive = Kernel(None, tmp_path, LIMITS, 0).ask("dcg", grading.asked("dcg")[:2])
    assert alive and len(found) == 2 and words in grading.verdict("dcg", found, hidden=False)


def test_lost_metadata(tmp_path):
    """The functions' names tell of which exercise it is."""
    path = save(tmp_path / "mine.ipynb", new_code_cell("x = 1\ndef unkd_loss(better, worse, possible):\n    return 0"))
    assert grade(path, exercises(), Limits(total=0)).exercise == "04_unkd"


def test_no_time_left(tmp_path):
    found = grade(save(tmp_path / "02_metrics.ipynb"), exercises(), Limits(total=0))
    assert set(reasons(found).values()) == {"it was not reached within the 0 s of a submission"} and found.points == 0


def test_a_kernel_that_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "fresh", lambda *_: (_ for _ in ()).throw(grading.Killed("does not begin")))
    found = grade(save(tmp_path / "02_metrics.ipynb"), exercises(), LIMITS)
    assert set(reasons(found).values()) == {"it could not be asked: the kernel does not begin"}


def test_strange_metadata(tmp_path):
    """What is no string, no list or no dict where one is expected makes an unreadable notebook, or does no harm."""
    for number, metadata in enumerate(({"tags": None}, {"nbgrader": {"grade_id": ["dcg"]}}, {"nbgrader": 3})):
        path = tmp_path / f"{number}.ipynb"
        cell = {"cell_type": "code", "source": "", "metadata": metadata, "outputs": [], "execution_count": None}
        path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
        found = grade(path, exercises(), LIMITS)
        assert found.points == 0 and found.exercise is None and len(found.notes) == 1


def test_which_submissions(tmp_path):
    a, b = save(tmp_path / "x" / "a.ipynb"), save(tmp_path / "x" / "y" / "b.ipynb")
    assert submissions([tmp_path / "x"]) == {"a.ipynb": a, "y/b.ipynb": b} and submissions([b]) == {"b.ipynb": b}
    for name in (".b.ipynb", "__MACOSX/._b.ipynb", ".trash/b.ipynb", "folder.ipynb/notes.txt"):
        (tmp_path / "x" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "x" / name).touch()
    assert list(submissions([tmp_path / "x"])) == ["a.ipynb", "y/b.ipynb"]
    (tmp_path / "empty").mkdir()
    for paths, words in (([tmp_path / "empty"], "there is no notebook in"),
                         ([tmp_path / "no"], "no file and no folder"), ([a, tmp_path / "x"], "a.ipynb is given twice")):
        with pytest.raises(ValueError, match=words):
            submissions(paths)


@pytest.mark.parametrize("arguments, words", [(["nowhere.ipynb"], "there is no file and no folder nowhere.ipynb"),
                                              (["x", "--seconds", "0"], "must be above 0"),
                                              (["x", "--memory", "-1"], "must be above 0")])
def test_mistakes_on_the_command_line(arguments, words, capsys):
    assert main(["grade", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rkd: ") and words in error and error.count("\n") == 1


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    """It is said before anything is graded."""
    path = save(tmp_path / "a.ipynb")
    assert main(["grade", str(path), "--to", str(path)]) == 2 and "File exists" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match="nothing can be written into .*grades"):
        grade_all([path], tmp_path / "grades")


def test_what_is_no_text(tmp_path, monkeypatch):
    odd = Grade("a.ipynb", "01_bpr", [Mark("bpr_loss", True, 0, 1, "it raises ValueError: \ud800")])
    monkeypatch.setattr("rkd.coursework.report.grade", lambda *_: odd)
    grade_all([save(tmp_path / "x" / "a.ipynb").parent], tmp_path / "grades", log=lambda line: None)
    for name in ("a.md", "a.json", "grades.csv"):
        assert r"\ud800" in (tmp_path / "grades" / name).read_text(encoding="utf-8")


def test_one_submission_has_no_table(tmp_path):
    save(tmp_path / "other.ipynb")
    (found,) = grade_all([tmp_path / "other.ipynb"], tmp_path / "grades", log=lambda line: None)
    assert found.exercise is None
    assert sorted(os.listdir(tmp_path / "grades")) == ["other.json", "other.md"]


def test_a_table_keeps_its_form_whatever_the_reasons():
    found = Grade("a.ipynb", "01_bpr", [Mark("bpr_loss", True, 0, 1, "it raises ValueError: a | b\nc")])
    row = next(line for line in markdown(found).splitlines() if line.startswith("| bpr_loss"))
    assert row == "| bpr_loss | hidden | 0 of 1 | it raises ValueError: a \\| b c |"

"""Coursework: grading gives what is due, whatever a submission does. Each grade here starts a kernel or more."""

import csv
import json
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rkd.__main__ import main
from rkd.coursework import grade as grading
from rkd.coursework.grade import Grade, Mark, Submission, exercises, recognised
from rkd.coursework.kernel import PACKAGE, Account, Limits, Server, contents
from rkd.coursework.release import SOURCES, graded, solution_copy, student_copy
from rkd.coursework.report import grade_all, markdown, student, submissions

LIMITS = Limits(seconds=2, total=120, memory=1024)
METRICS = nbformat.read(SOURCES / "02_metrics.ipynb", as_version=4)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Figures and the working folder apart: grading sets the one, and must leave nothing in the other."""
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path / "figures"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(scope="module")
def server():
    """One for all: a submission spoils nothing for the next."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def grade(server):
    return lambda path, limits=LIMITS: grading.grade(Submission.read(path), exercises(), limits, server)


def tagged(source: str, grade_id: str):
    return new_code_cell(source, metadata={"nbgrader": {"grade_id": grade_id}})


def right(name: str) -> str:
    """The solution of one of exercise 2's tasks."""
    return next(c.source for c in solution_copy(METRICS).cells if graded(c).get("grade_id") == name)


def save(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell("import torch"), *cells]), path)
    return path


def rows(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reasons(found: Grade) -> dict:
    """(task, hidden) → None, or why points are lost."""
    return {(mark.task, mark.hidden): mark.reason for mark in found.marks}


def test_the_exercises():
    known = exercises()
    assert [e.name for e in known] == sorted(path.stem for path in SOURCES.glob("*.ipynb"))
    assert known[1].tasks == ["ranked", "dcg", "recall_and_ndcg", "popular_half"]
    assert known[1].written == {"why-halves": 3}
    assert recognised("x.ipynb", {"dcg", "what"}, known).name == "02_metrics"
    assert recognised("ann_07_sld.ipynb", {""}, known).name == "07_sld"
    assert recognised("x.ipynb", {""}, known) is None


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
    (tmp_path / "class" / "ann" / "07_sld.ipynb").write_text("{")
    save(tmp_path / "class" / "other.ipynb")
    (tmp_path / "class" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "class" / ".ipynb_checkpoints" / "bob.ipynb").write_text("{")
    assert main(["grade", str(tmp_path / "class"), "--to", str(tmp_path / "grades"), "--memory", "2048"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert sorted(lines) == ["ann/02.ipynb: 02_metrics, 12 of 12 points, 3 by hand",
                     "ann/07_sld.ipynb: 07_sld, 0 of 9 points, 3 by hand",
                     "bob.ipynb: 02_metrics, 0 of 12 points, 3 by hand",
                     "other.ipynb: no exercise, 0 of 0 points"] and last == f"written into {tmp_path / 'grades'}"
    table = rows(tmp_path / "grades" / "grades.csv")
    assert [(row["student"], row["exercise"], row["submission"], row["points"]) for row in table] == [
        ("ann", "02_metrics", "ann/02.ipynb", "12"), ("ann", "07_sld", "ann/07_sld.ipynb", "0"),
        ("bob", "02_metrics", "bob.ipynb", "0"), ("bob", "07_sld", "", "0"), ("other", "", "other.ipynb", "0"),
        ("other", "02_metrics", "", "0"), ("other", "07_sld", "", "0")]
    assert table[0]["reasons"] == "" and "no notebook that can be read" in table[1]["reasons"]
    assert "it is not written yet (about 2 lines)" in table[2]["reasons"] and table[3]["reasons"] == "not handed in"
    assert "not recognised" in table[4]["reasons"]
    totals = [list(row.values()) for row in rows(tmp_path / "grades" / "totals.csv")]
    assert totals == [["ann", "12", "0", "12", "21", "6"], ["bob", "0", "", "0", "21", "6"],
                      ["other", "", "", "0", "21", "6"]]
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


def test_tests_are_not_the_submissions_to_change(tmp_path, grade):
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
    found = grade(path, Limits(seconds=30, memory=2048))
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
def test_cells_that_misbehave(tmp_path, grade):
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
    found = grade(path)
    why = reasons(found)
    assert why["ranked", False] is why["ranked", True] is None and found.points == 3
    assert all(re.fullmatch(r"it waited for more than [\d.]+ s", why["dcg", hidden]) for hidden in (False, True))
    assert re.fullmatch(r"it took more than 0\.\d+ s of processor time", why["recall_and_ndcg", False])  # what is left
    assert "it raises RuntimeError" in why["popular_half", False] and "memory" in why["popular_half", False]
    assert found.notes == ["the cell that begins 'import time' was left out, since it waited for more than 8 s",
                           "the cell that begins 'while True:' was left out, since it took more than 1 s of processor "
                           "time", "the cell that begins 'hog = []' was left out, since it took too much memory",
                           "the cell that begins 'import os; os._exit(3)' was left out, since it ended its process (a "
                           "crash, an exit or too much memory)"]
    assert 0 < int((tmp_path / "size").read_text()) <= 1 << 26
    children = [int(number) for number in (tmp_path / "child").read_text().split()]
    assert os.listdir() == [] and len(children) >= 3 and not any(map(alive, children))


def test_imports_and_helpers_count_wherever_they_stand(tmp_path, grade):
    """In a cell of plots, in a test cell, in a file beside the notebook; state that a cell leaves does not count."""
    path = save(tmp_path / "class" / "ann.ipynb",
                new_code_cell("import numpy as np\nworks = undefined", metadata={"tags": ["plot"]}),
                tagged("def log2(x):\n    return np.log2(x)\ncheck()", "dcg-check"),
                tagged("from mine import best\ndef ranked(scores, train, k):\n    return best(scores, train, k)",
                       "ranked"),
                new_code_cell("quit()"), new_code_cell("import time; time.sleep(2.5)"),
                new_code_cell("import sys; sys.stdout.close()"),
                new_code_cell("torch.set_grad_enabled(False); torch.set_default_device('meta')"),
                new_code_cell("get_ipython().kernel.do_shutdown(True)"), new_code_cell("%matplotlib inline"),
                tagged("def dcg(hits):\n    return hits.numpy() @ (1 / log2(np.arange(hits.shape[1]) + 2))", "dcg"))
    (path.parent / "mine.py").write_text("def best(s, t, k):\n    return s.masked_fill(t, -9e9).topk(k).indices\n")
    why = reasons(grade(path))
    assert all(why[task, hidden] is None for task in ("ranked", "dcg") for hidden in (False, True))


def test_written_answers_wherever_they_stand(tmp_path, grade):
    (exercise,) = [e for e in exercises() if e.name == "02_metrics"]
    texts = [grading.Cell("", text, False, False) for text in sorted(exercise.given)]
    place, in_place = (grading.Cell("why-halves", text, False, False) for text in ("*Your answer here.*", "Mine."))
    mine = grading.Cell("", "Mine.", False, False)
    for cells in ([*texts, place, mine], [*texts, mine], [place, *texts, in_place]):
        assert grading.written(cells, exercise) == {"why-halves": "Mine."}
    assert grading.written([*texts, place], exercise) == {"why-halves": ""}


def test_encodings(tmp_path):
    text = nbformat.writes(new_notebook(cells=[new_code_cell("x = 'é'")]))
    for encoding, read in (("utf-8-sig", "é"), ("utf-16", "é"), ("utf-16-le", "é"), ("latin-1", "\ufffd")):
        (tmp_path / "a.ipynb").write_text(text, encoding=encoding)
        assert Submission.read(tmp_path / "a.ipynb").cells[0].source == f"x = '{read}'"


def test_lost_metadata(tmp_path, grade):
    """The functions' names tell of which exercise it is."""
    path = save(tmp_path / "mine.ipynb", new_code_cell("x = 1\ndef unkd_loss(better, worse, possible):\n    return 0"))
    assert grade(path, Limits(total=0)).exercise == "04_unkd"


def test_no_time_left(tmp_path, grade):
    found = grade(save(tmp_path / "02_metrics.ipynb"), Limits(total=0))
    assert set(reasons(found).values()) == {"it was not reached within the 0 s of a submission"} and found.points == 0


def test_a_server_that_does_not_begin(tmp_path):
    """It is said once for a class, and of a submission where it does not begin again."""
    server = Server({Path("rkd/__init__.py"): b"raise ValueError('no rkd')"})
    found = grading.grade(Submission.read(save(tmp_path / "02_metrics.ipynb")), exercises(), LIMITS, server)
    (why,) = set(reasons(found).values())
    assert why.startswith("it could not be asked: its process could not be started: ") and found.points == 0


def test_a_server_ends_with_the_grader():
    """With all that runs in it."""
    server = Server()
    server.start()
    with server.fresh(Account(LIMITS)) as kernel:
        kernel.run("import subprocess; subprocess.Popen(['setsid', 'sleep', '600'])")
        numbers = [process.pid for process in server.family()]
        assert len(numbers) == 2
        server.control.close()  # as when the grader is killed
        server.process.wait(20)
    assert not any(map(alive, numbers)) and not server.folder.exists()


def test_what_is_forged_is_not_judged(tmp_path, server):
    """Lines on the way of the answers, of any form."""
    forge = """import os, stat
def is_link(number):
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False
def dcg(hits):
    os.write(next(filter(is_link, range(3, 99))), {0!r})
    while True: pass"""
    for line, words in ((b'{"answer": {"dict": []}}\n', "no answer that can be read"), (b"[1, 2]\n", "can be read"),
                        (b"x\n", "writes where only its answers belong"), (b'{"answer": [1]}\n', "cannot be judged")):
        found = grading.answers_of([(forge.format(line), True)], ["dcg"], Account(Limits(seconds=0.5)), server, {})[0]
        assert words in grading.verdict("dcg", found["dcg", False], hidden=False)


HOSTILE = {  # what a cell does → the points for exercise 1 that are left
    "import os\nfor name in ('cases.json', 'answers.jsonl'): os.mkfifo(name)": 6,
    "import os, shutil\nshutil.rmtree(os.getcwd())": 6,
    "import os, signal, time\nos.kill(os.getppid(), signal.SIGINT); os.kill(os.getppid(), signal.SIGKILL)": 6,
    "for _ in range(500): print('x' * 1000000)": 6,
    "import os\nfor name in ('cases.json', 'answers.jsonl'): os.symlink({lecturers!r}, name)": 6,
    "import subprocess\nopen({pids!r}, 'a').write(str(subprocess.Popen(['setsid', 'sleep', '600']).pid) + ' ')": 6,
    "import rkd.coursework.task as x, rkd.coursework.answers as y\nfor m in (x, y):\n"
    "    open(m.__file__, 'w').write('1/0')": 6,
    "import os, tempfile\nfor f in (os.path.expanduser('~'), tempfile.gettempdir(), '.'):\n"
    "    open(f + '/left', 'w').write('x')\nraise SystemExit": 6,
    "import os, sys\nos.closerange(0, 1000)": 6,
    "torch.nn.functional.logsigmoid = torch.allclose = lambda *a, **k: True\n"
    "import rkd.coursework.checking as c\nc.TASKS.clear()\ndef bpr_loss(*a):\n    a[0].zero_()": 3,
    "\n".join(["import os"] + ["if not os.fork():\n    while True: pass"] * 3): 6,
    "def bpr_loss(*embeddings):\n    import os; os._exit(0)": 3,
}


def everything(*folders) -> dict:
    return {path: content for folder in folders for path, content in contents(folder).items()}


def test_hostile_submissions_cost_nobody_else_anything(tmp_path):
    """Each one's points are those of the right functions that it still has; nothing outside is changed or left."""
    bpr = {graded(c).get("grade_id"): c for c in solution_copy(nbformat.read(SOURCES / "01_bpr.ipynb", 4)).cells}
    right = [bpr["bpr_loss"], bpr["net_push"]]
    stub = tagged("def bpr_loss(*embeddings):\n    raise NotImplementedError", "bpr_loss")
    imports = new_code_cell("import torch\nfrom torch.nn.functional import logsigmoid")
    for place in ("class", "lecturers"):
        (tmp_path / place).mkdir()
    (tmp_path / "lecturers" / "book.txt").write_text("mine")
    known = dict(lecturers=str(tmp_path / "lecturers" / "book.txt"), pids=str(tmp_path / "pids"))
    expected = {}
    for n, (cell, points) in enumerate(HOSTILE.items()):
        save(tmp_path / "class" / f"{n:02}-hostile.ipynb", imports, *right, new_code_cell(
            cell.replace("{lecturers!r}", repr(known["lecturers"])).replace("{pids!r}", repr(known["pids"]))))
        save(tmp_path / "class" / f"{n:02}-neighbour.ipynb", imports, *(right if n % 2 else [stub, bpr["net_push"]]))
        expected |= {f"{n:02}-hostile": points, f"{n:02}-neighbour": 6 if n % 2 else 3}
    before = everything(PACKAGE, tmp_path / "class", tmp_path / "lecturers")
    (tmp_path / "grades" / "00-hostile.json").mkdir(parents=True)  # as if one had been before us
    said = []
    grade_all([tmp_path / "class"], tmp_path / "grades", LIMITS, jobs=2, log=said.append)
    table = rows(tmp_path / "grades" / "grades.csv")
    assert {row["student"]: int(row["points"]) for row in table} == expected and len(said) == len(expected)
    assert {row["student"]: int(row["01_bpr"]) for row in rows(tmp_path / "grades" / "totals.csv")} == expected
    assert everything(PACKAGE, tmp_path / "class", tmp_path / "lecturers") == before
    assert not any(map(alive, map(int, (tmp_path / "pids").read_text().split()))) and os.listdir() == []
    assert not list(tmp_path.glob("rkd-grading-*"))


def test_changes_of_rkd_are_told(tmp_path, monkeypatch):
    """The grades are written, and then it is said that the next ones would be others."""
    shutil.copytree(PACKAGE, tmp_path / "rkd", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("rkd.coursework.report.PACKAGE", tmp_path / "rkd")
    monkeypatch.setattr(Server, "start", lambda self: (tmp_path / "rkd" / "losses.py").write_text("x"))
    with pytest.raises(ValueError, match="changed rkd/losses.py meanwhile"):
        grade_all([save(tmp_path / "a.ipynb")], tmp_path / "grades", log=lambda line: None)
    assert (tmp_path / "grades" / "a.json").exists()


def test_a_file_that_cannot_be_written_stops_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(Server, "start", lambda self: None)
    for name in ("ann", "bob"):
        save(tmp_path / "class" / name / "x.ipynb")
    (tmp_path / "grades").mkdir()
    (tmp_path / "grades" / "ann").touch()  # where a folder is to be
    with pytest.raises(ValueError, match=r"could not be written: .*ann/x.json \(.*\); .*ann/x.md"):
        grade_all([tmp_path / "class"], tmp_path / "grades", log=lambda line: None)
    assert [row["student"] for row in rows(tmp_path / "grades" / "totals.csv")] == ["ann", "bob"]
    assert (tmp_path / "grades" / "bob" / "x.md").exists()


@pytest.mark.parametrize("name, who", [("ann/02_metrics.ipynb", "ann"), ("ann/02_metrics/02_metrics.ipynb", "ann"),
                                       ("02_metrics/ann.ipynb", "ann"), ("ann_02_metrics.ipynb", "ann"),
                                       ("02_metrics-ann.ipynb", "ann"), ("ann.ipynb", "ann"),
                                       ("02_metrics.ipynb", "02_metrics")])
def test_whose_submission_it_is(name, who):
    assert student(name, [exercise.name for exercise in exercises()]) == who


def test_strange_metadata(tmp_path, grade):
    """What is no string, no list or no dict where one is expected makes an unreadable notebook, or does no harm."""
    for number, metadata in enumerate(({"tags": None}, {"nbgrader": {"grade_id": ["dcg"]}}, {"nbgrader": 3})):
        path = tmp_path / f"{number}.ipynb"
        cell = {"cell_type": "code", "source": "", "metadata": metadata, "outputs": [], "execution_count": None}
        path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
        found = grade(path)
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
                                              (["x", "--memory", "-1"], "must be at least 1"),
                                              (["x", "--seconds", "nan"], "must be above 0"),
                                              (["x", "--jobs", "0"], "must be at least 1")])
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
    monkeypatch.setattr(Server, "start", lambda self: None)
    odd = Grade("=1+1.ipynb", "01_bpr", [Mark("bpr_loss", True, 0, 1, "it raises ValueError: \ud800")])
    monkeypatch.setattr("rkd.coursework.report.grade", lambda *_: odd)
    grade_all([save(tmp_path / "x" / "a.ipynb").parent], tmp_path / "grades", log=lambda line: None)
    for name in ("=1+1.md", "=1+1.json", "grades.csv"):
        assert r"\ud800" in (tmp_path / "grades" / name).read_text(encoding="utf-8")
    assert rows(tmp_path / "grades" / "grades.csv")[0]["submission"] == "'=1+1.ipynb"  # no formula


def test_one_submission_has_no_table(tmp_path, monkeypatch):
    monkeypatch.setattr(Server, "start", lambda self: None)
    save(tmp_path / "other.ipynb")
    (found,) = grade_all([tmp_path / "other.ipynb"], tmp_path / "grades", log=lambda line: None)
    assert found.exercise is None
    assert sorted(os.listdir(tmp_path / "grades")) == ["other.json", "other.md"]


def test_a_table_keeps_its_form_whatever_the_reasons():
    found = Grade("a.ipynb", "01_bpr", [Mark("bpr_loss", True, 0, 1, "it raises ValueError: a | b\nc")])
    row = next(line for line in markdown(found).splitlines() if line.startswith("| bpr_loss"))
    assert row == "| bpr_loss | hidden | 0 of 1 | it raises ValueError: a \\| b c |"

"""Grades as files: JSON and Markdown for each submission; for a class, a table of all and one of totals."""

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import joblib

from ..files import write_whole
from .grade import Exercise, Grade, Submission, exercises, grade
from .kernel import LIMITS, PACKAGE, Killed, Limits, Server, contents

ESCAPED = "backslashreplace"  # an error's message, or an answer, may hold what is no text


def grade_all(paths: list[Path], to: Path, limits: Limits = LIMITS, jobs: int | None = None, log=print) -> list[Grade]:
    """Grade notebooks, and every notebook in folders, ``jobs`` at once (None: as many as cores, at most 8); write
    NAME.json and NAME.md of each into ``to``, under the same folders, and for more than one notebook or for a folder
    grades.csv, a line for each student and exercise, and totals.csv, a line for each student; all as far as it has
    come. A line on each as it is done.

    Raises ValueError for a path that does not exist, folders without a notebook, and where nothing can be written or
    run; and in the end, with all else written, where rkd is no longer what it was, or a file could not be written.
    """
    known, found = exercises(), submissions(paths)
    to.mkdir(parents=True, exist_ok=True)
    if not os.access(to, os.W_OK):
        raise ValueError(f"nothing can be written into {to}")
    class_ = len(found) > 1 or any(path.is_dir() for path in paths)
    read = [Submission.read(path, name) for name, path in found.items()]  # before anybody can change another's
    package, grades = contents(PACKAGE), []
    jobs = min(jobs or min(joblib.cpu_count(), 8), len(read))
    with ThreadPoolExecutor(jobs) as pool, _servers(jobs, package) as lent:
        for done in as_completed([pool.submit(_graded, submission, known, limits, lent) for submission in read]):
            grades.append(result := done.result())
            _write(grades if class_ else [], [result], to, known)
            log(f"{result.submission}: {result.exercise or 'no exercise'}, {result.points:g} of {result.possible:g} "
                "points" + f", {result.by_hand:g} by hand" * bool(result.by_hand))
    grades.sort(key=lambda result: result.submission)
    failed = _write(grades if class_ else [], grades, to, known)  # once more, should one have been meddled with
    now = contents(PACKAGE)
    if changed := sorted(str(path) for path in package.keys() | now.keys() if package.get(path) != now.get(path)):
        raise ValueError(f"a submission, or you, changed {', '.join(changed[:3])} meanwhile. These grades are by the "
                         "files as they were; restore those before you grade again")
    if failed:
        raise ValueError(f"could not be written: {'; '.join(failed[:3])}")
    return grades


@contextmanager
def _servers(n: int, package: dict[Path, bytes]) -> Iterator[SimpleQueue]:
    """So many servers, to be lent. Raises ValueError where none begins."""
    servers, lent = [Server(package) for _ in range(n)], SimpleQueue()
    try:
        servers[0].start()
        for server in servers:
            lent.put(server)
        yield lent
    except Killed as killed:
        raise ValueError(f"the process for students' code {killed}") from None
    finally:
        for server in servers:
            server.closed = True
            server.stop()


def _graded(submission: Submission, known: list[Exercise], limits: Limits, lent: SimpleQueue) -> Grade:
    """As ``grade``, on a server that is lent; nothing in it raises."""
    server = lent.get()
    try:
        return grade(submission, known, limits, server)
    except Exception as error:  # whatever it is, it stops no other's
        return Grade(submission.name, notes=[f"it could not be graded ({type(error).__name__}: {error})"])
    finally:
        lent.put(server)


def submissions(paths: list[Path]) -> dict[str, Path]:
    """Name → notebook: those given, and all but hidden ones in the folders given, named from there. Raises ValueError
    as above."""
    found = {}
    for path in paths:
        if path.is_dir():
            inside = {str(p.relative_to(path)): p for p in sorted(path.rglob("*.ipynb")) if p.is_file()}
            named = {name: p for name, p in inside.items() if not any(part[0] == "." for part in Path(name).parts)}
            if not named:
                raise ValueError(f"there is no notebook in {path}")
        elif path.is_file():
            named = {path.name: path}
        else:
            raise ValueError(f"there is no file and no folder {path}")
        if twice := sorted(set(named) & set(found)):
            raise ValueError(f"{twice[0]} is given twice: grade the two apart")
        found |= named
    return found


def markdown(result: Grade) -> str:
    """A grade for people: points, then a line on each test, then the written answers."""
    lines = [f"# {result.submission}", "",
             f"{result.exercise or 'No exercise'}: **{result.points:g} of {result.possible:g} points**"
             + f", and up to {result.by_hand:g} by hand" * bool(result.by_hand), ""]
    if result.marks:
        lines += ["| task | cases | points | |", "|---|---|---|---|"]
        lines += [f"| {mark.task} | {'hidden' if mark.hidden else 'visible'} | {mark.points:g} of {mark.possible:g} | "
                  f"{_cell(mark.reason or 'right')} |" for mark in result.marks] + [""]
    lines += [f"* {_cell(note)}" for note in result.notes] + [""] * bool(result.notes)
    for question in result.written:
        lines += [f"## {question['question']}: … of {question['possible']:g} points", "",
                  *(f"> {line}".strip() for line in (question["answer"] or "(no answer)").splitlines()), ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _write(table: list[Grade], grades: list[Grade], to: Path, known: list[Exercise]) -> list[str]:
    """Write both tables of the grades in ``table``, unless it is empty, and these ``grades``; returns what could not be
    written, and why."""
    texts, failed = {}, []
    if table:
        rows = _rows(table, known)
        texts |= {to / "grades.csv": _csv(rows), to / "totals.csv": _csv(_totals(rows))}
    for result in grades:
        target = to / result.submission
        texts[target.with_suffix(".json")] = json.dumps(result.as_dict(), indent=1, ensure_ascii=False) + "\n"
        texts[target.with_suffix(".md")] = markdown(result)
    for path, text in texts.items():
        try:
            if path.is_dir() and not path.is_symlink():  # in its place, by a submission's hand
                path.rename(path.with_name(f"{path.name}.moved-{os.urandom(4).hex()}"))
            write_whole(path, lambda to, text=text: to.write_text(text, encoding="utf-8", errors=ESCAPED, newline=""))
        except OSError as error:
            failed.append(f"{path} ({error.strerror})")
    return failed


def _rows(grades: list[Grade], known: list[Exercise]) -> list[dict]:
    """A row for each submission, by student, and for each exercise that others handed in and a student did not."""
    names = [exercise.name for exercise in known]
    possible = {g.exercise: (g.possible, g.by_hand) for g in grades if g.exercise}
    by_student = {}
    for g in grades:
        by_student.setdefault(student(g.submission, names), []).append(g)
    rows = []
    for who, theirs in by_student.items():
        for g in theirs:
            reasons = [f"{mark.task}{' (hidden)' * mark.hidden}: {mark.reason}" for mark in g.marks if mark.reason]
            rows.append({"student": who, "exercise": g.exercise or "", "submission": g.submission, "points": g.points,
                         "possible": g.possible, "by_hand": g.by_hand, "reasons": "; ".join(reasons + g.notes)})
        rows += [{"student": who, "exercise": name, "submission": "", "points": 0.0, "possible": possible[name][0],
                  "by_hand": possible[name][1], "reasons": "not handed in"}
                 for name in names if name in possible and name not in {g.exercise for g in theirs}]
    return sorted(rows, key=lambda row: (row["student"], row["exercise"], row["submission"]))


def _totals(rows: list[dict]) -> list[dict]:
    """A row for each student: the points of each exercise (the best of several submissions, none: empty), their sum,
    and what was possible, by tests and by hand."""
    names = sorted({row["exercise"] for row in rows} - {""})
    totals = []
    for who in dict.fromkeys(row["student"] for row in rows):
        best = {row["exercise"]: row for row in sorted(rows, key=lambda row: row["points"])
                if row["student"] == who and row["exercise"]}
        sums = {name: sum(row[name] for row in best.values()) for name in ("points", "possible", "by_hand")}
        each = {name: best[name]["points"] if best[name]["submission"] else "" for name in names}
        totals.append({"student": who} | each | sums)
    return totals


def student(name: str, exercises: list[str]) -> str:
    """Whose submission it is: the first folder in its name, or the file, less the exercise's name."""
    for part in Path(name).with_suffix("").parts:
        if left := re.sub("|".join(map(re.escape, exercises)), "", part).strip(" _-."):
            return left
    return Path(name).stem


def _csv(rows: list[dict]) -> str:
    """What a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(rows[0])
    for row in rows:
        cells = [f"{x:g}" if isinstance(x, float | int) else x for x in row.values()]
        table.writerow([f"'{x}" if x[:1] in ("=", "+", "-", "@", "\t", "\r") and x[1:2] else x for x in cells])
    return text.getvalue()

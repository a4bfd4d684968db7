"""Grades as files: JSON and Markdown for each submission, one CSV for a class."""

import csv
import json
import os
from pathlib import Path

from ..files import write_whole
from .grade import Grade, exercises, grade
from .kernel import LIMITS, Limits

ESCAPED = "backslashreplace"  # an error's message, or an answer, may hold what is no text


def grade_all(paths: list[Path], to: Path, limits: Limits = LIMITS, log=print) -> list[Grade]:
    """Grade notebooks, and every notebook in folders; write NAME.json and NAME.md of each into ``to``, under the same
    folders, and for more than one notebook or for a folder grades.csv. A line on each as it is done.

    Raises ValueError for a path that does not exist, folders without a notebook, and where nothing can be written.
    """
    known, found = exercises(), submissions(paths)
    to.mkdir(parents=True, exist_ok=True)
    if not os.access(to, os.W_OK):
        raise ValueError(f"nothing can be written into {to}")
    grades = []
    for name, path in found.items():
        result = grade(path, known, limits)
        result.submission = name
        target = to / name
        _write(target.with_suffix(".json"), json.dumps(result.as_dict(), indent=1, ensure_ascii=False) + "\n")
        _write(target.with_suffix(".md"), markdown(result))
        grades.append(result)
        log(f"{name}: {result.exercise or 'no exercise'}, {result.points:g} of {result.possible:g} points"
            + f", {result.by_hand:g} by hand" * bool(result.by_hand))
    if len(grades) > 1 or any(path.is_dir() for path in paths):
        write_whole(to / "grades.csv", lambda scratch: _write_table(grades, scratch))
    return grades


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
                  question["answer"] or "(no answer)", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda scratch: scratch.write_text(text, encoding="utf-8", errors=ESCAPED))


def _write_table(grades: list[Grade], path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors=ESCAPED) as file:
        table = csv.writer(file)
        table.writerow(["submission", "exercise", "points", "possible", "by_hand", "reasons"])
        for g in grades:
            reasons = [f"{mark.task}{' (hidden)' * mark.hidden}: {mark.reason}" for mark in g.marks if mark.reason]
            table.writerow([g.submission, g.exercise or "", f"{g.points:g}", f"{g.possible:g}", f"{g.by_hand:g}",
                            "; ".join(reasons + g.notes)])

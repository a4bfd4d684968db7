"""What the tests of coursework share: the exercises' tasks, and what check says."""

import nbformat
import torch

from rkd.coursework import check
from rkd.coursework.release import SOURCES, graded
from rkd.coursework.task import Wrong

TASKS_OF = {}  # exercise → its tasks
for path in sorted(SOURCES.glob("*.ipynb")):
    cells = nbformat.read(path, as_version=4).cells
    TASKS_OF[path.stem] = [graded(c)["grade_id"] for c in cells if c.cell_type == "code" and graded(c).get("solution")]


def functions(exercise: str, made) -> dict:
    """The namespace of an exercise's solution cells, made by solution_copy or student_copy."""
    found = {"torch": torch}
    for cell in made(nbformat.read(SOURCES / f"{exercise}.ipynb", as_version=4)).cells:
        if cell.cell_type == "code" and graded(cell).get("solution"):
            exec(cell.source, found)
    return found


def said(task: str, function) -> str:
    """What check says of a function: by the visible cases, else by the hidden; "" where both pass."""
    for hidden in (False, True):
        try:
            check(task, function, hidden)
        except Wrong as wrong:
            return str(wrong)
    return ""

"""Grade submissions: points for each task, with the reason for each that is lost.

The student's cells run in a kernel of their own (kernel.py). Tests do not: the kernel is only asked what the student's
functions answer to given arguments, and this process, whose rkd nobody has touched, judges the answers. So it makes no
difference what a submission does to its test cells, to ``check`` or to rkd. Which tests there are, and their points,
come from the exercise's source.
"""

import re
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat

from .answers import NO_FUNCTION
from .checking import TASKS
from .kernel import LIMITS, Kernel, Killed, Limits, fresh
from .release import SOURCES, UNANSWERED, graded

DEFINED = re.compile(r"^def (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Mark:
    """One test's: which task, with the hidden cases or the visible; points of possible, and why not all (None: all)."""

    task: str
    hidden: bool
    points: float
    possible: float
    reason: str | None


@dataclass
class Grade:
    """A submission's: the exercise (None: none was recognised), its marks, what is to be marked by hand ({"question",
    "possible", "answer"} each), and notes on cells that were left out."""

    submission: str
    exercise: str | None = None
    marks: list[Mark] = field(default_factory=list)
    written: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def points(self) -> float:
        return sum(mark.points for mark in self.marks)

    @property
    def possible(self) -> float:
        return sum(mark.possible for mark in self.marks)

    @property
    def by_hand(self) -> float:
        return sum(question["possible"] for question in self.written)

    def as_dict(self) -> dict:
        return asdict(self) | {"points": self.points, "possible": self.possible, "by_hand": self.by_hand}


@dataclass(frozen=True)
class Cell:
    """A submission's: its grade_id ("" where it has none), its text, and whether it is code, and a given plot."""

    id: str
    source: str
    code: bool
    plot: bool

    @classmethod
    def of(cls, cell: nbformat.NotebookNode) -> "Cell":
        return cls(str(graded(cell).get("grade_id", "")), str(cell.source), cell.cell_type == "code",
                   "plot" in cell.metadata.get("tags", []))


@dataclass(frozen=True)
class Exercise:
    """A source: tests, [(task, hidden, points)]; written, {question: points}; locked, the grade_ids of test cells; ids,
    all of them."""

    name: str
    tests: tuple[tuple[str, bool, float], ...]
    written: dict[str, float]

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(task for task, *_ in self.tests))

    @property
    def locked(self) -> set[str]:
        return {f"{task}-{'hidden' if hidden else 'check'}" for task, hidden, _ in self.tests}

    @property
    def ids(self) -> set[str]:
        return self.locked | set(self.tasks) | set(self.written)


def exercises(folder: Path = SOURCES) -> list[Exercise]:
    """The exercises whose sources lie in a folder. Raises ValueError where there is none, or a test of no task."""
    found = [_exercise(path) for path in sorted(folder.glob("*.ipynb"))]
    if not found:
        raise ValueError(f"there are no sources of exercises in {folder}; grading needs a checkout of rkd")
    return found


def _exercise(path: Path) -> Exercise:
    tests, written = [], {}
    for cell in nbformat.read(path, as_version=4).cells:
        about = graded(cell)
        if about.get("grade") and about.get("solution"):
            written[about["grade_id"]] = about["points"]
        elif about.get("grade"):
            task, _, kind = about["grade_id"].rpartition("-")
            if task not in TASKS or kind not in ("check", "hidden"):
                raise ValueError(f"{path.name}: {about['grade_id']!r} is no TASK-check or TASK-hidden of a known task")
            tests.append((task, kind == "hidden", about["points"]))
    return Exercise(path.stem, tuple(tests), written)


def grade(path: Path, known: list[Exercise], limits: Limits = LIMITS) -> Grade:
    """Grade one notebook. Nothing in it raises: what cannot be read or run gets no points, and a note says why."""
    result = Grade(path.name)
    try:
        cells = [Cell.of(cell) for cell in nbformat.read(path, as_version=4).cells]
    except Exception as error:  # anything may stand in a file that a student has saved
        result.notes.append(f"this is no notebook that can be read ({type(error).__name__})")
        return result
    defined = {name for cell in cells if cell.code for name in DEFINED.findall(cell.source)}
    exercise = recognised(path, {cell.id for cell in cells} | defined, known)
    if exercise is None:
        result.notes.append("not recognised: no grade_id, function name or file name matches an exercise")
        return result
    result.exercise = exercise.name
    texts = {cell.id: cell.source.strip() for cell in cells}
    for question, points in exercise.written.items():
        text = texts.get(question, "")
        result.written.append({"question": question, "possible": points, "answer": "" if text == UNANSWERED else text})
    run = [cell for cell in cells if cell.code and not cell.plot and cell.id not in exercise.locked]
    found, left_out, errors = answers_of([cell.source for cell in run], exercise.tasks, limits)
    result.notes += [f"the cell that begins {_begin(run[n].source)} was left out, since it {why}"
                     for n, why in sorted(left_out.items())]
    failed = {run[n].id: why for n, why in (left_out | errors).items()}
    for task, hidden, possible in exercise.tests:
        reason = verdict(task, found[task, hidden], hidden)
        if reason and NO_FUNCTION in reason and task in failed:
            reason = f"{NO_FUNCTION}, since its cell failed: {failed[task]}"
        result.marks.append(Mark(task, hidden, 0 if reason else possible, possible, reason))
    return result


def verdict(task: str, answers: list[dict], hidden: bool) -> str | None:
    """What is wrong with a task's answers, in words; None where all are right."""
    try:
        return TASKS[task].verdict(answers, hidden)
    except Exception as error:  # answers that a submission has forged may be anything
        return f"its answer cannot be judged ({type(error).__name__})"


def recognised(path: Path, ids: set, known: list[Exercise]) -> Exercise | None:
    """The exercise with the most grade_ids, or names of functions, in common; without any, the one whose name is in the
    file's."""
    best = max(known, key=lambda exercise: len(ids & exercise.ids))
    return best if ids & best.ids else next((exercise for exercise in known if exercise.name in path.name), None)


def answers_of(sources: list[str], tasks: list[str], limits: Limits) -> tuple[dict, dict[int, str], dict[int, str]]:
    """Run cells and ask for the functions' answers: ({(task, hidden): answers}, {cell left out: why}, {cell: error}).

    A cell that ends the kernel or runs over its time is left out, and the others run again from the start, in another
    kernel; so they do after a function that does this while it answers.
    """
    deadline, answered, left_out, errors = time.monotonic() + limits.total, {}, {}, {}
    late = f"was not reached within the {limits.total:g} s of a submission"
    try:
        while len(answered) < len(tasks) and time.monotonic() < deadline:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, \
                    fresh(Path(folder), limits, deadline) as kernel:
                alive, errors = run_cells(kernel, sources, left_out)
                for task in tasks:
                    if alive and task not in answered:
                        answered[task], alive = kernel.ask(task, asked(task))
    except Killed as killed:  # before its first cell
        late = f"could not be asked: the kernel {killed}"
    found = {}
    for task in tasks:
        n = len(TASKS[task].visible)
        told = answered.get(task, [{"error": ["Stopped", late]}] * len(asked(task)))
        found[task, False], found[task, True] = told[:n], told[n:]
    return found, left_out, errors


def asked(task: str) -> list:
    """A task's cases, the visible first, as Kernel.ask takes them."""
    return [[given, list(TASKS[task].gradient_of)] for given in TASKS[task].visible + TASKS[task].hidden]


def run_cells(kernel: Kernel, sources: list[str], left_out: dict[int, str]) -> tuple[bool, dict[int, str]]:
    """Run the cells that are not left out: whether the kernel survives, and the errors. One that it does not survive
    joins those left out."""
    errors = {}
    for n, source in enumerate(sources):
        if n not in left_out:
            try:
                if error := kernel.run(source):
                    errors[n] = error
            except Killed as killed:
                left_out[n] = str(killed)
                return False, errors
    return True, errors


def _begin(source: str) -> str:
    """The first words of a cell, in quotes."""
    return repr((source.strip().splitlines() or [""])[0][:60])

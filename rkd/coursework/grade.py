"""Grade submissions: points for each task, with the reason for each that is lost.

The student's cells run in a process of their own (kernel.py). Tests do not: that process is only asked what the
student's functions answer to given arguments, and this one, whose rkd nobody has touched, judges the answers. So it
makes no difference what a submission does to its test cells, to ``check`` or to rkd. Which tests there are, and their
points, come from the exercise's source.
"""

import json
import re
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat

from .answers import NO_FUNCTION
from .checking import TASKS
from .kernel import Account, Killed, Limits, Server
from .release import SOURCES, UNANSWERED, graded, student_copy

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
class Submission:
    """A notebook as it was read: its cells, or why there are none, and the Python files that lay beside it."""

    name: str
    cells: list[Cell] = field(default_factory=list)
    trouble: str | None = None
    helpers: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> "Submission":
        """Nothing in it raises: anything may stand in a file that a student has saved."""
        name = name or path.name
        try:
            content = path.read_bytes()
            text = content.decode(json.detect_encoding(content), errors="replace")
            with warnings.catch_warnings(action="ignore"):  # of ids that are missing, or given twice
                cells = [Cell.of(cell) for cell in nbformat.reads(text, as_version=4).cells]
            beside = {p.name: p.read_bytes() for p in path.parent.glob("*.py") if p.is_file() and not p.is_symlink()}
        except Exception as error:
            return cls(name, trouble=f"this is no notebook that can be read ({type(error).__name__})")
        return cls(name, cells, helpers=beside)


@dataclass(frozen=True)
class Exercise:
    """A source: tests, [(task, hidden, points)]; written, {question: points}; given, the texts of the student copy."""

    name: str
    tests: tuple[tuple[str, bool, float], ...]
    written: dict[str, float]
    given: frozenset[str] = frozenset()

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(task for task, *_ in self.tests))

    @property
    def locked(self) -> set[str]:
        """The grade_ids of test cells."""
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
    tests, written, source = [], {}, nbformat.read(path, as_version=4)
    for cell in source.cells:
        about = graded(cell)
        if about.get("grade") and about.get("solution"):
            written[about["grade_id"]] = about["points"]
        elif about.get("grade"):
            task, _, kind = about["grade_id"].rpartition("-")
            if task not in TASKS or kind not in ("check", "hidden"):
                raise ValueError(f"{path.name}: {about['grade_id']!r} is no TASK-check or TASK-hidden of a known task")
            tests.append((task, kind == "hidden", about["points"]))
    given = {cell.source.strip() for cell in student_copy(source).cells if cell.cell_type != "code"}
    return Exercise(path.stem, tuple(tests), written, frozenset(given | {UNANSWERED, ""}))


def grade(submission: Submission, known: list[Exercise], limits: Limits, server: Server) -> Grade:
    """Grade one notebook. What cannot be read or run gets no points, and a note says why."""
    result, cells = Grade(submission.name), submission.cells
    if submission.trouble:
        result.notes.append(submission.trouble)
    defined = {name for cell in cells if cell.code for name in DEFINED.findall(cell.source)}
    exercise = recognised(submission.name, {cell.id for cell in cells} | defined, known)
    if exercise is None:
        if not submission.trouble:
            result.notes.append("not recognised: no grade_id, function name or file name matches an exercise")
        return result
    result.exercise = exercise.name
    answers = written(cells, exercise)
    result.written = [{"question": question, "possible": points, "answer": answers[question]}
                      for question, points in exercise.written.items()]
    if submission.trouble:
        result.marks = [Mark(*test[:2], 0, test[2], submission.trouble) for test in exercise.tests]
        return result
    run = [cell for cell in cells if cell.code]
    whole = [not cell.plot and cell.id not in exercise.locked for cell in run]
    found, left_out, errors = answers_of([(cell.source, all_of_it) for cell, all_of_it in zip(run, whole)],
                                         exercise.tasks, Account(limits), server, submission.helpers)
    result.notes += [f"the cell that begins {_begin(run[n].source)} was left out, since it {why}"
                     for n, why in sorted(left_out.items())]
    failed = {run[n].id: why for n, why in (left_out | errors).items()}
    for task, hidden, possible in exercise.tests:
        reason = verdict(task, found[task, hidden], hidden)
        if reason and NO_FUNCTION in reason and task in failed:
            reason = f"{NO_FUNCTION}, since its cell failed: {failed[task]}"
        result.marks.append(Mark(task, hidden, 0 if reason else possible, possible, reason))
    return result


def written(cells: list[Cell], exercise: Exercise) -> dict[str, str]:
    """What the student has written to each question: all text that the exercise does not bring. Text of a cell that is
    no question's belongs to the question before it, or to the first."""
    found, question = {name: [] for name in exercise.written}, next(iter(exercise.written), None)
    for cell in cells:
        question = cell.id if cell.id in found else question
        if not cell.code and question and cell.source.strip() not in exercise.given:
            found[question].append(cell.source.strip())
    return {name: "\n\n".join(texts) for name, texts in found.items()}


def verdict(task: str, answers: list[dict], hidden: bool) -> str | None:
    """What is wrong with a task's answers, in words; None where all are right."""
    try:
        return TASKS[task].verdict(answers, hidden)
    except Exception as error:  # answers that a submission has forged may be anything
        return f"its answer cannot be judged ({type(error).__name__})"


def recognised(name: str, ids: set, known: list[Exercise]) -> Exercise | None:
    """The exercise with the most grade_ids, or names of functions, in common; without any, the one whose name is in the
    file's."""
    best = max(known, key=lambda exercise: len(ids & exercise.ids))
    return best if ids & best.ids else next((exercise for exercise in known if exercise.name in name), None)


def answers_of(sources: list[tuple[str, bool]], tasks: list[str], account: Account, server: Server,
               helpers: dict[str, bytes]) -> tuple[dict, dict[int, str], dict[int, str]]:
    """Run cells, (text, whether all of it or only imports and definitions), and ask for the functions' answers:
    ({(task, hidden): answers}, {cell left out: why}, {cell: error}).

    A cell that runs over its limits, or ends its process twice, is left out, and the others run again from the start,
    in another process; so they do after a function that does this while it answers.
    """
    answered, left_out, errors, ended, todo = {task: [] for task in tasks}, {}, {}, set(), True
    while todo:
        errors.clear()
        step = None  # a cell's number, or a task
        try:
            with server.fresh(account, helpers) as kernel:
                for step, (source, whole) in enumerate(sources):
                    if step not in left_out and (error := kernel.run(source, whole)):
                        errors[step] = error
                for step in tasks:
                    kernel.ask(step, asked(step), answered[step])
            todo = False
        except Killed as killed:
            if killed.again and step not in ended:
                ended.add(step)
            elif step in answered:
                _give_up(answered, step, str(killed))
            elif step is not None and account.left:
                left_out[step] = str(killed)
            else:  # nothing can run any more
                late = f"was not reached within the {account.limits.total:g} s of a submission"
                for task in tasks:
                    _give_up(answered, task, f"could not be asked: its process {killed}" if account.left else late)
                todo = False
    visible = {task: len(TASKS[task].visible) for task in tasks}
    found = {(task, False): answered[task][:n] for task, n in visible.items()}
    return found | {(task, True): answered[task][n:] for task, n in visible.items()}, left_out, errors


def _give_up(answered: dict[str, list], task: str, why: str) -> None:
    answered[task] += [{"error": ["Stopped", why]}] * (len(asked(task)) - len(answered[task]))


def asked(task: str) -> list:
    """A task's cases, the visible first, as Kernel.ask takes them."""
    return [[given, list(TASKS[task].gradient_of)] for given in TASKS[task].visible + TASKS[task].hidden]


def _begin(source: str) -> str:
    """The first words of a cell, in quotes."""
    return repr((source.strip().splitlines() or [""])[0][:60])

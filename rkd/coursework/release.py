"""The student copies and the solutions, made from the sources: ./reproduce.sh exercises.

A source in notebooks/exercises/source/ has nbgrader's markers. Between BEGIN and END SOLUTION stands what a student
writes, between BEGIN and END HIDDEN TESTS what only grading runs; a written answer is a whole cell.
"""

import re
import sys
import tempfile
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from ..files import write_whole
from ..study.reproduce import ROOT, Parser, positive, settle

SOURCES = ROOT / "notebooks" / "exercises" / "source"
EXERCISES = ROOT / "notebooks" / "exercises"
SOLUTIONS = ROOT / "notebooks" / "solutions"
REGION = r"^([ \t]*)### BEGIN {0}\n(.*?)^[ \t]*### END {0}(?:\n|\Z)"
SOLUTION, HIDDEN = (re.compile(REGION.format(name), re.MULTILINE | re.DOTALL) for name in ("SOLUTION", "HIDDEN TESTS"))
MARKER = re.compile(r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)")
UNANSWERED = "*Your answer here.*"


def student_copy(source: NotebookNode, seed: int | None = None) -> NotebookNode:
    """A source without its solutions, hidden tests and outputs. seed : takes the place of the source's SEED.

    Raises ValueError for a marker without its partner, and where there is no SEED to replace.
    """
    def without(cell):
        if graded(cell).get("solution") and cell.cell_type == "markdown":
            return UNANSWERED
        return HIDDEN.sub("", SOLUTION.sub(_stub, cell.source)).rstrip("\n")

    copy = _made(source, without)
    if seed is not None:
        cell = next((c for c in copy.cells if "parameters" in c.metadata.get("tags", [])), None)
        found = re.subn(r"^SEED = \d+", f"SEED = {seed}", cell.source, flags=re.MULTILINE) if cell else ("", 0)
        if not found[1]:
            raise ValueError("the source has no cell tagged 'parameters' that sets SEED")
        cell.source = found[0]
    return copy


def solution_copy(source: NotebookNode) -> NotebookNode:
    """A source with its solutions and hidden tests, without markers, not executed. Raises ValueError as above."""
    def whole(cell):
        return HIDDEN.sub(r"\2", SOLUTION.sub(r"\2", cell.source)).rstrip("\n")

    return _made(source, whole)


def graded(cell: NotebookNode) -> dict:
    """A cell's nbgrader metadata, {} where it has none, or none that can be read."""
    found = cell.metadata.get("nbgrader", {})
    return found if isinstance(found, dict) else {}


def _stub(region: re.Match) -> str:
    indent, body = region.groups()
    lines = sum(bool(line.strip()) and not line.strip().startswith("#") for line in body.splitlines())
    return f'{indent}raise NotImplementedError("about {lines} line{"s" * (lines > 1)}")\n'


def _made(source, text_of) -> NotebookNode:
    """A copy with other texts of its cells, and without outputs."""
    copy = deepcopy(source)
    for cell in copy.cells:
        cell.source = text_of(cell)
        if marker := MARKER.search(cell.source):
            raise ValueError(f"{marker[0]} has no partner, in the cell that begins {cell.source.splitlines()[0]!r}")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return copy


def executed(notebook: NotebookNode) -> NotebookNode:
    """The notebook with its outputs. Raises nbclient's CellExecutionError where a cell fails."""
    from nbclient import NotebookClient

    settle()
    metadata = deepcopy(notebook.metadata)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False,
                                coalesce_streams=True, resources={"metadata": {"path": folder}},
                                extra_arguments=["--log-level=CRITICAL"])
        done = client.execute()
    done.metadata = metadata
    return done


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook whole or not at all."""
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda scratch: scratch.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8"))


def main(arguments: list[str] | None = None) -> int:
    """Write every student copy, and unless they go elsewhere (--to) every executed solution."""
    parser = Parser(prog="./reproduce.sh exercises", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=positive, metavar="N",
                        help="the class's seed in the student copies (default: the source's)")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="only write student copies, into this folder")
    options = parser.parse_args(arguments)
    if options.seed is not None and options.to is None:
        parser.error("--seed goes with --to: the copies in notebooks/exercises/ keep the source's seed")
    for path in sorted(SOURCES.glob("*.ipynb")):
        source = nbformat.read(path, as_version=4)
        write(student_copy(source, options.seed), (options.to or EXERCISES) / path.name)
        if options.to is None:
            write(executed(solution_copy(source)), SOLUTIONS / path.name)
        print(f"exercise     {path.name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Are the regenerated tables the committed ones, and does each decimal number of the prose stand in the outputs?

Cells must be equal, text by text, where a table's provenance names the same AVX2 instructions on both sides and no
other library computes the row. Elsewhere a mean may move as far as other seeds could move it (``allowed``); standard
deviations, p-values and the marks and verdicts that follow from them are let through, and all else must be equal.
"""

import argparse
import csv
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import median

from .prose import check_notebook, check_readme

ROOT = Path(__file__).resolve().parents[2]
# How many standard errors a mean may move. Measured: other instructions leave plain MF as it is, move RRD and SLD by at
# most 0.3 of them, and CD, which draws from the student's own ranking, by up to 1.6, about as other seeds would.
# Simulated: if a fifth of the laptop scale's 500 means moved as with other seeds, 4 would be exceeded once in 20 times.
ERRORS = 4
MEAN = re.compile(r"(-?\d+\.\d+(?:e-?\d+)?)(?: ± (\d+\.\d+))?( †)?")  # a cell: mean, standard deviation, mark
DERIVED = ("p", "p_holm", "verdict", "smallest", "decided by")  # columns that follow from means and deviations
TIMES = re.compile("seconds|cost")  # files, rows and columns that no two runs share
FOREIGN = re.compile("PQ|iALS")  # rows that other libraries compute, with instructions of their own choice


class CheckError(Exception):
    """Something the reader can act on; its message is all that is shown."""


@dataclass(frozen=True)
class Table:
    """A CSV file. rows: labels (the fewest first columns that tell all rows apart) → column → text."""

    name: str
    columns: list[str]
    rows: dict[tuple[str, ...], dict[str, str]]
    provenance: dict

    def cells(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Labels and column of every cell that is no label and no time."""
        for labels in self.rows:
            yield from ((labels, column) for column in self.columns[len(labels):]
                        if not TIMES.search(" ".join((*labels, column))))

    def metric(self, labels: tuple[str, ...], column: str) -> str:
        """What a cell measures: the first word with an @ in its column's name or row's labels, else the table's."""
        return next((word for text in (column, *labels) for word in text.split() if "@" in word), self.name)

    def mean(self, labels: tuple[str, ...], column: str) -> tuple[float, float | None] | None:
        """A cell's mean and its standard deviation over seeds (the cell's, or column X-std's beside X-mean; None where
        there is neither). None for texts, integers, and what a paper published."""
        row = self.rows[labels]
        found = MEAN.fullmatch(row[column])
        if not found or "published" in (*labels, *column.split()):
            return None
        spread = found[2] or (column.endswith("-mean") and row.get(column.removesuffix("-mean") + "-std"))
        return float(found[1]), float(spread) if spread else None


def read_table(path: Path, n_labels: int | None = None) -> Table:
    """Read NAME.csv, and NAME.provenance.json where there is one. n_labels: the number of columns that label a row."""
    with path.open(encoding="utf-8", newline="") as file:
        columns, *lines = csv.reader(file)
    tells_apart = (n for n in range(1, len(columns)) if len({tuple(line[:n]) for line in lines}) == len(lines))
    n_labels = n_labels or next(tells_apart, len(columns))
    beside = path.with_suffix(".provenance.json")
    return Table(path.stem, columns, {tuple(line[:n_labels]): dict(zip(columns, line)) for line in lines},
                 json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {})


def spreads_of(tables: Iterable[Table]) -> dict[str, float]:
    """Metric → standard deviation over seeds, pooled over its cells; "" → the median of all, as a share of the mean."""
    found = defaultdict(set)
    for table in tables:
        for cell in table.cells():
            mean, spread = table.mean(*cell) or (0.0, None)
            if spread is not None:
                found[table.metric(*cell)].add((mean, spread))  # a run that stands in several tables counts once
    shares = [spread / abs(mean) for pairs in found.values() for mean, spread in pairs if mean]
    pooled = {metric: sqrt(sum(spread**2 for _, spread in pairs) / len(pairs)) for metric, pairs in found.items()}
    return pooled | {"": median(shares) if shares else 0.0}


def allowed(table: Table, labels: tuple[str, ...], column: str, spreads: dict[str, float]) -> float:
    """How far a cell's mean may move: ERRORS · √(2/n) · spread, n the seeds behind it (one where it has no spread).

    The spread is the cell's own or its metric's, whichever is larger, since three seeds may lie close together by
    chance; where no table has the metric's, it is taken as that share of the mean which it is on all metrics.
    """
    mean, own = table.mean(labels, column)
    spread = max(own or 0.0, spreads.get(table.metric(labels, column), 0.0)) or spreads[""] * abs(mean)
    n = 1 if own is None else len(table.provenance.get("seeds", [0]))
    methods = 2 if column in ("difference", "low", "high") else 1  # a difference of two methods moves with both
    return ERRORS * sqrt(2 * methods / n) * spread


def pinned(old: Table, new: Table) -> bool:
    """Were both computed with the same AVX2 instructions, on every data set?"""
    used = [{name: str(entry.get("instructions")) for name, entry in table.provenance.get("data", {}).items()}
            for table in (old, new)]
    return used[0] == used[1] != {} and all(name.startswith("avx2") for name in used[0].values())


def compare(old: Table, new: Table, spreads: dict[str, float]) -> Iterator[str]:
    """A line per fault of a regenerated table: columns, rows and cells that are not the committed one's."""
    for kind, before, after in (("columns", [(c,) for c in old.columns], [(c,) for c in new.columns]),
                                ("rows", list(old.rows), list(new.rows))):
        lost, added = ([", ".join(x) for x in xs if x not in ys] for xs, ys in ((before, after), (after, before)))
        yield from (f"{kind}: {name} is missing" for name in lost)
        yield from (f"{kind}: {name} is not in the committed table" for name in added)
        if set(before) == set(after) and before != after:
            yield f"{kind} are in another order"
    for labels, column in old.cells():
        if labels not in new.rows or column not in new.columns:
            continue
        exact = pinned(old, new) and not FOREIGN.search(" ".join(labels))
        before, after = old.rows[labels][column], new.rows[labels][column]
        if before == after or not exact and (column in DERIVED or column.endswith("-std")):
            continue
        limit, one, other = None, old.mean(labels, column), new.mean(labels, column)
        if not exact and one and other and (one[1] is None) == (other[1] is None):
            limit = allowed(old, labels, column, spreads)
            if abs(one[0] - other[0]) <= limit:
                continue
        elif not exact and before.removesuffix(" †") == after.removesuffix(" †"):
            continue
        why = "" if limit is None else f" (other seeds would move it by {limit:.2g} at most)"
        yield f"{', '.join(labels)}, {column}: committed {before!r}, regenerated {after!r}{why}"


def check_tables(committed: Path, regenerated: Path, without: Collection[str] = ()) -> tuple[list[str], int, int]:
    """Faults, the number of tables, and how many of them differ by no more than they may. without: those that need not
    be there anew, by name."""
    old, new = ({path.name: path for path in sorted(folder.glob("*.csv")) if not TIMES.search(path.name)}
                for folder in (committed, regenerated))
    tables = {name: read_table(path) for name, path in old.items()}
    spreads, faults, moved = spreads_of(tables.values()), [], 0
    for name in tables.keys() & new.keys():
        if new[name].read_bytes() != old[name].read_bytes():
            table = read_table(new[name], len(next(iter(tables[name].rows), ("",))))
            found = [f"{new[name]}: {line}" for line in compare(tables[name], table, spreads)]
            faults, moved = faults + found, moved + (not found)
    faults += [f"{regenerated / name} is missing" for name in old.keys() - new.keys()
               if Path(name).stem not in without]
    faults += [f"{path} is not among the committed tables" for name, path in new.items() if name not in old]
    return sorted(faults), len(tables), moved


def unpack_committed(root: Path, scale: str, to: Path) -> Path:
    """Write figures/<scale>/ as it was last committed into a folder, and return where it lies there."""
    done = subprocess.run(["git", "-C", root, "archive", "HEAD", f"figures/{scale}"], capture_output=True)
    if done.returncode:
        raise CheckError(f"git has no committed figures/{scale} ({done.stderr.decode(errors='replace').strip()}); "
                         "name a folder that holds the committed tables: --against FOLDER")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(to, filter="data")
    return to / "figures" / scale


def check(root: Path, committed: Path, regenerated: Path, notebooks: Path | None,
          without: Collection[str] = ()) -> tuple[list[str], str]:
    """All faults, and what is to be said where there is none. notebooks: None for no prose."""
    faults, n_tables, moved = check_tables(committed, regenerated, without)
    if not n_tables:
        raise CheckError(f"no tables in {committed}")
    prose = []
    if notebooks:
        prose = [check_notebook(path, root, committed) for path in sorted(notebooks.glob("[0-9]*.ipynb"))]
        if not prose:
            raise CheckError(f"no notebooks in {notebooks}")
        prose.append(check_readme(root, committed))
    within = f" ({moved} of them not to the digit, but within the spread of the seeds)" if moved else ""
    return (faults + [line for lines, _ in prose for line in lines],
            f"{n_tables} tables as committed{within}"
            + (f", {sum(n for _, n in prose)} numbers of the prose found" if prose else ""))


def main(arguments: list[str] | None = None) -> int:
    """Print every fault, or that there is none; the exit status is 1 where there is one."""
    parser = argparse.ArgumentParser(prog="./reproduce.sh check", description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=("smoke", "laptop", "paper"), default="laptop")
    parser.add_argument("--figures", type=Path, metavar="FOLDER",
                        help="the regenerated tables (default: figures/<scale>/, of $RKD_FIGURES where that is set)")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="the committed tables (default: git's HEAD)")
    parser.add_argument("--notebooks", type=Path, metavar="FOLDER",
                        help="whose prose to check (default: notebooks/, which hold what laptop scale gives)")
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME",
                        help="tables that may be missing: from records, those that need models")
    parser.add_argument("--root", type=Path, default=ROOT, metavar="FOLDER", help="the checkout (default: this one)")
    options = parser.parse_args(arguments)
    root, scale = options.root, options.scale
    regenerated = options.figures or Path(os.environ.get("RKD_FIGURES") or root / "figures") / scale
    with tempfile.TemporaryDirectory() as folder:
        try:
            committed = options.against or unpack_committed(root, scale, Path(folder))
            notebooks = options.notebooks or (root / "notebooks" if scale == "laptop" else None)
            faults, summary = check(root, committed, regenerated, notebooks, options.without)
        except CheckError as error:
            faults, summary = [str(error)], ""
    summary = f"{len(faults)} fault{'s' * (len(faults) > 1)}" if faults else summary
    print(*faults, f"check: {summary}", sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

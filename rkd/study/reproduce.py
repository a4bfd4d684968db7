"""The pipeline behind ./reproduce.sh: execute the notebooks, and with them write every table and figure.

The sources in notebooks/ are only read; executed copies go to figures/<scale>/notebooks/. Only the standard library is
imported before a notebook runs, so ``--list`` and mistakes on the command line are answered without an environment.
"""

import argparse
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "notebooks"
SCALES = ("smoke", "laptop", "paper")


class ReproduceError(Exception):
    """Something the reader can act on; its message is all that is shown."""


class RunLines:
    """A file for papermill's ``stdout_file``: passes on the lines that begin with "run ", each as it ends."""

    def __init__(self, to):
        self.to, self.rest = to, ""

    def write(self, text: str) -> None:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            if line.startswith("run "):
                say("  " + line, self.to)

    def flush(self) -> None:
        """Lines are flushed one by one."""


def say(line: str, to=None) -> None:
    """Print a line in one piece, whoever else prints."""
    print(line + "\n", end="", file=to, flush=True)


def folder(scale: str) -> Path:
    """Where one scale's tables and figures lie: in $RKD_FIGURES; else in figures/ of this checkout, or of the working
    directory where the package lies in no checkout of its own."""
    checkout = (ROOT / "pyproject.toml").is_file() and (ROOT / "notebooks").is_dir()
    return Path(os.environ.get("RKD_FIGURES") or (ROOT if checkout else Path()) / "figures").resolve() / scale


def products() -> dict[str, list[str]]:
    """Notebook → the tables (NAME.csv) and figures (NAME.png) that its metadata says it writes, in reading order."""
    listed = {}
    for path in sorted(SOURCES.glob("*.ipynb")):
        try:
            listed[path.name] = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("rkd", {}).get("products")
        except (ValueError, KeyError) as error:
            raise ReproduceError(f"{path} is no notebook: {error!r}") from error
    return {notebook: names for notebook, names in listed.items() if names}


def plan(only: list[str] | None = None) -> dict[str, list[str]]:
    """The notebooks to execute for the tables and figures named in ``only`` (None: for all), and what they write."""
    listed = products()
    known = [name for names in listed.values() for name in names]
    for name in only or ():
        if name not in known:
            raise ReproduceError(f"no table or figure is called {name!r}; the names are {', '.join(known)}")
    return {notebook: names for notebook, names in listed.items() if only is None or set(only) & set(names)}


def check_parameters(source: Path, parameters: dict) -> None:
    """Raise unless the notebook has a cell tagged ``parameters`` that sets every name (papermill would only warn)."""
    import papermill

    known = papermill.inspect_notebook(str(source))
    if unknown := ", ".join(name for name in parameters if name not in known):
        sets = ", ".join(known) or "nothing"
        raise ReproduceError(f"{source.name} has no parameter {unknown}; its cell tagged 'parameters' sets {sets}")


def failure(source: Path, partial: Path, error: Exception) -> str:
    """What went wrong, and in which code cell: the last one that papermill started."""
    import nbformat

    what = f"{getattr(error, 'ename', type(error).__name__)}: {getattr(error, 'evalue', error)}".strip()
    started = [cell.source for cell in (nbformat.read(partial, as_version=4).cells if partial.exists() else ())
               if cell.cell_type == "code" and cell.metadata.get("papermill", {}).get("start_time")]
    if not started:
        return f"{source.name} did not start: {what}"
    cells = [cell.source for cell in nbformat.read(source, as_version=4).cells if cell.cell_type == "code"]
    number = cells.index(started[-1]) + 1 if started[-1] in cells else "of the parameters"
    return f"{source.name} failed in code cell {number} ({started[-1].strip().splitlines()[0]}): {what}"


def execute(notebook: str, scale: str, jobs: int | None = None) -> Path:
    """Execute one notebook at a scale and return where its executed copy lies; a failed one is kept beside it.

    ``jobs`` is how many processes train side by side; None leaves that to the notebook.
    """
    source, target = SOURCES / notebook, folder(scale) / "notebooks" / notebook
    part, failed = (target.with_suffix(f".{state}.ipynb") for state in ("part", "failed"))
    if not source.is_file():
        raise ReproduceError(f"{source} is missing")
    settle()
    import papermill

    parameters = {"SCALE": scale} | ({} if jobs is None else {"JOBS": jobs})
    check_parameters(source, parameters)
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in (part, failed):
        left.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(str(source), str(part), parameters=parameters, kernel_name="python3",
                                   cwd=str(SOURCES), progress_bar=False, stdout_file=RunLines(sys.stdout),
                                   extra_arguments=["--log-level=CRITICAL"])  # the kernel's own log
    except Exception as error:
        message = failure(source, part, error)
        if part.exists():
            message += f"\n  as far as it came: {part.replace(failed)}"
        raise ReproduceError(message) from error
    part.replace(target)
    return target


def settle() -> None:
    """Have this environment's kernel run, find the same folders, and keep its machinery's talk off the terminal."""
    from ..pinned import PIN

    os.environ.update(PIN)
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # over a kernel called python3 in the user's home
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads only wait for each other at these sizes
    os.environ["RKD_FIGURES"] = str(folder(""))  # the kernel starts in another folder
    warnings.simplefilter("ignore")
    for name in ("papermill", "traitlets", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def reproduce(planned: dict[str, list[str]], scale: str, jobs: int | None) -> None:
    """Execute notebooks, two at a time unless jobs is 1, so that one trains while another draws; they share their runs,
    and together train no more at once than there are cores (see runs.compute). One that fails stops no other."""
    failures = []

    def one(notebook: str, names: list[str]) -> None:
        try:
            regenerate(notebook, names, scale, jobs)
        except (ReproduceError, OSError) as error:
            say(f"notebook     {notebook} failed")
            failures.append(str(error))

    pool = ThreadPoolExecutor(max_workers=1 if jobs == 1 else 2)
    try:
        list(pool.map(one, planned, planned.values()))
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        raise ReproduceError("\n".join([f"{len(failures)} of {len(planned)} notebooks failed", *failures]))


def train_on(cluster: str, scale: str, notebooks: Iterable[str]) -> None:
    """Compute the runs of notebooks on a dask cluster, so that the notebooks find them. Raises ReproduceError."""
    from ..datasets import DataError
    from ..schedule import RunsFailed, compute
    from .plan import runs_of

    try:
        compute(runs_of(scale, [Path(notebook).stem for notebook in notebooks]), cluster=cluster)
    except (ValueError, OSError, DataError, RunsFailed) as error:
        raise ReproduceError(str(error)) from error


def regenerate(notebook: str, names: list[str], scale: str, jobs: int | None) -> None:
    """Execute one notebook and see that it wrote the tables and figures named, a plain line before and after."""
    say(f"notebook     {notebook}, scale {scale}")
    start, clock, to = time.time(), time.perf_counter(), folder(scale)
    execute(notebook, scale, jobs)
    written = {file.stem for kind in ("*.csv", "*.png") for file in to.glob(kind)
               if file.stat().st_mtime >= start - 2}  # 2 s: some file systems round times down
    if missing := [name for name in names if name not in written]:
        raise ReproduceError(f"{notebook} ran, but did not write {', '.join(missing)} into {to}")
    say(f"notebook     {notebook} wrote {', '.join(names)} into {to} ({time.perf_counter() - clock:.1f} s)")


def names(text: str) -> list[str]:
    """The names in a comma-separated list, at least one."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError("expected a name; --list shows them")
    return found


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str):
        options = ", ".join(action.option_strings[-1] for action in self._actions if action.help != argparse.SUPPRESS)
        hint = f"; the options are {options}" if message.startswith("unrecognized") else ""
        self.exit(2, f"reproduce: {message}{hint}\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line, checked, and the plan that follows from it."""
    parser = Parser(prog="./reproduce.sh", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--scale", choices=SCALES, default="laptop", help="what to train on (default: laptop)")
    parser.add_argument("--only", type=names, metavar="NAME[,NAME…]", help="only what these tables and figures need")
    parser.add_argument("--list", action="store_true", help="list the tables and figures, and leave")
    parser.add_argument("--jobs", type=positive, metavar="N", help="processes that train side by side")
    parser.add_argument("--cluster", metavar="ADDRESS", help="of a dask scheduler that trains first, or local:N")
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)  # only check this command line
    options = parser.parse_args(arguments)
    try:
        options.planned = plan(options.only)
    except ReproduceError as error:
        parser.error(str(error))
    return options


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    options = parse(arguments)
    if options.check:
        return 0
    if options.list:
        print("\n".join(f"{name:24} {notebook}" for notebook, names in options.planned.items() for name in names))
        return 0
    try:
        if options.cluster:
            train_on(options.cluster, options.scale, options.planned)
        reproduce(options.planned, options.scale, options.jobs)
    except ReproduceError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("reproduce: interrupted; finished runs are kept, so the next call goes on from them", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Records: of every run all but its model, so that tables, tests and curves are redrawn without data and training.

A folder of records holds runs.parquet, a row for each run; splits.parquet, a row for each division of data, with what
its test users have held out; and records.json, the checksums of both and the code behind them. Of lists they hold what
kept.py says; metrics that need more are kept as means.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pandas as pd
import torch

from .data import Interactions
from .datasets import statistics
from .device import resolve_device
from .files import write_whole
from .fingerprint import PATHS, code_fingerprint, reached
from .hits import rank
from .kept import DEPTH, ByUser, NotRecorded, classes_of, faults, held_out, kept
from .methods import METHODS, method_of
from .run import Run, split_of
from .store import DECIDED, Result, key_under, metrics_key

LIMIT = 25  # MB, of a folder
FILES = ("runs.parquet", "splits.parquet")


# ------------------------------------------------------------------------------------------------------------- writing

def write(results: Iterable[Result], folder: Path, log=print, keep: Iterable[Run] = ()) -> None:
    """Write the records of results into a folder, in the place of any there but those of the runs to ``keep``; the
    results' models and data must be here, and the kind of device that they were measured on. Raises ValueError for a
    method that is none of METHODS, metrics that what is kept does not give, more than LIMIT, or records to keep whose
    code has changed since."""
    rows, splits, adopted = _staying(folder, keep)
    new = {r.key: r for r in results}
    rows = [row for row in rows if row["key"] not in new]
    for result in new.values():
        run, split = result.run, split_of(result.run)
        if METHODS.get(run.name) is not method_of(run.method):
            raise ValueError(f"{run}: only methods of rkd.METHODS can be recorded")
        if split.fingerprint not in splits:
            whole = Interactions(split.n_users, split.n_items, *(
                torch.cat([getattr(part, of) for part in split.parts.values()]) for of in ("users", "items")))
            splits[split.fingerprint] = {"fingerprint": split.fingerprint, "dataset": run.dataset,
                                         "facts": json.dumps(statistics(whole))} | held_out(split)
        device = resolve_device(result.provenance["device"].split()[0])  # another would round otherwise
        row = kept(rank(result.model.to(device), split.to(device), "test", DEPTH), classes_of(split))
        if wrong := faults(row, splits[split.fingerprint], result.metrics):
            raise ValueError(f"{run}: {', '.join(wrong)} cannot be had from what is kept")
        effects = result.effects if run.dataset == "synthetic-world" else None
        rows.append({"key": result.key, "metrics_key": metrics_key(), "run": _spec(run),
                     "metrics": json.dumps(result.metrics), "valid_metrics": json.dumps(result.valid_metrics),
                     "history": json.dumps(brief(result.history, result.best_epoch)), "best_epoch": result.best_epoch,
                     "epochs": result.epochs, "seconds": result.seconds,
                     "seconds_per_epoch": result.seconds_per_epoch, "provenance": json.dumps(result.provenance),
                     "weights": result.weights, "effects": json.dumps(effects)} | row)
    if not rows:
        raise ValueError("there are no results to record")
    rows.sort(key=lambda row: (json.loads(row["provenance"])["fingerprint"], row["run"]))
    _put(folder, rows, list(splits.values()), {"code": _code_of({json.loads(row["run"])["method"] for row in rows}),
                                               "adopted": adopted})
    log(f"{len(rows)} runs, {size(folder):.1f} MB, in {folder}")


def _staying(folder: Path, runs: Iterable[Run]) -> tuple[list[dict], dict[str, dict], list[str]]:
    """Of those runs that a folder has records of: their rows, the splits, and what was adopted."""
    if not (folder / "records.json").is_file():
        return [], {}, []
    records = Records(folder)
    staying = [run for run in runs if run in records]
    if changed := [run for run in staying if records.changed(run)]:
        raise ValueError(f"{folder} has {len(changed)} records of code that has changed since, such as {changed[0]}: "
                         "rkd verify --adopt keeps them where they come out the same; or delete the folder")
    rows = [records.rows[_spec(run)] for run in staying]
    used = {json.loads(row["provenance"])["fingerprint"] for row in rows}
    return rows, {print_: of for print_, of in records.splits.items() if print_ in used}, records.about["adopted"]


def _put(folder: Path, rows: list[dict], splits: list[dict], about: dict) -> None:
    """Write the three files, records.json last."""
    contents = {}
    for name, table in zip(FILES, (rows, splits)):
        buffer, compressed = BytesIO(), dict(compression="zstd", compression_level=15, use_dictionary=False)
        pd.DataFrame(table).to_parquet(buffer, index=False, **compressed)
        contents[name] = buffer.getvalue()
    if (megabytes := sum(map(len, contents.values())) / 1e6) > LIMIT:
        raise ValueError(f"the records would take {megabytes:.1f} MB, and at most {LIMIT} are kept: record less")
    for name, content in contents.items():
        write_whole(folder / name, lambda path, content=content: path.write_bytes(content))
    about = {"files": {name: sha256(content).hexdigest() for name, content in contents.items()}} | about
    write_whole(folder / "records.json", lambda path: path.write_text(json.dumps(about, indent=1) + "\n"))


def size(folder: Path) -> float:
    """Of a folder of records, in MB."""
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def brief(history: list[dict], best_epoch: int) -> list[dict]:
    """A history, its numbers in six digits but in the row of the epoch that was kept."""
    return [row if row["epoch"] == best_epoch else {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
        for row in history]


def _spec(run: Run) -> str:
    return json.dumps(run.as_dict(), sort_keys=True)


def _where(provenance: Mapping) -> tuple[str, str, str, str]:
    """What a key depends on besides the run and the code: data, torch, kind of device, instruction set."""
    return (provenance["fingerprint"], provenance["torch"], provenance["device"].split()[0],
            provenance["instructions"])


def _code_of(methods: Iterable[str]) -> dict[str, str]:
    """Each module that trains or evaluates these methods → the hash of its own source."""
    return {module: code_fingerprint(module, without=tuple(set(PATHS) - {module}))
            for module in _modules(methods)}


def _modules(methods: Iterable[str]) -> list[str]:
    behind = {base.__module__ for method in methods for base in method_of(method).__mro__ if base is not object}
    return reached(["rkd.run", "rkd.evaluate", *behind & PATHS.keys()], DECIDED)


# ------------------------------------------------------------------------------------------------------------- reading

@dataclass
class Recorded(Result):
    """A result from records: without its model, which asking for raises NotRecorded. changed: of which modules the code
    is another now than when it was recorded."""

    row: Mapping = field(repr=False, default_factory=dict)
    held: Mapping = field(repr=False, default_factory=dict)
    changed: list[str] = field(default_factory=list)

    @property
    def model(self):
        raise NotRecorded(f"records hold no models, so that of {self.run} is not here: train it")

    @property
    def by_user(self) -> ByUser:
        return ByUser(self.row, self.held)

    @cached_property
    def effects(self) -> dict[str, float]:
        return json.loads(self.row["effects"])


class Records:
    """The records in a folder. Raises ValueError where there are none, or a file is not as it was written."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        try:
            self.about = json.loads((self.folder / "records.json").read_text(encoding="utf-8"))
            contents = {name: (self.folder / name).read_bytes() for name in FILES}
        except OSError as error:
            raise ValueError(f"{self.folder} holds no records: {error}") from None
        for name, content in contents.items():
            if sha256(content).hexdigest() != self.about["files"][name]:
                raise ValueError(f"{self.folder / name} was changed since it was written: its checksum is another")
        rows, splits = (pd.read_parquet(BytesIO(content)).to_dict("records") for content in contents.values())
        self.rows = {row["run"]: row for row in rows}
        self.splits = {split["fingerprint"]: split for split in splits}
        self.checked = set()

    @property
    def runs(self) -> list[Run]:
        """Every run, in an order that no code changes."""
        return [Run(**json.loads(spec)) for spec in sorted(self.rows)]

    @property
    def facts(self) -> dict[str, dict]:
        """Data set → its statistics (rkd.statistics)."""
        return {split["dataset"]: json.loads(split["facts"]) for split in self.splits.values()}

    def __contains__(self, run: Run) -> bool:
        return _spec(run) in self.rows

    def result(self, run: Run) -> Recorded:
        """The result of a run. Raises NotRecorded where it is not there, ValueError where its metrics are not those of
        its users' lists."""
        row = self.rows.get(_spec(run))
        if row is None:
            raise NotRecorded(f"{run} is not in the records of {self.folder}, with these settings")
        read = {name: json.loads(row[name]) for name in ("metrics", "valid_metrics", "history", "provenance")}
        held = self.splits[read["provenance"]["fingerprint"]]
        if row["run"] not in self.checked:
            if wrong := faults(row, held, read["metrics"]):
                raise ValueError(f"{self.folder}: {run}: {', '.join(wrong)} is not what its users' lists give")
            self.checked.add(row["run"])
        plain = {each.name: row[each.name] for each in fields(Result) if each.name not in ("run", *read)}
        return Recorded(run=run, **plain, **read, row=row, held=held, changed=self.changed(run))

    def key_now(self, run: Run) -> str:
        """The key of a recorded run by the code as it is now, on the data and the machine that it was recorded on."""
        where = _where(json.loads(self.rows[_spec(run)]["provenance"]))
        return key_under(run, *where, key_under(run.teacher, *where, None) if run.distils else None)

    def changed(self, run: Run) -> list[str]:
        """The modules of a recorded run whose code has changed since, "its teacher's settings" among them where they
        have; none where it would have the same keys now."""
        row = self.rows[_spec(run)]
        if (row["key"], row["metrics_key"]) == (self.key_now(run), metrics_key()):
            return []
        methods = [run.name, *([run.teacher.name] if run.distils else [])]
        now, then = _code_of(methods), self.about["code"]
        return [name for name in now if now[name] != then.get(name)] or ["its teacher's settings"]

    def results(self, runs: Iterable[Run], log=print) -> list[Recorded]:
        """The results of runs, in their order; a line says so where code behind some has changed since."""
        found = [self.result(run) for run in runs]
        if changed := {r.key: r for r in found if r.changed}:
            modules = sorted({module for r in changed.values() for module in r.changed})
            log(f"{len(changed)} of {len({r.key for r in found})} records are of code that has changed since "
                f"({', '.join(modules)}): python -m rkd verify says whether they come out the same")
        return found

    def renew(self, line: str) -> None:
        """Give every record the keys of the code as it is now, and write that with a line that says why."""
        runs = {_spec(run): run for run in self.runs}
        renewed = [row | {"key": self.key_now(runs[spec]), "metrics_key": metrics_key()}
                   for spec, row in self.rows.items()]
        _put(self.folder, renewed, list(self.splits.values()), {
            "code": _code_of({run.name for run in self.runs}), "adopted": [*self.about["adopted"], line]})


def source() -> Records | None:
    """The records that $RKD_RECORDS names; None where it names none."""
    folder = os.environ.get("RKD_RECORDS")
    if not folder:
        return None
    about = Path(folder) / "records.json"
    return _read(folder, about.stat().st_mtime_ns if about.exists() else 0)


@lru_cache(maxsize=2)
def _read(folder: str, time: int) -> Records:
    return Records(Path(folder))

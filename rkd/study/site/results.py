"""What the site shows of results: each method on each data set, sweeps of one setting, sizes. From records and tables
that are committed; nothing is trained."""

from collections.abc import Callable, Sequence
from itertools import product
from math import isfinite
from pathlib import Path

import pandas as pd

from ...methods import METHODS, method_of
from ...metrics import METRICS
from ...models import BACKBONES
from ...records import Recorded, Records
from ...run import Run
from ...stats import interval
from ...store import KS
from ..papers import frontier, mkd, unkd
from ..scales import SCALES, Scale
from ..study import Study

NAMES = [name for name in METRICS if "#" not in name]  # those of one number
CHOICES = {"accuracy": "accuracy", "tail": "the tail", "published": "its authors'"}  # whose settings a row has
SWEPT = ["ndcg@10", "recall@10", "popular/recall@10", "unpopular/recall@10", "aplt@10", "coverage@10"]
WAYS = {"the teacher": ("teacher",)} | frontier.FRONTS  # to spend bytes → kinds of rows of notebook 9's table
BYTES = ["model", "dataset", "kind", "bytes",
         *(f"{metric}{bound}" for metric in frontier.METRICS for bound in ("", " low", " high"))]  # its columns


class Recording:
    """The records of one scale, asked by run; what is not recorded is left out."""

    def __init__(self, name: str, folder: Path):
        self.name, self.scale, self.records = name, SCALES[name], Records(folder)
        self.datasets = [dataset for dataset in self.scale.datasets if dataset in self.records.facts]

    def of(self, runs: Sequence[Run]) -> list[Recorded]:
        return [self.records.result(run) for run in runs if run in self.records]

    def study(self, of: Callable[[Scale, Sequence[str]], Study]) -> Study:
        """A study of the papers, its groups those of which anything is recorded."""
        groups = of(self.scale, self.datasets).groups
        results = {label: found for label, group in groups.items() if (found := self.of(group))}
        return Study({label: groups[label] for label in results}, results)


def compared(recording: Recording) -> list[dict]:
    """A row for each method on each data set, division and backbone, with each choice of its settings: its names, its
    size "dim", "seeds", "teaches", and "values", metric → (mean, half the 95 % interval over seeds or None)."""
    scale, rows = recording.scale, []
    places = product(recording.datasets, dict.fromkeys(("unkd", scale.mkd_split)), BACKBONES, METHODS)
    for dataset, split, backbone, method in places:
        seen = []
        for choice, words in CHOICES.items():
            runs = _chosen(scale, dataset, split, backbone, method, choice)
            if runs in seen or not (found := recording.of(runs)):
                continue
            seen.append(runs)
            made = method_of(method)
            rows.append({"dataset": dataset, "split": split, "backbone": BACKBONES[backbone].label,
                         "method": made.label, "teaches": made.teaches, "choice": words, "dim": runs[0].dim,
                         "seeds": len(found), "values": {name: _value(found, name) for name in _names()}})
    return rows


def _names() -> list[str]:
    return [f"{name}@{k}" for k in KS for name in NAMES]


def _chosen(scale: Scale, dataset: str, split: str, backbone: str, method: str, choice: str) -> list[Run]:
    if choice != "published":
        return scale.runs(dataset, [method], backbone, choice=choice, split=split)
    known = method_of(method).published and (split, backbone) == ("unkd", "mf")
    return scale.published(dataset, method) if known else []


def _value(found: list[Recorded], metric: str) -> tuple[float, float | None] | None:
    of = interval(pd.Series([result.metrics[metric] for result in found]))
    return (of["mean"], _number(of["high"] - of["mean"])) if isfinite(of["mean"]) else None


def _number(value: float) -> float | None:
    """For JSON, which has no NaN."""
    return float(value) if isfinite(value) else None


def swept(recording: Recording, of: Callable, method: str, settings: dict[str, str]) -> dict | None:
    """Sweeps of a method in one of the papers' studies: "name", the scale and data set; "tuned", symbol → its value;
    "sweeps", metric → symbol → [{"x", "mean", "low", "high"}]; "levels", metric → {"Teacher", "Student"}. None where
    they are not recorded. settings: symbol → the setting."""
    study = recording.study(of)
    moved = all(sum(label.startswith(f"{symbol} = ") for label in study.groups) > 1 for symbol in settings)
    if not moved or not {method, "teacher", "none"} <= study.groups.keys():
        return None
    tuned = dict(study.groups[method][0].settings)
    sweeps = {metric: {symbol: _points(study.swept(symbol), metric) for symbol in settings} for metric in SWEPT}
    levels = {metric: {method_of(name).label: study.level(name)[metric] for name in ("teacher", "none")}
              for metric in SWEPT}
    return {"name": f"{recording.name}: {recording.datasets[0]}", "sweeps": sweeps, "levels": levels,
            "tuned": {symbol: float(tuned[setting]) for symbol, setting in settings.items()}}


def _points(frame: pd.DataFrame, metric: str) -> list[dict]:
    values = frame[frame["metric"] == metric].groupby("x")["value"]
    return [{"x": float(x)} | {name: _number(value) for name, value in interval(of).items()} for x, of in values]


def labels(recording: Recording) -> dict | None:
    """SLD's γ and τ."""
    return swept(recording, mkd.sld, "sld", {"γ": "gamma", "τ": "tau"})


def draws(recording: Recording) -> dict | None:
    """UnKD's K and μ."""
    return swept(recording, unkd.ablations, "unkd", {"K": "groups", "μ": "mu"})


def sizes(folder: Path) -> dict[str, list[dict]]:
    """What so many bytes of a user or an item buy, from notebook 9's table bytes.csv in a scale's folder: data set →
    the stairs of each of WAYS, rows of "way", "model", "bytes", "metric", "mean", "low" and "high"; none where it is
    not written. Raises ValueError for a table without its columns."""
    path, found = folder / "bytes.csv", {}
    if not path.is_file():
        return found
    table = pd.read_csv(path)
    if missing := [name for name in BYTES if name not in table]:
        raise ValueError(f"{path} has no column {', '.join(missing)}")
    for dataset, rows in table.groupby("dataset"):
        for (way, kinds), metric in product(WAYS.items(), frontier.METRICS):
            for row in frontier.stairs(rows[rows["kind"].isin(kinds)], metric).to_dict("records"):
                found.setdefault(dataset, []).append(
                    {"way": way, "model": row["model"], "bytes": row["bytes"], "metric": metric, "mean": row[metric]}
                    | {bound: _number(row[f"{metric} {bound}"]) for bound in ("low", "high")})
    return found


def scorecard(folder: Path) -> dict[str, list[dict]]:
    """A scale's scorecard.csv: claim → its rows; none where it is not written."""
    path, claims = folder / "scorecard.csv", {}
    if path.is_file():
        for row in pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records"):
            claims.setdefault(row["claim"], []).append(row)
    return claims

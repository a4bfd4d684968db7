"""A study: labelled groups of runs, what came of them, and the tables, claims and sweeps made of that."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import pandas as pd

from .. import stats
from ..kept import NotRecorded
from ..methods import label_of, method_of
from ..models import BACKBONES
from ..records import Records, source
from ..run import Run
from ..schedule import compute
from ..store import Result

NAMED = 12  # of groups that records lack, at most
MARK = "†"  # in tables: certainly another than the method that the table's note names


@dataclass(frozen=True)
class Study:
    """label → runs, the seeds of one method for example; and once computed, label → results.

    A label that is a method's name stands in tables as that method's label. Iterating yields every result once. Where
    results come from records that hold a part of the runs, there are results of these alone.
    """

    groups: dict[str, list[Run]]
    results: dict[str, list[Result]] = field(default_factory=dict)

    def compute(self, jobs: int | None = None) -> "Study":
        """The study with its results, all runs at once so that no process waits for the end of a group. Of records
        that hold a part of the runs, a line says what they lack."""
        groups = self.groups if (records := source()) is None else self._recorded(records)
        found = iter(compute((run for group in groups.values() for run in group), jobs))
        return Study(self.groups, {label: [next(found) for _ in group] for label, group in groups.items()})

    def _recorded(self, records: Records) -> dict[str, list[Run]]:
        """The runs that records hold, and a line about the others. Raises NotRecorded where they hold none."""
        groups = {label: [run for run in group if run in records] for label, group in self.groups.items()}
        if not any(groups.values()):
            raise NotRecorded("none of its runs are in the records")
        lacking = [f"{label} ({n})" for label, group in self.groups.items() if (n := len(group) - len(groups[label]))]
        if lacking:
            print(f"runs that the records lack: {', '.join(lacking[:NAMED])}"
                  + f" and of {len(lacking) - NAMED} more groups" * (len(lacking) > NAMED))
        return {label: group for label, group in groups.items() if group}

    def __getitem__(self, label: str) -> list[Result]:
        if label in self.groups and label not in self.results:
            raise NotRecorded(f"no run of {named(label)} is in the records")
        return self.results[label]

    def __iter__(self) -> Iterator[Result]:
        return iter({result.key: result for group in self.results.values() for result in group}.values())

    def __or__(self, other: "Study") -> "Study":
        return Study(self.groups | other.groups, self.results | other.results)

    def present(self, labels: Iterable[str]) -> list[str]:
        """Those of these labels that have results."""
        return [label for label in labels if label in self.results]

    def only(self, labels: Iterable[str]) -> "Study":
        """The groups with these labels, in their order."""
        labels = list(labels)
        return Study({label: self.groups[label] for label in labels},
                     {label: self[label] for label in labels if label in self.results})

    def where(self, **fields) -> "Study":
        """What has these values of Run's fields, such as backbone="mf", in its groups."""
        def chosen(run):
            return all(getattr(run, name) == value for name, value in fields.items())

        groups = {label: [run for run in group if chosen(run)] for label, group in self.groups.items()}
        results = {label: [r for r in group if chosen(r.run)] for label, group in self.results.items()}
        return Study({label: g for label, g in groups.items() if g}, {label: g for label, g in results.items() if g})

    def tidy(self) -> pd.DataFrame:
        """One row per result and test metric: label, dataset, backbone, method, dim, seed, metric, value."""
        return pd.DataFrame([
            {"label": label, "dataset": r.run.dataset, "backbone": r.run.backbone, "method": r.run.name,
             "dim": r.run.dim, "seed": r.run.seed, "metric": metric, "value": value}
            for label, group in self.results.items() for r in group for metric, value in r.metrics.items()])

    def values(self, label: str, metric: str) -> pd.Series:
        """One metric of a group, a value per result."""
        return pd.Series([r.metrics[metric] for r in self[label]])

    def level(self, label: str) -> pd.Series:
        """The mean of each test metric over a group's results: metric → value."""
        return pd.DataFrame([r.metrics for r in self[label]]).mean()

    @property
    def levels(self) -> pd.DataFrame:
        """``level`` of every group: rows labels, columns metrics."""
        return pd.DataFrame({label: self.level(label) for label in self.results}).T

    def table(self, metrics: Sequence[str], labels: dict[str, str] | Iterable[str] | None = None,
              against: str | None = None) -> pd.DataFrame:
        """"mean ± std" of each metric (columns) of groups (rows): all of them, those of these labels, or by the names
        that a dict gives to labels, {label: name}. against: a label; what is certainly other than its group's is marked
        (†), by ``claims`` over the whole table. The groups are then of one data set and backbone."""
        names = labels if isinstance(labels, dict) else {label: named(label) for label in labels or self.results}
        claims = self.claims((against, "above", list(names), metrics)) if against else None
        certain = {(metric, than) for _, _, metric, _, _, than in stats.certain(claims)} if against else ()
        return pd.DataFrame({name: {
            metric: stats.mean_std(self.values(label, metric)) + f" {MARK}" * ((metric, named(label)) in certain)
            for metric in metrics} for label, name in names.items()}).T

    def intervals(self, metrics: Sequence[str], labels: Iterable[str] | None = None) -> pd.DataFrame:
        """The 95 % interval over seeds of each metric of groups (rows, by label), columns (metric, "mean"), (metric,
        "low") and (metric, "high") (stats.interval)."""
        return pd.DataFrame({label: pd.concat({metric: stats.interval(self.values(label, metric))
                                               for metric in metrics}) for label in labels or self.results}).T

    def claims(self, *statements: tuple) -> pd.DataFrame:
        """What becomes of claims about groups, of one table (stats.claims): ours "above" or "below" theirs in a metric,
        with the seeds that both have, on each data set and backbone that both have.

        statements : (ours, "above" or "below", theirs, metrics), each but the second a name or several, which stand for
                     all combinations: ("unkd", "above", ["none", "cd"], "recall@10"). A group against itself is left
                     out.

        Index: dataset, backbone, metric, method, is, than. Raises ValueError for another word, or groups that no data
        set and backbone have in common.
        """
        found = {}
        for ours, direction, theirs, metrics in statements:
            if direction not in ("above", "below"):
                raise ValueError(f"a group is 'above' or 'below' another, not {direction!r}")
            for metric, one, other in product(*map(_several, (metrics, ours, theirs))):
                if one == other:
                    continue
                mine, rivals = _by_place(self[one]), _by_place(self[other])
                places = [place for place in mine if place in rivals]
                if not places:
                    raise ValueError(f"{one} and {other} have no data set and backbone in common")
                found |= {(*place, metric, named(one), direction, named(other)):
                          stats.differences(mine[place], rivals[place], metric) for place in places}
        if not found:
            raise NotRecorded("no two groups of these are in the records")
        return stats.claims(found, ("dataset", "backbone", "metric", "method", "is", "than"))

    def swept(self, setting: str) -> pd.DataFrame:
        """Tidy rows of the groups labelled "SETTING = x" or "SETTING × x", x in the column "x" (for figures.sweep).
        Raises NotRecorded where records have no more than one of several."""
        begins = (f"{setting} = ", f"{setting} × ")
        planned, found = ([label for label in of if label.startswith(begins)] for of in (self.groups, self.results))
        if len(found) < min(len(planned), 2):
            raise NotRecorded(f"no runs with another {setting} are in the records")
        frame = self.tidy()
        chosen = frame[frame["label"].isin(found)]
        return chosen.assign(x=chosen["label"].str.rsplit(" ", n=1).str[-1].astype(float))

    def sweeps(self, settings: Iterable[str], metrics: Sequence[str]) -> pd.DataFrame:
        """The mean of each metric (columns) by setting and value (rows), of the groups that ``swept`` takes."""
        return pd.concat({setting: self.swept(setting).pivot_table("value", "x", "metric")[list(metrics)]
                          for setting in settings}, names=["setting", "value"]).rename_axis(columns=None)


def named(label: str) -> str:
    """A label as it stands in tables: a method's own label in the place of its name, before a comma or alone."""
    method, comma, rest = label.partition(",")
    return label_of(method) + comma + rest


def _several(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _by_place(results: list[Result]) -> dict[tuple[str, str], list[Result]]:
    """Results by data set and backbone, as they stand in tables."""
    places = {}
    for r in results:
        places.setdefault((r.run.dataset, BACKBONES[r.run.backbone].label), []).append(r)
    return places


def as_tuned(run: Run) -> str:
    """One line: what a run's method was given, of its settings those that are tuned or not as by default: "NKD as
    tuned: lr=0.01, l2=0.001, batch=8192, λ=0.1, …"."""
    method = method_of(run.method)
    given = {"lr": run.lr, "l2": run.l2, "batch": run.batch_size} | ({"λ": run.weight} if run.distils else {})
    given |= {name: value for name, value in run.settings if name in method.search or value != method.settings()[name]}
    return f"{method.label} as tuned: " + ", ".join(f"{name}={value}" for name, value in given.items())

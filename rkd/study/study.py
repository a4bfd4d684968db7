"""A study: labelled groups of runs, what came of them, and the tables, tests, sweeps and verdicts made of that."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

import pandas as pd

from ..methods import label_of, method_of
from ..run import Run
from ..schedule import compute
from ..stats import decided, mean_std, paired_tests, verdict
from ..store import Result


@dataclass(frozen=True)
class Study:
    """label → runs, the seeds of one method for example; and once computed, label → results.

    A label that is a method's name stands in tables as that method's label. Iterating yields every result once.
    """

    groups: dict[str, list[Run]]
    results: dict[str, list[Result]] = field(default_factory=dict)

    def compute(self, jobs: int | None = None) -> "Study":
        """The study with its results, all runs at once so that no process waits for the end of a group."""
        found = iter(compute((run for group in self.groups.values() for run in group), jobs))
        return Study(self.groups, {label: [next(found) for _ in group] for label, group in self.groups.items()})

    def __getitem__(self, label: str) -> list[Result]:
        return self.results[label]

    def __iter__(self) -> Iterator[Result]:
        return iter({result.key: result for group in self.results.values() for result in group}.values())

    def __or__(self, other: "Study") -> "Study":
        return Study(self.groups | other.groups, self.results | other.results)

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

    def costs(self, labels: Iterable[str], unit: str = "none") -> pd.Series:
        """Seconds per epoch of groups, the median of each, over those of the group ``unit``: name → ratio."""
        def seconds(label):
            return median(r.seconds_per_epoch for r in self[label])

        return pd.Series({named(label): seconds(label) / seconds(unit) for label in labels})

    def table(self, metrics: Sequence[str], labels: dict[str, str] | Iterable[str] | None = None) -> pd.DataFrame:
        """"mean ± std" of each metric (columns) of groups (rows): all of them, those of these labels, or by the names
        that a dict gives to labels, {label: name}."""
        names = labels if isinstance(labels, dict) else {label: named(label) for label in labels or self.results}
        return pd.DataFrame({name: {metric: mean_std(self.values(label, metric)) for metric in metrics}
                             for label, name in names.items()}).T

    def above(self, ours: str, rival: str, metric: str) -> str:
        """stats.verdict's line: is a group's metric above another's, by more than the spread of the seeds?"""
        mine, theirs = (self.values(label, metric) for label in (ours, rival))
        return verdict(f"{metric}: {named(ours)} above {named(rival)}", mine, theirs)

    def below(self, ours: str, rival: str, metric: str) -> str:
        """``above``, of the opposite."""
        mine, theirs = (self.values(label, metric) for label in (ours, rival))
        return verdict(f"{metric}: {named(ours)} below {named(rival)}", theirs, mine)

    def tests(self, ours: str, metrics: Sequence[str], against: Iterable[str] | None = None) -> pd.DataFrame:
        """Paired tests over users of one group against others, by default all (stats.paired_tests): rows metric,
        rival."""
        rivals = [label for label in against or self.results if label != ours]
        return pd.concat({metric: paired_tests(self[ours], {named(label): self[label] for label in rivals}, metric)
                          for metric in metrics}, names=["metric", "against"])

    def swept(self, setting: str) -> pd.DataFrame:
        """Tidy rows of the groups labelled "SETTING = x" or "SETTING × x", x in the column "x" (for figures.sweep)."""
        frame = self.tidy()
        chosen = frame[frame["label"].str.startswith((f"{setting} = ", f"{setting} × "))]
        return chosen.assign(x=chosen["label"].str.rsplit(" ", n=1).str[-1].astype(float))

    def sweeps(self, settings: Iterable[str], metrics: Sequence[str]) -> pd.DataFrame:
        """The mean of each metric (columns) by setting and value (rows), of the groups that ``swept`` takes."""
        return pd.concat({setting: self.swept(setting).pivot_table("value", "x", "metric")[list(metrics)]
                          for setting in settings}, names=["setting", "value"]).rename_axis(columns=None)


def named(label: str) -> str:
    """A label as it stands in tables: a method's own label in the place of its name, before a comma or alone."""
    method, comma, rest = label.partition(",")
    return label_of(method) + comma + rest


def verdicts(tests: pd.DataFrame, ours: str) -> str:
    """A line on each row of Study.tests: is ours above? (stats.decided), and by how much. What else is in the index,
    such as the data set, comes first."""
    claims = [f"{', '.join(where)}: {ours} above {rival}" for *where, rival in tests.index]
    return "\n".join(f"{decided(claim, row)} ({row['difference']:+.4f})"
                     for claim, (_, row) in zip(claims, tests.iterrows()))


def compare(claim: str, larger: pd.Series, smaller: pd.Series) -> None:
    """Print stats.verdict's line."""
    print(verdict(claim, larger, smaller))


def answer(claim: str, holds: bool) -> str:
    """One line: does the claim hold, yes or no?"""
    return f"{claim}: {'yes' if holds else 'no'}"


def as_tuned(run: Run) -> str:
    """One line: what a run's method was given, of its settings those that are tuned or not as by default: "NKD as
    tuned: lr=0.01, l2=0.001, λ=0.1, …"."""
    method = method_of(run.method)
    given = {"lr": run.lr, "l2": run.l2} | ({"λ": run.weight} if run.distils else {})
    given |= {name: value for name, value in run.settings if name in method.search or value != method.settings()[name]}
    return f"{method.label} as tuned: " + ", ".join(f"{name}={value}" for name, value in given.items())

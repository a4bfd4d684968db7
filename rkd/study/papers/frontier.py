"""What a byte is worth: students beside everything else that makes a model smaller, by what they cost to keep and to
answer with. The study of no paper."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ... import stats
from ...compress import product_quantize, quantize, rotate, size, truncate
from ...data import Split
from ...evaluate import evaluate, per_user
from ...references import ease, item_knn, popularity
from ...run import split_of
from ...serving import as_kept, indexes_for, serving
from ...store import Result
from ..figures import MARKS
from ..scales import Scale
from ..study import Study, named

METRICS = {"ndcg@10": "NDCG@10", "unpopular/recall@10": "Recall@10\nunpopular items"}
STUDENTS = ("none", "unkd", "sld", "mkd")
TIMES = (2, 5)  # the usual student's size
BITS, ROUNDED = (2, 3, 4, 5, 6, 7, 8), (8, 4, 3, 2)  # of the teacher's numbers, and of a student's
CUT, CUT_AND_ROUNDED = (5, 10, 20, 40, 80), ((10, 8), (20, 4), (20, 8), (40, 4), (40, 8))  # dimensions; and bits
PARTS = (10, 20, 40)  # bytes of a product quantiser
IN_TRAINING = 4  # the bits that a student is told in training
BUDGETS = (10, 14, 20, 40, 60, 100)  # bytes of a user or an item
FLOAT = 4  # bytes of a number


# -------------------------------------------------------------------------------------------------------------- studies

def students(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 9, on the first data set: the teacher, students of three sizes, and those of another loss, start or
    teacher, or that know they will be rounded."""
    def runs(method, few=True, **of):
        return scale.runs(datasets[0], [method], few=few, **of)

    usual, *larger = [scale.student_dim * times for times in (1, *TIMES)]
    groups = {method: runs(method, few=False) for method in ("teacher", *STUDENTS)}
    groups |= {f"{method}, d = {dim}": runs(method, dim=dim) for method in STUDENTS for dim in larger}
    groups |= {f"sld-ease, d = {dim}": runs("sld-ease", dim=dim) for dim in (usual, larger[0])}
    groups |= {method: runs(method) for method in ("softmax", "cosine", "sld-warm")}
    return Study(groups | {f"sld-rounded, d = {larger[0]}": runs("sld-rounded", dim=larger[0],
                                                                  settings={"bits": IN_TRAINING})})


# --------------------------------------------------------------------------------------------------------------- points

@dataclass(frozen=True)
class Point:
    """A way to make a small model: its ``kind``; ``n_bytes`` of a user or an item, all that it keeps shared out;
    NDCG@10 on validation, by which it may be ``chosen``; and on test each of METRICS, rows seeds, columns users."""

    label: str
    kind: str
    n_bytes: float
    valid: float
    by_user: dict[str, pd.DataFrame]


def point(label: str, kind: str, models: dict[int, object], split: Split, n_bytes: float | None = None) -> Point:
    """A point of models by seed. n_bytes : by default what compress.size says of them."""
    first = next(iter(models.values()))
    if n_bytes is None:
        n_bytes = size(first).total(split.n_users, split.n_items) / (split.n_users + split.n_items)
    found = {seed: per_user(model, split, "test", 10) for seed, model in models.items()}
    valid = [evaluate(model, split, "valid", 10)["ndcg@10"] for model in models.values()]
    return Point(label, kind, n_bytes, sum(valid) / len(valid), {
        metric: pd.DataFrame({seed: values[metric].numpy() for seed, values in found.items()}).T for metric in METRICS})


def untrained(teachers: Sequence[Result]) -> list[Point]:
    """Teachers as they are, and what one can make of them without training."""
    split, models = split_of(teachers[0].run), {r.run.seed: r.model for r in teachers}
    dim = teachers[0].run.dim

    def made(label: str, kind: str, change: Callable) -> Point:
        return point(label, kind, {seed: change(model) for seed, model in models.items()}, split)

    found = [point("Teacher", "teacher", models, split)]
    found += [made(f"cut to {d}", "cut", lambda model, d=d: truncate(model, d)) for d in CUT if d < dim]
    found += [made(f"{bits} bits", "rounded", lambda model, bits=bits: quantize(model, bits)) for bits in BITS]
    found += [made(f"cut to {d}, {bits} bits", "cut and rounded",
                   lambda model, d=d, bits=bits: quantize(rotate(truncate(model, d)), bits))
              for d, bits in CUT_AND_ROUNDED if d < dim]
    if min(split.n_users, split.n_items) >= 256:
        found += [made(f"PQ, {n} bytes", "PQ", lambda model, n=n: product_quantize(model, n)) for n in PARTS if n < dim]
    return found


def trained(study: Study) -> list[Point]:
    """Students as they are, and rounded afterwards, of all groups but the teacher; those of EASE apart."""
    found = []
    for label, group in study.results.items():
        split, models = split_of(group[0].run), {r.run.seed: r.model for r in group}
        if label != "teacher":
            of = " of EASE" * (group[0].run.name == "sld-ease")
            found.append(point(named(label), f"student{of}", models, split))
            found += [point(f"{named(label)}, {bits} bits", f"student{of}, rounded",
                            {seed: quantize(model, bits) for seed, model in models.items()}, split)
                      for bits in ROUNDED]
    return found


def references(split: Split, l2: float, k: int) -> list[Point]:
    """EASE, item neighbours and popularity. What they keep: a float for each two items; for each item k neighbours, a
    number and a float; a float for each item. The first two need each user's items besides."""
    entities, n = split.n_users + split.n_items, split.n_items
    made = {"EASE": (ease(split, l2), FLOAT * n * n), "item-kNN": (item_knn(split, k), 2 * FLOAT * k * n),
            "popularity": (popularity(split), FLOAT * n)}
    return [point(name, "reference", {0: model}, split, n_bytes / entities) for name, (model, n_bytes) in made.items()]


# --------------------------------------------------------------------------------------------------------------- tables

NO_TRAINING = ("cut", "rounded", "cut and rounded", "PQ")
TRAINED = ("student", "student, rounded")


def table(points: Iterable[Point]) -> pd.DataFrame:
    """A row for each point, by label: "kind", "bytes" of a user or an item, "valid", and of METRICS mean, "low" and
    "high" over seeds (stats.interval), as "ndcg@10", "ndcg@10 low", …"""
    rows = {}
    for one in points:
        rows[one.label] = {"kind": one.kind, "bytes": one.n_bytes, "valid": one.valid}
        for metric, values in one.by_user.items():
            bounds = stats.interval(values.mean(axis=1))
            rows[one.label] |= {f"{metric} {name}".removesuffix(" mean"): value for name, value in bounds.items()}
    return pd.DataFrame(rows).T.infer_objects()


def staircase(found: pd.DataFrame, metric: str) -> pd.Series:
    """The best mean of a metric to be had for at most so many bytes, where it rises: bytes → value."""
    ordered = found.sort_values(["bytes", metric], ascending=[True, False])
    best = ordered[metric].astype(float).cummax()
    rises = best > best.shift(fill_value=-1.0)
    return pd.Series(best[rises].to_numpy(), index=ordered["bytes"][rises].astype(float).to_numpy())


def chosen(points: Iterable[Point], budget: float, kinds: Sequence[str]) -> Point | None:
    """The point of these kinds, of at most ``budget`` bytes, that is best on validation; None where there is none."""
    fits = [one for one in points if one.kind in kinds and one.n_bytes <= budget]
    return max(fits, key=lambda one: one.valid, default=None)


def differences(ours: Point, theirs: Point, metric: str):
    """Ours − theirs, [seeds, users], of the seeds that both have and the users that are measured with all of them."""
    mine, other = ours.by_user[metric], theirs.by_user[metric]
    seeds = mine.index.intersection(other.index)
    return (mine.loc[seeds] - other.loc[seeds]).dropna(axis=1).to_numpy()


def claims(points: Sequence[Point], budgets: Iterable[float] = BUDGETS) -> pd.DataFrame:
    """stats.claims that for at most so many bytes the student chosen is above what is chosen of all that needs no
    training, in each of METRICS. Index: metric, method, is, than."""
    found = {}
    for budget in budgets:
        ours, theirs = (chosen(points, budget, kinds) for kinds in (TRAINED, NO_TRAINING))
        if ours and theirs:
            found |= {(metric, f"the best student of ≤ {budget} bytes ({ours.label})", "above", theirs.label):
                      differences(ours, theirs, metric) for metric in METRICS}
    return stats.claims(found, ("metric", "method", "is", "than"))


def compared(points: Sequence[Point], *statements: tuple[str, str, str]) -> pd.DataFrame:
    """stats.claims of pairs of points by label: (ours, "above" or "below", theirs), in each of METRICS."""
    of = {one.label: one for one in points}
    found = {(metric, ours, word, theirs): differences(of[ours], of[theirs], metric)
             for ours, word, theirs in statements for metric in METRICS}
    return stats.claims(found, ("metric", "method", "is", "than"))


def decisions(points: Sequence[Point], budgets: Iterable[float] = BUDGETS) -> pd.DataFrame:
    """What to keep for at most so many bytes of a user or an item (rows): without training, and as a student, each
    chosen on validation, with its test metrics as shares of the teacher's; "" where nothing fits."""
    found = table(points)
    teacher = found[found["kind"] == "teacher"].iloc[0]
    rows = {}
    for budget in budgets:
        for name, kinds in (("no training", NO_TRAINING), ("student", TRAINED)):
            one = chosen(points, budget, kinds)
            rows.setdefault(f"≤ {budget} bytes", {}).update({name: one.label if one else ""} | {
                f"{name}, {metric}": f"{found.loc[one.label, metric] / teacher[metric]:.0%}" if one else ""
                for metric in METRICS})
    return pd.DataFrame(rows).T


def latency(models: dict[str, object], split: Split, indexes: Iterable[str] | None = None) -> pd.DataFrame:
    """serving.serving of models by name, and beside each row METRICS on test of what the index answers with."""
    found = []
    for name, model in models.items():
        names = list(indexes or [one for one in indexes_for(split.n_items) if one != "torch, exact"])
        rows = serving(model, names)
        quality = {index: evaluate(as_kept(model, index), split, ks=10) for index in names}
        for metric in METRICS:
            rows[metric] = [quality[index][metric] for index in rows["index"]]
        found.append(rows.assign(model=name))
    return pd.concat(found, ignore_index=True)


# ------------------------------------------------------------------------------------------------------------- drawings

def plane(found: pd.DataFrame, lines: pd.DataFrame, fronts: dict[str, Sequence[str]]) -> Figure:
    """METRICS against bytes of a user or an item, a panel each: a mark for each kind of ``table``, bars the 95 %
    intervals over seeds; the staircase of each of ``fronts`` (name → kinds), which no point of them is above; rows of
    ``lines`` (references, of ``table``) across."""
    figure, axes = plt.subplots(1, len(METRICS), figsize=(6.4 * len(METRICS), 4.6), layout="constrained")
    for axis, (metric, title) in zip(axes, METRICS.items()):
        of_kinds = found.groupby("kind", sort=False)
        for (kind, rows), mark, colour in zip(of_kinds, cycle(MARKS), cycle(sns.color_palette())):
            value = rows[metric].astype(float)
            axis.errorbar(rows["bytes"].astype(float), value, rows[f"{metric} high"].astype(float) - value, marker=mark,
                          color=colour, linestyle="none", markeredgecolor="black", markeredgewidth=0.4, markersize=6,
                          elinewidth=0.8, label=kind)
        most = found["bytes"].max()
        for (name, kinds), style in zip(fronts.items(), ("-", "--")):
            front = staircase(found[found["kind"].isin(kinds)], metric)
            axis.step([*front.index, most], [*front, front.iloc[-1]], where="post", color="black", linestyle=style,
                      linewidth=1.2, zorder=1, label=f"best of {name}")
        for (name, row), style in zip(lines.iterrows(), (":", "-.", (0, (1, 4)))):
            axis.axhline(row[metric], color="grey", linestyle=style, linewidth=1.2,
                         label=f"{name} ({row['bytes']:,.0f} B)")
        numeric(axis, "bytes of a user or an item", title)
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return figure


def answering(found: pd.DataFrame, batch: int = 1) -> Figure:
    """METRICS against the median time of a batch, of ``latency``: a mark for each index, models named at their exact
    one; the bar ends where 99 of 100 batches have been answered."""
    rows = found[found["batch"] == batch]
    figure, axes = plt.subplots(1, len(METRICS), figsize=(6.4 * len(METRICS), 4.2), layout="constrained")
    for axis, (metric, title) in zip(axes, METRICS.items()):
        of_indexes = rows.groupby("index", sort=False)
        for (index, part), mark, colour in zip(of_indexes, cycle(MARKS), cycle(sns.color_palette())):
            reach = [0 * part["p99 ms"], part["p99 ms"] - part["median ms"]]
            axis.errorbar(part["median ms"], part[metric], xerr=reach, marker=mark, color=colour, linestyle="none",
                          markeredgecolor="black", markeredgewidth=0.4, elinewidth=0.8, label=index)
        for row in rows.drop_duplicates("model").itertuples():
            axis.annotate(row.model, (rows.loc[row.Index, "median ms"], rows.loc[row.Index, metric]), fontsize=9,
                          textcoords="offset points", xytext=(5, 5))
        numeric(axis, f"milliseconds of a batch of {batch}, one thread", title)
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def numeric(axis, x: str, y: str) -> None:
    """A logarithmic axis with numbers at its ticks."""
    axis.set(xscale="log", xlabel=x, ylabel=y)
    axis.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_locator=NullLocator())

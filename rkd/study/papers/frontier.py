"""What a byte is worth: students beside everything else that makes a model smaller, by what they cost to keep and to
answer with. The study of no paper."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import pandas as pd

from ... import stats
from ...compress import Rounded, factors_of, product_quantize, quantize, rotate, size, truncate
from ...data import Split
from ...evaluate import evaluate, per_user
from ...references import ease, ials, item_knn, popularity
from ...run import split_of
from ...serving import as_kept, indexes_for, serving
from ...store import Result
from ..scales import Scale
from ..study import Study, named

METRICS = {"ndcg@10": "NDCG@10", "unpopular/recall@10": "Recall@10, unpopular items"}
STUDENTS = ("none", "unkd", "sld", "mkd")
VARIANTS = ("sld-ease", "unkd-warm", "unkd-from-rounded")  # of the usual size and the next
TIMES = (2, 5)  # the usual student's size
BITS, ROUNDED = (2, 3, 4, 5, 6, 7, 8), (8, 4, 3, 2)  # of the teacher's numbers, and of a student's
CUT = (5, 10, 20, 40, 80)  # dimensions; and of the same rounded, to bits
CUT_AND_ROUNDED = ((10, 3), (10, 4), (10, 8), (20, 3), (20, 4), (20, 8), (40, 4), (40, 8))
PARTS = (10, 20, 40)  # bytes of a product quantiser
IN_TRAINING = 4  # the bits that a student is told in training
IALS = {"l2": (3.0, 10.0, 30.0, 100.0), "alpha": (2.0, 4.0, 16.0, 64.0), "iterations": (5, 15)}  # a method's 32 trials
BUDGETS = (10, 14, 20, 40, 60, 100)  # bytes of a user or an item
FLOAT = 4  # bytes of a number

# What is compared within a budget: its name → kinds of points
FRONTS = {"distilled": ("distilled", "distilled, rounded"), "no teacher": ("no teacher", "no teacher, rounded"),
          "no training": ("cut", "rounded", "cut and rounded", "PQ")}


# -------------------------------------------------------------------------------------------------------------- studies

def students(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 9, on the first data set: the teacher, students of three sizes, and those of another loss or start, of a
    teacher that is EASE or was rounded, or that know they will be rounded."""
    def runs(method, few=True, **of):
        return scale.runs(datasets[0], [method], few=few, **of)

    larger = dims(scale)[1:]
    groups = {method: runs(method, few=False) for method in ("teacher", *STUDENTS)}
    groups |= {f"{method}, d = {dim}": runs(method, dim=dim) for method in STUDENTS for dim in larger}
    groups |= {method: runs(method) for method in ("softmax", "cosine", "sld-warm", *VARIANTS)}
    groups |= {f"{method}, d = {larger[0]}": runs(method, dim=larger[0]) for method in VARIANTS}
    return Study(groups | {f"sld-rounded, d = {larger[0]}": runs("sld-rounded", dim=larger[0],
                                                                  settings={"bits": IN_TRAINING})})


def dims(scale: Scale) -> list[int]:
    """The sizes of students: the usual one, and larger ones."""
    return [scale.student_dim * times for times in (1, *TIMES)]


# --------------------------------------------------------------------------------------------------------------- points

@dataclass(frozen=True)
class Point:
    """A way to make a small model: its ``kind``; ``n_bytes`` of a user or an item, all that it keeps shared out;
    NDCG@10 on validation, by which it may be ``chosen``; on test each of METRICS, rows seeds, columns users; and the
    size of its rows and the bits of a number, None where it has none."""

    label: str
    kind: str
    n_bytes: float
    valid: float
    by_user: dict[str, pd.DataFrame]
    dim: int | None = None
    bits: int | None = None


def point(label: str, kind: str, models: dict[int, object], split: Split, n_bytes: float | None = None) -> Point:
    """A point of models by seed. n_bytes : by default what compress.size says of them; given for what has no rows."""
    first, dim, bits = next(iter(models.values())), None, None
    if n_bytes is None:
        n_bytes = size(first).total(split.n_users, split.n_items) / (split.n_users + split.n_items)
        dim = factors_of(first)[0].shape[1]
        bits = first.bits if isinstance(first, Rounded) else 8 * FLOAT
    found = {seed: per_user(model, split, "test", 10) for seed, model in models.items()}
    valid = [evaluate(model, split, "valid", 10)["ndcg@10"] for model in models.values()]
    return Point(label, kind, n_bytes, sum(valid) / len(valid), {
        metric: pd.DataFrame({seed: values[metric].numpy() for seed, values in found.items()}).T
        for metric in METRICS}, dim, bits)


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
    """Students of all groups but the teacher, as they are and rounded afterwards; those of EASE apart."""
    found = []
    for label, group in study.results.items():
        run = group[0].run
        kind = "no teacher" if not run.distils else "distilled from EASE" if run.name == "sld-ease" else "distilled"
        if label != "teacher":
            found += and_rounded(named(label), kind, {r.run.seed: r.model for r in group}, split_of(run))
    return found


def factorised(split: Split, sizes: Sequence[int], seeds: Sequence[int], log: Callable = print) -> list[Point]:
    """iALS of each size, as it is and rounded afterwards, its settings chosen of IALS on validation with the first
    seed. Where implicit is not installed there is none, and a line says so."""
    found, trials = [], [dict(zip(IALS, values)) for values in product(*IALS.values())]
    try:
        for n, dim in enumerate(sizes):
            best = max(trials, key=lambda trial: evaluate(ials(split, dim, seed=seeds[0], **trial), split, "valid", 10)[
                "ndcg@10"])
            models = {seed: ials(split, dim, seed=seed, **best) for seed in seeds}
            found += and_rounded("iALS" + f", d = {dim}" * (n > 0), "no teacher", models, split)
    except ImportError as error:
        log(f"iALS is left out: {error}")
    return found


def and_rounded(label: str, kind: str, models: dict[int, object], split: Split) -> list[Point]:
    """A point of models by seed, and one for each of ROUNDED bits."""
    return [point(label, kind, models, split)] + [
        point(f"{label}, {bits} bits", f"{kind}, rounded",
              {seed: quantize(model, bits) for seed, model in models.items()}, split) for bits in ROUNDED]


def references(split: Split, l2: float, k: int) -> list[Point]:
    """EASE, item neighbours and popularity. What they keep: a float for each two items; for each item k neighbours, a
    number and a float; a float for each item. The first two need each user's items besides."""
    entities, n = split.n_users + split.n_items, split.n_items
    made = {"EASE": (ease(split, l2), FLOAT * n * n), "item-kNN": (item_knn(split, k), 2 * FLOAT * k * n),
            "popularity": (popularity(split), FLOAT * n)}
    return [point(name, "reference", {0: model}, split, n_bytes / entities) for name, (model, n_bytes) in made.items()]


# --------------------------------------------------------------------------------------------------------------- tables

def table(points: Iterable[Point]) -> pd.DataFrame:
    """A row for each point, by label: "kind", "dim", "bits", "bytes" of a user or an item, "valid", and of METRICS
    mean, "low" and "high" over seeds (stats.interval), as "ndcg@10", "ndcg@10 low", …"""
    rows = {}
    for one in points:
        rows[one.label] = {"kind": one.kind, "dim": one.dim, "bits": one.bits, "bytes": one.n_bytes, "valid": one.valid}
        for metric, values in one.by_user.items():
            bounds = stats.interval(values.mean(axis=1))
            rows[one.label] |= {f"{metric} {name}".removesuffix(" mean"): value for name, value in bounds.items()}
    return pd.DataFrame(rows).T.infer_objects().astype({"dim": "Int64", "bits": "Int64"})


def stairs(found: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of ``table`` at which the best mean of a metric to be had for at most so many bytes rises."""
    ordered = found.sort_values(["bytes", metric], ascending=[True, False])
    best = ordered[metric].cummax()
    return ordered[best > best.shift(fill_value=-1.0)]


def staircase(found: pd.DataFrame, metric: str) -> pd.Series:
    """The same: bytes → value."""
    return stairs(found, metric).set_index("bytes")[metric]


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
    """stats.claims that for at most so many bytes the distilled student chosen is above what is chosen of each of the
    other FRONTS, in each of METRICS. Index: metric, method, is, than."""
    found = {}
    for budget in budgets:
        ours, *others = (chosen(points, budget, kinds) for kinds in FRONTS.values())
        found |= {(metric, f"the best student of ≤ {budget} bytes ({ours.label})", "above", theirs.label):
                  differences(ours, theirs, metric) for theirs in others for metric in METRICS if ours and theirs}
    return stats.claims(found, ("metric", "method", "is", "than"))


def compared(points: Sequence[Point], *statements: tuple[str, str, str]) -> pd.DataFrame:
    """stats.claims of pairs of points by label: (ours, "above" or "below", theirs), in each of METRICS."""
    of = {one.label: one for one in points}
    found = {(metric, ours, word, theirs): differences(of[ours], of[theirs], metric)
             for ours, word, theirs in statements for metric in METRICS}
    return stats.claims(found, ("metric", "method", "is", "than"))


def decisions(points: Sequence[Point], budgets: Iterable[float] = BUDGETS) -> pd.DataFrame:
    """What to keep for at most so many bytes of a user or an item (rows: budget, one of FRONTS): the "model" chosen on
    validation, its bytes, and its test metrics as shares of the teacher's; "" where nothing fits."""
    found = table(points)
    teacher = found[found["kind"] == "teacher"].iloc[0]
    rows = {}
    for budget, (front, kinds) in product(budgets, FRONTS.items()):
        one = chosen(points, budget, kinds)
        rows[f"≤ {budget} bytes", front] = {"model": one.label if one else "", "bytes": f"{one.n_bytes:.3g}" if one else
                                            ""} | {metric: f"{found.loc[one.label, metric] / teacher[metric]:.0%}"
                                                   if one else "" for metric in METRICS}
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

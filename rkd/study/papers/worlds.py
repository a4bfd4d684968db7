"""Models in synthetic worlds, where affinity and popularity are known apart: their effects on scores, and what a ranker
that knows the truth would show."""

from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ... import stats
from ...datasets.synthetic import world
from ...evaluate import evaluate
from ...given import Given
from ..figures import MARKS
from ..study import Study, named


def effects(results: Study) -> pd.DataFrame:
    """How much of the scores is affinity, how much popularity, of a study in synthetic worlds (unkd.in_worlds), a row
    each: "model", "world", synthetic.probe's "affinity" (PEM), "popularity" (PEZ) and "bias", and "recall@10"."""
    rows = []
    for label, group in results.results.items():
        method, times, factor = label.partition(" × ")
        for r in group:
            rows.append({"model": named(method) + times + factor, "world": r.run.split_seed, **r.effects,
                         "recall@10": r.metrics["recall@10"]})
    return pd.DataFrame(rows)


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over worlds of ``effects``: rows models, columns "affinity-mean", …"""
    table = found.drop(columns="world").groupby("model", sort=False).agg(["mean", "std"])
    return table.set_axis(["-".join(column) for column in table.columns], axis=1)


def over_student(found: pd.DataFrame) -> pd.DataFrame:
    """``effects`` less the plain student's in the same world: rows models, columns ("affinity", "mean"), … "low",
    "high" (stats.interval over worlds), and the same of "popularity"."""
    by_world = found.set_index(["model", "world"])[["affinity", "popularity"]]
    less = by_world - by_world.loc["Student"].reindex(by_world.index, level="world")
    return pd.DataFrame({model: pd.concat({name: stats.interval(less.loc[model, name]) for name in less})
                         for model in dict.fromkeys(found["model"]) if model != "Student"}).T


def claims(found: pd.DataFrame, *statements: tuple[str, str, str, str]) -> pd.DataFrame:
    """What becomes of claims on rows of ``effects``, world by world (stats.claims): ("popularity", "UnKD × 1", "below",
    "CD × 1") for example, a column and two models' names. Index: effect, method, is, than. The table's "seeds" are
    worlds."""
    by_world = found.set_index(["model", "world"])

    def differences(effect, ours, theirs):
        return (by_world.loc[ours, effect] - by_world.loc[theirs, effect]).dropna().to_numpy()[:, None]

    return stats.claims({(effect, ours, direction, theirs): differences(effect, ours, theirs)
                         for effect, ours, direction, theirs in statements}, ("effect", "method", "is", "than"))


def knows(scores: Tensor) -> Given:
    """A model of these scores, [n_users, n_items], whatever their rank."""
    return Given((scores, torch.eye(scores.shape[1])))


def truths(n: int) -> pd.DataFrame:
    """The unpopular half's share in the first n worlds: of the held-out items, and of the ten best of rankers that know
    what these are drawn by. Rows: what; columns "mean", "low", "high" over worlds (stats.interval), and "kind"."""
    rows = []
    for seed in range(n):
        truth = world(seed=seed)
        held = {name: evaluate(knows(truth.affinity), truth.split, on, 10)["held_out/aplt"]
                for name, on in (("held out, seen like training", "valid"), ("held out, liked (test)", "test"))}
        best = {name: evaluate(knows(scores), truth.split, ks=10)["aplt@10"]
                for name, scores in (("knows exposure, M + Z", truth.affinity + truth.effect),
                                     ("knows affinity, M", truth.affinity))}
        rows.append(held | best)
    table = pd.DataFrame(rows).apply(stats.interval).T
    return table.assign(kind=["data", "data", "reference", "reference"])


def plane(found: pd.DataFrame) -> Figure:
    """``over_student`` in the plane of affinity and popularity, the plain student at its origin: a line for each
    distillation through the multiples of its weight, "METHOD × FACTOR", the larger the mark; bars are 95 % intervals
    over worlds. What is no distillation is told in words: it would lie far outside."""
    figure, axis = plt.subplots(figsize=(7, 4.6))
    outside = []
    lines = {}
    for model in found.index:
        method, times, factor = model.partition(" × ")
        if times:
            lines.setdefault(method, []).append((float(factor), found.loc[model]))
        else:
            x, y = found.loc[model, ("affinity", "mean")], found.loc[model, ("popularity", "mean")]
            outside.append(f"{model}: ({x:+.3f}, {y:+.3f})")
    for (method, points), marker, colour in zip(lines.items(), cycle(MARKS), cycle(sns.color_palette())):
        points = [row for _, row in sorted(points, key=lambda point: point[0])]
        x, y = ([row[name, "mean"] for row in points] for name in ("affinity", "popularity"))
        reach = [[row[name, "high"] - row[name, "mean"] for row in points] for name in ("affinity", "popularity")]
        axis.errorbar(x, y, reach[1], reach[0], color=colour, elinewidth=0.8, linewidth=1.2)
        axis.scatter(x, y, [25 * (i + 1) for i in range(len(points))], marker=marker, color=colour, edgecolors="black",
                     linewidths=0.6, zorder=3, label=method)
    axis.scatter(0, 0, 90, marker="*", color="black", zorder=4, label="Student")
    axis.axhline(0, color="grey", linewidth=0.8, zorder=0)
    axis.axvline(0, color="grey", linewidth=0.8, zorder=0)
    axis.set(xlabel="affinity's effect (PEM, wanted) less the student's",
             ylabel="popularity's effect (PEZ, unwanted)\nless the student's")
    axis.legend(title="\n".join(outside), title_fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return figure

"""The figures, drawn from tidy frames and tensors; each is saved as PNG and SVG with its provenance beside it."""

from collections.abc import Callable, Iterable, Mapping
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from ..methods import label_of
from ..stats import interval
from ..store import Result
from .names import beside
from .provenance import write_provenance
from .reproduce import folder
from .study import Study, named

COLOURS = {"popular": "#d1793c", "unpopular": "#3c78a8"}
MARKS = "os^DvPX*"  # so that what has a colour is told apart in grey, too
REFERENCES = {"Teacher": "--", "Student": ":"}  # their lines in every figure, by the names that stand in tables
OTHERS = ("-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)))  # the lines of whatever else one compares with
Looks = Mapping[str, tuple[str, tuple]]  # name → its mark and colour


def use_style() -> None:
    """Fonts, sizes and colours of every figure; SVGs that are the same whenever they are drawn."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", rc={
        "figure.dpi": 90, "savefig.dpi": 150, "savefig.bbox": "tight", "axes.titlesize": 12, "axes.titleweight": "bold",
        "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "rkd", "legend.frameon": False})


def save_figure(figure: Figure, name: str, scale: str, results: Iterable[Result] = ()) -> None:
    """Write NAME.png, NAME.svg and NAME.provenance.json. Raises ValueError as save_table does."""
    path = folder(scale) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if results := list(results):
        write_provenance(path.with_name(f"{name}.provenance.json"), results)
    figure.savefig(path.with_name(f"{name}.png"))
    figure.savefig(path.with_name(f"{name}.svg"), metadata={"Date": None})


def looks(names: Iterable[str]) -> Looks:
    """A mark and a colour for each name, for figures that are to show it alike."""
    return dict(zip(names, zip(cycle(MARKS), cycle(sns.color_palette()))))


def references(names: Iterable[str]) -> dict[str, str | tuple]:
    """The line of each name that others are compared with: REFERENCES', and OTHERS in their order."""
    others = iter(OTHERS)
    return {name: REFERENCES.get(name) or next(others) for name in names}


HALVES = {"recall@10": "Recall@10\nall items", "popular/recall@10": "Recall@10\npopular",
          "unpopular/recall@10": "Recall@10\nunpopular"}
OVERALL = {"recall@10": "Recall@10", "ndcg@10": "NDCG@10"}


def sweep(frames: dict[str, pd.DataFrame], levels: dict[str, pd.Series], label: str = "UnKD",
          rows: dict[str, str] = HALVES, spans: dict[str, dict[str, tuple[float, float]]] | None = None) -> Figure:
    """Metrics (rows) of a method against its settings (a column each), as in UnKD's Figure 6.

    frames: name of the setting → tidy frame with a column "x", a result's value of it; the bars are 95 % intervals over
    seeds, where there are several; levels: name → metric → value, the lines of ``references``; label: the method's
    name; spans: name of the setting → {what: (from, to)}, shaded.
    """
    figure, axes = plt.subplots(len(rows), len(frames), figsize=(3.9 * len(frames), 2.2 * len(rows)), sharey="row",
                                squeeze=False, sharex="col")
    for column, (setting, frame) in enumerate(frames.items()):
        for axis, (metric, title) in zip(axes[:, column], rows.items()):
            part = frame[frame["metric"] == metric].groupby("x")["value"].apply(interval).unstack()
            axis.errorbar(part.index, part["mean"], part["high"] - part["mean"], marker="o", capsize=3, label=label,
                          color=COLOURS.get(metric.partition("/")[0], "black"))
            for name, style in references(levels).items():
                axis.axhline(levels[name][metric], color="grey", linestyle=style, linewidth=1.3, label=name)
            for what, (start, end) in (spans or {}).get(setting, {}).items():
                axis.axvspan(start, end, color="grey", alpha=0.2, linewidth=0, label=what)
            scale = scale_of(part.index)
            axis.set(xscale=scale, xticks=part.index, xticklabels=tick_labels(part.index, scale))
            if scale == "log":  # which by itself would begin below 1, whatever is drawn
                beyond = (part.index[-1] / part.index[0]) ** 0.05
                axis.set_xlim(part.index[0] / beyond, part.index[-1] * beyond)
            axis.minorticks_off()
            if column == 0:
                axis.set_ylabel(title)
        axes[-1, column].set_xlabel(setting)
    named_once = {name: handle for axis in axes[0] for handle, name in zip(*axis.get_legend_handles_labels())}
    axes[0, -1].legend(named_once.values(), named_once, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def scale_of(values: Iterable[float]) -> str:
    """"log" where ascending values grow by factors that are more alike than their steps, else "linear"."""
    values = np.asarray(list(values), float)
    if len(values) < 3 or values[0] <= 0:
        return "linear"
    steps, factors = np.diff(values), np.diff(np.log(values))
    return "log" if factors.std() / factors.mean() < steps.std() / steps.mean() else "linear"


def tick_labels(values: Iterable[float], scale: str) -> list[str]:
    """Ascending values as labels of an axis of this scale; a line lower where the one before is so near that they would
    touch."""
    values = np.asarray(list(values), float)
    place = np.log(values) if scale == "log" else values
    labels, low = [], False
    for n, value in enumerate(values):
        low = bool(n and not low and place[n] - place[n - 1] < 0.12 * (place[-1] - place[0]))
        labels.append("\n" * low + f"{value:g}")
    return labels


def points(study: Study, kinds: dict[str, str]) -> pd.DataFrame:
    """Rows of ``plane``, of groups of a study. kinds: label → kind of point; "METHOD, choice" is a point of METHOD's.
    The bounds are the 95 % interval's over seeds. Index: the labels as in tables."""
    found = study.intervals(["recall@10", "unpopular/recall@10"], kinds)
    found.columns = [f"{metric} {bound}".removesuffix(" mean") for metric, bound in found.columns]
    found.insert(0, "kind", kinds)
    found.insert(0, "name", [named(label.partition(",")[0]) for label in kinds])
    return found.set_axis(pd.Index(map(named, kinds), name="model"))


def pareto_front(points: pd.DataFrame) -> pd.Series:
    """True for rows on the Pareto front (both columns: larger is better)."""
    values = points.to_numpy()
    beaten = (values[None] >= values[:, None]).all(2) & (values[None] > values[:, None]).any(2)  # [row, by row]
    return pd.Series(~beaten.any(1), index=points.index)


def front(points: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``plane`` on the Pareto front of all but teachers, by Recall@10, lowest first."""
    students = points[points["kind"] != "teacher"]
    best = pareto_front(students[["recall@10", "unpopular/recall@10"]])
    return students[best].sort_values("recall@10")


def plane(points: pd.DataFrame, of: Looks | None = None) -> Figure:
    """Accuracy against fairness. points: columns name, kind, "recall@10", "unpopular/recall@10", one row per model, and
    their bounds "recall@10 low", "recall@10 high", …, drawn as bars. A name has the mark and colour that it has in
    ``of``, by default ``looks``, or a grey dot; its further rows are hollow and joined to its first, beside which it
    stands. The ``front`` is stairs, beyond which no student stands."""
    figure, axis = plt.subplots(figsize=(9, 4.4 + 0.08 * len(points)))
    of = of or looks(points["name"].unique())
    x, y = points["recall@10"], points["unpopular/recall@10"]
    across, up = (points[f"{metric} high"] - points[metric] for metric in (x.name, y.name))
    axis.errorbar(x, y, up, across, fmt="none", ecolor="lightgrey", elinewidth=0.8, zorder=0)
    best = front(points)
    axis.step(best[x.name], best[y.name], where="pre", color="black", linewidth=1.4, zorder=1)
    first, drawn = ~points.duplicated("name"), {}
    for row, filled in zip(points.to_dict("records"), first):
        mark, colour = of.get(row["name"], ("o", "grey"))
        dot = axis.scatter(row[x.name], row[y.name], 60, marker=mark, color=colour if filled else "white",
                           edgecolors=colour, linewidths=1.4, zorder=4 if row["name"] in of else 3)
        drawn.setdefault(row["kind"], []).append((row["name"], dot, filled))
    for _, choices in points.groupby("name", sort=False):
        axis.plot(choices[x.name], choices[y.name], color="grey", linestyle=":", linewidth=1, zorder=1)
    axis.set(xlabel="Recall@10, all items", ylabel="Recall@10, unpopular items")
    axis.grid(alpha=0.3)
    axis.legend([_of_kind(dots) for dots in drawn.values()], drawn, loc="upper left", bbox_to_anchor=(1, 1))
    places = np.stack([x, y], 1)
    beside(axis, points["name"][first].tolist(), places[first], places)
    return figure


def _of_kind(dots: list[tuple]):
    """The legend's mark of a kind: its own where it is of one name, else a dot, as filled as they are."""
    _, dot, filled = dots[0]
    if len({name for name, *_ in dots}) == 1:
        return dot
    return Line2D([], [], marker="o", linestyle="none", color="dimgrey", markersize=8, markeredgewidth=1.6,
                  markerfacecolor="dimgrey" if filled else "white")


def dots(panels: dict[str, pd.DataFrame], log: bool = False, lines: Iterable[str] = ()) -> Figure:
    """A dot and its bounds for each row, by name, the first at the top; a panel for each frame, and lines down from the
    rows named in ``lines`` (``references``). panels: label of the axis → three columns, the dot's value and its
    bounds."""
    height = 0.3 * len(next(iter(panels.values()))) + 1
    figure, axes = plt.subplots(1, len(panels), figsize=(max(6.5, 3.6 * len(panels)), height), sharey=True,
                                squeeze=False)
    for axis, (label, frame) in zip(axes[0], panels.items()):
        value, low, high = frame.to_numpy().T
        axis.errorbar(value, frame.index, xerr=[value - low, high - value], fmt="o", color="black", ecolor="grey",
                      markersize=5, capsize=3)
        for name, style in references(lines).items():
            axis.axvline(value[frame.index.get_loc(name)], color="grey", linestyle=style, linewidth=1, zorder=0)
        axis.set(xlabel=label)
        if log:
            plain_logarithmic(axis)
    axes[0, 0].invert_yaxis()
    return figure


def plain_logarithmic(axis: Axes) -> None:
    """A logarithmic horizontal axis with plain numbers at its ticks."""
    axis.set_xscale("log")
    axis.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_locator=NullLocator())


def curves(results: dict[str, list[Result]], panels: dict[str, str | Callable[[dict], float]],
           of: Looks | None = None) -> Figure:
    """Values over epochs: a colour and mark for each label (``of`` its name, by default ``looks``), a line for each of
    its results, a panel for each of ``panels``: the axis' label → a name in the training's history, or a function of
    its rows."""
    of = of or looks(map(named, results))
    figure, axes = plt.subplots(1, len(panels), figsize=(1 + 4.2 * len(panels), 3.4), squeeze=False,
                                layout="constrained")
    for axis, (title, value) in zip(axes[0], panels.items()):
        for label, group in results.items():
            mark, colour = of[named(label)]
            for n, result in enumerate(group):
                values = [row[value] if isinstance(value, str) else value(row) for row in result.history]
                axis.plot([row["epoch"] for row in result.history], values, color=colour, marker=mark, linewidth=1,
                          markersize=5, markevery=max(1, len(values) // 8), label="_" * (n > 0) + named(label))
        axis.set(xlabel="epoch", ylabel=title)
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def searched(curves: dict[str, pd.Series]) -> Figure:
    """The best validation NDCG@10 of the trials so far (tuned.best_so_far), a line for each name."""
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    for name, curve in curves.items():
        axis.step(curve.index, curve, where="post", label=name)
    axis.set(xlabel="epochs of all trials so far", ylabel="best NDCG@10 on validation")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def size_against_quality(frame: pd.DataFrame, teacher: pd.Series, rows: dict[str, str] = OVERALL) -> Figure:
    """Metrics against the student's size, marks and a line per method, side by side so that bars can be told apart, the
    teacher's as in ``references``; the bars are 95 % intervals over seeds, where there are several. frame: tidy;
    teacher: metric → value."""
    figure, axes = plt.subplots(1, len(rows), figsize=(5.2 * len(rows), 3.8), squeeze=False, layout="constrained")
    for axis, (metric, title) in zip(axes[0], rows.items()):
        part = frame[frame["metric"] == metric]
        methods = part.groupby("method", sort=False)
        aside = 1.04 ** (np.arange(len(methods)) - (len(methods) - 1) / 2)  # factors, as the axis is logarithmic
        for (method, group), factor, mark in zip(methods, aside, MARKS):
            of = group.groupby("dim")["value"].apply(interval).unstack()
            axis.errorbar(of.index * factor, of["mean"], of["high"] - of["mean"], marker=mark, capsize=3,
                          label=label_of(method))
        for name, style in references(["Teacher"]).items():
            axis.axhline(teacher[metric], color="grey", linestyle=style, linewidth=1.3, label=name)
        dims = sorted(part["dim"].unique())
        axis.set(xscale="log", xticks=dims, xticklabels=[str(d) for d in dims], xlabel="student's dimensions",
                 ylabel=title)
        axis.minorticks_off()
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure

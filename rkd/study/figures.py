"""The figures, drawn from tidy frames and tensors; each is saved as PNG and SVG with its provenance beside it."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from adjustText import adjust_text
from matplotlib.figure import Figure

from ..methods import label_of
from ..stats import interval
from ..store import Result
from .provenance import write_provenance
from .reproduce import folder

COLOURS = {"popular": "#d1793c", "unpopular": "#3c78a8"}
MARKS = [*zip("osD^vPX<>hpd8H*", sns.color_palette("colorblind", 15))]  # marker, colour of a legend's first, second, …


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


HALVES = {"recall@10": "Recall@10\nall items", "popular/recall@10": "Recall@10\npopular",
          "unpopular/recall@10": "Recall@10\nunpopular"}
OVERALL = {"recall@10": "Recall@10", "ndcg@10": "NDCG@10"}


def sweep(frames: dict[str, pd.DataFrame], levels: dict[str, pd.Series], label: str = "UnKD",
          rows: dict[str, str] = HALVES) -> Figure:
    """Metrics (rows) of a method against its settings (a column each), as in UnKD's Figure 6.

    frames: name of the setting → tidy frame with a column "x", a result's value of it, drawn evenly spaced; the bars
    are 95 % intervals over seeds, where there are several; levels: name → metric → value, the dashed lines; label: the
    method's name.
    """
    figure, axes = plt.subplots(len(rows), len(frames), figsize=(3.9 * len(frames), 2.2 * len(rows)), sharey="row",
                                squeeze=False, sharex="col")
    for column, (setting, frame) in enumerate(frames.items()):
        for axis, (metric, title) in zip(axes[:, column], rows.items()):
            part = frame[frame["metric"] == metric].groupby("x")["value"].apply(interval).unstack()
            place = np.arange(len(part))
            axis.errorbar(place, part["mean"], part["high"] - part["mean"], marker="o", capsize=3, label=label,
                          color=COLOURS.get(metric.partition("/")[0], "black"))
            for (name, values), style in zip(levels.items(), ("--", ":")):
                axis.axhline(values[metric], color="grey", linestyle=style, linewidth=1.3, label=name)
            axis.set(xticks=place, xticklabels=[f"{x:g}" for x in part.index])
            if column == 0:
                axis.set_ylabel(title)
        axes[-1, column].set_xlabel(setting)
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def pareto_front(points: pd.DataFrame) -> pd.Series:
    """True for rows on the Pareto front (both columns: larger is better)."""
    values = points.to_numpy()
    beaten = (values[None] >= values[:, None]).all(2) & (values[None] > values[:, None]).any(2)  # [row, by row]
    return pd.Series(~beaten.any(1), index=points.index)


def plane(points: pd.DataFrame) -> Figure:
    """Accuracy against fairness. points: columns name, kind, "recall@10", "unpopular/recall@10", one row per model, and
    their bounds "recall@10 low", "recall@10 high", …, drawn as bars; the Pareto front of all but teachers is drawn."""
    figure, axis = plt.subplots(figsize=(8.5, 5))
    sns.scatterplot(points, x="recall@10", y="unpopular/recall@10", hue="kind", style="kind", s=90, ax=axis)
    students = points[points["kind"] != "teacher"].set_index("name")[["recall@10", "unpopular/recall@10"]]
    front = students[pareto_front(students)].sort_values("recall@10")
    axis.plot(front["recall@10"], front["unpopular/recall@10"], color="grey", linewidth=1.2, zorder=0)
    axis.set(xlabel="Recall@10, all items", ylabel="Recall@10, unpopular items")
    axis.legend(title="", loc="upper left", bbox_to_anchor=(1, 1))
    x, y = points["recall@10"], points["unpopular/recall@10"]
    across, up = (points[f"{metric} high"] - points[metric] for metric in (x.name, y.name))
    axis.errorbar(x, y, up, across, fmt="none", ecolor="lightgrey", elinewidth=0.8, zorder=0)
    names = [axis.text(*place, name, fontsize=9) for *place, name in zip(x, y, points["name"])]
    # iter_lim, not time: the same each time
    adjust_text(names, x.to_numpy(), y.to_numpy(), ax=axis, expand=(1.25, 1.6), iter_lim=500,
                arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.7})
    return figure


def curves(histories: dict[str, list[dict]], value: str, label: str) -> Figure:
    """A value of the training history over epochs, a line for each name, told apart by marks as well."""
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    for (name, history), (marker, colour) in zip(histories.items(), MARKS):
        axis.plot([row["epoch"] for row in history], [row[value] for row in history], label=name, color=colour,
                  marker=marker, markevery=0.15)
    axis.set(xlabel="epoch", ylabel=label, ylim=(0, None))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def searched(curves: dict[str, pd.Series]) -> Figure:
    """The best validation NDCG@10 of the trials so far (tuned.best_so_far), a line for each name."""
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    for name, curve in curves.items():
        axis.step(curve.index, curve, where="post", label=name)
    axis.set(xlabel="epochs of all trials so far", ylabel="best NDCG@10 on validation")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def heat_maps(matrices: dict[str, np.ndarray], label: str) -> Figure:
    """Square matrices [G, G] side by side, in one scale of colour; G groups of a ranking, the best first."""
    top = max(np.max(matrix) for matrix in matrices.values())
    figure, axes = plt.subplots(1, len(matrices), figsize=(4.2 * len(matrices) + 1, 4), squeeze=False, sharey=True,
                                layout="constrained")
    for axis, (name, matrix) in zip(axes[0], matrices.items()):
        groups = range(1, len(matrix) + 1)
        sns.heatmap(matrix, vmin=0, vmax=top, cmap="rocket_r", square=True, ax=axis, cbar=False, xticklabels=groups,
                    yticklabels=groups)
        axis.set(title=name, xlabel="tenth of the teacher's ranking")
    axes[0, 0].set_ylabel("tenth of the teacher's ranking")
    figure.colorbar(axes[0, -1].collections[0], ax=axes, label=label, shrink=0.8)
    return figure


def size_against_quality(frame: pd.DataFrame, teacher: pd.Series, rows: dict[str, str] = OVERALL) -> Figure:
    """Metrics against the student's size, a line per method, the teacher a dashed one. frame: tidy; teacher: metric →
    value."""
    figure, axes = plt.subplots(1, len(rows), figsize=(5.2 * len(rows), 3.8), squeeze=False, layout="constrained")
    for axis, (metric, title) in zip(axes[0], rows.items()):
        part = frame[frame["metric"] == metric]
        for method, group in part.groupby("method", sort=False):
            means = group.groupby("dim")["value"].mean()
            axis.plot(means.index, means, marker="o", label=label_of(method))
        axis.axhline(teacher[metric], color="grey", linestyle="--", linewidth=1.3, label="teacher")
        dims = sorted(part["dim"].unique())
        axis.set(xscale="log", xticks=dims, xticklabels=[str(d) for d in dims], xlabel="student's dimensions",
                 ylabel=title)
        axis.minorticks_off()
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def bars(values: pd.Series, label: str) -> Figure:
    """Horizontal bars, one for each name of the index, in its order."""
    figure, axis = plt.subplots(figsize=(6.5, 0.36 * len(values) + 1))
    drawn = axis.barh(values.index, values, color=COLOURS["unpopular"])
    axis.bar_label(drawn, fmt="{:.2f}", padding=3, fontsize=9)
    axis.set(xlabel=label)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    return figure

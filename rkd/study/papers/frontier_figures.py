"""The drawings of notebook 9: quality against bytes and against time."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..figures import looks, plain_logarithmic
from ..names import beside
from .frontier import FRONTS, METRICS, staircase


def plane(found: pd.DataFrame, lines: pd.DataFrame) -> Figure:
    """METRICS against bytes of a user or an item, a panel each: a mark for each kind of ``table``, hollow for what was
    trained and then rounded, bars the 95 % intervals over seeds; the staircase of each of FRONTS; rows of ``lines``
    (references, of ``table``) across."""
    figure, axes = plt.subplots(1, len(METRICS), figsize=(6.4 * len(METRICS), 4.8), layout="constrained")
    kinds = found["kind"].unique()
    of_kinds = looks(dict.fromkeys(map(unrounded, kinds)))
    for axis, (metric, title) in zip(axes, METRICS.items()):
        for kind in kinds:
            rows, (mark, colour) = found[found["kind"] == kind], of_kinds[unrounded(kind)]
            edge, face = ("black", colour) if kind in of_kinds else (colour, "none")
            axis.errorbar(rows["bytes"], rows[metric], rows[f"{metric} high"] - rows[metric], marker=mark, color=colour,
                          linestyle="none", markeredgecolor=edge, markeredgewidth=0.7, markerfacecolor=face,
                          markersize=6, elinewidth=0.7, label=kind)
        most = found["bytes"].max()
        for (name, of), style in zip(FRONTS.items(), ("-", "-.", "--")):
            if len(front := staircase(found[found["kind"].isin(of)], metric)):
                axis.step([*front.index, most], [*front, front.iloc[-1]], where="post", color="black", linestyle=style,
                          linewidth=1.3, zorder=1, label=f"best, {name}")
        for (name, row), style in zip(lines.iterrows(), (":", (0, (5, 3)), (0, (1, 4)))):
            axis.axhline(row[metric], color="grey", linestyle=style, linewidth=1.2,
                         label=f"{name} ({row['bytes']:,.0f} B)")
        axis.set(xlabel="bytes of a user or an item", ylabel=title)
        plain_logarithmic(axis)
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return figure


def unrounded(kind: str) -> str:
    """The kind of what was rounded."""
    return kind.removesuffix(", rounded")


def answering(found: pd.DataFrame, batch: int = 1) -> Figure:
    """METRICS against the median time of a batch, of ``latency``: a mark for each index, models named at their exact
    one; the bar ends where 99 of 100 batches have been answered."""
    rows = found[found["batch"] == batch]
    median, late = (1e3 * rows[name] for name in ("median ms", "p99 ms"))
    figure, axes = plt.subplots(1, len(METRICS), figsize=(6.4 * len(METRICS), 4.2), layout="constrained")
    for axis, (metric, title) in zip(axes, METRICS.items()):
        for index, (mark, colour) in looks(rows["index"].unique()).items():
            part = rows[rows["index"] == index]
            x = median[part.index]
            axis.errorbar(x, part[metric], xerr=[0 * x, late[part.index] - x], marker=mark, color=colour,
                          linestyle="none", markeredgecolor="black", markeredgewidth=0.4, elinewidth=0.8, label=index)
        axis.set(xlabel=f"microseconds of a batch of {batch}, one thread", ylabel=title)
        plain_logarithmic(axis)
        axis.set_xlim(left=median.min() * (median.min() / late.max()) ** 0.3)  # room for names on the left
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    exact = ~rows.duplicated("model")
    for axis, metric in zip(axes, METRICS):
        along = np.geomspace(median, late, 8)  # of each bar, its mark first: [8, rows]
        marks = np.stack([along, np.broadcast_to(rows[metric], along.shape)], 2)
        beside(axis, rows["model"][exact].tolist(), marks[0, exact], marks.reshape(-1, 2))
    return figure

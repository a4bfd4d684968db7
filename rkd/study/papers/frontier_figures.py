"""The drawings of notebook 9: quality against bytes and against time."""

from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ..figures import MARKS
from .frontier import FRONTS, METRICS, staircase


def plane(found: pd.DataFrame, lines: pd.DataFrame) -> Figure:
    """METRICS against bytes of a user or an item, a panel each: a mark for each kind of ``table``, hollow where it is
    one rounded, bars the 95 % intervals over seeds; the staircase of each of FRONTS; rows of ``lines`` (references, of
    ``table``) across."""
    figure, axes = plt.subplots(1, len(METRICS), figsize=(6.4 * len(METRICS), 4.6), layout="constrained")
    for axis, (metric, title) in zip(axes, METRICS.items()):
        of_kinds = found.groupby("kind", sort=False)
        for (kind, rows), mark, colour in zip(of_kinds, cycle(MARKS), cycle(sns.color_palette())):
            axis.errorbar(rows["bytes"], rows[metric], rows[f"{metric} high"] - rows[metric], marker=mark,
                          color=colour, linestyle="none", markeredgecolor="black", markeredgewidth=0.4, markersize=6,
                          elinewidth=0.8, label=kind)
        most = found["bytes"].max()
        for (name, kinds), style in zip(FRONTS.items(), ("-", "-.", "--")):
            if len(front := staircase(found[found["kind"].isin(kinds)], metric)):
                axis.step([*front.index, most], [*front, front.iloc[-1]], where="post", color="black", linestyle=style,
                          linewidth=1.2, zorder=1, label=f"best of {name}")
        for (name, row), style in zip(lines.iterrows(), (":", (0, (5, 3)), (0, (1, 4)))):
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

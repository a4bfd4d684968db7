"""UnKD's Figures 1 to 5 and what stands beside them, drawn from frames and tensors."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from ..figures import COLOURS, MARKS, OTHERS
from ..study import named

HALF_MARKS = {"popular": "o", "unpopular": "s"}
KIND_MARKS = {"data": ("D", "white"), "reference": ("s", "lightgrey"), "model": ("o", "black")}


def shares(panels: dict[str, pd.DataFrame]) -> Figure:
    """UnKD's Figure 1: the unpopular half's share of held-out items and of lists. panels: title → rows from the top,
    columns "mean", "low", "high" (a bar where they are known) and "kind", one of KIND_MARKS; the dash-dotted line
    is at the first row."""
    rows = max(map(len, panels.values()))
    figure, axes = plt.subplots(1, len(panels), figsize=(6.2 * len(panels), 0.38 * rows + 1.2), squeeze=False,
                                sharex=True, layout="constrained")
    for axis, (title, table) in zip(axes[0], panels.items()):
        axis.axvline(table["mean"].iloc[0], color="grey", linestyle=OTHERS[0], linewidth=1, zorder=0)
        for place, (_, row) in enumerate(table.iterrows()):
            marker, face = KIND_MARKS[row["kind"]]
            axis.errorbar(row["mean"], place, xerr=row["high"] - row["mean"], marker=marker, markersize=8, capsize=3,
                          color="black", markerfacecolor=face)
            axis.annotate(f"{row['mean']:.0%}", (row["mean"], place), (0, 7), textcoords="offset points", ha="center",
                          fontsize=9)
        axis.set(title=title, yticks=range(len(table)), yticklabels=table.index, xlim=(0, 1),
                 xlabel="share of the unpopular half", ylim=(len(table) - 0.5, -0.7))
        axis.xaxis.set_major_formatter("{x:.0%}")
    return figure


def change_over_student(changes: pd.DataFrame, paper: str = "the paper") -> Figure:
    """UnKD's Figure 5, of unkd.changes: a panel for each data set, a method a row, its two halves a mark each with the
    95 % interval over seeds; hollow marks are what was published, by ``paper``."""
    datasets, labels = (list(dict.fromkeys(changes.index.get_level_values(name))) for name in ("dataset", "label"))
    figure, axes = plt.subplots(1, len(datasets), figsize=(7 * len(datasets), 0.45 * len(labels) + 2),
                                squeeze=False, sharey=True, layout="constrained")
    for axis, dataset in zip(axes[0], datasets):
        for half, off in (("popular", -0.15), ("unpopular", 0.15)):
            rows = changes.loc[dataset].xs(half, level="half").reindex(labels)
            place, style = np.arange(len(labels)) + off, {"color": COLOURS[half], "marker": HALF_MARKS[half]}
            axis.errorbar(rows["mean"], place, xerr=rows["high"] - rows["mean"], capsize=3, linestyle="none",
                          label=half, **style)
            axis.plot(rows["published"], place, linestyle="none", markerfacecolor="white", markersize=8,
                      label=f"{half}, {paper}" if rows["published"].notna().any() else None, **style)
        axis.axvline(0, color="black", linewidth=1)
        axis.set(title=dataset, yticks=range(len(labels)), yticklabels=map(named, labels),
                 ylim=(len(labels) - 0.5, -0.5), xlabel="Recall@10 against the plain student's")
        axis.xaxis.set_major_formatter(lambda x, _: f"{100 * x:+.3g} %" if x else "0")
    named_once = {name: handle for axis in axes[0] for handle, name in zip(*axis.get_legend_handles_labels())}
    figure.legend(named_once.values(), named_once, loc="outside lower center", ncols=2)
    return figure


def score_against_popularity(popularity: np.ndarray, scores: dict[str, np.ndarray],
                             correlations: pd.DataFrame) -> Figure:
    """Left, each item's mean score over users (standardised) against its popularity, for a model or two; right, the
    rank correlation of the two for every model (unkd.popularity_correlations).

    popularity [n_items]; scores: name → [n_items].
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", width_ratios=(3, 2))
    for (name, values), marker, colour in zip(scores.items(), MARKS, sns.color_palette()):
        left.scatter(popularity, (values - values.mean()) / values.std(), s=9, alpha=0.4, marker=marker, color=colour,
                     linewidths=0, rasterized=True, label=name)
    left.set(xscale="symlog", xlabel="training interactions of the item", xlim=(-0.3, None),
             ylabel="mean score over users (standardised)")
    left.xaxis.set_major_formatter("{x:.0f}")
    left.legend(markerscale=2.5)
    place = np.arange(len(correlations))
    right.errorbar(correlations["mean"], place, xerr=correlations["high"] - correlations["mean"], marker="o", capsize=3,
                   linestyle="none", color="black")
    right.set(yticks=place, yticklabels=map(named, correlations.index), ylim=(len(place) - 0.5, -0.5),
              xlabel="Spearman's ρ of the two")
    return figure


def low_rank(truncated: pd.DataFrame, students: pd.DataFrame, dim: int, rows: dict[str, str]) -> Figure:
    """Metrics (a panel each: name → label) of the teacher cut to d dimensions (unkd.truncated), a line, and of students
    of size ``dim`` (Study.intervals), a mark each beside it; bars are 95 % intervals over seeds."""
    figure, axes = plt.subplots(1, len(rows), figsize=(5 * len(rows), 3.8), squeeze=False, layout="constrained")
    for axis, (metric, label) in zip(axes[0], rows.items()):
        line = truncated[metric]
        axis.errorbar(line.index, line["mean"], line["high"] - line["mean"], marker=".", capsize=3, color="grey",
                      label="the teacher, truncated")
        spread = dim * np.geomspace(0.8, 1.25, len(students))  # side by side, or they would hide each other
        for x, (name, row), marker, colour in zip(spread, students[metric].iterrows(), cycle(MARKS),
                                                  cycle(sns.color_palette())):
            axis.errorbar(x, row["mean"], row["high"] - row["mean"], marker=marker, color=colour, capsize=3,
                          linestyle="none", markeredgecolor="black", label=named(name))
        axis.set(xscale="log", xticks=line.index, xticklabels=map(str, line.index), xlabel="dimensions d",
                 ylabel=label)
        axis.minorticks_off()
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def within_groups(correlations: dict[str, pd.DataFrame]) -> Figure:
    """How far scores follow popularity within each of K groups of equal mass: a line for each name, rows K, columns
    "mean", "low", "high" (a bar where they are known)."""
    figure, axis = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    for (name, table), marker, colour in zip(correlations.items(), MARKS, sns.color_palette()):
        axis.errorbar(table.index, table["mean"], table["high"] - table["mean"], marker=marker, color=colour, capsize=3,
                      label=name)
    axis.set(xlabel="groups K", ylabel="rank correlation of\nscore and popularity", ylim=(0, 1), xticks=table.index)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


NODES = {"U": (0, 2, "user"), "I": (0, 0, "item"), "M": (2.2, 1.35, "affinity"), "Z": (2.2, 0, "popularity"),
         "Y": (4.4, 0.8, "soft label")}


def _draw_graph(axis, unwanted: dict[tuple[str, str], str], given: str = "") -> None:
    """UnKD's causal graph; unwanted: arrow → "-" or ":", its line; the node ``given`` is filled."""
    for start, end in (("U", "M"), ("I", "M"), ("M", "Y"), *unwanted):
        colour = COLOURS["popular"] if (start, end) in unwanted else "black"
        axis.annotate("", xy=NODES[end][:2], xytext=NODES[start][:2], arrowprops={
            "arrowstyle": "-|>", "shrinkA": 19, "shrinkB": 19, "lw": 2.2, "color": colour, "mutation_scale": 18,
            "linestyle": unwanted.get((start, end), "-")})
    for letter, (x, y, word) in NODES.items():
        edge = COLOURS["popular"] if letter == "Z" else "black"
        axis.scatter(x, y, s=1100, color=edge if letter == given else "white", edgecolors=edge, linewidths=2, zorder=3)
        axis.text(x, y, letter, ha="center", va="center", fontsize=14, zorder=4,
                  color="white" if letter == given else "black")
        axis.text(x, y - 0.42, word, ha="center", va="top", fontsize=10.5)
    axis.set(xlim=(-0.6, 8.6), ylim=(-0.9, 2.5))
    axis.axis("off")


def causal_graph() -> Figure:
    """UnKD's Figure 2 in our own drawing: user and item make the affinity, the item its popularity, both the label."""
    figure, axis = plt.subplots(figsize=(8, 3.2))
    _draw_graph(axis, {("I", "Z"): "-", ("Z", "Y"): "-"})
    axis.text(5.6, 1.75, "TE = PEM + PEZ", fontsize=12, weight="bold")
    axis.text(5.6, 1.3, "PEM: through affinity, worth distilling", fontsize=10.5)
    axis.text(5.6, 0.95, "PEZ: I → Z → Y, the same for two items\nof equal popularity, so that it cancels in\n"
                         "the difference of their labels", fontsize=10.5, color=COLOURS["popular"], va="top")
    return figure


def cut_graph() -> Figure:
    """UnKD's Figure 3 in our own drawing: with Z held fixed, Z → Y adds the same to every label of the group."""
    figure, axis = plt.subplots(figsize=(8, 3.2))
    _draw_graph(axis, {("I", "Z"): "-", ("Z", "Y"): ":"}, given="Z")
    axis.text(3.3, 0.38, "×", color=COLOURS["popular"], fontsize=22, weight="bold", ha="center", va="center")
    axis.text(5.6, 1.75, "within a group Z is nearly the same", fontsize=12, weight="bold")
    axis.text(5.6, 1.3, "i⁺ and i⁻ differ in affinity,", fontsize=10.5)
    axis.text(5.6, 0.95, "and little in what popularity adds:\nof it Y(i⁺) − Y(i⁻) keeps what the\n"
                         "group's width leaves", fontsize=10.5, color=COLOURS["popular"], va="top")
    return figure


def drawn_pairs(popularity: Tensor, scores: Tensor, group: Tensor, unseen: Tensor, better: Tensor,
                worse: Tensor) -> Figure:
    """UnKD's Figure 4 on a real user: the unseen items by popularity and teacher's score, in grey, a panel for each
    group, and the pairs drawn, from the better item (a filled triangle) to the worse (a hollow one).

    popularity, scores, group [n_items]; unseen: ids of items; better, worse [P]: ids of those drawn.
    """
    n = int(group.max()) + 1
    figure, axes = plt.subplots(1, n, figsize=(3 * n, 3.6), sharey=True, squeeze=False, layout="constrained")
    for g, axis in enumerate(axes[0]):
        items = unseen[group[unseen] == g]
        axis.scatter(popularity[items], scores[items], s=9, color="lightgrey", linewidths=0)
        b, w = better[group[better] == g], worse[group[worse] == g]
        axis.plot([popularity[b].numpy(), popularity[w].numpy()], [scores[b].numpy(), scores[w].numpy()], color="grey",
                  linewidth=1)
        for name, drawn, marker, face in (("i⁺", b, "^", COLOURS["unpopular"]), ("i⁻", w, "v", "white")):
            axis.scatter(popularity[drawn], scores[drawn], marker=marker, s=45, color=face,
                         edgecolors=COLOURS["unpopular"], linewidths=1, alpha=0.9, zorder=3, label=name)
        axis.set(title=f"group {g + 1}")
    axes[0, 0].set_ylabel("teacher's score for this user")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.supxlabel("training interactions of the item", fontsize=11)
    return figure

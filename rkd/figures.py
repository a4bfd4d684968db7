"""The figures, drawn from tidy frames and tensors; each is saved as PNG and SVG with its provenance beside it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from adjustText import adjust_text
from matplotlib.figure import Figure

from .provenance import write_provenance
from .runs import Result
from .tables import NAMES, folder

COLOURS = {"popular": "#d1793c", "unpopular": "#3c78a8"}


def use_style() -> None:
    """Fonts, sizes and colours of every figure; SVGs that are the same whenever they are drawn."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", rc={
        "figure.dpi": 90, "savefig.dpi": 150, "savefig.bbox": "tight", "axes.titlesize": 12, "axes.titleweight": "bold",
        "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "rkd", "legend.frameon": False})


def save_figure(figure: Figure, name: str, scale: str, results: list[Result]) -> None:
    """Write NAME.png, NAME.svg and NAME.provenance.json. Raises ValueError as save_table does."""
    path = folder(scale) / name
    if results:
        write_provenance(path.with_name(f"{name}.provenance.json"), results)
    figure.savefig(path.with_name(f"{name}.png"))
    figure.savefig(path.with_name(f"{name}.svg"), metadata={"Date": None})


def shares(table: pd.DataFrame) -> Figure:
    """UnKD's Figure 1: bars of popular and unpopular shares. Rows: data set; columns: "test data", "teacher's top 10",
    …, each the unpopular items' share."""
    figure, axes = plt.subplots(1, len(table), figsize=(5 * len(table), 3.4), sharey=True, squeeze=False)
    for axis, (dataset, row) in zip(axes[0], table.iterrows()):
        place = np.arange(len(row))
        for offset, half, values in ((-0.2, "popular", 1 - row), (0.2, "unpopular", row)):
            bars = axis.bar(place + offset, values, 0.38, color=COLOURS[half], label=half)
            axis.bar_label(bars, fmt="{:.0%}", padding=2, fontsize=9)
        labels = [label.replace("'s ", "'s\n") for label in row.index]
        axis.set(title=dataset, xticks=place, xticklabels=labels, ylim=(0, 1.08))
        axis.yaxis.set_major_formatter("{x:.0%}")
        axis.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("share of items")
    axes[0, -1].legend(title="half of the items", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def change_over_student(frame: pd.DataFrame) -> Figure:
    """Relative change over the plain student of each method's popular and unpopular Recall@10, each seed a dot, and a
    panel for each data set of a tidy frame."""
    order = [NAMES.get(m, m) for m in frame["method"].unique() if m not in ("none", "teacher")]
    rows = []
    for half in COLOURS:
        recall = frame[frame["metric"] == f"{half}/recall@10"]
        student = recall[recall["method"] == "none"].groupby("dataset")["value"].mean()
        change = recall["value"] / recall["dataset"].map(student) - 1
        rows.append(recall.assign(half=half, change=change, method=recall["method"].map(lambda m: NAMES.get(m, m))))
    table = pd.concat(rows)
    datasets = table["dataset"].unique()
    figure, axes = plt.subplots(1, len(datasets), figsize=(6 * len(datasets), 3.4), sharey=True, squeeze=False)
    for axis, dataset in zip(axes[0], datasets):
        part = {"data": table[table["dataset"] == dataset], "x": "method", "y": "change", "hue": "half", "order": order}
        sns.barplot(**part, palette=COLOURS, errorbar=None, saturation=1, legend=axis is axes[0, -1], ax=axis)
        sns.stripplot(**part, palette=["black", "black"], dodge=True, jitter=False, size=4, legend=False, ax=axis)
        axis.axhline(0, color="black", linewidth=1)
        axis.set(title=dataset, xlabel="", ylabel="Recall@10 against\nthe plain student")
        axis.yaxis.set_major_formatter(lambda x, _: f"{100 * x:+.3g} %")
    axes[0, -1].legend(title="half of the items", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def score_against_popularity(popularity: np.ndarray, scores: dict[str, np.ndarray]) -> Figure:
    """A panel per model, three in a row: each item's mean score over users (standardised) against its popularity.

    popularity [n_items]; scores: name → [n_items].
    """
    n_rows = -(-len(scores) // 3)
    figure, axes = plt.subplots(n_rows, 3, figsize=(11, 3.1 * n_rows), sharex=True, sharey=True, squeeze=False,
                                layout="constrained")
    seen = popularity > 0
    for axis, (name, values) in zip(axes.flat, scores.items()):
        z = (values - values[seen].mean()) / values[seen].std()
        rho = pd.Series(z[seen]).corr(pd.Series(popularity[seen]), method="spearman")
        axis.scatter(popularity[seen], z[seen], s=6, alpha=0.35, color=COLOURS["unpopular"], linewidths=0,
                     rasterized=True)
        axis.set(title=name, xscale="log")
        axis.text(0.04, 0.93, f"Spearman ρ = {rho:.2f}", transform=axis.transAxes, fontsize=10)
    for axis in axes.flat[len(scores):]:
        axis.set_visible(False)
    figure.supxlabel("training interactions of the item")
    figure.supylabel("mean score over users (standardised)")
    return figure


def world_effects(table: pd.DataFrame) -> Figure:
    """The synthetic world's probe: columns model, popularity, affinity (coefficients of the scores), one row per seed."""
    figure, axis = plt.subplots(figsize=(6, 4))
    order = table["model"].unique()
    sns.scatterplot(table, x="affinity", y="popularity", hue="model", style="model", hue_order=order, style_order=order,
                    s=110, ax=axis)
    axis.set(xlabel="effect of affinity on the scores (PEM, wanted)", ylabel="effect of popularity (PEZ, unwanted)")
    axis.legend(title="", loc="upper left", bbox_to_anchor=(1, 1))
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
    axis.text(5.6, 1.75, "within a group Z is the same", fontsize=12, weight="bold")
    axis.text(5.6, 1.3, "i⁺ and i⁻ differ in affinity,", fontsize=10.5)
    axis.text(5.6, 0.95, "not in what popularity adds to their labels:\nin Y(i⁺) − Y(i⁻) it cancels", fontsize=10.5,
              color=COLOURS["popular"], va="top")
    return figure


def drawn_pairs(popularity: np.ndarray, scores: np.ndarray, group: np.ndarray, better: np.ndarray,
                worse: np.ndarray) -> Figure:
    """UnKD's Figure 4 on a real user: the untrained items by popularity and teacher's score, coloured by group, and the
    pairs drawn, each from its better item (a triangle) to the worse.

    popularity, scores, group [n items]; better, worse [P]: places in these.
    """
    figure, axis = plt.subplots(figsize=(9, 4.2))
    colours = sns.color_palette("viridis", int(group.max()) + 1)
    for g in range(int(group.max()) + 1):
        inside = group == g
        axis.scatter(popularity[inside], scores[inside], s=9, color=colours[g], alpha=0.5, linewidths=0)
        pairs = inside[better]
        b, w = better[pairs], worse[pairs]
        axis.plot([popularity[b], popularity[w]], [scores[b], scores[w]], color=colours[g], linewidth=1.3)
        axis.scatter(popularity[b], scores[b], marker="^", s=45, color=colours[g], edgecolors="black", linewidths=0.6,
                     zorder=3, label=f"{g + 1}")
    axis.set(xlabel="training interactions of the item", ylabel="teacher's score for this user", xscale="symlog")
    axis.legend(title="group", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


HALVES = {"recall@10": "Recall@10\nall items", "popular/recall@10": "Recall@10\npopular",
          "unpopular/recall@10": "Recall@10\nunpopular"}
OVERALL = {"recall@10": "Recall@10", "ndcg@10": "NDCG@10"}


def sweep(frames: dict[str, pd.DataFrame], levels: dict[str, pd.Series], label: str = "UnKD",
          rows: dict[str, str] = HALVES) -> Figure:
    """Metrics (rows) of a method against its settings (a column each), as in UnKD's Figure 6.

    frames: name of the setting → tidy frame with a column "x", a result's value of it, drawn evenly spaced; the bars are
    over seeds, where there are several; levels: name → metric → value, the dashed lines; label: the method's name.
    """
    figure, axes = plt.subplots(len(rows), len(frames), figsize=(3.9 * len(frames), 2.2 * len(rows)), sharey="row",
                                squeeze=False, sharex="col")
    for column, (setting, frame) in enumerate(frames.items()):
        for axis, (metric, title) in zip(axes[:, column], rows.items()):
            part = frame[frame["metric"] == metric].groupby("x")["value"].agg(["mean", "std"])
            place = np.arange(len(part))
            axis.errorbar(place, part["mean"], part["std"], marker="o", capsize=3, label=label,
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
    """Which rows of two columns, both better when larger, no other row beats or equals in both: a boolean for each."""
    values = points.to_numpy()
    beaten = (values[None] >= values[:, None]).all(2) & (values[None] > values[:, None]).any(2)  # [row, by row]
    return pd.Series(~beaten.any(1), index=points.index)


def plane(points: pd.DataFrame) -> Figure:
    """Accuracy against fairness. points: columns name, kind, "recall@10", "unpopular/recall@10", one row per model; the
    Pareto front of all but teachers is drawn."""
    figure, axis = plt.subplots(figsize=(8.5, 5))
    sns.scatterplot(points, x="recall@10", y="unpopular/recall@10", hue="kind", style="kind", s=90, ax=axis)
    students = points[points["kind"] != "teacher"].set_index("name")[["recall@10", "unpopular/recall@10"]]
    front = students[pareto_front(students)].sort_values("recall@10")
    axis.plot(front["recall@10"], front["unpopular/recall@10"], color="grey", linewidth=1.2, zorder=0)
    axis.set(xlabel="Recall@10, all items", ylabel="Recall@10, unpopular items")
    axis.legend(title="", loc="upper left", bbox_to_anchor=(1, 1))
    x, y = points["recall@10"], points["unpopular/recall@10"]
    names = [axis.text(*place, name, fontsize=9) for *place, name in zip(x, y, points["name"])]
    adjust_text(names, x.to_numpy(), y.to_numpy(), ax=axis, expand=(1.25, 1.6), iter_lim=500,  # not by time: the same each time
                arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.7})
    return figure


def mixing(points: np.ndarray, own: int, neighbours: np.ndarray, mixtures: dict[str, np.ndarray]) -> Figure:
    """NKD on a picture, a panel for each way to mix: points [n, 2], the entity ``own`` and its neighbours among them, and
    what became of it when mixed, [m, 2] for each name in ``mixtures``."""
    figure, axes = plt.subplots(1, len(mixtures), figsize=(4.6 * len(mixtures), 4), squeeze=False, sharex=True, sharey=True)
    for axis, (name, mixed) in zip(axes[0], mixtures.items()):
        axis.scatter(*points.T, s=5, color="lightgrey", linewidths=0, rasterized=True)
        axis.scatter(*mixed.T, s=10, color=COLOURS["popular"], alpha=0.6, linewidths=0, label="mixed")
        axis.scatter(*points[neighbours].T, s=60, color=COLOURS["unpopular"], marker="^", label="its neighbours")
        axis.scatter(*points[own], s=90, color="black", marker="*", label="the item")
        axis.set(title=name, xticks=[], yticks=[])
        reach = np.concatenate([points[neighbours], mixed, points[[own]]])
        low, high = reach.min(0), reach.max(0)
        margin = 0.25 * (high - low).max()
        axis.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def curves(histories: dict[str, list[dict]], value: str, label: str) -> Figure:
    """A value of the training history over epochs, a line for each name."""
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    for name, history in histories.items():
        axis.plot([row["epoch"] for row in history], [row[value] for row in history], label=name)
    axis.set(xlabel="epoch", ylabel=label, ylim=(0, None))
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


def labels(scores: np.ndarray, distributions: dict[str, np.ndarray], label: str) -> Figure:
    """Soft labels of one user's list: scores [L] that order the items, and a line of probabilities [L] for each name."""
    figure, axis = plt.subplots(figsize=(8, 3.6))
    order = np.argsort(-scores)
    for name, p in distributions.items():
        axis.plot(np.arange(1, len(order) + 1), p[order], marker="o", markersize=4, label=name)
    axis.set(xlabel=label, ylabel="probability")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def size_against_quality(frame: pd.DataFrame, teacher: pd.Series, rows: dict[str, str] = OVERALL) -> Figure:
    """Metrics against the student's size, a line per method, the teacher a dashed one. frame: tidy; teacher: metric →
    value."""
    figure, axes = plt.subplots(1, len(rows), figsize=(5.2 * len(rows), 3.8), squeeze=False, layout="constrained")
    for axis, (metric, title) in zip(axes[0], rows.items()):
        part = frame[frame["metric"] == metric]
        for method, group in part.groupby("method", sort=False):
            means = group.groupby("dim")["value"].mean()
            axis.plot(means.index, means, marker="o", label=NAMES.get(method, method))
        axis.axhline(teacher[metric], color="grey", linestyle="--", linewidth=1.3, label="teacher")
        dims = sorted(part["dim"].unique())
        axis.set(xscale="log", xticks=dims, xticklabels=[str(d) for d in dims], xlabel="student's dimensions", ylabel=title)
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

"""What knows UnKD's paper: its data sets' and methods' names there, its studies, tables and drawings.

(Chen et al., Unbiased Knowledge Distillation for Recommendation, WSDM 2023)
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from ... import methods
from ...methods import label_of
from ...models import BACKBONES as MODELS
from ...stats import LEVEL, certain, claims, verdict
from ...stats import mean_std as mean_std_of
from ..figures import COLOURS
from ..scales import Scale
from ..study import MARK, Study, named
from ..tables import mean_std, published
from . import RIVALS, second_choices

DATASETS = {"ml-1m": "movielens", "citeulike": "citeulike", "apps": "apps"}  # our names of data sets → the paper's
BACKBONES = {"mf": "bprmf", "lightgcn": "lightgcn"}
# Our names of methods → the paper's, where they differ.
METHODS = {"none": "student", "de-rrd": "de_rrd", "pd-cd": "pd_cd", "pd-htd": "pd_htd"}

# The paper's word for a set of items → Recall@10 on it, on the paper's scale: beside published figures stands this one.
RECALLS = {"popular": "popular/recall_unkd@10", "unpopular": "unpopular/recall_unkd@10"}

# The paper's table 1 compares these; "none" is the student on its own.
BASELINES = ("teacher", "none", "rd", "cd", "de-rrd", "htd")
COMPARED = (*BASELINES, "unkd")
AUTHORS = "unkd, its authors' settings"
GROUPS = range(1, 9)
FACTORS = (0.25, 1, 4)  # times a method's weight, in the synthetic worlds
# A debiased teacher's student with the settings that were chosen for the plain teacher's
MATCHED = {"pd-cd, CD's settings": ("pd-cd", "cd"), "pd-htd, HTD's settings": ("pd-htd", "htd")}
# What UnKD's released code makes of DE-RRD, one by one (methods.DERRD.as_released)
FAULTS = {"sigmoid": ("sigmoid",), "one draw": ("redraw",), "teacher trained along": ("train_teacher",),
          "ReLU at the end, T = 10": ("relu", "anneal")}
RELEASED = "de-rrd, all of these, λ = 1"


# ------------------------------------------------------------------------------------------------------------ studies

def bias(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 1: the methods of before UnKD, on MF."""
    return Study({method: [run for name in datasets for run in scale.runs(name, [method])] for method in BASELINES})


def comparison(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 2: all methods, on MF with every seed and, but for the rivals, on LightGCN with few; and UnKD at its
    authors' settings."""
    groups = {method: [run for name in datasets for run in (
        *scale.runs(name, [method]), *scale.runs(name, [method], "lightgcn", few=True))] for method in COMPARED}
    groups |= {AUTHORS: [run for name in datasets for run in scale.published(name, "unkd")]}
    return Study(groups | {method: [run for name in datasets for run in scale.runs(name, [method])]
                           for method in RIVALS})


def in_worlds(scale: Scale, methods: Sequence[str]) -> Study:
    """Methods in synthetic worlds, where affinity and popularity are known apart, a training in each; distillations at
    several times their weight, "METHOD × FACTOR"."""
    def runs(method, **of):
        return [replace(run, seed=n, split_seed=n) for n in range(scale.worlds)
                for run in scale.runs("synthetic-world", [method], split="affinity", **of)[:1]]

    groups = {method: runs(method) for method in methods if not runs(method)[0].distils}
    return Study(groups | {f"{method} × {factor}": runs(method, weight=factor * runs(method)[0].weight)
                           for method in methods if method not in groups for factor in FACTORS})


def bias_in_worlds(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 1's worlds."""
    return in_worlds(scale, BASELINES)


def comparison_in_worlds(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 2's worlds: the same, and UnKD."""
    return in_worlds(scale, COMPARED)


def ablations(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 3: UnKD's settings one by one and at its authors', debiased teachers, each method's choice for the tail,
    and DE-RRD as UnKD's released code has it, fault by fault. All but the debiased teachers is on the first data
    set."""
    first = datasets[0]

    def few(method, **of):
        return scale.runs(first, [method], few=True, **of)

    unkd, released = few("unkd")[0], methods.DERRD.as_released
    groups = bias(scale, datasets).groups
    groups |= {method: [run for name in datasets for run in scale.runs(name, [method])]
               for method in ("unkd", "pd", "pd-cd", "pd-htd", "rrd")}
    groups |= {label: [replace(run, method=debiased) for run in groups[method]]
               for label, (debiased, method) in MATCHED.items()}
    groups |= {AUTHORS: scale.published(first, "unkd")}
    groups |= {f"K = {k}": few("unkd", settings={"groups": k}) for k in GROUPS}
    groups |= {f"λ × {factor}": few("unkd", weight=factor * unkd.weight) for factor in FACTORS}
    groups |= {f"μ = {mu}": few("unkd", settings={"mu": mu}) for mu in sorted({5.0, 20.0, dict(unkd.settings)["mu"]})}
    groups |= {f"de-rrd, {fault}": few("de-rrd", settings={name: released[name] for name in names})
               for fault, names in FAULTS.items()}
    groups |= {"de-rrd, all of these": few("de-rrd", settings=released),
               RELEASED: few("de-rrd", settings=released, weight=1.0)}
    return Study(groups | second_choices(scale, first, (*COMPARED[1:], "rrd")))


# ------------------------------------------------------------------------------------------------------------- tables

def world_effects(results: Study) -> pd.DataFrame:
    """How much of the scores is affinity, how much popularity, of a study in synthetic worlds, a row each: "model",
    "seed", synthetic.probe's "affinity" (PEM), "popularity" (PEZ) and "bias", and "recall@10"."""
    rows = []
    for label, group in results.results.items():
        method, times, factor = label.partition(" × ")
        for r in group:
            rows.append({"model": label_of(method) + times + factor, "seed": r.run.seed, **r.effects,
                         "recall@10": r.metrics["recall@10"]})
    return pd.DataFrame(rows)


def world_summary(effects: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds of ``world_effects``: rows models, columns "affinity-mean", …"""
    summary = effects.drop(columns="seed").groupby("model", sort=False).agg(["mean", "std"])
    return summary.set_axis(["-".join(column) for column in summary.columns], axis=1)


def world_claims(effects: pd.DataFrame, *statements: tuple[str, str, str, str]) -> pd.DataFrame:
    """What becomes of claims on rows of ``world_effects``, over seeds (stats.claims): ("popularity", "UnKD", "below",
    "CD") for example, a column and two models' names. Index: effect, method, is, than."""
    by_seed = effects.set_index(["model", "seed"])

    def differences(effect, ours, theirs):
        return (by_seed.loc[ours, effect] - by_seed.loc[theirs, effect]).dropna().to_numpy()[:, None]

    return claims({(effect, ours, direction, theirs): differences(effect, ours, theirs)
                   for effect, ours, direction, theirs in statements}, ("effect", "method", "is", "than"))


def larger_effect(effects: pd.DataFrame, effect: str, model: str, rival: str) -> str:
    """stats.verdict's line: has "affinity" or "popularity" more effect on a model's scores than on a rival's? (Goes as
    soon as no notebook calls it any more.)"""
    of = effects.set_index("model")[effect]
    path = {"affinity": "PEM", "popularity": "PEZ"}[effect]
    return verdict(f"{effect}'s effect ({path}) larger on {model}'s scores than on {rival}'s", of[[model]], of[[rival]])


def table1(frame: pd.DataFrame) -> pd.DataFrame:
    """UnKD's Table 1 of a tidy frame: Recall@10 on popular and unpopular items (RECALLS), and overall, the published
    row under ours where the data set is the paper's. Index: dataset, items, source; columns: methods."""
    rows = {}
    paper = published("unkd_table1").set_index(["dataset", "group"])
    for dataset, part in frame.groupby("dataset", sort=False):
        for group, metric in (RECALLS | {"all": "recall@10"}).items():
            ours = mean_std(part, [metric]).iloc[0]
            rows[dataset, group, "ours"] = ours
            if (key := (DATASETS.get(dataset), group)) in paper.index:
                row = paper.loc[key].map("{:.4f}".format).rename(ours_of)
                rows[dataset, group, "published"] = row.reindex(ours.index, fill_value="")
    return pd.DataFrame(rows).T.rename_axis(["dataset", "items", "source"])


def table2(facts: dict[str, dict]) -> pd.DataFrame:
    """UnKD's Table 2 of rkd.statistics by data set: users, items, interactions, sparsity, ours and published."""
    paper = published("unkd_table2").set_index("dataset")
    rows = {}
    for dataset, values in facts.items():
        rows[dataset, "ours"] = [values[name] for name in paper.columns]
        if DATASETS.get(dataset) in paper.index:
            rows[dataset, "published"] = paper.loc[DATASETS[dataset]].tolist()
    table = pd.DataFrame(rows, index=paper.columns).T.rename_axis(["dataset", "source"])
    return table.astype(dict.fromkeys(paper.columns[:3], int))


def ours_of(name: str) -> str:
    """A method's name in the paper's tables → ours in tables."""
    return label_of({theirs: ours for ours, theirs in METHODS.items()}.get(name, name))


def published_table1(dataset: str) -> pd.DataFrame:
    """The paper's Table 1 for one of its data sets: rows groups of items, columns methods."""
    return published("unkd_table1").set_index(["dataset", "group"]).loc[dataset].rename(columns=ours_of)


MARK_MEANS = (f"{MARK} certainly other than UnKD's: over the seeds that both have and the users (over the users alone "
              f"where that is one seed), Holm-corrected over the whole table, p < {LEVEL}.")


def table3(results: Study, metrics=("recall@10", "ndcg@10")) -> pd.DataFrame:
    """UnKD's Table 3: "mean ± std" of each metric by data set, method and backbone, marked where UnKD's differs
    (MARK_MEANS), and the published figures where the data set and the method are the paper's."""
    return _by_backbone(results, metrics, published("unkd_table3"), {"recall@10": "recall", "ndcg@10": "ndcg"})


def table4(results: Study) -> pd.DataFrame:
    """UnKD's Table 4: Recall@10 overall and on both halves (RECALLS), against distillations of debiased teachers; as
    table 3."""
    metrics = {"recall@10": "overall"} | {metric: items for items, metric in RECALLS.items()}
    paper = published("unkd_table4").melt(["backbone", "method"])
    paper[["dataset", "column"]] = paper["variable"].str.split("_", expand=True).to_numpy()
    wide = paper.assign(column=paper["backbone"] + "_" + paper["column"]).pivot_table(
        "value", ["dataset", "method"], "column").reset_index()
    return _by_backbone(results, tuple(metrics), wide, metrics)


def _by_backbone(results: Study, metrics: Sequence[str], paper: pd.DataFrame,
                 column_of: dict[str, str]) -> pd.DataFrame:
    """Rows dataset and method; columns backbone, metric, and "ours" or "published"."""
    paper = paper.set_index(["dataset", "method"])
    by_method = _by_method(results)
    marked = certain(by_method.claims(("unkd", "above", list(by_method.results), metrics)))
    cells, rows = {}, {}
    for dataset, backbone in dict.fromkeys((r.run.dataset, r.run.backbone) for r in results):
        part = _by_method(results.where(dataset=dataset, backbone=backbone)).results
        for metric, (method, found) in product(metrics, part.items()):
            row, column = (dataset, method), (MODELS[backbone].label, metric)
            rows[row] = dataset, label_of(found[0].run.method)
            mark = f" {MARK}" if (dataset, *column, "UnKD", "above", named(method)) in marked else ""
            cells.setdefault((*column, "ours"), {})[row] = mean_std_of(
                pd.Series([r.metrics[metric] for r in found])) + mark
            key = (DATASETS.get(dataset), METHODS.get(method, method))
            if key in paper.index:
                value = paper.loc[key, f"{BACKBONES[backbone]}_{column_of[metric]}"]
                cells.setdefault((*column, "published"), {})[row] = f"{value:.4f}"
    table = pd.DataFrame(cells).loc[list(rows)].fillna("")
    table.index = pd.MultiIndex.from_tuples(rows.values(), names=["dataset", "method"])
    return table


def _by_method(results: Study) -> Study:
    """Each result once, in a group for each method."""
    groups = {}
    for r in results:
        groups.setdefault(r.run.name, []).append(r)
    return Study({}, groups)


# ----------------------------------------------------------------------------------------------------------- drawings

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
    order = [label_of(m) for m in frame["method"].unique() if m not in ("none", "teacher")]
    rows = []
    for half in COLOURS:
        recall = frame[frame["metric"] == f"{half}/recall@10"]
        student = recall[recall["method"] == "none"].groupby("dataset")["value"].mean()
        change = recall["value"] / recall["dataset"].map(student) - 1
        rows.append(recall.assign(half=half, change=change, method=recall["method"].map(lambda m: label_of(m))))
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


def world_plane(effects: pd.DataFrame) -> Figure:
    """The rows of ``world_effects`` in the plane of affinity and popularity."""
    figure, axis = plt.subplots(figsize=(6, 4))
    order = effects["model"].unique()
    sns.scatterplot(effects, x="affinity", y="popularity", hue="model", style="model", hue_order=order,
                    style_order=order, s=110, ax=axis)
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


def drawn_pairs(popularity: Tensor, scores: Tensor, group: Tensor, unseen: Tensor, better: Tensor,
                worse: Tensor) -> Figure:
    """UnKD's Figure 4 on a real user: the unseen items by popularity and teacher's score, coloured by group, and the
    pairs drawn, each from its better item (a triangle) to the worse.

    popularity, scores, group [n_items]; unseen: ids of items; better, worse [P]: ids of those drawn.
    """
    figure, axis = plt.subplots(figsize=(9, 4.2))
    colours = sns.color_palette("viridis", int(group.max()) + 1)
    for g, colour in enumerate(colours):
        items = unseen[group[unseen] == g]
        axis.scatter(popularity[items], scores[items], s=9, color=colour, alpha=0.5, linewidths=0)
        b, w = better[group[better] == g], worse[group[better] == g]
        axis.plot([popularity[b].numpy(), popularity[w].numpy()], [scores[b].numpy(), scores[w].numpy()], color=colour,
                  linewidth=1.3)
        axis.scatter(popularity[b], scores[b], marker="^", s=45, color=colour, edgecolors="black", linewidths=0.6,
                     zorder=3, label=f"{g + 1}")
    axis.set(xlabel="training interactions of the item", ylabel="teacher's score for this user", xscale="symlog")
    axis.legend(title="group", loc="upper left", bbox_to_anchor=(1, 1))
    return figure

"""What knows MKD's paper: its studies and drawings, all on the scale's mkd_split of the first data set.

(Zhu & Zhang, arXiv 2311.04549)
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ... import methods, stats
from ...run import Run
from ...store import Result
from ..figures import COLOURS
from ..scales import Scale
from ..study import Study
from . import RIVALS

PARTS = ("nkd", "cpd", "sld")
# label → the parts that are on
COMBINATIONS = {"none": ()} | {" + ".join(part.upper() for part in on) + " alone" * (n == 1): on
                               for n in (1, 2, 3) for on in combinations(PARTS, n)}
COMPARED = ("teacher", "none", "rd", "cd", "de", "htd", "de-rrd", "unkd", *RIVALS, *PARTS, "mkd")
FACTORS = (0.25, 1, 4)  # times each weight
SIZES = (10, 20, 50, 100)


# ------------------------------------------------------------------------------------------------------------ studies

def tuned_run(scale: Scale, datasets: Sequence[str], method: str) -> Run:
    """A run of a method as tuned for MKD's split."""
    return scale.runs(datasets[0], [method], split=scale.mkd_split, few=True)[0]


def _runner(scale: Scale, datasets: Sequence[str], default: str):
    """runs(method=default, few=True, …): a method's runs on MKD's split of the first data set; sweep(setting, name,
    values): label → runs with one setting at each value, and as tuned."""
    def runs(method=default, few=True, **of):
        return scale.runs(datasets[0], [method], split=scale.mkd_split, few=few, **of)

    tuned = dict(runs()[0].settings)

    def sweep(setting, name, values):
        own = tuned[name]
        return {f"{setting} = {value}": runs(few=value != own, settings={name: value})
                for value in sorted({*values, own})}

    return runs, sweep, tuned


def nkd(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 4: NKD, and what differs from it in the one thing that the label says. No mixing, with which mixing is
    compared, has every seed."""
    runs, sweep, tuned = _runner(scale, datasets, "nkd")
    groups = {"teacher": runs("teacher", few=False), "none": runs("none", few=False), "NKD": runs(few=False),
              "no mixing": runs(few=False, settings={"mix": "none"}),
              "the other mix": runs(settings={"mix": "hard" if tuned["mix"] == "soft" else "soft"}),
              "users only": runs(settings={"on": "users"}), "items only": runs(settings={"on": "items"})}
    groups |= {f"LightGCN, {label}": runs(method, backbone="lightgcn") for label, method in
               (("Teacher", "teacher"), ("Student", "none"), ("NKD", "nkd"))}
    groups["LightGCN, NKD of the input"] = runs(backbone="lightgcn", settings={"layer": "input"})
    return Study(groups | sweep("N", "k", (1, 5, 20, 40)) | sweep("α", "alpha", (0.3, 0.5, 0.7, 0.9)))


def cpd(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 5: CPD, and what differs from it in the one thing that the label says. Neither regulariser, with which
    both are compared, has every seed."""
    runs, *_ = _runner(scale, datasets, "cpd")
    return Study({"teacher": runs("teacher", few=False), "none": runs("none", few=False),
                  "CPD (both)": runs(few=False),
                  "neither": runs(few=False, settings={"pairwise": 0.0, "listwise": 0.0}),
                  "pair-wise only": runs(settings={"listwise": 0.0}),
                  "list-wise only": runs(settings={"pairwise": 0.0}),
                  "random lists": runs(settings={"sampling": "random"}),
                  "products": runs(settings={"normalised": False})})


def sld(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 6: SLD, its other two readings, hard labels and another's soft ones, and γ and τ one by one."""
    runs, sweep, _ = _runner(scale, datasets, "sld")
    groups = {method: runs(method, few=False) for method in ("teacher", "none", "rrd", "rrd-top", "rce-kd", "sld")}
    groups |= {reading: runs(few=False, settings=settings) for reading, settings in methods.SLD.readings.items()}
    return Study(groups | sweep("γ", "gamma", (0.5, 0.75, 1.0)) | sweep("τ", "tau", (0.25, 0.5, 1.0, 2.0)))


def mkd(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 7: MKD against everything, sizes, weights, and on LightGCN all combinations of its parts, with MKD's
    settings but for NKD's layer: there input and intermediate layer are not the same embeddings."""
    runs, _, tuned = _runner(scale, datasets, "mkd")

    def on_lightgcn(method, **of):
        return scale.runs(datasets[0], [method], "lightgcn", few=True, split=scale.mkd_split, **of)

    groups = {method: runs(method, few=False) for method in COMPARED}
    groups |= {f"{method}, d = {dim}": runs(method, few=dim != scale.student_dim, dim=dim)
               for method in ("none", "mkd") for dim in sizes(scale)}
    groups |= {f"{part} × {factor}": runs(few=factor != 1, settings={part: tuned[part] * factor})
               for part in PARTS for factor in FACTORS}
    own = dict(on_lightgcn("mkd")[0].settings)
    groups |= {f"LightGCN {method}": on_lightgcn(method) for method in ("teacher", "none", "rrd", *PARTS, "mkd")}
    return Study(groups | {f"LightGCN {label}": on_lightgcn("mkd", settings={"layer": "input"} | {
        part: own[part] if part in on else 0.0 for part in PARTS}) for label, on in COMBINATIONS.items() if on})


def sizes(scale: Scale) -> list[int]:
    """The students' dimensions that are compared, up to the teacher's."""
    return [dim for dim in SIZES if dim < scale.teacher_dim] + [scale.teacher_dim]


def lightgcn(study: Study) -> Study:
    """The groups of ``mkd`` on LightGCN, by their labels without that word."""
    def of(groups):
        return {label.removeprefix("LightGCN "): group for label, group in groups.items() if "LightGCN " in label}

    return Study(of(study.groups), of(study.results))


# ------------------------------------------------------------------------------------------------------------- tables

PAIRS = {"all pairs": None, "first tenth": 0, "second tenth": 1}  # within which tenth of the teacher's ranking
AFTER = {"cosines": "cosine_inconsistency", "products": "inconsistency"}  # what scores after the projection → history


def discordance(result: Result, after: str = "cosines") -> np.ndarray:
    """The share of discordant pairs by tenths of the teacher's ranking, [10, 10], with the model that was kept."""
    return np.array(kept(result)[f"{AFTER[after]}_by_rank"])


def with_discordance(study: Study) -> Study:
    """A computed study whose results of CPD have further metrics, such as "cosines, first tenth": the share of pairs
    that are discordant between the scores before the projection and after it, with the model that was kept."""
    def measured(result):
        if AFTER["cosines"] not in kept(result):
            return result
        return replace(result, metrics=result.metrics | {
            f"{after}, {pairs}": kept(result)[name] if tenth is None else discordance(result, after)[tenth, tenth]
            for after, name in AFTER.items() for pairs, tenth in PAIRS.items()})

    return Study(study.groups, {label: list(map(measured, group)) for label, group in study.results.items()})


def kept(result: Result) -> dict:
    """What the history says of the epoch whose model was kept."""
    return next(row for row in result.history if row["epoch"] == result.best_epoch)


def gains(study: Study, part: str, metric: str = "ndcg@10") -> dict[str, np.ndarray]:
    """What a part adds to a metric on top of each combination without it: label → differences [seeds, users]."""
    label_of = {frozenset(on): label for label, on in COMBINATIONS.items()}
    return {label: stats.differences(study[label_of[frozenset({part, *on})]], study[label], metric)
            for label, on in COMBINATIONS.items() if part not in on}


def additions(study: Study, metrics: Sequence[str]) -> pd.DataFrame:
    """stats.claims that each part adds to each metric: on average over the combinations without it, and on top of the
    other two. Index: metric, method, is, than."""
    found = {}
    for metric in metrics:
        for part in PARTS:
            *_, others = added = gains(study, part, metric)
            found[metric, f"with {part.upper()}, on average,", "above", "without"] = np.mean([*added.values()], 0)
            found[metric, "all three", "above", others] = added[others]
    return stats.claims(found, ("metric", "method", "is", "than"))


# ----------------------------------------------------------------------------------------------------------- drawings

def mixing(points: np.ndarray, explained: Sequence[float], own: int, neighbours: np.ndarray,
           mixtures: dict[str, np.ndarray]) -> Figure:
    """NKD on a picture, a panel for each way to mix: points [n, 2] along two directions, the share of the variance that
    each of them explains, the entity ``own`` and its neighbours among the points, and what became of it when mixed,
    [m, 2] for each name in ``mixtures``."""
    figure, axes = plt.subplots(1, len(mixtures), figsize=(4.6 * len(mixtures), 4), squeeze=False, sharex=True,
                                sharey=True, layout="constrained")
    near = np.concatenate([points[neighbours], *mixtures.values(), points[[own]]])
    low, high = near.min(0), near.max(0)
    margin = 0.15 * (high - low).max()
    for axis, (name, mixed) in zip(axes[0], mixtures.items()):
        axis.scatter(*points.T, s=6, color="grey", linewidths=0, rasterized=True, label="other items")
        axis.scatter(*mixed.T, s=14, color=COLOURS["popular"], marker="x", linewidths=0.8, label="mixed")
        axis.scatter(*points[neighbours].T, s=60, color=COLOURS["unpopular"], marker="^", label="its neighbours")
        axis.scatter(*points[own], s=110, color="black", marker="*", label="the item")
        axis.set(title=name, xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin),
                 xlabel=f"first direction ({explained[0]:.0%} of the variance)")
    axes[0, 0].set_ylabel(f"second direction ({explained[1]:.0%})")
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def discordant(maps: dict[str, np.ndarray]) -> Figure:
    """Shares of discordant pairs, two matrices [G, G] by groups of a ranking, the best first, in percent, and what the
    second has more than the first. As they are symmetric, one triangle each."""
    (first, a), (second, b) = maps.items()
    panels = {first: 100 * a, second: 100 * b, f"{second} − {first}": 100 * (b - a)}
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.6), sharey=True, layout="constrained")
    most, change = max(100 * a.max(), 100 * b.max()), max(abs(panels[f"{second} − {first}"]).max(), 1)
    for axis, (title, values) in zip(axes, panels.items()):
        differs = axis is axes[-1]
        groups = range(1, len(values) + 1)
        sns.heatmap(values, mask=np.triu(np.ones_like(values), 1) > 0, annot=True, fmt="+.0f" if differs else ".0f",
                    annot_kws={"size": 8}, cmap="vlag" if differs else "rocket_r", vmin=-change if differs else 0,
                    vmax=change if differs else most, square=True, cbar=False, ax=axis, xticklabels=groups,
                    yticklabels=groups)
        axis.set(title=title, xlabel="tenth of the teacher's ranking")
        axis.tick_params(axis="y", rotation=0)
        axis.grid(visible=False)
    axes[0].set_ylabel("tenth of the teacher's ranking")
    return figure


def labels(scores: np.ndarray, distributions: dict[str, np.ndarray], label: str) -> Figure:
    """Soft labels of one user's list, a panel for each name: a dot for each item, in the order of scores [L]; in grey,
    the first panel's."""
    figure, axes = plt.subplots(1, len(distributions), figsize=(3.1 * len(distributions), 3), squeeze=False,
                                sharex=True, sharey=True, layout="constrained")
    order, (first, *_) = np.argsort(-scores), distributions.values()
    place = np.arange(1, len(order) + 1)
    for axis, (name, p) in zip(axes[0], distributions.items()):
        if p is not first:
            axis.plot(place, first[order], ".", color="silver", markersize=5)
        axis.plot(place, p[order], "o", color="black", markersize=4, label=name)
        axis.set(title=name)
    axes[0, 0].set_ylabel("probability")
    figure.supxlabel(label, fontsize=11)
    return figure

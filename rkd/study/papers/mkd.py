"""What knows MKD's paper: its studies and drawings, all on MKD's split of the first data set.

(Zhu & Zhang, arXiv 2311.04549)
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...run import Run
from ..figures import COLOURS
from ..scales import Scale
from ..study import Study

PARTS = ("nkd", "cpd", "sld")
SUBSETS = {" + ".join(part.upper() for part in on): on for on in (("nkd", "cpd"), ("nkd", "sld"), ("cpd", "sld"))}
# label → the parts that are on
COMBINATIONS = {"none": ()} | {part: (part,) for part in PARTS} | SUBSETS | {"mkd": PARTS}
COMPARED = ("teacher", "none", "rd", "cd", "de", "htd", "rrd", "de-rrd", "unkd", "nkd", "cpd", "sld", "mkd")
FEW = ("rd", "cd", "de", "htd")  # of these, with few seeds
FACTORS = (0.25, 1, 4)  # times each weight
SHORT = 100  # epochs at most, of the sweeps over sizes and weights


# ------------------------------------------------------------------------------------------------------------ studies

def tuned_run(scale: Scale, datasets: Sequence[str], method: str) -> Run:
    """A run of a method as tuned for MKD's split."""
    return scale.runs(datasets[0], [method], split="ratio", few=True)[0]


def _runner(scale: Scale, datasets: Sequence[str], default: str):
    """runs(method=default, few=True, …): a method's runs on MKD's split of the first data set."""
    def runs(method=default, few=True, **of):
        return scale.runs(datasets[0], [method], split="ratio", few=few, **of)

    return runs, dict(runs()[0].settings)


def nkd(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 4: NKD, and what differs from it in the one thing that the label says."""
    runs, tuned = _runner(scale, datasets, "nkd")
    groups = {"teacher": runs("teacher", few=False), "plain student": runs("none", few=False), "NKD": runs(few=False),
              "no mixing": runs(few=False, settings={"mix": "none"}),
              "the other mix": runs(settings={"mix": "hard" if tuned["mix"] == "soft" else "soft"}),
              "users only": runs(settings={"on": "users"}), "items only": runs(settings={"on": "items"})}
    groups |= {f"K = {k}": runs(settings={"k": k}) for k in sorted({1, 5, 20, tuned["k"]})}
    return Study(groups | {f"α = {alpha}": runs(settings={"alpha": alpha})
                           for alpha in sorted({0.25, 0.5, 0.75, tuned["alpha"]})})


def cpd(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 5: CPD, and what differs from it in the one thing that the label says."""
    runs, _ = _runner(scale, datasets, "cpd")
    return Study({"teacher": runs("teacher", few=False), "plain student": runs("none", few=False),
                  "CPD (both)": runs(few=False),
                  "neither": runs(few=False, settings={"pairwise": 0.0, "listwise": 0.0}),
                  "pair-wise only": runs(settings={"listwise": 0.0}),
                  "list-wise only": runs(settings={"pairwise": 0.0}),
                  "random lists": runs(settings={"sampling": "random"})})


def sld(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 6: SLD, hard labels (RRD), and SLD's settings one by one."""
    runs, tuned = _runner(scale, datasets, "sld")
    groups = {"teacher": runs("teacher", few=False), "plain student": runs("none", few=False),
              "hard labels (RRD)": runs("rrd", few=False), "SLD": runs(few=False)}
    groups |= {f"γ = {gamma}": runs(settings={"gamma": gamma})
               for gamma in sorted({0.25, 0.5, 0.75, 1.0, tuned["gamma"]})}
    return Study(groups | {f"τ = {tau}": runs(settings={"tau": tau})
                           for tau in sorted({0.25, 0.5, 1.0, 2.0, tuned["tau"]})})


def mkd(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 7: MKD against everything, pairs of its parts, sizes, weights, and LightGCN."""
    runs, tuned = _runner(scale, datasets, "mkd")

    def sized(method, dim):
        return runs(method, epochs=SHORT, dim=dim)

    groups = {method: runs(method, few=method in FEW) for method in COMPARED}
    groups |= {label: runs(settings={part: tuned[part] if part in on else 0.0 for part in PARTS})
               for label, on in SUBSETS.items()}
    groups |= {f"{method} d={dim}": sized(method, dim) for method in ("none", "mkd") for dim in sizes(scale)}
    groups |= {f"{part} × {factor}": runs(settings={part: tuned[part] * factor}, epochs=SHORT)
               for part in PARTS for factor in FACTORS}
    return Study(groups | {f"LightGCN {method}": scale.runs(datasets[0], [method], "lightgcn", few=True, split="ratio")
                           for method in ("teacher", "none", "rrd", *PARTS, "mkd")})


def sizes(scale: Scale) -> list[int]:
    """The students' dimensions that are compared: those below the teacher's."""
    return [dim for dim in (5, 10, 20, 50) if dim < scale.teacher_dim]


# ------------------------------------------------------------------------------------------------------------- tables

def gains(study: Study, part: str, metric: str = "ndcg@10") -> pd.Series:
    """What a part adds to a metric on top of each combination without it, with the seeds that all have: label →
    gain."""
    seeds = set.intersection(*({r.run.seed for r in study[label]} for label in COMBINATIONS))
    level = {frozenset(on): np.mean([r.metrics[metric] for r in study[label] if r.run.seed in seeds])
             for label, on in COMBINATIONS.items()}
    return pd.Series({label: level[frozenset(on) | {part}] - level[frozenset(on)]
                      for label, on in COMBINATIONS.items() if part not in on})


# ----------------------------------------------------------------------------------------------------------- drawings

def mixing(points: np.ndarray, own: int, neighbours: np.ndarray, mixtures: dict[str, np.ndarray]) -> Figure:
    """NKD on a picture, a panel for each way to mix: points [n, 2], the entity ``own`` and its neighbours among them,
    and what became of it when mixed, [m, 2] for each name in ``mixtures``."""
    figure, axes = plt.subplots(1, len(mixtures), figsize=(4.6 * len(mixtures), 4), squeeze=False, sharex=True,
                                sharey=True)
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


def labels(scores: np.ndarray, distributions: dict[str, np.ndarray], label: str) -> Figure:
    """Soft labels of one user's list: scores [L] that order the items, and a line of probabilities [L] for each
    name."""
    figure, axis = plt.subplots(figsize=(8, 3.6))
    order = np.argsort(-scores)
    for name, p in distributions.items():
        axis.plot(np.arange(1, len(order) + 1), p[order], marker="o", markersize=4, label=name)
    axis.set(xlabel=label, ylabel="probability")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure

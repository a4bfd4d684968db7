"""UnKD and MKD under one protocol, UnKD's, and both ideas at once: the study of neither paper."""

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...stats import interval
from ..figures import Looks, looks
from ..scales import Scale
from ..study import Study, named
from . import RIVALS, second_choices, varied

COMPARED = ("teacher", "none", "rd", "cd", "de-rrd", "htd", *RIVALS, "unkd", "nkd", "cpd", "sld", "mkd",
            "stratified-sld", "stratified-mkd")
STRATA, TAUS = range(1, 6), (0.5, 1.0, 2.0)


# ------------------------------------------------------------------------------------------------------------ studies

def head_to_head(scale: Scale, datasets: Sequence[str]) -> Study:
    """Notebook 8: every method with both choices of its settings, strata and temperatures."""
    first = datasets[0]
    groups = {method: scale.runs(first, [method]) for method in COMPARED}
    groups |= second_choices(scale, first, COMPARED[1:])
    groups |= {f"K = {k}": varied(scale, first, "stratified-sld", settings={"groups": k}) for k in STRATA}
    return Study(groups | {f"τ = {tau}": varied(scale, first, "sld", settings={"tau": tau}) for tau in TAUS})


# ------------------------------------------------------------------------------------------------------------- tables

def cost(study: Study, labels: Iterable[str], unit: str = "none") -> pd.DataFrame:
    """What training costs, the median over the runs of each group (rows, by name): "seconds / epoch", the "least" and
    the "most" of them, "× Student", the ratio to the group ``unit``, "epochs" trained, and "seconds" in all."""
    runs = {label: pd.DataFrame([(r.seconds_per_epoch, r.epochs, r.seconds) for r in study[label]])
            for label in {*labels, unit}}
    of_unit = runs[unit][0].median()
    return pd.DataFrame({named(label): {
        "seconds / epoch": (each := runs[label][0]).median(), "least": each.min(), "most": each.max(),
        f"× {named(unit)}": each.median() / of_unit, "epochs": runs[label][1].median(),
        "seconds": runs[label][2].median()} for label in labels}).T


def by_decile(study: Study, labels: Iterable[str], less: str | None = None) -> pd.DataFrame:
    """Recall@10 in each tenth of popularity (metrics.decile_recall): rows (label, decile), 1 being the most popular;
    columns "mean", "low" and "high", the 95 % interval over seeds. less: a group to take it off from, seed by seed."""
    tidy = study.tidy()
    tidy["decile"] = tidy["metric"].str.extract(r"^decile (\d+)/recall@10$", expand=False).astype(float)
    values = tidy.dropna(subset=["decile", "value"]).pivot_table("value", ["label", "decile"], "seed")
    if less is not None:
        values = values.sub(values.loc[less], level="decile")
    found = values.loc[list(labels)].apply(lambda row: interval(row.dropna()), axis=1)
    return found.dropna(subset=["mean"])


# ----------------------------------------------------------------------------------------------------------- drawings

def decile_panels(panels: dict[str, pd.DataFrame], of: Looks | None = None) -> Figure:
    """``by_decile``, a panel for each frame, a line and a mark for each label (``of`` its name, by default
    figures.looks), side by side so that bars can be told apart. panels: label of the axis → frame."""
    figure, axes = plt.subplots(1, len(panels), figsize=(5.4 * len(panels), 3.8), squeeze=False, layout="constrained")
    for axis, (title, frame) in zip(axes[0], panels.items()):
        labels = frame.index.unique(0)
        own = of or looks(map(named, labels))
        for label, shift in zip(labels, np.linspace(-0.25, 0.25, len(labels))):
            part, (mark, colour) = frame.loc[label], own[named(label)]
            axis.errorbar(part.index + shift, part["mean"], part["high"] - part["mean"], marker=mark, markersize=5,
                          capsize=2, linewidth=1, color=colour, label=named(label))
        axis.set(xticks=range(1, 11), xlabel="tenth of popularity, the most popular first", ylabel=title)
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure

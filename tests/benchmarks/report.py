"""The benchmark's rows as CSV, as a table in Markdown and as a figure."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Patch
from pandas.api.types import is_numeric_dtype

from rkd.study.figures import use_style
from rkd.study.reproduce import folder

COLOURS = {"rkd": "#3c78a8", "implicit": "#d1793c", "cornac": "#9a9a9a"}
PANELS = ("seconds to quality", "seconds per epoch", "seconds to evaluate")


class Row(NamedTuple):
    dataset: str
    measure: str
    dim: int
    name: str  # a library, or "rkd METHOD"
    value: float  # inf: not reached


def line(row: Row) -> str:
    return f"{row.dataset:10} {row.measure:24} d={row.dim:<4} {row.name:28} {row.value:.4g}"


def side_by_side(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each measurement, a column for each library, and rkd's share of implicit's."""
    peers = frame[frame["name"].isin(COLOURS)]
    table = peers.pivot_table(index=["dataset", "measure", "dim"], columns="name", values="value", sort=False)
    table = table.reindex(columns=[name for name in COLOURS if name in table])
    table["rkd / implicit"] = table["rkd"] / table["implicit"]
    return table.reset_index()


def of_methods(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each distiller: seconds to set up and seconds per epoch."""
    methods = frame[~frame["name"].isin(COLOURS)]
    table = methods.pivot_table(index=["dataset", "name", "dim"], columns="measure", values="value", sort=False)
    return table.reset_index()


def markdown(rows: list[Row], machine: str) -> str:
    """Both tables, under the machine that they come from."""
    frame = pd.DataFrame(rows)
    tables = [table for table in (side_by_side(frame), of_methods(frame)) if len(table)]
    text = [table.map(_cell).to_markdown(index=False, disable_numparse=True, colalign=_align(table))
            for table in tables]
    return "\n\n".join([f"{machine}.", *text]) + "\n"


def _cell(value) -> str:
    if not isinstance(value, float):
        return str(value)
    if np.isnan(value):
        return ""
    return "not reached" if np.isinf(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _align(table: pd.DataFrame) -> list[str]:
    return ["right" if is_numeric_dtype(kind) else "left" for kind in table.dtypes]


def figure(rows: list[Row], machine: str):
    """Bars of each library's seconds, a panel for each of PANELS."""
    use_style()
    table = side_by_side(pd.DataFrame(rows))
    drawing, axes = plt.subplots(1, len(PANELS), figsize=(15, 4.2), layout="constrained")
    for axis, measure in zip(axes, PANELS):
        part = table[table["measure"] == measure]
        if part.empty:
            continue
        names = [name for name in COLOURS if name in part and part[name].notna().any()]
        place = np.arange(len(part))
        for i, name in enumerate(names):
            values = part[name].where(np.isfinite(part[name]))
            bars = axis.bar(place + (i - (len(names) - 1) / 2) * 0.27, values, 0.25, color=COLOURS[name])
            axis.bar_label(bars, [_cell(value) for value in part[name]], padding=3, fontsize=8, rotation=90)
        axis.set(title=measure, yscale="log", xticks=place,
                 xticklabels=[f"{row.dataset}\nd = {row.dim}" for row in part.itertuples()])
        axis.set_ylim(top=axis.get_ylim()[1] * 2)  # room for the labels
        axis.tick_params(axis="x", labelsize=8)
        axis.grid(axis="x", visible=False)
    drawing.legend(handles=[Patch(color=colour, label=name) for name, colour in COLOURS.items()],
                   loc="outside right upper")
    drawing.supxlabel(machine, fontsize=8)
    return drawing


def write(rows: list[Row], machine: str) -> None:
    place = folder("")
    pd.DataFrame(rows).to_csv(place / "benchmark.csv", index=False)
    (place / "benchmark.md").write_text(markdown(rows, machine), encoding="utf-8")
    figure(rows, machine).savefig(place / "benchmark.png")

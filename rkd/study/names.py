"""Names beside points of a figure, where there is room."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

GAPS = (4, 10, 18, 28, 40, 54, 70)  # points between a mark and its name that are tried, the nearest first
ANGLES = np.pi * np.array([1, 0, 7, 2, 6, 3, 5, 4]) / 4  # on which side, the best first
MARK, LEADER = 5, 10  # half a mark's width; from which gap on a line leads to the name: points


def beside(axis: Axes, names: Sequence[str], places: np.ndarray, marks: np.ndarray) -> list[Annotation]:
    """Write names [n] at places [n, 2] of an axis, each where it covers the least of the marks [m, 2], of the names
    written before and of what is outside the axis, and then nearest. Those with the most marks around come first. The
    axis' limits must stand."""
    figure = axis.figure
    figure.draw_without_rendering()
    unit = figure.dpi / 72  # pixels of a point
    own, others = (axis.transData.transform(x) / unit for x in (places, marks))
    taken = [np.hstack([others - MARK, others + MARK])]  # boxes [*, 4]: left, bottom, right, top
    inside = axis.bbox.extents[None] / unit
    crowd = (np.linalg.norm(own[:, None] - others, axis=2) < GAPS[-1]).sum(1)
    found = [None] * len(names)
    for n in np.argsort(-crowd, kind="stable"):
        text = axis.annotate(names[n], places[n], (0, 0), textcoords="offset points", ha="center", va="center",
                             fontsize=9, zorder=5, path_effects=[withStroke(linewidth=2, foreground="white")])
        extent = text.get_window_extent()
        half = np.array([extent.width, extent.height]) / unit / 2
        ways = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)  # [angles, 2]
        moved = np.concatenate([ways.round(9) * (MARK + gap + half) for gap in GAPS])  # [gaps · angles, 2]
        boxes = np.hstack([own[n] + moved - half, own[n] + moved + half])
        covered = _shared(boxes, np.concatenate(taken)).sum(1) + _area(boxes) - _shared(boxes, inside)[:, 0]
        best = covered.argmin()  # of equal ones the first, which is the nearest
        text.set_position(moved[best])
        if GAPS[best // len(ANGLES)] >= LEADER:
            axis.annotate("", places[n], moved[best], textcoords="offset points", zorder=2,
                          arrowprops={"arrowstyle": "-", "color": "dimgrey", "linewidth": 0.7, "shrinkB": MARK})
        taken.append(boxes[[best]])
        found[n] = text
    return found


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area that each of boxes [n, 4] shares with each of others [m, 4]: [n, m]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (high - low).clip(min=0).prod(2)

"""Names beside points of a figure, where there is room."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

GAPS = (4, 10, 18, 28, 40, 54, 70)  # points between a mark and its name that are tried, the nearest first
ANGLES = np.pi * np.array([2, 0, 14, 4, 12, 6, 10, 8, 1, 15, 3, 13, 5, 11, 7, 9]) / 8  # on which side, the best first
MARK, LEADER = 5, 10  # half a mark's width; from which gap on a line leads to the name: points


def beside(axis: Axes, names: Sequence[str], places: np.ndarray, marks: np.ndarray) -> list[Annotation]:
    """Write names [n] at places [n, 2] of an axis, each where it covers the least of the marks [m, 2], of the names
    written before and of what is outside the axis, with the fewest of these between, and then nearest. Those with
    the most marks around come first. The axis' limits must stand."""
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
        ways = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1).round(9)  # [angles, 2]
        moved = np.concatenate([ways * (MARK + gap + half) for gap in GAPS])  # [gaps · angles, 2]
        to = np.concatenate([ways * (MARK + gap) for gap in GAPS])  # there a line to the name would end
        boxes = np.hstack([own[n] + moved - half, own[n] + moved + half])
        covered = _shared(boxes, np.concatenate(taken)).sum(1) + _area(boxes) - _shared(boxes, inside)[:, 0]
        covered += MARK**2 * _between(own[n], to, np.concatenate(taken))
        best = covered.argmin()  # of equal ones the first, which is the nearest
        text.set_position(moved[best])
        if GAPS[best // len(ANGLES)] >= LEADER:
            axis.annotate("", places[n], to[best], textcoords="offset points", zorder=2,
                          arrowprops={"arrowstyle": "-", "color": "dimgrey", "linewidth": 0.7, "shrinkA": 0,
                                      "shrinkB": MARK})
        taken.append(boxes[[best]])
        found[n] = text
    return found


def _between(start: np.ndarray, to: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How many of boxes [m, 4], but for those that hold the start [2], the ways from there, by to [n, 2], meet."""
    along = start + np.linspace(0, 1, 12)[:, None, None] * to  # [12, n, 2]: the start first
    meets = ((along[:, :, None] > boxes[:, :2]) & (along[:, :, None] < boxes[:, 2:])).all(3)  # [12, n, m]
    return (meets.any(0) & ~meets[0]).sum(1)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area that each of boxes [n, 4] shares with each of others [m, 4]: [n, m]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (high - low).clip(min=0).prod(2)

"""Which settings the search for a method's settings tries (tune.py): the authors', points that fill the ranges evenly,
and points beyond an edge at which the best lie."""

from functools import cache
from math import log

import numpy as np
from scipy.stats import qmc

from .methods import Distiller, Method, method_of
from .tuned import PAPERS

RANGES = {"lr": (1e-3, 5e-2), "l2": (1e-3, 1e-1)}  # drawn log-uniformly, as the weight is from Method.weights
EDGE, BEYOND = 0.1, 4  # the outer tenth of a range, in logarithms; the factor by which a choice there extends it
LARGE_BATCH = 8192
DIMS = 16  # of the design: lr, l2, weight and so many own settings as any method has
SEED = 1000


def ranges_of(method: str | type[Method]) -> dict[str, tuple[float, float]]:
    """The ranges of lr, l2 and, of a distillation, its weight."""
    made = method_of(method)
    return RANGES | ({"weight": made.weights} if issubclass(made, Distiller) else {})


def batch_size(method: str | type[Method], backbone: str) -> int:
    """The papers' 2048 for MF's teachers, else 8192: with about twice the learning rate as good a student on
    MovieLens-100K, two to three times as soon, since what a step of distillation costs depends little on the batch. (At
    MF's d = 100 the pairs cost most, and nothing is gained.)"""
    return PAPERS["batch_size"] if backbone == "mf" and method_of(method).teaches else LARGE_BATCH


def design(method: str | type[Method], backbone: str, n: int) -> list[dict]:
    """The first n trials: the authors' settings, where they are known, and points that fill the ranges evenly, in which
    lr, l2, the weight and the method's own settings vary independently of each other. The points' lr and l2 are the
    same for every method."""
    made = method_of(method)
    spans = ranges_of(made) | made.search
    default = PAPERS | {"weight": made.weight} | made.settings()
    default = {name: value for name, value in default.items() if name in {*PAPERS, *spans, *made.published}}
    authors = [("published", default | made.published)] if made.published else []
    drawn = [("drawn", default | {"batch_size": batch_size(method, backbone)} | point)
             for point in _points(spans, ("lr", "l2", "weight", *made.search), n, SEED)]
    return [{"trial": i, "origin": origin} | settings for i, (origin, settings) in enumerate([*authors, *drawn][:n])]


def edges(settings: dict, ranges: dict) -> dict[str, str]:
    """"low" or "high" for each setting that lies in the outer tenth of its range, in logarithms, or outside of it."""
    def place(name):
        low, high = ranges[name]
        return log(settings[name] / low) / log(high / low) if settings[name] else 0.0

    places = {name: place(name) for name in ranges}
    return {name: "low" if at <= EDGE else "high" for name, at in places.items() if not EDGE < at < 1 - EDGE}


def beyond(settings: dict, ranges: dict, n: int, seed: int) -> tuple[dict, list[dict]]:
    """Ranges that go on by a factor of 4 beyond the edges at which settings lie, and n points of them, none of which is
    more than this factor away from these settings."""
    wider = dict(ranges)
    for name, side in edges(settings, ranges).items():
        low, high = ranges[name]
        wider[name] = ((min(low, settings[name] or low) / BEYOND, high) if side == "low" else
                       (low, max(high, settings[name]) * BEYOND))
    best = {name: min(max(settings[name], low), high) for name, (low, high) in wider.items()}
    around = {name: (max(low, best[name] / BEYOND), min(high, best[name] * BEYOND))
              for name, (low, high) in wider.items()}
    return wider, _points(around, tuple(around), n, seed)


def in_words(edge: dict[str, str]) -> str:
    """{"lr": "high", "l2": "low"} → "lr high and l2 low"."""
    return " and ".join(f"{name} {side}" for name, side in edge.items())


def _points(spans: dict, names: tuple[str, ...], n: int, seed: int) -> list[dict]:
    """n points of ranges; names: whose column of the unit cube is which."""
    columns = {name: column for column, name in enumerate(names)}
    return [{name: _value(span, row[columns[name]]) for name, span in spans.items()}
            for row in _unit(n, max(DIMS, len(names)), seed)]


@cache
def _unit(n: int, dims: int, seed: int) -> np.ndarray:
    """n points of the unit cube, in each dimension one in every n-th part, hardly correlated: [n, dims]."""
    return qmc.LatinHypercube(dims, seed=seed, optimization="random-cd").random(n)


def _value(span: list | tuple[float, float], x: float):
    """A number from 0 to 1 as a setting: a list is cut into equal parts, a pair is log-uniform, to two digits."""
    if isinstance(span, list):
        return span[int(x * len(span))]
    return float(f"{span[0] * (span[1] / span[0]) ** x:.2g}")

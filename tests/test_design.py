"""Which settings are tried: evenly, independently of each other, alike for all methods, and beyond an edge."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from rkd import METHODS, Distiller
from rkd.design import RANGES, batch_size, beyond, design, edges, ranges_of
from rkd.methods import check_settings

AUTHORS = {"lr": 0.5, "weight": 7.0, "n_pairs": 12, "mu": 3.0}


@pytest.fixture
def authors(monkeypatch):
    """UnKD with settings that its authors are said to have, one of which is not searched."""
    monkeypatch.setattr(METHODS["unkd"], "published", AUTHORS)


def table(method, n=32, backbone="mf"):
    return pd.DataFrame(design(method, backbone, n))


@pytest.mark.parametrize("method", METHODS)
def test_settings_vary_independently(method, monkeypatch):
    """λ and lr above all: each weight meets many learning rates."""
    monkeypatch.setattr(METHODS[method], "published", {})
    drawn = table(method)
    own = [drawn[name] if isinstance(span, tuple) else drawn[name].map(span.index)
           for name, span in METHODS[method].search.items()]
    columns = [drawn[name] for name in ranges_of(method)] + own
    for first, second in combinations(columns, 2):
        assert abs(spearmanr(first, second).statistic) < 0.3, (first.name, second.name)
    if "weight" in drawn:
        assert abs(spearmanr(drawn["weight"], drawn["lr"]).statistic) < 0.2
        assert abs(spearmanr(drawn["weight"], drawn["l2"]).statistic) < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_points_fill_their_ranges(method, monkeypatch):
    """One in every thirty-second part of a range, in logarithms; each value of a list equally often, to one."""
    monkeypatch.setattr(METHODS[method], "published", {})
    drawn = table(method)
    for name, span in (ranges_of(method) | METHODS[method].search).items():
        if isinstance(span, list):
            counts = drawn[name].value_counts()
            assert set(counts.index) == set(span) and counts.max() - counts.min() <= 1 + len(span) % 2
        else:
            places = np.sort(np.log(drawn[name] / span[0]) / np.log(span[1] / span[0])) * 32
            rounded = 32 * np.log(1.06) / np.log(span[1] / span[0])  # two digits
            assert (places > np.arange(32) - rounded).all() and (places < np.arange(1, 33) + rounded).all()
    check_settings(method, {name: drawn[name].tolist()[0] for name in METHODS[method].search})


def test_all_methods_meet_the_same_lr_and_l2(authors):
    tables = {method: table(method) for method in METHODS}
    common = tables["none"][["lr", "l2"]].to_numpy().tolist()
    for method, drawn in tables.items():
        first = 1 if METHODS[method].published else 0  # the authors' come first
        assert drawn[["lr", "l2"]].to_numpy().tolist()[first:] == common[:32 - first]
        assert drawn["origin"].tolist() == ["published"] * first + ["drawn"] * (32 - first)
    assert METHODS["unkd"].published and not METHODS["none"].published
    assert all(("weight" in drawn) == issubclass(METHODS[method], Distiller) for method, drawn in tables.items())
    assert all(len(drawn) == 32 and drawn["trial"].tolist() == list(range(32)) for drawn in tables.values())


def test_the_authors_settings_are_the_first_trial(authors):
    """What they do not say is as by default, in the papers' batches; what only they set, the others have by default."""
    first, *others = design("unkd", "mf", 5)
    assert first == {"trial": 0, "origin": "published", "lr": 0.5, "l2": 0.01, "batch_size": 2048, "weight": 7.0,
                     "groups": METHODS["unkd"].groups, "n_pairs": 12, "mu": 3.0}
    assert [trial["trial"] for trial in others] == [1, 2, 3, 4]
    assert all(trial.keys() == first.keys() and trial["origin"] == "drawn" for trial in others)
    assert all((trial["n_pairs"], trial["batch_size"]) == (METHODS["unkd"].n_pairs, 8192) for trial in others)
    assert design("unkd", "mf", 1) == [first]
    sizes = [batch_size(*of) for of in (("teacher", "mf"), ("teacher", "lightgcn"), ("cd", "mf"))]
    assert sizes == [2048, 8192, 8192]


@pytest.mark.parametrize("lr, l2, weight, expected", [
    (7e-3, 1e-2, 0.1, {}), (1e-3, 1e-2, 0.1, {"lr": "low"}), (5e-2, 0.1, 0.1, {"lr": "high", "l2": "high"}),
    (1.4e-3, 1.5e-3, 0.0158, {"lr": "low", "l2": "low", "weight": "low"}),  # a tenth of the way: .00148, .00158, .01585
    (1.5e-3, 1.6e-3, 0.0159, {}), (3.3e-2, 6.2e-2, 0.63, {}), (3.4e-2, 6.4e-2, 0.64, dict.fromkeys(
        ("lr", "l2", "weight"), "high")),
    (0.2, 0.0, 1e-4, {"lr": "high", "l2": "low", "weight": "low"}),  # the authors' may lie outside
])
def test_edges(lr, l2, weight, expected):
    ranges = RANGES | {"weight": (0.01, 1.0)}
    assert edges({"lr": lr, "l2": l2, "weight": weight, "groups": 2}, ranges) == expected


def test_beyond_an_edge_by_hand():
    ranges = {"lr": (1e-3, 5e-2), "l2": (1e-3, 0.1), "weight": (0.01, 1.0)}
    wider, points = beyond({"lr": 4e-2, "l2": 0.01, "weight": 0.011}, ranges, 8, 0)
    assert wider == {"lr": (1e-3, 0.2), "l2": (1e-3, 0.1), "weight": (0.0025, 1.0)}
    assert len(points) == 8 and all(point.keys() == ranges.keys() for point in points)
    for name, (low, high) in {"lr": (0.01, 0.16), "l2": (2.5e-3, 0.04), "weight": (0.00275, 0.044)}.items():
        values = [point[name] for point in points]
        assert low * 0.95 <= min(values) < low * 2 and high / 2 < max(values) <= high * 1.05
    wider, points = beyond({"lr": 0.3, "l2": 0.0, "weight": 0.1}, ranges, 4, 0)  # outside of the ranges
    assert wider == {"lr": (1e-3, 1.2), "l2": (2.5e-4, 0.1), "weight": (0.01, 1.0)}
    assert all(0.07 < point["lr"] <= 1.2 and 2.4e-4 < point["l2"] <= 1.05e-3 for point in points)

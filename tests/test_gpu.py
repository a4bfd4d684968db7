"""tests/gpu/measure.py, for which the CPU stands in: it finds what a device does otherwise, and no more than that."""

import importlib.util
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import contract
import numpy as np
import pandas as pd
import pytest

import rkd
from rkd import batch
from rkd.device import resolve_device

spec = importlib.util.spec_from_file_location("gpu_measure", Path(__file__).parent / "gpu" / "measure.py")
measure = importlib.util.module_from_spec(spec)
spec.loader.exec_module(measure)


def figures_of(values) -> pd.DataFrame:
    """(method, place) → a figure of each seed, of one backbone."""
    return pd.DataFrame([{"backbone": "mf", "method": method, "place": place, "figure": value}
                         for (method, place), of_seeds in values.items() for value in of_seeds])


def test_tolerances_by_hand():
    """Standard deviations 1 and 3, so that √5 is the one of both; 0.1; and 0, below the median of the three."""
    found = figures_of({("a", "device"): [9, 10, 11], ("a", "cpu"): [2, 5, 8], ("b", "device"): [0.1, 0.2, 0.3],
                        ("b", "cpu"): [0, 0.1, 0.2], ("c", "device"): [7, 7, 7], ("c", "cpu"): [20, 20, 20]})
    plain, relative = (measure.compared(found, "figure", relative) for relative in (False, True))
    assert plain[["device", "cpu"]].to_numpy().tolist() == pytest.approx(np.array([[10, 5], [0.2, 0.1], [7, 20]]))
    assert plain["tolerance"].tolist() == pytest.approx([5 * 5**0.5, 0.5, 0.5])
    assert relative["tolerance"].tolist() == pytest.approx([5 * 5**0.5, 0.5, 5 * 20 * 5**0.5 / 5])  # √5 / 5, 1 and 0


@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_draws_alone_are_seldom_outside(shared):
    """21 methods of which some move more than others, and with one another: in one table of twenty at most."""
    generator, alarms = np.random.default_rng(0), 0
    for _ in range(100):
        own = np.exp(0.5 * generator.standard_normal(21))
        draws = (shared**0.5 * generator.standard_normal((2, 3, 1))
                 + (1 - shared) ** 0.5 * generator.standard_normal((2, 3, 21))) * own
        table = measure.compared(figures_of({(method, place): draws[p, :, method] for method in range(21)
                                             for p, place in enumerate(("device", "cpu"))}), "figure")
        alarms += ((table["device"] - table["cpu"]).abs() > table["tolerance"]).any()
    assert alarms <= 5


@pytest.mark.skipif(resolve_device("auto").type != "cpu", reason="there is an accelerator to be measured")
def test_what_a_device_does_otherwise_is_found(tmp_path, monkeypatch, untuned):
    """A method on an accelerator's way: all within their tolerances; then a mean is three times what it is there."""
    monkeypatch.setattr(rkd, "METHODS", {name: rkd.METHODS[name] for name in ("teacher", "none", "rd")})
    to = ["--dataset", "synthetic", "--to", str(tmp_path / "gpu.md")]
    assert measure.main(to) == 0
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    assert [line.split(" | ")[:2] for line in lines[4:-2]] == [
        [f"| {backbone}", method] for backbone in ("mf", "lightgcn") for method in ("none", "rd")]
    assert lines[-1].endswith("s in all.") and " 0 outside. " in lines[-1]
    right = batch.weighted_mean

    @contextmanager
    def wrong():
        with ExitStack() as stack:
            stack.enter_context(contract.as_on_a_gpu())
            stack.enter_context(patch.object(batch, "weighted_mean", lambda *arguments: 3 * right(*arguments)))
            yield

    monkeypatch.setattr(measure, "as_on_a_gpu", wrong)
    assert measure.main(to) == 1
    outside = [line.split(" | ")[:2] for line in (tmp_path / "gpu.md").read_text().splitlines() if "outside |" in line]
    assert outside == [["| mf", "rd"], ["| lightgcn", "rd"]]

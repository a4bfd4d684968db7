"""The parts of the benchmarks (tests/benchmarks) that need no peer: what would be kept, memory, tables, large data."""

import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rkd
from rkd import evaluate
from rkd.device import keep_memory

sys.path.insert(0, str(Path(__file__).with_name("benchmarks")))

import large
import measure
import report
from kept import Keeper, Kept


def factors_of(part):
    """Factors that rank the items of a part first, for every user."""
    wanted = np.zeros((part.n_users, part.n_items), np.float32)
    wanted[part.users, part.items] = 1
    return wanted, np.eye(part.n_items, dtype=np.float32)


def test_what_is_kept_is_decided_by_validation_alone(split):
    """A model perfect on test data but not on validation data is kept until one better on validation data comes."""
    keeper = Keeper(split, lambda keeper, seconds: seconds > 2.5)
    models = [factors_of(split.test), factors_of(split.valid), factors_of(split.test)]
    ended = [keeper(epoch, model, float(epoch)) for epoch, model in enumerate(models, 1)]
    assert ended == [False, False, True]
    assert [model.epoch for model in keeper.kept] == [1, 2]
    assert keeper.kept[1].valid == 1
    assert keeper.kept[0].test == evaluate(models[0], split)["recall@10"]


def test_the_target_is_reached_at_the_first_kept_model_as_good(split):
    keeper = Keeper(split)
    keeper.kept = [Kept(5, 1.0, 0.1, 0.2), Kept(10, 2.0, 0.2, 0.5), Kept(15, 3.0, 0.3, 0.4)]
    assert keeper.reached(0.4).seconds == 2.0 and keeper.reached(0.2).seconds == 1.0 and keeper.reached(0.6) is None


def test_medians_leave_the_first_turn_out(monkeypatch):
    clock = iter(np.cumsum([0, 100, 0, 100, 0, 3, 0, 7, 0, 1, 0, 9, 0, 2, 0, 8]))
    monkeypatch.setattr(measure, "now", lambda: next(clock))
    assert measure.in_turns({"a": lambda: None, "b": lambda: None}, 3) == {"a": 2, "b": 8}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_within_a_block_is_counted_even_when_given_back():
    with measure.Memory() as memory:
        block = np.ones(20 << 20)  # 160 MiB
        del block
    with measure.Memory() as later:
        pass
    assert 150 < memory.rise < 200 and later.rise < 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_freed_before_a_block_is_no_present_to_it():
    keep_memory()
    pieces = [np.ones(1 << 20) for _ in range(10)]  # 8 MiB each
    del pieces
    with measure.Memory() as memory:
        pieces = [np.ones(1 << 20) for _ in range(10)]
        assert len(pieces) == 10
    assert 70 < memory.rise < 100


def test_the_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    rows = [report.Row("ml-100k", "seconds to quality", 100, "rkd", math.inf),
            report.Row("ml-100k", "seconds to quality", 100, "implicit", 3.0),
            report.Row("ml-100k", "seconds per epoch", 10, "rkd", 0.25),
            report.Row("ml-100k", "seconds per epoch", 10, "implicit", 0.5),
            report.Row("ml-100k", "seconds per epoch", 10, "cornac", 1234.0),
            report.Row("ml-100k", "seconds to set up", 10, "rkd unkd", 2.0),
            report.Row("ml-100k", "seconds per epoch", 10, "rkd unkd", 1.0)]
    report.write(rows, "a machine")
    text = (tmp_path / "benchmark.md").read_text()
    cells = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in text.splitlines() if line.startswith("|")]
    assert text.startswith("a machine.")
    assert cells[0] == ["dataset", "measure", "dim", "rkd", "implicit", "cornac", "rkd / implicit"]
    assert cells[2] == ["ml-100k", "seconds to quality", "100", "not reached", "3", "", "not reached"]
    assert cells[3] == ["ml-100k", "seconds per epoch", "10", "0.25", "0.5", "1,234", "0.5"]
    assert cells[-1] == ["ml-100k", "rkd unkd", "10", "2", "1"]
    assert pd.read_csv(tmp_path / "benchmark.csv")["value"].tolist() == [row.value for row in rows]
    assert (tmp_path / "benchmark.png").stat().st_size > 1000


def test_large_data_are_of_the_sizes_asked_for_and_skewed():
    split = large.synthetic(2000, 500, 20_000)
    assert (split.n_users, split.n_items, len(split.train)) == (2000, 500, 20_000)
    counts = split.train.item_counts.sort(descending=True).values
    assert counts[:50].sum() > 0.35 * counts.sum() and len(split.valid) and len(split.test)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_large_tasks_tell_seconds_and_memory():
    sizes = dict(n_users=2000, n_items=500, n_pairs=20_000)
    for task in (partial(large.train, 2048), partial(large.lazy, 2048), partial(large.rrd, 2048)):
        found = task(**sizes)
        assert found.keys() == {"set-up and first epoch", "seconds", "peak MiB", "rise MiB"}
        assert found["set-up and first epoch"] > 0 < found["seconds"] and found["peak MiB"] > found["rise MiB"]
    assert large.evaluate(**sizes)["users evaluated"] > 100


def test_a_watched_model_tells_when_its_evaluations_began(split):
    """Each after the last callback and before its own; a watched model is trained like any other."""
    model, times = measure.Watched(split, 3), [measure.now()]
    rkd.train(model, split, epochs=6, evaluate_every=2, device="cpu", progress=False,
              callback=lambda fit: times.extend((model.asked, measure.now())))
    assert len(times) == 7 and times == sorted(times) and times[0] < times[1] < times[2]
    plain = rkd.train(rkd.MF(split, 3), split, epochs=6, evaluate_every=2, device="cpu", progress=False).model
    assert plain.table.equal(model.table)

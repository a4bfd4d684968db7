"""What it costs to answer: indexes against the exact list and each other, memory by hand, times against a clock."""

import time

import numpy as np
import pandas as pd
import pytest
import torch

from rkd import serving
from rkd.serving import INDEXES, PARTIAL, Index, indexes_for, timed

pytest.importorskip("faiss")


@pytest.fixture(scope="module")
def model():
    return serving.synthetic(2000, 300, 20, tastes=30)


@pytest.fixture(scope="module")
def table(model):
    return serving.serving(model, INDEXES, batches=(1, 8), calls={1: 20, 8: 10}).set_index(["index", "batch"])


def test_every_index_and_batch_has_its_row(table):
    assert list(table.index) == [(name, batch) for name in INDEXES for batch in (1, 8)]
    assert (table["median ms"] <= table["p99 ms"]).all() and (table["median ms"] > 0).all()


@pytest.mark.parametrize("name", ["torch, exact", "FAISS, exact"])
def test_exact_indexes_find_the_naive_best(model, name, table):
    users, items = (x.numpy() for x in model.factors())
    found = INDEXES[name](items).search(users[:20], 10)
    for user, ids in zip(users[:20], found):
        assert ids.tolist() == np.argsort(-(items @ user), kind="stable")[:10].tolist()
    assert table.loc[name, "recall"].tolist() == [1, 1]


def test_bytes_are_those_of_the_codes(model, table):
    """A few hundred bytes of header apart, and rows that are rounded being of 8, 16, 24 … numbers; PQ's codebook is 256
    centres of 20 numbers."""
    n, dim = model.factors()[1].shape
    padded = dim + -dim % 8
    for name, of_item, shared in (("torch, exact", 4 * dim, 0), ("FAISS, exact", 4 * dim, 0),
                                  ("FAISS, 8 bits", padded, 0), ("FAISS, 4 bits", padded / 2, 0),
                                  ("FAISS, PQ", 4, 256 * dim * 4)):
        rest = table.loc[(name, 1), "bytes an item"] * n - of_item * n - shared
        assert 0 <= rest < 500, name
    assert table["MiB"].to_numpy() * 2**20 == pytest.approx(table["bytes an item"].to_numpy() * n)


def test_more_bits_find_more_and_parts_miss_some(table):
    recall = table.xs(1, level="batch")["recall"]
    assert 1 >= recall["FAISS, 8 bits"] > recall["FAISS, 4 bits"] > recall["FAISS, PQ"] > 0.1
    assert all(0.2 < recall[name] <= 1 for name in PARTIAL)


def test_recall_is_the_naive_share(model):
    users, items = (x.numpy() for x in model.factors())
    (row,) = serving.serving(model, ["FAISS, 4 bits"], k=5, batches=(8,), calls={8: 1}).to_dict("records")
    kept = serving.as_kept(model, "FAISS, 4 bits").factors()[1].numpy()
    shares = [len({*np.argsort(-(items @ user))[:5]} & {*np.argsort(-(kept @ user))[:5]}) / 5 for user in users[:8]]
    assert row["recall"] == pytest.approx(np.mean(shares))


def test_an_answers_model_is_as_good_as_its_bits(model):
    items = model.factors()[1]
    errors = [(serving.as_kept(model, name).factors()[1] - items).abs().max().item()
              for name in ("FAISS, exact", "FAISS, 8 bits", "FAISS, 4 bits")]
    assert errors[0] == 0 < errors[1] < errors[2] / 5


def test_times_are_the_processors_of_the_calls_that_count():
    """A call that computes for 4 ms takes as long; one that sleeps takes nothing; the first calls are not counted."""
    asked = []

    def busy(queries, k):
        asked.append(queries[:, 0].tolist())
        end = time.process_time() + 0.004
        while time.process_time() < end:
            pass

    users = np.arange(5.0)[:, None]
    seconds = timed(Index(busy, 0, users), users, 2, 1, 3)
    assert len(seconds) == 3 and (seconds >= 0.004).all() and np.median(seconds) < 0.008
    assert len(asked) == 3 + serving.WARM and asked[-3:] == [[0, 1], [2, 3], [4, 0]]
    assert timed(Index(lambda *_: time.sleep(0.005), 0, users), users, 1, 1, 3).max() < 0.003


def test_which_indexes_serve_a_catalogue():
    assert indexes_for(100) == ["torch, exact", "FAISS, exact", "FAISS, 8 bits", "FAISS, 4 bits"]
    assert indexes_for(1682) == [name for name in INDEXES if name not in PARTIAL]
    assert indexes_for(serving.LARGE) == list(INDEXES)


def test_threads_are_as_before_afterwards(model):
    torch.set_num_threads(2)
    try:
        assert isinstance(serving.serving(model, ["FAISS, exact"], batches=(1,), calls={1: 1}), pd.DataFrame)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_what_is_refused(model):
    with pytest.raises(ValueError, match="unknown index 'FAISS': choose from torch, exact; FAISS, exact"):
        serving.serving(model, ["FAISS"])
    with pytest.raises(ValueError, match="k must be at most the 2000 items, not 2001"):
        serving.serving(model, k=2001)

"""Ids: whole numbers or text, the same from text and typed columns, exact, and in little memory."""

import tracemalloc
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from catalog_helpers import originals

from rkd import DataError, DataWarning, load

pytestmark = pytest.mark.usefixtures("folders")
BIG = 2**53 + 1


def forms(ids, tmp_path, put):
    """The items ``ids`` of one user each, as CSV, as Parquet and as a frame."""
    frame = pd.DataFrame({"user": range(len(ids)), "item": ids})
    frame.to_parquet(tmp_path / "own.parquet")
    return put("own.csv", frame.to_csv(index=False)), tmp_path / "own.parquet", frame


@pytest.mark.parametrize("ids, kept", [
    (pd.Series([3, 1, 20]), [3, 1, 20]), (pd.Series([3.0, 1.0, 20.0]), [3, 1, 20]),
    (pd.Series([3, 1, 20], dtype="float32"), [3, 1, 20]), (pd.Series(["3", "1", "20"]), [3, 1, 20]),
    (pd.Series(["3.0", "1.0", "20.0"]), [3, 1, 20]), (pd.Series([Decimal("3.00"), Decimal("1.00")]), [3, 1]),
    (pd.Series([3, 1, 3], dtype="category"), [3, 1, 3]),
    (pd.Series(["b", "a", "b"], dtype="category"), ["b", "a", "b"]),
    (pd.Series([3, 1], dtype="Int64"), [3, 1]), (pd.Series([3, 1], dtype="int8"), [3, 1]),
    (pd.Series([BIG, BIG - 1]), [BIG, BIG - 1]), (pd.Series([1234567890123456789, 5]), [1234567890123456789, 5]),
    (pd.Series([2**63 + 5, 2**63 + 6], dtype="uint64"), [str(2**63 + 5), str(2**63 + 6)]),
    (pd.Series(["007", "7"]), ["007", "7"]), (pd.Series([-5, 0]), [-5, 0]), (pd.Series([1.5, 2.0]), ["1.5", "2.0"]),
    (pd.Series([1.5, 1.0], dtype="float32"), ["1.5", "1.0"]),
    (pd.Series(["NA", "x", "null", "None", "nan"]), ["NA", "x", "null", "None", "nan"]),
    (pd.Series(["1.10", "1.1", "1.0"]), ["1.10", "1.1", "1.0"]), (pd.Series([True, False]), ["True", "False"]),
    (pd.Series([5000000001.0, 2.0]), [5000000001, 2]),
])
def test_the_same_from_text_and_typed_columns(tmp_path, put, ids, kept):
    found = [load(source) for source in forms(ids, tmp_path, put)]
    assert [item for _, item in originals(found[0])] == kept
    assert len({data.fingerprint for data in found}) == 1
    assert len({tuple(map(str, data.item_ids)) for data in found}) == 1
    kind = np.dtype("int64" if isinstance(kept[0], int) else object)
    assert {data.item_ids.dtype for data in found} == {kind}


@pytest.mark.parametrize("word", ["NA", "nan", "NULL", "None", "\\N", ""])
def test_words_for_nothing_among_numbers(put, word):
    with pytest.raises(DataError, match="line 3: user or item is missing .*1 such"):
        load(put("own.csv", f"user,item\n1,7\n2,{word}\n3,9.0\n"))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
@pytest.mark.parametrize("dtype", ["object", "Int64", "category", "float"])
def test_nothing_in_typed_columns(tmp_path, missing, dtype):
    ids = pd.Series([7, None, 9], dtype="object" if dtype == "category" else dtype)
    if dtype == "object":
        ids[1] = missing
    frame = pd.DataFrame({"user": [1, 2, 3], "item": ids.astype(dtype)})
    with pytest.raises(DataError, match="the DataFrame, row 2: user or item is missing"):
        load(frame)
    frame.to_parquet(tmp_path / "own.parquet")
    with pytest.raises(DataError, match="own.parquet, row 2: user or item is missing"):
        load(tmp_path / "own.parquet")


def test_versions_beside_text(tmp_path, put):
    frame = pd.DataFrame({"user": ["ann", "ann", "bob"], "item": ["1", "1.0", "2.0"]})
    frame.to_parquet(tmp_path / "own.parquet")
    for source in (put("own.csv", frame.to_csv(index=False)), tmp_path / "own.parquet", frame):
        with pytest.warns(DataWarning, match="the item ids have the same number with and without '.0'"):
            assert originals(load(source)) == [("ann", "1"), ("ann", "1.0"), ("bob", "2.0")]
    with pytest.raises(DataError, match="line 3: user 1 and item 1 are given before"):  # numbers, some through floats
        load(put("own.csv", "user,item\n1,1\n1,1.0\n2,2.0\n"))


@pytest.mark.parametrize("ids, message", [(["1.23457E+11", "1.23457E+12"], "a spreadsheet has rounded"),
                                          ([float(2**60), 1.0], "floats beyond 2.53")])
def test_digits_that_may_be_lost_are_told(ids, message):
    with pytest.warns(DataWarning, match=message):
        load(pd.DataFrame({"user": [1, 2], "item": ids}))


def test_memory_goes_by_the_length_of_all_ids(put):
    lines = [f"{n},https://example.org/a/{n}" for n in range(3000)] + ["1," + "x" * 20_000]
    path = put("own.csv", "user,item\n" + "\n".join(lines))
    tracemalloc.start()
    data = load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.n_items == 3001 and max(map(len, data.item_ids)) == 20_000
    assert peak < 20e6  # as an array of equal lengths: 240 MB

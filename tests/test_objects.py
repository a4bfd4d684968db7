"""Data in memory: frames, Arrow streams, sparse matrices, arrays, lists; what the command line says of bad data."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch
from catalog_helpers import PAIRS, originals
from scipy import sparse

from rkd import DataError, DataWarning, load
from rkd.__main__ import main

FRAME = pd.DataFrame(PAIRS, columns=["user", "item"])
USERS, ITEMS = FRAME["user"].tolist(), FRAME["item"].tolist()


class Stream:
    """All that rkd may know of Polars, DuckDB and others."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("source", [
    FRAME, FRAME.rename(columns={"user": "userId", "item": "movieId"}), FRAME.set_index("user"), FRAME[::-1],
    FRAME.rename(columns={"user": 0, "item": 1}), {"user": USERS, "item": ITEMS}, FRAME.to_dict("records"),
    FRAME.to_records(), pyarrow.Table.from_pandas(FRAME), pyarrow.RecordBatch.from_pandas(FRAME),
    Stream(pyarrow.Table.from_pandas(FRAME)), (USERS, ITEMS), [USERS, ITEMS], PAIRS, np.array(PAIRS),
    (np.array(USERS), np.array(ITEMS, dtype="int32")), (torch.tensor(USERS), torch.tensor(ITEMS)),
    (FRAME["user"], FRAME["item"]), (np.array(USERS, dtype=float), ITEMS)], ids=lambda x: type(x).__name__)
def test_tables_and_arrays(source):
    data = load(source)
    assert originals(data) == PAIRS and data.name == "data"


def test_a_frame_without_names_of_columns():
    with pytest.warns(DataWarning, match="has no names of columns: ratings in it are ignored, unless rating_col="):
        assert len(load(pd.DataFrame([[1, 2, 5], [1, 3, 0]]))) == 2
    assert len(load(pd.DataFrame([[1, 2, 5], [1, 3, 0]]), rating_col=2, threshold=1)) == 1


def test_columns_are_named_for_tables_only():
    with pytest.raises(ValueError, match="user_col, .* are for tables, not for a tuple"):
        load((USERS, ITEMS), user_col="user")


def test_dictionaries_strings_and_nulls_through_arrow():
    table = pyarrow.table({"user": pyarrow.array(["b", "a", "b"]).dictionary_encode(), "item": [3, 1, 2]})
    assert originals(load(Stream(table))) == [("a", 1), ("b", 2), ("b", 3)]
    table = pyarrow.table({"user": [1, None], "item": [2**60 + 1, 2]})
    with pytest.raises(DataError, match="row 2: user or item is missing"):
        load(table)
    with pytest.raises(DataError, match="'item' holds list<.*>, not ids"):
        load(pyarrow.table({"user": [1], "item": [[1]]}))


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_matrix, sparse.coo_matrix, sparse.lil_array])
def test_a_sparse_matrix_keeps_its_rows_and_columns(make):
    dense = np.array([[0, 1, 0], [0, 0, 0], [1, 1, 0]])
    data = load(make(dense))
    assert (data.n_users, data.n_items) == (3, 3)
    assert sorted(zip(data.users.tolist(), data.items.tolist())) == [(0, 1), (2, 0), (2, 1)]
    assert data.user_ids.tolist() == data.item_ids.tolist() == [0, 1, 2]
    with pytest.warns(DataWarning, match="value 1 … 5 are ignored"):
        assert len(load(make(dense * [[1], [1], [5]]))) == 3
    assert len(load(make(dense * [[1], [1], [5]]), threshold=4)) == 2


@pytest.mark.parametrize("source, message", [
    (pd.DataFrame({"a": [1], "b": [2]}), "the DataFrame: a header needs columns 'user' and 'item', but names a, b"),
    (([1, 2], [1]), "2 users but 1 items"), ([[1, 2], [3, 4]], "may be .users, items. or two pairs"),
    ([(1, 2, 3)], "a list must hold pairs"), (np.zeros((3, 4)), "an array of 3 × 4"), ([], "no pairs"),
    (np.zeros(3), "an array of 3: pairs are n × 2"), ({"user": 1, "item": 2}, "the dict cannot be read as a table"),
    ((np.zeros((2, 2)), [1, 2]), "users must be flat, but have the shape"), ((3, 4), "users must be an array or list"),
    (FRAME[:0], "no pairs"), (pd.concat([FRAME, FRAME]), "row 6: user 1 and item 10 are given before")])
def test_bad_objects(source, message):
    with pytest.raises(DataError, match=message):
        load(source)


@pytest.mark.parametrize("source", [None, 7, b"clicks.csv", {1, 2}, object()])
def test_what_is_no_data(source):
    with pytest.raises(TypeError, match=f"load takes a data set's name, a file's path.*not {type(source).__name__}"):
        load(source)


@pytest.mark.parametrize("name, content", [
    ("own.csv", b"who,what\n1,2\n"), ("own.csv", b""), ("own.csv", b"user,item\n1,\n"),
    ("own.csv", b"user,item\n1,\xff\n"),
    ("own.csv", b"user,item\n1,2\n1,2\n"), ("own.parquet", b"PAR1"), ("own.zip", b"PK"), ("own.xlsx", b"PK"),
    ("own.csv.gz", b"user"), ("own.txt", b"1 2\nx\n"), ("own.csv", bytes(99)), ("own.csv", b'user,item\n1,"2\nx\n')])
@pytest.mark.parametrize("arguments", [("data",), ("run", "--dataset")])
def test_the_command_line_answers_bad_data_with_one_line(put, capsys, name, content, arguments):
    path = put(name, content)
    assert main([*arguments, str(path)]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.startswith(f"rkd: {path}")


def test_the_command_line_tells_what_it_did_in_one_line(put):
    path = put("own.csv", "user,item,rating\n1,2,0\n1,3,5\n2,2,3\n")
    done = subprocess.run([sys.executable, "-m", "rkd", "data", str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"{path}: 2 users, 2 items, 3 interactions")
    assert done.stderr == (f"rkd: {path}: rating 0 … 5 are ignored: every row is a positive; for example threshold=5 "
                           "keeps the rows with 5 or more\n")

"""Numbers from anywhere: whatever layout, type and library they come in, the same matrix, or one sentence."""

import warnings

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch
from scipy import sparse

from rkd import Given
from rkd.arrays import matrix, whole

TABLE = np.array([[1.0, -2.0], [0.5, 0.0], [3.0, 4.0]])


def read_only(array):
    array = array.astype(np.float32)
    array.flags.writeable = False
    return array


def memmap(tmp_path):
    np.save(tmp_path / "table.npy", TABLE)
    return np.load(tmp_path / "table.npy", mmap_mode="r")


TENSOR = torch.from_numpy(TABLE)
KINDS = {
    "float64": TABLE, "big-endian": TABLE.astype(">f8"), "Fortran": np.asfortranarray(TABLE),
    "strides": np.repeat(TABLE, 2, axis=1)[:, ::2], "float16": TABLE.astype(np.float16),
    "long double": TABLE.astype(np.longdouble), "objects": TABLE.astype(object), "read-only": read_only(TABLE),
    "masked": np.ma.masked_array(TABLE), "lists": TABLE.tolist(), "tuples": tuple(map(tuple, TABLE)),
    "rows": list(TABLE), "rows of tensors": [*TENSOR], "CSR": sparse.csr_array(TABLE), "COO": sparse.coo_matrix(TABLE),
    "DataFrame": pd.DataFrame(TABLE), "Arrow": pyarrow.table({"a": TABLE[:, 0], "b": TABLE[:, 1]}),
    "lists in a column": pd.DataFrame({"features": [*map(list, TABLE)]}), "parameter": torch.nn.Parameter(TENSOR),
    "bfloat16": TENSOR.bfloat16(), "transposed tensor": TENSOR.T.contiguous().T, "sparse tensor": TENSOR.to_sparse(),
    "embedding": torch.nn.Embedding.from_pretrained(TENSOR),
}


@pytest.mark.parametrize("kind", [*KINDS, "memmap"])
def test_numbers_are_read_whatever_holds_them(kind, tmp_path):
    source = KINDS[kind] if kind != "memmap" else memmap(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's, of arrays that cannot be written to
        found, ids = matrix(source, "user factors", "user")
    assert found.dtype == torch.float32 and found.is_contiguous() and not found.requires_grad and ids is None
    assert np.array_equal(found, TABLE)


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64, ">i4", bool])
def test_whole_numbers_are_read_as_well(kind):
    table = np.array([[1, 0], [0, 1]]).astype(kind)
    assert matrix(table, "", "user")[0].tolist() == whole(table, "", "user")[0].tolist() == [[1, 0], [0, 1]]
    assert matrix(table, "", "user")[0].dtype == torch.float32 and whole(table, "", "user")[0].dtype == torch.int64


def test_whole_numbers_keep_every_digit_and_fractions_are_refused():
    large = [[2**53 + 1, -1]]
    assert whole(large, "items", "user")[0].tolist() == large
    assert whole([[3.0, np.nan]], "items", "user")[0].tolist() == [[3, -1]]
    with pytest.raises(ValueError, match=r"items must be whole numbers, not such as 1\.5"):
        whole([[3.0, 1.5]], "items", "user")


def test_a_table_names_its_rows_by_a_column_of_ids_or_an_index_of_its_own():
    frame = pd.DataFrame(TABLE, columns=["f0", "f1"])
    for named in (frame.set_index(pd.Index(["b", "c", "a"])), frame.assign(userId=["b", "c", "a"]),
                  pyarrow.Table.from_pandas(frame.assign(id=["b", "c", "a"]), preserve_index=False)):
        values, ids = matrix(named, "user factors", "user")
        assert np.array_equal(values, TABLE) and list(ids) == ["b", "c", "a"]
    values, ids = matrix(frame.iloc[::-1], "user factors", "user")  # its index goes backwards, and counts
    assert np.array_equal(values, TABLE[::-1]) and list(ids) == [2, 1, 0]
    assert matrix(frame.assign(movieId=[9, 8, 7]), "item factors", "item")[1].tolist() == [9, 8, 7]
    assert matrix(frame.assign(movieId=[9, 8, 7]), "user factors", "user")[0].shape == (3, 3)  # no user's id


@pytest.mark.parametrize("source, words", [
    (np.array([["a", "b"]]), r"ndarray of <U1, \(1, 2\)"), (np.ones((2, 2), complex), "ndarray of complex128"),
    ([[1, 2], [3]], "list"), (object(), "object"), ("text", "str"),
    (np.array(["2020-01-01"], "M8[D]"), "ndarray of datetime64"),
    (np.array([[{}]]), "ndarray of object"), (np.zeros(2, [("a", float), ("b", float)]), "ndarray of")])
def test_what_holds_no_numbers_is_described(source, words):
    with pytest.raises(TypeError, match=f"user factors must be a matrix of numbers, not {words}"):
        matrix(source, "user factors", "user")


def test_tables_that_cannot_be_told():
    with pytest.raises(TypeError, match="has text in its column 'genre': call the ids' column 'item_id'"):
        matrix(pd.DataFrame({"f0": [1.0], "genre": ["x"]}), "item factors", "item")
    with pytest.raises(ValueError, match="an index of 2 levels, not of one id a row"):
        matrix(pd.DataFrame([[1.0]], index=pd.MultiIndex.from_tuples([(1, 2)])), "user factors", "user")
    with pytest.raises(TypeError, match="must be real numbers, not torch.complex64"):
        matrix(torch.ones(2, 2, dtype=torch.complex64), "user factors", "user")


def test_what_is_masked_or_beyond_float32_is_no_number():
    """To be told of by name when the split is known."""
    masked = np.ma.masked_array(TABLE, mask=[[0, 0], [0, 1], [0, 0]])
    assert matrix(masked, "", "user")[0].isnan().sum() == 1
    assert matrix(TABLE * 1e300, "", "user")[0].isinf().sum() == 5


def test_an_inference_tensor_can_be_learnt_from():
    with torch.inference_mode():
        pair = torch.ones(3, 2), torch.ones(4, 2)
        factors = Given(pair).factors()
    assert pair[0].is_inference() and not any(x.is_inference() for x in factors)

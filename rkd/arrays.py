"""Whatever holds numbers in rows → a matrix, and the ids of its rows where it names them."""

import os
import warnings

import numpy as np
import pandas as pd
import pyarrow
import torch
from scipy import sparse
from torch import Tensor, nn

from .datasets.columns import id_column

KEPT = [np.dtype(kind) for kind in (np.float32, np.float64, np.int64)]


def matrix(source, what: str, side: str) -> tuple[Tensor, np.ndarray | None]:
    """(float32, detached and where it was; the rows' ids or None) of what has a "user" or an "item" in every row.

    source : an array or tensor of any layout, number type and library, a sparse matrix, nested lists, nn.Embedding; a
             table (pandas, Polars, Arrow) in which a column of ids, or else an index of its own, names the rows; the
             path of a .npy file. What is float32 in rows stays where it is, in a mapped file too.
    Raises TypeError, which says ``what`` must be numbers, for anything else.
    """
    values, ids = _tensor(source, what, side)
    return values.float().contiguous(), ids


def whole(source, what: str, side: str) -> tuple[Tensor, np.ndarray | None]:
    """``matrix`` of whole numbers, int64, with −1 for NaN. Raises ValueError for a fraction."""
    values, ids = _tensor(source, what, side)
    if values.is_floating_point():
        values = values.nan_to_num(nan=-1)
        if bool((values != values.round()).any()):
            raise ValueError(f"{what} must be whole numbers, not such as {float(values[values != values.round()][0])}")
    return values.long(), ids


def _tensor(source, what: str, side: str) -> tuple[Tensor, np.ndarray | None]:
    ids = None
    if isinstance(source, nn.Module) and isinstance(getattr(source, "weight", None), Tensor):
        source = source.weight
    if hasattr(source, "__arrow_c_stream__") and not isinstance(source, (pd.DataFrame, pd.Series)):
        source = pyarrow.RecordBatchReader.from_stream(source).read_all().to_pandas()
    if isinstance(source, pd.DataFrame):
        source, ids = _frame(source, what, side)
    values = source.detach() if isinstance(source, Tensor) else _numbers(source, what)
    if values.is_complex():
        raise TypeError(f"{what} must be real numbers, not {values.dtype}")
    values = values if values.layout == torch.strided else values.to_dense()
    return values.clone() if values.is_inference() else values, ids  # no inference tensor can be learnt from


def _frame(frame: pd.DataFrame, what: str, side: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The numbers of a table, and its ids: a column that is named as ids are, else an index that somebody has set."""
    ids, place = None, id_column([*frame.columns], side)
    if place is not None:
        ids, frame = frame.iloc[:, place].to_numpy(), frame.iloc[:, [i for i in range(frame.shape[1]) if i != place]]
    elif isinstance(frame.index, pd.MultiIndex):
        raise ValueError(f"the table of {what} has an index of {frame.index.nlevels} levels, not of one id a row")
    elif not (isinstance(frame.index, pd.RangeIndex) and frame.index.equals(pd.RangeIndex(len(frame)))):
        ids = frame.index.to_numpy()
    if text := [name for name, column in frame.items() if len(column) and isinstance(column.iloc[0], str)]:
        raise TypeError(f"the table of {what} has text in its column {text[0]!r}: call the ids' column '{side}_id' and "
                        "leave out what else is no number")
    if frame.shape[1] == 1 and len(frame) and np.ndim(frame.iat[0, 0]) == 1:  # lists in one column, as Spark has them
        return np.array(frame.iloc[:, 0].to_list()), ids
    return frame.to_numpy(), ids


def _numbers(source, what: str) -> Tensor:
    """A tensor of an array's numbers: float32, float64 or int64, of the same memory where torch can have that."""
    if sparse.issparse(source):
        source = source.toarray()
    elif not hasattr(source, "__array__") and hasattr(source, "to_numpy"):  # a matrix on implicit's GPU
        source = source.to_numpy()
    elif isinstance(source, (list, tuple)):
        source = [row.detach().cpu() if isinstance(row, Tensor) else row for row in source]
    try:
        if isinstance(source, (str, os.PathLike)) and str(source).endswith(".npy"):
            source = np.load(source, mmap_mode="r", allow_pickle=False)
        array = source if isinstance(source, np.ma.MaskedArray) else np.asarray(source)
        if array.dtype.kind in "cMmSU":
            raise TypeError(f"{array.dtype} are no real numbers")
        if isinstance(array, np.ma.MaskedArray):
            array = array.astype(np.float64).filled(np.nan)
        if array.dtype in KEPT and array.flags.c_contiguous and array.flags.aligned:
            with warnings.catch_warnings():  # of arrays that must not be written to: nobody does
                warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
                return torch.from_numpy(array)
        kind = array.dtype.newbyteorder("=")
        if kind not in KEPT:
            kind = np.int64 if kind.kind in "biu" else np.float64
        return torch.from_numpy(np.array(array, dtype=kind, order="C"))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be a matrix of numbers, not {described(source)}") from error


def described(source) -> str:
    """What was given, in words: "ndarray of <U3, (3, 2)"."""
    dtype, shape = getattr(source, "dtype", None), getattr(source, "shape", None)
    return type(source).__name__ + (f" of {dtype}, {tuple(shape)}" if dtype is not None and shape is not None else "")

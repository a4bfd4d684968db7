"""What it costs to answer: the time and memory of finding a model's best items for users' vectors, exactly or nearly.

One thread, an index that is warm, queries in batches. Times are the processor's, so that what else runs on the machine
counts little. What users have seen is not left out: an index knows items alone.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from .device import neutral
from .given import Given
from .limits import FROM_1, check
from .low_rank import factors_of

K = 10
BATCHES = (1, 256)
WARM, CALLS = 20, {1: 500, 256: 40}  # calls that are not counted, and that are, by size of batch
CENTRES = 256  # of a product quantiser: an index of one needs as many items
LARGE = 10_000  # items from which searching only a part of them pays
NEIGHBOURS, CONSTRUCTION, SEARCH = 16, 40, 64  # HNSW's edges of an item; candidates when it is built, and searched


@dataclass(frozen=True)
class Index:
    """A way to find items: ``search`` (queries float32 [b, d], k) → ids [b, k], best first; ``n_bytes`` in memory;
    ``items`` [n, d], as it keeps them."""

    search: Callable[[np.ndarray, int], np.ndarray]
    n_bytes: int
    items: np.ndarray


def torch_exact(items: np.ndarray) -> Index:
    """All inner products, and the k largest."""
    table = torch.from_numpy(items)

    def search(queries, k):
        return (torch.from_numpy(queries) @ table.T).topk(k).indices.numpy()

    return Index(search, items.nbytes, items)


def in_faiss(make: Callable, multiple: int = 1) -> Callable[[np.ndarray], Index]:
    """An index of FAISS's: make (the module, size of the items, their number) → the index, empty and untrained. Rows
    get zeros at their end until their size is a multiple of ``multiple``."""
    def build(items):
        faiss, dim = _faiss(), items.shape[1]

        def padded(rows):
            return np.pad(rows, ((0, 0), (0, -dim % multiple)))

        index = make(faiss, dim + -dim % multiple, len(items))
        if not index.is_trained:
            index.train(padded(items))
        index.add(padded(items))
        return Index(lambda queries, k: index.search(padded(queries), k)[1], len(faiss.serialize_index(index)),
                     _kept(index, items)[:, :dim])

    return build


def _kept(index, items: np.ndarray) -> np.ndarray:
    """Items as an index keeps them."""
    if hasattr(index, "make_direct_map"):
        index.make_direct_map()
    return index.reconstruct_n(0, len(items))


def _faiss():
    try:
        import faiss
    except ImportError:
        raise ImportError("these indexes need FAISS: pip install faiss-cpu") from None
    return faiss


def _scalar(kind: str):
    """Of rows whose size is a multiple of 8: others FAISS decodes number by number, several times slower."""
    return in_faiss(lambda faiss, dim, n: faiss.IndexScalarQuantizer(
        dim, getattr(faiss.ScalarQuantizer, kind), faiss.METRIC_INNER_PRODUCT), 8)


def _product(faiss, dim, n):
    """A byte for each five numbers, or as near to five as divides their number."""
    parts = max(m for m in range(1, dim + 1) if dim % m == 0 and m <= max(dim // 5, 1))
    index = faiss.IndexPQ(dim, parts, 8, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid = 1  # few items are no reason to warn
    return index


def _inverted(faiss, dim, n):
    """√n cells, of which a query looks at a thirty-second part."""
    cells = 1 << round(np.log2(n) / 2)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = max(cells // 32, 1)
    return index


def _graph(faiss, dim, n):
    index = faiss.IndexHNSWFlat(dim, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = CONSTRUCTION, SEARCH
    return index


# name → how it is built, of items [n, d]; "exact" are those whose lists are the exact ones, and the last two are for
# large catalogues
INDEXES: dict[str, Callable[[np.ndarray], Index]] = {
    "torch, exact": torch_exact, "FAISS, exact": in_faiss(lambda faiss, dim, n: faiss.IndexFlatIP(dim)),
    "FAISS, 8 bits": _scalar("QT_8bit"), "FAISS, 4 bits": _scalar("QT_4bit"), "FAISS, PQ": in_faiss(_product),
    "FAISS, IVF": in_faiss(_inverted), "FAISS, HNSW": in_faiss(_graph)}
PARTIAL = ("FAISS, IVF", "FAISS, HNSW")


def indexes_for(n_items: int) -> list[str]:
    """The names of INDEXES that serve a catalogue of this size."""
    return [name for name in INDEXES if (name not in PARTIAL or n_items >= LARGE)
            and (name != "FAISS, PQ" or n_items >= CENTRES)]


@neutral()
def serving(model, indexes: Iterable[str] | None = None, k: int = K, batches: Iterable[int] = BATCHES,
            calls: dict[int, int] | None = None) -> pd.DataFrame:
    """A row for each of INDEXES (by default ``indexes_for`` the catalogue) and size of batch, as ``batches`` has them.

    model : with factors, as for compress; its users are the queries, one after the other and from the first again.
    calls : size of a batch → how many are timed, by default CALLS'.

    Columns: "index", "batch"; "median ms" and "p99 ms" of a batch; "users/s"; "MiB" and "bytes an item" of the index;
    "recall", the share of the exact k best that it finds; "seconds to build". Raises ValueError for a model without
    factors, a k that is no number of items, or an index that is none of INDEXES.
    """
    users, items = (np.ascontiguousarray(x.cpu().numpy()) for x in factors_of(model))
    check("k", k, FROM_1)
    if k > len(items):
        raise ValueError(f"k must be at most the {len(items)} items, not {k}")
    names = list(indexes_for(len(items)) if indexes is None else indexes)
    if unknown := [name for name in names if name not in INDEXES]:
        raise ValueError(f"unknown index {unknown[0]!r}: choose from {'; '.join(INDEXES)}")
    rows, batches = [], tuple(batches)
    with one_thread():
        asked = users[:max(batches)]
        exact = torch_exact(items).search(asked, k)
        for name in names:
            start = time.process_time()
            index = INDEXES[name](items)
            built = time.process_time() - start
            found = index.search(asked, k)
            shared = np.mean([len(np.intersect1d(*pair)) / k for pair in zip(found, exact)])
            for batch in batches:
                times = 1e3 * timed(index, users, batch, k, (calls or CALLS).get(batch, CALLS[1]))
                rows.append({"index": name, "batch": batch, "median ms": np.median(times),
                             "p99 ms": np.quantile(times, 0.99), "users/s": 1e3 * batch / times.mean(),
                             "MiB": index.n_bytes / 2**20, "bytes an item": index.n_bytes / len(items),
                             "recall": shared, "seconds to build": built})
    return pd.DataFrame(rows)


def timed(index: Index, users: np.ndarray, batch: int, k: int, calls: int) -> np.ndarray:
    """Processor seconds of each call with ``batch`` users, [calls], after WARM calls that are not counted."""
    seconds = []
    for call in range(-WARM, calls):
        rows = np.arange(call * batch, (call + 1) * batch) % len(users)
        queries = users[rows]
        start = time.process_time()
        index.search(queries, k)
        if call >= 0:
            seconds.append(time.process_time() - start)
    return np.array(seconds)


def as_kept(model, index: str) -> Given:
    """The model that an index answers with: users' vectors as they are, items as it keeps them."""
    users, items = factors_of(model)
    kept = INDEXES[index](np.ascontiguousarray(items.cpu().numpy())).items
    return Given((users, kept))


@contextmanager
def one_thread():
    """torch and FAISS, which may share their threads, on one."""
    try:
        faiss = _faiss()
    except ImportError:
        faiss = None
    threads = torch.get_num_threads(), faiss and faiss.omp_get_max_threads()

    def give(of_torch, of_faiss):
        if faiss:
            faiss.omp_set_num_threads(of_faiss)
        torch.set_num_threads(of_torch)

    give(1, 1)
    try:
        yield
    finally:
        give(*threads)


def synthetic(n_items: int = 10**6, n_users: int = 4096, dim: int = 32, tastes: int = 500, seed: int = 0) -> Given:
    """Factors of a large catalogue: items and users lie around the same ``tastes``, and items are longer the more
    popular they are."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(tastes, dim, generator=generator)
    popularity = torch.rand(n_items, 1, generator=generator).pow(-0.1)  # a heavy tail

    def around(n):
        taste = torch.randint(tastes, (n,), generator=generator)
        return torch.nn.functional.normalize(centres[taste] + 0.7 * torch.randn(n, dim, generator=generator))

    return Given((around(n_users), around(n_items) * popularity))

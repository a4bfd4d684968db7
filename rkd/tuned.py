"""Settings chosen on validation data, read from the trials that ``rkd tune`` wrote (tuning/, the one copy of them).

A trial's place is NAME-FINGERPRINT/SPLIT/BACKBONE/METHOD.csv, FINGERPRINT being that of the data, so that what a data
set or its file is called decides nothing; METHOD-dDIM.csv has the trials of another size than the usual. Trials for
data of your own lie in the cache, in the same order. Those in the folder $RKD_TUNING, where it is set, count before all
others.

A row is a trial at one rung of the search (tune.py), in the order of training. Only those of the last rung, which were
all trained for as long, are compared. Files of before there were rungs hold trials of one length, best first.
"""

import os
from functools import cache
from pathlib import Path

import pandas as pd

from .datasets import CATALOG
from .files import cache_folder, expanded
from .methods import Distiller, Method, method_of, name_of

TRIALS = Path(__file__).with_name("tuning")
COMMON = ("lr", "l2", "weight", "batch_size")  # the settings that are not a method's own
PAPERS = {"lr": 1e-3, "l2": 1e-2, "batch_size": 2048}
STUDENT_DIM, TEACHER_DIM = 10, 100  # the usual sizes
# What a row says besides the settings, and besides "valid_…".
RECORDED = ("trial", "origin", "rung", "edge", "best_epoch", "epochs")
NEAR = 0.98  # a setting may be chosen for the tail if its NDCG@10 is at least this share of the best
DEMONSTRATION = CATALOG["ml-100k"].fingerprint  # whose settings are taken for data that nobody has tuned


def tuned(fingerprint: str, backbone: str, method: str | type[Method], choice: str = "accuracy", split: str = "unkd",
          dim: int | None = None) -> dict:
    """lr, l2, batch_size, weight and the method's own settings, for the data of this fingerprint.

    choice : "accuracy", the best NDCG@10, or "tail", the best unpopular Recall@10 among those within 2 % of it.
    dim    : the size to be trained; what was chosen for it counts before what was chosen for the usual one.

    Fallbacks, nearest first, for a setting that was not chosen for these data, split, backbone and method:

    1. the plain student (for a teacher: the teacher) of the same backbone on the same data,
    2. the same on MovieLens-100K,
    3. the method on MF and the same data,
    4. the method on MF and MovieLens-100K; each of these on the same split, then on "unkd";
    5. PAPERS, and the method's own weight.

    batch_size never comes from other data.
    """
    found = method_of(method)
    plain, searched = "teacher" if found.teaches else "none", searched_as(found)
    settings = PAPERS | {"weight": found.weight}
    here, there = fingerprint, DEMONSTRATION
    sizes = (None,) if dim in (None, usual_dim(found)) else (None, dim)
    for data, of, like in ((there, "mf", searched), (here, "mf", searched), (there, backbone, plain),
                           (here, backbone, plain), (here, backbone, searched)):  # the nearest last
        for protocol in ("unkd", split):
            for size in sizes:
                chosen = choices(data, protocol, of, like, size).get(choice, {})
                settings |= {key: value for key, value in chosen.items() if key != "batch_size" or data == here}
    if not issubclass(found, Distiller):
        settings["weight"] = 0.0
    return settings


def searched_as(method: str | type[Method]) -> type[Method]:
    """The method whose trials choose a method's settings: its own, or what its ``tuned_as`` names, of which it is a
    variant."""
    found = method_of(method)
    return getattr(found, "tuned_as", found)


def usual_dim(method: str | type[Method]) -> int:
    """The size of a method's models where none is given."""
    return TEACHER_DIM if method_of(method).teaches else STUDENT_DIM


def file_name(method: str | type[Method], dim: int | None = None) -> str:
    """The name of the file of a method's trials, for models of ``dim``, by default of the usual size."""
    return f"{name_of(method)}.csv" if dim in (None, usual_dim(method)) else f"{name_of(method)}-d{dim}.csv"


def trials_of(fingerprint: str, split: str, backbone: str, method: str | type[Method],
              dim: int | None = None) -> pd.DataFrame | None:
    """The trials of one method, as tune wrote them; None where there are none."""
    found = _file(fingerprint, split, backbone, method, dim)
    return pd.read_csv(found[1]) if found else None


def choices(fingerprint: str, split: str, backbone: str, method: str | type[Method],
            dim: int | None = None) -> dict[str, dict]:
    """choice → the settings chosen from the trials of one method; empty where there are none."""
    found = _file(fingerprint, split, backbone, method, dim)
    return _choose(*found) if found else {}


def _file(fingerprint: str, split: str, backbone: str, method: str | type[Method],
          dim: int | None) -> tuple[int, Path] | None:
    """When the trials of one method were written, and where."""
    told = os.environ.get("RKD_TUNING")
    for folder in (*([expanded(told)] if told else []), TRIALS, cache_folder() / "tuning"):
        found = [(path.stat().st_mtime_ns, path) for path in
                 folder.glob(f"*-{fingerprint}/{split}/{backbone}/{file_name(method, dim)}")]
        if found:
            return max(found)  # of several, if the data have two names, the one written last
    return None


@cache
def _choose(changed: int, path: Path) -> dict[str, dict]:
    return choose(pd.read_csv(path))


def choose(trials: pd.DataFrame) -> dict[str, dict]:
    """The settings of ``best``."""
    settings = trials.drop(columns=[name for name in trials if name.startswith("valid_") or name in RECORDED])
    return {choice: settings.loc[[row]].to_dict("records")[0] for choice, row in best(trials).items()}


def best(trials: pd.DataFrame) -> dict[str, int]:
    """The row of the best trial of the last rung by NDCG@10, "accuracy", and of the one with the best unpopular
    Recall@10 among those within 2 % of that NDCG, "tail". Trials with another batch than those that were drawn, as the
    authors' may have, are for the record: with a quarter of the batch a method would have four times as many steps."""
    last = trials[trials["rung"] == trials["rung"].max()] if "rung" in trials else trials
    drawn = trials.loc[trials["origin"] == "drawn", "batch_size"] if "origin" in trials else ()
    last = last[last["batch_size"] == drawn.iloc[0]] if len(drawn) else last
    near = last[last["valid_ndcg@10"] >= NEAR * last["valid_ndcg@10"].max()]
    return {"accuracy": last["valid_ndcg@10"].idxmax(), "tail": near["valid_unpopular/recall@10"].idxmax()}


def best_so_far(trials: pd.DataFrame) -> pd.Series:
    """The best validation NDCG@10 of any trial by the time that so many epochs were trained in all: epochs → NDCG@10.
    Raises ValueError for trials of before there were rungs, whose order was not kept."""
    if "rung" not in trials:
        raise ValueError("these trials do not tell in which order they were trained: tune anew")
    return trials["valid_ndcg@10"].cummax().set_axis(trials["epochs"].cumsum())

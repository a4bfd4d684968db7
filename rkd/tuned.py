"""Settings chosen on validation data, read from the trials that ``rkd tune`` wrote (tuning/, the one copy of them).

A trial's place is NAME-FINGERPRINT/SPLIT/BACKBONE/METHOD.csv, FINGERPRINT being that of the data, so that what a data
set or its file is called decides nothing. Trials for data of your own lie in the cache, in the same order. Those in the
folder $RKD_TUNING, where it is set, count before all others.
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
NEAR = 0.98  # a setting may be chosen for the tail if its NDCG@10 is at least this share of the best
DEMONSTRATION = CATALOG["ml-100k"].fingerprint  # whose settings are taken for data that nobody has tuned


def tuned(fingerprint: str, backbone: str, method: str | type[Method], choice: str = "accuracy",
          split: str = "unkd") -> dict:
    """lr, l2, batch_size, weight and the method's own settings, for the data of this fingerprint.

    choice : "accuracy", the best NDCG@10, or "tail", the best unpopular Recall@10 among those within 2 % of it.

    Fallbacks, nearest first, for a setting that was not chosen for these data, split, backbone and method:

    1. the plain student (for a teacher: the teacher) of the same backbone on the same data,
    2. the same on MovieLens-100K,
    3. the method on MF and the same data,
    4. the method on MF and MovieLens-100K; each of these on the same split, then on "unkd";
    5. lr 0.001, l2 0.01, batch_size 2048 (the papers'), and the method's own weight.

    batch_size never comes from other data.
    """
    found = method_of(method)
    plain = "teacher" if found.teaches else "none"
    settings = {"lr": 1e-3, "l2": 1e-2, "batch_size": 2048, "weight": found.weight}
    here, there, name = fingerprint, DEMONSTRATION, name_of(method)
    for data, of, like in ((there, "mf", name), (here, "mf", name), (there, backbone, plain), (here, backbone, plain),
                           (here, backbone, name)):  # the nearest last
        for protocol in ("unkd", split):
            chosen = choices(data, protocol, of, like).get(choice, {})
            settings |= {key: value for key, value in chosen.items() if key != "batch_size" or data == here}
    if not issubclass(found, Distiller):
        settings["weight"] = 0.0
    return settings


def choices(fingerprint: str, split: str, backbone: str, method: str) -> dict[str, dict]:
    """choice → the settings chosen from the trials of one method; empty where there are none."""
    told = os.environ.get("RKD_TUNING")
    for folder in (*([expanded(told)] if told else []), TRIALS, cache_folder() / "tuning"):
        found = [(path.stat().st_mtime_ns, path) for path in
                 folder.glob(f"*-{fingerprint}/{split}/{backbone}/{method}.csv")]  # several, if the data have two names
        if found:
            return _choose(*max(found))
    return {}


@cache
def _choose(changed: int, path: Path) -> dict[str, dict]:
    return choose(pd.read_csv(path))


def choose(trials: pd.DataFrame) -> dict[str, dict]:
    """The settings of the best trial by NDCG@10, "accuracy", and of the one with the best unpopular Recall@10 among
    those within 2 % of that NDCG, "tail". trials: as tune.trials makes them."""
    near = trials[trials["valid_ndcg@10"] >= NEAR * trials["valid_ndcg@10"].max()]
    rows = {"accuracy": trials["valid_ndcg@10"].idxmax(), "tail": near["valid_unpopular/recall@10"].idxmax()}
    settings = trials.drop(columns=[name for name in trials if name.startswith("valid_") or name.endswith("epoch")
                                    or name == "epochs"])
    records = settings.to_dict("records")  # keeps whole numbers whole
    return {choice: records[row] for choice, row in rows.items()}

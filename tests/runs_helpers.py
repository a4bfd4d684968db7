"""What the tests of runs, their store and schedule, of fingerprints and of the command line share."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
import torch

import rkd
import rkd.tuned
from rkd import Result, Run, compute

ROOT = Path(rkd.__file__).parents[1]
METRICS = {f"{name}@{k}" for k in (10, 20) for name in
           ("recall", "precision", "hit_rate", "ndcg", "popular/recall", "unpopular/recall", "popular/recall_unkd",
            "unpopular/recall_unkd", "arp", "aplt", "coverage", "gini", *(f"decile {d}/recall" for d in range(1, 11)))
           } | {"users", "held_out/aplt"}


def tiny(method="none", seed=0, **settings) -> Run:
    """A run of a fraction of a second, on the data set "synthetic"."""
    return Run("synthetic", method, seed, **{"dim": 5 if method == "teacher" else 3, "epochs": 4, "teacher_dim": 5}
               | settings)


def files(*endings) -> list[Path]:
    """What lies whole in the cache with one of these endings, by default the records; scratch files, which start with a
    dot, do not count."""
    found = Path(os.environ["RKD_CACHE"]).glob("runs/*/*")
    return sorted(path for path in found
                  if not path.name.startswith(".") and "".join(path.suffixes) in (endings or (".json",)))


EVERYTHING = ".json", ".safetensors", ".metrics.json"


def times(*endings) -> dict[Path, int]:
    """When each of ``files`` was written."""
    return {path: path.stat().st_mtime_ns for path in files(*endings)}


def same(first: Result, second: Result) -> bool:
    """Equal in all but the time that it took."""
    names = {f.name for f in fields(Result)} - {"seconds", "seconds_per_epoch"}
    return (all(repr(getattr(first, name)) == repr(getattr(second, name)) for name in names)
            and torch.equal(first.model.table, second.model.table))


def computed(runs, **options) -> tuple[list[Result], list[str]]:
    lines = []
    return compute(runs, device="cpu", log=lines.append, **{"jobs": 1} | options), lines


def write_trials(fingerprint, method, accuracy, tail=None, split="unkd", backbone="mf", name="data"):
    """Trials of a method as ``rkd tune`` writes them, of which one is chosen for accuracy and, where given, another for
    the tail."""
    rows = [accuracy | {"valid_ndcg@10": 0.5, "valid_recall@10": 0.2, "valid_unpopular/recall@10": 0.1, "best_epoch": 5,
                        "epochs": 10}]
    if tail:
        rows.append(rows[0] | tail | {"valid_ndcg@10": 0.495, "valid_unpopular/recall@10": 0.3})
    path = rkd.tuned.TRIALS / f"{name}-{fingerprint}" / split / backbone / f"{method}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def python(*arguments, root=ROOT, without=(), **variables) -> subprocess.Popen:
    """This interpreter in a process of its own, which imports rkd from ``root``, with these environment variables and
    ``without`` others."""
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    environment |= {name: str(value) for name, value in variables.items()}
    environment = {name: value for name, value in environment.items() if name not in without}
    return subprocess.Popen([sys.executable, *map(str, arguments)], env=environment, cwd=root, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

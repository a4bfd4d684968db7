"""What the tests of runs, of fingerprints and of the command line share."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import torch

import rkd
import rkd.tuned
from rkd import Run, compute
from rkd.runs import Result

ROOT = Path(rkd.__file__).parents[1]
METRICS = {f"{name}@{k}" for k in (10, 20) for name in
           ("recall", "precision", "hit_rate", "ndcg", "popular/recall", "unpopular/recall", "unpopular_share",
            "coverage", "gini", "popularity")} | {"users", "unpopular_share"}


def tiny(method="none", seed=0, **settings) -> Run:
    """A run of a fraction of a second, on the data set "synthetic"."""
    return Run("synthetic", method, seed, **{"dim": 5 if method == "teacher" else 3, "epochs": 4, "teacher_dim": 5}
               | settings)


def files(suffix=".json") -> list[Path]:
    """What lies whole in the cache; scratch files, which start with a dot, do not count."""
    found = Path(os.environ["RKD_CACHE"]).glob(f"runs/*/*{suffix}")
    return sorted(path for path in found if not path.name.startswith("."))


def same(first: Result, second: Result) -> bool:
    """Equal in all but the time that it took."""
    names = {f.name for f in fields(Result)} - {"seconds", "seconds_per_epoch"}
    return (all(repr(getattr(first, name)) == repr(getattr(second, name)) for name in names)
            and torch.equal(first.model.table, second.model.table))


def computed(runs, **options) -> tuple[list[Result], list[str]]:
    lines = []
    return compute(runs, device="cpu", log=lines.append, **{"jobs": 1} | options), lines


def python(*arguments, cache=None, root=ROOT, **options) -> subprocess.Popen:
    """This interpreter in a process of its own, which imports rkd from ``root``."""
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    if cache:
        environment["RKD_CACHE"] = str(cache)
    return subprocess.Popen([sys.executable, *map(str, arguments)], env=environment, cwd=root, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

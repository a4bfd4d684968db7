"""The same number of trials for every method, over the same ranges, judged on validation data alone."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import qmc

from . import tuned
from .distill import ALONE, TEACHERS
from .files import write_whole
from .runs import Run, compute

RANGES = {"lr": (1e-3, 2e-2), "l2": (1e-3, 3e-2), "weight": (1e-2, 1.0)}  # each drawn log-uniformly
# Each method's own settings, within what its paper or UnKD's code tried: a pair of floats (log-uniform), or a list.
OWN = {
    "pd": {"gamma": (0.02, 0.25)},
    "rd": {"k": [10, 30], "sharpness": [1.0, 10.0], "mu": [0.1, 1.0]},
    "cd": {"guide": ["student", "teacher"], "temperature": [10.0, 20.0, 50.0], "t1": [1.0, 2.0]},
    "de": {"n_experts": [5, 10]},
    "rrd": {"temperature": [10.0, 20.0, 30.0]},
    "de-rrd": {"de_weight": (1e-3, 1e-1), "temperature": [10.0, 20.0, 30.0]},
    "htd": {"alpha": [0.25, 0.5, 0.75], "n_experts": [5, 10]},
    "unkd": {"groups": [2, 3, 4, 5], "mu": [10.0, 20.0, 50.0]},
    "nkd": {"mix": ["soft", "hard"], "k": [5, 10, 20], "alpha": [0.3, 0.5, 0.7]},
    "cpd": {"pairwise": (0.1, 0.5), "tau": (0.1, 5.0), "q": [5, 10, 20]},
    "sld": {"gamma": [0.5, 0.75, 1.0], "tau": (0.25, 1.0), "temperature": [10.0, 20.0]},
    "mkd": {"nkd": (0.1, 1.0), "cpd": (0.1, 1.0), "gamma": [0.5, 0.75, 1.0], "tau": (0.25, 1.0)},
}
OWN |= {"pd-cd": OWN["cd"], "pd-htd": OWN["htd"], "stratified-sld": OWN["sld"] | {"groups": [2, 3, 4]},
        "stratified-mkd": OWN["mkd"]}
PAPERS_BATCH, LARGE_BATCH = 2048, 8192
SEED = 1000  # of training in every trial, and of the draws: never among the seeds that are reported
NEAR = 0.98  # a setting may be chosen for the tail if its NDCG@10 is at least this share of the best


def batch_size(method: str, backbone: str) -> int:
    """The papers' 2048 for MF's teachers, else 8192: with about twice the learning rate as good a student on
    MovieLens-100K, two to three times as soon, since what a step of distillation costs depends little on the batch. (At
    MF's d = 100 the pairs cost most, and nothing is gained.)"""
    return PAPERS_BATCH if backbone == "mf" and method in TEACHERS else LARGE_BATCH


def trials(dataset: str, method: str, backbone: str = "mf", n: int = 12, epochs: int = 200,
           jobs: int | None = None, split: str = "unkd") -> pd.DataFrame:
    """Train ``n`` settings of a method for at most ``epochs`` epochs, and tabulate the validation metrics, best NDCG@10
    first. The common settings are the first n points of one Sobol sequence, the same for every method (one that distils
    nothing ignores the weight), its own settings those of another. Nothing here looks at the test data."""
    common = {name: span for name, span in RANGES.items() if name != "weight" or method not in ALONE}
    own = OWN.get(method, {})
    points = [_point(common, row) for row in _sobol(len(RANGES), n, SEED)]
    extra = [_point(own, row) for row in _sobol(max(len(own), 1), n, SEED + 1)]
    size = batch_size(method, backbone)
    runs = [Run(dataset, method, SEED, backbone, **point, settings=more, epochs=epochs, split=split, batch_size=size)
            for point, more in zip(points, extra)]
    rows = [point | {"batch_size": size} | more | {"valid_ndcg@10": result.valid_metrics["ndcg@10"],
                            "valid_recall@10": result.valid_metrics["recall@10"],
                            "valid_unpopular/recall@10": result.valid_metrics["unpopular/recall@10"],
                            "best_epoch": result.best_epoch, "epochs": result.epochs}
            for point, more, result in zip(points, extra, compute(runs, jobs))]
    return pd.DataFrame(rows).sort_values("valid_ndcg@10", ascending=False, ignore_index=True)


def choices(table: pd.DataFrame) -> dict[str, dict]:
    """The settings of the best trial by NDCG@10, "accuracy", and of the one with the best unpopular Recall@10 among
    those within 2 % of that NDCG, "tail". table: as ``trials`` makes it."""
    near = table[table["valid_ndcg@10"] >= NEAR * table["valid_ndcg@10"].max()]
    rows = {"accuracy": table["valid_ndcg@10"].idxmax(), "tail": near["valid_unpopular/recall@10"].idxmax()}
    settings = table.drop(columns=[name for name in table if name.startswith("valid_") or name.endswith("epoch")
                                   or name == "epochs"])
    records = settings.to_dict("records")  # keeps whole numbers whole
    return {choice: records[row] for choice, row in rows.items()}


def tune(dataset: str, methods: list[str], folder: Path, backbone: str = "mf", n: int = 12, epochs: int = 200,
         jobs: int | None = None, split: str = "unkd") -> None:
    """Choose each method's settings, write the trials to ``folder`` as CSV and the choices to rkd/tuned.json.

    Teachers go first: a student's trials learn from a teacher with the settings just chosen.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for method in sorted(methods, key=lambda name: name not in TEACHERS):
        table = trials(dataset, method, backbone, n, epochs, jobs, split)
        table.to_csv(folder / f"{dataset}-{split}-{backbone}-{method}.csv", index=False)
        kept = json.loads(tuned.PATH.read_text())
        for choice, settings in choices(table).items():
            of_split = kept.setdefault(choice, {}).setdefault(dataset, {}).setdefault(split, {})
            of_split.setdefault(backbone, {})[method] = settings
            print(f"{dataset} {split} {backbone} {method}, {choice}: {settings}", flush=True)
        text = json.dumps(kept, indent=1) + "\n"
        write_whole(tuned.PATH, lambda path: path.write_text(text))


def _sobol(dims: int, n: int, seed: int) -> np.ndarray:
    return qmc.Sobol(dims, seed=seed).random_base2(int(np.ceil(np.log2(n))))[:n]


def _point(ranges: dict, unit: np.ndarray) -> dict:
    """A point of the unit cube as settings: lists are cut into equal parts, pairs are log-uniform, two digits."""
    def value(span, x):
        if isinstance(span, list):
            return span[int(x * len(span))]
        return float(f"{span[0] * (span[1] / span[0]) ** x:.2g}")

    return {name: value(span, x) for (name, span), x in zip(ranges.items(), unit)}

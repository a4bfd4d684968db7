"""The same number of trials for every method, over the same ranges, judged on validation data alone."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import qmc

from .runs import Run, compute
from .tuned import PATH

RANGES = {"lr": (1e-3, 1e-2), "l2": (1e-3, 3e-2), "weight": (1e-2, 1.0)}  # each drawn log-uniformly
SEED = 1000  # of training in every trial, and of the draws: never among the seeds that are reported


def trials(dataset: str, method: str, backbone: str = "mf", n: int = 12, jobs: int | None = None) -> pd.DataFrame:
    """Train ``n`` settings of a method, the first n of one Sobol sequence over RANGES, and tabulate the validation
    metrics, best NDCG@10 first. Methods that distil nothing ignore the weight. Nothing here looks at the test data."""
    low, high = np.log10(list(RANGES.values())).T
    points = 10 ** (low + (high - low) * qmc.Sobol(len(RANGES), seed=SEED).random_base2(int(np.ceil(np.log2(n))))[:n])
    settings = [dict(zip(RANGES, (float(f"{x:.2g}") for x in point))) for point in points]
    if method in ("teacher", "none"):
        settings = [{k: v for k, v in point.items() if k != "weight"} for point in settings]
    runs = [Run(dataset, method, SEED, backbone, **point) for point in settings]
    rows = [point | {"valid_ndcg@10": result.valid_metrics["ndcg@10"],
                     "valid_recall@10": result.valid_metrics["recall@10"],
                     "valid_unpopular/recall@10": result.valid_metrics["unpopular/recall@10"],
                     "best_epoch": result.best_epoch, "epochs": result.epochs}
            for point, result in zip(settings, compute(runs, jobs))]
    return pd.DataFrame(rows).sort_values("valid_ndcg@10", ascending=False, ignore_index=True)


def tune(dataset: str, methods: list[str], folder: Path, backbone: str = "mf", n: int = 12,
         jobs: int | None = None) -> None:
    """Choose each method's settings, write the trials to ``folder`` as CSV and the choice to rkd/tuned.json.

    The teacher goes first: a student's trials learn from a teacher with the settings just chosen.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for method in sorted(methods, key=lambda name: name != "teacher"):
        table = trials(dataset, method, backbone, n, jobs)
        table.to_csv(folder / f"{dataset}-{backbone}-{method}.csv", index=False)
        chosen = json.loads(PATH.read_text())
        best = {k: v for k, v in table.iloc[0].items() if k in RANGES}
        chosen.setdefault(dataset, {}).setdefault(backbone, {})[method] = best
        PATH.write_text(json.dumps(chosen, indent=1) + "\n")
        print(f"{dataset} {backbone} {method}: {best}, validation ndcg@10 {table['valid_ndcg@10'][0]:.4f}", flush=True)

"""implicit's settings: a grid judged on validation data; the trials are kept in implicit/, a CSV for each data set."""

import json
from itertools import product
from pathlib import Path

import pandas as pd
from libraries import fit_implicit
from measure import alone

from rkd import evaluate, split_of

TRIALS = Path(__file__).parent / "implicit"
MOVIES = (0.002, 0.005, 0.01, 0.02)
RATES = {"citeulike": (0.02, 0.05, 0.1, 0.2), "ml-100k": MOVIES, "ml-1m": MOVIES}  # learning rates, around the best
REGULARISATIONS = (0.001, 0.01, 0.05)
ITERATIONS, EVERY, PATIENCE = 400, 20, 5  # at most; between checks; checks without a better one until a trial ends
DIM, SEED = 100, 1000  # the seed is never among those that are reported


def tune(dataset: str, log=print) -> None:
    """Every setting of the grid, with the iterations that were best for it."""
    rows = []
    TRIALS.mkdir(exist_ok=True)
    for reg, lr in product(REGULARISATIONS, RATES[dataset]):
        rows.append(alone(trial, dataset=dataset, lr=lr, reg=reg))
        pd.DataFrame(rows).to_csv(TRIALS / f"{dataset}.csv", index=False)
        log(f"implicit on {dataset}: {json.dumps(rows[-1])}")


def trial(dataset: str, lr: float, reg: float) -> dict:
    split = split_of(dataset)
    best = {"valid": -1.0, "epoch": 0, "seconds": 0.0}

    def check(epoch, factors, seconds):
        valid = evaluate(factors, split, "valid", (10,))["ndcg@10"]
        if valid > best["valid"]:
            best.update(valid=valid, epoch=epoch, seconds=seconds)
        return epoch - best["epoch"] >= PATIENCE * EVERY

    fit_implicit(split, DIM, ITERATIONS, SEED, check, EVERY, lr=lr, reg=reg)
    return {"lr": lr, "reg": reg, "iterations": best["epoch"], "valid_ndcg@10": round(best["valid"], 5),
            "seconds": round(best["seconds"], 2)}


def settings(dataset: str) -> dict:
    """lr, reg and iterations of the best trial. Raises ValueError where there is none."""
    path = TRIALS / f"{dataset}.csv"
    if not path.exists():
        raise ValueError(f"implicit has not been tuned on {dataset}: python tests/benchmarks/peers.py --tune {dataset}")
    best = pd.read_csv(path).sort_values("valid_ndcg@10", ascending=False, kind="stable").iloc[0]
    return {"lr": float(best["lr"]), "reg": float(best["reg"]), "iterations": int(best["iterations"])}

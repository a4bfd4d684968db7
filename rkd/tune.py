"""The same number of trials for every method, over the same ranges, judged on validation data alone."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import qmc

from .files import cache_folder, make_writable, write_whole
from .methods import METHODS, Distiller, Method, method_of, name_of
from .run import Run, fingerprint_of, split_of
from .schedule import RunsFailed, compute
from .store import Result
from .tuned import choices, choose

RANGES = {"lr": (1e-3, 2e-2), "l2": (1e-3, 3e-2), "weight": (1e-2, 1.0)}  # each drawn log-uniformly
PAPERS_BATCH, LARGE_BATCH = 2048, 8192
SEED = 1000  # of training in every trial, and of the draws: never among the seeds that are reported


def batch_size(method: str | type[Method], backbone: str) -> int:
    """The papers' 2048 for MF's teachers, else 8192: with about twice the learning rate as good a student on
    MovieLens-100K, two to three times as soon, since what a step of distillation costs depends little on the batch. (At
    MF's d = 100 the pairs cost most, and nothing is gained.)"""
    return PAPERS_BATCH if backbone == "mf" and method_of(method).teaches else LARGE_BATCH


def trials(dataset: str, method: str | type[Method], backbone: str = "mf", n: int = 12, epochs: int = 200,
           jobs: int | None = None, split: str = "unkd") -> pd.DataFrame:
    """Train ``n`` settings of a method for at most ``epochs`` epochs, and tabulate the validation metrics, best NDCG@10
    first. The common settings are the first n points of one Sobol sequence, the same for every method (one that distils
    nothing ignores the weight), its own settings those of another. Nothing here looks at the test data. Trials that
    fail, as where training diverges, are said and left out."""
    if n < 1:
        raise ValueError(f"there must be 1 trial or more, not {n}")
    made = method_of(method)
    common = {name: span for name, span in RANGES.items() if name != "weight" or issubclass(made, Distiller)}
    points = [_point(common, row) for row in _sobol(len(RANGES), n, SEED)]
    extra = [_point(made.search, row) for row in _sobol(max(len(made.search), 1), n, SEED + 1)]
    size = batch_size(method, backbone)
    runs = [Run(dataset, method, SEED, backbone, **point, settings=more, epochs=epochs, split=split, batch_size=size)
            for point, more in zip(points, extra)]
    results = _results(runs, jobs)
    rows = [point | {"batch_size": size} | more | {"valid_ndcg@10": result.valid_metrics["ndcg@10"],
                            "valid_recall@10": result.valid_metrics["recall@10"],
                            "valid_unpopular/recall@10": result.valid_metrics["unpopular/recall@10"],
                            "best_epoch": result.best_epoch, "epochs": result.epochs}
            for point, more, run in zip(points, extra, runs) if (result := results.get(run))]
    return pd.DataFrame(rows).sort_values("valid_ndcg@10", ascending=False, ignore_index=True)


def tune(dataset: str, methods: list[str] | None = None, folder: Path | None = None, backbone: str = "mf", n: int = 12,
         epochs: int = 200, jobs: int | None = None, split: str = "unkd") -> None:
    """Choose each method's settings, all of METHODS by default, and write the trials, from which rkd.tuned reads the
    choice, to ``folder``, by default the cache's.

    Teachers go first: a student's trials learn from a teacher with the settings just chosen. Later, trials that come
    with rkd count before those in the cache, and those of another folder count where RKD_TUNING names it; a line says
    so.
    """
    folder = (folder or cache_folder() / "tuning").absolute()
    fingerprint, told = fingerprint_of(dataset), os.environ.get("RKD_TUNING")
    place = folder / f"{split_of(dataset, split).name[:50]}-{fingerprint}" / split / backbone
    for method in (methods := sorted(methods or METHODS, key=lambda method: not method_of(method).teaches)):
        make_writable(place)
        os.environ["RKD_TUNING"] = str(folder)
        try:
            table = trials(dataset, method, backbone, n, epochs, jobs, split)
        finally:
            os.environ.pop("RKD_TUNING") if told is None else os.environ.update(RKD_TUNING=told)
        write_whole(place / f"{name_of(method)}.csv", lambda path, table=table: table.to_csv(path, index=False))
        for choice, settings in choose(table).items():
            print(f"{dataset} {split} {backbone} {name_of(method)}, {choice}: {settings}", flush=True)
    path = place / f"{name_of(methods[-1])}.csv"
    if choices(fingerprint, split, backbone, path.stem) != choose(pd.read_csv(path)):
        print(f"runs take these settings where RKD_TUNING={folder} is set")


def _results(runs: list[Run], jobs: int | None) -> dict[Run, Result]:
    """The results of those runs that do not fail. Raises RunsFailed where all do."""
    try:
        return dict(zip(runs, compute(runs, jobs)))
    except RunsFailed as error:
        print(error)
        rest = [run for run in runs if run not in error.failures]
        if not rest:
            raise
        return dict(zip(rest, compute(rest, jobs)))


def _sobol(dims: int, n: int, seed: int) -> np.ndarray:
    return qmc.Sobol(dims, seed=seed).random_base2(int(np.ceil(np.log2(n))))[:n]


def _point(ranges: dict, unit: np.ndarray) -> dict:
    """A point of the unit cube as settings: lists are cut into equal parts, pairs are log-uniform, two digits."""
    def value(span, x):
        if isinstance(span, list):
            return span[int(x * len(span))]
        return float(f"{span[0] * (span[1] / span[0]) ** x:.2g}")

    return {name: value(span, x) for (name, span), x in zip(ranges.items(), unit)}

"""Results and studies made by hand."""

import torch

from rkd import Result, Run
from rkd.study.study import Study

RECALLS = {"teacher": (0.30, 0.06), "none": (0.20, 0.04), "rd": (0.25, 0.03), "cd": (0.22, 0.02)}  # popular, unpopular
WHERE = {"commit": "abc", "dirty": False, "split": "unkd, seed 0", "fingerprint": "f", "python": "3", "torch": "2",
         "device": "cpu (x)", "instructions": "avx2"}


def result(method, seed=0, dataset="ml-1m", metrics=None, backbone="mf", key="", by_user=None, per_epoch=1.0, **of_run):
    """A result on MovieLens-1M with the metrics of RECALLS, unless others are given."""
    if metrics is None:
        popular, unpopular = RECALLS[method]
        metrics = {"recall@10": 0.1 + 0.01 * seed, "popular/recall@10": popular + 0.02 * seed,
                   "unpopular/recall@10": unpopular, "held_out/aplt": 0.5, "aplt@10": 0.1}
        metrics |= {name.replace("recall@", "recall_unkd@"): value for name, value in metrics.items() if "/rec" in name}
    run = Run(dataset, method, seed, backbone, **of_run)
    made = Result(run, key or f"{dataset}{backbone}{run.name}{seed}", metrics, metrics, [], 1, 1, 2.0, per_epoch,
                  WHERE | {"data": dataset}, "")
    if by_user:
        made.by_user = {name: torch.tensor(values, dtype=torch.float64) for name, values in by_user.items()}
    return made


def study_of(results=None, **groups) -> Study:
    """A study of groups of results; of a list of results, of a group for each method."""
    for one in results or ():
        groups.setdefault(one.run.name, []).append(one)
    return Study({label: [one.run for one in group] for label, group in groups.items()}, groups)


def all_results(*datasets, seeds=(0, 1)) -> list[Result]:
    """Each method of RECALLS with each seed, on MovieLens-1M or these data sets."""
    return [result(method, seed, dataset) for dataset in datasets or ("ml-1m",) for method in RECALLS for seed in seeds]

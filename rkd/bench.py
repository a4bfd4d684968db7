"""How fast everything is on this machine, and how long each scale would take here."""

import statistics
import time
from functools import partial
from itertools import count

import torch

from . import scales
from .catalog import CATALOG
from .data import Split
from .device import keep_memory, resolve_device
from .distill import METHODS
from .evaluate import evaluate, factors
from .models import BACKBONES, MF
from .runs import split_of
from .sampling import NegativeSampler
from .train import adam, train_epoch
from .tuned import tuned

REPEATS = 5
TYPICAL_EPOCHS = 250  # until early stopping; between 100 and 500 in practice
# How many times the notebooks train each method, on two splits and with other settings: on MF with every seed and,
# beyond that, with few; on LightGCN with few.
MF_RUNS = {"teacher": (2, 0), "pd": (0, 1), "none": (2, 3), "rd": (1, 1), "cd": (1, 2), "de": (0, 1), "rrd": (2, 3),
           "de-rrd": (2, 1), "htd": (1, 1), "pd-cd": (0, 1), "pd-htd": (0, 1), "unkd": (2, 12), "nkd": (3, 9),
           "cpd": (3, 3), "sld": (2, 10), "mkd": (2, 9), "stratified-sld": (1, 5), "stratified-mkd": (1, 1)}
LIGHTGCN_RUNS = {"teacher": 2, "none": 2, "rd": 1, "cd": 1, "rrd": 1, "de-rrd": 1, "htd": 1, "unkd": 1, "nkd": 1,
                 "cpd": 1, "sld": 1, "mkd": 1}


def bench(dataset: str, threads: int | None = None, device: str = "auto", log=print) -> dict[str, float]:
    """Median seconds of one epoch, set-up and evaluation: "mf-100", "mf-10", "lightgcn-100", "cd-10", "cd-10-setup",
    "evaluate-100", … for every method, each after one turn that is not counted, in batches as tuned for the data."""
    device = resolve_device(device)
    keep_memory()  # as training does
    if threads:
        torch.set_num_threads(threads)
    split = split_of(dataset).to(device)
    log(f"{split}, {device.type}, {torch.get_num_threads()} threads; medians of {REPEATS}, in seconds")
    seconds = {}

    def record(name, action):
        seconds[name] = _median(action, device)
        log(f"{name:16} {seconds[name]:8.4f}")

    teacher = None
    for backbone, dim in (("mf", 100), ("mf", 10), ("lightgcn", 100), ("lightgcn", 10)):
        model = BACKBONES[backbone](split, dim).to(device)
        batch_size = tuned(dataset, backbone, "teacher" if dim == 100 else "none")["batch_size"]
        record(f"{backbone}-{dim}", _epochs(model, split, device, batch_size))
        if backbone == "mf":
            record(f"evaluate-{dim}", lambda: evaluate(model, split))
            teacher = teacher or factors(model)
    for name, method in METHODS.items():
        make = partial(method, teacher, split, torch.Generator(device).manual_seed(0))
        record(f"{name}-10-setup", make)
        batch_size = tuned(dataset, "mf", name)["batch_size"]
        record(f"{name}-10", _epochs(MF(split, 10).to(device), split, device, batch_size, make()))
    return seconds


def estimate(dataset: str, seconds: dict[str, float], jobs: int) -> dict[str, float]:
    """Minutes that the notebooks' runs would take at each scale with ``jobs`` processes, from one data set's ``bench``.

    An epoch's cost is taken as proportional to the interactions, the number of epochs as TYPICAL_EPOCHS, LightGCN to
    make a distillation slower by as much as it makes the plain student.
    """
    mf = seconds | {"teacher-10": seconds["mf-100"], "pd-10": seconds["mf-100"], "none-10": seconds["mf-10"]}
    slower = seconds["lightgcn-10"] - seconds["mf-10"]
    every, few = (sum(runs[i] * mf[f"{name}-10"] for name, runs in MF_RUNS.items()) for i in (0, 1))
    graph = sum(runs * (seconds["lightgcn-100"] if name == "teacher" else mf[f"{name}-10"] + slower)
                for name, runs in LIGHTGCN_RUNS.items())
    size = len(split_of(dataset).train) / 0.8
    minutes = {}
    for name, scale in scales.SCALES.items():
        interactions = sum(CATALOG[d].interactions if d in CATALOG else len(split_of(d).train) / 0.8
                           for d in scale.datasets)
        epochs, graph_epochs = min(TYPICAL_EPOCHS, scale.epochs), min(TYPICAL_EPOCHS, scale.lightgcn_epochs)
        total = len(scale.seeds) * every * epochs + len(scale.few) * (few * epochs + graph * graph_epochs)
        minutes[name] = total * interactions / size / jobs / 60
    return minutes


def _epochs(model, split: Split, device: torch.device, batch_size: int, method=None):
    """An action that trains ``model`` for one epoch more each time it is called."""
    generator, negatives = torch.Generator(device).manual_seed(0), NegativeSampler(split.train)
    optimizer, epochs = adam(model, 1e-3, method), count(1)
    return lambda: train_epoch(model, split, negatives, optimizer, generator, next(epochs), 1e-2, batch_size, method,
                               0.1)


def _median(action, device: torch.device) -> float:
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])

"""How fast everything is on this machine."""

import statistics
import time
from functools import partial
from itertools import count

import torch

from .adam import Adam
from .data import Split
from .device import keep_memory, resolve_device
from .evaluate import evaluate
from .given import fixed
from .methods import METHODS, Distiller
from .models import BACKBONES, MF
from .run import fingerprint_of, split_of
from .sampling import NegativeSampler
from .train import train_epoch
from .tuned import tuned

REPEATS = 5


def bench(dataset: str, threads: int | None = None, device: str = "auto", log=print) -> dict[str, float]:
    """Median seconds of one epoch, set-up and evaluation: "mf-100", "mf-10", "lightgcn-100", "cd-10", "cd-10-setup",
    "evaluate-100", … for every method, each after one turn that is not counted, in batches as tuned for the data."""
    device = resolve_device(device)
    keep_memory()  # as training does
    if threads:
        torch.set_num_threads(threads)
    split, fingerprint = split_of(dataset).to(device), fingerprint_of(dataset)
    log(f"{split}, {device.type}, {torch.get_num_threads()} threads; medians of {REPEATS}, in seconds")
    seconds = {}

    def record(name, action):
        seconds[name] = _median(action, device)
        log(f"{name:16} {seconds[name]:8.4f}")

    teacher = None
    for backbone, dim in (("mf", 100), ("mf", 10), ("lightgcn", 100), ("lightgcn", 10)):
        model = BACKBONES[backbone](split, dim).to(device)
        batch_size = tuned(fingerprint, backbone, "teacher" if dim == 100 else "none")["batch_size"]
        record(f"{backbone}-{dim}", _epochs(model, split, device, batch_size))
        if backbone == "mf":
            record(f"evaluate-{dim}", lambda model=model: evaluate(model, split))
            teacher = teacher or fixed(model, split)
    for name, method in METHODS.items():
        if not issubclass(method, Distiller):
            continue
        make = partial(method, teacher, split, torch.Generator(device).manual_seed(0))
        record(f"{name}-10-setup", make)
        batch_size = tuned(fingerprint, "mf", name)["batch_size"]
        record(f"{name}-10", _epochs(MF(split, 10).to(device), split, device, batch_size, make()))
    return seconds


def _epochs(model, split: Split, device: torch.device, batch_size: int, method=None):
    """An action that trains ``model`` for one epoch more each time it is called."""
    generator, negatives = torch.Generator(device).manual_seed(0), NegativeSampler(split.train)
    optimizer, epochs = Adam(model, 1e-3, method), count(1)
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

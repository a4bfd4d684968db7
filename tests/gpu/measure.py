"""Every method on an accelerator and on the CPU: are losses and metrics the same, and how long does an epoch take?

    python tests/gpu/measure.py [--dataset ml-100k] [--epochs 10] [--to figures/gpu.md]

Some six minutes on ml-100k. A device draws its own random numbers, so that two trainings are never the same: each
trains every method with SEEDS seeds, and their means may be as far apart as these seeds let expect (``compared``). One
model evaluated on both must give the same metrics but for rounding. Without an accelerator the CPU stands in for one,
its shapes fixed as there, with seeds of its own. Exit status 1: something is outside its tolerance.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import rkd
from rkd.device import resolve_device
from rkd.methods import Distiller
from rkd.models import BACKBONES

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract import as_on_a_gpu

SEEDS = 3
WIDE = 5  # standard deviations of one training, that the means of SEEDS may differ by
SAME = 1e-4  # by which one model's metrics may


def trainings(split: rkd.Split, device: torch.device, epochs: int) -> Iterator[dict]:
    """Each method with each seed on the "device" and on the "cpu" (``place``), all from one teacher of the CPU's: its
    last loss and NDCG@10, seconds an epoch, and the most that a metric of its model differs between the two."""
    run = dict(epochs=epochs, progress=False, evaluate_every=epochs)
    stands_in = device.type == "cpu"
    first = SEEDS if stands_in else 0
    places = {"device": (device, range(first, first + SEEDS)), "cpu": (torch.device("cpu"), range(SEEDS))}
    for backbone, kind in BACKBONES.items():
        teacher = rkd.train(kind(split, 100, 0), split, lr=2e-3, device="cpu", **run).model
        student = run | dict(lr=1e-2, batch_size=8192)
        for method in ("none", *(name for name, made in rkd.METHODS.items() if issubclass(made, Distiller))):
            for place, (at, seeds) in places.items():
                for seed in seeds:
                    with as_on_a_gpu() if stands_in and place == "device" else nullcontext():
                        fit = (rkd.train(kind(split, 10, seed), split, seed=seed, device=at, **student)
                               if method == "none" else
                               rkd.distill(teacher.to("cpu"), split, method, backbone=backbone, seed=seed, device=at,
                                           **student))
                        there = rkd.evaluate(fit.model, split.to(at))
                    here, last = rkd.evaluate(fit.model.to("cpu"), split), fit.history[-1]
                    yield {"backbone": backbone, "method": method, "place": place, "loss": last["loss"],
                           "ndcg@10": last["ndcg@10"], "seconds": fit.seconds_per_epoch,
                           "moved": max(abs(there[name] - here[name]) for name in here)}


def compared(found: pd.DataFrame, figure: str, relative: bool = False) -> pd.DataFrame:
    """A row for each backbone and method: the means of its seeds in both places, and the "tolerance" of their
    difference, WIDE standard deviations of its seeds; where these happen to be less than is usual among the backbone's
    methods (the median, ``relative`` to the figures' size or not), of those."""
    groups = found.groupby(["backbone", "method", "place"], sort=False)[figure]
    means, own = groups.mean().unstack(), groups.var().unstack().mean(axis=1) ** 0.5
    size = means["cpu"].abs() if relative else 1.0
    usual = (own / size).groupby("backbone").transform("median") * size
    return means.assign(tolerance=WIDE * np.maximum(own, usual))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--to", type=Path, help="also write the table here")
    options = parser.parse_args(arguments)
    device, start, found = resolve_device("auto"), time.perf_counter(), []
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    split = rkd.split_of(options.dataset)
    for row in trainings(split, device, options.epochs):
        found.append(row)
        print(*row.values(), file=sys.stderr, flush=True)
    found = pd.DataFrame(found)
    loss, ndcg = compared(found, "loss", relative=True), compared(found, "ndcg@10")
    by_place = found.groupby(["backbone", "method", "place"], sort=False)
    seconds, moved = by_place["seconds"].mean().unstack(), by_place["moved"].max().unstack().max(axis=1)
    outside = moved > SAME
    for table in (loss, ndcg):
        outside |= ~((table["device"] - table["cpu"]).abs() <= table["tolerance"])  # nan is outside
    lines = [f"{split}; torch {torch.__version__}; {name} against the CPU ({torch.get_num_threads()} threads), "
             f"{options.epochs} epochs, batches of 8192, means of {SEEDS} seeds.", "",
             f"| backbone | method | loss, {device.type} | loss, cpu | ± | NDCG@10, {device.type} | NDCG@10, cpu | ± | "
             f"s/epoch, {device.type} | s/epoch, cpu | |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for key in loss.index:
        figures = [f"{value:.4f}" for table in (loss, ndcg)
                   for value in table.loc[key, ["device", "cpu", "tolerance"]]]
        times = [f"{seconds.loc[key, place]:.3f}" for place in ("device", "cpu")]
        lines.append(f"| {' | '.join([*key, *figures, *times])} | {'outside' if outside[key] else ''} |")
    lines += ["", f"±: {WIDE} standard deviations of one training; one model's metrics: {SAME}. {outside.sum()} "
              f"outside. {time.perf_counter() - start:.0f} s in all."]
    print("\n".join(lines))
    if options.to:
        options.to.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(outside.any())


if __name__ == "__main__":
    sys.exit(main())

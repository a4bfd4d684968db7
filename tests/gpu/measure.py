"""Every method on an accelerator and on the CPU: are losses and metrics the same, and how long does an epoch take?

    python tests/gpu/measure.py [--dataset ml-100k] [--epochs 20] [--to figures/gpu.md]

Under eight minutes on ml-100k. A device draws its own random numbers, so that training is compared within a tolerance;
one model evaluated on both must give the same metrics but for rounding. Without an accelerator the CPU is held against
itself with another seed, which shows that the script works, and how far draws alone move a figure. Exit status 1:
something is outside its tolerance.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

import rkd
from rkd.device import resolve_device
from rkd.methods import Distiller
from rkd.models import BACKBONES

LOSS, NDCG, SAME = 0.2, 0.03, 1e-4  # relative; absolute; absolute, of one model's metrics


def fits(device: torch.device, split, epochs: int, seed: int):
    """(backbone, method) → Fit on a device, each method distilling the same teacher, trained on the CPU."""
    run = dict(epochs=epochs, seed=seed, progress=False, evaluate_every=epochs)
    for backbone, kind in BACKBONES.items():
        teacher = rkd.train(kind(split, 100, 0), split, lr=2e-3, device="cpu", **run | {"seed": 0}).model
        yield (backbone, "none"), rkd.train(kind(split, 10, 0), split, lr=1e-2, batch_size=8192, device=device, **run)
        for name, method in rkd.METHODS.items():
            if issubclass(method, Distiller):
                yield (backbone, name), rkd.distill(teacher.to("cpu"), split, name, backbone=backbone, lr=1e-2,
                                                    batch_size=8192, device=device, **run)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--to", type=Path, help="also write the table here")
    options = parser.parse_args()
    device, start = resolve_device("auto"), time.perf_counter()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    split, lines, faults = rkd.split_of(options.dataset), [], 0
    lines += [f"{split}; torch {torch.__version__}; {name} against the CPU ({torch.get_num_threads()} threads), "
              f"{options.epochs} epochs, batches of 8192.", "",
              f"| backbone | method | loss, {device.type} | loss, cpu | NDCG@10, {device.type} | NDCG@10, cpu | "
              f"s/epoch, {device.type} | s/epoch, cpu | |", "|---|---|---|---|---|---|---|---|---|"]
    ours = fits(device, split, options.epochs, seed=1 if device.type == "cpu" else 0)
    theirs = fits(torch.device("cpu"), split, options.epochs, seed=0)
    for ((backbone, method), fit), (_, reference) in zip(ours, theirs):
        one, other = fit.history[-1], reference.history[-1]
        on_device = rkd.evaluate(fit.model, split.to(device))
        on_cpu = rkd.evaluate(fit.model.to("cpu"), split)
        moved = max(abs(on_device[key] - on_cpu[key]) for key in on_cpu)
        good = (abs(one["loss"] - other["loss"]) <= LOSS * abs(other["loss"])
                and abs(one["ndcg@10"] - other["ndcg@10"]) <= NDCG and moved <= SAME)
        faults += not good
        lines.append(f"| {backbone} | {method} | {one['loss']:.4f} | {other['loss']:.4f} | {one['ndcg@10']:.4f} | "
                     f"{other['ndcg@10']:.4f} | {fit.seconds_per_epoch:.3f} | {reference.seconds_per_epoch:.3f} | "
                     f"{'' if good else 'outside'} |")
        print(lines[-1], flush=True)
    lines += ["", f"Tolerances: loss {LOSS:.0%}, NDCG@10 {NDCG}, one model's metrics {SAME}. {faults} outside. "
              f"{time.perf_counter() - start:.0f} s in all."]
    print("\n".join(lines))
    if options.to:
        options.to.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())

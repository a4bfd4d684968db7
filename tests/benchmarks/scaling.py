"""What grows with the data: seconds per epoch from 10⁵ to 10⁷ synthetic interactions, and memory at the far end.

    python tests/benchmarks/scaling.py [--largest INTERACTIONS]

Writes scaling.csv, .md and .png into figures/ (RKD_FIGURES).
"""

import argparse
import time

import large
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from measure import alone, machine

from rkd.figures import use_style
from rkd.tables import folder

STEPS = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
PER_USER, ITEMS_PER_USER = 50, 0.5  # interactions, and items of the catalogue, for each user: 10⁷ are 200,000 × 100,000
LIMITS = {"train": 8192, "unkd": 8192, "rrd": 8192, "evaluate": 2048}  # MiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=STEPS[-1], help="interactions of the largest case")
    largest = parser.parse_args().largest
    rows = []
    for n in [n for n in STEPS if n <= largest]:
        sizes = dict(n_users=n // PER_USER, n_items=int(n // PER_USER * ITEMS_PER_USER), n_pairs=n)
        tasks = ("train", "unkd", "rrd", "evaluate") if n == largest else ("train",)
        for task in tasks:
            found = alone(getattr(large, task), **sizes)
            rows.append({"task": task, **sizes, **found, "limit MiB": LIMITS[task] if n == STEPS[-1] else None})
            print(f"{time.strftime('%H:%M:%S')}  {rows[-1]}", flush=True)
    write(pd.DataFrame(rows))


def slope(frame: pd.DataFrame) -> float:
    """By which power of the interactions an epoch's seconds grow: least squares in logarithms."""
    return float(np.polyfit(np.log(frame["n_pairs"]), np.log(frame["seconds"]), 1)[0])


def write(frame: pd.DataFrame) -> None:
    place, where = folder(""), machine("rkd", "torch", "numpy")
    training = frame[frame["task"] == "train"]
    power = f"Seconds per epoch grow as interactions^{slope(training):.2f}." if len(training) > 1 else ""
    frame.to_csv(place / "scaling.csv", index=False)
    table = frame.to_markdown(index=False, floatfmt=",.4g", intfmt=",")
    (place / "scaling.md").write_text(f"{where}. {power}\n\n{table}\n", encoding="utf-8")
    use_style()
    figure, axis = plt.subplots(figsize=(6, 4))
    axis.plot(training["n_pairs"], training["seconds"], marker="o", color="#3c78a8", label="measured")
    first = training.iloc[0]
    axis.plot(training["n_pairs"], first["seconds"] * training["n_pairs"] / first["n_pairs"], color="grey",
              linestyle="--", label="linear")
    axis.set(xscale="log", yscale="log", xlabel="interactions", ylabel="seconds per epoch, MF, d = 64",
             title=power.rstrip("."))
    axis.legend()
    figure.savefig(place / "scaling.png")


if __name__ == "__main__":
    main()

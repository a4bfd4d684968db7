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

from rkd.study.figures import use_style
from rkd.study.reproduce import folder

BATCH = 8192
STEPS = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
FIXED, GROWING = "20,000 users, 10,000 items", "users and items grow as well"
BATCHES, LAZY = "users, items and batches grow as well", "users and items grow as well, lazy=True"
# MiB of the process, in the largest case
LIMITS = {"train": 8192, "lazy": 8192, "unkd": 8192, "rrd": 8192, "evaluate": 2048}


def sizes(series: str, n_pairs: int) -> dict[str, int]:
    """50 interactions a user and half as many items as users, so that 10⁷ are of 200,000 × 100,000; or fixed."""
    n_users = 20_000 if series == FIXED else n_pairs // 50
    return {"n_users": n_users, "n_items": n_users // 2, "n_pairs": n_pairs}


def batch(series: str, n_pairs: int) -> int:
    """Pairs a batch; those that grow are as large as the others at 10⁶ interactions."""
    return BATCH * n_pairs // 1_000_000 if series == BATCHES else BATCH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=STEPS[-1], help="interactions of the largest case")
    steps = [n for n in STEPS if n <= parser.parse_args().largest]
    cases = [(series, "train", n) for series in (FIXED, GROWING, BATCHES) for n in steps]
    cases += [(LAZY, "lazy", n) for n in steps]
    cases += [(GROWING, task, steps[-1]) for task in ("unkd", "rrd", "evaluate")]
    rows = []
    for series, task, n in cases:
        limit = LIMITS[task] if series != FIXED and n == STEPS[-1] else None
        asked = sizes(series, n) | ({} if task == "evaluate" else {"batch": batch(series, n)})
        found = alone(getattr(large, task), **asked)
        rows.append({"series": series, "task": task, **asked, **found, "limit MiB": limit})
        print(f"{time.strftime('%H:%M:%S')}  {rows[-1]}", flush=True)
    write(pd.DataFrame(rows))


def slope(frame: pd.DataFrame) -> float:
    """By which power of the interactions an epoch's seconds grow: least squares in logarithms."""
    return float(np.polyfit(np.log(frame["n_pairs"]), np.log(frame["seconds"]), 1)[0])


def write(frame: pd.DataFrame) -> None:
    place, where = folder(""), machine("rkd", "torch", "numpy")
    frame.to_csv(place / "scaling.csv", index=False)
    use_style()
    figure, axis = plt.subplots(figsize=(6.5, 4.2))
    for series, part in frame[frame["task"].isin(["train", "lazy"])].groupby("series", sort=False):
        power = f": as $n^{{{slope(part):.2f}}}$" if len(part) > 1 else ""
        axis.plot(part["n_pairs"], part["seconds"], marker="o", label=series + power)
        where += f"\n\nSeconds per epoch of MF, d = {large.DIM}; {series}{power}."
        axis.plot(part["n_pairs"], part["seconds"].iloc[0] * part["n_pairs"] / part["n_pairs"].iloc[0], color="grey",
                  linestyle="--", linewidth=1)
    axis.set(xscale="log", yscale="log", xlabel="interactions n", ylabel=f"seconds per epoch, MF, d = {large.DIM}")
    axis.legend(title="dashed: linear", loc="upper left", fontsize=9)
    figure.savefig(place / "scaling.png")
    whole = frame.convert_dtypes()  # integers with gaps stay integers
    shown = whole.astype(object).where(whole.notna(), None)
    table = shown.to_markdown(index=False, floatfmt=",.4g", intfmt=",", missingval="")
    (place / "scaling.md").write_text(f"{where}\n\n{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

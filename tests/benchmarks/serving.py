"""What an answer costs: time and memory of exact and of approximate search, by size of the catalogue and of the model.

    python tests/benchmarks/serving.py [--largest ITEMS]

Writes serving.csv and .md into figures/ (RKD_FIGURES).
"""

import argparse
import time

import pandas as pd
from measure import machine

from rkd import serving
from rkd.study.reproduce import folder

# items, dimensions; of MovieLens-100K, CiteULike and Gowalla, teacher and student, and of a shop with a million
CASES = ((1_682, 100), (1_682, 10), (16_980, 100), (16_980, 10), (40_981, 100), (40_981, 10), (1_000_000, 32))
CALLS = {1: 200, 256: 10}
LARGE_CALLS = {1: 40, 256: 2}  # of a catalogue above 10⁵ items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=CASES[-1][0], help="items of the largest case")
    parser.add_argument("--note", default="", help="a sentence for the table, such as what else ran on the machine")
    options = parser.parse_args()
    found = []
    for n_items, dim in CASES:
        if n_items <= options.largest:
            model = serving.synthetic(n_items, dim=dim)
            calls = CALLS if n_items <= 100_000 else LARGE_CALLS
            rows = serving.serving(model, calls=calls)
            found.append(rows.assign(items=n_items, d=dim))
            print(f"{time.strftime('%H:%M:%S')}  {n_items} items, d = {dim}\n{rows.to_string()}", flush=True)
            write(pd.concat(found, ignore_index=True), options.note)


def write(frame: pd.DataFrame, note: str = "") -> None:
    """serving.csv with all digits, and serving.md with three, under the machine."""
    place, where = folder(""), machine("rkd", "torch", "numpy", "faiss-cpu")
    table = frame[["items", "d", *(name for name in frame if name not in ("items", "d"))]]
    table.to_csv(place / "serving.csv", index=False)
    text = table.map(lambda x: f"{x:,.0f}" if isinstance(x, float) and x >= 100 else f"{x:.3g}"
                     if isinstance(x, float) else f"{x:,}" if isinstance(x, int) else x)
    (place / "serving.md").write_text("\n\n".join([
        f"{where}. Synthetic factors (rkd.serving.synthetic), lists of {serving.K}; milliseconds of the processor for "
        "a batch; recall of the exact list.", *([note] if note else []),
        text.to_markdown(index=False, disable_numparse=True)]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

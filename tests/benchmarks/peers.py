"""rkd beside implicit and cornac: one thread, the same data and split, medians.

    python tests/benchmarks/peers.py [--datasets NAME,…] [--repeats N]
    python tests/benchmarks/peers.py --tune NAME,…          choose implicit's settings anew, on validation data (slow)

Writes benchmark.csv, .md and .png into figures/ (RKD_FIGURES).
"""

import argparse
import math
import statistics
import time

import quality
import report
import tasks
import tuning
from libraries import FITS
from measure import alone, machine

from rkd import DataError, split_of

DIMS = (100, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=names, default=["ml-100k", "citeulike", "ml-1m"])
    parser.add_argument("--distillers", type=names, default=["citeulike"], help="those to time every distiller on")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement; seeds of the time to quality")
    parser.add_argument("--tune", type=names, default=[], help="choose implicit's settings on these, no more")
    arguments = parser.parse_args()
    if arguments.tune:
        for dataset in arguments.tune:
            tuning.tune(dataset, say)
        return
    rows = []
    datasets = [dataset for dataset in arguments.datasets if there(dataset)]
    distillers = [dataset for dataset in arguments.distillers if dataset in datasets]
    for row in measurements(datasets, distillers, arguments.repeats):
        rows.append(row)
        say(report.line(row))
    report.write(rows, machine("rkd", "torch", "numpy", "implicit", "cornac"))


def measurements(datasets: list[str], distillers: list[str], repeats: int):
    """The table's rows, one after the other."""
    for dataset in datasets:
        for measure, task in (("seconds per epoch", tasks.epoch), ("seconds to evaluate", tasks.evaluation)):
            for dim in DIMS:
                yield from beside(dataset, measure, dim, alone(task, dataset=dataset, dim=dim, repeats=repeats))
        held = {name: alone(tasks.memory, library=name, dataset=dataset, dim=DIMS[0]) for name in FITS}
        for key, measure in (("rise", "MiB of a fit"), ("peak", "MiB of the process")):
            yield from beside(dataset, measure, DIMS[0], {name: of_one[key] for name, of_one in held.items()})
        yield from quality_rows(dataset, [alone(quality.time_to_quality, dataset=dataset, seed=seed)
                                          for seed in range(repeats)])
    for dataset in distillers:
        for name, seconds in alone(tasks.distillers, dataset=dataset).items():
            method, _, dim = name.removesuffix("-setup").rpartition("-")
            measure = "seconds to set up" if name.endswith("-setup") else "seconds per epoch"
            yield report.Row(dataset, measure, int(dim), f"rkd {method}", seconds)
        for method in tasks.PUBLISHED:
            found = alone(tasks.published, dataset=dataset, method=method, repeats=repeats)
            for key, measure in (("setup", "seconds to set up"), ("epoch", "seconds per epoch")):
                yield report.Row(dataset, measure, 10, f"rkd {method}, published settings", found[key])


def beside(dataset: str, measure: str, dim: int, values: dict[str, float]):
    for name, value in values.items():
        yield report.Row(dataset, measure, dim, name, value)


def quality_rows(dataset: str, runs: list[dict]):
    """Medians over the seeds; a seed that does not reach the target counts as infinite time."""
    for measure, ours, theirs in (("seconds to quality", "rkd", "implicit"),
                                  ("epochs to quality", "rkd_epochs", "implicit_epochs"),
                                  ("test Recall@10 then", "kept", "target")):
        values = {name: statistics.median(math.inf if run[key] is None else run[key] for run in runs)
                  for name, key in (("rkd", ours), ("implicit", theirs))}
        yield from beside(dataset, measure, tuning.DIM, values)


def there(dataset: str) -> bool:
    """Whether the data can be had; says why where not."""
    try:
        split_of(dataset)
    except DataError as error:
        say(f"{dataset} is left out: {error}")
        return False
    return True


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


if __name__ == "__main__":
    main()

"""What is measured of each library, a function each: names and numbers in, plain values out."""

import statistics
from functools import partial

import torch
from libraries import FITS, cornac_dataset, evaluate_cornac, evaluate_implicit, matrix, warm_up
from measure import Memory, in_turns, now

import rkd
from rkd import METHODS, split_of
from rkd.bench import bench
from rkd.given import fixed

EPOCHS = 10  # of a fit whose time, set-up included, is divided by their number
# What the papers and their code take; batches of 2048.
PUBLISHED = {"unkd": {"groups": 4, "n_pairs": 30}, "rrd": {"k": 100, "n_uninteresting": 200}}


def epoch(dataset: str, dim: int, repeats: int) -> dict[str, float]:
    """Seconds per epoch of every library."""
    split = split_of(dataset)
    seconds = {name: [] for name in FITS}
    for _ in range(repeats + 1):
        for name, fit in FITS.items():
            seconds[name].append(fit(split, dim, EPOCHS).seconds / EPOCHS)
    return {name: statistics.median(of_one[1:]) for name, of_one in seconds.items()}


def evaluation(dataset: str, dim: int, repeats: int) -> dict[str, float]:
    """Seconds for the metrics at 10 of all test users, every unseen item ranked, each library in its own way.

    Raises AssertionError where a library's NDCG@10 is not rkd's of the same factors.
    """
    split = split_of(dataset)
    train, test = matrix(split.train), matrix(split.test)
    sets = cornac_dataset(split.train), cornac_dataset(split.test)
    own, implicit, cornac = (fit(split, dim, EPOCHS) for fit in FITS.values())
    for theirs, fitted in ((evaluate_implicit(implicit.model, train, test), implicit),
                           (evaluate_cornac(cornac.model, *sets), cornac)):
        ours = rkd.evaluate(fitted.factors, split, "test", (10,))["ndcg@10"]
        assert abs(ours - theirs) < 1e-4, (ours, theirs)
    seconds = in_turns({"rkd": partial(rkd.evaluate, own.model, split, "test", (10,)),
                        "implicit": partial(evaluate_implicit, implicit.model, train, test)}, repeats)
    return seconds | in_turns({"cornac": partial(evaluate_cornac, cornac.model, *sets)}, 1)


def memory(library: str, dataset: str, dim: int) -> dict[str, float]:
    """MiB of a fit: ``peak`` of the process, ``rise`` above what it held with the data loaded."""
    split = split_of(dataset)
    warm_up()
    with Memory() as held:
        FITS[library](split, dim, 3)
    return {"peak": held.peak, "rise": held.rise}


def distillers(dataset: str) -> dict[str, float]:
    """``rkd.bench``'s seconds of every method's set-up and epoch at d = 10, and of LightGCN's epoch."""
    return {name: seconds for name, seconds in bench(dataset, threads=1, device="cpu", log=lambda line: None).items()
            if name.removesuffix("-setup").rpartition("-")[0] in ("lightgcn", *METHODS)}


def published(dataset: str, method: str, repeats: int) -> dict[str, float]:
    """Seconds of set-up and epoch at d = 10 with the settings of the paper's code, in batches of 2048."""
    split = split_of(dataset)
    teacher, setups, epochs = fixed(rkd.MF(split, 100), split), [], []
    for _ in range(repeats + 1):
        start = now()
        made = METHODS[method](teacher, split, torch.Generator().manual_seed(0), **PUBLISHED[method])
        setups.append(now() - start)
        fitted = FITS["rkd"](split, 10, EPOCHS, method=lambda **_: made, lr=1e-3, l2=1e-2, weight=0.1, batch_size=2048)
        epochs.append(fitted.seconds / EPOCHS)
    return {"setup": statistics.median(setups[1:]), "epoch": statistics.median(epochs[1:])}

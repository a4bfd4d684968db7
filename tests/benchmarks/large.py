"""Tasks on synthetic data of any size: training, distilling, evaluating. Seconds, and MiB of the process at most."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from measure import Memory, Watched, now

import rkd
from rkd import METHODS, Interactions, Split
from rkd.given import fixed

DIM, STUDENT = 64, 8
EVALUATED = 10_000  # users


def synthetic(n_users: int, n_items: int, n_pairs: int, seed: int = 0) -> Split:
    """``n_pairs`` training pairs, and for the first users a twentieth as many held out: users equally active, item i of
    popularity ∝ 1 / (i + 10), pairs drawn with replacement and repeats left out."""
    rng = np.random.default_rng(seed)
    mass = np.cumsum(1 / (np.arange(n_items) + 10))
    wanted = int(n_pairs * 1.05)
    keys = np.empty(0, np.int64)
    while len(keys) < wanted:
        n = int((wanted - len(keys)) * 1.3) + 1000
        items = np.searchsorted(mass, rng.random(n) * mass[-1])
        keys = np.unique(np.concatenate([keys, rng.integers(n_users, size=n) * n_items + items]))
    keys = torch.from_numpy(rng.permutation(keys)[:wanted])
    everything = Interactions(n_users, n_items, keys // n_items, keys % n_items, name="synthetic")
    train, held_out = (replace(everything, users=everything.users[part], items=everything.items[part])
                       for part in (slice(n_pairs), slice(n_pairs, None)))
    first = held_out.users < EVALUATED // 10
    valid, test = (replace(held_out, users=held_out.users[part], items=held_out.items[part])
                   for part in (first, ~first & (held_out.users < EVALUATED + EVALUATED // 10)))
    return Split(train, valid, test)


def train(batch: int, **sizes) -> dict:
    """MF at d = 64: seconds of the second epoch."""
    return _fit(synthetic(**sizes), DIM, batch)


def lazy(batch: int, **sizes) -> dict:
    """The same, embeddings being moved when they are next read."""
    return _fit(synthetic(**sizes), DIM, batch, lazy=True)


def unkd(batch: int, **sizes) -> dict:
    return _distil("unkd", batch, **sizes)


def rrd(batch: int, **sizes) -> dict:
    return _distil("rrd", batch, **sizes)


def evaluate(**sizes) -> dict:
    """The metrics of EVALUATED users."""
    split = synthetic(**sizes)
    model = rkd.MF(split, DIM)
    with Memory() as memory:
        start = now()
        found = rkd.evaluate(model, split, "test", (10,))
        seconds = now() - start
    return {"seconds": seconds, "users evaluated": found["users"], "peak MiB": memory.peak, "rise MiB": memory.rise}


def _distil(method: str, batch: int, **sizes) -> dict:
    split = synthetic(**sizes)
    return _fit(split, STUDENT, batch, partial(METHODS[method], fixed(rkd.MF(split, DIM), split)))


def _fit(split: Split, dim: int, batch: int, distiller=None, lazy: bool = False) -> dict:
    """Seconds of set-up and first epoch, and of the second; memory with the split already there."""
    model, times = Watched(split, dim), []
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # torch loads much for the first
    with Memory() as memory:
        start = now()
        rkd.train(model, split, epochs=2, batch_size=batch, device="cpu", progress=False, distiller=distiller,
                  weight=0.1 if distiller else 0.0, evaluate_every=1, lazy=lazy,
                  callback=lambda fit: times.extend((model.asked, now())))  # around each evaluation
    return {"set-up and first epoch": times[0] - start, "seconds": times[2] - times[1], "peak MiB": memory.peak,
            "rise MiB": memory.rise}

"""What the tests of the projector and of NKD share: loops in NumPy, with the draws of a generator."""

import numpy as np
import torch
from conftest import numpy, seeded

from rkd import MF, Given
from rkd.batch import Batch
from rkd.methods import NKD


def replay(generator):
    """A generator that draws next what this one draws next."""
    again = torch.Generator(generator.device)
    again.set_state(generator.get_state())
    return again


def brute_projection(projector, student, kept=None) -> np.ndarray:
    """The mean of f_m(s), entity by entity and expert by expert; kept [n, M, h] multiplies the hidden units."""
    w1, b1, w2, b2 = numpy(*projector.parameters())
    n, n_experts = len(student), len(w1)
    kept = np.ones((n, n_experts, w1.shape[2])) if kept is None else kept
    return np.stack([np.mean([(np.maximum(s @ w1[m] + b1[m], 0) * kept[e, m]) @ w2[m] + b2[m]
                              for m in range(n_experts)], 0) for e, s in enumerate(student)])


def plain_projection(layers, student, factors=1.0):
    """The mean of f_m(s) for autograd: the projector's parameters and [n, d_s] → [n, d_t]."""
    w1, b1, w2, b2 = layers
    hidden = (torch.einsum("nd,mdh->nmh", student, w1) + b1).relu() * factors
    return (torch.einsum("nmh,mht->nmt", hidden, w2) + b2).mean(1)


def uniform(generator, *shape) -> np.ndarray:
    return numpy(torch.empty(shape, device=generator.device).uniform_(generator=generator))[0]


def kept_units(generator, shape, dropout) -> np.ndarray:
    """What multiplies hidden units, [n, M, h]: 0 or 1 / (1 − dropout), drawn where there is dropout."""
    if not dropout:
        return np.ones(shape)
    n, *units = shape
    drawn = torch.empty(n, int(np.prod(units)), device=generator.device).bernoulli_(1 - dropout, generator=generator)
    return numpy(drawn)[0].reshape(shape) / (1 - dropout)


def cosine(a, b) -> float:
    return a @ b / np.sqrt((a @ a) * (b @ b))


def some_batch(device) -> Batch:
    """Pairs of which users, positives and negatives come more than once, and some items as both."""
    columns = [[4, 4, 7, 0, 4, 1, 22, 7, 9], [5, 6, 5, 30, 6, 5, 2, 1, 0], [6, 2, 2, 31, 8, 6, 5, 1, 3]]
    return Batch(*torch.tensor(columns, device=device))


def pair_of(split, device):
    """(split, teacher in 6 dimensions, MF student in 4), all on the device."""
    teacher = Given(torch.randn(n, 6, generator=seeded("cpu", 5)) for n in (23, 37))
    return split.to(device), teacher.to(device), MF(split, 4, seed=2).to(device)


def made(pair, **settings) -> NKD:
    """NKD for what ``pair_of`` gives, with its own parameters to look at."""
    split, teacher, student = pair
    method = NKD(teacher, split, seeded(student.table.device, 1), **settings)
    method.own = list(method.parameters(student))
    return method


def brute_neighbours(t, k) -> np.ndarray:
    """Each row's k nearest others, nearest first: [n, k]."""
    distance = ((t[:, None] - t[None]) ** 2).sum(2) + np.diag(np.full(len(t), np.inf))
    return np.argsort(distance, axis=1)[:, :k]

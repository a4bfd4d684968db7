"""A world whose truth is known: affinity, and apart from it a popularity effect on what users come to see.

In data from the field nobody knows whether a popular item is liked or merely shown. Here both are drawn, independently
of each other, so that the popularity bias of a model's scores can be read off against the truth.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data import Interactions, Split
from ..device import neutral


@dataclass(frozen=True)
class World:
    """
    split      : test is drawn by affinity alone; train and valid by exposure, log-odds affinity + effect.
    affinity   : [n_users, n_items], M_ui: zero mean and equal deviation for each item, so no item is liked more by all.
    effect     : [n_items], Z_i: what an item's popularity adds to its log-odds of being seen, the same for every user.
    """

    split: Split
    affinity: Tensor
    effect: Tensor


@neutral()
def world(n_users: int = 600, n_items: int = 300, *, rank: int = 16, signal: float = 3.0, popularity: float = 1.0,
          n_train: int = 40, n_valid: int = 5, n_test: int = 10, seed: int = 0) -> World:
    """Draw a world.

    M = signal · standardised (P Qᵀ), P and Q standard normal with ``rank`` columns; Z = popularity · standard normal.
    Each user draws n_test items without replacement with log-odds M (the Gumbel-top-k trick), then n_train + n_valid of
    the others with log-odds M + Z. popularity = 0 is a world without the effect.

    Raises ValueError where a user would need more items than there are.
    """
    if n_train + n_valid + n_test > n_items:
        raise ValueError(f"{n_train} + {n_valid} + {n_test} items a user are more than the {n_items} there are")
    rng = np.random.default_rng(seed)
    affinity = rng.standard_normal((n_users, rank)) @ rng.standard_normal((rank, n_items))
    affinity = signal * (affinity - affinity.mean(0)) / affinity.std(0)
    effect = popularity * rng.standard_normal(n_items)
    test = _draw(rng, affinity, n_test)  # [n_users, n_test]
    exposure = affinity + effect
    np.put_along_axis(exposure, test, -np.inf, axis=1)
    seen = rng.permuted(_draw(rng, exposure, n_train + n_valid), axis=1)
    parts = seen[:, :n_train], seen[:, n_train:], test
    split = Split(*(_interactions(items, n_items) for items in parts), protocol="affinity", seed=seed)
    return World(split, torch.from_numpy(affinity).float(), torch.from_numpy(effect).float())


def interactions(seed: int = 0) -> Interactions:
    """The small data set called "synthetic": what 300 users of a world with 150 items came to see."""
    train = world(300, 150, n_train=25, n_valid=0, n_test=0, seed=seed).split.train
    return Interactions(train.n_users, train.n_items, train.users, train.items, name="synthetic")


def _draw(rng: np.random.Generator, log_odds: np.ndarray, n: int) -> np.ndarray:
    """n items for each user without replacement, p ∝ exp(log-odds): [n_users, n]."""
    noisy = log_odds + rng.gumbel(size=log_odds.shape)
    return np.argsort(-noisy, axis=1)[:, :n]


def _interactions(items: np.ndarray, n_items: int) -> Interactions:
    n_users, per_user = items.shape
    users = torch.arange(n_users).repeat_interleave(per_user)
    return Interactions(n_users, n_items, users, torch.from_numpy(items.flatten()), name="synthetic-world")


def probe(scores: Tensor, truth: World) -> dict[str, float]:
    """How much of a model's scores is affinity and how much popularity: least squares within each user.

    scores [n_users, n_items] are standardised for each user over the items outside training, then explained by
    M / sd(M) and Z / sd(Z). Returns the mean coefficients over users, "affinity" (the wanted effect, PEM) and
    "popularity" (PEZ), and "bias": the popularity's share, popularity² / (popularity² + affinity²). A world without the
    effect has no PEZ: 0.
    """
    outside = torch.ones_like(scores, dtype=torch.bool)
    outside[truth.split.train.users, truth.split.train.items] = False

    def standardise(x):  # over each user's items outside training; 0 elsewhere
        n = outside.sum(1, keepdim=True)
        x = torch.where(outside, x.double(), 0.0)
        x = torch.where(outside, x - x.sum(1, keepdim=True) / n, 0.0)
        return x / (x.square().sum(1, keepdim=True) / n).sqrt().clamp(min=1e-12)

    y = standardise(scores)
    features = torch.stack([standardise(truth.affinity), standardise(truth.effect.expand_as(scores))], 2)  # [U, I, 2]
    gram = features.transpose(1, 2) @ features
    moments = (features * y[:, :, None]).sum(1, keepdim=True).transpose(1, 2)  # [U, 2, 1]
    affinity, popularity = (torch.linalg.pinv(gram, hermitian=True) @ moments).squeeze(2).mean(0).tolist()
    return {"affinity": affinity, "popularity": popularity, "bias": popularity**2 / (popularity**2 + affinity**2)}

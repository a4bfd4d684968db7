"""rkd and its peers behind one face.

``check(epoch, factors, seconds)`` is called as training goes, with the seconds of training so far: set-up counts, the
checks do not. It may return True to end training.
"""

from collections import OrderedDict
from contextlib import suppress
from typing import NamedTuple

import cornac
import numpy as np
from cornac.data import Dataset
from cornac.eval_methods.base_method import ranking_eval
from cornac.metrics import NDCG
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.evaluation import ranking_metrics_at_k
from measure import Watched, now
from scipy.sparse import csr_matrix

import rkd
from rkd import Interactions, Split, split_of
from rkd.tuned import tuned


class Fitted(NamedTuple):
    factors: tuple  # (user factors, item factors), whose inner products are the scores
    seconds: float
    model: object


class Stop(Exception):
    """Training was ended by a check."""


class Clock:
    """Seconds of training, without those of checks."""

    def __init__(self, check=None):
        self.check, self.start, self.outside = check, now(), 0.0

    def __call__(self, epoch, factors):
        pause = now()
        if self.check and self.check(epoch, factors, pause - self.start - self.outside):
            raise Stop
        self.outside += now() - pause

    def seconds(self) -> float:
        return now() - self.start - self.outside


def fit_rkd(split: Split, dim: int, epochs: int, seed: int = 0, check=None, method=None, **settings) -> Fitted:
    """``rkd.train`` as it is, with the settings tuned for the data unless others are given.

    Its own evaluations on validation data are where the check is called; their time does not count.
    """
    settings = tuned(split.data_fingerprint, "mf", "teacher" if dim > 10 else "none") | settings
    if method is None:
        settings.pop("weight")
    model, clock = Watched(split, dim, seed), Clock(check)

    def evaluated(fit):
        clock.outside += now() - model.asked
        try:
            clock(fit.epochs, model.factors())
        except Stop:
            return True

    rkd.train(model, split, epochs=epochs, seed=seed, device="cpu", progress=False, distiller=method,
              callback=evaluated, **settings)
    return Fitted(model.factors(), clock.seconds(), model)


def fit_implicit(split: Split, dim: int, epochs: int, seed: int = 0, check=None, every: int = 20, lr: float = 0.1,
                 reg: float = 0.01) -> Fitted:
    """implicit's BayesianPersonalizedRanking; the items' bias is a column of its factors."""
    model = BayesianPersonalizedRanking(factors=dim, learning_rate=lr, regularization=reg, iterations=epochs,
                                        num_threads=1, random_state=seed)
    train = matrix(split.train)
    clock = Clock(check)

    def after(iteration, *_):
        if check and (iteration + 1) % every == 0:
            clock(iteration + 1, (model.user_factors, model.item_factors))

    with suppress(Stop):
        model.fit(train, show_progress=False, callback=after)
    return Fitted((model.user_factors, model.item_factors), clock.seconds(), model)


def fit_cornac(split: Split, dim: int, epochs: int, seed: int = 0) -> Fitted:
    """cornac's BPR; the items' bias becomes a column of the factors."""
    model = cornac.models.BPR(k=dim, max_iter=epochs, learning_rate=0.05, lambda_reg=0.01, seed=seed)  # so: one thread
    train = cornac_dataset(split.train)
    clock = Clock()
    model.fit(train)
    seconds = clock.seconds()
    users = np.concatenate([model.u_factors, np.ones((split.n_users, 1), np.float32)], 1)
    items = np.concatenate([model.i_factors, model.i_biases[:, None]], 1)
    return Fitted((users, items), seconds, model)


FITS = {"rkd": fit_rkd, "implicit": fit_implicit, "cornac": fit_cornac}


def warm_up() -> None:
    """Fit little data with every library, for what each loads once in a process (rkd, by torch's Adam, in a second)."""
    for fit in FITS.values():
        fit(split_of("synthetic"), 10, 1)


def matrix(part: Interactions) -> csr_matrix:
    return csr_matrix((np.ones(len(part), np.float32), (part.users.numpy(), part.items.numpy())),
                      shape=(part.n_users, part.n_items))


def cornac_dataset(part: Interactions) -> Dataset:
    maps = (OrderedDict((i, i) for i in range(n)) for n in (part.n_users, part.n_items))
    rows = list(zip(part.users.tolist(), part.items.tolist(), [1.0] * len(part)))
    return Dataset.build(rows, global_uid_map=next(maps), global_iid_map=next(maps))


def evaluate_implicit(model, train, test) -> float:
    """Its own ranking and metrics of all test users; NDCG@10."""
    return ranking_metrics_at_k(model, train, test, K=10, num_threads=1, show_progress=False)["ndcg"]


def evaluate_cornac(model, train, test) -> float:
    """Its own ranking and metrics of all test users; NDCG@10."""
    return ranking_eval(model, [NDCG(10)], train, test)[0][0]

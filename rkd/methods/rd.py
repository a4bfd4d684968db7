"""Ranking Distillation: the teacher's top items are further positives.        (Tang & Wang, KDD 2018)"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..kernels import ItemLists
from ..limits import ABOVE_0, FROM_0, FROM_1, one_of
from .base import Distiller
from .lists import logits_of_present


class RD(Distiller):
    """L = mean_u −Σ_r w_r log σ(s_{u, i_r}) over the K items that the teacher ranks highest for u, training items
    apart; or over all that u has left, where these are fewer.

    w_r ∝ exp(−r / sharpness) · max(0, tanh(mu · (r̂ − r))), summing to 1 over the list, the hybrid weights: an item
    counts more the higher the teacher ranks it, and only while the student's own rank r̂ of it is lower. r̂ is
    estimated at every step from how many of ``n_samples`` random unseen items, drawn afresh each epoch, the student
    scores above it; in the first ``warmup`` epochs, when that says nothing yet, the first factor stands alone.

    As in UnKD's code (all of it: ``as_released``):
    among : "all", r̂ = ⌊(n_items − 1) · share above⌋ + 1, held against r − 1; "unseen", r̂ = n_unseen · share + 1.
    averaged : True, L is divided by K.

    As in the paper's own code:
    renormalised : False, the first factor, summing to 1, times the second, so that L vanishes where the student agrees.
    """

    label = "RD"
    source = "Tang & Wang, KDD 2018"
    search = {"k": [10, 30], "sharpness": [1.0, 10.0], "mu": [0.1, 1.0]}
    weights = (1e-2, 3.0)
    # rank_distill, distill_caser.py: λ = 1, K = 10, mu = .1, sharpness 1. (UnKD's code for its own table: K = 30.)
    published = {"weight": 1.0, "k": 10, "sharpness": 1.0, "mu": 0.1, "warmup": 10, "renormalised": False}
    as_released = {"k": 30, "sharpness": 1.0, "mu": 0.1, "n_samples": 100, "warmup": 100, "among": "all",
                   "averaged": True}
    limits = {"k": FROM_1, "sharpness": ABOVE_0, "mu": ABOVE_0, "n_samples": FROM_1, "warmup": FROM_0,
              "among": one_of("unseen", "all")}
    differs = ("The weights sum to 1 after both factors, as in UnKD's code (the paper's own: after the first alone).",
               "UnKD's code divides by K once more, estimates r̂ among all items, holds it against r − 1 and warms up "
               "for 100 epochs: settings here, by default the paper's.",
               "L is added to the student's own loss (UnKD's code takes (1 − weight) times that, and weight times L).")

    k: int = 30
    sharpness: float = 10.0
    mu: float = 0.1
    n_samples: int = 100
    warmup: int = 10
    among: str = "unseen"
    averaged: bool = False
    renormalised: bool = True

    def prepare(self):
        top = self.best(self.teacher, self.k)  # [n_users, K]
        self.top = ItemLists(top.clamp(min=0), self.split.n_items)
        self.ranks, present = torch.arange(1, top.shape[1] + 1, device=top.device), top >= 0
        logits = logits_of_present(-self.ranks / self.sharpness, present)
        self.position_weight = torch.softmax(logits, 1) * present  # [n_users, K]
        self.n_unseen = self.split.n_items - self.split.train.csr[0].diff()  # [n_users]

    def begin_epoch(self, student, epoch):
        self.dynamic = epoch > self.warmup
        if self.dynamic:
            self.random_items = ItemLists(self.unseen(self.n_samples), self.split.n_items)

    def loss(self, student, batch):
        users = batch.counted_users(self.split.n_users)
        scores = student.scores(users.index, self.top)  # [n, K]
        weight = users.of(self.position_weight)
        if self.dynamic:
            weight = weight * self.discrepancy(student, users, scores.detach())
            if self.renormalised:
                weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-12)
        loss = users.mean(ranking_distillation(scores, weight))
        return loss / self.k if self.averaged else loss

    @torch.no_grad()
    def discrepancy(self, student, users, scores):
        """max(0, tanh(mu · (r̂ − r))) for the student's scores of the teacher's items, [n, K]; r̂ is its rank of
        them."""
        sampled = student.scores(users.index, self.random_items)  # [n, n_samples]
        just_above = scores + 1e-5 * scores.abs()  # the same item's score may differ by rounding between two products
        # [n, K]; as floats: faster
        above = torch.gt(sampled[:, None], just_above[:, :, None], out=scores.new_empty(0)).sum(2)
        if self.among == "all":
            ahead = torch.floor(above * (self.split.n_items - 1) / self.n_samples) + 1
        else:
            ahead = above / self.n_samples * users.of(self.n_unseen)[:, None]
        return torch.tanh(self.mu * (ahead + 1 - self.ranks)).clamp(min=0)


def ranking_distillation(scores: Tensor, weight: Tensor) -> Tensor:
    """−Σ_r w_r log σ(s_r) of each user, for the teacher's top items: scores, weights [n, K] → [n].

    (Tang & Wang, KDD 2018: the distillation loss, weights as in RD)
    """
    return -(weight * logsigmoid(scores)).sum(1)

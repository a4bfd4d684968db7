"""Ranking Distillation: the teacher's top items are further positives.        (Tang & Wang, KDD 2018)"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..kernels import ItemLists
from ..limits import ABOVE_0, FROM_0, FROM_1
from .base import Distiller
from .lists import logits_of_present


class RD(Distiller):
    """L = mean_u −Σ_r w_r log σ(s_{u, i_r}) over the K items that the teacher ranks highest for u, training items
    apart; or over all that u has left, where these are fewer.

    w_r ∝ exp(−r / sharpness) · max(0, tanh(mu · (r̂ − r))), summing to 1 over the list, the hybrid weights: an item
    counts more the higher the teacher ranks it, and only while the student's own rank r̂ of it is lower. r̂ is
    estimated at every step from how many of ``n_samples`` random unseen items, drawn afresh each epoch, the student
    scores above it; in the first ``warmup`` epochs, when that says nothing yet, the first factor stands alone.
    """

    label = "RD"
    source = "Tang & Wang, KDD 2018"
    search = {"k": [10, 30], "sharpness": [1.0, 10.0], "mu": [0.1, 1.0]}
    limits = {"k": FROM_1, "sharpness": ABOVE_0, "mu": ABOVE_0, "n_samples": FROM_1, "warmup": FROM_0}
    differs = ("Followed is the paper. UnKD's code divides by K once more, which ``weight`` makes up for, estimates r̂ "
               "among all items, and warms up for 100 epochs.",)

    k: int = 30
    sharpness: float = 10.0
    mu: float = 0.1
    n_samples: int = 100
    warmup: int = 10

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
            weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-12)
        return users.mean(ranking_distillation(scores, weight))

    @torch.no_grad()
    def discrepancy(self, student, users, scores):
        """max(0, tanh(mu · (r̂ − r))) for the student's scores of the teacher's items, [n, K]; r̂ is its rank of
        them."""
        sampled = student.scores(users.index, self.random_items)  # [n, n_samples]
        just_above = scores + 1e-5 * scores.abs()  # the same item's score may differ by rounding between two products
        # [n, K]; as floats: faster
        above = torch.gt(sampled[:, None], just_above[:, :, None], out=scores.new_empty(0)).sum(2)
        estimate = above / self.n_samples * users.of(self.n_unseen)[:, None] + 1
        return torch.tanh(self.mu * (estimate - self.ranks)).clamp(min=0)


def ranking_distillation(scores: Tensor, weight: Tensor) -> Tensor:
    """−Σ_r w_r log σ(s_r) of each user, for the teacher's top items: scores, weights [n, K] → [n].

    (Tang & Wang, KDD 2018: the distillation loss, weights as in RD)
    """
    return -(weight * logsigmoid(scores)).sum(1)

"""Ranking Distillation: the teacher's top items are further positives.        (Tang & Wang, KDD 2018)"""

import torch

from ..losses import ranking_distillation, weighted_mean
from ..sampling import NegativeSampler, ranking
from .base import Distiller


class RD(Distiller):
    """L = mean_u −Σ_r w_r log σ(s_{u, i_r}) over the K items that the teacher ranks highest for u, training items apart.

    w_r ∝ exp(−r / sharpness) · max(0, tanh(mu · (r̂ − r))), summing to 1 over the list, the hybrid weights: an item
    counts more the higher the teacher ranks it, and only while the student's own rank r̂ of it is lower. r̂ is
    estimated from how many of ``n_samples`` random untrained items the student scores above it; in the first
    ``warmup`` epochs, when that says nothing yet, the first factor stands alone.

    Deviation: the random items are drawn, and the weights renewed, once an epoch for each user, not at every step.
    """

    def __init__(self, teacher, split, generator, *, k: int = 30, sharpness: float = 10.0, mu: float = 0.1,
                 n_samples: int = 100, warmup: int = 10):
        super().__init__(teacher, split, generator)
        self.mu, self.n_samples, self.warmup = mu, n_samples, warmup
        self.top = ranking(*teacher, split.train, depth=k)  # [n_users, K]
        self.ranks = torch.arange(1, self.top.shape[1] + 1, device=self.top.device)
        self.position_weight = torch.softmax(-self.ranks / sharpness, 0)  # [K]
        self.negatives = NegativeSampler(split.train)
        self.n_untrained = split.n_items - split.train.csr[0].diff()  # [n_users]

    def begin_epoch(self, student, epoch):
        n_users, k = self.top.shape
        self.weight = self.position_weight.expand(n_users, k)  # [n_users, K]
        if epoch > self.warmup:
            weight = self.weight * self.discrepancy(*student.factors())
            self.weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-12)

    def discrepancy(self, user_factors, item_factors):
        """max(0, tanh(mu · (r̂ − r))), r̂ the student's estimated rank of the teacher's items: [n_users, K]."""
        users = torch.arange(len(user_factors), device=self.top.device)[:, None].expand(-1, self.n_samples)
        random_items = self.negatives(users, self.generator)  # [n_users, n_samples]
        u = user_factors[:, :, None]
        sampled = torch.bmm(item_factors[random_items], u).squeeze(2)
        scores = torch.bmm(item_factors[self.top], u).squeeze(2)  # [n_users, K]
        just_above = scores + 1e-5 * scores.abs()  # the same item's score may differ by rounding between two products
        above = torch.searchsorted(sampled.neg().sort(1).values, just_above.neg())  # how many are scored higher
        estimate = above / self.n_samples * self.n_untrained[:, None] + 1
        return torch.tanh(self.mu * (estimate - self.ranks)).clamp(min=0)

    def loss(self, student, batch):
        users, counts = batch.unique_users
        scores = student.scores(users, self.top[users])  # [n, K]
        return weighted_mean(ranking_distillation(scores, self.weight[users]), counts)

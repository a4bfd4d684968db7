"""Collaborative Distillation: the teacher's probabilities as soft labels.        (Lee et al., ICDM 2019)"""

import torch

from ..lookup import ItemLists
from ..losses import collaborative_distillation
from ..sampling import draw_ranks, ranking
from .base import Distiller

DEPTHS = 10  # a ranking is cut where e^−10 of the draws would lie


class CD(Distiller):
    """L = mean over u and L items of the cross-entropy of σ(s_ui) to the teacher's q_ui = σ((z_ui + t2) / t1).

    The items, training items apart, are drawn afresh each epoch without replacement, p(rank r) ∝ exp(−r / temperature).

    guide : whose ranking they are drawn from: "student" (its present one, renewed every ``refresh`` epochs: what the
            student would show and the teacher may correct) or "teacher".
    """

    def __init__(self, teacher, split, generator, *, guide: str = "student", n_samples: int = 30,
                 temperature: float = 20.0, t1: float = 2.0, t2: float = 0.0, refresh: int = 5):
        super().__init__(teacher, split, generator)
        if guide not in ("student", "teacher"):
            raise ValueError(f"guide must be 'student' or 'teacher', not {guide!r}")
        if t1 <= 0 or refresh < 1:
            raise ValueError(f"t1 must be above 0 and refresh at least 1, not {t1} and {refresh}")
        self.guide, self.n_samples, self.temperature = guide, n_samples, temperature
        self.t1, self.t2, self.refresh = t1, t2, refresh
        if guide == "teacher":
            self.rank_by(teacher)

    def rank_by(self, factors):
        """Rank by a model's factors, and keep the teacher's probabilities of the ranked items: [n_users, depth] each."""
        self.ranked = ranking(*factors, self.split.train, depth=int(DEPTHS * self.temperature))
        self.probability = torch.cat([
            torch.sigmoid(((u @ self.item_factors.T).gather(1, items) + self.t2) / self.t1)
            for u, items in zip(self.user_factors.split(256), self.ranked.split(256))])

    def begin_epoch(self, student, epoch):
        if self.guide == "student" and (epoch - 1) % self.refresh == 0:
            self.rank_by(student.factors())
        n_users, depth = self.ranked.shape
        ranks = draw_ranks(n_users, self.n_samples, depth, self.temperature, self.ranked.device, self.generator)
        self.lists = ItemLists(self.ranked.gather(1, ranks), self.split.n_items)
        self.soft_labels = self.probability.gather(1, ranks)  # [n_users, L]

    def loss(self, student, batch):
        users = batch.counted_users(self.split.n_users)
        scores = student.scores(users.index, self.lists)  # [n, L]
        return users.mean(collaborative_distillation(scores, users.of(self.soft_labels)))

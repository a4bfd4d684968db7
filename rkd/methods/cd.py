"""Collaborative Distillation: the teacher's probabilities as soft labels.        (Lee et al., ICDM 2019)"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ..limits import ABOVE_0, FINITE, FROM_1, one_of
from ..sampling import draw_ranks
from .base import OnLists
from .lists import mean_of_present, pick

DEPTHS = 10  # a ranking is cut where e^−10 of the draws would lie


class CD(OnLists):
    """L = mean over u and L items of the cross-entropy of σ(s_ui) to the teacher's q_ui = σ((z_ui + t2) / t1).

    The items, training items apart, are drawn afresh each epoch without replacement, p(rank r) ∝ exp(−r / temperature);
    a user who has fewer than L left has them all.

    guide : whose ranking they are drawn from: "student" (its present one, renewed every ``refresh`` epochs: what the
            student would show and the teacher may correct) or "teacher".
    """

    label = "CD"
    source = "Lee et al., ICDM 2019"
    search = {"guide": ["student", "teacher"], "temperature": [10.0, 20.0, 50.0], "t1": [1.0, 2.0]}
    limits = {"guide": one_of("student", "teacher"), "n_samples": FROM_1, "temperature": ABOVE_0, "t1": ABOVE_0,
              "t2": FINITE, "refresh": FROM_1}
    differs = ("UnKD's code draws once, from the teacher, all but uniformly over its best 3000.",)

    guide: str = "student"
    n_samples: int = 30
    temperature: float = 20.0
    t1: float = 2.0
    t2: float = 0.0
    refresh: int = 5

    def prepare(self):
        if self.guide == "teacher":
            self.rank_by(self.teacher)

    def rank_by(self, model):
        """Rank by a model, and keep the teacher's probabilities of the ranked items: [n_users, depth] each, of which
        the user's ``lengths`` [n_users] first count."""
        ranked = self.best(model, int(DEPTHS * self.temperature))
        self.ranked, self.lengths = ranked.clamp(min=0), (ranked >= 0).sum(1)
        self.probability = torch.sigmoid((self.teacher.scores(None, self.ranked) + self.t2) / self.t1)

    def draw(self, student, epoch):
        if self.guide == "student" and (epoch - 1) % self.refresh == 0:
            self.rank_by(student)
        ranks = draw_ranks(self.lengths, self.n_samples, self.ranked.shape[1], self.temperature, self.generator)
        return pick(self.ranked, ranks), {"probability": self.probability.gather(1, ranks.clamp(min=0))}

    def user_loss(self, scores, probability, present):
        return collaborative_distillation(scores, probability, present)


def collaborative_distillation(scores: Tensor, probability: Tensor, present: Tensor) -> Tensor:
    """Binary cross-entropy of σ(s) to the teacher's probability, mean over the present items: [n, L] each → [n].

    (Lee et al., ICDM 2019: L_CD)
    """
    return mean_of_present(binary_cross_entropy_with_logits(scores, probability, reduction="none"), present)

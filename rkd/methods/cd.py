"""Collaborative Distillation: the teacher's probabilities as soft labels.        (Lee et al., ICDM 2019)"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ..limits import ABOVE_0, FINITE, FROM_0, FROM_1, one_of
from ..sampling import draw_better_ranks, draw_ranks
from .base import OnLists
from .lists import mean_of_present, pick

DEPTHS = 10  # a ranking is cut where e^−10 of the draws would lie


class CD(OnLists):
    """L = mean over u and L items of the cross-entropy of σ(s_ui) to the teacher's q_ui = σ((z_ui + t2) / t1).

    The items, training items apart, are drawn afresh each epoch without replacement, p(rank r) ∝ exp(−r / temperature);
    a user who has fewer than L left has them all.

    guide : whose ranking they are drawn from: "student" (its present one, renewed every ``refresh`` epochs: what the
            student would show and the teacher may correct) or "teacher".
    depth : a ranking is cut there; 0: at 10 · temperature, beyond which lie e^−10 of the draws.

    As in UnKD's code (all of it: ``as_released``):
    better : True, each item is the better of two draws, and may come again.
    redraw : False, one draw serves the whole training.
    """

    label = "CD"
    source = "Lee et al., ICDM 2019"
    search = {"guide": ["student", "teacher"], "temperature": [10.0, 20.0, 50.0], "t1": [1.0, 2.0]}
    weights = (1e-2, 3.0)
    # KDs, configs/citeulike/bpr/cd.yaml: a student's list, λ = .5 of a sum of 2 items
    published = {"weight": 1.0, "guide": "student", "n_samples": 2, "depth": 3000, "temperature": 60000.0,
                 "better": True, "t1": 2.0, "t2": 0.0, "refresh": 1}
    as_released = {"guide": "teacher", "n_samples": 50, "depth": 3000, "temperature": 60_000.0, "better": True,
                   "redraw": False}
    limits = {"guide": one_of("student", "teacher"), "n_samples": FROM_1, "temperature": ABOVE_0, "t1": ABOVE_0,
              "t2": FINITE, "refresh": FROM_1, "depth": FROM_0}
    differs = ("Followed is the paper: items are drawn p ∝ exp(−rank / T), T = 10 to 50. UnKD's and KDs' code draw all "
               "but uniformly from the best 3000, and take the better of two draws: settings here.",
               "UnKD's code ranks by the teacher and draws once, though it calls that \"student guide\": settings "
               "here, by default the student's ranking, drawn from afresh each epoch.",
               "The student's ranking is renewed every 5 epochs (KDs' code: every epoch).")

    guide: str = "student"
    n_samples: int = 30
    temperature: float = 20.0
    t1: float = 2.0
    t2: float = 0.0
    refresh: int = 5
    depth: int = 0
    better: bool = False
    redraw: bool = True

    keeps = "ranked", "lengths", "probability", "ranks"

    def prepare(self):
        self.ranks = None
        if self.guide == "teacher":
            self.rank_by(self.teacher)

    def rank_by(self, model):
        """Rank by a model, and keep the teacher's probabilities of the ranked items: [n_users, depth] each, of which
        the user's ``lengths`` [n_users] first count."""
        ranked = self.best(model, self.depth or int(DEPTHS * self.temperature))
        self.ranked, self.lengths = ranked.clamp(min=0), (ranked >= 0).sum(1)
        self.probability = torch.sigmoid((self.teacher.scores(None, self.ranked) + self.t2) / self.t1)

    def draw(self, student, epoch):
        if self.redraw or self.ranks is None:
            if self.guide == "student" and (epoch - 1) % self.refresh == 0:
                self.rank_by(student)
            self.ranks = self.draw_places()
        return pick(self.ranked, self.ranks), {"probability": self.probability.gather(1, self.ranks.clamp(min=0))}

    def draw_places(self):
        """Places in everyone's ranking, −1 where there are no more: [n_users, n_samples]."""
        if self.better:
            return draw_better_ranks(self.lengths, self.n_samples, self.temperature, self.generator)
        return draw_ranks(self.lengths, self.n_samples, self.ranked.shape[1], self.temperature, self.generator)

    def user_loss(self, scores, probability, present):
        return collaborative_distillation(scores, probability, present)


def collaborative_distillation(scores: Tensor, probability: Tensor, present: Tensor) -> Tensor:
    """Binary cross-entropy of σ(s) to the teacher's probability, mean over the present items: [n, L] each → [n].

    (Lee et al., ICDM 2019: L_CD)
    """
    return mean_of_present(binary_cross_entropy_with_logits(scores, probability, reduction="none"), present)

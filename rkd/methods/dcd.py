"""Dual correction: what the student ranks too low, above what it ranks too high.  (Lee & Kim, CIKM 2021)"""

import torch
from torch import Tensor

from ..given import Given
from ..kernels import ItemLists
from ..limits import ABOVE_0, FROM_0, FROM_1
from ..sampling import draw_places
from .base import OnLists, Sum
from .by_item import ByItem
from .lists import logits_of_present, pick
from .rrd import relaxed_ranking


class Correction(OnLists):
    """L = mean_u −log p(π_u), RRD's likelihood of an order in which K underestimated items, as the teacher orders them,
    all stand above K overestimated ones.

    Of the ``pool`` best unseen items of the teacher's, one is underestimated by tanh(max(0, sharpness · (r_S − r_T)))
    and overestimated by tanh(max(0, sharpness · (r_T − r_S))), r_T and r_S being its ranks among them by teacher and
    student. Afresh each epoch, ``k`` items are drawn ∝ the one and ``k`` ∝ the other, without replacement; where fewer
    are ranked wrongly, all of these. The student's ranks are renewed every ``refresh`` epochs.
    """

    label = "DCD's user side"
    source = "Lee & Kim, CIKM 2021"
    limits = {"k": FROM_1, "pool": FROM_1, "sharpness": ABOVE_0, "refresh": FROM_1}
    counts_users = "once"

    k: int = 100
    pool: int = 500
    sharpness: float = 0.1
    refresh: int = 3

    keeps = ("log_p",)

    @classmethod
    def check_together(cls, settings):
        if settings["k"] > settings["pool"]:
            raise ValueError(f"{settings['k']} items cannot be drawn from a pool of {settings['pool']}")

    def prepare(self):
        self.ranked = self.best(self.teacher, self.pool)  # [n_users, M], −1: no more

    def draw(self, student, epoch):
        if (epoch - 1) % self.refresh == 0:
            error = self.sharpness * self.lowered(student)
            self.log_p = [torch.tanh(x.clamp(min=0)).log() for x in (error, -error)]  # −∞ where an item has no error
        under, over = (self.places(log_p) for log_p in self.log_p)
        places = torch.cat([under.sort(1).values, over], 1)  # the teacher's order; empty places, −1, come first
        return pick(self.ranked, places), {}

    def lowered(self, student) -> Tensor:
        """r_S − r_T of the teacher's ranking: [n_users, M]; 0 where there is no item."""
        lists = ItemLists(self.ranked.clamp(min=0), self.split.n_items)
        scores = Given(student.factors()).scores(None, lists).masked_fill(self.ranked < 0, -torch.inf)
        order = scores.argsort(dim=1, descending=True, stable=True)  # by the student; absent items stay the last
        of_teacher = torch.arange(order.shape[1], device=order.device).expand_as(order)
        return torch.empty_like(order).scatter_(1, order, of_teacher) - of_teacher

    def places(self, log_p: Tensor) -> Tensor:
        """k places of each ranking, p ∝ exp(log_p): [n_users, M] → [n_users, k], −1 where too few are possible."""
        places, possible = draw_places(log_p, min(self.k, log_p.shape[1]), self.generator)
        return torch.where(possible, places, -1)

    def user_loss(self, scores, present):
        (under, over), (of_under, of_over) = scores.chunk(2, 1), present.chunk(2, 1)
        return relaxed_ranking(under, logits_of_present(over, of_over), of_under)


class ItemCorrection(ByItem, Correction):
    """Correction with users and items exchanged: the users for whom the student ranks an item too low."""

    label = "DCD's item side"


class DCD(Sum):
    """L = users · L_U + items · L_I: Correction of the items of every user, and of the users of every item. The other
    settings: see Correction."""

    label = "DCD"
    source = "Lee & Kim, CIKM 2021"
    search = {"items": (0.03, 3.0), "users_k": [20, 50, 100], "users_sharpness": [0.1, 0.3]}
    weight = 0.01
    weights = (1e-3, 1e-1)
    published = {"weight": 0.006, "users": 1.0, "items": 0.0, "users_k": 100, "users_pool": 500, "users_sharpness": 0.1,
                 "users_refresh": 1}  # of RCE-KD's authors, CiteULike; the sums in means: 0.01 · 0.61 users a pair
    differs = ("Items are drawn once an epoch (the code: in every step).",
               "The items of a step are the distinct positive and negative ones of its pairs (the code: the positive "
               "ones).",
               "The authors' repository names no settings; those here are of RCE-KD's authors, who have the user side "
               "alone and rank a student's items among all.")
    limits = {"users": FROM_0, "items": FROM_0}
    parts = {"users": Correction, "items": ItemCorrection}

    users: float = 1.0
    items: float = 1.0

"""Relaxed Ranking Distillation: the order of the teacher's best items, above the rest.  (Kang et al., CIKM 2020)"""

import torch
from torch import Tensor

from ..data import Interactions
from ..limits import ABOVE_0, FROM_0, FROM_1
from ..sampling import NegativeSampler, draw_ranks
from .base import OnLists
from .lists import ABSENT, pick


class RRD(OnLists):
    """L = mean_u −log p(π_u), the Plackett–Luce likelihood of the teacher's order of K interesting items, which all
    stand above L uninteresting ones; among the latter no order is asked for.

    Afresh each epoch, for each user: ``k`` items from the ``pool`` best unseen ones of the teacher's, without
    replacement, p(rank r) ∝ exp(−r / temperature), kept in the teacher's order; and ``n_uninteresting`` items from
    those outside pool and training items, uniformly, with replacement. A user's pool is at most half of what it has
    left; where that holds fewer than ``k``, all of it is interesting.

    sigmoid : the likelihood of σ(s) instead of s, as in UnKD's code. There a score's exponential lies between 1 and e,
              so that no order can be likely and an item far below its place is hardly pulled. The paper has s, the
              default.
    """

    label = "RRD"
    source = "Kang et al., CIKM 2020"
    search = {"temperature": [10.0, 20.0, 30.0]}
    limits = {"k": FROM_1, "n_uninteresting": FROM_0, "temperature": ABOVE_0, "pool": FROM_1}
    differs = ("UnKD's code draws the items once and for all. Followed is the paper: afresh each epoch.",)

    k: int = 20
    n_uninteresting: int = 20
    temperature: float = 10.0
    pool: int = 100
    sigmoid: bool = False

    def prepare(self):
        if self.k > self.pool:
            raise ValueError(f"{self.k} interesting items cannot be drawn from a pool of {self.pool}")
        train = self.split.train
        self.ranked = self.best(self.teacher, min(self.pool, train.n_items // 2))  # [n_users, pool]
        half = (train.n_items - train.csr[0].diff()) // 2  # of what each has left: nobody's rest is empty, [n_users]
        self.lengths = torch.minimum((self.ranked >= 0).sum(1), half)
        inside = torch.arange(self.ranked.shape[1], device=half.device) < self.lengths[:, None]
        users = torch.cat([train.users, self.everyone.expand_as(self.ranked)[inside]])
        items = torch.cat([train.items, self.ranked[inside]])
        self.rest = NegativeSampler(Interactions(train.n_users, train.n_items, users, items))

    def draw(self, student, epoch):
        ranks = draw_ranks(self.lengths, self.k, self.ranked.shape[1], self.temperature, self.generator)
        ranks = ranks.sort(1).values  # empty places, −1, come first
        interesting = pick(self.ranked, ranks)  # [n_users, K], best first
        uninteresting = self.rest(self.everyone.expand(-1, self.n_uninteresting), self.generator)  # [n_users, L]
        return torch.cat([interesting, uninteresting], 1), {}

    def user_loss(self, scores, present):
        if self.sigmoid:
            scores = scores.sigmoid()
        return relaxed_ranking(scores[:, :self.k], scores[:, self.k:], present[:, :self.k])


def relaxed_ranking(interesting: Tensor, uninteresting: Tensor, present: Tensor | None = None) -> Tensor:
    """−log Π_k exp(s_k) / (Σ_{j ≥ k} exp(s_j) + Σ_l exp(s_l)) of each user: scores of K interesting items, the
    teacher's best first, and of L uninteresting ones, [n, K] and [n, L] → [n].                 (Kang et al., CIKM 2020)

    present : 1, or 0 for an empty place among the interesting, [n, K] floats; these come first and count for nothing.
              None: all are there.
    Scores more than 80 below a user's highest count as 80 below it, so that no sum is zero.
    """
    present = torch.ones_like(interesting) if present is None else present
    scores = torch.cat([interesting * present + (1 - present) * ABSENT, uninteresting], 1)
    scores = (scores - scores.detach().amax(1, keepdim=True)).clamp(min=-80)
    up, rest = scores.exp().split([interesting.shape[1], uninteresting.shape[1]], 1)
    below = up.flip(1).cumsum(1) + rest.sum(1, keepdim=True)  # [n, K]: of the last item, the last two, …
    return (below.log() * present.flip(1) - scores[:, :interesting.shape[1]] * present).sum(1)

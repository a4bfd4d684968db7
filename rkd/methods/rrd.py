"""Relaxed Ranking Distillation: the order of the teacher's best items, above the rest.  (Kang et al., CIKM 2020)"""

import torch
from torch import Tensor

from ..data import Interactions
from ..limits import ABOVE_0, FROM_0, FROM_1
from ..sampling import NegativeSampler, draw_ranks
from .base import OnLists


class RRD(OnLists):
    """L = mean_u −log p(π_u), the Plackett–Luce likelihood of the teacher's order of K interesting items, which all
    stand above L uninteresting ones; among the latter no order is asked for.

    Afresh each epoch, for each user: ``k`` items from the ``pool`` best unseen ones of the teacher's, without
    replacement, p(rank r) ∝ exp(−r / temperature), kept in the teacher's order; and ``n_uninteresting`` items from
    those outside pool and training items, uniformly, with replacement.

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
        train = self.split.train
        fewest = train.n_items - int(train.csr[0].diff().max())  # unseen items of the user who has fewest
        self.ranked = self.best(self.teacher, min(self.pool, fewest // 2))  # [n_users, pool]
        if self.k > self.ranked.shape[1]:
            raise ValueError(f"{self.k} interesting items cannot be drawn from a pool of {self.ranked.shape[1]}: the "
                             f"smaller of pool={self.pool} and half the items that every user has left")
        users = torch.cat([train.users, self.everyone.expand_as(self.ranked).flatten()])
        items = torch.cat([train.items, self.ranked.flatten()])
        self.rest = NegativeSampler(Interactions(train.n_users, train.n_items, users, items))

    def draw(self, student, epoch):
        n_users, pool = self.ranked.shape
        ranks = draw_ranks(n_users, self.k, pool, self.temperature, self.ranked.device, self.generator)
        interesting = self.ranked.gather(1, ranks.sort(1).values)  # [n_users, K], best first
        uninteresting = self.rest(self.everyone.expand(-1, self.n_uninteresting), self.generator)  # [n_users, L]
        return torch.cat([interesting, uninteresting], 1), {}

    def user_loss(self, scores):
        if self.sigmoid:
            scores = scores.sigmoid()
        return relaxed_ranking(scores[:, :self.k], scores[:, self.k:])


def relaxed_ranking(interesting: Tensor, uninteresting: Tensor) -> Tensor:
    """−log Π_k exp(s_k) / (Σ_{j ≥ k} exp(s_j) + Σ_l exp(s_l)) of each user: scores of K interesting items, the
    teacher's best first, and of L uninteresting ones, [n, K] and [n, L] → [n].                 (Kang et al., CIKM 2020)

    Scores more than 80 below a user's highest count as 80 below it, so that no sum is zero.
    """
    scores = torch.cat([interesting, uninteresting], 1)
    scores = (scores - scores.detach().amax(1, keepdim=True)).clamp(min=-80)
    up, rest = scores.exp().split([interesting.shape[1], uninteresting.shape[1]], 1)
    below = up.flip(1).cumsum(1) + rest.sum(1, keepdim=True)  # [n, K]: of the last item, the last two, …
    return below.log().sum(1) - scores[:, :interesting.shape[1]].sum(1)

"""Relaxed Ranking Distillation: the order of the teacher's best items, above the rest.  (Kang et al., CIKM 2020)"""

import torch

from ..data import Interactions
from ..lookup import ItemLists
from ..losses import relaxed_ranking
from ..sampling import NegativeSampler, draw_ranks, ranking
from .base import Distiller


class RRD(Distiller):
    """L = mean_u −log p(π_u), the Plackett–Luce likelihood of the teacher's order of K interesting items, which all stand
    above L uninteresting ones; among the latter no order is asked for.

    Afresh each epoch, for each user: ``k`` items from the ``pool`` best untrained ones of the teacher's, without
    replacement, p(rank r) ∝ exp(−r / temperature), kept in the teacher's order; and ``n_uninteresting`` items from those
    outside pool and training items, uniformly, with replacement.

    sigmoid : the likelihood of σ(s) instead of s, as in UnKD's code. There a score's exponential lies between 1 and e, so
              that no order can be likely and an item far below its place is hardly pulled. The paper has s, the default.

    (UnKD's code also draws the items once and for all. Followed is the paper: afresh each epoch.)
    """

    def __init__(self, teacher, split, generator, *, k: int = 20, n_uninteresting: int = 20, temperature: float = 10.0,
                 pool: int = 100, sigmoid: bool = False):
        super().__init__(teacher, split, generator)
        self.k, self.n_uninteresting, self.temperature, self.sigmoid = k, n_uninteresting, temperature, sigmoid
        train = split.train
        fewest = train.n_items - int(train.csr[0].diff().max())  # untrained items of the user who has fewest
        self.ranked = ranking(*teacher, train, depth=min(pool, fewest // 2))  # [n_users, pool]
        if k > self.ranked.shape[1]:
            raise ValueError(f"{k} interesting items cannot be drawn from a pool of {self.ranked.shape[1]}: the smaller of "
                             f"pool={pool} and half the items that every user has left")
        self.all_users = torch.arange(train.n_users, device=self.ranked.device)[:, None]
        users = torch.cat([train.users, self.all_users.expand_as(self.ranked).flatten()])
        items = torch.cat([train.items, self.ranked.flatten()])
        self.rest = NegativeSampler(Interactions(train.n_users, train.n_items, users, items))

    def begin_epoch(self, student, epoch):
        n_users, pool = self.ranked.shape
        ranks = draw_ranks(n_users, self.k, pool, self.temperature, self.ranked.device, self.generator)
        interesting = self.ranked.gather(1, ranks.sort(1).values)  # [n_users, K], best first
        uninteresting = self.rest(self.all_users.expand(-1, self.n_uninteresting), self.generator)  # [n_users, L]
        self.lists = ItemLists(torch.cat([interesting, uninteresting], 1), self.split.n_items)

    def loss(self, student, batch):
        users = batch.counted_users(self.split.n_users)
        scores = student.scores(users.index, self.lists)  # [n, K + L]
        if self.sigmoid:
            scores = scores.sigmoid()
        return users.mean(relaxed_ranking(scores[:, :self.k], scores[:, self.k:]))

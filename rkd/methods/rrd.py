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
    stand above L uninteresting ones; among the latter no order is asked for. The mean is over a batch's distinct users.

    Afresh each epoch, for each user: ``k`` items from the ``pool`` best unseen ones of the teacher's, without
    replacement, p(rank r) ∝ exp(−r / temperature), kept in the teacher's order; and ``n_uninteresting`` items from
    those outside pool and training items, uniformly, with replacement. A user's pool is at most half of what it has
    left; where that holds fewer than ``k``, all of it is interesting.

    sampling : False takes the teacher's ``k`` best, always the same, instead of drawing them.
    sigmoid : the likelihood of σ(s) instead of s, as in UnKD's code. There a score's exponential lies between 1 and e,
              so that no order can be likely and an item far below its place is hardly pulled. The paper has s, the
              default.
    redraw : False draws once for the whole training, as UnKD's code.
    """

    label = "RRD"
    source = "Kang et al., CIKM 2020"
    search = {"temperature": [10.0, 20.0, 30.0]}
    weights = (5e-4, 0.5)
    # DE-RRD_CIKM20, run.py, for CiteULike: λ = .001 of a sum over some 940 distinct users of 1024 pairs
    published = {"weight": 9e-4, "k": 40, "n_uninteresting": 40, "pool": 500, "temperature": 10.0}
    limits = {"k": FROM_1, "n_uninteresting": FROM_0, "temperature": ABOVE_0, "pool": FROM_1}
    differs = ("A mean over a batch's distinct users takes the place of their sum in Kang's code, so that ``weight`` "
               "means the same whatever the batch. (UnKD's copy counts a user once for each of its pairs.)",
               "UnKD's code draws the items once and for all, and takes σ(s) for s: redraw and sigmoid do so here.",
               "The uninteresting are drawn with replacement (the code: without).",
               "By default k = n_uninteresting = 20 and pool = 100, as UnKD's code (Kang's: 40, 40 and 500).")

    counts_users = "once"

    k: int = 20
    n_uninteresting: int = 20
    temperature: float = 10.0
    pool: int = 100
    sampling: bool = True
    sigmoid: bool = False
    redraw: bool = True

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
        self.whole = bool((self.lengths >= self.k).all())  # does everybody have k items? Then no place is empty
        self.drawn = None

    def draw(self, student, epoch):
        if self.redraw or self.drawn is None:
            ranks = self.interesting().sort(1).values  # empty places, −1, come first
            interesting = pick(self.ranked, ranks)  # [n_users, K], best first
            uninteresting = self.rest(self.everyone.expand(-1, self.n_uninteresting), self.generator)  # [n_users, L]
            self.drawn = torch.cat([interesting, uninteresting], 1)
        return self.drawn, {}

    def interesting(self):
        """Ranks in the pool, −1 for an empty place, in any order: [n_users, k]."""
        if self.sampling:
            return draw_ranks(self.lengths, self.k, self.ranked.shape[1], self.temperature, self.generator)
        best = torch.arange(self.k, device=self.lengths.device)
        return torch.where(best < self.lengths[:, None], best, -1)

    def user_loss(self, scores, present):
        if self.sigmoid:
            scores = scores.sigmoid()
        return relaxed_ranking(*scores.tensor_split([self.k], 1), None if self.whole else present[:, :self.k])


class RRDTop(RRD):
    """RRD of the teacher's ``k`` best themselves, none of them drawn: its authors' later finding is that this is
    considerably better."""

    label = "RRD, no sampling"
    source = "Kang et al., WWW 2023"
    search = {"k": [10, 20, 40], "n_uninteresting": [20, 40]}
    published = {}

    sampling: bool = False


def relaxed_ranking(interesting: Tensor, uninteresting: Tensor, present: Tensor | None = None) -> Tensor:
    """−log Π_k exp(s_k) / (Σ_{j ≥ k} exp(s_j) + Σ_l exp(s_l)) of each user: scores of K interesting items, the
    teacher's best first, and of L uninteresting ones, [n, K] and [n, L] → [n].                 (Kang et al., CIKM 2020)

    present : 1, or 0 for an empty place among the interesting, [n, K] floats; these come first and count for nothing.
              None: all are there.
    Scores more than 80 below a user's highest count as 80 below it, so that no sum is zero.
    """
    if present is not None:
        interesting = interesting * present + (1 - present) * ABSENT
    scores = torch.cat([interesting, uninteresting], 1)
    scores = (scores - scores.detach().amax(1, keepdim=True)).clamp(min=-80)
    up, rest = scores.exp().split([interesting.shape[1], uninteresting.shape[1]], 1)
    below = up.flip(1).cumsum(1) + rest.sum(1, keepdim=True)  # [n, K]: of the last item, the last two, …
    log_below, own = below.log(), scores[:, :interesting.shape[1]]
    if present is not None:
        log_below, own = log_below * present.flip(1), own * present
    return log_below.sum(1) - own.sum(1)

"""Unbiased Knowledge Distillation: rankings among items of similar popularity.        (Chen et al., WSDM 2023)"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..limits import ABOVE_0, FROM_1
from ..popularity import items_by_group
from ..sampling import draw_two_ranks
from .base import OnLists
from .lists import mean_of_present

DEPTHS = 10  # a group's ranking is cut where e^−10 of the draws would lie


class UnKD(OnLists):
    """L_G = mean over users and pairs of −log σ(s_ui⁺ − s_ui⁻), both items of one popularity group.

    The items are cut into ``groups`` groups of equal popularity mass. Afresh each epoch, ``n_pairs`` pairs a user, the
    same number in each group, are drawn from the group's unseen items as the teacher ranks them: two different ranks,
    p(rank r) ∝ exp(−r / mu), the better ranked is i⁺. Two items of one group are about equally popular, so that the
    teacher's order of them owes little to popularity. groups = 1 is plain pair-wise distillation. A user with fewer
    than two unseen items in a group has no pair there.
    """

    label = "UnKD"
    source = "Chen et al., WSDM 2023"
    search = {"groups": [2, 3, 4, 5], "mu": [10.0, 20.0, 50.0]}
    limits = {"groups": FROM_1, "n_pairs": FROM_1, "mu": ABOVE_0}
    differs = ("Means over pairs and over the users of a batch, as in the released code, where the paper's L_G sums "
               "over pairs and averages over all users: a constant that ``weight`` makes up for.",
               "A ranking is cut at 10 · mu, beyond which lie e^−10 of the draws (the code: at 1000).",
               "The second rank is drawn from those that the first left (the code draws both freely, and again where "
               "two are equal).")

    groups: int = 4
    n_pairs: int = 30
    mu: float = 20.0

    def prepare(self):
        if self.n_pairs < self.groups:
            raise ValueError(f"n_pairs must be at least groups, not {self.n_pairs} and {self.groups}")
        self.pairs_each = self.n_pairs // self.groups
        # [n_users, depth] each, −1: no more
        self.ranked = [self.teacher.ranking(int(DEPTHS * self.mu), self.split.train, items)
                       for items in items_by_group(self.split.train.item_counts, self.groups)]
        self.lengths = [(ranked >= 0).sum(1) for ranked in self.ranked]  # [n_users] each
        self.possible = torch.cat([(lengths > 1)[:, None].expand(-1, self.pairs_each)
                                   for lengths in self.lengths], 1)  # [n_users, groups · pairs_each]: is there a pair?

    def draw(self, student, epoch):
        better, worse = zip(*(self.draw_pairs(*group) for group in zip(self.ranked, self.lengths)))
        return torch.cat([*better, *worse], 1), {"possible": self.possible}  # [n_users, 2 · groups · pairs_each]

    def draw_pairs(self, ranked, lengths):
        """Pairs of one group, (better, worse) by the teacher: [n_users, pairs_each] each, any items where there is
        none."""
        first, second = draw_two_ranks(lengths, self.pairs_each, self.mu, self.generator)
        return tuple(ranked.gather(1, ranks).clamp(min=0)
                     for ranks in (torch.minimum(first, second), torch.maximum(first, second)))

    def pairs(self):
        """This epoch's pairs, (better, worse): [n_users, groups · pairs_each] each, −1 where a user has none."""
        return tuple(torch.where(self.possible, items, -1) for items in self.lists.items.chunk(2, 1))

    def user_loss(self, scores, possible):
        return pairwise_distillation(*scores.chunk(2, 1), possible)


def pairwise_distillation(better: Tensor, worse: Tensor, possible: Tensor) -> Tensor:
    """−mean log σ(s⁺ − s⁻) of each user over its pairs; scores [n, P] each, ``possible`` bool [n, P] → [n].

    (Chen et al., WSDM 2023: L_G, with a mean over pairs as in the released code.) A user without pairs has loss 0.
    """
    return -mean_of_present(logsigmoid(better - worse), possible)

"""Unbiased Knowledge Distillation: rankings among items of similar popularity.        (Chen et al., WSDM 2023)"""

import torch

from ..lookup import ItemLists
from ..losses import pairwise_distillation
from ..popularity import items_by_group
from ..sampling import draw_two_ranks, ranking_within
from .base import Distiller

DEPTHS = 10  # a group's ranking is cut where e^−10 of the draws would lie


class UnKD(Distiller):
    """L_G = mean over users and pairs of −log σ(s_ui⁺ − s_ui⁻), both items of one popularity group.

    The items are cut into ``groups`` groups of equal popularity mass. Afresh each epoch, ``n_pairs`` pairs a user, the
    same number in each group, are drawn from the group's untrained items as the teacher ranks them: two different ranks,
    p(rank r) ∝ exp(−r / mu), the better ranked is i⁺. Two items of one group are about equally popular, so that the
    teacher's order of them owes little to popularity. groups = 1 is plain pair-wise distillation.

    Followed is the released code, which averages over pairs and over the users of a batch, where the paper's L_G sums
    over pairs and averages over all users: the two differ by the constant that ``weight`` makes up for. The code cuts a
    ranking at 1000 items; this one at 10 · mu, beyond which lie e^−10 of the draws. A user with fewer than two untrained
    items in a group has no pair there.
    """

    def __init__(self, teacher, split, generator, *, groups: int = 4, n_pairs: int = 30, mu: float = 20.0):
        super().__init__(teacher, split, generator)
        if n_pairs < groups or mu <= 0:
            raise ValueError(f"n_pairs must be at least groups, and mu above 0; not {n_pairs}, {groups} and {mu}")
        self.mu, self.pairs_each = mu, n_pairs // groups
        self.ranked = [ranking_within(*teacher, split.train, items, int(DEPTHS * mu))
                       for items in items_by_group(split.train.item_counts, groups)]  # ([n_users, depth], [n_users]) each
        self.possible = torch.cat([(lengths > 1)[:, None].expand(-1, self.pairs_each)
                                   for _, lengths in self.ranked], 1)  # [n_users, groups · pairs_each]: is there a pair?

    def begin_epoch(self, student, epoch):
        better, worse = zip(*(self.draw(*ranking) for ranking in self.ranked))
        self.lists = ItemLists(torch.cat([*better, *worse], 1), self.split.n_items)  # [n_users, 2 · groups · pairs_each]

    def draw(self, ranked, lengths):
        """Pairs of one group, (better, worse) by the teacher: [n_users, pairs_each] each, any items where there is none."""
        first, second = draw_two_ranks(lengths, self.pairs_each, self.mu, self.generator)
        return tuple(ranked.gather(1, ranks).clamp(min=0)
                     for ranks in (torch.minimum(first, second), torch.maximum(first, second)))

    def pairs(self):
        """This epoch's pairs, (better, worse): [n_users, groups · pairs_each] each, −1 where a user has none."""
        return tuple(torch.where(self.possible, items, -1) for items in self.lists.items.chunk(2, 1))

    def loss(self, student, batch):
        users = batch.counted_users(self.split.n_users)
        scores = student.scores(users.index, self.lists)  # [n, 2 · pairs]
        return users.mean(pairwise_distillation(*scores.chunk(2, 1), users.of(self.possible)))

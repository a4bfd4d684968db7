"""Unbiased Knowledge Distillation: rankings among items of similar popularity.        (Chen et al., WSDM 2023)"""

import torch

from ..data import Interactions
from ..losses import pairwise_distillation, weighted_mean
from ..popularity import popularity_groups
from ..ranking import top_k
from ..sampling import draw_two_ranks
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
        group = popularity_groups(split.train.item_counts, groups)  # [n_items]
        self.ranked = [self.rank_within(group == g) for g in range(groups)]

    def rank_within(self, chosen):
        """The teacher's ranking of the untrained items among ``chosen`` ([n_items] bool): [n_users, depth], −1 at the
        end of shorter ones, and their lengths [n_users]."""
        items, train = chosen.nonzero().flatten(), self.split.train
        place = chosen.cumsum(0) - 1  # an item's number among the chosen
        inside = chosen[train.items]
        seen = Interactions(train.n_users, len(items), train.users[inside], place[train.items[inside]])
        users = torch.arange(train.n_users, device=items.device)
        ranked = top_k(self.user_factors, self.item_factors[items], users, min(int(DEPTHS * self.mu), len(items)), seen)
        return torch.where(ranked >= 0, items[ranked.clamp(min=0)], -1), (ranked >= 0).sum(1)

    def begin_epoch(self, student, epoch):
        better, worse = zip(*(self.draw(*ranking) for ranking in self.ranked))
        self.better, self.worse = torch.cat(better, 1), torch.cat(worse, 1)  # [n_users, groups · pairs_each], −1: no pair
        self.items, self.possible = torch.cat([self.better, self.worse], 1).clamp(min=0), self.better >= 0

    def draw(self, ranked, lengths):
        """Pairs of one group, (better, worse) by the teacher: [n_users, pairs_each] each, −1 where there is none."""
        first, second = draw_two_ranks(lengths, self.pairs_each, self.mu, self.generator)
        possible = (lengths > 1)[:, None]
        return tuple(torch.where(possible, ranked.gather(1, ranks), -1)
                     for ranks in (torch.minimum(first, second), torch.maximum(first, second)))

    def loss(self, student, batch):
        users, counts = batch.unique_users
        scores = student.scores(users, self.items.index_select(0, users))  # [n, 2 · pairs]
        return weighted_mean(pairwise_distillation(*scores.chunk(2, 1), self.possible.index_select(0, users)), counts)

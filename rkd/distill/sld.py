"""Soft-label distillation, of the output layer.        (MKD: Zhu & Zhang, arXiv 2311.04549)"""

import torch
from torch.nn.functional import pad

from ..lookup import ItemLists, dots
from ..losses import soft_label_distillation, soft_labels
from ..popularity import items_by_group
from ..sampling import draw_places, ranking_within, trained
from .base import Distiller


class SLD(Distiller):
    """L = mean_u KL(p_u ‖ softmax(s_u / student_tau)), p = softmax((gamma · z_T + (1 − gamma) · z_S) / tau).

    z_T and z_S are the teacher's and the student's own scores, both as they are now and taken as given, standardised over
    the list. gamma = 1: the teacher alone labels. A hard label would be the order of the items (rrd.py).

    A list has ``q`` items from the union of the ``pool`` best of the teacher and of the student, p ∝ exp(−r /
    temperature), r the better of an item's two ranks, without replacement; and ``n_uninteresting`` drawn uniformly. Both
    are drawn afresh each epoch, none from training items; the student's ranking is renewed every ``refresh`` epochs.

    This is our reading: the paper's formula was not at hand, only that soft labels are made from the predictions of both.
    """

    def __init__(self, teacher, split, generator, *, gamma: float = 0.75, tau: float = 0.5, student_tau: float = 1.0,
                 q: int = 20, n_uninteresting: int = 20, temperature: float = 10.0, pool: int = 100, refresh: int = 5):
        super().__init__(teacher, split, generator)
        if not 0 <= gamma <= 1 or min(tau, student_tau, temperature) <= 0 or min(q, pool, refresh) < 1 or n_uninteresting < 0:
            raise ValueError("gamma must be between 0 and 1, tau, student_tau and temperature above 0, q, pool and refresh at "
                             f"least 1, n_uninteresting 0 or more; not {gamma=}, {tau=}, {student_tau=}, {temperature=}, "
                             f"{q=}, {pool=}, {refresh=}, {n_uninteresting=}")
        if q > 2 * pool:
            raise ValueError(f"{q} items cannot be drawn from two rankings of {pool} each")
        self.gamma, self.tau, self.student_tau = gamma, tau, student_tau
        self.q, self.n_uninteresting, self.temperature = q, n_uninteresting, temperature
        self.pool, self.refresh = pool, refresh
        self.strata = self.stratify()
        self.by_teacher = [self.best(teacher, items) for items in self.strata]

    def stratify(self):
        """The sets of items that lists are drawn from, ids ascending: here one, of all items."""
        return [torch.arange(self.split.n_items, device=self.generator.device)]

    def best(self, factors, items):
        """The pool best untrained of these items by a model's factors: [n_users, pool], −1 beyond a shorter ranking."""
        ranked = ranking_within(*factors, self.split.train, items, self.pool)[0]
        return pad(ranked, (0, self.pool - ranked.shape[1]), value=-1)

    def begin_epoch(self, student, epoch):
        if (epoch - 1) % self.refresh == 0:
            factors = student.factors()
            self.union = [merged(ranked, self.best(factors, items)) for ranked, items in zip(self.by_teacher, self.strata)]
        lists, present = zip(*(self.draw(*union, items) for union, items in zip(self.union, self.strata)))
        self.present = torch.stack(present, 1).float()  # [n_users, strata, q + n_uninteresting], 1 or 0
        self.lists = ItemLists(torch.cat(lists, 1), self.split.n_items)
        self.teacher_scores = dots(self.user_factors, self.item_factors, self.lists).view(self.present.shape)

    def draw(self, ranked, ranks, items):
        """A list for each user, of one stratum, and which of its places count: [n_users, q + n_uninteresting] each."""
        places, possible = draw_places(-ranks / self.temperature, self.q, self.generator)
        n_users = len(ranked)
        some = torch.randint(len(items), (n_users, self.n_uninteresting), device=items.device, generator=self.generator)
        uninteresting = items[some]
        fresh = ~trained(self.split.train, uninteresting)
        return torch.cat([ranked.gather(1, places).clamp(min=0), uninteresting], 1), torch.cat([possible, fresh], 1)

    def loss(self, student, batch):
        users = batch.counted_users(self.split.n_users)
        present = users.of(self.present)
        scores = student.scores(users.index, self.lists).view(present.shape)  # [n, strata, L]
        label = soft_labels(users.of(self.teacher_scores), scores.detach(), present, self.gamma, self.tau)
        return users.mean(soft_label_distillation(scores, label, present, self.student_tau).mean(1))


class StratifiedSLD(SLD):
    """SLD with UnKD's idea: lists, labels and softmax within ``groups`` groups of equal popularity mass, q and
    n_uninteresting items each, so that no label says that a popular item is better than an unpopular one. Ours."""

    def __init__(self, teacher, split, generator, *, groups: int = 2, gamma: float = 0.75, tau: float = 0.5,
                 student_tau: float = 1.0, q: int = 10, n_uninteresting: int = 10, temperature: float = 10.0,
                 pool: int = 100, refresh: int = 5):
        self.groups = groups
        super().__init__(teacher, split, generator, gamma=gamma, tau=tau, student_tau=student_tau, q=q,
                         n_uninteresting=n_uninteresting, temperature=temperature, pool=pool, refresh=refresh)

    def stratify(self):
        return items_by_group(self.split.train.item_counts, self.groups)


def merged(a, b):
    """The union of two rankings, [n, M] each with −1 for no item: items [n, 2 M], −1 for a repeated one, and the better of
    an item's two ranks, infinite where there is none."""
    n, m = a.shape
    ranks = torch.arange(m, device=a.device).repeat(2).expand(n, -1)
    items = torch.cat([a, b], 1)
    order = (items * m + ranks).argsort(1)  # by item, then by rank
    items = items.gather(1, order)
    repeated = torch.zeros_like(items, dtype=torch.bool)
    repeated[:, 1:] = items[:, 1:] == items[:, :-1]
    absent = repeated | (items < 0)
    return items.masked_fill(absent, -1), ranks.gather(1, order).float().masked_fill(absent, torch.inf)

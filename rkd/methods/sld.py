"""Soft-label distillation, of the output layer.        (MKD: Zhu & Zhang, arXiv 2311.04549)"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..kernels import ItemLists
from ..limits import ABOVE_0, FROM_0, FROM_1, SHARE
from ..popularity import items_by_group
from ..ranking import seen
from ..sampling import draw_places
from .base import OnLists
from .lists import logits_of_present


class SLD(OnLists):
    """L = mean_u KL(p_u ‖ softmax(s_u / student_tau)), p = softmax((gamma · z_T + (1 − gamma) · z_S) / tau).

    z_T and z_S are the teacher's and the student's own scores, both as they are now and taken as given, standardised
    over the list. gamma = 1: the teacher alone labels. A hard label would be the order of the items (rrd.py).

    A list has ``q`` items from the union of the ``pool`` best of the teacher and of the student, p ∝ exp(−r /
    temperature), r the better of an item's two ranks, without replacement; and ``n_uninteresting`` drawn uniformly.
    Both are drawn afresh each epoch, none from training items; the student's ranking is renewed every ``refresh``
    epochs.
    """

    label = "SLD"
    source = "Zhu & Zhang, arXiv 2311.04549"
    search = {"gamma": [0.5, 0.75, 1.0], "tau": (0.25, 1.0), "temperature": [10.0, 20.0]}
    limits = {"gamma": SHARE, "tau": ABOVE_0, "student_tau": ABOVE_0, "q": FROM_1, "n_uninteresting": FROM_0,
              "temperature": ABOVE_0, "pool": FROM_1, "refresh": FROM_1}
    differs = ("This is our reading: the paper's formula was not at hand, only that soft labels are made from the "
               "predictions of both.",)

    gamma: float = 0.75
    tau: float = 0.5
    student_tau: float = 1.0
    q: int = 20
    n_uninteresting: int = 20
    temperature: float = 10.0
    pool: int = 100
    refresh: int = 5

    def prepare(self):
        if self.q > 2 * self.pool:
            raise ValueError(f"{self.q} items cannot be drawn from two rankings of {self.pool} each")
        self.strata = self.stratify()
        self.by_teacher = [self.ranked_of(self.teacher, items) for items in self.strata]

    def stratify(self):
        """The sets of items that lists are drawn from, ids ascending: here one, of all items."""
        return [torch.arange(self.split.n_items, device=self.generator.device)]

    def ranked_of(self, model, items):
        """The pool best unseen of these items by a model: [n_users, pool], −1 beyond a shorter ranking."""
        ranked = model.ranking(self.pool, self.split.train, items)
        return pad(ranked, (0, self.pool - ranked.shape[1]), value=-1)

    def draw(self, student, epoch):
        if (epoch - 1) % self.refresh == 0:
            self.union = [merged(ranked, self.ranked_of(student, items))
                          for ranked, items in zip(self.by_teacher, self.strata)]
        lists, present = zip(*(self.draw_list(*union, items) for union, items in zip(self.union, self.strata)))
        # present: [n_users, strata, q + n_uninteresting], 1 or 0
        lists, present = torch.cat(lists, 1), torch.stack(present, 1).float()
        teacher = self.teacher.scores(None, ItemLists(lists, self.split.n_items)).view(present.shape)
        return lists, {"teacher": teacher, "present": present}

    def draw_list(self, ranked, ranks, items):
        """A list for each user, of one stratum, and which of its places count: [n_users, q + n_uninteresting] each."""
        places, possible = draw_places(-ranks / self.temperature, self.q, self.generator)
        n_users = len(ranked)
        some = torch.randint(len(items), (n_users, self.n_uninteresting), device=items.device, generator=self.generator)
        uninteresting = items[some]
        fresh = ~seen(self.split.train, self.everyone.flatten(), uninteresting)
        return torch.cat([ranked.gather(1, places).clamp(min=0), uninteresting], 1), torch.cat([possible, fresh], 1)

    def user_loss(self, scores, teacher, present):
        scores = scores.view(present.shape)  # [n, strata, L]
        label = soft_labels(teacher, scores.detach(), present, self.gamma, self.tau)
        return soft_label_distillation(scores, label, present, self.student_tau).mean(1)


class StratifiedSLD(SLD):
    """SLD with UnKD's idea: lists, labels and softmax within ``groups`` groups of equal popularity mass, q and
    n_uninteresting items each, so that no label says that a popular item is better than an unpopular one."""

    label = "Stratified SLD"
    source = "ours"
    search = SLD.search | {"groups": [2, 3, 4]}
    limits = {"groups": FROM_1}

    groups: int = 2
    q: int = 10
    n_uninteresting: int = 10

    def stratify(self):
        return items_by_group(self.split.train.item_counts, self.groups)


def merged(a, b):
    """The union of two rankings, [n, M] each with −1 for no item: items [n, 2 M], −1 for a repeated one, and the better
    of an item's two ranks, infinite where there is none."""
    n, m = a.shape
    ranks = torch.arange(m, device=a.device).repeat(2).expand(n, -1)
    items = torch.cat([a, b], 1)
    order = (items * m + ranks).argsort(1)  # by item, then by rank
    items = items.gather(1, order)
    repeated = torch.zeros_like(items, dtype=torch.bool)
    repeated[:, 1:] = items[:, 1:] == items[:, :-1]
    absent = repeated | (items < 0)
    return items.masked_fill(absent, -1), ranks.gather(1, order).float().masked_fill(absent, torch.inf)


def standardised(scores: Tensor, present: Tensor) -> Tensor:
    """Scores brought to mean 0 and variance 1 over the last axis' present entries, 0 elsewhere: […, L] → the same.

    present : bool or, faster on a CPU, 1 and 0 as floats.
    """
    present = present.to(scores.dtype)
    n = present.sum(-1, keepdim=True).clamp(min=1)
    centred = (scores - (scores * present).sum(-1, keepdim=True) / n) * present
    return centred / (centred.square().sum(-1, keepdim=True) / n).sqrt().clamp(min=1e-6)


def soft_labels(teacher: Tensor, student: Tensor, present: Tensor, gamma: float, tau: float) -> Tensor:
    """softmax((γ z_T + (1 − γ) z_S) / τ) over the present items, z being standardised scores: […, L] each → the same.

    (MKD: SLD, in our reading)
    """
    mixed = gamma * standardised(teacher, present) + (1 - gamma) * standardised(student, present)
    return torch.softmax(logits_of_present(mixed / tau, present), -1)


def soft_label_distillation(scores: Tensor, label: Tensor, present: Tensor, tau: float) -> Tensor:
    """KL(p ‖ softmax(s / τ)) of each list: scores s, labels p, […, L] each → […].        (MKD: SLD, in our reading)"""
    log_q = torch.log_softmax(logits_of_present(scores / tau, present), -1)
    # p log p = 0 where p = 0; entr() takes three times as long
    log_p = label.clamp(min=torch.finfo(label.dtype).tiny).log()
    return (label * (log_p - log_q)).sum(-1)

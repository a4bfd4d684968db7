"""FreqD: feature distillation in which what neighbours have in common weighs more.  (Zhu & Zhang, KDD 2025)"""

from dataclasses import replace

import torch

from ..limits import FROM_1, SHARE, Limit
from ..neighbours import companions, normalised_graph
from .base import OnEntities

KEPT: Limit = ("above 0 and at most 1", lambda x: 0 < x <= 1)


class FreqD(OnEntities):
    """L = mean_u D(u) + ½ (mean_i D(i) + mean_j D(j)), D(e) = ‖(H P(S))_e − (H T)_e‖², over the distinct users u,
    positive items i and negative items j of the batch's first ``n_pairs`` pairs.

    T and S are all users' (all items') embeddings that teacher and student score with, and H = (1 − alpha) I + alpha Â
    smooths them over a graph of users (of items): of the embeddings' frequencies in the graph the low ones, what
    neighbours have in common, pass, the high ones are damped. alpha = 0 is plain feature distillation.

    Â = D^-½ A D^-½, A = (N + Nᵀ) / 2, N being each one's ``k`` neighbours: those with whom it shares most training
    interactions. Each epoch keeps an edge with probability ``keep``, its weight then over ``keep``.
    P: one Projector for users, one for items, of ``n_experts``, trained along and thrown away.
    """

    label = "FreqD"
    source = "Zhu & Zhang, KDD 2025, arXiv 2411.10676"
    search = {"alpha": [0.2, 0.5, 0.7], "keep": [0.5, 0.7], "k": [5, 10]}
    weight = 0.02
    weights = (3e-3, 0.3)
    # KDs, configs/gowalla/bpr/freqd.yaml
    published = {"alpha": 0.5, "k": 5, "keep": 0.5, "n_experts": 5}
    limits = {"alpha": SHARE, "k": FROM_1, "keep": KEPT}
    differs = ("Means take the place of sums, so that ``weight`` means the same whatever the batch.",
               "Distances are the paper's, squared. The released settings take 1 − cos instead, with a weight of .5 "
               "on the sum, so that no published weight is of this loss.",
               "Edges are drawn once an epoch, both directions of one together (the code: at every step, either "
               "apart).",
               "The projectors have no dropout (the code: .2).",
               "A LightGCN student's propagated embeddings are mapped (the code: its input embeddings).",
               "Of neighbours that share as much the one of lower id comes first, and one that shares nothing is "
               "none.")

    alpha: float = 0.5
    k: int = 5
    keep: float = 0.5
    n_pairs: int = 512

    def prepare(self):
        super().prepare()
        train = self.split.train
        exchanged = replace(train, n_users=train.n_items, n_items=train.n_users, users=train.items, items=train.users,
                            user_ids=train.item_ids, item_ids=train.user_ids)
        self.graphs = {side: normalised_graph(companions(data, self.k))
                       for side, data in (("users", train), ("items", exchanged))}
        self.everybody = {side: torch.arange(len(rows), device=rows.device) for side, rows in self.of_teacher.items()}

    def begin_epoch(self, student, epoch):
        self.drawn = {side: self.draw(graph) for side, graph in self.graphs.items()}
        self.smoothed = {side: self.smooth(side, rows) for side, rows in self.of_teacher.items()}  # H T, [n, d_t] each

    def draw(self, graph):
        """The graph of this epoch, Â with each edge kept or not."""
        kept = torch.full((graph.n_edges,), self.keep, device=graph.weights.device)
        return graph.thinned(kept.bernoulli(generator=self.generator) / self.keep)

    def smooth(self, side, rows):
        """H times a row of each user (item): [n, d] → [n, d]."""
        return (1 - self.alpha) * rows + self.alpha * self.drawn[side].times(rows)

    def distance(self, student, side, entities):
        # P ends in a linear layer: what is smoothed are its inputs, and only the entities' go through it
        network = self.networks[side]
        hidden = network.hidden(self.of_student(student, side, self.everybody[side]))  # [n, M · h]
        smoothed = self.smooth(side, torch.cat([hidden, torch.ones_like(hidden[:, :1])], 1)).index_select(0, entities)
        mapped = network.last(smoothed[:, :-1], smoothed[:, -1:])
        return (self.smoothed[side].index_select(0, entities) - mapped).square().sum(1)

"""Distillation Experts: the student's embeddings, mapped by experts, imitate the teacher's.  (Kang et al., CIKM
2020)"""

import torch

from ..batch import distinct
from ..limits import FROM_1
from .base import SIDES, OnEntities
from .experts import Experts, temperature


class DE(OnEntities):
    """L = mean_u ‖t_u − f(s_u)‖² + mean_i ‖t_i − g(s_i)‖² over distinct users and items of the batch.

    s and t are the embeddings that student and teacher score with; f and g are mixtures of ``n_experts`` perceptrons
    each (experts.py), trained along with the student and thrown away afterwards. The temperature at which an expert is
    picked falls from 1 to 1e-10 within ``anneal`` epochs. The users and items are those of the batch's first
    ``n_pairs`` training pairs: in a small data set each comes many times an epoch even so.
    """

    label = "DE"
    source = "Kang et al., CIKM 2020"
    search = {"n_experts": [5, 10]}
    limits = {"anneal": FROM_1}
    differs = ("Followed is the paper: annealing, ReLU between an expert's two layers. (UnKD's code keeps T = 10, so "
               "that all experts speak at once, and puts the ReLU behind both layers, so that no negative coordinate "
               "can be met.)",
               "Means instead of sums, as in UnKD's code: ``weight`` then means the same whatever the batch.")

    anneal: int = 100
    n_pairs: int = 128

    network = Experts

    def begin_epoch(self, student, epoch):
        self.temperature = temperature(epoch, self.anneal)

    def entities(self, batch):
        """The distinct users, and the distinct items, positive or negative alike."""
        u, i, j = (x[:self.n_pairs] for x in (batch.users, batch.positives, batch.negatives))
        return dict(zip(SIDES, (distinct(u), distinct(torch.cat([i, j])))))

    def distance(self, student, side, entities):
        return self.networks[side].distances(self.of_student(student, side, entities),
                                             self.of_teacher[side].index_select(0, entities), self.temperature)

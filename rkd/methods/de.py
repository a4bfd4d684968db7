"""Distillation Experts: the student's embeddings, mapped by experts, imitate the teacher's.  (Kang et al., CIKM
2020)"""

from itertools import chain

import torch
from torch.nn import Parameter

from ..batch import distinct
from ..limits import FROM_0, one_of
from .base import SIDES, OnEntities
from .experts import Experts, RectifiedExperts, temperature


class DE(OnEntities):
    """L = mean_u ‖t_u − f(s_u)‖² + mean_i ‖t_i − g(s_i)‖² over distinct users and items of the batch.

    s and t are the embeddings that student and teacher score with; f and g are mixtures of ``n_experts`` perceptrons
    each (experts.py), trained along with the student and thrown away afterwards. The temperature at which an expert is
    picked falls from 1 to 1e-10 within ``anneal`` epochs. The users and items are those of the batch's first
    ``n_pairs`` training pairs: in a small data set each comes many times an epoch even so.

    As in UnKD's code, each by itself:
    anneal : 0, T = 10 for good, so that all experts speak at once.
    relu : "end", behind an expert's two layers, so that no negative coordinate can be met; else "between" them.
    train_teacher : True trains t along, by this loss alone: a copy for each side, which begins as the teacher's. The
                    teacher then comes to meet the experts.
    """

    label = "DE"
    source = "Kang et al., CIKM 2020"
    search = {"n_experts": [5, 10]}
    weights = (1e-3, 0.3)
    # KDs, configs/citeulike/bpr/de.yaml: λ = .05 of sums over distinct entities of 2048 pairs, some 1240 users of them
    published = {"weight": 0.03, "n_experts": 30, "anneal": 1000}
    limits = {"anneal": FROM_0, "relu": one_of("between", "end")}
    differs = ("Followed is the paper: annealing, ReLU between an expert's two layers, a teacher that stays as it is. "
               "(UnKD's code keeps T = 10, has the ReLU behind both layers, and trains the teacher along: settings "
               "here.)",
               "Means instead of sums, as in UnKD's code: ``weight`` then means the same whatever the batch.",
               "One mean over positive and negative items together (the authors' code: half of each one's sum).",
               "Distilled are the entities of n_pairs pairs of a batch (the authors': of all), and T falls within 100 "
               "epochs (theirs: within all, at most 1000).",
               "In LightGCN, s and t are the propagated embeddings, as in KDs' code (UnKD's: those before).")

    anneal: int = 100
    n_pairs: int = 128
    relu: str = "between"
    train_teacher: bool = False

    def prepare(self):
        super().prepare()
        self.network = Experts if self.relu == "between" else RectifiedExperts
        if self.train_teacher:
            self.of_teacher = {side: Parameter(rows.clone()) for side, rows in self.of_teacher.items()}

    def parameters(self, student):
        return chain(super().parameters(student), self.of_teacher.values() if self.train_teacher else ())

    def begin_epoch(self, student, epoch):
        self.temperature = temperature(epoch, self.anneal)

    def entities(self, batch):
        """The distinct users, and the distinct items, positive or negative alike."""
        u, i, j = (x[:self.n_pairs] for x in (batch.users, batch.positives, batch.negatives))
        return dict(zip(SIDES, (distinct(u), distinct(torch.cat([i, j])))))

    def distance(self, student, side, entities):
        return self.networks[side].distances(self.of_student(student, side, entities),
                                             self.of_teacher[side].index_select(0, entities), self.temperature)

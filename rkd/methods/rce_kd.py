"""Rejuvenated cross-entropy: among the student's best items, and where these miss the teacher's.  (ICLR 2026)"""

import torch
from torch import Tensor

from ..kernels import ItemLists
from ..limits import ABOVE_0, FROM_0, FROM_1
from ..ranking import among
from ..sampling import draw_places
from .base import OnLists
from .lists import logits_of_present

MOST = 50  # so many of the teacher's items below an item count, and no more


class RCEKD(OnLists):
    """L = mean_u (1 − γ_u) · CE_u(Q_S) + γ_u · CE_u(A ∪ (Q_T ∖ Q_S)).

    CE_u(Q) is the cross-entropy of softmax(s_u / tau) to softmax(z_u / tau), both over the items of Q, z the teacher's
    scores. Q_T and Q_S are the ``k`` best unseen items of the teacher and of the student. The cross-entropy of a list
    bounds its NDCG from below only where no item that the student ranks higher is left out, so for Q_S; what the
    teacher prefers and the student ranks low stands among company:

    A     : ``n_samples`` of the student's ``pool`` best, without replacement, p(j) ∝ exp((c_j + 1) / temperature), c_j
            being how many items of Q_T the student has in its pool at j's rank or below, at most 50.
    γ_u   : exp(−beta · share of Q_T that is in A): the less the student has in common with the teacher, the more.

    A is drawn afresh each epoch; the student's ranking is renewed every ``refresh`` epochs.
    """

    label = "RCE-KD"
    source = "Zhu & Zhang, ICLR 2026"
    search = {"k": [50, 100], "beta": [1.0, 3.0, 5.0], "pool": [100, 200]}
    limits = {"k": FROM_1, "n_samples": FROM_1, "pool": FROM_1, "beta": FROM_0, "temperature": ABOVE_0, "tau": ABOVE_0,
              "refresh": FROM_1}
    differs = ("All rankings are of unseen items; those of the code hold the user's training items as well.",
               "γ is as in the code, of the share of Q_T in A; the paper has the share in Q_S.")
    weight = 10.0
    weights = (0.1, 1000.0)
    published = {"weight": 500.0, "k": 50, "n_samples": 50, "pool": 200, "beta": 3.0, "temperature": 10.0, "tau": 1.0,
                 "refresh": 1}  # CiteULike, MF; both losses are sums over the batch's pairs

    k: int = 50
    n_samples: int = 50
    pool: int = 200
    beta: float = 3.0
    temperature: float = 10.0
    tau: float = 1.0
    refresh: int = 1

    keeps = ("ranked",)

    @classmethod
    def check_together(cls, settings):
        k, n, pool = (settings[name] for name in ("k", "n_samples", "pool"))
        if max(k, n) > pool:
            raise ValueError(f"k = {k} and n_samples = {n} items come from the student's {pool} best: pool must be at "
                             "least as large")

    def prepare(self):
        self.of_teacher = self.best(self.teacher, self.k)  # Q_T [n_users, K], −1 for no item here and below

    def draw(self, student, epoch):
        if (epoch - 1) % self.refresh == 0:
            self.ranked = self.best(student, self.pool)  # [n_users, M]
        of_teacher, of_student = self.of_teacher, self.ranked[:, :self.k]
        drawn = self.company()
        found = among(of_teacher, drawn)
        missed = of_teacher.masked_fill(found | among(of_teacher, of_student), -1)
        share = found.sum(1) / (of_teacher >= 0).sum(1).clamp(min=1)
        gamma = torch.exp(-self.beta * share)[:, None]
        lists = torch.cat([of_student, drawn, missed], 1)
        present = (lists >= 0).float()
        teacher = self.teacher.scores(None, ItemLists(lists.clamp(min=0), self.split.n_items))
        first, second = self.log_shares(teacher, present)
        label = torch.cat([(1 - gamma) * first.exp(), gamma * second.exp()], 1) * present
        return lists, {"label": label}

    def company(self):
        """A: [n_users, n_samples], −1 for no item."""
        below = among(self.ranked, self.of_teacher).flip(1).cumsum(1).flip(1)  # c_j
        log_p = (below.clamp(max=MOST) + 1) / self.temperature
        log_p = log_p.masked_fill(self.ranked < 0, -torch.inf)
        places, _ = draw_places(log_p, min(self.n_samples, log_p.shape[1]), self.generator)
        return self.ranked.gather(1, places)  # impossible places hold −1

    def log_shares(self, scores: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """log softmax(scores / tau) over the present items of Q_S, and over those of A ∪ (Q_T ∖ Q_S)."""
        k = self.of_teacher.shape[1]
        logits = logits_of_present(scores / self.tau, present)
        return logits[:, :k].log_softmax(1), logits[:, k:].log_softmax(1)

    def user_loss(self, scores, label, present):
        return -(label * torch.cat(self.log_shares(scores, present), 1)).sum(1)

"""Consistent Preference Distillation, of the intermediate layer.        (MKD: Zhu & Zhang, arXiv 2311.04549v1)"""

from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..consistency import inconsistency, ranked_sample
from ..limits import ABOVE_0, BELOW_1, FROM_0, FROM_1, one_of
from ..sampling import draw_ranks
from .base import OnEntities
from .lists import logits_of_present, pick
from .projector import cosine_distance


class CPD(OnEntities):
    """L = L_FD + pairwise · L_pair + listwise · L_list over the batch's first ``n_pairs`` pairs (u, i, j).

    L_FD = mean_u D(u) + ½ (mean_i D(i) + mean_j D(j)), D(e) = 1 − cos(t_e, P(s_e)), of the embeddings that are scored:
    the teacher's geometry. A projection may turn the student's preferences round, and then teaches it the wrong ones.
    So with before = ⟨s_u, s_i⟩ and after = cos(P(s_u), P(s_i)), and s taken as given (these two train the *projectors*
    alone):

    L_pair = mean max(0, −(after_i − after_j) (before_i − before_j)) over the pairs;
    L_list = mean_u of the cross-entropy of softmax(after / tau) to softmax(before / tau) over ``q`` items, drawn afresh
             each epoch from the ``pool`` best of the teacher's, p(rank r) ∝ exp(−r / temperature) ("rank-aware"), or
             from all unseen items ("random").

    normalised = False takes after = ⟨P(s_u), P(s_i)⟩ instead: then the norms of P, which L_FD does not see, can meet
    both terms while directions stay as inconsistent as they were.

    pairwise = listwise = 0 is feature distillation. P: one Projector for users, one for items, of ``n_experts``, with
    ``dropout`` in L_FD.
    """

    label = "CPD"
    source = "Zhu & Zhang, arXiv 2311.04549v1"
    search = {"pairwise": (0.05, 1.0), "tau": (0.5, 20.0), "q": [5, 10, 20]}
    weights = (0.03, 1.5)
    # KDs, configs/foursquare/bpr/cpd.yaml, which has no λ
    published = {"pairwise": 0.1, "listwise": 1.0, "q": 20, "temperature": 10.0, "pool": 500, "tau": 5.0,
                 "n_experts": 5}
    limits = {"pairwise": FROM_0, "listwise": FROM_0, "sampling": one_of("rank-aware", "random"), "q": FROM_1,
              "temperature": ABOVE_0, "pool": FROM_1, "tau": ABOVE_0, "dropout": BELOW_1}
    differs = ("Means take the place of the paper's sums.",
               "Distilled are the entities of n_pairs pairs of a batch (the authors': of all).",
               "This is version 1 of the paper. Version 2, PCKD, is another method: DE's projectors and distance, "
               "nothing normalised, and one regulariser, either the pair-wise, −log σ of the product, or the "
               "list-wise.")

    pairwise: float = 0.1
    listwise: float = 1.0
    sampling: str = "rank-aware"
    q: int = 20
    temperature: float = 10.0
    pool: int = 500
    tau: float = 5.0
    normalised: bool = True
    dropout: float = 0.1

    def prepare(self):
        super().prepare()
        if self.sampling == "rank-aware":
            self.ranked = self.best(self.teacher, self.pool)  # [n_users, pool], −1: no more
            self.lengths = (self.ranked >= 0).sum(1)

    def begin_epoch(self, student, epoch):
        if self.listwise:
            self.lists = self.unseen(self.q) if self.sampling == "random" else self.draw_by_rank()  # [n_users, Q]

    def draw_by_rank(self):
        ranks = draw_ranks(self.lengths, self.q, self.ranked.shape[1], self.temperature, self.generator)
        return pick(self.ranked, ranks)

    def loss(self, student, batch):
        loss = super().loss(student, batch)
        if self.pairwise or self.listwise:
            u, i, j = (entities[:self.n_pairs] for entities in (batch.users, batch.positives, batch.negatives))
            loss = loss + self.turned(student, u, i, j)
        return loss

    def distance(self, student, side, entities):
        projected = self.networks[side](self.of_student(student, side, entities), self.dropout)
        return cosine_distance(self.of_teacher[side].index_select(0, entities), projected)

    def turned(self, student, u, i, j):
        """pairwise · L_pair + listwise · L_list of the pairs (u, i, j), [n] each."""
        items = torch.stack([i, j], 1)
        if self.listwise:
            lists = self.lists.index_select(0, u)
            items = torch.cat([items, lists.clamp(min=0)], 1)  # [n, 2 + Q]
        # [n, d_s], [n, 2 + Q, d_s]
        s_u, s_i = (self.of_student(student, *of).detach() for of in (("users", u), ("items", items)))
        before = (s_i @ s_u[:, :, None]).squeeze(2)  # [n, 2 + Q]
        network = self.networks["items"]
        after = (network.cosines if self.normalised else network.scores)(self.networks["users"](s_u), s_i)
        loss = self.pairwise * pair_consistency(*(scores[:, 0] - scores[:, 1] for scores in (before, after)))
        if self.listwise:
            of_lists = list_consistency(before[:, 2:], after[:, 2:], self.tau, lists >= 0)
            loss = loss + self.listwise * of_lists.mean()
        return loss

    @cached_property
    def sample(self):
        """The users and items that the report is about; no draw of the training depends on it."""
        return ranked_sample(self.teacher, self.split, torch.Generator(self.generator.device).manual_seed(0))

    @torch.no_grad()
    def report(self, student):
        """"inconsistency" of the projection now, after-scores being products, and "inconsistency_by_rank" (see
        consistency.py); "cosine_inconsistency" and "cosine_inconsistency_by_rank" the same with cosines."""
        users, items = self.sample
        s_u, s_i = student.factors()
        p_u, p_i = self.networks["users"](s_u), self.networks["items"](s_i)
        before, *after = ((u[users] @ i.T).gather(1, items.flatten(1)).view(items.shape)
                          for u, i in ((s_u, s_i), (p_u, p_i), (p_u, normalize(p_i))))
        found = {}
        for name, scores in zip(("inconsistency", "cosine_inconsistency"), after):
            found[f"{name}_by_rank"], found[name] = inconsistency(before, scores)
        return found


def pair_consistency(before: Tensor, after: Tensor) -> Tensor:
    """Mean of max(0, −after · before) over score differences s_i − s_j before and after a projection, [B] each: what it
    costs to turn a preference round.                                            (MKD: CPD's pair-wise regulariser)
    """
    return (-before * after).relu().mean()


def list_consistency(before: Tensor, after: Tensor, tau: float, present: Tensor) -> Tensor:
    """Cross-entropy of softmax(after / τ) to softmax(before / τ) of each user's list: scores, and which places count,
    [n, Q] each → [n].                                                           (MKD: CPD's list-wise regulariser)
    """
    before, after = (logits_of_present(scores / tau, present) for scores in (before, after))
    return -(torch.softmax(before, 1) * torch.log_softmax(after, 1) * present).sum(1)

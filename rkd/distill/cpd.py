"""Consistent Preference Distillation, of the intermediate layer.        (MKD: Zhu & Zhang, arXiv 2311.04549)"""

from functools import cached_property, partial
from itertools import chain

import torch

from ..consistency import inconsistency, ranked_sample
from ..losses import cosine_distance, list_consistency, pair_consistency
from ..sampling import NegativeSampler, draw_ranks, ranking
from .base import Distiller
from .projector import Projector, over_entities

SAMPLINGS = ("rank-aware", "random")


class CPD(Distiller):
    """L = L_FD + pairwise · L_pair + listwise · L_list over the batch's first ``n_pairs`` pairs (u, i, j).

    L_FD = mean_u D(u) + ½ (mean_i D(i) + mean_j D(j)), D(e) = 1 − cos(t_e, P(s_e)), of the embeddings that are scored: the
    teacher's geometry. A projection may turn the student's preferences round, and then teaches it the wrong ones. So with
    before = ⟨s_u, s_i⟩ and after = ⟨P(s_u), P(s_i)⟩, and s taken as given (these two train the *projectors* alone):

    L_pair = mean max(0, −(after_i − after_j) (before_i − before_j)) over the pairs;
    L_list = mean_u of the cross-entropy of softmax(after / tau) to softmax(before / tau) over ``q`` items, drawn afresh
             each epoch from the ``pool`` best of the teacher's, p(rank r) ∝ exp(−r / temperature) ("rank-aware"), or
             from all untrained items ("random").

    pairwise = listwise = 0 is feature distillation. P: a projector.py of ``n_experts`` for users, one for items, with ``dropout``
    in L_FD. Means take the place of the paper's sums.
    """

    def __init__(self, teacher, split, generator, *, pairwise: float = 0.3, listwise: float = 1.0, sampling: str = "rank-aware",
                 q: int = 10, temperature: float = 10.0, pool: int = 100, tau: float = 1.0, n_experts: int = 5,
                 dropout: float = 0.1, n_pairs: int = 64):
        super().__init__(teacher, split, generator)
        if sampling not in SAMPLINGS:
            raise ValueError(f"sampling must be one of {', '.join(SAMPLINGS)}, not {sampling!r}")
        if (min(pairwise, listwise) < 0 or min(tau, temperature) <= 0 or not 0 <= dropout < 1
                or min(q, pool, n_experts, n_pairs) < 1):
            raise ValueError("pairwise and listwise must be 0 or more, tau and temperature above 0, dropout from 0 to below "
                             f"1, q, pool, n_experts and n_pairs at least 1; not {pairwise=}, {listwise=}, {tau=}, "
                             f"{temperature=}, {dropout=}, {q=}, {pool=}, {n_experts=}, {n_pairs=}")
        self.pairwise, self.listwise, self.q, self.temperature, self.tau = pairwise, listwise, q, temperature, tau
        self.n_experts, self.dropout, self.n_pairs = n_experts, dropout, n_pairs
        if sampling == "rank-aware":
            self.ranked = ranking(*teacher, split.train, depth=pool)  # [n_users, pool]
            self.draw = self.draw_by_rank
        else:
            self.uniform = NegativeSampler(split.train)
            self.draw = self.draw_any

    def parameters(self, student):
        dims = student.dim, self.user_factors.shape[1]
        self.of_users, self.of_items = (Projector(*dims, self.n_experts, self.generator) for _ in ("users", "items"))
        return chain(self.of_users.parameters(), self.of_items.parameters())

    def begin_epoch(self, student, epoch):
        if self.listwise:
            self.lists = self.draw()  # [n_users, Q]

    def draw_by_rank(self):
        n_users, depth = self.ranked.shape
        ranks = draw_ranks(n_users, min(self.q, depth), depth, self.temperature, self.ranked.device, self.generator)
        return self.ranked.gather(1, ranks)

    def draw_any(self):
        users = torch.arange(self.split.n_users, device=self.generator.device)
        return self.uniform(users[:, None].expand(-1, self.q), self.generator)

    def loss(self, student, batch):
        loss = over_entities(batch, self.n_pairs,
                             partial(self.distances, self.user_factors, self.of_users, student.users),
                             partial(self.distances, self.item_factors, self.of_items, student.items))
        if self.pairwise or self.listwise:
            u, i, j = (entities[:self.n_pairs] for entities in (batch.users, batch.positives, batch.negatives))
            loss = loss + self.turned(student, u, i, j)
        return loss

    def distances(self, teacher_factors, projector, rows_of_student, entities):
        """D of each entity, [n]."""
        return cosine_distance(teacher_factors.index_select(0, entities),
                               projector(rows_of_student(entities), dropout=self.dropout))

    def turned(self, student, u, i, j):
        """pairwise · L_pair + listwise · L_list of the pairs (u, i, j), [n] each."""
        items = torch.stack([i, j], 1)
        if self.listwise:
            items = torch.cat([items, self.lists.index_select(0, u)], 1)  # [n, 2 + Q]
        s_u, s_i = student.users(u).detach(), student.items(items).detach()  # [n, d_s], [n, 2 + Q, d_s]
        before = (s_i @ s_u[:, :, None]).squeeze(2)  # [n, 2 + Q]
        after = self.of_items.scores(self.of_users(s_u), s_i)
        loss = self.pairwise * pair_consistency(*(scores[:, 0] - scores[:, 1] for scores in (before, after)))
        if self.listwise:
            loss = loss + self.listwise * list_consistency(before[:, 2:], after[:, 2:], self.tau).mean()
        return loss

    @cached_property
    def sample(self):
        """The users and items that the report is about; no draw of the training depends on it."""
        generator = torch.Generator(self.generator.device).manual_seed(0)
        return ranked_sample((self.user_factors, self.item_factors), self.split, generator)

    @torch.no_grad()
    def report(self, student):
        """"inconsistency" of the projection now, and "inconsistency_by_rank" (see consistency.py)."""
        s_u, s_i = student.factors()
        by_rank, overall = inconsistency(self._scores(s_u, s_i), self._scores(self.of_users(s_u), self.of_items(s_i)))
        return {"inconsistency": overall, "inconsistency_by_rank": by_rank}

    def _scores(self, user_factors, item_factors):
        """Of the sampled users and items: [n, G, m]."""
        users, items = self.sample
        return (user_factors[users] @ item_factors.T).gather(1, items.flatten(1)).view(items.shape)

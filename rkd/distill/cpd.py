"""Consistent Preference Distillation, of the intermediate layer.        (MKD: Zhu & Zhang, arXiv 2311.04549)"""

from functools import cached_property
from itertools import chain

import torch

from ..consistency import inconsistency, ranked_sample
from ..losses import cosine_distance, list_consistency, pair_consistency, weighted_mean
from ..sampling import NegativeSampler, draw_ranks, ranking
from .base import Distiller
from .projector import Projector

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
        u, i, j = (entities[:self.n_pairs] for entities in (batch.users, batch.positives, batch.negatives))
        loss = self.feature_distance(student, u.unique(), i.unique(), j.unique())
        if self.pairwise or self.listwise:
            loss = loss + self.turned(student, u, i, j)
        return loss

    def feature_distance(self, student, u, i, j):
        """L_FD of distinct entities, [n] each."""
        items = torch.cat([i, j])
        t_u, t_i = self.user_factors.index_select(0, u), self.item_factors.index_select(0, items)
        of_users = cosine_distance(t_u, self.of_users(student.users(u), dropout=self.dropout))
        of_items = cosine_distance(t_i, self.of_items(student.items(items), dropout=self.dropout))
        positive, negative = of_items.split([len(i), len(j)])
        return of_users.mean() + (positive.mean() + negative.mean()) / 2

    def turned(self, student, u, i, j):
        """pairwise · L_pair + listwise · L_list of the pairs (u, i, j), [n] each; every entity is projected once."""
        users, row, counts = u.unique(return_inverse=True, return_counts=True)  # u = users[row]
        listed = self.lists.index_select(0, users) if self.listwise else u.new_empty(len(users), 0)  # [n, Q]
        items, column = torch.cat([i, j, listed.flatten()]).unique(return_inverse=True)
        s_u, s_i = student.users(users).detach(), student.items(items).detach()
        before, after = s_u @ s_i.T, self.of_users(s_u) @ self.of_items(s_i).T  # [users, items]
        i, j, listed = column.split([len(i), len(j), listed.numel()])
        loss = self.pairwise * pair_consistency(*(scores[row, i] - scores[row, j] for scores in (before, after)))
        if self.listwise:
            listed = listed.view(len(users), -1)
            per_user = list_consistency(before.gather(1, listed), after.gather(1, listed), self.tau)
            loss = loss + self.listwise * weighted_mean(per_user, counts.float())
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

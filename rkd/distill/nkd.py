"""Neighbour-based Knowledge Distillation, of the input layer.        (MKD: Zhu & Zhang, arXiv 2311.04549)"""

from functools import partial
from itertools import chain

import torch

from ..losses import cosine_distance
from ..neighbours import nearest
from .base import Distiller
from .projector import Projector, over_entities

MIXES = ("none", "hard", "soft")
SIDES = ("both", "users", "items")


class NKD(Distiller):
    """L = mean_u D(u) + ½ (mean_i D(i) + mean_j D(j)), D(e) = 1 − cos(t'_e, P(s'_e)), over the distinct users u, positive
    items i and negative items j of the batch's first ``n_pairs`` pairs.

    t and s are the *input* embeddings, before any propagation. Each entity is mixed with a neighbour n, drawn afresh from
    its ``k`` nearest by the teacher's embeddings (Euclidean): e' = r ⊙ e + (1 − r) ⊙ e_n, r apart for teacher and student:

    mix : "soft", r uniform in [0, 2 alpha]; "hard", r 1 with probability alpha, else 0; either for each coordinate apart;
          "none", no mixing, which is plain feature distillation.
    on  : "both", "users" or "items".

    P is a projector.py of ``n_experts`` for users and one for items, with ``dropout``, trained along and thrown away.

    Followed are the paper and the shape of its authors' code, save that means take the place of sums, so that ``weight``
    means the same whatever the batch, and that neighbours are searched in all dimensions (the authors reduce larger
    teachers to 150 by PCA). A teacher from elsewhere, a pair of factors, has no layer below them: they are its input.
    """

    def __init__(self, teacher, split, generator, *, mix: str = "soft", k: int = 5, alpha: float = 0.5, on: str = "both",
                 n_experts: int = 5, dropout: float = 0.1, n_pairs: int = 64):
        super().__init__(teacher, split, generator)
        if mix not in MIXES or on not in SIDES:
            raise ValueError(f"mix must be one of {', '.join(MIXES)} and on one of {', '.join(SIDES)}, not {mix!r} and {on!r}")
        if not 0 <= alpha <= 1 or not 0 <= dropout < 1 or min(k, n_experts, n_pairs) < 1:
            raise ValueError("alpha must be between 0 and 1, dropout from 0 to below 1, k, n_experts and n_pairs at least "
                             f"1; not {alpha=}, {dropout=}, {k=}, {n_experts=}, {n_pairs=}")
        self.mix, self.alpha, self.sides = mix, alpha, SIDES[1:] if on == "both" else (on,)
        self.n_experts, self.dropout, self.n_pairs = n_experts, dropout, n_pairs
        inputs = dict(zip(SIDES[1:], getattr(teacher, "inputs", teacher)))
        self.inputs = {side: inputs[side] for side in self.sides}  # [n_users, d_t], [n_items, d_t]
        self.neighbours = {side: nearest(t, k) for side, t in self.inputs.items() if mix != "none"}

    def parameters(self, student):
        self.projectors = {side: Projector(student.dim, t.shape[1], self.n_experts, self.generator)
                           for side, t in self.inputs.items()}
        return chain(*(projector.parameters() for projector in self.projectors.values()))

    def loss(self, student, batch):
        of_users, of_items = (partial(self.distances, side, rows) if side in self.sides else None
                              for side, rows in zip(SIDES[1:], (student.input_users, student.input_items)))
        return over_entities(batch, self.n_pairs, of_users, of_items)

    def distances(self, side, rows_of_student, entities):
        """D of each entity, [n]; rows_of_student: entities → the student's input embeddings."""
        t, s = self.inputs[side].index_select(0, entities), rows_of_student(entities)  # [n, d_t], [n, d_s]
        if self.mix != "none":
            drawn = self.neighbour_of(side, entities)
            t, s = self.mixed(t, self.inputs[side].index_select(0, drawn)), self.mixed(s, rows_of_student(drawn))
        return cosine_distance(t, self.projectors[side](s, dropout=self.dropout))

    def neighbour_of(self, side, entities):
        """One of each entity's k nearest: [n]."""
        nearest_ = self.neighbours[side].index_select(0, entities)  # [n, k]
        chosen = torch.randint(nearest_.shape[1], (len(entities), 1), device=entities.device, generator=self.generator)
        return nearest_.gather(1, chosen).squeeze(1)

    def mixed(self, own, neighbour):
        """r ⊙ own + (1 − r) ⊙ neighbour: [n, d] each."""
        r = torch.empty_like(own).uniform_(generator=self.generator)
        r = 2 * self.alpha * r if self.mix == "soft" else (r < self.alpha).to(r.dtype)
        return torch.lerp(neighbour, own, r)

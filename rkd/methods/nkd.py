"""Neighbour-based Knowledge Distillation.        (MKD: Zhu & Zhang, arXiv 2311.04549v1)"""

import torch

from ..limits import BELOW_1, FROM_1, SHARE, one_of
from ..neighbours import nearest
from .base import SIDES, OnEntities
from .projector import cosine_distance


class NKD(OnEntities):
    """L = mean_u D(u) + ½ (mean_i D(i) + mean_j D(j)), D(e) = 1 − cos(t'_e, P(s'_e)), over the distinct users u,
    positive items i and negative items j of the batch's first ``n_pairs`` pairs.

    Each entity is mixed with a neighbour n, drawn afresh from its ``k`` nearest by the teacher's embeddings
    (Euclidean): e' = r ⊙ e + (1 − r) ⊙ e_n, r apart for teacher and student:

    mix   : "soft", r uniform in [0, 2 alpha]; "hard", r 1 with probability alpha, else 0; either for each coordinate
            apart; "none", no mixing, which is plain feature distillation.
    layer : of which embeddings t and s, and the neighbours, are: "output", those that are scored; "input", those before
            any propagation. In MF they are the same, and so they are for a pair of factors from elsewhere.
    on    : "both", "users" or "items".

    P: one Projector for users, one for items, of ``n_experts``, with ``dropout``, trained along and thrown away.
    """

    label = "NKD"
    source = "Zhu & Zhang, arXiv 2311.04549v1"
    search = {"mix": ["soft", "hard"], "k": [5, 10, 20], "alpha": [0.3, 0.5, 0.7]}
    weights = (0.03, 1.5)
    # KDs, configs/gowalla/bpr/nkd.yaml: λ = .5 of sums over the distinct of 2048 pairs
    published = {"mix": "soft", "k": 5, "alpha": 0.5, "n_experts": 5, "dropout": 0.1, "weight": 0.4}
    limits = {"mix": one_of("none", "hard", "soft"), "k": FROM_1, "alpha": SHARE, "on": one_of("both", *SIDES),
              "layer": one_of("output", "input"), "dropout": BELOW_1}
    differs = ("Means take the place of sums, so that ``weight`` means the same whatever the batch.",
               "Distilled are the entities of n_pairs pairs of a batch (the authors': of all).",
               "The paper calls NKD the input layer's, the released code takes propagated embeddings for neighbours, "
               "mixing and imitation: followed is the code, and layer=\"input\" is the paper's word.",
               "Soft mixing is the released code's since April 2024. At first the neighbour's weight was uniform in "
               "[0, alpha], a quarter on average at alpha = .5; which of the two the paper used is open.",
               "Dropout silences hidden units alone, of which there are (d_s + d_t) / 2. (The code's first version "
               "has none, later ones silence the inputs too and have d_t / 2; which the paper used is open.)",
               "Neighbours are searched in all dimensions (the authors reduce larger teachers to 150 by PCA).")

    mix: str = "soft"
    k: int = 5
    alpha: float = 0.5
    on: str = "both"
    layer: str = "output"
    dropout: float = 0.1

    def prepare(self):
        self.sides = SIDES if self.on == "both" else (self.on,)
        super().prepare()
        self.neighbours = {side: nearest(t, self.k) for side, t in self.of_teacher.items() if self.mix != "none"}

    def distance(self, student, side, entities):
        t, s = self.of_teacher[side].index_select(0, entities), self.of_student(student, side, entities)
        if self.mix != "none":
            drawn = self.neighbour_of(side, entities)
            t = self.mixed(t, self.of_teacher[side].index_select(0, drawn))  # [n, d_t]
            s = self.mixed(s, self.of_student(student, side, drawn))  # [n, d_s]
        return cosine_distance(t, self.networks[side](s, self.dropout))

    def neighbour_of(self, side, entities):
        """One of each entity's k nearest: [n]."""
        near = self.neighbours[side].index_select(0, entities)  # [n, k]
        chosen = torch.randint(near.shape[1], (len(entities), 1), device=entities.device, generator=self.generator)
        return near.gather(1, chosen).squeeze(1)

    def mixed(self, own, neighbour):
        """r ⊙ own + (1 − r) ⊙ neighbour: [n, d] each."""
        r = torch.empty_like(own).uniform_(generator=self.generator)
        r = 2 * self.alpha * r if self.mix == "soft" else (r < self.alpha).to(r.dtype)
        return torch.lerp(neighbour, own, r)

"""Hierarchical Topology Distillation: how embeddings lie to each other, by groups.  (Kang et al., KDD 2021)"""

import torch

from ..lookup import members
from ..losses import entity_topology, group_topology
from .de import DE


class HTD(DE):
    """L = alpha · (L_entity + L_group) + (1 − alpha) · L_GA over distinct users and items of the batch, as in DE.

    Assignment: L_GA is DE's loss with ``n_experts`` experts for users and as many for items; whom one expert
    serves best is a group, and its members are those for whom the gate prefers it.
    Topology: cosines among the members of a group (L_entity), and between every entity and the prototypes of the other
    groups, a prototype being the mean of its members (L_group), shall be the same for student and teacher.

    Followed is the released code where the paper leaves a choice: prototypes are taken as given by the gradient, and an
    entity's own group's prototype does not count (so UnKD's copy of it). Not followed: the code leaves out pairs of
    negative teacher cosine, an artefact of how it masks; sums there are means here, so that ``weight`` means the same
    whatever the batch; UnKD's copy sets alpha = 1, which leaves the assignment untrained.
    """

    def __init__(self, teacher, split, generator, *, alpha: float = 0.5, n_experts: int = 5, anneal: int = 100,
                 n_pairs: int = 128):
        super().__init__(teacher, split, generator, n_experts=n_experts, anneal=anneal, n_pairs=n_pairs)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
        self.alpha = alpha

    def loss(self, student, batch):
        embeddings = self.embeddings(student, batch)
        s, t, weight = map(torch.cat, embeddings)  # [n, d_s], [n, d_t], [n], users first
        member = members(self.group(embeddings[1]), 2 * self.n_experts) * weight[:, None]  # [n, G]; repeated: no group's
        topology = entity_topology(s, t, member) + group_topology(s, t, member)
        return self.alpha * topology + (1 - self.alpha) * self.distance(*embeddings)

    def group(self, t):
        """Each entity's group by its teacher embedding, users' and items': 0 … M − 1 for users, M … 2 M − 1 for items."""
        for_users, for_items = self.experts
        return torch.cat([for_users.preferred(t[0]), for_items.preferred(t[1]) + self.n_experts])

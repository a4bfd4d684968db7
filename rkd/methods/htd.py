"""Hierarchical Topology Distillation: how embeddings lie to each other, by groups.  (Kang et al., KDD 2021)"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..limits import SHARE
from .de import DE
from .experts import by_group, members


class HTD(DE):
    """L = (alpha · TD + (1 − alpha) · GA) / n, both being sums over the n distinct users and items of the batch's first
    ``n_pairs`` pairs.

    Assignment: GA = Σ_e ‖t_e − f(s_e)‖², with DE's mixtures of ``n_experts`` experts for users and as many for items;
    whom one expert serves best is a group, and its members are those for whom the gate prefers it.
    Topology: TD sums squared differences between the student's and the teacher's cosines, over all pairs a, b of one
    group, and over all entities with the prototypes of the groups that they are not in, a prototype being the mean of
    its members.

    An entity has one assignment, but a pair with every member of its group and one with every other group: at the same
    alpha, TD outweighs GA by about the number of these.
    """

    label = "HTD"
    source = "Kang et al., KDD 2021"
    search = {"alpha": [0.1, 0.5, 0.9], "n_experts": [10, 30]}
    weight = 3e-3
    weights = (3e-4, 3e-2)
    # Topology_Distillation_KDD21: λ = .001 of the sums; 2048 pairs of CiteULike have some 4900 distinct users and items
    published = {"alpha": 0.5, "n_experts": 30, "weight": 2.4e-3}
    limits = {"alpha": SHARE}
    differs = ("Prototypes are taken as given by the gradient, as in the released code, and an entity's own group's "
               "prototype does not count (so UnKD's copy of it; in the original it does).",
               "The code leaves out pairs of negative teacher cosine, an artefact of how it masks; here they count.",
               "The sums are divided by the number of entities, which leaves their ratio as it is in the code.",
               "An entity's pairs are with its group's members among the entities of n_pairs pairs (the code: of the "
               "whole batch): the part of TD within groups grows with n_pairs as theirs does with the batch.",
               "UnKD's copy keeps T = .1.")

    alpha: float = 0.5
    n_experts: int = 30
    n_pairs: int = 512

    def loss(self, student, batch):
        found = self.entities(batch)
        s = {side: self.of_student(student, side, entities) for side, (entities, _) in found.items()}  # [n, d_s] each
        t = {side: self.of_teacher[side].index_select(0, entities) for side, (entities, _) in found.items()}
        weight = torch.cat([weight for _, weight in found.values()])  # [n], 0 for repeated rows: in no group
        members_of = members(self.group(t), 2 * self.n_experts) * weight[:, None]  # [n, G], users first
        both = torch.cat([*s.values()]), torch.cat([*t.values()]), members_of
        topology = entity_topology(*both) + group_topology(*both)
        distances = [self.networks[side].distances(s[side], t[side], self.temperature) for side in found]
        assignment = torch.cat(distances) @ weight
        return (self.alpha * topology + (1 - self.alpha) * assignment) / weight.sum()

    def group(self, t):
        """Each entity's group by its teacher embedding, {"users": [n, d_t], "items": …}: 0 … M − 1 for users, M … 2 M −
        1 for items."""
        return torch.cat([self.networks["users"].preferred(t["users"]),
                          self.networks["items"].preferred(t["items"]) + self.n_experts])


def entity_topology(student: Tensor, teacher: Tensor, member: Tensor) -> Tensor:
    """Σ (cos(s_a, s_b) − cos(t_a, t_b))² over the ordered pairs a, b of one group, up to a constant.

    student [n, d_s], teacher [n, d_t]; member [n, G] one-hot, or 0 for a row that is in no group. (Kang et al., KDD
    2021)

    With S and T a group's rows, brought to norm 1, Σ_ab (…)² = ‖SSᵀ − TTᵀ‖² = ‖SᵀS‖² − 2 ‖SᵀT‖² + ‖TTᵀ‖²: no n × n
    matrix is needed, and the last term, which no student can change, is left out.
    """
    inside = member.sum(1, keepdim=True)
    rows = torch.cat([normalize(student) * inside, normalize(teacher) * inside], 1)
    s, t = by_group(rows, member.argmax(1), member.shape[1])[0].split([student.shape[1], teacher.shape[1]], 2)
    return (s.mT @ s).square().sum() - 2 * (s.mT @ t).square().sum()  # of [G, d_s, d_s], [G, d_s, d_t]


def group_topology(student: Tensor, teacher: Tensor, member: Tensor) -> Tensor:
    """Σ (cos(s_a, p_g) − cos(t_a, q_g))² over entities a and the groups g that a is not in; p_g and q_g are the means
    of the group's rows of student [n, d_s] and teacher [n, d_t]; member as for entity_topology.   (KDD 2021)
    """
    def cosines(rows):
        prototypes = member.T @ rows.detach()  # the mean up to its length, [G, d]
        return normalize(rows) @ normalize(prototypes).T  # [n, G]

    other = (member.sum(1, keepdim=True) - member) * (member.sum(0) > 0)
    return ((cosines(student) - cosines(teacher)).square() * other).sum()

"""Hierarchical Topology Distillation: how embeddings lie to each other, by groups.  (Kang et al., KDD 2021)"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..batch import weighted_mean
from ..limits import SHARE
from .de import DE
from .experts import by_group, members


class HTD(DE):
    """L = alpha · (L_entity + L_group) + (1 − alpha) · L_GA over distinct users and items of the batch, as in DE.

    Assignment: L_GA is DE's loss with ``n_experts`` experts for users and as many for items; whom one expert
    serves best is a group, and its members are those for whom the gate prefers it.
    Topology: cosines among the members of a group (L_entity), and between every entity and the prototypes of the other
    groups, a prototype being the mean of its members (L_group), shall be the same for student and teacher.
    """

    label = "HTD"
    source = "Kang et al., KDD 2021"
    search = {"alpha": [0.25, 0.5, 0.75], "n_experts": [5, 10]}
    limits = {"alpha": SHARE}
    differs = ("Followed is the released code where the paper leaves a choice: prototypes are taken as given by the "
               "gradient, and an entity's own group's prototype does not count (so UnKD's copy of it).",
               "The code leaves out pairs of negative teacher cosine, an artefact of how it masks; here they count.",
               "Sums there are means here, so that ``weight`` means the same whatever the batch.",
               "UnKD's copy sets alpha = 1, which leaves the assignment untrained.")

    alpha: float = 0.5

    def loss(self, student, batch):
        found = self.entities(batch)
        s = {side: self.of_student(student, side, entities) for side, (entities, _) in found.items()}  # [n, d_s] each
        t = {side: self.of_teacher[side].index_select(0, entities) for side, (entities, _) in found.items()}
        weight = {side: weight for side, (_, weight) in found.items()}
        members_of = members(self.group(t), 2 * self.n_experts)  # [n, G], users first
        members_of = members_of * torch.cat([*weight.values()])[:, None]  # 0 for repeated rows: in no group
        both = torch.cat([*s.values()]), torch.cat([*t.values()]), members_of
        assignment = sum(weighted_mean(self.networks[side].distances(s[side], t[side], self.temperature), weight[side])
                         for side in found)
        return self.alpha * (entity_topology(*both) + group_topology(*both)) + (1 - self.alpha) * assignment

    def group(self, t):
        """Each entity's group by its teacher embedding, {"users": [n, d_t], "items": …}: 0 … M − 1 for users, M … 2 M −
        1 for items."""
        return torch.cat([self.networks["users"].preferred(t["users"]),
                          self.networks["items"].preferred(t["items"]) + self.n_experts])


def entity_topology(student: Tensor, teacher: Tensor, member: Tensor) -> Tensor:
    """Mean of (cos(s_a, s_b) − cos(t_a, t_b))² over the pairs a, b of one group, up to a constant.

    student [n, d_s], teacher [n, d_t]; member [n, G] one-hot, or 0 for a row that is in no group. (Kang et al., KDD
    2021)

    With S and T a group's rows, brought to norm 1, Σ_ab (…)² = ‖SSᵀ − TTᵀ‖² = ‖SᵀS‖² − 2 ‖SᵀT‖² + ‖TTᵀ‖²: no n × n
    matrix is needed, and the last term, which no student can change, is left out.
    """
    inside = member.sum(1, keepdim=True)
    rows = torch.cat([normalize(student) * inside, normalize(teacher) * inside], 1)
    s, t = by_group(rows, member.argmax(1), member.shape[1])[0].split([student.shape[1], teacher.shape[1]], 2)
    inner = (s.mT @ s).square().sum() - 2 * (s.mT @ t).square().sum()  # of [G, d_s, d_s], [G, d_s, d_t]
    return inner / member.sum(0).square().sum()


def group_topology(student: Tensor, teacher: Tensor, member: Tensor) -> Tensor:
    """Mean of (cos(s_a, p_g) − cos(t_a, q_g))² over entities a and the groups g that a is not in; p_g and q_g are the
    means of the group's rows of student [n, d_s] and teacher [n, d_t]; member as for entity_topology.   (KDD 2021)
    """
    def cosines(rows):
        prototypes = member.T @ rows.detach()  # the mean up to its length, [G, d]
        return normalize(rows) @ normalize(prototypes).T  # [n, G]

    other = (member.sum(1, keepdim=True) - member) * (member.sum(0) > 0)
    return ((cosines(student) - cosines(teacher)).square() * other).sum() / other.sum().clamp(min=1)

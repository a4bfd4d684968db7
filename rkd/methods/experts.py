"""A mixture of small perceptrons that carries a student's embeddings into the teacher's space."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import log_softmax

from ..device import fixed_shapes
from ..sampling import gumbel
from .projector import Projector

COLDEST, HOT = 1e-10, 10.0
SHARP = 1e-3


def temperature(epoch: int, anneal: int) -> float:
    """T of epoch 1, 2, …: from 1 down to 1e-10 by equal factors within ``anneal`` epochs; 10 where that is 0."""
    return COLDEST ** min((epoch - 1) / anneal, 1) if anneal else HOT


class Experts(Projector):
    """f(s) = Σ_m z_m f_m(s), a projector whose experts f_m are weighted by a gate on the teacher's embedding t, by
    Gumbel-softmax: z = softmax((log α + g) / T), α = softmax(gate(t)).

    At T = 1 all experts have a say; as T falls z tends to one expert, drawn with probability α. Below T = 1e-3, where
    all but about a hundredth of the z are that already, to rounding, only the winner speaks, which is several times
    faster.                                                                       (Kang et al., CIKM 2020)
    """

    def __init__(self, student_dim: int, teacher_dim: int, n_experts: int, generator: Generator):
        super().__init__(student_dim, teacher_dim, n_experts, generator)
        self.gate = self.layer(teacher_dim, teacher_dim, n_experts)
        self.gate_bias = self.layer(teacher_dim, n_experts)

    def preferred(self, teacher: Tensor) -> Tensor:
        """The expert that the gate prefers for each teacher embedding [n, d_t], no noise added: [n] int64."""
        return torch.addmm(self.gate_bias, teacher, self.gate).argmax(1)

    def distances(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """‖t − f(s)‖² of n entities' embeddings, student [n, d_s] and teacher [n, d_t]: [n]."""
        log_alpha = log_softmax(torch.addmm(self.gate_bias, teacher, self.gate), 1)
        perturbed = log_alpha + gumbel(log_alpha, self.generator)  # [n, M]
        if temperature >= SHARP:
            mapped = self.weighted(student, torch.softmax(perturbed / temperature, 1))
        else:
            mapped = self.of_winner(student, perturbed.argmax(1))
        return (teacher - mapped).square().sum(1)

    def weighted(self, student: Tensor, z: Tensor) -> Tensor:
        """Embeddings mapped by all experts, these being weighted by z, [n, M]: [n, d_s] → [n, d_t]."""
        hidden = (self.hidden(student).view(*z.shape, -1) * z[:, :, None]).flatten(1)  # [n, M · h]
        return hidden @ self.second.flatten(0, 1) + z @ self.second_bias  # Σ_m z_m (h_m W_m + b_m)

    def of_winner(self, student: Tensor, winner: Tensor) -> Tensor:
        """Each entity's embedding mapped by one expert, winner [n] int64: [n, d_s] → [n, d_t]."""
        rows, slot = by_group(student, winner, len(self.first))  # [M, most, d_s], each expert's own
        hidden = torch.baddbmm(self.first_bias[:, None], rows, self.first).relu_()  # [M, most, h]
        return torch.baddbmm(self.second_bias[:, None], hidden, self.second).flatten(0, 1).index_select(0, slot)


class RectifiedExperts(Experts):
    """Experts as in UnKD's code: two linear layers, f(s) = relu(W₂ (W₁ s + b₁) + b₂)."""

    def weighted(self, student, z):
        hidden = torch.baddbmm(self.first_bias[:, None], student.expand(len(self.first), -1, -1), self.first)
        mapped = torch.baddbmm(self.second_bias[:, None], hidden, self.second).relu()  # [M, n, d_t]
        return (mapped * z.T[:, :, None]).sum(0)

    def of_winner(self, student, winner):
        return self.weighted(student, members(winner, len(self.first)))


def members(group: Tensor, n_groups: int) -> Tensor:
    """Who is in which group, one-hot: [n] int64 → [n, G] floats. (torch's one_hot has the host look at every group.)"""
    return (group[:, None] == torch.arange(n_groups, device=group.device)).float()


def by_group(rows: Tensor, group: Tensor, n_groups: int) -> tuple[Tensor, Tensor]:
    """Pack rows [n, d] by group ([n] int64) into a zero-padded batch [G, most, d], most being the largest group's size,
    or n where shapes are fixed. Returns it and each row's slot in [G · most], [n]."""
    sizes, order = members(group, n_groups).sum(0).long(), group.argsort(stable=True)
    place = torch.empty_like(group)
    place[order] = torch.arange(len(group), device=group.device) - (sizes.cumsum(0) - sizes)[group[order]]
    most = len(group) if fixed_shapes(group.device) else int(sizes.max())
    slot = group * most + place
    return rows.new_zeros(n_groups * most, rows.shape[1]).index_copy(0, slot, rows).view(n_groups, most, -1), slot

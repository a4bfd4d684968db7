"""A mixture of small perceptrons that carries a student's embeddings into the teacher's space."""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor
from torch.nn import Parameter
from torch.nn.functional import log_softmax

from ..lookup import by_group
from ..sampling import gumbel
from .projector import Projector

COLDEST = 1e-10
SHARP = 1e-3


def temperature(epoch: int, anneal: int) -> float:
    """T of epoch 1, 2, …: from 1 down to 1e-10 by equal factors within ``anneal`` epochs."""
    return COLDEST ** min((epoch - 1) / anneal, 1)


class Experts(Projector):
    """f(s) = Σ_m z_m f_m(s), a projector whose experts f_m are weighted by a gate on the teacher's embedding t, by
    Gumbel-softmax: z = softmax((log α + g) / T), α = softmax(gate(t)).

    At T = 1 all experts have a say; as T falls z tends to one expert, drawn with probability α. Below T = 1e-3, where
    all but about a hundredth of the z are that already, to rounding, only the winner speaks, which is several times
    faster.                                                                       (Kang et al., CIKM 2020)
    """

    def __init__(self, student_dim: int, teacher_dim: int, n_experts: int, generator: Generator):
        super().__init__(student_dim, teacher_dim, n_experts, generator)
        self.gate = self.parameter(teacher_dim, teacher_dim, n_experts)
        self.gate_bias = self.parameter(teacher_dim, n_experts)

    def parameters(self) -> Iterator[Parameter]:
        yield from (*super().parameters(), self.gate, self.gate_bias)

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

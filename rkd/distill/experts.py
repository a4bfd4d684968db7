"""A mixture of small perceptrons that carries a student's embeddings into the teacher's space."""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor
from torch.nn import Parameter
from torch.nn.functional import log_softmax

COLDEST = 1e-10
SHARP = 1e-3


def temperature(epoch: int, anneal: int) -> float:
    """T of epoch 1, 2, …: from 1 down to 1e-10 by equal factors within ``anneal`` epochs."""
    return COLDEST ** min((epoch - 1) / anneal, 1)


class Experts:
    """f(s) = Σ_m z_m f_m(s): perceptrons f_m with one hidden layer of (d_s + d_t) / 2 ReLUs, and a gate z on the
    teacher's embedding, by Gumbel-softmax: z = softmax((log α + g) / T), α = softmax(gate(t)).

    At T = 1 all experts have a say; as T falls z tends to one expert, drawn with probability α. Below T = 1e-3, where
    all but about a hundredth of the z are that already, to rounding, only the winner speaks, which is several times
    faster.                                                                       (Kang et al., CIKM 2020)
    """

    def __init__(self, student_dim: int, teacher_dim: int, n_experts: int, generator: Generator):
        self.generator = generator
        hidden = (student_dim + teacher_dim) // 2

        def parameter(n_in, *shape):  # of a layer with n_in inputs, as torch.nn.Linear begins
            start = torch.empty(shape, device=generator.device)
            return Parameter(start.uniform_(-n_in**-0.5, n_in**-0.5, generator=generator))

        self.first = parameter(student_dim, n_experts, student_dim, hidden)  # [M, d_s, h]
        self.first_bias = parameter(student_dim, n_experts, hidden)
        self.second = parameter(hidden, n_experts, hidden, teacher_dim)  # [M, h, d_t]
        self.second_bias = parameter(hidden, n_experts, teacher_dim)
        self.gate, self.gate_bias = parameter(teacher_dim, teacher_dim, n_experts), parameter(teacher_dim, n_experts)

    def parameters(self) -> Iterator[Parameter]:
        yield from (self.first, self.first_bias, self.second, self.second_bias, self.gate, self.gate_bias)

    def preferred(self, teacher: Tensor) -> Tensor:
        """The expert that the gate prefers for each teacher embedding [n, d_t], no noise added: [n] int64."""
        return torch.addmm(self.gate_bias, teacher, self.gate).argmax(1)

    def distance(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Mean ‖t − f(s)‖² of n entities' embeddings, student [n, d_s] and teacher [n, d_t]: a scalar."""
        log_alpha = log_softmax(torch.addmm(self.gate_bias, teacher, self.gate), 1)
        noise = torch.empty_like(log_alpha).exponential_(generator=self.generator).log().neg()  # Gumbel(0, 1)
        perturbed = log_alpha + noise  # [n, M]
        if temperature < SHARP:
            return self._distance_to_winner(student, teacher, perturbed.argmax(1))
        z = torch.softmax(perturbed / temperature, 1)
        hidden = (student @ self.first.transpose(0, 1).flatten(1) + self.first_bias.flatten()).relu()  # [n, M · h]
        weighted = (hidden.view(len(z), len(self.first), -1) * z[:, :, None]).flatten(1)
        mixed = weighted @ self.second.flatten(0, 1) + z @ self.second_bias  # Σ_m z_m (h_m W_m + b_m): [n, d_t]
        return (teacher - mixed).square().sum(1).mean()

    def _distance_to_winner(self, student: Tensor, teacher: Tensor, winner: Tensor) -> Tensor:
        order, members = winner.argsort(), winner.bincount(minlength=len(self.first)).tolist()
        layers = zip(*(parameter.unbind() for parameter in (self.first, self.first_bias, self.second, self.second_bias)))
        mapped = torch.cat([torch.addmm(b2, torch.addmm(b1, rows, w1).relu(), w2)
                            for rows, (w1, b1, w2, b2) in zip(student[order].split(members), layers)])
        return (teacher[order] - mapped).square().sum(1).mean()

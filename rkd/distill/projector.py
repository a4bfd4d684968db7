"""Small perceptrons that carry a student's embeddings into the teacher's space."""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor
from torch.nn import Parameter


class Projector:
    """P(s) = Σ_m z_m f_m(s), perceptrons f_m with one hidden layer of (d_s + d_t) / 2 ReLUs; z_m = 1 / M unless given.

    M is ``n_experts``. The layers begin as torch.nn.Linear's do, drawn from the generator.
    """

    def __init__(self, student_dim: int, teacher_dim: int, n_experts: int, generator: Generator):
        self.generator = generator
        hidden = (student_dim + teacher_dim) // 2
        self.first = self.parameter(student_dim, n_experts, student_dim, hidden)  # [M, d_s, h]
        self.first_bias = self.parameter(student_dim, n_experts, hidden)
        self.second = self.parameter(hidden, n_experts, hidden, teacher_dim)  # [M, h, d_t]
        self.second_bias = self.parameter(hidden, n_experts, teacher_dim)

    def parameter(self, n_in: int, *shape: int) -> Parameter:
        """One of a layer with n_in inputs, of this shape."""
        start = torch.empty(shape, device=self.generator.device)
        return Parameter(start.uniform_(-n_in**-0.5, n_in**-0.5, generator=self.generator))

    def parameters(self) -> Iterator[Parameter]:
        yield from (self.first, self.first_bias, self.second, self.second_bias)

    def __call__(self, student: Tensor, z: Tensor | None = None, dropout: float = 0.0) -> Tensor:
        """P of embeddings [n, d_s]: [n, d_t]. z : [n, M]; dropout : share of the hidden units that are silenced."""
        hidden = (student @ self.first.transpose(0, 1).flatten(1) + self.first_bias.flatten()).relu()  # [n, M · h]
        if dropout:
            kept = torch.empty_like(hidden).uniform_(generator=self.generator) >= dropout  # faster than bernoulli_
            hidden = hidden * kept / (1 - dropout)
        if z is None:
            return torch.addmm(self.second_bias.mean(0), hidden, self.second.flatten(0, 1) / len(self.second))
        weighted = (hidden.view(len(z), len(self.first), -1) * z[:, :, None]).flatten(1)
        return weighted @ self.second.flatten(0, 1) + z @ self.second_bias  # Σ_m z_m (h_m W_m + b_m)

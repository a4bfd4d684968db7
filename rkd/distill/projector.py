"""Small perceptrons that carry a student's embeddings into the teacher's space."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor
from torch.nn import Parameter

from ..losses import weighted_mean
from .base import Batch, distinct


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

    def hidden(self, student: Tensor) -> Tensor:
        """All experts' hidden units for embeddings [n, d_s]: [n, M · h]."""
        return torch.addmm(self.first_bias.flatten(), student, self.first.transpose(0, 1).flatten(1)).relu_()

    def __call__(self, student: Tensor, z: Tensor | None = None, dropout: float = 0.0) -> Tensor:
        """P of embeddings [n, d_s]: [n, d_t]. z : [n, M]; dropout : share of the hidden units that are silenced."""
        hidden, second = self.hidden(student), self.second.flatten(0, 1)  # [n, M · h], [M · h, d_t]
        if dropout:
            hidden = hidden * kept(hidden.shape, dropout, self.generator)
        if z is None:
            return torch.addmm(self.second_bias.mean(0), hidden, second, alpha=1 / len(self.second))
        weighted = (hidden.view(len(z), len(self.first), -1) * z[:, :, None]).flatten(1)
        return weighted @ second + z @ self.second_bias  # Σ_m z_m (h_m W_m + b_m)

    def scores(self, queries: Tensor, student: Tensor) -> Tensor:
        """⟨q, P(s)⟩ of each query's list: queries [n, d_t], student [n, L, d_s] → [n, L]. As ⟨W q, h(s)⟩ + ⟨q, b⟩, W and b
        the means of the experts' second layers, so that none of the L embeddings goes through these: a tenth of the work."""
        back = queries @ self.second.flatten(0, 1).T / len(self.second)  # [n, M · h]
        hidden = self.hidden(student.flatten(0, 1)).view(*student.shape[:2], -1)  # [n, L, M · h]
        return (hidden * back[:, None]).sum(2) + (queries @ self.second_bias.mean(0))[:, None]


def kept(shape: torch.Size, dropout: float, generator: Generator) -> Tensor:
    """Dropout's factors: 0 for a share ``dropout`` of them, to 1 / 65,536, and 1 / (1 − dropout) for the rest.

    From 16 random bits each, several times as fast on a CPU as from a float each."""
    n, below = math.prod(shape), round(dropout * 65_536) - 32_768  # of the numbers from −32,768 to 32,767
    bits = torch.empty(-(-n // 4), dtype=torch.int64, device=generator.device).random_(-2**63, None, generator=generator)
    drawn = bits.view(torch.int16)[:n].view(shape).float()
    return drawn.sub_(below - 1).clamp_(0, 1).mul_(1 / (1 - dropout))


def over_entities(batch: Batch, n_pairs: int, of_users: Callable | None, of_items: Callable | None) -> Tensor:
    """mean_u D(u) + ½ (mean_i D(i) + mean_j D(j)) over the distinct users u, positive items i and negative items j of the
    batch's first ``n_pairs`` pairs; of_users, of_items: entities [n] → D [n], None: a side that is left out."""
    total = 0.0
    if of_users:
        users, weight = distinct(batch.users[:n_pairs])
        total = weighted_mean(of_users(users), weight)
    if of_items:
        (i, weight_i), (j, weight_j) = (distinct(items[:n_pairs]) for items in (batch.positives, batch.negatives))
        positive, negative = of_items(torch.cat([i, j])).split([len(i), len(j)])
        total = total + (weighted_mean(positive, weight_i) + weighted_mean(negative, weight_j)) / 2
    return total

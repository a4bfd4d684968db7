"""Small perceptrons that carry a student's embeddings into the teacher's space."""

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize


class Projector(nn.Module):
    """P(s) = mean_m f_m(s), perceptrons f_m with one hidden layer of (d_s + d_t) / 2 ReLUs; M of them, ``n_experts``.

    The layers begin as torch.nn.Linear's do, drawn from the generator, as is the dropout.
    """

    def __init__(self, student_dim: int, teacher_dim: int, n_experts: int, generator: Generator):
        super().__init__()
        self.generator, self.n_experts = generator, n_experts
        hidden = (student_dim + teacher_dim) // 2
        self.first = self.layer(student_dim, n_experts, student_dim, hidden)  # [M, d_s, h]
        self.first_bias = self.layer(student_dim, n_experts, hidden)
        self.second = self.layer(hidden, n_experts, hidden, teacher_dim)  # [M, h, d_t]
        self.second_bias = self.layer(hidden, n_experts, teacher_dim)

    def layer(self, n_in: int, *shape: int) -> nn.Parameter:
        """One of a layer with n_in inputs, of this shape."""
        start = torch.empty(shape, device=self.generator.device)
        return nn.Parameter(start.uniform_(-n_in**-0.5, n_in**-0.5, generator=self.generator))

    def hidden(self, student: Tensor) -> Tensor:
        """All experts' hidden units for embeddings [n, d_s]: [n, M · h]."""
        return torch.addmm(self.first_bias.flatten(), student, self.first.transpose(0, 1).flatten(1)).relu_()

    def forward(self, student: Tensor, dropout: float = 0.0) -> Tensor:
        """P of embeddings [n, d_s]: [n, d_t]. dropout : share of the hidden units that are silenced."""
        hidden = self.hidden(student)  # [n, M · h]
        if dropout:
            kept = torch.empty_like(hidden).bernoulli_(1 - dropout, generator=self.generator)
            hidden = hidden * kept / (1 - dropout)
        return self.last(hidden)

    def last(self, hidden: Tensor, one: Tensor | float = 1.0) -> Tensor:
        """The mean of the experts' second layers of hidden units [n, M · h]: [n, d_t]. Of weighted sums of entities'
        hidden units it is the same sums of their P, ``one`` [n, 1] being the sums of the weights."""
        return hidden @ self.second.flatten(0, 1) / self.n_experts + one * self.second_bias.mean(0)

    def scores(self, queries: Tensor, student: Tensor) -> Tensor:
        """⟨q, P(s)⟩ of each query's list: queries [n, d_t], student [n, L, d_s] → [n, L]. As ⟨W q, h(s)⟩ + ⟨q, b⟩, W
        and b the means of the experts' second layers, so that none of the L embeddings goes through these: a tenth of
        the work."""
        query = queries @ self.second.flatten(0, 1).T / self.n_experts  # [n, M · h]
        hidden = self.hidden(student.flatten(0, 1)).view(*student.shape[:2], -1)  # [n, L, M · h]
        return (hidden @ query[:, :, None]).squeeze(2) + (queries @ self.second_bias.mean(0))[:, None]


    def cosines(self, queries: Tensor, student: Tensor) -> Tensor:
        """cos(q, P(s)) of each query's list: queries [n, d_t], student [n, L, d_s] → [n, L]."""
        mapped = self(student.flatten(0, 1)).view(*student.shape[:2], -1)  # [n, L, d_t]
        return (mapped @ normalize(queries)[:, :, None]).squeeze(2) / mapped.norm(dim=2).clamp(min=1e-12)


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """1 − cos(a, b) of each row: [n, d] each → [n]."""
    return 1 - (normalize(a) * normalize(b)).sum(1)

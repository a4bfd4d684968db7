"""Small perceptrons that carry a student's embeddings into the teacher's space."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor
from torch.nn import Parameter

from ..lookup import gradient
from ..losses import weighted_mean
from .base import Batch, distinct


class Projector:
    """P(s) = mean_m f_m(s), perceptrons f_m with one hidden layer of (d_s + d_t) / 2 ReLUs; M of them, ``n_experts``.

    The layers begin as torch.nn.Linear's do, drawn from the generator. Gradients of what is projected go to their .grad in
    place.
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

    def __call__(self, student: Tensor, dropout: float = 0.0) -> Tensor:
        """P of embeddings [n, d_s]: [n, d_t]. dropout : share of the hidden units that are silenced."""
        return _Projection.apply(student, self.second, self, dropout)

    def scores(self, queries: Tensor, student: Tensor) -> Tensor:
        """⟨q, P(s)⟩ of each query's list: queries [n, d_t], student [n, L, d_s], taken as given → [n, L]. As ⟨W q, h(s)⟩ +
        ⟨q, b⟩, W and b the means of the experts' second layers, so that none of the L embeddings goes through these: a
        tenth of the work."""
        return _ListProjection.apply(queries, student, self.second, self)

    def pull_first(self, student: Tensor, pull: Tensor) -> None:
        """Adds to the first layer's gradient, that of its outputs, [n, M · h], having been found: student [n, d_s]."""
        shape = student.shape[1], len(self.first), -1
        gradient(self.first).add_((student.T @ pull).view(shape).transpose(0, 1))
        gradient(self.first_bias).add_(pull.sum(0).view_as(self.first_bias))


class _Projection(torch.autograd.Function):
    """P, with its gradient written out: a third of the operations of autograd's own."""

    @staticmethod
    def forward(ctx, student: Tensor, second: Tensor, projector: Projector, dropout: float) -> Tensor:
        hidden = projector.hidden(student)  # [n, M · h]
        if dropout:
            hidden *= kept(hidden.shape, dropout, projector.generator)
        ctx.save_for_backward(student, hidden)
        ctx.projector, ctx.dropout = projector, dropout
        return torch.addmm(projector.second_bias.mean(0), hidden, second.flatten(0, 1), alpha=1 / len(second))

    @staticmethod
    def backward(ctx, grad: Tensor):
        (student, hidden), projector = ctx.saved_tensors, ctx.projector
        grad = grad / len(projector.second)  # each expert's share, [n, d_t]
        gradient(projector.second).flatten(0, 1).addmm_(hidden.T, grad)
        gradient(projector.second_bias).add_(grad.sum(0))
        alive = hidden.sign_()  # a silenced unit is 0, as is one below 0
        if ctx.dropout:
            grad = grad / (1 - ctx.dropout)
        pull = (grad @ projector.second.flatten(0, 1).T).mul_(alive)  # [n, M · h]
        projector.pull_first(student, pull)
        of_student = pull @ projector.first.transpose(1, 2).flatten(0, 1) if ctx.needs_input_grad[0] else None
        return of_student, None, None, None


class _ListProjection(torch.autograd.Function):
    """Projector.scores, with its gradient written out, in the memory of the hidden units."""

    @staticmethod
    def forward(ctx, queries: Tensor, student: Tensor, second: Tensor, projector: Projector) -> Tensor:
        query = queries @ second.flatten(0, 1).T / len(second)  # of the hidden units, [n, M · h]
        hidden = projector.hidden(student.flatten(0, 1)).view(*student.shape[:2], -1)  # [n, L, M · h]
        ctx.save_for_backward(queries, student, query, hidden)
        ctx.projector = projector
        return (hidden * query[:, None]).sum(2) + (queries @ projector.second_bias.mean(0))[:, None]

    @staticmethod
    def backward(ctx, grad: Tensor):  # [n, L]
        (queries, student, query, hidden), projector = ctx.saved_tensors, ctx.projector
        second, total = projector.second.flatten(0, 1), grad.sum(1, keepdim=True) / len(projector.second)
        of_query = (grad[:, None] @ hidden).squeeze(1) / len(projector.second)  # [n, M · h]
        gradient(projector.second).flatten(0, 1).addmm_(of_query.T, queries)
        gradient(projector.second_bias).add_((total * queries).sum(0))
        pull = hidden.sign_().mul_(query[:, None]).mul_(grad[:, :, None])  # [n, L, M · h]
        projector.pull_first(student.flatten(0, 1), pull.flatten(0, 1))
        return torch.addmm(total * projector.second_bias.sum(0), of_query, second), None, None, None


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
        share = torch.cat([weight_i / weight_i.sum(), weight_j / weight_j.sum()]) / 2
        total = total + of_items(torch.cat([i, j])) @ share
    return total

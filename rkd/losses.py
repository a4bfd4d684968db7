"""What a model trained alone minimises. An objective is anything with ``prepare(split)`` and ``loss(model, batch,
l2)``."""

import torch
from torch import Tensor
from torch.nn.functional import elu, logsigmoid, relu

from .batch import Batch
from .data import Split
from .kernels import bpr, half_square, rows
from .limits import ABOVE_0, FROM_0, FROM_1, SHARE, check
from .models import MF


class BPR:
    """−mean log σ(s_ui − s_uj) + l2 · L_2.             (Rendle et al., UAI 2009; the formula: kernels.bpr_formula)

    L_2 = ½ (‖u‖² + ‖i‖² + ‖j‖²) / B is of the input embeddings, the trained parameters.
    """

    def prepare(self, split: Split) -> None:
        """Called once, with the split on the device."""

    def loss(self, model: MF, batch: Batch, l2: float) -> Tensor:
        """The loss of a batch, a scalar."""
        index = torch.stack([batch.users, batch.positives + model.n_users, batch.negatives + model.n_users])  # [3, B]
        e = rows(model.output, index)  # [3, B, d]
        if model.output is model.table:  # what is scored is what is trained
            return self.of_scored(e, batch, l2)
        return self.of_scored(e, batch, 0.0) + l2 * half_square(rows(model.table, index))

    def of_scored(self, e: Tensor, batch: Batch, l2: float) -> Tensor:
        """The loss of a batch's scored embeddings, users', positives' and negatives', [3, B, d], and l2 · their L_2."""
        return bpr(e, l2)


class PD(BPR):
    """−mean log σ(m_i f(s_ui) − m_j f(s_uj)) + l2 · L_2, m_i = pop_i^gamma, f(s) = ELU(s) + 1: popularity has a factor
    of its own, so that the score need not hold it; the model then ranks without it.      (PD: Zhang et al., SIGIR 2021)

    Raises ValueError where gamma is below 0.
    """

    def __init__(self, gamma: float = 0.1):
        if gamma < 0:
            raise ValueError(f"gamma must be 0 or more, not {gamma}")
        self.gamma = gamma

    def prepare(self, split):
        self.popularity = popularity_factors(split.train.item_counts, self.gamma)

    def of_scored(self, e, batch, l2):
        u, i, j = e.unbind()  # [B, d] each
        m_i, m_j = self.popularity[batch.positives], self.popularity[batch.negatives]
        loss = popularity_deconfounding((u * i).sum(1), (u * j).sum(1), m_i, m_j)
        return loss + l2 * half_square(e) if l2 else loss


class SampledSoftmax(BPR):
    """mean −log [exp(s_ui / τ) / (exp(s_ui / τ) + Σ_j exp(s_uj / τ))] + l2 · L_2, j the batch's first ``n_negatives``
    negatives, the same for every pair.     (Bengio and Senécal, 2008; for recommenders: Wu et al., TOIS 2024)

    A negative drawn for another user may be one of u's own items. Raises ValueError where temperature is not above 0 or
    n_negatives below 1.
    """

    def __init__(self, temperature: float = 1.0, n_negatives: int = 256):
        check("temperature", temperature, ABOVE_0)
        check("n_negatives", n_negatives, FROM_1)
        self.temperature, self.n_negatives = temperature, n_negatives

    def of_scored(self, e, batch, l2):
        loss = sampled_softmax(*shared_negatives(e, self.n_negatives), self.temperature)
        return loss + l2 * half_square(e) if l2 else loss


class CosineContrastive(BPR):
    """mean (1 − s_ui) + w · mean_j max(0, s_uj − m) + l2 · L_2, j as in SampledSoftmax; s are cosines where the model
    is of unit embeddings (models.CosineMF).                                        (SimpleX: Mao et al., CIKM 2021)

    margin : m; negative_weight : w. Raises ValueError where margin is outside 0 … 1, negative_weight below 0 or
    n_negatives below 1.
    """

    def __init__(self, margin: float = 0.5, negative_weight: float = 100.0, n_negatives: int = 256):
        check("margin", margin, SHARE)
        check("negative_weight", negative_weight, FROM_0)
        check("n_negatives", n_negatives, FROM_1)
        self.margin, self.negative_weight, self.n_negatives = margin, negative_weight, n_negatives

    def of_scored(self, e, batch, l2):
        loss = cosine_contrastive(*shared_negatives(e, self.n_negatives), self.margin, self.negative_weight)
        return loss + l2 * half_square(e) if l2 else loss


def shared_negatives(e: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """A batch's scores of its positives, [B], and of its first n negatives for every user, [B, n]. e : its users',
    positives' and negatives' embeddings, [3, B, d]."""
    u, i, j = e.unbind()
    return (u * i).sum(1), u @ j[:n].T


def sampled_softmax(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """The mean of −log softmax of a positive's score among its negatives': [B], [B, n] → a scalar."""
    scores = torch.cat([positive[:, None], negative], 1) / temperature
    return (scores.logsumexp(1) - scores[:, 0]).mean()


def cosine_contrastive(positive: Tensor, negative: Tensor, margin: float, weight: float) -> Tensor:
    """The mean of 1 − s⁺ + w · mean_j max(0, s⁻_j − m): [B], [B, n] → a scalar."""
    return (1 - positive).mean() + weight * relu(negative - margin).mean()


def popularity_factors(counts: Tensor, gamma: float) -> Tensor:
    """PD's m_i = pop_i^γ, pop_i an item's share of all interactions, each item counted once more: [n_items]."""
    return ((counts + 1) / (counts + 1).sum()) ** gamma


def popularity_deconfounding(positive: Tensor, negative: Tensor, positive_weight: Tensor,
                             negative_weight: Tensor) -> Tensor:
    """−mean log σ(m_i f(s_i) − m_j f(s_j)), f(s) = ELU(s) + 1, for scores and popularity factors m, [B] each. f grows
    with s, so that without m a model ranks by s itself."""
    def f(score):
        return elu(score) + 1

    return -logsigmoid(positive_weight * f(positive) - negative_weight * f(negative)).mean()

"""The equations, one function each: tensors in, a scalar out, nothing remembered."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid


class _BPR(torch.autograd.Function):
    """bpr() with its gradient in closed form: half the time of autograd's own, which keeps and re-reads every step."""

    @staticmethod
    def forward(ctx, users, positives, negatives, l2):
        difference = positives - negatives  # [B, d]
        margin = (users * difference).sum(1)  # [B]
        ctx.save_for_backward(users, positives, negatives, difference, margin)
        ctx.l2 = l2
        squares = sum(torch.linalg.vector_norm(e).square() for e in (users, positives, negatives))
        return -logsigmoid(margin).mean() + l2 * squares / (2 * len(users))

    @staticmethod
    def backward(ctx, grad):
        users, positives, negatives, difference, margin = ctx.saved_tensors
        grad = grad / len(users)
        push, decay = (-grad * torch.sigmoid(-margin))[:, None], grad * ctx.l2
        pull = push * users  # [B, d]
        return (torch.addcmul(decay * users, push, difference), torch.addcmul(pull, decay, positives),
                torch.addcmul(-pull, decay, negatives), None)


def bpr(users: Tensor, positives: Tensor, negatives: Tensor, l2: float = 0.0) -> Tensor:
    """−mean log σ(⟨u, i⟩ − ⟨u, j⟩) + l2 · ½ (‖u‖² + ‖i‖² + ‖j‖²) / B of B triples of embeddings, [B, d] each.

    (BPR-Opt, Rendle et al., UAI 2009; the norm of the batch's embeddings over B as in UnKD's and LightGCN's code)
    """
    return _BPR.apply(users, positives, negatives, l2)


def half_square(*embeddings: Tensor) -> Tensor:
    """½ ‖·‖² of a batch's embeddings, [B, d] each, over B: bpr's second term, for embeddings other than the scored."""
    return sum(torch.linalg.vector_norm(e).square() for e in embeddings) / (2 * len(embeddings[0]))


def weighted_mean(per_user: Tensor, weight: Tensor) -> Tensor:
    """Σ w ℓ / Σ w for losses and weights [n]: a user counts once for every interaction that it has in the batch."""
    return per_user @ weight / weight.sum()


def ranking_distillation(scores: Tensor, weight: Tensor) -> Tensor:
    """−Σ_r w_r log σ(s_r) of each user, for the teacher's top items: scores, weights [n, K] → [n].

    (Tang & Wang, KDD 2018: the distillation loss, weights as in RD)
    """
    return -(weight * logsigmoid(scores)).sum(1)


def collaborative_distillation(scores: Tensor, probability: Tensor) -> Tensor:
    """Binary cross-entropy of σ(s) to the teacher's probability, mean over the items: [n, L] each → [n].

    (Lee et al., ICDM 2019: L_CD)
    """
    return binary_cross_entropy_with_logits(scores, probability, reduction="none").mean(1)


def pairwise_distillation(better: Tensor, worse: Tensor, possible: Tensor) -> Tensor:
    """−mean log σ(s⁺ − s⁻) of each user over its pairs; scores [n, P] each, ``possible`` bool [n, P] → [n].

    (Chen et al., WSDM 2023: L_G, with a mean over pairs as in the released code.) A user without pairs has loss 0.
    """
    return -(logsigmoid(better - worse) * possible).sum(1) / possible.sum(1).clamp(min=1)

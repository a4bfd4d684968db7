"""The equations, one function each: tensors in, a scalar out, nothing remembered."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, elu, logsigmoid, normalize


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


def relaxed_ranking(interesting: Tensor, uninteresting: Tensor) -> Tensor:
    """−log Π_k exp(s_k) / (Σ_{j ≥ k} exp(s_j) + Σ_l exp(s_l)) of each user: scores of K interesting items, the teacher's
    best first, and of L uninteresting ones, [n, K] and [n, L] → [n].                 (Kang et al., CIKM 2020)

    Scores more than 80 below a user's highest count as 80 below it, so that no sum is zero.
    """
    scores = torch.cat([interesting, uninteresting], 1)
    scores = (scores - scores.detach().amax(1, keepdim=True)).clamp(min=-80)
    up, rest = scores.exp().split([interesting.shape[1], uninteresting.shape[1]], 1)
    below = up.flip(1).cumsum(1) + rest.sum(1, keepdim=True)  # [n, K]: of the last item, the last two, …
    return below.log().sum(1) - scores[:, :interesting.shape[1]].sum(1)


def entity_topology(student: Tensor, teacher: Tensor, member: Tensor) -> Tensor:
    """Mean of (cos(s_a, s_b) − cos(t_a, t_b))² over the pairs a, b of one group, up to a constant.

    student [n, d_s], teacher [n, d_t], member [n, G] one-hot.                             (Kang et al., KDD 2021)

    With S and T a group's rows, brought to norm 1, Σ_ab (…)² = ‖SSᵀ − TTᵀ‖² = ‖SᵀS‖² − 2 ‖SᵀT‖² + ‖TTᵀ‖²: no n × n
    matrix is needed, and the last term, which no student can change, is left out.
    """
    student, teacher = normalize(student), normalize(teacher)
    by_group = (member[:, :, None] * student[:, None]).flatten(1).T  # [G · d_s, n]
    inner = (by_group @ student).square().sum() - 2 * (by_group @ teacher).square().sum()
    return inner / member.sum(0).square().sum()


def group_topology(student: Tensor, teacher: Tensor, member: Tensor) -> Tensor:
    """Mean of (cos(s_a, p_g) − cos(t_a, q_g))² over entities a and the groups g that a is not in; p_g and q_g are the
    means of the group's rows of student [n, d_s] and teacher [n, d_t]; member [n, G] is one-hot.   (KDD 2021)
    """
    def cosines(rows):
        prototypes = member.T @ rows.detach()  # the mean up to its length, [G, d]
        return normalize(rows) @ normalize(prototypes).T  # [n, G]

    other = (1 - member) * (member.sum(0) > 0)
    return ((cosines(student) - cosines(teacher)).square() * other).sum() / other.sum().clamp(min=1)


def popularity_deconfounding(positive: Tensor, negative: Tensor, positive_weight: Tensor,
                             negative_weight: Tensor) -> Tensor:
    """−mean log σ(m_i f(s_i) − m_j f(s_j)), f(s) = ELU(s) + 1, for scores and popularity factors m = pop^γ, [B] each.

    (PD: Zhang et al., SIGIR 2021.) f grows with s, so that without m a model ranks by s itself.
    """
    def f(score):
        return elu(score) + 1

    return -logsigmoid(positive_weight * f(positive) - negative_weight * f(negative)).mean()

"""The equations, one function each: tensors in, a scalar out, nothing remembered."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, elu, logsigmoid, normalize

from .lookup import by_group


class _BPR(torch.autograd.Function):
    """bpr() with its gradient in closed form: half the time of autograd's own, which keeps and re-reads every step."""

    @staticmethod
    def forward(ctx, triples, l2):
        users, positives, negatives = triples
        difference = positives - negatives  # [B, d]
        margin = (users * difference).sum(1)  # [B]
        ctx.save_for_backward(triples, difference, margin)
        ctx.l2 = l2
        return -logsigmoid(margin).mean() + l2 * half_square(triples)

    @staticmethod
    def backward(ctx, grad):
        triples, difference, margin = ctx.saved_tensors
        grad = grad / len(margin)
        push = (-grad * torch.sigmoid(-margin))[:, None]  # [B, 1]
        pull = push * triples[0]
        triples *= grad * ctx.l2  # the gradient takes their place: they are in the cache, a new tensor would not be
        triples[0].addcmul_(push, difference)
        triples[1].add_(pull)
        triples[2].sub_(pull)
        return triples, None


def bpr(triples: Tensor, l2: float = 0.0) -> Tensor:
    """−mean log σ(⟨u, i⟩ − ⟨u, j⟩) + l2 · ½ (‖u‖² + ‖i‖² + ‖j‖²) / B of the embeddings u, i, j of B users, positive and
    negative items: [3, B, d].

    backward() leaves the gradient in ``triples``, so these must be of no use after it: a batch's own copy, as ``rows``
    makes. (Autograd refuses a second backward, and that of another loss which needs them.)
    (BPR-Opt, Rendle et al., UAI 2009; the norm of the batch's embeddings over B as in UnKD's and LightGCN's code)
    """
    return _BPR.apply(triples, l2)


def half_square(triples: Tensor) -> Tensor:
    """½ ‖·‖² of a batch's embeddings, [3, B, d], over B: bpr's second term, for embeddings other than the scored."""
    flat = triples.flatten()
    return flat @ flat / (2 * triples.shape[1])


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

    student [n, d_s], teacher [n, d_t]; member [n, G] one-hot, or 0 for a row that is in no group. (Kang et al., KDD 2021)

    With S and T a group's rows, brought to norm 1, Σ_ab (…)² = ‖SSᵀ − TTᵀ‖² = ‖SᵀS‖² − 2 ‖SᵀT‖² + ‖TTᵀ‖²: no n × n
    matrix is needed, and the last term, which no student can change, is left out.
    """
    inside = member.sum(1, keepdim=True)
    rows = torch.cat([normalize(student) * inside, normalize(teacher) * inside], 1)
    s, t = by_group(rows, member.argmax(1), member.shape[1])[0].split([student.shape[1], teacher.shape[1]], 2)
    inner = (s.mT @ s).square().sum() - 2 * (s.mT @ t).square().sum()  # of [G, d_s, d_s], [G, d_s, d_t]
    return inner / member.sum(0).square().sum()


def group_topology(student: Tensor, teacher: Tensor, member: Tensor) -> Tensor:
    """Mean of (cos(s_a, p_g) − cos(t_a, q_g))² over entities a and the groups g that a is not in; p_g and q_g are the
    means of the group's rows of student [n, d_s] and teacher [n, d_t]; member as for entity_topology.   (KDD 2021)
    """
    def cosines(rows):
        prototypes = member.T @ rows.detach()  # the mean up to its length, [G, d]
        return normalize(rows) @ normalize(prototypes).T  # [n, G]

    other = (member.sum(1, keepdim=True) - member) * (member.sum(0) > 0)
    return ((cosines(student) - cosines(teacher)).square() * other).sum() / other.sum().clamp(min=1)


def popularity_deconfounding(positive: Tensor, negative: Tensor, positive_weight: Tensor,
                             negative_weight: Tensor) -> Tensor:
    """−mean log σ(m_i f(s_i) − m_j f(s_j)), f(s) = ELU(s) + 1, for scores and popularity factors m = pop^γ, [B] each.

    (PD: Zhang et al., SIGIR 2021.) f grows with s, so that without m a model ranks by s itself.
    """
    def f(score):
        return elu(score) + 1

    return -logsigmoid(positive_weight * f(positive) - negative_weight * f(negative)).mean()


class _CosineDistance(torch.autograd.Function):
    """cosine_distance() with its gradient in closed form."""

    @staticmethod
    def forward(ctx, a, b):
        length = torch.linalg.vector_norm(b, dim=1, keepdim=True).clamp_(min=1e-12)
        a, b = normalize(a), b / length
        cosine = (a * b).sum(1, keepdim=True)  # [n, 1]
        ctx.save_for_backward(a, b, cosine, length)
        return 1 - cosine.squeeze(1)

    @staticmethod
    def backward(ctx, grad):
        a, b, cosine, length = ctx.saved_tensors
        return None, (cosine * b).sub_(a).mul_(grad[:, None] / length)


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """1 − cos(a, b) of each row, a being taken as given: [n, d] each → [n]."""
    return _CosineDistance.apply(a, b)


def pair_consistency(before: Tensor, after: Tensor) -> Tensor:
    """Mean of max(0, −after · before) over score differences s_i − s_j before and after a projection, [B] each: what it
    costs to turn a preference round.                                            (MKD: CPD's pair-wise regulariser)
    """
    return (-before * after).relu().mean()


def list_consistency(before: Tensor, after: Tensor, tau: float) -> Tensor:
    """Cross-entropy of softmax(after / τ) to softmax(before / τ) of each user's list: scores [n, Q] each → [n].

    (MKD: CPD's list-wise regulariser)
    """
    return -(torch.softmax(before / tau, 1) * torch.log_softmax(after / tau, 1)).sum(1)


ABSENT = -1e30  # the logit of an item not in the list: its probability is 0, its logarithm finite


def standardised(scores: Tensor, present: Tensor) -> Tensor:
    """Scores brought to mean 0 and variance 1 over the last axis' present entries, 0 elsewhere: […, L] → the same.

    present : bool or, faster on a CPU, 1 and 0 as floats.
    """
    present = present.to(scores.dtype)
    n = present.sum(-1, keepdim=True).clamp(min=1)
    centred = (scores - (scores * present).sum(-1, keepdim=True) / n) * present
    return centred / (centred.square().sum(-1, keepdim=True) / n).sqrt().clamp(min=1e-6)


def logits_of_present(scores: Tensor, present: Tensor) -> Tensor:
    """The scores of the present items, ABSENT for the others: […, L] each → the same."""
    present = present.to(scores.dtype)
    return scores * present + (1 - present) * ABSENT


def soft_labels(teacher: Tensor, student: Tensor, present: Tensor, gamma: float, tau: float) -> Tensor:
    """softmax((γ z_T + (1 − γ) z_S) / τ) over the present items, z being standardised scores: […, L] each → the same.

    (MKD: SLD, in our reading)
    """
    mixed = gamma * standardised(teacher, present) + (1 - gamma) * standardised(student, present)
    return torch.softmax(logits_of_present(mixed / tau, present), -1)


def soft_label_distillation(scores: Tensor, label: Tensor, present: Tensor, tau: float) -> Tensor:
    """KL(p ‖ softmax(s / τ)) of each list: scores s, labels p, […, L] each → […].        (MKD: SLD, in our reading)"""
    log_q = torch.log_softmax(logits_of_present(scores / tau, present), -1)
    log_p = label.clamp(min=torch.finfo(label.dtype).tiny).log()  # p log p = 0 where p = 0; entr() takes three times as long
    return (label * (log_p - log_q)).sum(-1)

"""Exercise 1: BPR, and why popular items win."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .draws import chosen, normal
from .task import formula


def bpr_loss(users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """−mean log σ(⟨u, i⟩ − ⟨u, j⟩): embeddings [B, d] each → a scalar."""
    return -logsigmoid(_margin(users, positives, negatives)).mean()


def _margin(users, positives, negatives):
    return (users * (positives - negatives)).sum(1)  # [B]


def net_push(train: Tensor) -> Tensor:
    """½ (n_i − Σ_{u without i} n_u / (I − n_u)): train bool [n_users, n_items] → [n_items].

    n_i is the item's count, n_u the user's, I the number of items.
    """
    drawn = _chance(train) * ~train  # [n_users, n_items]: how often each is expected to be a negative
    return (train.sum(0) - drawn.sum(0)) / 2


def _chance(train):
    n_u = train.sum(1, keepdim=True)
    return n_u / (train.shape[1] - n_u)  # [n_users, 1]


def _embeddings(seed, n, dim, scale=1.0):
    return dict(zip(("users", "positives", "negatives"), normal(seed, 3, n, dim, scale=scale)))


BPR_MISTAKES = {
    "it is the negative of the loss: training would push positives down": lambda *e: -bpr_loss(*e),
    "the positive and the negative item have changed places": lambda u, i, j: bpr_loss(u, j, i),
    "it is the sum over the batch; the mean is asked for": lambda *e: bpr_loss(*e) * len(e[0]),
    "it is a loss for each pair; their mean is asked for": lambda *e: -logsigmoid(_margin(*e)),
    "the logarithm is missing: this is −mean σ": lambda *e: -torch.sigmoid(_margin(*e)).mean(),
    "the sigmoid is missing: this is −mean of the margins": lambda *e: -_margin(*e).mean(),
    "the logarithm is the natural one in BPR, not base 2": lambda *e: -(logsigmoid(_margin(*e)) / torch.log(
        torch.tensor(2.0))).mean(),
    "the margin is divided by d: an inner product is a sum over the coordinates, not a mean":
        lambda u, i, j: -logsigmoid((u * (i - j)).mean(1)).mean(),
    "σ is taken coordinate by coordinate: sum over the coordinates first":
        lambda u, i, j: -logsigmoid(u * (i - j)).mean(),
    "every user is compared with every item of the batch: u, i and j belong together row by row":
        lambda u, i, j: -logsigmoid(u @ (i - j).T).mean(),
    "it is infinite where the margin is far below 0, since σ is then 0 in floating point: torch has a logsigmoid":
        lambda *e: -torch.sigmoid(_margin(*e)).log().mean(),
    "no gradient reaches the embeddings: did you detach them or leave torch?": lambda *e: bpr_loss(*e).detach(),
}

PUSH_MISTAKES = {
    "the sign is turned: being a positive pushes an item's score up": lambda t: -net_push(t),
    "the factor ½ is missing: at the start σ(0) = ½": lambda t: 2 * net_push(t),
    "the negatives are missing: each pair also pushes one unseen item down": lambda t: t.sum(0) / 2,
    "negatives are drawn from all items here, the user's training items among them":
        lambda t: (t.sum(0) - (t.sum(1, keepdim=True) / t.shape[1]).expand(t.shape).sum(0)) / 2,
    "a user's own training items are not masked: they are never its negatives":
        lambda t: (t.sum(0) - _chance(t).expand(t.shape).sum(0)) / 2,
    "a negative's chance is 1 / (items that the user does not have), not 1 / (all items)":
        lambda t: (t.sum(0) - (t.sum(1, keepdim=True) / t.shape[1] * ~t).sum(0)) / 2,
    "it draws one negative a user; there is one for each of the user's pairs":
        lambda t: (t.sum(0) - (~t / (~t).sum(1, keepdim=True)).sum(0)) / 2,
    "it is divided by the number of users; the sum over an epoch is asked for": lambda t: net_push(t) / len(t),
    "it is divided by the number of pairs; the sum over an epoch is asked for": lambda t: net_push(t) / t.sum(),
    "it sums over the wrong axis: one value for each item is asked for": lambda t: net_push(t.T),
}

TASKS = {
    "bpr_loss": formula(bpr_loss, BPR_MISTAKES, gradient_of=("users", "positives", "negatives"),
                        visible=(_embeddings(1, 6, 4), _embeddings(2, 30, 3)),
                        hidden=(_embeddings(3, 1, 8), _embeddings(4, 50, 16, scale=8.0))),
    "net_push": formula(net_push, PUSH_MISTAKES, visible=({"train": chosen(1, 8, 12)}, {"train": chosen(2, 12, 8)}),
                        hidden=({"train": chosen(3, 40, 25, share=0.6)}, {"train": chosen(4, 9, 9)})),
}

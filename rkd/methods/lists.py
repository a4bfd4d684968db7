"""Lists as long for all users; who has fewer items leaves places empty, −1, and no loss counts these."""

import torch
from torch import Tensor

ABSENT = -1e30  # the logit of an empty place: its probability is 0, its logarithm finite


def pick(ranked: Tensor, ranks: Tensor) -> Tensor:
    """The items at these places of each user's ranking, [n, M] and [n, L] → [n, L]; −1 where the rank is −1."""
    return ranked.gather(1, ranks.clamp(min=0)).masked_fill(ranks < 0, -1)


def mean_of_present(values: Tensor, present: Tensor) -> Tensor:
    """The mean of each row over the places that count, 0 where none does: [n, L], and bool or 1 and 0 [n, L] → [n]."""
    return (values * present).sum(1) / present.sum(1).clamp(min=1)


def logits_of_present(scores: Tensor, present: Tensor) -> Tensor:
    """The scores of the present items, ABSENT for the others: […, L] each → the same.

    present : bool or, faster on a CPU, 1 and 0 as floats.
    """
    present = present.to(scores.dtype)
    return scores * present + (1 - present) * ABSENT

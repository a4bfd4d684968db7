"""Nearest neighbours among embeddings of one kind, in blocks."""

import torch
from torch import Tensor

from .data import Interactions
from .ranking import top_k


def nearest(embeddings: Tensor, k: int) -> Tensor:
    """The k nearest others of each row by Euclidean distance, nearest first: [n, d] → [n, k] int64.

    k is cut to n − 1. Searched in blocks of rows, so that no n × n matrix is held. Raises ValueError where there are
    fewer than two rows.
    """
    n, device = len(embeddings), embeddings.device
    if n < 2:
        raise ValueError(f"{n} embeddings have no neighbours among themselves")
    # −‖a − b‖² = 2 ⟨a, b⟩ − ‖b‖² − ‖a‖², and the last term is the same for all b
    centred = embeddings.detach().float()
    centred = centred - centred.mean(0)
    queries = torch.cat([2 * centred, -torch.ones(n, 1, device=device)], 1)
    keys = torch.cat([centred, centred.square().sum(1, keepdim=True)], 1)
    rows = torch.arange(n, device=device)
    return top_k(queries, keys, rows, min(k, n - 1), exclude=Interactions(n, n, rows, rows))

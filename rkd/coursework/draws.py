"""Tensors to try functions on, the same for the same seed."""

import torch
from torch import Generator, Tensor


def seeded(seed: int) -> Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    """Normal with this standard deviation, float32."""
    return scale * torch.randn(shape, generator=seeded(seed))


def chosen(seed: int, *shape: int, share: float = 0.3) -> Tensor:
    """True with probability ``share``."""
    return torch.rand(shape, generator=seeded(seed)) < share


def counts(seed: int, n: int) -> Tensor:
    """Popularities as the field has them, few large and many small, in no order: [n] int64, all different."""
    by_rank = (400 / torch.arange(1, n + 1)).long() + torch.arange(n, 0, -1)
    return by_rank[torch.randperm(n, generator=seeded(seed))]

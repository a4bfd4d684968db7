"""Numbers rounded to few bits, evenly spaced within each row of a matrix."""

import numpy as np
import torch
from torch import Tensor

BITS = range(2, 9)  # that a number may be rounded to
SCALES = 40  # a row's scale is the best of so many


def round_rows(matrix: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Codes uint8 [n, d] and scales float32 [n, 1] of a matrix's rows (see compress.quantize)."""
    most = matrix.abs().amax(1, keepdim=True) / ((2 ** bits - 1) / 2)
    best, scale = torch.full_like(most, torch.inf), most
    for share in np.linspace(1, 0.3, SCALES).tolist():
        tried = most * share
        error = (unround(codes_at(matrix, tried, bits), tried, bits) - matrix).square().sum(1, keepdim=True)
        scale = torch.where(error < best, tried, scale)
        best = torch.minimum(error, best)
    return codes_at(matrix, scale, bits), scale


def codes_at(matrix: Tensor, scale: Tensor, bits: int) -> Tensor:
    """The codes nearest to a matrix's numbers [n, d] at these scales of its rows [n, 1]: uint8 [n, d]."""
    half = (2 ** bits - 1) / 2
    steps = matrix / scale.clamp(min=torch.finfo(torch.float32).tiny)
    return (steps + half).round().clamp(0, 2 * half).to(torch.uint8)


def unround(codes: Tensor, scale: Tensor, bits: int) -> Tensor:
    """What codes and scales stand for: float32 [n, d]."""
    return scale * (codes.float() - (2 ** bits - 1) / 2)

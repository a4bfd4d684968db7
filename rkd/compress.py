"""What one can do to a trained model without training it: truncate it, round it, or product-quantise it.

Each takes a model with factors (of rkd or from elsewhere, or a pair of matrices) and returns a model: rkd.evaluate,
rkd.distill, rkd.recommend and export take it. ``size`` says what it costs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .given import Given
from .models import Model

BITS = range(2, 9)  # that a number may be rounded to
SCALES = 40  # a row's scale is the best of so many


@dataclass(frozen=True)
class Size:
    """What a model costs to keep, in bytes: of each user, of each item, and of what all share, such as a codebook."""

    per_user: float
    per_item: float
    shared: int = 0

    def total(self, n_users: int, n_items: int) -> int:
        """Of the whole model."""
        return round(self.per_user * n_users + self.per_item * n_items) + self.shared


class Rounded(Given):
    """A model whose factors are kept as ``codes``, a uint8 matrix each for users and items, and decoded when made.

    size : what the codes and what decodes them come to.
    """

    def __init__(self, factors, codes: tuple[Tensor, Tensor], size: Size):
        super().__init__(factors)
        self.codes, self.size = codes, size

    def to(self, device):
        factors, codes = ([x.to(device) for x in pair] for pair in (self.factors(), self.codes))
        return Rounded(factors, tuple(codes), self.size)


def factors_of(model) -> tuple[Tensor, Tensor]:
    """The factors of a model as float32: of rkd, or of whatever Given takes. Raises ValueError for a model that has
    none."""
    return (model if isinstance(model, Model) else Given(model)).factors()


def size(model) -> Size:
    """What a model costs: of a compressed one its codes, of any other four bytes for each factor."""
    if isinstance(model, Rounded):
        return model.size
    users, items = factors_of(model)
    return Size(4.0 * users.shape[1], 4.0 * items.shape[1])


def truncate(model, dim: int) -> Given:
    """The best approximation of all scores by factors of size ``dim``: the first ``dim`` terms of the singular value
    decomposition of U Vᵀ, from those of the factors, so that no users × items matrix is made.

    The singular values are shared out evenly between users and items. (Eckart and Young, 1936.) Raises ValueError where
    dim is not between 1 and the model's own size.
    """
    users, items = factors_of(model)
    if not 1 <= dim <= users.shape[1]:
        raise ValueError(f"dim must be between 1 and the model's own {users.shape[1]}, not {dim}")
    (q_users, r_users), (q_items, r_items) = (torch.linalg.qr(x.double()) for x in (users, items))
    left, values, right = torch.linalg.svd(r_users @ r_items.T)
    root = values[:dim].sqrt()
    return Given((q_users @ (left[:, :dim] * root), q_items @ (right[:dim].T * root)))


def quantize(model, bits: int) -> Rounded:
    """Every factor rounded to ``bits`` bits, evenly spaced in each row, with the row's scale beside them.

    x̂ = s · (c − (2^bits − 1) / 2), c in 0 … 2^bits − 1; s is the one of SCALES scales up to that of the row's largest
    number with the least squared error. Nothing within the scale's range is off by more than s / 2. Codes are packed
    without gaps within a row: ⌈d · bits / 8⌉ bytes and four for the scale. Raises ValueError for bits outside 2 … 8.
    """
    if bits not in BITS:
        raise ValueError(f"bits must be from {BITS[0]} to {BITS[-1]}, not {bits}")
    factors, packed = [], []
    for matrix in factors_of(model):
        codes, scale = round_rows(matrix, bits)
        packed.append(torch.cat([pack(codes, bits), scale.view(torch.uint8)], 1))
        factors.append(unround(codes, scale, bits))
    per_user, per_item = (float(codes.shape[1]) for codes in packed)
    return Rounded(factors, tuple(packed), Size(per_user, per_item))


def round_rows(matrix: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Codes uint8 [n, d] and scales float32 [n, 1] of a matrix's rows (see ``quantize``)."""
    half = (2 ** bits - 1) / 2
    most = matrix.abs().amax(1, keepdim=True) / half
    best, scale = torch.full_like(most, torch.inf), most
    for share in torch.linspace(1, 0.3, SCALES).tolist():
        tried = most * share
        error = (unround(_codes(matrix, tried, half), tried, bits) - matrix).square().sum(1, keepdim=True)
        scale = torch.where(error < best, tried, scale)
        best = torch.minimum(error, best)
    return _codes(matrix, scale, half), scale


def _codes(matrix: Tensor, scale: Tensor, half: float) -> Tensor:
    steps = matrix / scale.clamp(min=torch.finfo(torch.float32).tiny)
    return (steps + half).round().clamp(0, 2 * half).to(torch.uint8)


def unround(codes: Tensor, scale: Tensor, bits: int) -> Tensor:
    """What codes and scales stand for: float32 [n, d]."""
    return scale * (codes.float() - (2 ** bits - 1) / 2)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes below 2^bits, uint8 [n, d], as a row's bits one after the other: uint8 [n, ⌈d · bits / 8⌉]."""
    shifts = torch.arange(bits, device=codes.device)
    stream = (codes[:, :, None].long() >> shifts & 1).flatten(1)  # [n, d · bits]
    stream = torch.nn.functional.pad(stream, (0, -stream.shape[1] % 8)).unflatten(1, (-1, 8))
    return (stream << torch.arange(8, device=codes.device)).sum(2).to(torch.uint8)


def unpack(packed: Tensor, bits: int, dim: int) -> Tensor:
    """The codes that ``pack`` packed: uint8 [n, dim]."""
    stream = (packed[:, :, None].long() >> torch.arange(8, device=packed.device) & 1).flatten(1)[:, :dim * bits]
    return (stream.unflatten(1, (dim, bits)) << torch.arange(bits, device=packed.device)).sum(2).to(torch.uint8)


def product_quantize(model, n_bytes: int) -> Rounded:
    """Every row as ``n_bytes`` bytes: cut into so many parts, each replaced by the nearest of 256 centres, found by
    k-means over users and over items apart (FAISS). The row's numbers are padded with zeros to a multiple of n_bytes.

    The codebooks, 256 · d floats a side, are counted as ``shared``. (Jégou et al., TPAMI 2011.) Raises ValueError where
    n_bytes is not between 1 and d, or a side has fewer than 256 rows, ImportError without faiss.
    """
    try:
        import faiss
    except ImportError:
        raise ImportError("product quantisation needs FAISS: pip install faiss-cpu") from None
    users, items = factors_of(model)
    dim = users.shape[1]
    if not 1 <= n_bytes <= dim:
        raise ValueError(f"n_bytes must be between 1 and the model's size, {dim}, not {n_bytes}")
    if min(len(users), len(items)) < 256:
        raise ValueError(f"256 centres need 256 rows a side, not {len(users)} users and {len(items)} items")
    factors, packed, shared = [], [], 0
    for matrix in (users, items):
        rows = torch.nn.functional.pad(matrix, (0, -dim % n_bytes)).cpu().contiguous().numpy()
        quantizer = faiss.ProductQuantizer(rows.shape[1], n_bytes, 8)
        quantizer.cp.min_points_per_centroid = 1  # few rows are no reason to warn
        quantizer.train(rows)
        codes = quantizer.compute_codes(rows)
        factors.append(torch.from_numpy(quantizer.decode(codes))[:, :dim].to(matrix.device))
        packed.append(torch.from_numpy(codes).to(matrix.device))
        shared += quantizer.centroids.size() * 4
    return Rounded(factors, tuple(packed), Size(float(n_bytes), float(n_bytes), shared))

"""What one can do to a trained model without training it: truncate it (low_rank.py), round it, or product-quantise it;
and keep what came of it by its codes.

Each takes a model with factors (of rkd or from elsewhere, or a pair of matrices) and returns a model: rkd.evaluate,
rkd.distill, rkd.recommend and export take it. ``size`` says what it costs, ``save`` writes a file of about that size.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import archive
from .given import Given
from .low_rank import factors_of, rotate, truncate
from .rounding import BITS, round_rows, unround

__all__ = ["BITS", "Rounded", "Size", "factors_of", "load", "product_quantize", "quantize", "rotate", "save", "size",
           "truncate"]

SCALE_BYTES = 4  # a float32 for each row, behind its codes
KEPT = "compressed"  # what a file says that ``save`` wrote it
SIDES = ("user", "item")


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
    """A model that is kept as ``codes``, a uint8 matrix each for users and items, a row for each of them; its factors
    are what they decode to.

    dim       : the size of the factors.
    bits      : of each number, in codes that ``quantize`` made; None where there are
    codebooks : for users and for items, float32 [bytes of a row, 256, numbers in a part], of ``product_quantize``.
    """

    def __init__(self, codes: tuple[Tensor, Tensor], dim: int, bits: int | None = None,
                 codebooks: tuple[Tensor, Tensor] | None = None):
        if bits:
            factors = [unround(*parted(one, bits, dim), bits) for one in codes]
        else:
            factors = [looked_up(*pair)[:, :dim] for pair in zip(codes, codebooks)]
        super().__init__(factors)
        self.codes, self.dim, self.bits, self.codebooks = tuple(codes), dim, bits, codebooks and tuple(codebooks)

    @property
    def size(self) -> Size:
        """See the module's ``size``."""
        per_user, per_item = (float(one.shape[1]) for one in self.codes)
        return Size(per_user, per_item, sum(4 * book.numel() for book in self.codebooks or ()))

    def to(self, device):
        moved = self.codebooks and [book.to(device) for book in self.codebooks]
        return Rounded([one.to(device) for one in self.codes], self.dim, self.bits, moved)


def size(model) -> Size:
    """What a model costs: of a compressed one its codes, of any other four bytes for each factor."""
    if isinstance(model, Rounded):
        return model.size
    users, items = factors_of(model)
    return Size(4.0 * users.shape[1], 4.0 * items.shape[1])


def quantize(model, bits: int) -> Rounded:
    """Every factor rounded to ``bits`` bits, evenly spaced in each row, with the row's scale beside them.

    x̂ = s · (c − (2^bits − 1) / 2), c in 0 … 2^bits − 1; s is the one of SCALES scales up to that of the row's largest
    number with the least squared error. Nothing within the scale's range is off by more than s / 2. Codes are packed
    without gaps within a row: ⌈d · bits / 8⌉ bytes and four for the scale. Raises ValueError for bits outside 2 … 8.
    """
    if bits not in BITS:
        raise ValueError(f"bits must be from {BITS[0]} to {BITS[-1]}, not {bits}")
    packed, factors = [], factors_of(model)
    for matrix in factors:
        codes, scale = round_rows(matrix, bits)
        packed.append(torch.cat([pack(codes, bits), scale.view(torch.uint8)], 1))
    return Rounded(packed, factors[0].shape[1], bits)


def parted(packed: Tensor, bits: int, dim: int) -> tuple[Tensor, Tensor]:
    """Codes [n, dim] and scales [n, 1] of rows as ``quantize`` packs them."""
    scale = packed[:, -SCALE_BYTES:].contiguous().view(torch.float32)
    return unpack(packed[:, :-SCALE_BYTES], bits, dim), scale


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
    packed, books = [], []
    for matrix in (users, items):
        rows = torch.nn.functional.pad(matrix, (0, -dim % n_bytes)).cpu().contiguous().numpy()
        quantizer = faiss.ProductQuantizer(rows.shape[1], n_bytes, 8)
        quantizer.cp.min_points_per_centroid = 1  # few rows are no reason to warn
        quantizer.train(rows)
        packed.append(torch.from_numpy(quantizer.compute_codes(rows)).to(matrix.device))
        centres = torch.from_numpy(faiss.vector_to_array(quantizer.centroids)).view(n_bytes, 256, -1)
        books.append(centres.to(matrix.device))
    return Rounded(packed, dim, codebooks=books)


def looked_up(codes: Tensor, codebook: Tensor) -> Tensor:
    """The centres that codes [n, M] stand for in a codebook [M, 256, p], side by side: [n, M · p]."""
    parts = torch.arange(len(codebook), device=codes.device)
    return codebook[parts, codes.long()].flatten(1)


def save(model, path) -> None:
    """Write a compressed model into a file: codes, and codebooks where there are; of any other model its factors as
    float32. Ids and what users have seen are not in it: ``rkd.serve(load(path), split)`` puts them beside. Raises
    ValueError for a model that has no factors."""
    rounded = isinstance(model, Rounded)
    pairs = {"codes": model.codes, "codebook": model.codebooks} if rounded else {"factors": factors_of(model)}
    about = {"dim": model.dim, "bits": model.bits} if rounded else {}
    archive.write(Path(path), {f"{side}_{name}": one.cpu().numpy() for name, pair in pairs.items() if pair
                               for side, one in zip(SIDES, pair)}, {KEPT: about})


def load(path) -> Given:
    """The model in a file that ``save`` wrote, the same to the bit. Raises ValueError where the file is damaged or
    another."""
    arrays, about = archive.read(Path(path))
    if KEPT not in about:
        raise ValueError(f"{path} is not of rkd.compress.save: rkd.load_model reads it")

    def pair(name):
        return [torch.from_numpy(arrays[f"{side}_{name}"]) for side in SIDES]

    if not about[KEPT]:
        return Given(pair("factors"))
    return Rounded(pair("codes"), **about[KEPT], codebooks=None if about[KEPT]["bits"] else pair("codebook"))

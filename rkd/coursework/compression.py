"""Exercise 9: what a byte is worth. Rounding, packing and cutting a model, and the best for so many bytes."""

import math

import torch
from torch import Tensor

from ..compress import SCALE_BYTES, truncate
from ..rounding import codes_at, unround
from .draws import normal, seeded
from .task import Task, form, formula, shaped


def to_codes(matrix: Tensor, bits: int, share: float) -> tuple[Tensor, Tensor]:
    """Codes [n, d] of a matrix's rows, and their steps [n, 1], share · max |x| / h."""
    return _codes(matrix, share * matrix.abs().amax(1, keepdim=True) / _half(bits), bits)


def _half(bits):
    return (2 ** bits - 1) / 2


def _codes(matrix, step, bits):
    return codes_at(matrix, step, bits), step


def _steps(largest):
    """The same with steps made of another number than the largest of each row."""
    return lambda matrix, bits, share: _codes(matrix, share * largest(matrix) / _half(bits), bits)


def _levels(half, last, rounded=torch.round, first=lambda bits: 0):
    """The same with another h, or other codes."""
    def wrong(matrix, bits, share):
        step = share * matrix.abs().amax(1, keepdim=True) / half(bits)
        return rounded(matrix / step + half(bits)).clamp(first(bits), last(bits)), step
    return wrong


def _signed(matrix, bits, share):
    step = to_codes(matrix, bits, share)[1]
    return (matrix / step).round().clamp(-2 ** (bits - 1), 2 ** (bits - 1) - 1), step


def _last(bits):
    return 2 ** bits - 1


def from_codes(codes: Tensor, step: Tensor, bits: int) -> Tensor:
    """s · (c − h): codes uint8 [n, d], steps [n, 1] → [n, d]."""
    return unround(codes, step, bits)


def row_bytes(dim: int, bits: int) -> int:
    """⌈d · b / 8⌉ and four for the step."""
    return math.ceil(dim * bits / 8) + SCALE_BYTES


def truncated(users: Tensor, items: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The best factors of size ``dim``: [n, d], [m, d] → [n, dim], [m, dim]."""
    return truncate((users, items), dim).factors()


def _terms(users, items):
    """The terms of the scores' decomposition, from the scores themselves: left [n, d], values [d], right [m, d]."""
    left, values, right = torch.linalg.svd(users.double() @ items.double().T, full_matrices=False)
    d = users.shape[1]
    return left[:, :d], values[:d], right[:d].T


def _shared(of_users, of_items):
    """Factors that have another power of the singular values."""
    def wrong(users, items, dim):
        left, values, right = (part[..., :dim] for part in _terms(users, items))
        return left * values ** of_users, right * values ** of_items
    return wrong


def _last_terms(users, items, dim):
    left, values, right = (part[..., -dim:] for part in _terms(users, items))
    return left * values.sqrt(), right * values.sqrt()


def _columns_of_right(users, items, dim):
    (q_users, r_users), (q_items, r_items) = (torch.linalg.qr(x.double()) for x in (users, items))
    left, values, right = torch.linalg.svd(r_users @ r_items.T)
    root = values[:dim].sqrt()
    return q_users @ (left[:, :dim] * root), q_items @ (right[:, :dim] * root)


def _apart(users, items, dim):
    return tuple(x @ torch.linalg.svd(x, full_matrices=False).Vh[:dim].T for x in (users, items))


def _directions_of(side):
    def wrong(users, items, dim):
        directions = torch.linalg.svd((users, items)[side], full_matrices=False).Vh[:dim].T
        return users @ directions, items @ directions
    return wrong


def _cut(found, given) -> str | None:
    """What is wrong with factors of fewer dimensions. They are judged by their scores and by how the singular values
    are shared out: turned round, or with other signs, they are as good."""
    users, items, dim = given.values()
    best = [x.double() for x in truncated(users, items, dim)]
    value = shaped(found["value"], best)
    if form(value) != form(best):
        return f"it should return {form(best)}, and returns {form(value)}"
    value = [x.double() for x in value]
    if not all(bool(x.isfinite().all()) for x in value):
        return "it returns values that are not finite"
    if not _alike(value, best):
        for said, wrong in TRUNCATED_MISTAKES.items():
            if _alike(value, [x.double() for x in wrong(users, items, dim)]):
                return said
        scores = users.double() @ items.double().T
        yours, least = ((scores - u @ v.T).norm() / scores.norm() for u, v in (value, best))
        if not _near(value[0] @ value[1].T, best[0] @ best[1].T):
            return f"the scores of your factors are off by {yours:.1%} of their norm, of the best by {least:.1%}"
        return "the scores are right, but the singular values are not shared out evenly: each side gets their roots"
    if found["largest"] >= len(users) * len(items):
        return (f"right, but it makes a matrix of {found['largest']:,} numbers, where users × items has "
                f"{len(users) * len(items):,}: decompose the small product R_U R_Vᵀ instead")
    return None


def _near(a, b):
    return bool((a - b).norm() <= 1e-3 * b.norm())


def _alike(a, b):
    """Whether two pairs of factors have the same scores, and the same singular values on each side."""
    return _near(a[0] @ a[1].T, b[0] @ b[1].T) and all(map(_near, *map(_spread, (a, b))))


def _spread(factors):
    return [torch.linalg.svdvals(x) for x in factors]


def staircase(n_bytes: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """The best value for at most so many bytes, where it rises: [n] each → bytes, values [k] each, ascending."""
    return _rising(n_bytes, value, _by_size(n_bytes, value), torch.gt)


def _rising(n_bytes, value, order, rises):
    """Where ``rises`` (values, the best of those before) in an order."""
    best = value[order].cummax(0).values
    before = torch.cat([torch.full((1,), -torch.inf), best[:-1]])
    kept = rises(value[order], before)
    return n_bytes[order][kept], value[order][kept]


def _by_size(n_bytes, value, better_first=True):
    """The order by bytes, of equal ones the better first or last."""
    order = value.argsort(descending=better_first, stable=True)
    return order[n_bytes[order].argsort(stable=True)]


def _of_each_size(n_bytes, value):
    sizes = n_bytes.unique()
    return sizes, torch.stack([value[n_bytes == size].max() for size in sizes])


def _from_the_top(n_bytes, value):
    """The best for at least so many bytes."""
    found = _rising(n_bytes, value, _by_size(-n_bytes, value), torch.gt)
    return tuple(x.flip(0) for x in found)


def _of_neighbours(n_bytes, value):
    sizes, best = _of_each_size(n_bytes, value)
    kept = torch.cat([torch.ones(1, dtype=torch.bool), best[1:] > best[:-1]])
    return sizes[kept], best[kept]


CODES_MISTAKES = {
    "every row's step is made from the largest number of the whole matrix; make it from the row's own":
        _steps(lambda x: x.abs().max().expand(len(x), 1)),
    "there is one step for the whole matrix; each row has its own": _steps(lambda x: x.abs().max()),
    "there is a step for each column; each row has its own": _steps(lambda x: x.abs().amax(0, keepdim=True)),
    "a row's largest number may be negative: take absolute values first": _steps(lambda x: x.amax(1, keepdim=True)),
    "the step is made from the row's range, largest − smallest; the largest absolute number is asked for":
        _steps(lambda x: (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)) / 2),
    "the step is half of what is asked for: from the middle to the last level there are h steps, not 2 h":
        _steps(lambda x: x.abs().amax(1, keepdim=True) / 2),
    "share is missing": lambda x, bits, share: to_codes(x, bits, 1.0),
    "codes go up to 2^bits, which is one level too many: h is (2^bits − 1) / 2":
        _levels(lambda bits: 2 ** (bits - 1), lambda bits: 2 ** bits),
    "h is off by one half: it is (2^bits − 1) / 2, not 2^bits / 2": _levels(lambda bits: 2 ** (bits - 1), _last),
    "one level is never used: h is (2^bits − 1) / 2, not 2^(bits − 1) − 1":
        _levels(lambda bits: 2 ** (bits - 1) - 1, lambda bits: 2 ** bits - 2),
    "digits are cut off; the nearest level is asked for, so round": _levels(_half, _last, torch.floor),
    "numbers beyond the last level are not clipped: a code lies between 0 and 2^bits − 1":
        _levels(_half, lambda bits: torch.inf, first=lambda bits: -torch.inf),
    "codes count from 0, the lowest level: h is to be added before rounding": _signed,
    "it returns what the codes stand for; the codes themselves are asked for":
        lambda *a: (unround(*to_codes(*a), a[1]), to_codes(*a)[1]),
    "codes and steps have changed places: codes first": lambda *a: to_codes(*a)[::-1],
}

DECODE_MISTAKES = {
    "h is not taken away: half of the levels are negative": lambda c, s, bits: s * c,
    "h is off by one half: it is (2^bits − 1) / 2, not 2^bits / 2":
        lambda c, s, bits: s * (c.float() - 2 ** (bits - 1)),
    "h is off by one half: (2^bits − 1) / 2 is no whole number, and yours is rounded down":
        lambda c, s, bits: s * (c.float() - _last(bits) // 2),
    "uint8 knows no negative numbers, and 0 − 1 is 255: turn the codes into floats first":
        lambda c, s, bits: s * (c - _last(bits) // 2),
    "h is taken away after multiplying; it counts in steps: s (c − h)": lambda c, s, bits: s * c - _half(bits),
    "it divides by the step": lambda c, s, bits: (c - _half(bits)) / s,
    "the sign is turned: the lowest code is the lowest level": lambda c, s, bits: -from_codes(c, s, bits),
    "your levels are two steps apart": lambda c, s, bits: 2 * from_codes(c, s, bits),
    "every row is decoded with the first row's step": lambda c, s, bits: from_codes(c, s[:1], bits),
}

BYTES_MISTAKES = {
    "the step's 4 bytes are forgotten: without it nobody can decode the row":
        lambda d, b: row_bytes(d, b) - SCALE_BYTES,
    "the step's 4 bytes are forgotten, and a row ends with a whole byte: round up": lambda d, b: d * b / 8,
    "a row ends with a whole byte: round up": lambda d, b: d * b / 8 + SCALE_BYTES,
    "it rounds to the nearest byte: round up, since no bit may be lost": lambda d, b: round(d * b / 8) + SCALE_BYTES,
    "a row ends with a whole byte: round up, not down": lambda d, b: d * b // 8 + SCALE_BYTES,
    "each code takes whole bytes of its own; pack the row's bits without gaps":
        lambda d, b: d * math.ceil(b / 8) + SCALE_BYTES,
    "these are bits; a byte has 8": lambda d, b: d * b + 8 * SCALE_BYTES,
    "the step is counted once for each number; a row has one": lambda d, b: math.ceil(d * b / 8) + SCALE_BYTES * d,
    "a float32 takes 4 bytes, not 8": lambda d, b: math.ceil(d * b / 8) + 8,
    "one byte too many where the bits fill whole bytes": lambda d, b: d * b // 8 + 1 + SCALE_BYTES,
}

TRUNCATED_MISTAKES = {
    "these are the first columns of the factors, which are not the best: decompose the scores":
        lambda users, items, dim: (users[:, :dim], items[:, :dim]),
    "the singular values are all on the users' side; each side gets their roots": _shared(1, 0),
    "the singular values are all on the items' side; each side gets their roots": _shared(0, 1),
    "the singular values are forgotten on the items' side: the users have their roots, the items nothing":
        _shared(0.5, 0),
    "the singular values are forgotten on the users' side: the items have their roots, the users nothing":
        _shared(0, 0.5),
    "both sides have the singular values whole, so that the scores have their squares: take roots": _shared(1, 1),
    "the singular values are forgotten on both sides": _shared(0, 0),
    "these are the terms of the smallest singular values; the largest come first": _last_terms,
    "the items' terms are rows of what svd returns third (Vᵀ); yours are its columns": _columns_of_right,
    "users and items are decomposed apart; it is their product that is to be kept": _apart,
    "both are projected onto the users' best directions; which are the scores' best depends on the items as well":
        _directions_of(0),
    "both are projected onto the items' best directions; which are the scores' best depends on the users as well":
        _directions_of(1),
}

STAIRS_MISTAKES = {
    "it goes through the models as they are given: sort them by bytes first":
        lambda b, v: _rising(b, v, torch.arange(len(b)), torch.gt),
    "every model has a step: only those belong to the stairs that are better than all smaller ones":
        lambda b, v: (b[_by_size(b, v)], v[_by_size(b, v)].cummax(0).values),
    "every size has a step: only those belong to the stairs that are better than all smaller ones": _of_each_size,
    "a model is compared with the next smaller one alone; it must be better than all smaller ones": _of_neighbours,
    "a larger model that is as good as a smaller one is no step":
        lambda b, v: _rising(b, v, _by_size(b, v), torch.ge),
    "of several models of one size only the best is a step":
        lambda b, v: _rising(b, v, _by_size(b, v, better_first=False), torch.gt),
    "it is the best for at least so many bytes; at most is asked for": _from_the_top,
    "the worst is sought, not the best": lambda b, v: tuple(
        x * sign for x, sign in zip(_rising(b, -v, _by_size(b, -v), torch.gt), (1, -1))),
    "the first step is missing: the smallest model is the best of its size": lambda *a: tuple(
        x[1:] for x in staircase(*a)),
    "the steps run from the largest to the smallest; smallest first":
        lambda *a: tuple(x.flip(0) for x in staircase(*a)),
    "bytes and values have changed places: bytes first": lambda *a: staircase(*a)[::-1],
}


def _matrix(seed, n, d, bits, share, scale=1.0):
    return {"matrix": normal(seed, n, d, scale=scale), "bits": bits, "share": share}


def _coded(seed, n, d, bits):
    codes = torch.randint(2 ** bits, (n, d), generator=seeded(seed), dtype=torch.uint8)
    return {"codes": codes, "step": 0.1 + torch.rand(n, 1, generator=seeded(seed + 50)), "bits": bits}


def _factors(seed, n, m, d, dim):
    """Scores whose first terms hold most, as a trained model's do."""
    sizes = 0.7 ** torch.arange(d).flip(0)
    return {"users": normal(seed, n, d) * sizes, "items": normal(seed + 50, m, d) + 0.2, "dim": dim}


def _models(seed, n):
    """Sizes and qualities with repetitions in both: bigger is better on the whole."""
    n_bytes = torch.randint(5, 5 + n, (n,), generator=seeded(seed)).double()
    value = (n_bytes / 40 + normal(seed + 50, n, scale=0.1)).clamp(0.1, 0.9)
    return {"n_bytes": n_bytes, "value": (value * 20).round() / 20}


TASKS = {
    "to_codes": formula(to_codes, CODES_MISTAKES, visible=(_matrix(5, 5, 8, 3, 1.0), _matrix(2, 7, 6, 2, 0.6)),
                        hidden=(_matrix(3, 20, 16, 4, 0.8, scale=0.1), _matrix(4, 1, 12, 8, 0.5, scale=30.0))),
    "from_codes": formula(from_codes, DECODE_MISTAKES, visible=(_coded(1, 5, 8, 3), _coded(2, 7, 6, 2)),
                          hidden=(_coded(3, 20, 16, 8), _coded(4, 1, 4, 4))),
    "row_bytes": formula(row_bytes, BYTES_MISTAKES,
                         visible=({"dim": 5, "bits": 3}, {"dim": 11, "bits": 3}, {"dim": 20, "bits": 4}),
                         hidden=({"dim": 3, "bits": 3}, {"dim": 100, "bits": 8}, {"dim": 13, "bits": 5})),
    "truncated": Task(visible=(_factors(1, 40, 30, 6, 2), _factors(2, 25, 60, 8, 5)),
                      hidden=(_factors(3, 90, 80, 12, 1), _factors(4, 30, 30, 5, 4)), judge=_cut,
                      mistakes=TRUNCATED_MISTAKES),
    "staircase": formula(staircase, STAIRS_MISTAKES, visible=(_models(1, 9), _models(2, 14)),
                         hidden=(_models(3, 30), _models(4, 1))),
}

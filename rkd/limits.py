"""Which values a setting may have, in words and as a test; checked when it is given, before anything is trained."""

import math
from collections.abc import Callable

Limit = tuple[str, Callable]
ABOVE_0: Limit = ("above 0", lambda x: x > 0)
FROM_0: Limit = ("0 or more", lambda x: x >= 0)
FROM_1: Limit = ("at least 1", lambda x: x >= 1)
SHARE: Limit = ("between 0 and 1", lambda x: 0 <= x <= 1)
BELOW_1: Limit = ("from 0 to below 1", lambda x: 0 <= x < 1)
FINITE: Limit = ("a finite number", lambda x: True)


def one_of(*words: str) -> Limit:
    """One of these words."""
    return f"one of {', '.join(words)}", lambda x: x in words


def plain(value):
    """A NumPy scalar as Python's own number; anything else as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def check(name: str, value, limit: Limit) -> None:
    """Raises ValueError for a value outside its limit, and for a number that is not finite."""
    words, holds = limit
    if isinstance(value, float) and not math.isfinite(value) or not holds(value):
        raise ValueError(f"{name} must be {words}, not {value!r}")


def whole(name: str, value) -> int:
    """A whole number of 1 or more, as Python's own; 10.0 is one. Raises ValueError for anything else."""
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or number % 1 or number < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, not {value!r}")
    return int(number)

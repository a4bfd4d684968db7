"""Environment variables that hold for a while."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def told(**values: str | Path) -> Iterator[None]:
    """Within, these environment variables have these values; then the ones that they had."""
    before = {name: os.environ.get(name) for name in values}
    os.environ |= {name: str(value) for name, value in values.items()}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})

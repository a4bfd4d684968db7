"""Two small conveniences of the notebooks."""

import inspect
import platform
from importlib.metadata import version

from IPython.display import Code

from .provenance import PACKAGES


def show(*things) -> Code:
    """The source of functions or classes, as it is in rkd, highlighted."""
    return Code("\n\n".join(inspect.getsource(thing).rstrip() for thing in things), language="python")


def versions() -> str:
    """One line: Python and the packages that numbers depend on."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)])

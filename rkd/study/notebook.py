"""Two small conveniences of the notebooks."""

import inspect
import platform
from importlib.metadata import version

from IPython.display import Markdown

from .provenance import PACKAGES


def show(*things) -> Markdown:
    """The source of functions or classes, as it is in rkd, highlighted."""
    source = "\n\n".join(inspect.getsource(thing).rstrip() for thing in things)
    return Markdown(f"```python\n{source}\n```")


def versions() -> str:
    """One line: Python and the packages that numbers depend on."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)])

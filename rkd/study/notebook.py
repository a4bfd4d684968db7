"""Small conveniences of the notebooks."""

import inspect
import os
import platform
from importlib.metadata import version

from IPython import get_ipython
from IPython.display import Markdown

from . import figures
from .provenance import PACKAGES
from .redraw import Watcher
from .reproduce import records_folder
from .scales import SCALES, Scale


def start(name: str) -> tuple[Scale, tuple[str, ...]]:
    """A scale by name, and the data sets that it is made on here; figures get their style.

    Where $RKD_RECORDS names a folder of records, all results come from there. So they do at paper scale where it says
    nothing: from the records of that scale, where these are in the checkout (RKD_RECORDS= with nothing behind it trains
    instead). What needs models is then left out (redraw.py).
    """
    folder = records_folder(name)
    if name == "paper" and "RKD_RECORDS" not in os.environ and (folder / "records.json").is_file():
        os.environ["RKD_RECORDS"] = str(folder)
    figures.use_style()
    if os.environ.get("RKD_RECORDS") and (shell := get_ipython()):
        shell.ast_transformers = [one for one in shell.ast_transformers if not isinstance(one, Watcher)]
        shell.ast_transformers.append(Watcher(shell.user_ns))
        print("results come from records, without models")
    scale = SCALES[name]
    return scale, scale.available()


def show(*things) -> Markdown:
    """The source of functions or classes, as it is in rkd, highlighted."""
    source = "\n\n".join(inspect.getsource(thing).rstrip() for thing in things)
    return Markdown(f"```python\n{source}\n```")


def versions() -> str:
    """One line: Python and the packages that numbers depend on."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)])

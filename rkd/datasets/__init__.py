"""Data sets: those of the papers by name, your own from files, and a synthetic world whose truth is known."""

from .catalog import CATALOG, DataSet, statistics, titles
from .errors import DataError, DataWarning
from .loading import load, load_split

__all__ = ["CATALOG", "DataError", "DataSet", "DataWarning", "load", "load_split", "statistics", "titles"]

"""Data sets: those of the papers by name, your own from a file, and a synthetic world whose truth is known."""

from .catalog import CATALOG, DataError, DataSet, DataWarning, load, statistics

__all__ = ["CATALOG", "DataError", "DataSet", "DataWarning", "load", "statistics"]

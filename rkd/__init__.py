"""Knowledge distillation for recommender systems: a companion to UnKD (WSDM 2023) and MKD (arXiv 2311.04549)."""

from importlib.metadata import PackageNotFoundError, version

from . import pinned  # before torch

# isort: split
from . import compress, references
from .data import Interactions, Split
from .datasets import CATALOG, DataError, DataWarning, load, load_split, statistics
from .distillation import distill
from .door import TeacherWarning
from .evaluate import METRICS, evaluate, per_user
from .fit import Fit, load_fit
from .given import Given, Lists
from .methods import METHODS, Distiller, OnEntities, OnLists, Sum
from .models import MF, LightGCN
from .popularity import popular_items, popularity_groups
from .recommend import recommend
from .run import Run, split_of
from .schedule import RunsFailed, compute
from .served import Served, load_model, serve
from .store import Result
from .train import train

try:
    __version__ = version("rkd")
except PackageNotFoundError:  # a checkout on the path, not installed
    __version__ = "0.2.0"

__all__ = ["CATALOG", "METHODS", "METRICS", "MF", "DataError", "DataWarning", "Distiller", "Fit", "Given",
           "Interactions", "LightGCN", "Lists", "OnEntities", "OnLists", "Result", "Run", "RunsFailed", "Served",
           "Split", "Sum", "TeacherWarning", "compute", "distill", "evaluate", "load", "load_fit", "load_model",
           "load_split", "per_user", "popular_items", "popularity_groups", "recommend", "serve", "split_of",
           "statistics", "train"]

"""Knowledge distillation for recommender systems: a companion to UnKD (WSDM 2023) and MKD (arXiv 2311.04549)."""

from .catalog import CATALOG, DataError, load, statistics
from .data import Interactions, Split
from .evaluate import evaluate, per_user, recommend
from .models import MF, LightGCN
from .popularity import popular_items, popularity_groups
from .runs import Result, Run, compute, compute_groups, split_of
from .train import Fit, distill, train

"""Models of few dimensions, from the factors of one of many."""

import torch
from torch import Tensor

from .given import Given
from .models import Model


def factors_of(model) -> tuple[Tensor, Tensor]:
    """The factors of a model as float32: of rkd, or of whatever Given takes. Raises ValueError for a model that has
    none."""
    return (model if isinstance(model, Model) else Given(model)).factors()


def truncate(model, dim: int) -> Given:
    """The best approximation of all scores by factors of size ``dim``: the first ``dim`` terms of the singular value
    decomposition of U Vᵀ, from those of the factors, so that no users × items matrix is made.

    The singular values are shared out evenly between users and items. (Eckart and Young, 1936.) Raises ValueError where
    dim is not between 1 and the model's own size.
    """
    users, items = factors_of(model)
    if not 1 <= dim <= users.shape[1]:
        raise ValueError(f"dim must be between 1 and the model's own {users.shape[1]}, not {dim}")
    (q_users, r_users), (q_items, r_items) = (torch.linalg.qr(x.double()) for x in (users, items))
    left, values, right = torch.linalg.svd(r_users @ r_items.T)
    root = values[:dim].sqrt()
    return Given((q_users @ (left[:, :dim] * root), q_items @ (right[:dim].T * root)))


def rotate(model, seed: int = 0) -> Given:
    """The same scores by factors turned at random. What ``truncate`` makes has its first coordinates much larger than
    its last, and turned it is rounded better: one scale then fits a whole row.    (Gong et al., ITQ, TPAMI 2013; here
    the rotation is drawn, not learnt)"""
    users, items = factors_of(model)
    drawn = torch.randn(users.shape[1], users.shape[1], dtype=torch.float64,
                        generator=torch.Generator().manual_seed(seed))
    rotation = torch.linalg.qr(drawn).Q.to(users)
    return Given((users @ rotation, items @ rotation))

"""Models of other libraries → (user factors, item factors, the ids of both), by the names of their attributes.

No library is imported: what counts is what an object has. NAMES is the one table of who calls what by which name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .alignment import in_rows
from .arrays import described, matrix

LISTS = "make rkd.Lists(items, scores, n_items) of each user's best items"


@dataclass(frozen=True)
class Names:
    """How one kind of model calls its parts, a path of attributes each; biases and ids are optional.

    unless : an attribute of models whose scores are something else, or that the next line of NAMES reads.
    """

    users: str
    items: str
    user_bias: str = "user_biases"
    item_bias: str = "item_biases"
    user_ids: str = "user_ids"
    item_ids: str = "item_ids"
    unless: str = ""


NAMES = (
    Names("user_factors", "item_factors"),  # implicit, whose BPR and LMF have their biases inside
    Names("u_factors", "i_factors", "u_biases", "i_biases", "uid_map", "iid_map"),  # cornac: MF, BPR, WBPR, NMF, …
    Names("get_user_vectors()", "get_item_vectors()", "", "", "uid_map", "iid_map"),  # cornac's others
    Names("user_embeddings", "item_embeddings", unless="items"),  # LightFM
    Names("user_embeddings", "item_embeddings", "bias.user_biases", "bias.item_biases", "users", "items"),  # LensKit
    Names("user_features_", "item_features_", "bias.user_offsets_", "bias.item_offsets_",
          "user_index_", "item_index_", unless="items_"),  # LensKit to 0.14
    Names("user_features_", "item_features_", "", "", "users_", "items_"),  # LensKit's HPF
    Names("user_components_", "factorization_.components_.T", "bias_.user_biases", "bias_.item_biases",
          "users_", "items_"),  # LensKit's SVD
    Names("pu", "qi", "bu", "bi", "trainset._raw2inner_id_users", "trainset._raw2inner_id_items",
          unless="yj"),  # Surprise: SVD, NMF
    Names("U", "V"),
)
IN_A_DICT = Names("users", "items")  # a dict or .npz file, for any of the above


def read(source) -> tuple[Tensor, Tensor, object, object]:
    """(user factors [n_users, d], item factors [n_items, d], the users' ids or None, the items') of a pair, a dict or
    .npz file with "users" and "items", the path of such a .safetensors file, or a model of another library. Raises
    TypeError for anything else.

    Biases become columns, [u, 1, b_u] and [v, b_i, 1], so that the inner products are the model's own scores but for
    one constant, the mean of all ratings.
    """
    source = tuple(source) if isinstance(source, Iterator) else source
    if isinstance(source, (str, PathLike)) and str(source).endswith(".safetensors"):
        source = load_file(source)  # mapped: a row is read when it is wanted
    if (isinstance(source, (tuple, list)) or getattr(source, "ndim", 0) == 3) and len(source) == 2:
        (users, user_ids), (items, item_ids) = _both(*source)
        return users, items, user_ids, item_ids
    for names in (*NAMES, *[IN_A_DICT] * isinstance(source, Mapping)):
        parts = [_at(source, path) for path in (names.users, names.items)]
        if all(map(_has_rows, parts)) and _at(source, names.unless) is None:
            return _with_biases(source, names, *parts)
    if any(_calls(source, names.users) and _calls(source, names.items) for names in NAMES if not names.unless):
        raise TypeError(f"the {type(source).__name__} has no factors of users and items: fit it first, and have it "
                        "keep both")
    hint = "(model.user_embedding, model.item_embedding) where their inner products are its scores"
    hint = f"give {hint}; " if isinstance(source, nn.Module) else ""
    raise TypeError(f"expected a model or a pair (user factors, item factors), not {described(source)}; {hint}for "
                    f"scores that are no inner product {LISTS}")


def _both(users, items) -> tuple[tuple, tuple]:
    return matrix(users, "user factors", "user"), matrix(items, "item factors", "item")


def _with_biases(source, names: Names, users, items) -> tuple[Tensor, Tensor, object, object]:
    (users, user_ids), (items, item_ids) = _both(users, items)
    user_ids, item_ids = (of_table if (ids := _at(source, path)) is None else in_rows(ids, len(rows), side)
                          for path, of_table, rows, side in ((names.user_ids, user_ids, users, "user"),
                                                             (names.item_ids, item_ids, items, "item")))
    of_users = _bias(_at(source, names.user_bias), user_ids, users, "user")
    of_items = _bias(_at(source, names.item_bias), item_ids, items, "item")
    if of_items is not None:
        users, items = torch.cat([users, torch.ones_like(users[:, :1])], 1), torch.cat([items, of_items], 1)
    if of_users is not None:
        users, items = torch.cat([users, of_users], 1), torch.cat([items, torch.ones_like(items[:, :1])], 1)
    _refuse_other_scores(source, users, items)
    return users, items, user_ids, item_ids


def _bias(values, ids, factors: Tensor, side: str) -> Tensor | None:
    """A bias for every row of the factors, [n, 1]; None where there is none. A pandas Series goes by its ids."""
    if values is None:
        return None
    values = values.reindex(ids).to_numpy() if hasattr(values, "reindex") and ids is not None else values
    column = matrix(values, f"{side} biases", side)[0].reshape(-1, 1).to(factors.device)
    if len(column) != len(factors):
        raise ValueError(f"the model has {len(factors)} {side} factors, but {len(column)} {side} biases")
    return column


def _refuse_other_scores(source, users: Tensor, items: Tensor) -> None:
    """Raises TypeError where a model of cornac's does not rank a user's items as the inner products do."""
    if not callable(getattr(source, "get_vector_measure", None)):
        return
    from scipy.stats import spearmanr  # here, since it takes as long to import as much of rkd

    for user in {0, len(users) - 1}:
        own = np.asarray(source.score(user)).ravel()[:len(items)]
        if spearmanr(own, (items @ users[user]).cpu().numpy()).statistic < 0.99:
            raise TypeError(f"{type(source).__name__} ranks items otherwise than the inner products of its vectors do; "
                            f"{LISTS}")


def _at(source, path: str):
    """What a path of attributes or keys leads to, "()" being called; None where it leads nowhere."""
    if not path or isinstance(source, type):
        return None
    for name in path.split("."):
        name, call, _ = name.partition("()")
        source = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
        if call:
            try:
                source = source() if callable(source) else None
            except (AttributeError, TypeError, ValueError, NotImplementedError):  # of a model that is not fitted
                return None
    return source


def _calls(source, path: str) -> bool:
    """Whether a model has the attribute that a path begins with, be it empty."""
    return not isinstance(source, type) and hasattr(source, path.partition(".")[0].removesuffix("()"))


def _has_rows(part) -> bool:
    """Whether this can be factors: something with rows and columns."""
    part = part.weight if isinstance(part, nn.Module) and hasattr(part, "weight") else part
    return isinstance(part, list) or len(getattr(part, "shape", ())) == 2

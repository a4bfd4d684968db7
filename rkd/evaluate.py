"""Full-ranking evaluation: every item that a user has not trained on is ranked, none is sampled."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .data import Split
from .device import real
from .popularity import popular_items
from .ranking import rows_of, top_k


class Factors(tuple):
    """(user factors [n_users, d], item factors [n_items, d]); ``inputs``: the same before any propagation."""

    inputs: tuple[Tensor, Tensor]


def factors(model, device=None) -> Factors:
    """The factors that a model scores with, as float32 tensors, detached.

    model : an rkd model, or a pair of arrays or tensors from elsewhere, which are their own inputs.
    """
    found = Factors(_checked(model.factors() if hasattr(model, "factors") else model, device))
    found.inputs = _checked(model.inputs(), device) if hasattr(model, "inputs") else tuple(found)
    return found


def _checked(pair, device) -> tuple[Tensor, Tensor]:
    try:
        users, items = (torch.as_tensor(x).detach().to(device, torch.float32) for x in pair)
    except (TypeError, ValueError) as error:
        raise TypeError(f"expected a model or a pair (user factors, item factors), not {type(pair).__name__}") from error
    if users.dim() != 2 or items.dim() != 2 or users.shape[1] != items.shape[1]:
        raise ValueError("factors must be two matrices of equal width, [n_users, d] and [n_items, d], "
                         f"not {tuple(users.shape)} and {tuple(items.shape)}")
    return users, items


def recommend(model, split: Split, users: Tensor, k: int) -> Tensor:
    """The k best untrained items of each user, best first: [len(users), k] int64 (−1: no more items)."""
    user_factors, item_factors = factors(model, split.train.users.device)
    if (len(user_factors), len(item_factors)) != (split.n_users, split.n_items):
        raise ValueError(f"the factors are of {len(user_factors)} users and {len(item_factors)} items, "
                         f"the split of {split.n_users} and {split.n_items}")
    return top_k(user_factors, item_factors, users, k, exclude=split.train)


def per_user(model, split: Split, on: str = "test", ks: Sequence[int] = (10, 20)) -> dict[str, Tensor]:
    """The metrics user by user, for paired tests: name → [n], over the users with held-out items, ascending.

    "users" holds their ids. A user without held-out items in a half has NaN for that half's recall.
    """
    return _rank(model, split, on, ks)[0]


def evaluate(model, split: Split, on: str = "test", ks: Sequence[int] = (10, 20)) -> dict[str, float]:
    """Rank the whole catalogue for every user with held-out items, without the user's training items, and average.

    model : an rkd model, or (user factors, item factors), arrays or tensors; scores are inner products.
    on    : "valid" or "test". Users without items there are left out of every average.
    ks    : lengths of the lists.

    Returns, for each K:

    recall@K           hits / held-out items of the user
    precision@K        hits / K
    hit_rate@K         1 if any hit
    ndcg@K             DCG (gain 1, discount 1 / log₂(rank + 1)) over that of min(K, held-out items) hits at the top
    popular/recall@K, unpopular/recall@K
                       hits in the half over held-out items in the half, over the users who have any; the halves are
                       of equal training popularity (popularity.py)
    unpopular_share@K  share of the lists' places that hold an item of the unpopular half
    coverage@K         share of the catalogue that is in any list
    gini@K             Gini coefficient of the items' counts in the lists, items never listed included
    popularity@K       mean training popularity of the lists' items, a user's mean first

    and once: unpopular_share (of the held-out items themselves) and users (how many are averaged over).

    Ties of score go to the lower item id, whatever the device. A list is shorter than K only where the user has
    fewer untrained items; places left empty count as misses. Raises ValueError for an unknown ``on``, factors of
    other sizes than the split's, scores that are not numbers, or a part without interactions.
    """
    by_user, lists, unpopular = _rank(model, split, on, ks)
    held_out, dtype = getattr(split, on), real(unpopular.device)
    counts = split.train.item_counts.to(dtype)
    result = {"users": len(by_user["users"]),
              "unpopular_share": unpopular[held_out.items].to(dtype).mean().item()}
    for name, values in by_user.items():
        if name != "users":
            result[name] = values.nanmean().item()
    for k in ks:
        listed = lists[:, :k]
        filled = listed >= 0
        shown = listed[filled]
        result[f"unpopular_share@{k}"] = unpopular[shown].to(dtype).mean().item()
        times = torch.bincount(shown, minlength=split.n_items).to(dtype)
        result[f"coverage@{k}"] = (times > 0).to(dtype).mean().item()
        result[f"gini@{k}"] = _gini(times)
        popularity = counts[listed.clamp(min=0)] * filled
        result[f"popularity@{k}"] = (popularity.sum(1) / filled.sum(1).clamp(min=1)).mean().item()
    return result


def _rank(model, split: Split, on: str, ks: Sequence[int]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """(metrics by user, lists [n, max K], unpopular items [n_items] bool)"""
    if on not in ("valid", "test"):
        raise ValueError(f"on must be 'valid' or 'test', not {on!r}")
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must hold list lengths of 1 or more, not {tuple(ks)}")
    held_out = getattr(split, on)
    users = torch.bincount(held_out.users, minlength=split.n_users).nonzero().flatten()
    if len(users) == 0:
        raise ValueError(f"the {on} part of {split} holds no interactions: nothing to evaluate on")
    lists = recommend(model, split, users, max(ks))  # [n, k]
    rows, items = rows_of(held_out, users)
    keys = rows * split.n_items + items  # ascending
    n = len(users)
    wanted = torch.arange(n, device=users.device)[:, None] * split.n_items + lists
    hits = torch.isin(wanted, keys) & (lists >= 0)  # [n, k]
    unpopular = ~popular_items(split.train.item_counts)

    dtype = real(users.device)
    size = torch.bincount(rows, minlength=n).to(dtype)  # held-out items of each user
    size_unpopular = torch.bincount(rows[unpopular[items]], minlength=n).to(dtype)
    hits_unpopular = (hits & unpopular[lists.clamp(min=0)]).to(dtype)
    hits = hits.to(dtype)
    discount = 1 / torch.arange(2, max(ks) + 2, device=users.device, dtype=dtype).log2()
    ideal = torch.cat([discount.new_zeros(1), discount.cumsum(0)])
    by_user = {"users": users}
    for k in ks:
        n_hits, n_unpopular = hits[:, :k].sum(1), hits_unpopular[:, :k].sum(1)
        by_user[f"recall@{k}"] = n_hits / size
        by_user[f"ndcg@{k}"] = hits[:, :k] @ discount[:k] / ideal[size.clamp(max=k).long()]
        by_user[f"precision@{k}"] = n_hits / k
        by_user[f"hit_rate@{k}"] = (n_hits > 0).to(dtype)
        by_user[f"popular/recall@{k}"] = (n_hits - n_unpopular) / (size - size_unpopular)  # 0 / 0 = NaN: none held out
        by_user[f"unpopular/recall@{k}"] = n_unpopular / size_unpopular
    return by_user, lists, unpopular


def _gini(counts: Tensor) -> float:
    """0: all items are shown equally often; towards 1: all places go to one item."""
    n = len(counts)
    rank = torch.arange(1, n + 1, device=counts.device, dtype=counts.dtype)
    return ((2 * rank - n - 1) @ counts.sort().values / (n * counts.sum())).item()

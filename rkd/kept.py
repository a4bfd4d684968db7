"""What is kept of a model's lists: of an item only its class (popular, unpopular, never trained on), of a list which
places are hits. The metrics of metrics.py that need no more are computed from that as they are from the model."""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from .data import Interactions, Split
from .hits import Hits
from .metrics import METRICS, unpopular_share
from .popularity import popular_items
from .store import KS

DEPTH, TEN = max(KS), 10
POPULAR, UNPOPULAR, COLD = range(3)  # the classes of items
# One item for each class, of 2, 2 and 0 training interactions: what metrics take for the catalogue.
CLASSES = Split(Interactions(2, 3, torch.tensor([0, 1, 0, 1]), torch.tensor([POPULAR, POPULAR, UNPOPULAR, UNPOPULAR])))
# What the classes decide, so that it is known of each user
BY_USER = ("recall", "ndcg", "precision", "hit_rate", "popular/recall", "unpopular/recall", "popular/recall_unkd",
           "unpopular/recall_unkd", "aplt")
OF_LISTS = ("coverage", "gini")  # of all lists together, in models as in records
SAME = 1e-9  # how far a mean computed anew may be off: another processor may add in another order


class NotRecorded(LookupError):
    """What is asked for is not in the records: a run, a model, a metric user by user."""


def classes_of(split: Split) -> Tensor:
    """POPULAR, UNPOPULAR or COLD: [n_items]."""
    counts = split.train.item_counts
    return torch.where(counts == 0, COLD, torch.where(popular_items(counts), POPULAR, UNPOPULAR))


def held_out(split: Split) -> dict[str, np.ndarray]:
    """Of the users with test items, ascending, one value each: "users", their ids; "held_popular", "held_unpopular" and
    "held_cold", how many items of the class each has held out; "places", how many of DEPTH a list fills."""
    held, kinds = split.test.users.bincount(minlength=split.n_users), classes_of(split)
    users = held.nonzero().flatten()
    found = {"users": users, "places": (split.n_items - split.train.users.bincount(minlength=split.n_users)[users])
             .clamp(max=DEPTH)}
    for kind, name in enumerate(("held_popular", "held_unpopular", "held_cold")):
        of = split.test.users[kinds[split.test.items] == kind]
        found[name] = of.bincount(minlength=split.n_users)[users]
    return {name: values.numpy().astype(np.int32) for name, values in found.items()}


def kept(found: Hits, kinds: Tensor) -> dict[str, np.ndarray]:
    """What is kept of each user's list: "hits", place p as bit p; and, of the first ten places (the lower four bits)
    and the second ten (the upper), how many are hits that are popular and hits that are cold, and how many are items
    outside the popular half."""
    lists, hits = found.lists.cpu(), found.hits.cpu() > 0
    filled, kind = lists >= 0, kinds[lists.clamp(min=0)]
    bits = (hits.long() << torch.arange(DEPTH)).sum(1)
    return {"hits": bits.numpy().astype(np.uint32), "popular_hits": _tens(hits & (kind == POPULAR)),
            "cold_hits": _tens(hits & (kind == COLD)), "unpopular": _tens(filled & (kind != POPULAR))}


def _tens(mask: Tensor) -> np.ndarray:
    return (mask[:, :TEN].sum(1) + 16 * mask[:, TEN:].sum(1)).numpy().astype(np.uint8)


def restored(row: Mapping, held: Mapping) -> Hits:
    """Lists of classes in the place of items, alike in all that ``kept`` keeps: the classes of a ten's hits, and of its
    other places, in an order of their own."""
    hits = torch.from_numpy(row["hits"].astype(np.int64))[:, None] >> torch.arange(DEPTH) & 1  # [n, DEPTH]
    filled = torch.arange(DEPTH) < torch.from_numpy(held["places"].astype(np.int64))[:, None]
    lists = torch.full_like(hits, -1)
    for ten, shift in ((slice(0, TEN), 0), (slice(TEN, DEPTH), 4)):
        popular, cold, unpopular = (torch.from_numpy((row[name].astype(np.int64) >> shift) & 15)[:, None]
                                    for name in ("popular_hits", "cold_hits", "unpopular"))
        hit, other = hits[:, ten], filled[:, ten] & (hits[:, ten] == 0)
        n, nth, nth_other = hit.sum(1, keepdim=True), hit.cumsum(1), other.cumsum(1)
        of_hits = torch.where(nth <= popular, POPULAR, torch.where(nth > n - cold, COLD, UNPOPULAR))
        of_others = torch.where(nth_other <= unpopular - (n - popular), UNPOPULAR, POPULAR)
        lists[:, ten] = torch.where(hit > 0, of_hits, torch.where(other, of_others, -1))
    sizes = torch.from_numpy(np.stack([held[f"held_{name}"] for name in ("popular", "unpopular", "cold")], 1)).long()
    owner = torch.arange(len(sizes)).repeat_interleave(sizes.sum(1))
    items = torch.arange(3).repeat(len(sizes)).repeat_interleave(sizes.flatten())
    return Hits(CLASSES, torch.from_numpy(held["users"].astype(np.int64)), lists, hits.double(), items, owner,
                sizes.sum(1).double())


class ByUser(Mapping):
    """Result.by_user from records: each metric is computed when it is asked for. Raises NotRecorded for one that a
    model would tell user by user and records do not."""

    def __init__(self, row: Mapping, held: Mapping):
        self.row, self.held = row, held

    def __iter__(self) -> Iterator[str]:
        yield from ("users", "held_out/aplt", *(f"{name}@{k}" for k in KS for name in BY_USER))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name) -> bool:
        if name in [*self]:
            return True
        metric = name.partition("@")[0]
        if metric in OF_LISTS or re.sub(r"\d+", "#", metric) not in METRICS:  # no model tells it of each user either
            return False
        raise NotRecorded(f"{name} of each user is not in the records, its mean alone")

    def __getitem__(self, name: str) -> Tensor:
        if name not in self:
            raise KeyError(name)
        found = restored(self.row, self.held)
        if name == "users":
            return found.users
        metric, _, k = name.partition("@")
        return METRICS[metric](found, int(k)) if k else unpopular_share(found)


def faults(row: Mapping, held: Mapping, metrics: Mapping) -> list[str]:
    """The metrics whose mean over the users, computed anew, is not the one that is kept."""
    of = ByUser(row, held)
    means = {name: of[name].nanmean().item() for name in of if name != "users"}
    return [name for name, mean in means.items() if not abs(mean - metrics[name]) <= SAME
            and not (np.isnan(mean) and np.isnan(metrics[name]))]

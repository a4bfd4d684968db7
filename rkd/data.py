"""Interactions between users and items, and their division into train, valid and test.

Everything downstream sees only these two classes, and of them whole-number ids, two flat tensors: no rating, no time.
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .device import neutral
from .limits import plain
from .protocols import PROTOCOLS, Log


@dataclass(frozen=True, eq=False)
class Interactions:
    """A set of (user, item) pairs.

    Attributes
    ----------
    n_users, n_items : size of the two id ranges; ids without a pair are allowed.
    users, items : int64 tensors of equal length, one entry per pair.
    name : the data set's name, for people; it decides nothing.
    valid_users : share of the users whose held-out items validate under UnKD's protocol.
    user_ids, item_ids : the publisher's ids as arrays, so that ``user_ids[u]`` is the original of user ``u``; or None.
    times : when each pair came about, a flat tensor of numbers, or None; only a division reads it (split("time")).
    given : the part in which the publisher ships each pair (0 train, 1 valid, 2 test), int8, or None; as times.

    ``times`` and ``given`` stay on the CPU, and the fingerprint does not know them. Raises ValueError where the tensors
    differ in length or type, or an id lies outside its range.
    """

    n_users: int
    n_items: int
    users: Tensor
    items: Tensor
    name: str = "data"
    valid_users: float = 0.5
    user_ids: np.ndarray | None = field(default=None, repr=False)
    item_ids: np.ndarray | None = field(default=None, repr=False)
    times: Tensor | None = field(default=None, repr=False)
    given: Tensor | None = field(default=None, repr=False)

    def __post_init__(self):
        for name, ids, n in (("users", self.users, self.n_users), ("items", self.items, self.n_items)):
            if ids.dtype != torch.int64 or ids.dim() != 1:
                raise ValueError(f"{name} must be a flat int64 tensor, not {ids.dtype} of shape {tuple(ids.shape)}")
            if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < n:
                raise ValueError(f"{name} must lie in 0…{n - 1}, but span {int(ids.min())}…{int(ids.max())}")
        if len(self.users) != len(self.items):
            raise ValueError(f"{len(self.users)} users but {len(self.items)} items: one of each per pair")
        for kind, ids, n in (("user", self.user_ids, self.n_users), ("item", self.item_ids, self.n_items)):
            if ids is not None and len(ids) != n:
                raise ValueError(f"{len(ids)} {kind}_ids, but n_{kind}s is {n}: one for each")
        for name, values in (("times", self.times), ("given", self.given)):
            if values is not None and values.shape != self.users.shape:
                raise ValueError(f"{name} must be flat, one for each of the {len(self)} pairs, not of shape "
                                 f"{tuple(values.shape)}")
        if self.times is not None and not bool(self.times.isfinite().all()):
            raise ValueError("times must be finite numbers: leave them out where not all are known")

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"Interactions({self.name}: {self.n_users} users × {self.n_items} items, {len(self)} pairs)"

    def named_user(self, user: int) -> str:
        """What to call a user in a message: by the publisher's id where it is known."""
        return f"user {_id(self.user_ids, user)}"

    def named_item(self, item: int) -> str:
        """The same of an item."""
        return f"item {_id(self.item_ids, item)}"

    def named_pair(self, key: int) -> str:
        """The same of a pair, one of ``keys``."""
        return f"{self.named_user(key // self.n_items)}, {self.named_item(key % self.n_items)}"

    def pick(self, which: Tensor) -> "Interactions":
        """Some of the pairs: ``which`` is a mask [n], or their places."""
        others = {name: None if values is None else values[which.to(values.device)]
                  for name, values in (("times", self.times), ("given", self.given))}
        return replace(self, users=self.users[which], items=self.items[which], **others)

    @cached_property
    def keys(self) -> Tensor:
        """Each pair as one number, user · n_items + item, ascending: [n]."""
        return (self.users * self.n_items + self.items).sort().values

    @cached_property
    def csr(self) -> tuple[Tensor, Tensor]:
        """(offsets [n_users + 1], items [n]): user u's items, ascending, are items[offsets[u]:offsets[u + 1]]."""
        offsets = torch.zeros(self.n_users + 1, dtype=torch.int64, device=self.users.device)
        offsets[1:] = torch.bincount(self.users, minlength=self.n_users).cumsum(0)
        return offsets, self.keys % self.n_items

    @cached_property
    def item_counts(self) -> Tensor:
        """An item's popularity: how many users have it, [n_items]."""
        return torch.bincount(self.items, minlength=self.n_items)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the sizes and the sorted pairs: the same for the same data, whatever file or order they came in."""
        digest = hashlib.sha256(f"{self.n_users} {self.n_items} {len(self)}".encode())
        digest.update(self.keys.cpu().numpy().astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def to(self, device) -> "Interactions":
        return replace(self, users=self.users.to(device), items=self.items.to(device))

    @neutral()
    def split(self, protocol: str = "unkd", seed: int = 0) -> "Split":
        """Divide into train, valid and test; the same seed gives the same division, whatever the order of the pairs.

        protocol : "unkd" (as UnKD's authors' code), "ratio" (8 : 1 : 1 at random, ours), "time" (each user's last
            items), "kds" (as MKD's authors' code), "given" (the publisher's own test part) or "all" (nothing held out,
            for production): the functions in protocols.py.

        Every user keeps at least one training item, unless its publisher gave it none. Raises ValueError for an unknown
        protocol, for pairs given twice, for an empty data set, and where a part would be empty that the protocol needs.
        """
        if protocol not in PROTOCOLS:
            raise ValueError(f"unknown split {protocol!r}: choose from {', '.join(PROTOCOLS)}")
        if len(self) == 0:
            raise ValueError(f"{self.name} holds no interactions: there is nothing to split")
        data = self.to("cpu")
        data = data.pick((data.users * self.n_items + data.items).argsort())
        keys = data.keys
        if len(repeated := keys[1:][keys[1:] == keys[:-1]]):
            raise ValueError(f"{self.named_pair(int(repeated[0]))} is given twice ({len(repeated)} repeats in all): "
                             "a pair in two parts would leak; remove repeats first")
        times, given = (None if values is None else values.numpy() for values in (data.times, data.given))
        log = Log(data.users.numpy(), data.items.numpy(), data.users.bincount(minlength=self.n_users).numpy(), times,
                  given, self.valid_users, self.name)
        valid, test = map(torch.from_numpy, PROTOCOLS[protocol](log, np.random.default_rng(seed)))
        parts = (data.pick(mask) for mask in (~(valid | test), valid, test))
        return Split(*parts, protocol, seed).to(self.users.device)


def _id(ids: np.ndarray | None, n: int) -> str:
    """The publisher's id of row n as it is written in Python, or n."""
    return str(n) if ids is None else repr(plain(ids[n]))


PARTS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Train, valid and test: three Interactions over the same users and items.

    valid, test : None for none. Without validation ``train`` needs to be told for how many epochs.

    Raises ValueError where sizes or ids differ, or a pair is given twice, in one part or in two. Parts that come from
    files or tables of their own, each with its own numbering, go together by ``rkd.load_split``.
    """

    train: Interactions
    valid: Interactions | None = None
    test: Interactions | None = None
    protocol: str = "custom"
    seed: int = 0

    def __post_init__(self):
        nothing = torch.zeros(0, dtype=torch.int64)
        for name in ("valid", "test"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, self.train.pick(nothing.to(self.train.users.device)))
        sizes = {(part.n_users, part.n_items) for part in self.parts.values()}
        if len(sizes) > 1:
            raise ValueError("train, valid and test must have the same n_users and n_items, but have "
                             f"{sorted(sizes)}: rkd.load_split numbers the ids of files and tables together")
        for name in ("valid", "test"):
            self._refuse_other_ids(name)
        self._refuse_repeats()

    def _refuse_other_ids(self, name: str) -> None:
        for kind in ("user", "item"):
            ours, theirs = (getattr(part, f"{kind}_ids") for part in (self.train, self.parts[name]))
            if ours is None or theirs is None or ours is theirs:
                continue
            other = np.asarray(ours, dtype=object) != np.asarray(theirs, dtype=object)
            if other.any():
                n = int(other.argmax())
                raise ValueError(f"{kind} number {n} is {_id(ours, n)} in train but {_id(theirs, n)} in {name}: "
                                 "rkd.load_split numbers the ids of files and tables together")

    def _refuse_repeats(self) -> None:
        keys = torch.cat([part.keys for part in self.parts.values()]).sort().values
        if not len(twice := keys[1:][keys[1:] == keys[:-1]]):
            return
        first = int(twice[0])
        where = [name for name, part in self.parts.items() for _ in range(int((part.keys == first).sum()))]
        if where[0] == where[1]:
            what, why = f"given twice in {where[0]}", "remove repeats first"
        else:
            what = f"both in {where[0]} and in {where[1]}"
            why = ("a pair may not be both trained and tested on" if where[0] == "train" else
                   "training would stop where the test is best; without validation (None) it takes epochs=")
        raise ValueError(f"{self.train.named_pair(first)} is {what} ({len(twice)} such in all): {why}")

    @property
    def parts(self) -> dict[str, Interactions]:
        """{"train": …, "valid": …, "test": …}"""
        return {name: getattr(self, name) for name in PARTS}

    @property
    def n_users(self) -> int:
        return self.train.n_users

    @property
    def n_items(self) -> int:
        return self.train.n_items

    @property
    def name(self) -> str:
        return self.train.name

    @property
    def cold_share(self) -> float:
        """The share of the test pairs whose item has no training pair, so that no model that goes by interactions can
        know it; NaN without test pairs."""
        return (self.train.item_counts[self.test.items] == 0).double().mean().item()

    @cached_property
    def fingerprint(self) -> str:
        parts = " ".join(part.fingerprint for part in self.parts.values())
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    @cached_property
    def data_fingerprint(self) -> str:
        """The fingerprint of all three parts' pairs together: that of the data that were divided."""
        users, items = (torch.cat([getattr(part, ids) for part in self.parts.values()]) for ids in ("users", "items"))
        return Interactions(self.n_users, self.n_items, users, items).fingerprint

    def to(self, device) -> "Split":
        if self.train.users.device == torch.device(device):
            return self
        return replace(self, **{name: part.to(device) for name, part in self.parts.items()})

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(part)} {name}" for name, part in self.parts.items())
        return (f"Split({self.name}, {self.protocol!r}, seed {self.seed}: {self.n_users} users × {self.n_items} items, "
                f"{sizes})")

"""Interactions between users and items, and their division into train, valid and test.

Everything downstream sees only these two classes: whole-number ids, two flat tensors, no rating, no time. A protocol of
division is one function, in PROTOCOLS.
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .device import neutral


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

    Raises ValueError where the tensors differ in length or type, or an id lies outside its range.
    """

    n_users: int
    n_items: int
    users: Tensor
    items: Tensor
    name: str = "data"
    valid_users: float = 0.5
    user_ids: np.ndarray | None = field(default=None, repr=False)
    item_ids: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self):
        for name, ids, n in (("users", self.users, self.n_users), ("items", self.items, self.n_items)):
            if ids.dtype != torch.int64 or ids.dim() != 1:
                raise ValueError(f"{name} must be a flat int64 tensor, not {ids.dtype} of shape {tuple(ids.shape)}")
            if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < n:
                raise ValueError(f"{name} must lie in 0…{n - 1}, but span {int(ids.min())}…{int(ids.max())}")
        if len(self.users) != len(self.items):
            raise ValueError(f"{len(self.users)} users but {len(self.items)} items: one of each per pair")

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"Interactions({self.name}: {self.n_users} users × {self.n_items} items, {len(self)} pairs)"

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

        Protocols: "unkd" and "ratio", the functions below.

        Every user keeps at least one training item. Raises ValueError for an unknown protocol, for pairs given
        twice, and for an empty data set.
        """
        if protocol not in PROTOCOLS:
            raise ValueError(f"unknown split {protocol!r}: choose from {', '.join(PROTOCOLS)}")
        if len(self) == 0:
            raise ValueError(f"{self.name} holds no interactions: there is nothing to split")
        keys = self.keys.cpu().numpy()
        if (repeated := keys[1:][keys[1:] == keys[:-1]]).size:
            raise ValueError(f"user {repeated[0] // self.n_items}, item {repeated[0] % self.n_items} is given twice "
                             f"({repeated.size} repeats in all): a pair in two parts would leak; remove repeats first")
        users, items = keys // self.n_items, keys % self.n_items
        rng = np.random.default_rng(seed)
        order = np.lexsort((rng.random(len(users)), users))  # shuffled within each user
        counts = np.bincount(users, minlength=self.n_users)
        place = np.empty(len(users), dtype=np.int64)  # the pair's place in its user's shuffled list
        place[order] = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
        valid, test = PROTOCOLS[protocol](users, place, counts, self.valid_users, rng)

        def part(mask):
            return replace(self, users=torch.from_numpy(users[mask]), items=torch.from_numpy(items[mask]))

        return Split(part(~(valid | test)), part(valid), part(test), protocol, seed).to(self.users.device)


def unkd(users: np.ndarray, place: np.ndarray, counts: np.ndarray, valid_users: float,
         rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """⌈20 %⌉ of each user's items are held out at random; then whole users' held-out sets go to validation, a share
    ``valid_users`` of the users, or to test, the rest.                                     (UnKD's released code)

    users, place : each pair's user and its place in the user's shuffled list, [n]; counts : pairs of each user.
    Returns two masks of the pairs, of validation and of test.
    """
    held_out = place < np.minimum(-(-counts // 5), np.maximum(counts - 1, 0))[users]
    validates = np.zeros(len(counts), dtype=bool)
    validates[rng.permutation(len(counts))[:int(valid_users * len(counts))]] = True
    return held_out & validates[users], held_out & ~validates[users]


def ratio(users: np.ndarray, place: np.ndarray, counts: np.ndarray, valid_users: float,
          rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """8 : 1 : 1 at random within each user; at least one item to each of validation and test for users with three items
    or more. Ours, after the MKD paper's ratio. Arguments and result as for ``unkd``; the last two are not used."""
    n_each = np.where(counts >= 3, np.maximum(counts // 10, 1), 0)[users]
    return place < n_each, (place >= n_each) & (place < 2 * n_each)


PROTOCOLS = {"unkd": unkd, "ratio": ratio}


@dataclass(frozen=True, eq=False)
class Split:
    """Train, valid and test: three Interactions over the same users and items.

    Raises ValueError where the sizes differ, or a pair is given twice, in one part or in train and another.
    """

    train: Interactions
    valid: Interactions
    test: Interactions
    protocol: str = "custom"
    seed: int = 0

    def __post_init__(self):
        sizes = {(part.n_users, part.n_items) for part in (self.train, self.valid, self.test)}
        if len(sizes) > 1:
            raise ValueError(f"train, valid and test must have the same n_users and n_items, but have {sorted(sizes)}")
        for held_out in (self.valid, self.test):
            keys = torch.cat([self.train.keys, held_out.keys]).sort().values
            if bool((twice := keys[1:] == keys[:-1]).any()):
                first = int(keys[1:][twice][0])
                raise ValueError(f"user {first // self.n_items}, item {first % self.n_items} is given twice: a pair "
                                 "may neither be repeated nor be both trained and tested on")

    @property
    def n_users(self) -> int:
        return self.train.n_users

    @property
    def n_items(self) -> int:
        return self.train.n_items

    @property
    def name(self) -> str:
        return self.train.name

    @cached_property
    def fingerprint(self) -> str:
        parts = " ".join(part.fingerprint for part in (self.train, self.valid, self.test))
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    @cached_property
    def data_fingerprint(self) -> str:
        """The fingerprint of all three parts' pairs together: that of the data that were divided."""
        parts = (self.train, self.valid, self.test)
        return replace(self.train, users=torch.cat([part.users for part in parts]),
                       items=torch.cat([part.items for part in parts])).fingerprint

    def to(self, device) -> "Split":
        if self.train.users.device == torch.device(device):
            return self
        return replace(self, train=self.train.to(device), valid=self.valid.to(device), test=self.test.to(device))

    def __repr__(self) -> str:
        return (f"Split({self.name}, {self.protocol!r}, seed {self.seed}: {self.n_users} users × {self.n_items} items, "
                f"{len(self.train)} train, {len(self.valid)} valid, {len(self.test)} test)")

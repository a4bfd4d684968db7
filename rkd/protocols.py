"""How a data set is divided into train, valid and test. A protocol is one function, in PROTOCOLS.

Each takes a Log and a generator of random numbers, and returns two masks of the log's pairs, bool [n]: those that
validate and those that are tested on; the others are trained on. Each raises ValueError where a part that it promises
would be empty.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Masks = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Log:
    """What is divided: different pairs in order of user and item, so that no result depends on the order of a file.

    users, items : [n] int64.
    counts : [n_users], how many pairs each user has.
    times  : [n] numbers, when each pair came about, or None.
    given  : [n], the part in which the publisher ships each pair (0 train, 1 valid, 2 test), or None.
    valid_users : share of the users whose held-out items validate under "unkd".
    name   : the data set's, for messages.
    """

    users: np.ndarray
    items: np.ndarray
    counts: np.ndarray
    times: np.ndarray | None = None
    given: np.ndarray | None = None
    valid_users: float = 0.5
    name: str = "data"

    def place(self, by: np.ndarray | None = None) -> np.ndarray:
        """Each pair's place, from 0, in its user's list in order of ``by`` [n], and where that is equal or None, of the
        item: [n]."""
        order = np.arange(len(self.users)) if by is None else np.lexsort((by, self.users))
        place = np.empty(len(self.users), dtype=np.int64)
        place[order] = np.arange(len(self.users)) - np.repeat(np.cumsum(self.counts) - self.counts, self.counts)
        return place

    @property
    def tenth(self) -> np.ndarray:
        """⌊10 %⌋ of the pairs' user's list, but 1 at least for users with three items or more, else 0: [n]."""
        return np.where(self.counts >= 3, np.maximum(self.counts // 10, 1), 0)[self.users]

    def held_out(self, protocol: str, valid: np.ndarray, test: np.ndarray, needs: str) -> Masks:
        """The masks. Raises ValueError, which says what the protocol ``needs``, where one of them is empty."""
        for part, mask in (("validation", valid), ("test", test)):
            if not mask.any():
                raise ValueError(f"the split {protocol!r} of {self.name} leaves no pair for {part}: it needs {needs}; "
                                 f"the users here have up to {self.counts.max()} items. \"all\" keeps every pair for "
                                 "training (which then takes epochs=)")
        return valid, test


def unkd(log: Log, rng: np.random.Generator) -> Masks:
    """⌈20 %⌉ of each user's items are held out at random; then whole users' held-out sets go to validation, a share
    ``valid_users`` of the users, or to test, the rest.                                     (UnKD's released code)"""
    place, counts = log.place(rng.random(len(log.users))), log.counts
    held_out = place < np.minimum(-(-counts // 5), np.maximum(counts - 1, 0))[log.users]
    validates = np.zeros(len(counts), dtype=bool)
    validates[rng.permutation(len(counts))[:int(log.valid_users * len(counts))]] = True
    validates = validates[log.users]
    return log.held_out("unkd", held_out & validates, held_out & ~validates,
                        f"users with 2 items or more, both among the {log.valid_users:.0%} who validate and among the "
                        "others")


def ratio(log: Log, rng: np.random.Generator) -> Masks:
    """8 : 1 : 1 at random within each user; at least one item to each of validation and test for users with three items
    or more. Ours: MKD's paper has the ratio, its authors' code another division ("kds")."""
    place, n_each = log.place(rng.random(len(log.users))), log.tenth
    return log.held_out("ratio", place < n_each, (place >= n_each) & (place < 2 * n_each), "users with 3 items or more")


def time(log: Log, rng: np.random.Generator) -> Masks:
    """The last tenth of each user's items is tested on, the tenth before validates; at least one item each for users
    with three items or more. Equal times are in order of the item's id. The seed changes nothing.

    Every user keeps a past, and no date divides users from each other: for one date that does, divide the data
    yourself and give the parts to rkd.load_split.
    """
    if log.times is None:
        raise ValueError(f"no times are known of {log.name}, so it cannot be divided by \"time\": rkd.load(…, "
                         "time_col=) names their column, or Interactions(…, times=) has them")
    after, n_each = log.counts[log.users] - 1 - log.place(log.times), log.tenth
    return log.held_out("time", (after >= n_each) & (after < 2 * n_each), after < n_each, "users with 3 items or more")


def kds(log: Log, rng: np.random.Generator) -> Masks:
    """Each user's list of n is sliced, not shuffled: train has the first max(⌊.8 n⌋, 1), validation those up to ⌊.9 n⌋,
    test the rest.                                             (the public code of MKD's authors, woriazzc/KDs)

    The list is in order of time where times are known; else in that of the items' ids, as CiteULike's publisher ships
    it. CiteULike's newest articles have the highest ids, so that 73.5 % of the test pairs are of items that nobody has
    in training (Split.cold_share). The seed changes nothing. (Of a user with one item, the code trains and tests on
    it; here it is trained on alone.)
    """
    place, n = log.place(log.times), log.counts[log.users]
    train = np.maximum(8 * n // 10, 1)
    test = place >= np.maximum(9 * n // 10, train)
    return log.held_out("kds", (place >= train) & ~test, test, "users with 6 items or more")


def given(log: Log, rng: np.random.Generator) -> Masks:
    """As the publisher ships it. Where there is no validation part, a tenth of each user's training items validates,
    drawn at random by the seed, at least one for users with three or more; the test part stays exactly as it is."""
    if log.given is None:
        raise ValueError(f"{log.name} has no train and test of its publisher's, which \"given\" takes: choose another "
                         "split, or give parts of your own to rkd.load_split")
    valid, test = log.given == 1, log.given == 2
    if not valid.any():
        trained = log.given == 0
        train = Log(log.users[trained], log.items[trained], np.bincount(log.users[trained], minlength=len(log.counts)))
        valid[trained] = train.place(rng.random(len(train.users))) < train.tenth
    return log.held_out("given", valid, test, "a test part, and users with 3 training items or more")


def everything(log: Log, rng: np.random.Generator) -> Masks:
    """Every pair is trained on, as for production: neither validation nor test."""
    none = np.zeros(len(log.users), dtype=bool)
    return none, none


PROTOCOLS: dict[str, Callable[[Log, np.random.Generator], Masks]] = {
    "unkd": unkd, "ratio": ratio, "time": time, "kds": kds, "given": given, "all": everything}

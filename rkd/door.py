"""The door for teachers from anywhere: rows in another order than the split's are noticed before the first epoch."""

import warnings

import numpy as np
import torch
from torch import Tensor

from .data import Interactions, Split
from .given import Given
from .models import Model
from .ranking import seen

N_PAIRS, CLEAR = 20_000, 5  # pairs drawn; standard errors that a difference needs to be one
BLOCK = 2048  # pairs scored at once
SHIFTS = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1)]  # of users' and items' rows, as padding leaves them


class TeacherWarning(UserWarning):
    """A teacher whose rows are probably not in the split's order."""


def warn_of_order(teacher: Model, split: Split) -> None:
    """Warn where a teacher tells the items that users have from others no better than with the users exchanged at
    random, or better with rows moved by one.

    Much of a teacher's AUC is the items' popularity, and stays where only the users are in another order: what the
    users' own rows add is what counts. Pairs are training pairs; for lists, which leave those out, of validation.
    """
    pairs = split.train if isinstance(teacher, Given) else split.valid
    if not len(pairs) or split.n_users < 2:
        return
    users, others, items = drawn(pairs, split)
    if not len(users):
        return
    own, chance = better(teacher, users, items), better(teacher, others, items)
    moved = [better(teacher, (users + u) % split.n_users, (items + i) % split.n_items) for u, i in SHIFTS]
    best = max(range(len(SHIFTS)), key=lambda k: float(moved[k].mean()))
    if clear(moved[best] - own, users, items):
        what = " and ".join(f"{side} rows" for side, by in zip(("user", "item"), SHIFTS[best]) if by)
        _warn(f"fits the data better with its {what} moved by one (AUC {float(moved[best].mean()):.2f}, not "
              f"{float(own.mean()):.2f}): a row that only pads, perhaps?")
    elif not clear(own - chance, users, items):
        _warn(f"tells a user's items from others no better than with the users exchanged (AUC {float(own.mean()):.2f} "
              f"and {float(chance.mean()):.2f}): its rows are probably in another order than the split's.")


def _warn(what: str) -> None:
    warnings.warn(f"the teacher {what} Rows that go by ids are put in order by rkd.Given((user_factors, item_factors), "
                  "user_ids=…, item_ids=…)", TeacherWarning, stacklevel=5)


def drawn(pairs: Interactions, split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs with a random unseen item each: users [n], other users [n], (their items, unseen items) [n, 2]; at most
    N_PAIRS, by a generator of their own, the same each time."""
    rng, device = np.random.default_rng(0), pairs.users.device

    def draw(below):
        return torch.from_numpy(rng.integers(0, below, N_PAIRS)).to(device)

    which = draw(len(pairs))
    users, items, unseen = pairs.users[which], pairs.items[which], draw(split.n_items)
    others = (users + 1 + draw(split.n_users - 1)) % split.n_users
    fresh = ~(seen(split.train, users, unseen[:, None])[:, 0] | (unseen == items))
    return users[fresh], others[fresh], torch.stack([items, unseen], 1)[fresh]


def better(teacher: Model, users: Tensor, items: Tensor) -> Tensor:
    """1 where a user's first item scores above the second, ½ where they are equal, else 0; its mean is the AUC: [n]."""
    scores = [teacher.scores(*some) for some in zip(users.split(BLOCK), items.split(BLOCK))]  # few rows in memory
    first, second = torch.cat(scores).unbind(1)
    return ((first > second).float() + (first >= second).float()) / 2


def clear(gain: Tensor, users: Tensor, items: Tensor) -> bool:
    """Whether the mean of ``gain`` [n] is above 0 by more than CLEAR standard errors. Gains of one user are alike, and
    so are those of one item, first or second: clustered by all three.     (Cameron, Gelbach and Miller, JBES 2011)"""
    rest = gain - gain.mean()

    def spread(of):
        return torch.zeros(int(of.max()) + 1, device=of.device).index_add_(0, of, rest).square().sum()

    variance = spread(users) + sum(map(spread, items.unbind(1))) - 2 * rest.square().sum()
    return float(gain.sum()) > CLEAR * float(variance.clamp(min=0).sqrt())

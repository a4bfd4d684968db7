"""Models that are what they are: factors or lists from elsewhere, and any model as it is now."""

from copy import copy

import torch
from torch import nn

from .alignment import in_rows, known_ids, listed, rows_for
from .arrays import matrix, whole
from .data import Split
from .device import neutral
from .foreign import read
from .kernels import DENSE, ItemLists, dots
from .models import MF, Model
from .ranking import finite_rows, largest, overflow, refuse_none, seen


class Given(Model):
    """A model that is what it is: factors whose inner products are its scores, taken as float32.

    source : (user factors [n_users, d], item factors [n_items, d]), arrays, tensors or tables from anywhere; a dict or
             .npz file of both as "users" and "items"; or a model of implicit, cornac, LensKit, LightFM or Surprise,
             whose biases become further columns (foreign.py). Factors larger than memory: two paths of .npy files, or
             one of a .safetensors file of "users" and "items", float32, in the split's order. They are mapped, and read
             row by row as they are wanted, by all methods but NKD with neighbours, FreqD, IR-RRD and DE with a teacher
             that trains along, which have a copy of the whole in memory.
    inputs : the same before any propagation, for models that have that; by default the factors.
    user_ids, item_ids : your id of each row, a list or a dict id → row. With them the rows may be in any order and more
             than a split has: they are put into the split's by value (``aligned``). A table's index, and the ids that a
             model keeps, count as such.

    Raises TypeError for anything else, ValueError for matrices of unequal width and ids that are not one a row.
    """

    @neutral()
    def __init__(self, source, inputs=None, *, user_ids=None, item_ids=None):
        users, items, *own = read(source)
        if users.dim() != 2 or items.dim() != 2 or users.shape[1] != items.shape[1]:
            raise ValueError("factors must be two matrices of equal width, [n_users, d] and [n_items, d], "
                             f"not {tuple(users.shape)} and {tuple(items.shape)}")
        self._factors = users, items
        self._inputs = self._factors if inputs is None else Given(inputs).factors()
        self.n_users, self.n_items = len(users), len(items)
        self.user_ids = own[0] if user_ids is None else in_rows(user_ids, self.n_users, "user")
        self.item_ids = own[1] if item_ids is None else in_rows(item_ids, self.n_items, "item")

    def factors(self):
        return self._factors

    def inputs(self):
        return self._inputs

    @neutral()
    def scores(self, users, items):
        u, v = self._factors
        if isinstance(items, ItemLists):
            found = dots(u, v, items)
            return found if users is None else found.index_select(0, users)
        u = u if users is None else u.index_select(0, users)
        if items.shape[1] * DENSE < self.n_items:
            return dots(u, v, ItemLists(items, self.n_items))
        return torch.cat([(u @ v.T).gather(1, some) for u, some in zip(u.split(256), items.split(256))])

    def aligned(self, split: Split) -> "Given":
        """The same with the split's users and items in the split's order. Where one without training pairs is not
        there, a user is the mean of the users, an item as the one that scores worst on the whole. Raises ValueError
        where one with training pairs is not there."""
        places = [None if ids is None else rows_for(split, side, ids)
                  for side, ids in (("user", self.user_ids), ("item", self.item_ids))]
        u, v = self._factors
        worst = int((v @ u.mean(0)).argmin())

        def placed(table, side):
            if places[side] is None or torch.equal(places[side], torch.arange(len(table))):
                return table
            rows = places[side].to(table.device)
            unknown = table[worst] if side else table.mean(0)
            return torch.where(rows[:, None] < 0, unknown, table.index_select(0, rows.clamp(min=0)))

        given = self._changed(placed)
        given.n_users, given.n_items = map(len, given._factors)
        given.user_ids = given.item_ids = None
        return given

    def refuse_unusable(self, split: Split, role: str) -> None:
        """Raises ValueError for factors that are not finite, naming the split's users or items, or whose scores
        overflow."""
        for side, table in zip(("user", "item"), self._factors):
            if bool((bad := ~finite_rows(table)).any()):
                ids = known_ids(split, side)[bad.nonzero().flatten().cpu().numpy()]
                raise ValueError(f"the {role}'s factors of {len(ids)} {side}s hold NaN or infinity: {side} "
                                 f"{listed(ids.tolist())}. Give them rows of numbers (zeros, say)")
        if overflow(*self._factors):
            up_to = " and ".join(f"{largest(table):.0e}" for table in self._factors)
            raise ValueError(f"the {role}'s scores overflow, with factors up to {up_to}: divide them by a constant")

    def to(self, device):
        return self._changed(lambda table, _: table.to(device))

    def _changed(self, change) -> "Given":
        given = copy(self)
        given._factors = tuple(change(table, side) for side, table in enumerate(self._factors))
        same = self._inputs is self._factors
        given._inputs = given._factors if same else tuple(change(x, side) for side, x in enumerate(self._inputs))
        return given


class Lists(Model):
    """A teacher that is no inner product: a list of items for every user, with scores.

    items  : [n_users, L] whole numbers, a user's items, in any order; −1, or NaN, fills up shorter lists.
    scores : [n_users, L], the higher the better.
    n_items : size of the catalogue; not needed with item_ids.
    user_ids, item_ids : your id of each row, and of each number that ``items`` holds; as for Given.

    An item that is not in a user's list scores as the user's worst listed item. RD, CD, RRD, UnKD and SLD learn from
    lists; methods that need embeddings say so. Raises ValueError where shapes differ, a score is not finite, an item
    is no whole number, lies outside the catalogue or twice in a list, or a list is empty.
    """

    @neutral()
    def __init__(self, items, scores, n_items: int | None = None, *, user_ids=None, item_ids=None):
        (items, own_ids), (scores, _) = whole(items, "items", "user"), matrix(scores, "scores", "user")
        if items.dim() != 2 or items.shape != scores.shape or not items.shape[1]:
            raise ValueError(f"items and scores must be two matrices [n_users, L], not {tuple(items.shape)} and "
                             f"{tuple(scores.shape)}")
        if n_items is None and item_ids is None:
            raise TypeError("Lists needs n_items, the size of the catalogue, or item_ids, the id of each of its items")
        n_items = len(item_ids) if n_items is None else n_items
        self.user_ids = own_ids if user_ids is None else in_rows(user_ids, len(items), "user")
        self.item_ids = in_rows(item_ids, n_items, "item")
        absent = items < 0
        if not bool(scores[~absent].isfinite().all()):
            raise ValueError("a listed score is not a finite number")
        if bool((items >= n_items).any()):
            raise ValueError(f"item {int(items.max())} is listed, but there are {n_items}")
        if bool((empty := absent.all(1)).any()):
            raise ValueError(f"the list of user {_named(self.user_ids, int(empty.nonzero()[0]))} is empty "
                             f"({int(empty.sum())} such in all)")
        order = scores.masked_fill(absent, -torch.inf).sort(dim=1, descending=True, stable=True)
        self.n_users, self.n_items = len(items), n_items
        self.items = items.clamp(min=-1).gather(1, order.indices)  # best first, −1 at the end
        self.listed = order.values
        users = torch.arange(len(items), device=items.device)[:, None]
        keys = torch.where(self.items < 0, torch.iinfo(torch.int64).max, users * n_items + self.items)
        self._keys, self._place = keys.flatten().sort()
        same = (self._keys[1:] == self._keys[:-1]) & (self._keys[1:] < self.n_users * n_items)
        if bool(same.any()):
            twice = int(self._keys[1:][same][0])
            raise ValueError(f"user {_named(self.user_ids, twice // n_items)}'s list holds item "
                             f"{_named(self.item_ids, twice % n_items)} twice")
        self._floor = self.listed.masked_fill(self.items < 0, torch.inf).amin(1)  # [n_users]

    def scores(self, users, items):
        if isinstance(items, ItemLists):
            items = items.items.long() if users is None else items.items.index_select(0, users).long()
        if users is None:
            users = torch.arange(self.n_users, device=items.device)
        wanted = users[:, None] * self.n_items + items
        place = torch.searchsorted(self._keys, wanted).clamp(max=len(self._keys) - 1)
        found = self.listed.flatten()[self._place[place]]
        return torch.where(self._keys[place] == wanted, found, self._floor[users][:, None])

    def top(self, users, k, exclude, items=None):
        listed = self.items.index_select(0, users)
        usable = (listed >= 0) & ~seen(exclude, users, listed.clamp(min=0))
        if items is not None:
            refuse_none(items)
            usable &= torch.isin(listed, items)
            k = min(k, len(items))
        order = (~usable).long().argsort(dim=1, stable=True)  # the usable first, in their order
        ranked = torch.where(usable, listed, -1).gather(1, order)[:, :k]
        return nn.functional.pad(ranked, (0, k - ranked.shape[1]), value=-1)

    def aligned(self, split: Split) -> "Lists":
        """The same with the split's users and items in the split's order, without items that the split has not. Raises
        ValueError where one of the split's is not there, or a list has nothing left."""
        items, scores, n_items = self.items, self.listed, self.n_items
        if self.user_ids is not None:
            rows = rows_for(split, "user", self.user_ids).to(items.device)
            items = torch.where(rows[:, None] < 0, -1, items.index_select(0, rows.clamp(min=0)))
            scores = scores.index_select(0, rows.clamp(min=0))
        if self.item_ids is not None:
            places = rows_for(split, "item", self.item_ids).to(items.device)
            number = items.new_full((n_items + 1,), -1)  # the last for those that are not there
            number[places] = torch.arange(len(places), device=items.device)
            number[-1] = -1
            items, n_items = number[items], len(places)
        named = known_ids(split, "user") if len(items) == split.n_users else None  # in errors
        lists = Lists(items, scores, n_items, user_ids=named)
        lists.user_ids = None
        return lists

    def to(self, device):
        return Lists(self.items.to(device), self.listed.to(device), self.n_items, user_ids=self.user_ids,
                     item_ids=self.item_ids)


def _named(ids, row: int):
    """A row's id; its number where it has none."""
    return row if ids is None else ids[row]


def fixed(model, split: Split, device=None, role: str = "model") -> Model:
    """A model as it is now, of the split's users and items in its order, on its device or the one given: Given or
    Lists.

    model : Given or Lists; a model with factors(), of rkd or of your own, or what one was trained into (a Fit, a
            Result); or whatever Given takes. role : how to call it in errors.
    Raises TypeError for anything else, and ValueError where users or items are not the split's.
    """
    model = model.model if isinstance(getattr(model, "model", None), Model) else model
    if isinstance(model, (Given, Lists)):
        found = model
    elif callable(getattr(model, "factors", None)) and not isinstance(model, type):
        found = Given(model.factors(), model.inputs() if hasattr(model, "inputs") else None)
    else:
        found = Given(model)
    if found.user_ids is not None or found.item_ids is not None:
        try:
            found = found.aligned(split)
        except ValueError as error:
            raise ValueError(f"the {role} does not fit the split: {error}") from error
    same_sizes(found, split, role)
    if isinstance(found, Given) and (role == "teacher" or not isinstance(model, MF)):
        found.refuse_unusable(split, role)  # of one that is being trained, training says more
    return found.to(split.train.users.device if device is None else device)


def same_sizes(model, split: Split, role: str = "model") -> None:
    """Raises ValueError where a model has not as many users and items as the split."""
    if (model.n_users, model.n_items) != (split.n_users, split.n_items):
        padded = {model.n_users - split.n_users, model.n_items - split.n_items} <= {0, 1}
        hint = "; leave out the row that only pads, the first" if padded else ""
        raise ValueError(f"the {role} is of {model.n_users} users and {model.n_items} items, the split of "
                         f"{split.n_users} and {split.n_items}{hint}. Rows that go by ids: "
                         "rkd.Given((users, items), user_ids=…, item_ids=…)")

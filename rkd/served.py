"""A model that needs nothing but itself: it knows users and items by their own ids, recommends, folds new users in, and
is saved, loaded and exported."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import archive
from .data import Interactions, Split
from .device import neutral
from .export import EXPORTS
from .fold_in import FoldIn
from .given import Given, fixed
from .limits import plain, whole

Scored = list[tuple[object, float]]  # items' ids with their scores, best first


class Served(Given):
    """A model with ids and with what each user has seen; ``serve`` makes one, ``load_model`` reads one.

    It is taken wherever a model is: by evaluate, by distill as a teacher.

    seen  : the pairs that it was trained on, with the users' and items' ids (row numbers where there are none).
    about : where it comes from, plain values.
    Raises ValueError where factors and pairs are of different sizes, or an id is there twice.
    """

    def __init__(self, factors, seen: Interactions, inputs=None, about: dict | None = None):
        users, items = map(len, factors)
        super().__init__(factors, inputs, user_ids=np.arange(users) if seen.user_ids is None else seen.user_ids,
                         item_ids=np.arange(items) if seen.item_ids is None else seen.item_ids)
        if (self.n_users, self.n_items) != (seen.n_users, seen.n_items):
            raise ValueError(f"the model is of {self.n_users} users and {self.n_items} items, the pairs are of "
                             f"{seen.n_users} and {seen.n_items}")
        self.seen, self.about = seen, about or {}

    @neutral()
    def recommend(self, user=None, k: int = 10, *, items: Iterable | None = None,
                  exclude_seen: bool = True) -> Scored | dict[object, Scored]:
        """The k best items of a user, as a list of (item's id, score), best first; shorter where there are no more.

        user  : the user's id; or several, in a list, an array, a Series: then a dict, id → list.
        items : instead of a user, the ids of the items that a new user chose (see ``fold_in``).
        exclude_seen : leave out what the user was trained on, or chose.

        Raises ValueError for an unknown id, and for a k that is no whole number of 1 or more.
        """
        k = whole("k", k)
        if (user is None) == (items is None):
            raise ValueError("recommend takes a user's id, or items=[…] that a new user chose: one of the two")
        if items is not None:
            chosen = self._chosen(items)
            return self._best(self._fold(chosen), chosen, torch.zeros(1, dtype=torch.int64), k, exclude_seen)[0]
        user = plain(user)
        several = not isinstance(user, str) and isinstance(user, Iterable)
        users = [plain(one) for one in user] if several else [user]
        rows = torch.tensor([self._row("user", one) for one in users], dtype=torch.int64)
        lists = self._best(self.factors()[0], self.seen, rows, k, exclude_seen)
        return dict(zip(users, lists)) if several else lists[0]

    @neutral()
    def fold_in(self, items: Iterable) -> Tensor:
        """A vector for a new user who chose these items, by their ids: [d], to score items as the trained users' do.
        See FoldIn. Raises ValueError for an unknown id, or no item."""
        return self._fold(self._chosen(items))[0]

    def save(self, path) -> None:
        """Write it into a file, from which ``load_model`` makes it again.

        The file is a safetensors file, of ``user_factors`` [n_users, d] and ``item_factors`` [n_items, d], ``user_ids``
        and ``item_ids`` (numbers; text as ``user_ids.json``, the UTF-8 of a JSON list; none where there are none),
        ``seen_offsets`` and ``seen_items`` (user u's, by row, are seen_items[seen_offsets[u]:seen_offsets[u + 1]]),
        and ``user_inputs``, ``item_inputs`` where these are not the factors.
        """
        archive.write(Path(path), self.arrays(), self.about)

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file holds of it, by name (see ``save``)."""
        tables = {"user_factors": self.factors()[0], "item_factors": self.factors()[1]}
        if self.inputs() is not self.factors():
            tables |= {"user_inputs": self.inputs()[0], "item_inputs": self.inputs()[1]}
        tables |= dict(zip(("seen_offsets", "seen_items"), self.seen.csr))
        return ({name: table.cpu().numpy() for name, table in tables.items()}
                | archive.of_ids("user_ids", self.seen.user_ids) | archive.of_ids("item_ids", self.seen.item_ids))

    def export(self, path) -> None:
        """Write it for other programs, by the path's ending.

        .npz   : the arrays of ``save``, text ids as arrays of text; numpy.load(path) reads it, without pickle.
        .safetensors : as ``save``.
        .faiss : an IndexFlatIP of the items' factors; the ids of its rows beside it, in PATH.ids.json. A user's vector
                 is its row of ``factors()[0]``, or ``fold_in``.

        Raises ValueError for another ending, ids that an array cannot hold, or where faiss is not installed.
        """
        path = Path(path)
        if path.suffix not in EXPORTS:
            raise ValueError(f"{path} must end in {', '.join(EXPORTS)}")
        EXPORTS[path.suffix](self, path)

    def aligned(self, split: Split) -> Given:
        """See Given; what each user has seen is left behind."""
        return Given(self.factors(), self.inputs(), user_ids=self.user_ids, item_ids=self.item_ids).aligned(split)

    def to(self, device) -> "Served":
        def moved(tables):
            return [table.to(device) for table in tables]
        inputs = None if self.inputs() is self.factors() else moved(self.inputs())
        return Served(moved(self.factors()), self.seen.to(device), inputs, self.about)

    def __repr__(self) -> str:
        return f"Served({self.n_users} users × {self.n_items} items, d={self.factors()[0].shape[1]}, {self.about})"

    @cached_property
    def _rows(self) -> dict[str, dict]:
        """"user" and "item" → {id: row}."""
        found = {}
        for role, ids in (("user", self.user_ids), ("item", self.item_ids)):
            found[role] = {plain(one): row for row, one in enumerate(ids.tolist())}
            if len(found[role]) < len(ids):
                raise ValueError(f"{len(ids) - len(found[role])} {role} ids stand for more than one {role}")
        return found

    def _row(self, role: str, one) -> int:
        known, one = self._rows[role], plain(one)
        try:
            row = None if isinstance(one, bool) else known.get(one)
        except TypeError:  # a list, say
            row = None
        if row is None:
            way = "; for a new user: recommend(items=[…]), the items that it chose" if role == "user" else ""
            raise ValueError(f"{role} {one!r} is none of the {len(known)} that the model knows, such as "
                             f"{next(iter(known), 'none')!r}{way}")
        return row

    def _chosen(self, items: Iterable) -> Interactions:
        """The one new user who chose these items."""
        if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
            raise ValueError(f"items must be a list of items' ids, not {items!r}")
        rows = torch.tensor(sorted({self._row("item", one) for one in items}), dtype=torch.int64)
        if not len(rows):
            raise ValueError("items is empty: a new user is known by what it chose")
        return Interactions(1, self.n_items, torch.zeros_like(rows), rows).to(self.factors()[1].device)

    @cached_property
    def _fold(self) -> FoldIn:
        return FoldIn(*self.factors(), self.seen)

    def _best(self, vectors: Tensor, seen: Interactions, rows: Tensor, k: int, exclude_seen: bool) -> list[Scored]:
        """The k best items of these rows of the users' vectors [n, d]."""
        rows = rows.to(vectors.device)
        if not exclude_seen:
            seen = Interactions(seen.n_users, seen.n_items, rows[:0], rows[:0])
        model = Given((vectors, self.factors()[1]))
        lists = model.top(rows, min(k, self.n_items), seen)
        scores, ids = model.scores(rows, lists.clamp(min=0)).tolist(), self.item_ids
        return [[(plain(ids[item]), score) for item, score in zip(*row) if item >= 0]
                for row in zip(lists.tolist(), scores)]


@neutral()
def serve(model, split: Split, about: dict | None = None) -> Served:
    """A model with the split's ids and training pairs, on the CPU: to recommend from, save and export.

    model : as for evaluate. about : what else the file shall say of it. Raises ValueError for a model that has no
    factors, or of other sizes than the split's.
    """
    found = fixed(model, split, "cpu")
    factors, inputs = found.factors(), found.inputs()
    if all(map(torch.equal, factors, inputs)):
        inputs = None
    said = {"data": split.name, "split": f"{split.protocol}, seed {split.seed}", "fingerprint": split.fingerprint,
            "torch": torch.__version__}
    return Served([x.clone() for x in factors], split.train.to("cpu"), inputs and [x.clone() for x in inputs],
                  said | (about or {}))


@neutral()
def load_model(path) -> Served:
    """The model in a file that ``save`` wrote. Raises ValueError where the file is damaged or another."""
    arrays, about = archive.read(Path(path))
    about.pop("fit", None)  # load_fit's
    if "seen_offsets" not in arrays:
        raise ValueError(f"{path} holds a compressed model without ids: rkd.compress.load reads it")
    return served_of(arrays, about)


def served_of(arrays: dict[str, np.ndarray], about: dict) -> Served:
    tables = {name: torch.from_numpy(array) for name, array in arrays.items() if not name.endswith("ids")}
    factors, inputs = ([tables[f"{side}_{kind}"] for side in ("user", "item") if f"{side}_{kind}" in tables]
                       for kind in ("factors", "inputs"))
    n_users, n_items = map(len, factors)
    users = torch.arange(n_users).repeat_interleave(tables["seen_offsets"].diff())
    seen = Interactions(n_users, n_items, users, tables["seen_items"], about.get("data", "data"),
                        user_ids=archive.ids_of("user_ids", arrays), item_ids=archive.ids_of("item_ids", arrays))
    return Served(factors, seen, inputs or None, about)

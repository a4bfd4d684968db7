"""The papers' data sets by name, and your own from a file: ``load("ml-1m")``, ``load("ratings.csv")``.

A named data set is looked for in this order: the folder $RKD_DATA, the cache, its publisher's address, and for ml-100k
the copy inside RecBole's wheel. Whatever served it, its counts are checked, and where we have had the data in hand,
its fingerprint.
"""

import difflib
import os
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..data import Interactions
from ..files import cache_folder
from .fetch import SOURCE_ERRORS, Form, Source, data_folder, fetched
from .readers import DataError, read_file, read_lists, read_ratings, read_reviews, read_table
from .synthetic import interactions

__all__ = ["CATALOG", "DataError", "DataSet", "load", "statistics"]


# --------------------------------------------------------------------------------------------------------- assembly

def assemble(parts: dict[Path, pd.DataFrame], name: str, min_items: int = 1, valid_users: float = 0.5) -> Interactions:
    """Put the pairs of one or more files together, number their ids, and leave out users with less than ``min_items``.

    Ids become 0…n - 1 in sorted order: in numeric order if all are whole numbers, else as strings.
    Raises DataError for missing ids, for a pair given twice, and if nothing is left.
    """
    files = " and ".join(map(str, parts))
    for path, part in parts.items():
        if (missing := part.isna().any(axis=1).to_numpy()).any():
            raise DataError(f"{path}, {part.index.name} {part.index[missing][0]}: user or item is missing "
                            f"(empty or NaN; {missing.sum()} such in all): fill it in or drop it")
    pairs = pd.concat(parts.values(), ignore_index=True)
    if pairs.empty:
        raise DataError(f"{files}: no pairs in it")

    (users, user_ids), (items, item_ids) = _number(pairs["user"]), _number(pairs["item"])
    repeated = pd.Series(users * len(item_ids) + items).duplicated().to_numpy()
    if repeated.any():
        first = repeated.argmax()
        raise DataError(f"{_place(parts, first)}: user {user_ids[users[first]]} and item {item_ids[items[first]]} are "
                        f"given before ({repeated.sum()} repeats in all): drop them, for example with pandas' "
                        "drop_duplicates on the two columns")

    kept = np.bincount(users)[users] >= min_items
    if not kept.any():
        raise DataError(f"{files}: no user with {min_items} items or more")
    if not kept.all():
        kept_users, users = np.unique(users[kept], return_inverse=True)
        kept_items, items = np.unique(items[kept], return_inverse=True)
        user_ids, item_ids = user_ids[kept_users], item_ids[kept_items]
    return Interactions(len(user_ids), len(item_ids), torch.from_numpy(users), torch.from_numpy(items), name,
                        valid_users, user_ids, item_ids)


def _number(ids: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """(numbers, originals): each id's number, int64 [n_pairs], and the sorted ids it indexes.

    "7.0" counts as the whole number 7; but "007", and numbers of more than 18 digits, make all ids strings.
    """
    codes, names = pd.factorize(ids)
    names = pd.Series(names).astype(str)
    numbers = names.str.strip().str.removesuffix(".0")
    if numbers.str.fullmatch("0|-?[1-9][0-9]{0,17}").all():
        names = numbers.astype("int64").to_numpy()
    else:
        names = np.array(names.tolist(), dtype=str)
    originals, place = np.unique(names, return_inverse=True)
    return place[codes], originals


def _place(parts: dict[Path, pd.DataFrame], pair: int) -> str:
    """File and line of a pair, counted over all parts."""
    for path, part in parts.items():
        if pair < len(part):
            return f"{path}, {part.index.name} {part.index[pair]}"
        pair -= len(part)


# ---------------------------------------------------------------------------------------------------------- catalog

@dataclass(frozen=True)
class DataSet:
    """What a data set is, what it must come to, and the forms it comes in, the first to look for first.

    Attributes
    ----------
    page : where its publisher describes it, and where to download it by hand.
    users, items, interactions : the counts published for it, after the filter by ``min_items``.
    fingerprint : of the data as we load them; None where we have not had the data in hand.
    valid_users : share of the users whose held-out items validate under UnKD's protocol (its released code).
    filter_known : False where the papers do not say fully how they came to the counts: a mismatch then only warns.
    """

    title: str
    citation: str
    page: str
    users: int
    items: int
    interactions: int
    forms: tuple[Form, ...]
    min_items: int = 1
    fingerprint: str | None = None
    valid_users: float = 0.5
    filter_known: bool = True

    @property
    def verified(self) -> bool:
        """Whether these counts have been seen to come out of the data."""
        return self.fingerprint is not None

    def check(self, found: Interactions) -> None:
        """Raise DataError where counts or fingerprint are not as published; warn if the filter is not fully known."""
        counts = (found.n_users, found.n_items, len(found))
        published = (self.users, self.items, self.interactions)
        if counts != published:
            message = (f"{self.title} comes to {counts[0]} users, {counts[1]} items and {counts[2]} interactions, "
                       f"but {published[0]}, {published[1]} and {published[2]} are published")
            if self.filter_known:
                raise DataError(message)
            warnings.warn(f"{message}: the papers do not state their filter fully; results may not compare",
                          stacklevel=5)
        elif self.verified and found.fingerprint != self.fingerprint:
            raise DataError(f"{self.title} has the published counts but other pairs: fingerprint {found.fingerprint}, "
                            f"not {self.fingerprint}")


def _table(name: str) -> Form:
    """The form in which any data set may lie in $RKD_DATA: a table with a header "user_id", "item_id"."""
    return Form((f"{name}/interactions.tsv",), partial(read_table, separator="\t"))


CATALOG = {
    "ml-100k": DataSet(
        "MovieLens-100K", "Harper and Konstan, The MovieLens Datasets, ACM TiiS 5 (4), 2015",
        "https://grouplens.org/datasets/movielens/100k/", 943, 1682, 100_000,
        (Form(("ml-100k/u.data",), partial(read_ratings, separator="\t", columns=(0, 1)),
              (Source("https://files.grouplens.org/datasets/movielens/ml-100k.zip",
                      "md5:0e33842e24a9c977be4e0107933c0723", "ml-100k/u.data"),)),
         Form(("ml-100k/ml-100k.inter",), partial(read_table, separator="\t"),
              (Source("recbole==1.2.1",
                      "sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                      "recbole/dataset_example/ml-100k/ml-100k.inter"),)),
         _table("ml-100k")),
        fingerprint="738414698dc62ce7"),
    "ml-1m": DataSet(
        "MovieLens-1M", "Harper and Konstan, The MovieLens Datasets, ACM TiiS 5 (4), 2015",
        "https://grouplens.org/datasets/movielens/1m/", 6040, 3706, 1_000_209,
        (Form(("ml-1m/ratings.dat",), partial(read_ratings, separator=":", columns=(0, 2)),  # "::" is two
              (Source("https://files.grouplens.org/datasets/movielens/ml-1m.zip",
                      "md5:c4d9eecfca2ab87c1945afe126590906", "ml-1m/ratings.dat"),)),
         _table("ml-1m")),
        fingerprint="cc9d853fa9f46896"),
    "citeulike": DataSet(
        "CiteULike-t", "Wang, Chen and Li, Collaborative Topic Regression with Social Regularization, IJCAI 2013",
        "https://github.com/changun/CollMetric/tree/master/citeulike-t", 5219, 25_181, 125_580,
        (Form(("citeulike-t/users.dat",), partial(read_lists, counted=True),
              (Source("https://raw.githubusercontent.com/changun/CollMetric/master/citeulike-t/users.dat",
                      "sha256:02d5d429b2c0362e0ed79f6ef204666b4092563d21493abf4dfb521e8a7078bf"),)),
         _table("citeulike")),
        min_items=5, valid_users=0.2, fingerprint="87e5335163447fc0"),
    "gowalla": DataSet(
        "Gowalla", "He et al., LightGCN, SIGIR 2020; from Cho, Myers and Leskovec, KDD 2011",
        "https://github.com/gusye1234/LightGCN-PyTorch/tree/master/data/gowalla", 29_858, 40_981, 1_027_370,
        (Form(("gowalla/train.txt", "gowalla/test.txt"), partial(read_lists, counted=False),
              (Source("https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data/gowalla/train.txt"),
               Source("https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data/gowalla/test.txt"))),
         _table("gowalla"))),
    "apps": DataSet(
        "Amazon Apps for Android", "He and McAuley, Ups and Downs, WWW 2016",
        "https://jmcauley.ucsd.edu/data/amazon/", 3898, 11_797, 128_105,
        (Form(("apps/reviews_Apps_for_Android_5.json",), read_reviews,
              (Source("http://snap.stanford.edu/data/amazon/productGraph/categoryFiles/"
                      "reviews_Apps_for_Android_5.json.gz"),)),
         Form(("apps/ratings_Apps_for_Android.csv",), partial(read_table, separator=",", columns=(0, 1))),
         _table("apps")),
        min_items=20, filter_known=False),
}


# ---------------------------------------------------------------------------------------------------------- loading

def load(name_or_path: str | os.PathLike) -> Interactions:
    """A data set by name, or the (user, item) pairs of a file of your own.

    Names are those of CATALOG, and "synthetic". A file is .csv or .tsv (either may be .gz) or .parquet, with columns
    named user and item (or user_id and item_id, userId and itemId or movieId, RecBole's user_id:token), or without
    header with user and item first. Ids are numbered in sorted order; ``user_ids`` and ``item_ids`` keep the originals.

    Raises DataError, which says what to do, where the data cannot be found, fetched or read, hold a pair twice or an id
    not at all, or are not what was published under the name.
    """
    name = str(name_or_path)
    if name == "synthetic":
        return interactions()
    if name in CATALOG:
        return _load_named(name)
    path = Path(name_or_path).expanduser()
    if not os.path.lexists(path):
        names = [*CATALOG, "synthetic"]
        close = difflib.get_close_matches(name.lower(), names, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise DataError(f"there is no data set and no file {name!r}{hint}. Known data sets are {', '.join(names)}; "
                        "or give the path of a .csv, .tsv or .parquet file.")
    return assemble({path: read_file(path)}, path.name.removesuffix(".gz").rsplit(".", 1)[0])


def _load_named(name: str) -> Interactions:
    dataset, cache, tried = CATALOG[name], cache_folder() / "data", []
    places = [(cache, "delete it to fetch it again")]
    if folder := data_folder():
        places.insert(0, (folder, f"replace it by the publisher's, from {dataset.page}"))
    else:
        tried.append("RKD_DATA: not set")

    for folder, remedy in places:
        for form in dataset.forms:
            if paths := form.find(folder):
                try:
                    return _read(name, form, paths)
                except DataError as error:
                    raise DataError(f"{error}\n{' and '.join(map(str, paths))}: {remedy}") from None
        tried.append(f"{folder}: has none of {', '.join(' with '.join(form.files) for form in dataset.forms)}")

    for form in dataset.forms:
        if form.sources:
            try:
                with fetched(form, cache) as paths:
                    return _read(name, form, paths)
            except SOURCE_ERRORS as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                tried.append(f"{' with '.join(source.address for source in form.sources)}: {reason[:400]}")

    trials = "\n".join(f"- {line}" for line in tried)
    raise DataError(f"{name} is neither here nor can it be fetched. Tried:\n{trials}\n"
                    f"Download it from {dataset.page} and put {' and '.join(dataset.forms[0].files)} (each may be .gz) "
                    "into a folder that the environment variable RKD_DATA names.")


def _read(name: str, form: Form, paths: list[Path]) -> Interactions:
    """Read a form's files, put them together and check the result against the catalog."""
    dataset = CATALOG[name]
    found = assemble({path: form.read(path) for path in paths}, name, dataset.min_items, dataset.valid_users)
    dataset.check(found)
    return found


def statistics(interactions: Interactions) -> dict:
    """The numbers of users, items and interactions, the share of empty cells in percent, and the fingerprint."""
    cells = interactions.n_users * interactions.n_items
    return {"users": interactions.n_users, "items": interactions.n_items, "interactions": len(interactions),
            "sparsity_percent": round(100 * (1 - len(interactions) / cells), 2),
            "fingerprint": interactions.fingerprint}

"""The papers' data sets by name, and your own from a file: ``load("ml-1m")``, ``load("ratings.csv")``.

A named data set is looked for in this order: the folder $RKD_DATA, the cache, its publisher's address, and for ml-100k
the copy inside RecBole's wheel. Whatever served it, its counts are checked, and where we have had the data in hand,
its fingerprint.
"""

import difflib
import os
import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from numbers import Real
from pathlib import Path

from scipy import sparse

from ..data import Interactions
from ..files import cache_folder, expanded
from .assemble import assemble
from .columns import Wanted
from .errors import DataError, DataWarning
from .fetch import SOURCE_ERRORS, Form, Source, data_folder, fetched
from .objects import read_object
from .ratings import positives
from .readers import read_file, read_lists, read_ratings, read_reviews, read_table
from .synthetic import interactions

__all__ = ["CATALOG", "DataError", "DataSet", "DataWarning", "load", "statistics"]


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
                      "md5:0e33842e24a9c977be4e0107933c0723", "ml-100k/u.data",
                      ("http://files.grouplens.org/datasets/movielens/ml-100k.zip",)),)),  # its certificate may lapse
         Form(("ml-100k/ml-100k.inter",), partial(read_table, separator="\t"),
              (Source("recbole==1.2.1",
                      "sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                      "recbole/dataset_example/ml-100k/ml-100k.inter"),)),
         _table("ml-100k")),
        fingerprint="738414698dc62ce7"),
    "ml-1m": DataSet(
        "MovieLens-1M", "Harper and Konstan, The MovieLens Datasets, ACM TiiS 5 (4), 2015",
        "https://grouplens.org/datasets/movielens/1m/", 6040, 3706, 1_000_209,
        (Form(("ml-1m/ratings.dat",), partial(read_ratings, separator="::", columns=(0, 1)),
              (Source("https://files.grouplens.org/datasets/movielens/ml-1m.zip",
                      "md5:c4d9eecfca2ab87c1945afe126590906", "ml-1m/ratings.dat",
                      ("http://files.grouplens.org/datasets/movielens/ml-1m.zip",)),)),
         _table("ml-1m")),
        fingerprint="cc9d853fa9f46896"),
    "citeulike": DataSet(
        "CiteULike-t", "Wang, Chen and Li, Collaborative Topic Regression with Social Regularization, IJCAI 2013",
        "https://github.com/changun/CollMetric/tree/master/citeulike-t", 5219, 25_181, 125_580,
        (Form(("citeulike-t/users.dat",), partial(read_lists, counted=True),
              (Source("https://raw.githubusercontent.com/changun/CollMetric/master/citeulike-t/users.dat",
                      "sha256:02d5d429b2c0362e0ed79f6ef204666b4092563d21493abf4dfb521e8a7078bf",
                      mirrors=("https://raw.githubusercontent.com/js05212/citeulike-t/master/users.dat",)),)),
         _table("citeulike")),
        min_items=5, valid_users=0.2, fingerprint="87e5335163447fc0"),
    "gowalla": DataSet(
        "Gowalla", "He et al., LightGCN, SIGIR 2020; from Cho, Myers and Leskovec, KDD 2011",
        "https://github.com/gusye1234/LightGCN-PyTorch/tree/master/data/gowalla", 29_858, 40_981, 1_027_370,
        (Form(("gowalla/train.txt", "gowalla/test.txt"), partial(read_lists, counted=False),
              tuple(Source(f"https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data/gowalla/{file}",
                           mirrors=("https://raw.githubusercontent.com/xiangwang1223/neural_graph_collaborative_filtering"
                                    f"/master/Data/gowalla/{file}",)) for file in ("train.txt", "test.txt"))),
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

def load(source, *, threshold: float | None = None, repeats: str | None = None, user_col: Hashable = None,
         item_col: Hashable = None, rating_col: Hashable = None, time_col: Hashable = None, sep: str | None = None,
         header: bool | None = None) -> Interactions:
    """A data set by name, or the (user, item) pairs of a file or table of your own.

    Names are those of CATALOG, and "synthetic"; the arguments below are for your own data.

    source : the path of a file: .csv, .tsv, .inter, .txt, .dat or .data (each may be .gz, .bz2, .xz or .zip; of a zip
        with more files "archive.zip/name" is one), .parquet or a folder of Parquet parts; a .txt may hold a user and
        its items in each line. Or a DataFrame (pandas, Polars), what DuckDB or Arrow return, a dict of columns;
        (users, items), two arrays or lists; a list of pairs; a SciPy sparse matrix, whose rows and columns keep their
        numbers.
    threshold : keep the rows with a rating of so much or more. Without it every row is a positive, only of labels 0 and
        1 the ones; a DataWarning says so (warnings.simplefilter("ignore", rkd.DataWarning) silences it).
    repeats : "error" or "drop" the second of two equal pairs; by default "drop", and a DataWarning counts them, where
        there is a time, as in a log of clicks; else "error".
    user_col, item_col, rating_col, time_col : columns by name, or by place counted from 0. By default those with a name
        that is known for it (user, userId, customer_id, reviewerID, …); without a header user and item come first.
    sep, header : what separates a text's fields, and whether line 1 names them; by default what the text itself tells.

    Ids are numbered in sorted order; ``user_ids`` and ``item_ids`` keep the originals: int64 if all are whole numbers,
    else strings. Raises DataError, which says what to do, where the data cannot be found, fetched or read, hold a pair
    twice or an id not at all, or are not what was published under the name.
    """
    options = {name: value for name, value in dict(
        threshold=threshold, repeats=repeats, user_col=user_col, item_col=item_col, rating_col=rating_col,
        time_col=time_col, sep=sep, header=header).items() if value is not None}
    if threshold is not None and not isinstance(threshold, Real):
        raise ValueError(f"threshold must be a number, not {threshold!r}")
    if sep == "":
        raise ValueError("sep must be one character or more, None where the text itself is to tell")
    if repeats not in (None, "error", "drop"):
        raise ValueError(f"repeats must be 'error' or 'drop', not {repeats!r}")
    wanted, notes, name, size = Wanted(user_col, item_col, rating_col, time_col), [], "data", None
    if isinstance(source, (str, os.PathLike)):
        if (name := str(source)) == "synthetic" or name in CATALOG:
            if options:
                raise ValueError(f"{name} is read as published: {', '.join(options)} are for files of your own")
            return interactions() if name == "synthetic" else _load_named(name)
        path = _found(expanded(source))
        parts = read_file(path, wanted, sep, header, notes)
        name = path.name
        while (stem := Path(name)).suffix.lower() in ENDINGS:
            name = stem.stem
    else:
        if {"sep", "header"} & {*options}:
            raise ValueError("sep and header are for text, not for what is a table already")
        pairs = read_object(source, wanted, notes)
        parts = {f"the {type(source).__name__}": pairs}
        size = source.shape if sparse.issparse(source) else None
    repeats = repeats or ("drop" if any(part.timed for part in parts.values()) else "error")
    found = assemble(positives(parts, threshold, notes), name, repeats=repeats, notes=notes, size=size)
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    return found


ENDINGS = {".csv", ".tsv", ".inter", ".txt", ".dat", ".data", ".parquet", ".pq", ".gz", ".bz2", ".xz", ".zip"}


def _found(path: Path) -> Path:
    """The path of a file, a folder, or a file inside a zip. Raises DataError where there is none."""
    inside = any(parent.suffix.lower() == ".zip" and os.path.isfile(parent) for parent in path.parents)
    if inside or os.path.lexists(path):
        return path
    name, names = str(path), [*CATALOG, "synthetic"]
    close = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise DataError(f"there is no data set and no file {name!r}{hint}. Known data sets are {', '.join(names)}; "
                    "or give the path of a .csv, .tsv or .parquet file.")


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

"""The papers' data sets by name: what they are, and where they come from.

A named data set is looked for in this order: the folder $RKD_DATA, the cache, its publisher's address, and for ml-100k
the copy inside RecBole's wheel. Whatever served it, its counts are checked, and where we have had the data in hand,
its fingerprint.
"""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..data import Interactions
from ..files import cache_folder
from .assemble import assemble
from .errors import DataError
from .fetch import SOURCE_ERRORS, Form, Source, data_folder, fetched
from .readers import read_lists, read_ratings, read_reviews, read_table, read_titles
from .times import read_times


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
        (Form(("ml-100k/u.data",), partial(read_ratings, separator="\t", columns=(0, 1, 3)),
              (Source("https://files.grouplens.org/datasets/movielens/ml-100k.zip",
                      "md5:0e33842e24a9c977be4e0107933c0723", "ml-100k/u.data",
                      ("http://files.grouplens.org/datasets/movielens/ml-100k.zip",),  # its certificate may lapse
                      ("ml-100k/u.item",)),),
              titles=("ml-100k/u.item", partial(read_titles, separator="|", encoding="latin-1"))),
         Form(("ml-100k/ml-100k.inter",), partial(read_table, separator="\t"),
              (Source("recbole==1.2.1",
                      "sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                      "recbole/dataset_example/ml-100k/ml-100k.inter",
                      beside=("recbole/dataset_example/ml-100k/ml-100k.item",)),),
              titles=("ml-100k/ml-100k.item", partial(read_titles, separator="\t"))),
         _table("ml-100k")),
        fingerprint="738414698dc62ce7"),
    "ml-1m": DataSet(
        "MovieLens-1M", "Harper and Konstan, The MovieLens Datasets, ACM TiiS 5 (4), 2015",
        "https://grouplens.org/datasets/movielens/1m/", 6040, 3706, 1_000_209,
        (Form(("ml-1m/ratings.dat",), partial(read_ratings, separator="::", columns=(0, 1, 3)),
              (Source("https://files.grouplens.org/datasets/movielens/ml-1m.zip",
                      "md5:c4d9eecfca2ab87c1945afe126590906", "ml-1m/ratings.dat",
                      ("http://files.grouplens.org/datasets/movielens/ml-1m.zip",),
                      ("ml-1m/movies.dat",)),),
              titles=("ml-1m/movies.dat", partial(read_titles, separator="::", encoding="latin-1"))),
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
                                    f"/master/Data/gowalla/{file}",)) for file in ("train.txt", "test.txt")),
              given=(0, 2)),
         _table("gowalla")),
        fingerprint="fceee8aec39f701f"),
    "apps": DataSet(
        "Amazon Apps for Android", "He and McAuley, Ups and Downs, WWW 2016",
        "https://jmcauley.ucsd.edu/data/amazon/", 3898, 11_797, 128_105,
        (Form(("apps/reviews_Apps_for_Android_5.json",), read_reviews,
              (Source("http://snap.stanford.edu/data/amazon/productGraph/categoryFiles/"
                      "reviews_Apps_for_Android_5.json.gz"),)),
         Form(("apps/ratings_Apps_for_Android.csv",), partial(read_table, separator=",", columns=(0, 1, 3))),
         _table("apps")),
        min_items=20, filter_known=False),
}


def load_named(name: str) -> Interactions:
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
    parts = {path: form.read(path) for path in paths}
    read_times(parts, False, [])
    found = assemble({path: part.frame for path, part in parts.items()}, name, dataset.min_items, dataset.valid_users,
                     given=form.given)
    dataset.check(found)
    return found


def titles(name: str) -> dict[int, str] | None:
    """The items' titles by the publisher's ids, from a file that lies with the data in $RKD_DATA or in the cache; None
    where there is none that can be read, or the data set is none of CATALOG."""
    forms = CATALOG[name].forms if name in CATALOG else ()
    with suppress(DataError, OSError):
        for folder in filter(None, (data_folder(), cache_folder() / "data")):
            for file, read in filter(None, (form.titles for form in forms)):
                if path := next((path for path in (folder / file, folder / f"{file}.gz") if path.is_file()), None):
                    return read(path)
    return None


def statistics(interactions: Interactions) -> dict:
    """The numbers of users, items and interactions, the share of empty cells in percent, and the fingerprint."""
    cells = interactions.n_users * interactions.n_items
    return {"users": interactions.n_users, "items": interactions.n_items, "interactions": len(interactions),
            "sparsity_percent": round(100 * (1 - len(interactions) / cells), 2),
            "fingerprint": interactions.fingerprint}

"""Which column is the user, which the item, which a rating, which a time: by known names or by the caller's word.

A name stands for the same whatever its case and punctuation: "User-ID", "user_id", "userId" and RecBole's
"user_id:token". Of several columns for the user, an id goes before a name, "user" before other words; where that does
not decide, the caller has to.
"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from .errors import DataError
from .ids import ABSENT

# In order: the plain word, others, and those that count only where none of the others is there.
USERS = (("user",),
         ("customer", "cust", "member", "visitor", "reviewer", "shopper", "buyer", "client", "household", "listener",
          "viewer", "reader", "consumer", "subscriber", "rater", "player", "patron", "msno"),
         ("account", "person", "profile", "author", "steam", "session", "device", "cookie", "email", "login", "handle"))
ITEMS = (("item",),
         ("movie", "film", "product", "prod", "article", "track", "song", "artist", "business", "book", "isbn", "asin",
          "parentasin", "sku", "stockcode", "goods", "game", "app", "video", "anime", "manga", "beer", "wine", "recipe",
          "restaurant", "hotel", "course", "job", "show", "poi", "venue", "place", "news", "paper", "photo", "podcast",
          "gmap", "bookmark", "subreddit", "musicbrainzartist", "ad", "offer", "coupon", "listing", "property",
          "creative", "content"),
         ("post", "story", "page", "document", "doc", "thread", "location", "url", "merchant", "brand"))
WHOLE = {"uid": "user", "iid": "item", "username": "user_name", "beerbeerid": "beer_id",
         "reviewprofilename": "profile_name", "traid": "track_id", "artid": "artist_id"}
ID = "id|ids|uuid|guid|uid|key|no|nr|num|number|code|idx|index|hash|sha1|mboxsha1|mbid|token"
NAME = "name|title|nickname|email|login"
RATINGS = ("rating", "ratings", "rate", "rated", "stars", "star", "score", "scores", "overall", "preference", "label",
           "labels", "target", "feedback", "click", "clicks", "clicked", "like", "likes", "liked", "positive",
           "relevance", "purchased", "bought", "grade", "vote", "votes", "sentiment", "reward", "response")
COUNTS = re.compile("(n|num|number|numberof)?(play|click|listen|view|purchase|order|visit|watch|interaction)s?(counts?|"
                    "s)|counts?|weights?|freq|frequency|strength|values?|hours|playtime|quantity|qty|watchratio|playduration")
NO_RATING = {"id", "ids", "time", "timestamp", "date", "datetime", "at", "count", "avg", "average", "mean", "num",
             "number", "text", "by", "name", "title", "url", "type", "ts"}
TIMES = {"time", "timestamp", "timestamps", "ts", "date", "datetime", "tstamp", "dat", "utc"}
DURATIONS = {"spent", "total", "watch", "play", "dwell", "duration", "reading", "zone"}


@dataclass(frozen=True)
class Places:
    """Where the columns of a table stand, counted from 0; rating and time may be None. ``others``: further ratings."""

    user: int
    item: int
    rating: int | None = None
    time: int | None = None
    others: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """The columns that the caller named, by name or by place counted from 0; None where they are to be found."""

    user: Hashable = None
    item: Hashable = None
    rating: Hashable = None
    time: Hashable = None

    def fits(self, names: Sequence) -> bool:
        """Whether a line that may be a header is one by its names: those that the caller gave, or of user and item the
        ones that he left open, or, if he gave both by place, at least one."""
        if any(isinstance(column, str) for column in (self.user, self.item, self.rating, self.time)):
            return True
        known = {role: _is_known(names, words, role) for role, words in (("user", USERS), ("item", ITEMS))}
        open_ = [known[role] for role, column in (("user", self.user), ("item", self.item)) if column is None]
        return all(open_) if open_ else any(known.values())

    def among(self, names: Sequence, where: str, hint: str = "") -> Places:
        """The places of the columns with these names. Raises DataError, with ``hint`` for what else there is to do,
        where user or item cannot be told."""
        user, item = (_given(column, names, where, f"{role}_col") if column is not None else
                      _find(names, words, where, role)
                      for role, column, words in (("user", self.user, USERS), ("item", self.item, ITEMS)))
        if user is None or item is None:
            raise DataError(f"{where}: a header needs columns 'user' and 'item', but names "
                            f"{', '.join(map(str, names)) or 'none'}: rename them, or name them by user_col= and "
                            f"item_col={hint}")
        ratings = [place for place in find_ratings(names) if place not in (user, item)]
        if self.rating is not None:
            ratings = [_given(self.rating, names, where, "rating_col")]
        time = next((place for place, name in enumerate(names) if is_time(name)), None)
        if self.time is not None:
            time = _given(self.time, names, where, "time_col")
        return _apart(Places(user, item, ratings[0] if ratings else None, time, ratings[1:]), where)

    def without_names(self, width: int, where: str) -> Places:
        """The places in a table without header: user and item first, unless the caller says otherwise."""
        asked = {"user_col": 0 if self.user is None else self.user, "item_col": 1 if self.item is None else self.item,
                 "rating_col": self.rating, "time_col": self.time}
        for argument, place in asked.items():
            if place is not None and (not _is_place(place) or not 0 <= place < width):
                raise DataError(f"{where}: {argument}={place!r}, but there is no header, and columns go by number, "
                                f"0 to {width - 1}")
        return _apart(Places(*asked.values()), where)


def _apart(places: Places, where: str) -> Places:
    if places.user == places.item:
        raise DataError(f"{where}: user and item are the same column; tell them apart by user_col= and item_col=")
    return places


def _is_place(column) -> bool:
    return hasattr(column, "__index__") and not isinstance(column, bool)


def _given(column, names: Sequence, where: str, argument: str) -> int:
    """The place of a column that the caller named: by its name, as it stands or as we read names, or by its place."""
    for same in (lambda name: name == column, lambda name: isinstance(column, str) and plain(name) == plain(column)):
        places = [place for place, name in enumerate(names) if same(name)]
        if len(places) == 1:
            return places[0]
        if places:
            raise DataError(f"{where}: {len(places)} columns are called {column!r}: give the place of one, "
                            f"{argument}={places[0]}")
    if _is_place(column) and 0 <= column < len(names):
        return int(column)
    raise DataError(f"{where}: {argument}={column!r} is none of the columns {', '.join(map(str, names))}")


def plain(name) -> str:
    """"User-ID", "user_id:token" and "review/userId" → "userid"."""
    name = re.sub(r":(token|float|token_seq|float_seq)$", "", str(name).strip()).split(":")[0]
    return re.sub(r"\W|_", "", re.split(r"[/.]", name)[-1].lower())


def words_of(name) -> list[str]:
    """"reviewScore_2" → ["review", "score", "2"]."""
    name = re.sub(r":\w+$", "", str(name).strip())
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def _find(names: Sequence, words: tuple[tuple[str, ...], ...], where: str, role: str) -> int | None:
    """The place of the best column for a role; None if there is none. DataError where two different ones are as good.

    First the plain word's ids, then others', then names ("user_name") in the same order.
    """
    found = []
    for place, name in enumerate(names):
        text = plain(name)
        text = WHOLE.get(text, text).replace("_", "")
        for rank, group in enumerate(words):
            if match := re.fullmatch(f"({'|'.join(group)})s?(?:({ID})|({NAME}))?", text):
                word, identifier, called = match.groups()
                found.append(((called is not None, rank), {"id": 0, None: 2}.get(identifier, 1), word, place))
                break
        else:
            if role == "item" and text in ("title", "name"):
                found.append(((True, len(words)), 2, text, place))
    if not found:
        return None
    best = min(found)[0]
    tied = [entry[1:] for entry in found if entry[0] == best]
    first = min(tied)
    rivals = [place for entry in tied for place in entry[2:] if entry[1] != first[1] or entry[0] == first[0]]
    if len(rivals) > 1:
        raise DataError(f"{where}: each of {', '.join(repr(str(names[place])) for place in rivals)} may be the {role}: "
                        f"say which by {role}_col=")
    return first[2]


def _is_known(names: Sequence, words: tuple[tuple[str, ...], ...], role: str) -> bool:
    try:
        return _find(names, words, "", role) is not None
    except DataError:  # there are two
        return True


def find_ratings(names: Sequence) -> list[int]:
    """The places of the columns that by their names hold ratings, labels or counts, the likeliest first."""
    found = []
    for place, name in enumerate(names):
        words = [re.sub(r"^(is)(?=[a-z]{4})|^\w+(?=(rating|score|star|label)s?$)", "", word) for word in words_of(name)]
        if not NO_RATING & set(words) and (ranks := [RATINGS.index(word) for word in words if word in RATINGS]):
            found.append((min(ranks), place))
        elif COUNTS.fullmatch(plain(name)):
            found.append((len(RATINGS), place))
    return [place for _, place in sorted(found)]


def is_time(name) -> bool:
    words = set(words_of(name))
    return bool(words & TIMES or words & {"at"} and words & {"created", "updated", "rated", "watched", "clicked"}
                or {"unixtime", "createdat"} & {plain(name)}) and not words & DURATIONS


@dataclass
class Pairs:
    """What was read of one table: the columns "user", "item" and, where there are any, "rating".

    Its index says where each pair stood: index.name is "line" or "row", counted from 1. ``rating``: that column's name
    in the user's terms; ``others``: further such columns. ``timed``: whether there is a time, as in a log of clicks.
    """

    frame: pd.DataFrame
    rating: str = ""
    others: tuple[str, ...] = ()
    timed: bool = False


def positives(parts: dict[str, Pairs], threshold: float | None, notes: list[str]) -> dict[str, pd.DataFrame]:
    """The pairs that count: those rated ``threshold`` or more; without one all, but of labels 0 and 1 only the ones.

    Adds a line to ``notes`` where ratings were ignored, or rows left out that the caller did not ask to leave out.
    """
    everything = {label: part.frame for label, part in parts.items()}
    label, first = next(iter(parts.items()))
    if unrated := [label for label, part in parts.items() if not part.rating]:
        if len(unrated) < len(parts):
            raise DataError(f"{unrated[0]}: has no column of ratings, but other files have: say which by rating_col=")
        if threshold is not None:
            raise DataError(f"{label}: threshold={threshold:g}, but no column is known to hold ratings: name it by "
                            "rating_col=")
        return everything
    name = first.rating
    if first.others:
        notes.append(f"{label}: of several columns that may hold ratings {name!r} is taken, "
                     f"{' and '.join(map(repr, first.others))} ignored; rating_col= names another")

    numbers = {label: as_numbers(frame["rating"]) for label, frame in everything.items()}
    for where, frame in everything.items():
        words = frame["rating"][numbers[where].isna()].dropna()
        words = words[~words.astype(str).str.strip().str.lower().isin(ABSENT)]
        if len(words):
            if threshold is not None:
                raise DataError(f"{where}, {frame.index.name} {words.index[0]}: {name} {str(words.iloc[0])!r} is not a "
                                "number")
            shown = ", ".join(repr(str(word)) for word in words.unique()[:3])
            notes.append(f"{where}: column {name!r} ({shown}, …) holds other things than numbers, and is ignored: "
                         "every row is a positive")
            return everything

    ratings = pd.concat(numbers.values(), ignore_index=True)
    values, missing = sorted(ratings.dropna().unique()), int(ratings.isna().sum())
    if threshold is None:
        threshold = _unasked(label, name, ratings, values, missing, notes)
    if threshold is None:
        return everything
    if missing:
        notes.append(f"{label}: {missing} rows without {name} are left out")
    kept = {label: frame[(numbers[label] >= threshold).to_numpy()] for label, frame in everything.items()}
    if not any(map(len, kept.values())):
        span = f", which are {values[0]:g} … {values[-1]:g}" if values else ""
        raise DataError(f"{label}: no pairs with {name} {threshold:g} or more{span}")
    return kept


def _unasked(label: str, name: str, ratings: pd.Series, values: list[float], missing: int,
             notes: list[str]) -> float | None:
    """The threshold where the caller gave none: 1 for labels 0 and 1, else None; and the line that says so."""
    if not values or values == [1] and not missing:  # nothing is ignored
        return None
    low, high = values[0], values[-1]
    if low < high and set(values) == {0, 1} or high == 0:
        notes.append(f"{label}: column {name!r} holds labels 0 and 1: the {(ratings == 1).sum()} rows with 1 are kept, "
                     f"the {(ratings == 0).sum()} with 0 left out (threshold=0 keeps all)")
        return 1
    if low == high:
        notes.append(f"{label}: {name} is {low:g} in every row{f' but {missing}' if missing else ''}, and is ignored: "
                     "every row is a positive")
        return None
    example = next(value for value in values if value >= low + 0.7 * (high - low))
    notes.append(f"{label}: {name} {low:g} … {high:g} are ignored: every row is a positive; for example "
                 f"threshold={example:g} keeps the rows with {example:g} or more")
    return None


def as_numbers(ratings: pd.Series) -> pd.Series:
    """Ratings as floats, NaN for what is none; "3,5" is 3.5, True is 1."""
    if isinstance(ratings.dtype, pd.CategoricalDtype):
        ratings = ratings.astype(ratings.cat.categories.dtype)
    numbers = pd.to_numeric(ratings, errors="coerce").astype("Float64").astype("float64")
    odd = numbers.isna() & ratings.notna()
    if odd.any():
        words = ratings[odd].astype(str).str.strip().str.lower()
        words = words.str.replace(r"^(-?\d+),(\d{1,2})$", r"\1.\2", regex=True).replace({"true": "1", "false": "0"})
        numbers[odd] = pd.to_numeric(words, errors="coerce")
    return numbers

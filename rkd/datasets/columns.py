"""Which column is the user, which the item, which a rating, which a time: by known names or by the caller's word.

A name stands for the same whatever its case and punctuation: "User-ID", "user_id", "userId" and RecBole's
"user_id:token". Of several columns for the user, an id goes before a name, "user" before other words; where that does
not decide, the caller has to.
"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from .errors import DataError

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
NO_TIMES = {"spent", "total", "watch", "play", "dwell", "duration", "reading", "zone", "birth", "release", "released",
            "published", "signup"}


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


def id_column(names: Sequence, role: str) -> int | None:
    """The place of the column that by its name holds the ids of a table of users or of items; None if there is none."""
    plain_id = [place for place, name in enumerate(names) if plain(name) == "id"]
    return plain_id[0] if plain_id else _find(names, USERS if role == "user" else ITEMS, f"the {role} factors", role)


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
                or {"unixtime", "createdat"} & {plain(name)}) and not words & NO_TIMES

"""Which columns of one's own data are user, item, rating and time; no rating or label is ignored in silence."""

import warnings

import pandas as pd
import pytest
from catalog_helpers import originals

from rkd import DataError, DataWarning, load
from rkd.datasets.columns import find_ratings, is_time

pytestmark = [pytest.mark.usefixtures("folders"), pytest.mark.filterwarnings("ignore::rkd.DataWarning")]


@pytest.fixture(params=["csv", "parquet", "frame"])
def given(request, tmp_path):
    """A frame as a file of either kind, or as it is."""
    def give(frame):
        if request.param == "frame":
            return frame
        path = tmp_path / f"own.{request.param}"
        frame.to_csv(path, index=False) if request.param == "csv" else frame.to_parquet(path)
        return path
    return give


def quietly(source, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load(source, **options)


# -------------------------------------------------------------------------------------------------------- ratings

@pytest.mark.parametrize("name", ["rating", "score", "stars", "Book-Rating", "reviewScore", "overall", "user_rating"])
def test_ratings_are_ignored_aloud_or_held_against_a_threshold(given, name):
    frame = pd.DataFrame({"user": [1, 1, 2, 3], "item": [7, 8, 7, 9], name: [5, 0, -1, 4.5]})
    with pytest.warns(DataWarning, match=f"{name} -1 … 5 are ignored: every row is a positive; .*=4.5") as told:
        assert len(load(given(frame))) == 4
    assert len(told) == 1 and told[0].filename == __file__
    assert originals(quietly(given(frame), threshold=4)) == [(1, 7), (3, 9)]
    assert originals(quietly(given(frame), threshold=0)) == [(1, 7), (1, 8), (3, 9)]
    with pytest.raises(DataError, match=f"no pairs with {name} 6 or more, which are -1 … 5"):
        load(given(frame), threshold=6)


@pytest.mark.parametrize("name", ["label", "click", "clicked", "is_click", "Liked"])
@pytest.mark.parametrize("kind", [int, float, bool])
def test_of_labels_0_and_1_the_ones_are_kept(given, name, kind):
    frame = pd.DataFrame({"user": [1, 1, 2, 2], "item": [7, 8, 7, 9], name: pd.Series([1, 0, 1, 0]).astype(kind)})
    with pytest.warns(DataWarning, match=f"'{name}' holds labels 0 and 1: the 2 rows with 1 are kept, the 2 with 0"):
        assert originals(load(given(frame))) == [(1, 7), (2, 7)]
    assert len(quietly(given(frame), threshold=0)) == 4
    assert len(quietly(given(frame[frame[name] == 1]))) == 2  # nothing is ignored
    with pytest.raises(DataError, match=f"no pairs with {name} 1 or more"):
        load(given(frame[frame[name] == 0]))


def test_ratings_that_are_missing_or_no_numbers(put):
    path = put("own.csv", "user,item,rating\n1,7,5\n1,8,\n2,7,good\n")
    with pytest.raises(DataError, match="own.csv, line 4: rating 'good' is not a number"):
        load(path, threshold=4)
    with pytest.warns(DataWarning, match="'rating' .'good', ….* is ignored"):
        assert len(load(path)) == 3
    path = put("own.csv", "user,item,rating\n1,7,5\n1,8,NA\n2,7,3\n")
    with pytest.warns(DataWarning, match="1 rows without rating are left out"):
        assert originals(load(path, threshold=3)) == [(1, 7), (2, 7)]
    path = put("own.csv", "user,item,click\n1,7,1\n1,8,\n2,7,1\n")
    with pytest.warns(DataWarning, match="click is 1 in every row but 1, and is ignored"):
        assert len(load(path)) == 3
    path = put("own.csv", "user;item;rating\n1;7;3,5\n2;7;4\n3;8;5,0\n")  # as spreadsheets write where that is usual
    assert originals(quietly(path, threshold=4)) == [(2, 7), (3, 8)]


def test_parts_have_one_scale(tmp_path):
    for part, ratings in enumerate(([0, 1], [5, 1])):
        frame = pd.DataFrame({"user": [part, part], "item": [7, 8], "rating": ratings})
        (tmp_path / "own").mkdir(exist_ok=True)
        frame.to_parquet(tmp_path / f"own/part-{part}.parquet")
    with pytest.warns(DataWarning, match="rating 0 … 5 are ignored"):
        assert len(load(tmp_path / "own")) == 4
    assert originals(load(tmp_path / "own", threshold=5)) == [(1, 7)]


def test_threshold_needs_ratings(put):
    path = put("own.csv", "user,item,mark\n1,7,5\n1,8,2\n")
    with pytest.raises(DataError, match="threshold=4, but no column is known to hold ratings: name it by rating_col="):
        load(path, threshold=4)
    assert originals(quietly(path, threshold=4, rating_col="mark")) == [(1, 7)]
    assert originals(quietly(path, threshold=4, rating_col=2)) == [(1, 7)]
    with pytest.raises(ValueError, match="threshold must be a number, not '4'"):
        load(path, threshold="4")
    with pytest.raises(ValueError, match="synthetic is read as published: threshold"):
        load("synthetic", threshold=4)


def test_several_columns_of_ratings(put):
    path = put("own.csv", "user,item,is_like,is_click\n1,7,1,0\n1,8,0,1\n")
    with pytest.warns(DataWarning, match="'is_click' is taken, 'is_like' ignored"):
        assert load(path).item_ids.tolist() == [8]


def test_without_header_ratings_are_ignored_aloud(put):
    path = put("own.tsv", "1\t7\t5\n1\t8\t2\n")
    with pytest.warns(DataWarning, match="no header.*the others are ignored, ratings too"):
        assert len(load(path)) == 2
    assert originals(quietly(path, threshold=4, rating_col=2)) == [(1, 7)]
    assert len(quietly(put("own.csv", "1,7\n1,8\n"))) == 2


def test_names_of_ratings_and_times():
    names = ["rating_id", "score_time", "avg_rating", "rating_count", "labelName", "user", "plays", "movieRating",
             "userrating", "isclick", "num_clicks", "isbn", "rating:float"]
    assert find_ratings(names) == [7, 8, 12, 9, 6, 10]
    assert [name for name in ("time", "timestamp:float", "created_at", "eventTime", "t_dat", "review/time", "play_time",
                              "time_spent", "runtime", "times", "birth_date") if is_time(name)] == [
        "time", "timestamp:float", "created_at", "eventTime", "t_dat", "review/time"]


# --------------------------------------------------------------------------------------------------------- header

@pytest.mark.parametrize("user, item", [
    ("userId", "movieId"), ("USER_ID", "ITEM_ID"), ("User ID", "Item ID"), ("User-ID", "ISBN"), ("customer", "product"),
    ("CUSTOMER_ID", "PRODUCT_ID"), ("author", "subreddit"), ("reviewerID", "asin"), ("userID", "artistID"),
    ("uid", "iid"), ("session", "item"), ("visitorid", "itemid"), ("user_id", "business_id"), ("profile_id", "movieId"),
    ("customer_id", "article_id"), ("user_uuid", "item_uuid"), ("review/userId", "product/productId"),
    ("users", "items"),
    ("user_id:token", "item_id:token"), ("review_profilename", "beer_beerid"), ("CustomerID", "StockCode"),
    ("user_sha1", "artist_mbid"), ("shopper", "sku"), ("household_key", "product_id"), ("msno", "song_id")])
@pytest.mark.parametrize("below", [(["ann", "bob"], ["tea", "jam"]), ([7, 7], [12, 13])])
def test_known_names_at_any_place(given, user, item, below):
    frame = pd.DataFrame({"country": ["AT"] * 2, item: below[1], "price": [1.5, 2.0], user: below[0]})
    assert originals(quietly(given(frame))) == sorted(zip(*below))


@pytest.mark.parametrize("names", ["who,what", "Datum,Kunde,Artikel", "person name,thing", "user,thing", "a,item",
                                   "c1,c2", ",0,1", "0,1,2"])
@pytest.mark.parametrize("below", [("ann", "tea", "x"), ("bob", "17", "y"), ("u1", "i2", "z"),
                                   ("2024-01-02", "cid", "w")])
def test_unknown_names_are_refused_over_any_ids(put, names, below):
    rows = [",".join(below[:names.count(",") + 1])] * 2
    path = put("own.csv", "\n".join([names, *rows]) + "\n")
    with pytest.raises(DataError, match="own.csv, line 1: a header needs columns .*user_col="):
        load(path)
    with pytest.raises(DataError, match="own.csv, line 1: a header needs columns"):
        load(path, header=True)


@pytest.mark.parametrize("lines, pairs", [
    ("7,Heat\n7,1984\n8,Heat\n", [(7, "1984"), (7, "Heat"), (8, "Heat")]),
    ("bob,17\n123,18\nbob,18\n", [("123", 18), ("bob", 17), ("bob", 18)]),
    ("ann,tea\nbob,jam\nann,jam\n", [("ann", "jam"), ("ann", "tea"), ("bob", "jam")]),
    ("ann,tea\nbob,tea\n", [("ann", "tea"), ("bob", "tea")]),
    ("u1,i7\nu2,i8\n", [("u1", "i7"), ("u2", "i8")]),
    ("A1B2C3D4,x\n0F1E2D3C,y\n", [("0F1E2D3C", "y"), ("A1B2C3D4", "x")]),
    ("ann,https://a.org/1\nbob,https://a.org/2\n", [("ann", "https://a.org/1"), ("bob", "https://a.org/2")]),
])
def test_without_header(put, lines, pairs):
    assert originals(quietly(put("own.csv", lines))) == pairs


def test_where_the_text_does_not_tell_the_caller_does(put):
    path = put("own.csv", "ann,tea\nbob,jam\n")
    with pytest.raises(DataError, match="line 1: a header needs columns.*header=False"):
        load(path)
    assert len(quietly(path, header=False)) == 2
    path = put("own.csv", "who,when,what\nann,1,tea\nbob,2,jam\n")
    for columns in (dict(user_col="who", item_col="what"), dict(user_col=0, item_col=2, header=True),
                    dict(user_col="WHO", item_col=2)):
        assert originals(quietly(path, **columns)) == [("ann", "tea"), ("bob", "jam")]
    with pytest.raises(DataError, match="line 1: names or the first pair. It reads who, when, what"):
        load(path, user_col=0, item_col=2)
    path = put("own.csv", "user,artist_id,track_id\nann,1,tea\nbob,2,jam\n")
    assert originals(quietly(path, item_col=2)) == originals(quietly(path, user_col=0, item_col=2))
    path = put("own.csv", "5,ann,tea\n7,bob,jam\n")
    assert originals(load(path, user_col=1, item_col=2)) == [("ann", "tea"), ("bob", "jam")]
    for columns, message in [(dict(user_col=3), "user_col=3, but there is no header, and columns go by number, 0 to 2"),
                             (dict(user_col="x"), "user_col='x' is none of the columns 5, ann, tea"),
                             (dict(user_col=1), "user and item are the same column")]:
        with pytest.raises(DataError, match=message):
            load(path, **columns)


def test_columns_by_name_and_place_in_any_source(given):
    frame = pd.DataFrame({"when": [1, 2], "what": [7, 8], "mark": [0.5, 5.0], "who": [3, 4], "user": [0, 0]})
    for columns in (dict(user_col="who", item_col="what", rating_col="mark"),
                    dict(user_col=3, item_col=1, rating_col=2),
                    dict(user_col="Who", item_col=1, rating_col="mark")):
        source = given(frame)
        header = True if str(source).endswith(".csv") else None
        assert originals(quietly(source, threshold=1, header=header, **columns)) == [(4, 8)]


def test_header_that_stands_twice(put):
    with pytest.raises(DataError, match="line 3: the header stands here again"):
        load(put("own.csv", "user,item\n1,2\nuser,item\n1,3\n"))


def test_dates_are_no_users(put):
    for times in (("2024-01-02", "2024-01-03"), ("12.5.2024", "13.5.2024"), ("1/31/2024 10:01", "2/1/2024 9:00")):
        with pytest.raises(DataError, match="its column 0 holds dates, so it cannot be the user"):
            load(put("own.csv", "".join(f"{time},ann,tea,\n" for time in times)))
    with pytest.raises(DataError, match="its column 1 holds dates, so it cannot be the item"):
        load(put("own.tsv", "ann\t2009-05-04T23:08:57Z\t\ttea\nann\t2009-05-04T13:54:10Z\t\tjam\n"))


def test_row_numbers_for_users_are_told(put):
    with pytest.warns(DataWarning, match="column 0, taken as the user, counts the rows"):
        load(put("own.csv", "0,7,100\n1,7,101\n2,8,100\n"))


@pytest.mark.parametrize("names", [
    ("user_id", "user_name", "item_id", "item_name"), ("user_id", "user", "item_id", "item"),
    ("reviewerID", "reviewerName", "asin", "title"), ("uid", "username", "movieId", "title"),
    ("user_id", "customer_id", "item_id", "product_id"), ("customer_id", "session_id", "track_id", "url")])
@pytest.mark.parametrize("backwards", [False, True])
def test_an_id_goes_before_a_name(given, names, backwards):
    columns = dict(zip(names, [[1, 2, 3], ["Ann", "Ann", "Bob"], [5, 5, 6], ["Heat", "Heat", "Emma"]]))
    frame = pd.DataFrame({name: columns[name] for name in names[::-1 if backwards else 1]})
    assert originals(quietly(given(frame))) == [(1, 5), (2, 5), (3, 6)]


def test_two_columns_that_may_be_it(given):
    frame = pd.DataFrame({"user": [1, 2], "artist_id": [5, 6], "track_id": [7, 8]})
    with pytest.raises(DataError, match="each of 'artist_id', 'track_id' may be the item: say which by item_col="):
        load(given(frame))
    assert originals(quietly(given(frame), item_col="track_id")) == [(1, 7), (2, 8)]


# -------------------------------------------------------------------------------------------------------- repeats

@pytest.mark.parametrize("time", ["time", "timestamp", "event_time", "created_at", "date"])
def test_a_log_of_clicks_may_repeat_pairs(given, time):
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [7, 7, 8], time: [100, 160, 170]})
    with pytest.warns(DataWarning, match="1 repeats of a pair are left out, 2 pairs remain"):
        assert originals(load(given(frame))) == [(1, 7), (2, 8)]
    with pytest.raises(DataError, match="(line 3|row 2): user 1 and item 7 are given before"):
        load(given(frame), repeats="error")


def test_repeats(given):
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [7, 7, 8], "when": [100, 160, 170]})
    with pytest.raises(DataError, match='(line 3|row 2): user 1 and item 7 are given before.*repeats="drop"'):
        load(given(frame))
    for options in (dict(repeats="drop"), dict(time_col="when"), dict(time_col=2)):
        with pytest.warns(DataWarning, match="1 repeats"):
            assert len(load(given(frame), **options)) == 2
    with pytest.raises(ValueError, match="repeats must be 'error' or 'drop', not 'first'"):
        load(given(frame), repeats="first")
    with pytest.raises(DataError, match="time_col='then' is none of the columns user, item, when"):
        load(given(frame), time_col="then")

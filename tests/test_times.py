"""When pairs came about: how times are read, from whatever they are written in, and that they stay with their pairs."""

import datetime
import gzip
import json

import numpy as np
import pandas as pd
import pyarrow
import pytest
from catalog_helpers import PAIRS, U_DATA

from rkd import DataError, DataWarning, load

pytestmark = [pytest.mark.usefixtures("folders")]
DAY = 86_400


def when(data) -> dict:
    """(user, item) → time, by the publisher's ids."""
    users, items = data.user_ids[data.users.numpy()], data.item_ids[data.items.numpy()]
    return dict(zip(zip(users.tolist(), items.tolist()), data.times.tolist()))


@pytest.mark.parametrize("values, expected", [
    ([30, 10, 20], [30, 10, 20]),
    (["30", "10", " 20 "], [30, 10, 20]),
    ([1.5, 2.0, 3.0], [1.5, 2.0, 3.0]),
    ([3.0, 1.0, 2.0], [3, 1, 2]),
    ([2**62 + 1, 2**62, 5], [2**62 + 1, 2**62, 5]),
    ([str(2**62 + 1), str(2**62), "5"], [2**62 + 1, 2**62, 5]),
    (["1970-01-02", "1970-01-01T00:00:01Z", "1970-01-03 00:00:00.5+00:00"], [DAY, 1, 2 * DAY + 0.5]),
    (["1970-01-02T02:00:00+02:00", "1970-01-03", "1970-01-04"], [DAY, 2 * DAY, 3 * DAY]),
    (pd.to_datetime(["1970-01-02", "1969-12-31", "1970-01-04 12:00"], format="ISO8601"), [DAY, -DAY, 3.5 * DAY]),
    (pd.to_datetime(["1970-01-02", "1969-12-31", "1970-01-04"]).tz_localize("Asia/Tokyo"),
     [DAY - 32_400, -DAY - 32_400, 3 * DAY - 32_400]),
    ([datetime.date(1970, 1, 2), datetime.date(1970, 1, 3), datetime.date(1970, 1, 1)], [DAY, 2 * DAY, 0]),
    (pd.Categorical(["1970-01-02", "1970-01-03", "1970-01-02"]), [DAY, 2 * DAY, DAY]),
    (pd.array([3, 1, 2], dtype="Int64"), [3, 1, 2]),
])
def test_numbers_and_dates(values, expected, recwarn):
    """Text, numbers, dates: from a frame, and where Arrow can hold them, from Arrow."""
    frame = pd.DataFrame({"user": ["a", "b", "c"], "item": [1, 2, 3], "time": values})
    for source in (frame, pyarrow.Table.from_pandas(frame)):
        data = load(source)
        assert when(data) == dict(zip([("a", 1), ("b", 2), ("c", 3)], expected)) and not recwarn
        assert data.times.dtype.is_floating_point == any(isinstance(t, float) and t % 1 for t in expected)


def test_times_of_text_stay_with_their_pairs_whatever_is_left_out(put):
    """A line without a good rating goes, and its time with it."""
    path = put("clicks.csv", "date,user,rating,item\n2031-05-03,b,5,y\n2031-05-01,a,1,x\n2031-05-02,a,4,y\n")
    seconds = {day: pd.Timestamp(day).timestamp() for day in ("2031-05-02", "2031-05-03")}
    assert when(load(path, threshold=4)) == {("b", "y"): seconds["2031-05-03"], ("a", "y"): seconds["2031-05-02"]}
    with pytest.warns(DataWarning, match="has no header"):
        data = load(put("log.tsv", "a\tx\t7\nb\ty\t5\n"), time_col=2, header=False)
    assert when(data) == {("a", "x"): 7, ("b", "y"): 5}


def test_of_repeated_pairs_the_earliest_counts_wherever_it_stands():
    frame = pd.DataFrame({"user": list("aabaa"), "item": [1, 2, 1, 1, 1], "time": [9, 3, 4, 5, 7]})
    for rows in (frame, frame[::-1]):
        with pytest.warns(DataWarning, match="2 repeats of a pair are left out, 3 pairs remain"):
            assert when(load(rows)) == {("a", 1): 5, ("a", 2): 3, ("b", 1): 4}


@pytest.mark.parametrize("time, message", [
    ("17.05.2031", r"'17.05.2031' is neither a number nor a date such as 2031-05-17 \(1 such in all\)"),
    ("05/17/2031", "'05/17/2031' is neither.*"), ("", r"is empty \(1 such in all\)"), ("inf", "'inf' is neither.*"),
    ("never", "'never' is neither.*")])
def test_what_is_no_time(put, time, message):
    """Named by the caller it is an error; else a line says so, and the pairs are read."""
    path = put("clicks.csv", f"user,item,created_at\na,1,2031-05-17\nb,2,{time}\n")
    with pytest.raises(DataError, match=f"clicks.csv, line 3: created_at {message}"):
        load(path, time_col="created_at")
    with pytest.warns(DataWarning, match=f"clicks.csv, line 3: created_at {message}: no times are known"):
        data = load(path)
    assert len(data) == 2 and data.times is None


def test_no_times_where_there_are_none(put, recwarn):
    assert load(put("pairs.csv", "user,item\na,1\n")).times is None and load([("a", 1)]).times is None
    table = pyarrow.table({"user": ["a"], "item": [1], "date": [[1, 2]]})
    assert load(table).times is None and not recwarn  # no column of ours
    data = load(pd.DataFrame({"date": ["x"], "item": [1]}), user_col="date")  # a user may be called so
    assert data.user_ids.tolist() == ["x"] and data.times is None and not recwarn


REVIEW = {"reviewerID": "A", "asin": "B", "unixReviewTime": 77}


@pytest.mark.parametrize("name, file, content, expected", [
    ("ml-100k", "ml-100k/u.data", U_DATA, {(int(row.split()[0]), int(row.split()[1])): int(row.split()[3])
                                           for row in U_DATA.splitlines()}),
    ("ml-1m", "ml-1m/ratings.dat", "3::2::5::978\n3::1::4::977\n", {(3, 2): 978, (3, 1): 977}),
    ("apps", "apps/reviews_Apps_for_Android_5.json", json.dumps(REVIEW), {("A", "B"): 77}),
    ("apps", "apps/ratings_Apps_for_Android.csv", "A,B,5.0,77\n", {("A", "B"): 77}),
    ("ml-100k", "ml-100k/interactions.tsv", "user_id\titem_id\ttimestamp\n1\t2\t3\n", {(1, 2): 3}),
])
def test_data_sets_by_name_have_their_publishers_times(put, small, name, file, content, expected, recwarn):
    put(file + ".gz", gzip.compress(content.encode(), mtime=0))
    users, items = (len({pair[side] for pair in expected}) for side in (0, 1))
    small(name, users, items, len(expected))
    assert when(load(name)) == expected and not recwarn


def test_times_divide(put):
    """From file to split: the later of two is tested on, whatever its id and row."""
    rows = [(user, item, 100 - item if user % 2 else item) for user in range(6) for item in range(10)]
    rows = [rows[n] for n in np.random.default_rng(0).permutation(len(rows))]
    path = put("log.csv", "user,item,ts\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
    split = load(path).split("time")
    assert split.test.items.tolist() == [9, 0] * 3 and split.valid.items.tolist() == [8, 1] * 3


def test_a_data_set_by_name_may_lie_there_without_times(put, small, recwarn):
    small("apps", 4, 3, len(PAIRS))
    put("apps/interactions.tsv", "user_id\titem_id\n" + "".join(f"A{u}\tB{i}\n" for u, i in PAIRS))
    assert load("apps").times is None and not recwarn

"""Files → pairs: of one's own and in the publishers' formats, and how errors name the file and the line."""

import gzip
import json
import os
import re

import pandas as pd
import pytest
import torch
from catalog_helpers import INTER, PAIRS, REVIEWS, U_DATA, originals

from rkd.datasets import DataError, load, readers

pytestmark = [pytest.mark.usefixtures("folders"), pytest.mark.filterwarnings("ignore::rkd.DataWarning")]


# ------------------------------------------------------------------------------------------------------ own files

@pytest.mark.parametrize("header", ["user,item", "user_id,item_id", "userId,movieId", " User , ITEM ",
                                    "user_id:token,item_id:token", "\ufeffuserId,itemId"])
def test_header_names(put, header):
    data = load(put("own.csv", f"{header}\n" + "".join(f"{user},{item}\n" for user, item in PAIRS)))
    assert originals(data) == PAIRS and data.name == "own"
    assert (data.n_users, data.n_items, len(data)) == (4, 3, 5)
    assert data.users.dtype == data.items.dtype == torch.int64
    assert data.user_ids.tolist() == [1, 2, 3, 10]  # in numeric order


def test_every_format_order_and_column_order_gives_the_same_fingerprint(put, tmp_path):
    frame = pd.DataFrame(PAIRS, columns=["user", "item"])
    shuffled = frame.sample(frac=1, random_state=0)[["item", "user"]].assign(rating=4.5)
    paths = [put("a.csv", frame.to_csv(index=False)), put("b.csv", frame.to_csv(index=False, header=False)),
             put("c.tsv", shuffled.to_csv(index=False, sep="\t")), put("d.inter", INTER),
             put("e.csv.gz", gzip.compress(shuffled.to_csv(index=True).encode())),
             put("f.tsv.gz", gzip.compress(U_DATA.encode(), mtime=0)),
             put("g.csv", shuffled.astype(float).to_csv(index=False)),
             put("h.csv", frame.to_csv(index=False).replace("\n", "\r\n"))]
    for name, table in {"i": frame, "j": shuffled, "k": frame.astype(str), "l": frame.astype(float)}.items():
        paths.append(tmp_path / f"{name}.parquet")
        table.to_parquet(paths[-1])
    assert {load(path).fingerprint for path in paths} == {load(str(paths[0])).fingerprint}
    assert load(put("z.csv", frame[:-1].to_csv(index=False))).fingerprint != load(paths[0]).fingerprint


@pytest.mark.parametrize("name", ["citeulike", "ml-100k"])
def test_a_file_named_like_a_data_set_is_just_a_file(put, small, name):
    """No filter, no facts to be checked against, and the share of validating users of any other file."""
    small(name, 99, 99, 999, min_items=5, valid_users=0.2)
    table = "".join(f"{user},{item}\n" for user in range(20) for item in range(10))
    found, own = load(put(f"{name}.csv", table)), load(put("own.csv", table))
    assert (found.name, own.name, len(found)) == (name, "own", 200)
    assert found.valid_users == own.valid_users == 0.5
    assert found.split().fingerprint == own.split().fingerprint
    assert len(found.split().valid) == len(found.split().test) == 20  # ten users' two items each


def test_string_ids_are_kept_as_they_are(put):
    data = load(put("own.csv", 'user,item\nmax m. ,007\n"b, c",7\nmax m. ,é\n'))
    assert originals(data) == [("b, c", "7"), ("max m. ", "007"), ("max m. ", "é")]
    assert data.user_ids.tolist() == ["b, c", "max m. "] and data.user_ids.dtype == object


def test_leading_zeros_make_ids_strings(put):
    data = load(put("own.csv", "1,007\n1,7\n1,10\n"))
    assert data.item_ids.tolist() == ["007", "10", "7"] and data.user_ids.tolist() == [1]


def test_large_numbers_and_blank_lines(put):
    data = load(put("own.csv", "123456789012345678,1\n\n-5,1\n\n"))
    assert data.user_ids.tolist() == [-5, 123456789012345678] and len(data) == 2
    data = load(put("longer.csv", "1234567890123456789012,1\n5,1\n"))
    assert data.user_ids.tolist() == ["1234567890123456789012", "5"]


BAD_FILES = {
    "empty": ("own.csv", "", "is empty"),
    "empty.gz": ("own.csv.gz", b"", "is empty"),
    "header only": ("own.csv", "user,item\n", "no pairs"),
    "one column": ("own.csv", "user\n1\n", "line 1.*needs columns 'user' and 'item'"),
    "no separator": ("own.txt", "1^2\n3^4\n", "neither commas, tabs, .* divide all lines alike: .* by sep="),
    "table or lists": ("own.txt", "1 10 5\n1 11\n", "neither commas, tabs, .* each user has one line"),
    "two separators": ("own.txt", "1;2|3\n3;4|5\n", "each of ';', '.' may be what separates the fields.*sep="),
    "unknown separator": ("own.csv", "1^2\n3^4\n", "line 1: expected 2 fields or more with ',' between them.*sep="),
    "item column missing": ("own.csv", "user,rating\n1,2\n", "line 1.*needs columns.*user, rating"),
    "other names": ("own.csv", "who,what\n1,2\n", "line 1.*needs columns.*who, what.*user_col="),
    "other names, strings": ("own.csv", "who,what,stars\nann,tea,4.5\n", "line 1.*needs columns"),
    "too many fields": ("own.csv", "user,item\n1,2\n\n1,3,4\n", "line 4: expected 2 fields, found 3"),
    "too many in all": ("own.csv", "user,item\n1,2,3\n1,3,3\n", "line 2: expected 2 fields, found 3"),
    "too few fields": ("own.csv", "1,2\n\n3\n", "line 3: expected 2 fields, found 1"),
    "too few further ones": ("own.tsv", "1\t2\t3\n1\t4\n", "line 2: expected 3 fields, found 2"),
    "missing item": ("own.csv", "user,item\n1,2\n\n3,\n,\n", "line 4: user or item is missing .*2 such"),
    "missing user as float": ("own.csv", "user,item\n1.0,2\nnan,3\n", "line 3: user or item is missing"),
    "repeats": ("own.csv", "user,item\n1,2\n1,3\n1,2\n1,2\n", "line 4: user 1 and item 2.*2 repeats.*repeats=\"drop\""),
    "repeats as float": ("own.csv", "user,item\n1,2\n1.0,2\n", "line 3: user 1 and item 2"),
    "latin-1": ("own.csv", "user,item\n1,2\n1,é\n".encode("latin-1"), "line 3: not UTF-8"),
    "cut utf-16": ("own.csv", "user,item\n1,2\n".encode("utf-16")[:-1], "line 2: not UTF-16"),
    "rubbish": ("own.csv", bytes(range(256)) * 9, "not UTF-8|no text"),
    "zeros": ("own.csv", bytes(999), "no text"),
    "rubbish.gz": ("own.csv.gz", bytes(range(256)), "cannot be read: Not a gzipped file"),
    "truncated.gz": ("own.csv.gz", gzip.compress(b"user,item\n" + os.urandom(9999).hex().encode())[:-500], "truncated"),
    "damaged.gz": ("own.csv.gz", gzip.compress(b"1,2\n" * 99, mtime=0)[:-8] + bytes(8), "cannot be read"),
    "damaged inside.gz": ("own.csv.gz", gzip.compress(b"1,2\n", mtime=0)[:10] + b"\xff" * 99, "cannot be read"),
    "rubbish.parquet": ("own.parquet", bytes(range(256)), "cannot be read"),
    "empty.parquet": ("own.parquet", b"", "cannot be read"),
    "unknown format": ("own.xlsx", "1,2", "cannot tell its format; save it as .csv"),
}


@pytest.mark.parametrize("name, content, message", BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files(put, name, content, message):
    path = put(name, content)
    with pytest.raises(DataError, match=message) as raised:
        load(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("frame, message", [
    (pd.DataFrame({"user": [1, 2], "thing": [1, 2]}), "needs columns 'user' and 'item'"),
    (pd.DataFrame({"a": [1, 2], "b": [1, 2]}), "needs columns 'user' and 'item', but names a, b"),
    (pd.DataFrame({"user": [1, None], "item": [1, 2]}), "row 2: user or item is missing"),
    (pd.DataFrame({"user": [1, 1], "item": [2, 2]}), "row 2: user 1 and item 2 are given before"),
    (pd.DataFrame({"user": [[1], [2]], "item": [2, 2]}), "cannot be read"),
    (pd.DataFrame({"user": [], "item": []}), "no pairs"),
])
def test_bad_parquet(tmp_path, frame, message):
    frame.to_parquet(tmp_path / "own.parquet")
    with pytest.raises(DataError, match=message):
        load(tmp_path / "own.parquet")


def test_truncated_parquet(tmp_path, put):
    pd.DataFrame(PAIRS, columns=["user", "item"]).to_parquet(tmp_path / "whole.parquet")
    with pytest.raises(DataError, match="own.parquet cannot be read"):
        load(put("own.parquet", (tmp_path / "whole.parquet").read_bytes()[:-40]))


def test_folder_broken_link_and_no_permission(tmp_path, put, monkeypatch):
    with pytest.raises(DataError, match="is a folder"):
        load(tmp_path)
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="link.csv cannot be read: .*No such file"):
        load(tmp_path / "link.csv")
    path = put("own.csv", "1,2\n")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything
        def deny(*args, **options):
            raise PermissionError(13, "Permission denied")
        monkeypatch.setattr(readers, "open", deny, raising=False)
    with pytest.raises(DataError, match="own.csv cannot be read: .*Permission denied"):
        load(path)


# ------------------------------------------------------------------------------- named data sets in their own formats

@pytest.mark.parametrize("name", ["ml-100k/u.data", "ml-100k/u.data.gz", "ml-100k/ml-100k.inter",
                                  "ml-100k/interactions.tsv", "ml-100k/interactions.tsv.gz"])
def test_ml_100k_in_every_form(put, small, name):
    small("ml-100k", 4, 3, 5)
    content = "user_id\titem_id\n" + "".join(f"{user}\t{item}\n" for user, item in PAIRS[::-1])
    content = {"u.data": U_DATA, "ml-100k.inter": INTER}.get(name.removesuffix(".gz").split("/")[1], content).encode()
    put(name, gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    data = load("ml-100k")
    assert originals(data) == PAIRS and data.name == "ml-100k"
    assert data.fingerprint == load(put("own.csv", "".join(f"{user},{item}\n" for user, item in PAIRS))).fingerprint


def test_ml_1m(put, small):
    small("ml-1m", 4, 3, 5)
    put("ml-1m/ratings.dat", "".join(f"{user}::{item}::5::978300760\n" for user, item in PAIRS))
    assert originals(load("ml-1m")) == PAIRS


def test_citeulike_leaves_out_users_with_few_items(put, small):
    small("citeulike", 2, 3, 5, min_items=2)
    put("citeulike-t/users.dat", "2 7 9\n0\n1 8\n3 11 7 9\n")  # user 2 goes, and item 8 with it
    data = load("citeulike")
    assert originals(data) == [(0, 7), (0, 9), (3, 7), (3, 9), (3, 11)]
    assert data.users.max() == 1 and data.items.max() == 2
    assert data.valid_users == 0.2  # as UnKD's released code divides it


def test_gowalla_joins_train_and_test(put, small):
    small("gowalla", 3, 4, 5)
    put("gowalla/train.txt", "0 0 1\n1 2\n2 0\n")
    put("gowalla/test.txt.gz", gzip.compress(b"0 3\n1 \n2\n", mtime=0))
    assert originals(load("gowalla")) == [(0, 0), (0, 1), (0, 3), (1, 2), (2, 0)]


@pytest.mark.parametrize("name, content", [
    ("apps/reviews_Apps_for_Android_5.json.gz", "".join(json.dumps(
        {"reviewerID": f"A{user}", "asin": f"B{item}", "reviewText": "so\nso\u2028", "overall": 5.0}) + "\n"
        for user, item in PAIRS)),
    ("apps/ratings_Apps_for_Android.csv", "".join(f"A{user},B{item},5.0,1405123200\n" for user, item in PAIRS)),
    ("apps/interactions.tsv", "user_id\titem_id\n" + "".join(f"A{user}\tB{item}\n" for user, item in PAIRS)),
])
def test_apps(put, small, name, content, recwarn):
    put(name, gzip.compress(content.encode(), mtime=0) if name.endswith(".gz") else content)
    small("apps", 1, 2, 2, min_items=2)
    assert originals(load("apps")) == [("A1", "B10"), ("A1", "B20")] and not recwarn
    small("apps", 9, 9, 9, min_items=2)
    with pytest.warns(UserWarning, match="1 users, 2 items and 2 interactions, but 9, 9 and 9.*do not state") as warned:
        load("apps")
    assert warned[0].filename == __file__
    small("apps", 9, 9, 9, min_items=20)
    with pytest.raises(DataError, match="no user with 20 items or more"):
        load("apps")


@pytest.mark.parametrize("dataset, name, content, message", [
    ("ml-100k", "ml-100k/u.data", U_DATA + "7\tx\t3\t4\n", "line 6: item 'x' is not a whole number"),
    ("ml-100k", "ml-100k/u.data", U_DATA + "7\t7\n", "line 6: expected 4 fields, found 2"),
    ("ml-100k", "ml-100k/u.data", "1,2,3,4\n", "line 1: expected 2 fields or more"),
    ("ml-100k", "ml-100k/u.data", U_DATA + U_DATA, "line 6: user 1 and item 10 are given before"),
    ("ml-1m", "ml-1m/ratings.dat", "1::2::3::4\n1::5\n", "line 2: expected 4 fields, found 2"),
    ("ml-1m", "ml-1m/ratings.dat", "1::2::3::4\n1::a::3::4\n", "line 2: item 'a' is not a whole number"),
    ("ml-1m", "ml-1m/ratings.dat.gz", gzip.compress(b"1::2::3::4\n" * 99, mtime=0)[:-9], "truncated"),
    ("citeulike", "citeulike-t/users.dat", "2 7 9\n3 1 2\n", "line 2: says 3 items but holds 2"),
    ("citeulike", "citeulike-t/users.dat", "2 7 9\n2 1 x\n", "line 2: expected whole numbers"),
    ("citeulike", "citeulike-t/users.dat", "2 7 9\n\n1 2\n", "line 2: expected whole numbers"),
    ("citeulike", "citeulike-t/users.dat", "2 7 9\n2 3 3\n", "line 2: user 1 and item 3 are given before"),
    ("citeulike", "citeulike-t/users.dat", "", "no pairs"),
    ("citeulike", "citeulike-t/users.dat", b"\xff\xfe\x00", "line 1: not UTF-8"),
    ("apps", REVIEWS, '{"reviewerID": "A", "asin": "B"}\n{"reviewerID": "A"}\n', "line 2: expected a JSON"),
    ("apps", REVIEWS, '{"reviewerID": "A", "asin": "B"}\n{"revie', "line 2: expected a JSON"),
    ("apps", REVIEWS, '{"reviewerID": "A", "asin": null}\n', "line 1: .*missing"),
    ("apps", REVIEWS, "7\n", "line 1: expected a JSON"),
])
def test_bad_publishers_files(put, dataset, name, content, message):
    path = put(name, content)
    with pytest.raises(DataError, match=message) as raised:
        load(dataset)
    assert str(path) in str(raised.value) and "replace it by the publisher's, from https://" in str(raised.value)


def test_gowalla_train_and_test_must_be_disjoint(put):
    put("gowalla/train.txt", "0 0 1\n1 2\n")
    path = put("gowalla/test.txt", "0 3\n1 4 2\n")
    with pytest.raises(DataError, match=re.escape(f"{path}, line 2: user 1 and item 2 are given before")):
        load("gowalla")


def test_file_that_is_a_folder(tmp_path):
    (tmp_path / "data/ml-100k/u.data").mkdir(parents=True)
    with pytest.raises(DataError, match="u.data cannot be read"):
        load("ml-100k")

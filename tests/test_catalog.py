import functools
import gzip
import hashlib
import http.server
import io
import json
import multiprocessing
import os
import re
import signal
import subprocess
import threading
import time
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from rkd import fetch, readers
from rkd.catalog import CATALOG, DataError, load, statistics
from rkd.fetch import Source

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes")
needs_data = pytest.mark.skipif(not os.environ.get("RKD_DATA"), reason="RKD_DATA is not set")
REAL_DATA = os.environ.get("RKD_DATA", "")

PAIRS = [(1, 10), (1, 20), (2, 10), (3, 30), (10, 20)]  # as strings, user 10 would sort before user 2
U_DATA = "".join(f"{user}\t{item}\t3\t881250949\n" for user, item in PAIRS)
REVIEWS = "apps/reviews_Apps_for_Android_5.json"
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + U_DATA


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """An empty RKD_DATA and an empty cache for every test."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("RKD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RKD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def put(tmp_path):
    """Write a file into RKD_DATA (or elsewhere in tmp_path) and return its path."""
    def write(name, content, folder="data"):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path
    return write


@pytest.fixture
def small(monkeypatch):
    """Give a named data set other facts, such as the counts of a small file."""
    def change(name, users, items, interactions, **facts):
        facts = {"fingerprint": None, "min_items": 1, **facts}
        dataset = replace(CATALOG[name], users=users, items=items, interactions=interactions, **facts)
        monkeypatch.setitem(CATALOG, name, dataset)
    return change


@pytest.fixture
def server(tmp_path):
    """A web server for the files in tmp_path/web; ``server.wait`` holds back the second half of every answer."""
    (tmp_path / "web").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def copyfile(self, source, outputfile):
            content = source.read()
            outputfile.write(content[:len(content) // 2])
            outputfile.flush()
            self.server.wait.wait(20)
            outputfile.write(content[len(content) // 2:])

        def log_message(self, *args):
            self.server.requests.append(self.path)

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path / "web"))
    httpd.daemon_threads, httpd.requests, httpd.wait = True, [], threading.Event()
    httpd.wait.set()
    httpd.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield httpd
    httpd.wait.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def u_data_from(url, content=None):
    """ml-100k's form, to be fetched as a zip with u.data in it from ``url``."""
    known_hash = content and "sha256:" + hashlib.sha256(content).hexdigest()
    return replace(CATALOG["ml-100k"].forms[0], sources=(Source(url, known_hash, "ml-100k/u.data"),))


def cached(tmp_path):
    return sorted(str(path.relative_to(tmp_path / "cache")) for path in (tmp_path / "cache").rglob("*")
                  if path.is_file())


def originals(data):
    return sorted(zip(data.user_ids[data.users].tolist(), data.item_ids[data.items].tolist()))


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
             put("f.tsv.gz", gzip.compress(U_DATA.encode())), put("g.csv", shuffled.astype(float).to_csv(index=False)),
             put("h.csv", frame.to_csv(index=False).replace("\n", "\r\n"))]
    for name, table in {"i": frame, "j": shuffled, "k": frame.astype(str), "l": frame.astype(float)}.items():
        paths.append(tmp_path / f"{name}.parquet")
        table.to_parquet(paths[-1])
    assert {load(path).fingerprint for path in paths} == {load(str(paths[0])).fingerprint}
    assert load(put("z.csv", frame[:-1].to_csv(index=False))).fingerprint != load(paths[0]).fingerprint


def test_string_ids_are_kept_as_they_are(put):
    data = load(put("own.csv", 'user,item\nmax m. ,007\n"b, c",7\nmax m. ,é\n'))
    assert originals(data) == [("b, c", "7"), ("max m. ", "007"), ("max m. ", "é")]
    assert data.user_ids.tolist() == ["b, c", "max m. "] and data.user_ids.dtype.kind == "U"


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
    "wrong separator": ("own.csv", "1;2\n3;4\n", "line 1: expected 2 fields or more with ','"),
    "item column missing": ("own.csv", "user,rating\n1,2\n", "line 1.*needs columns.*user, rating"),
    "other names": ("own.csv", "customer,product\n1,2\n", "line 1.*needs columns.*customer, product"),
    "other names, strings": ("own.csv", "customer,product,stars\nann,tea,4.5\n", "line 1.*needs columns"),
    "too many fields": ("own.csv", "user,item\n1,2\n\n1,3,4\n", "Expected 2 fields in line 4, saw 3"),
    "too many in all": ("own.csv", "user,item\n1,2,3\n1,3,3\n", "first row has more fields"),
    "too few fields": ("own.csv", "1,2\n\n3\n", "line 3: expected 2 fields, found 1"),
    "too few further ones": ("own.tsv", "1\t2\t3\n1\t4\n", "line 2: expected 3 fields, found 2"),
    "missing item": ("own.csv", "user,item\n1,2\n\n3,\n,\n", "line 4: user or item is missing .*2 such"),
    "missing user as float": ("own.csv", "user,item\n1.0,2\nnan,3\n", "line 3: user or item is missing"),
    "repeats": ("own.csv", "user,item\n1,2\n1,3\n1,2\n1,2\n", "line 4: user 1 and item 2.*2 repeats.*drop_duplicates"),
    "repeats as float": ("own.csv", "user,item\n1,2\n1.0,2\n", "line 3: user 1 and item 2"),
    "open quote": ("own.csv", 'user,item\n1,"2\n3,4\n', "EOF inside string"),
    "latin-1": ("own.csv", "user,item\n1,2\n1,é\n".encode("latin-1"), "line 3: not UTF-8"),
    "utf-16": ("own.csv", "user,item\n1,2\n".encode("utf-16"), "line 1: not UTF-8"),
    "rubbish": ("own.csv", bytes(range(256)) * 9, "not UTF-8|no text"),
    "zeros": ("own.csv", bytes(999), "no text"),
    "rubbish.gz": ("own.csv.gz", bytes(range(256)), "cannot be read: Not a gzipped file"),
    "truncated.gz": ("own.csv.gz", gzip.compress(b"user,item\n" + os.urandom(9999).hex().encode())[:-500], "truncated"),
    "damaged.gz": ("own.csv.gz", gzip.compress(b"1,2\n" * 99)[:-8] + bytes(8), "cannot be read"),
    "damaged inside.gz": ("own.csv.gz", gzip.compress(b"1,2\n")[:10] + b"\xff" * 99, "cannot be read"),
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
    (pd.DataFrame({"a": [1, 2], "b": [1, 2]}), "no columns 'user' and 'item', but a, b"),
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


def test_unknown_name():
    with pytest.raises(DataError, match="no data set and no file 'ML1M' .did you mean 'ml-1m'.*gowalla.*path"):
        load("ML1M")
    with pytest.raises(DataError, match=r"'nowhere.csv'. Known data sets are ml-100k, .*synthetic"):
        load("nowhere.csv")


def test_synthetic():
    first, second = load("synthetic"), load("synthetic")
    assert first.name == "synthetic" and len(first) > 0
    assert first.fingerprint == second.fingerprint


def test_statistics(put):
    data = load(put("own.csv", "1,2\n1,3\n2,2\n3,2\n"))
    assert statistics(data) == {"users": 3, "items": 2, "interactions": 4, "sparsity_percent": 33.33,
                                "fingerprint": data.fingerprint}


# ------------------------------------------------------------------------------- named data sets in their own formats

@pytest.mark.parametrize("name", ["ml-100k/u.data", "ml-100k/u.data.gz", "ml-100k/ml-100k.inter",
                                  "ml-100k/interactions.tsv", "ml-100k/interactions.tsv.gz"])
def test_ml_100k_in_every_form(put, small, name):
    small("ml-100k", 4, 3, 5)
    content = "user_id\titem_id\n" + "".join(f"{user}\t{item}\n" for user, item in PAIRS[::-1])
    content = {"u.data": U_DATA, "ml-100k.inter": INTER}.get(name.removesuffix(".gz").split("/")[1], content).encode()
    put(name, gzip.compress(content) if name.endswith(".gz") else content)
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


def test_gowalla_joins_train_and_test(put, small):
    small("gowalla", 3, 4, 5)
    put("gowalla/train.txt", "0 0 1\n1 2\n2 0\n")
    put("gowalla/test.txt.gz", gzip.compress(b"0 3\n1 \n2\n"))
    assert originals(load("gowalla")) == [(0, 0), (0, 1), (0, 3), (1, 2), (2, 0)]


@pytest.mark.parametrize("name, content", [
    ("apps/reviews_Apps_for_Android_5.json.gz", "".join(json.dumps(
        {"reviewerID": f"A{user}", "asin": f"B{item}", "reviewText": "so\nso\u2028", "overall": 5.0}) + "\n"
        for user, item in PAIRS)),
    ("apps/ratings_Apps_for_Android.csv", "".join(f"A{user},B{item},5.0,1405123200\n" for user, item in PAIRS)),
    ("apps/interactions.tsv", "user_id\titem_id\n" + "".join(f"A{user}\tB{item}\n" for user, item in PAIRS)),
])
def test_apps(put, small, name, content, recwarn):
    put(name, gzip.compress(content.encode()) if name.endswith(".gz") else content)
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
    ("ml-1m", "ml-1m/ratings.dat", "1::2::3::4\n1::5\n", "line 2: expected 7 fields, found 3"),
    ("ml-1m", "ml-1m/ratings.dat", "1::2::3::4\n1::a::3::4\n", "line 2: item 'a' is not a whole number"),
    ("ml-1m", "ml-1m/ratings.dat.gz", gzip.compress(b"1::2::3::4\n" * 99)[:-9], "truncated"),
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


def test_one_of_two_files_is_not_enough(put, small):
    small("gowalla", 2, 3, 3, forms=(replace(CATALOG["gowalla"].forms[0], sources=()),))
    put("gowalla/train.txt", "0 0 1\n1 2\n")
    with pytest.raises(DataError, match="data: has none of gowalla/train.txt with gowalla/test.txt"):
        load("gowalla")


def test_file_that_is_a_folder(tmp_path):
    (tmp_path / "data/ml-100k/u.data").mkdir(parents=True)
    with pytest.raises(DataError, match="u.data cannot be read"):
        load("ml-100k")


@pytest.mark.parametrize("name, file, content", [
    ("ml-100k", "ml-100k/u.data", U_DATA), ("gowalla", "gowalla/interactions.tsv", "user_id\titem_id\n1\t2\n"),
    ("citeulike", "citeulike-t/users.dat", "5 1 2 3 4 5\n")])
def test_other_counts_than_published_are_an_error(put, name, file, content):
    path = put(file, content)
    known = CATALOG[name]
    message = f"but {known.users}, {known.items} and {known.interactions} are published\n{path}: replace it"
    with pytest.raises(DataError, match=re.escape(message)):
        load(name)


def test_other_pairs_than_published_are_an_error(put, small):
    put("ml-100k/u.data", U_DATA)
    good = load(put("own.tsv", U_DATA)).fingerprint
    small("ml-100k", 4, 3, 5, fingerprint=good)
    assert load("ml-100k").fingerprint == good
    put("ml-100k/u.data", U_DATA.replace("3\t30\t", "3\t10\t").replace("2\t10\t", "2\t30\t"))
    with pytest.raises(DataError, match=f"published counts but other pairs.* not {good}"):
        load("ml-100k")


def test_catalog_says_what_is_verified():
    assert {name: dataset.verified for name, dataset in CATALOG.items()} == {
        "ml-100k": True, "ml-1m": True, "citeulike": True, "gowalla": False, "apps": False}


@needs_data
@pytest.mark.parametrize("name, counts, sparsity", [("citeulike", (5219, 25181, 125580), 99.9),
                                                    ("ml-1m", (6040, 3706, 1000209), 95.53)])
def test_real_data(monkeypatch, name, counts, sparsity):
    monkeypatch.setenv("RKD_DATA", REAL_DATA)
    if not any(form.find(fetch.data_folder()) for form in CATALOG[name].forms):
        pytest.skip(f"RKD_DATA has no {name}")
    data = load(name)
    assert (data.n_users, data.n_items, len(data)) == counts
    assert statistics(data)["sparsity_percent"] == sparsity


# ------------------------------------------------------------------------------------------------- finding, fetching

def test_search_order(put, small, server, tmp_path):
    small("ml-100k", 4, 3, 5, forms=(u_data_from(f"{server.url}/ml.zip"),))
    archive = zipped(**{"ml-100k/u.data": U_DATA, "ml-100k/README": "no"})
    put("ml.zip", archive, "web")
    fetched = load("ml-100k")
    assert cached(tmp_path) == ["data/ml-100k/u.data"] and len(server.requests) == 1
    assert load("ml-100k").fingerprint == fetched.fingerprint and len(server.requests) == 1  # from the cache
    put("ml-100k/u.data", U_DATA.replace("\t30\t", "\t99\t"))
    assert 99 in load("ml-100k").item_ids  # RKD_DATA goes before the cache
    assert cached(tmp_path) == ["data/ml-100k/u.data"]


def test_rkd_data_that_is_missing(monkeypatch, put, tmp_path):
    monkeypatch.setenv("RKD_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="RKD_DATA names .*nowhere, which is not a folder"):
        load("ml-1m")
    assert len(load(put("own.csv", "1,2\n"))) == 1  # a file of one's own needs no RKD_DATA


def test_damaged_file_in_the_cache(put, tmp_path):
    path = put("data/ml-100k/u.data", U_DATA[:-15], "cache")
    with pytest.raises(DataError, match=re.escape(f"{path}: delete it to fetch it again")):
        load("ml-100k")


def test_next_source_has_its_turn_and_failures_are_all_told(put, small, server, tmp_path, monkeypatch):
    with http.server.HTTPServer(("127.0.0.1", 0), None) as closed:
        refused = f"http://127.0.0.1:{closed.server_port}/ml.zip"
    forms = tuple(u_data_from(url) for url in (refused, f"{server.url}/absent.zip", f"{server.url}/html.zip",
                                               f"{server.url}/other.zip", f"{server.url}/short.zip"))
    small("ml-100k", 4, 3, 5, forms=forms)
    put("html.zip", "<html>please log in</html>", "web")
    put("other.zip", zipped(**{"ml-100k/u.item": "1"}), "web")
    put("short.zip", zipped(**{"ml-100k/u.data": U_DATA[:-15]}), "web")
    monkeypatch.delenv("RKD_DATA")
    with pytest.raises(DataError) as raised:
        load("ml-100k")
    lines = str(raised.value).splitlines()
    for expected in ["RKD_DATA: not set", "cache/data: has none of ml-100k/u.data", f"{refused}: .*refused",
                     "absent.zip: HTTPError: 404", "html.zip: BadZipFile", "other.zip: KeyError: .*u.data",
                     "short.zip: DataError: .*u.data, line 5: expected 4 fields"]:
        assert any(re.search(expected, line) for line in lines), expected
    assert lines[-1].startswith("Download it from https://grouplens.org/") and "put ml-100k/u.data" in lines[-1]
    assert cached(tmp_path) == []

    put("good.zip", zipped(**{"ml-100k/u.data": U_DATA}), "web")
    small("ml-100k", 4, 3, 5, forms=(*forms, u_data_from(f"{server.url}/good.zip")))
    assert originals(load("ml-100k")) == PAIRS


def test_download_with_another_hash_is_not_kept(put, small, server, tmp_path):
    whole = zipped(**{"ml-100k/u.data": U_DATA})
    small("ml-100k", 4, 3, 5, forms=(u_data_from(f"{server.url}/ml.zip", whole),))
    put("ml.zip", whole[:-1], "web")
    with pytest.raises(DataError, match="ml.zip: ValueError: SHA256 hash .*does not match the known hash"):
        load("ml-100k")
    assert cached(tmp_path) == []
    put("ml.zip", whole, "web")
    assert len(load("ml-100k")) == 5


def test_two_files_and_gz_are_fetched(put, small, server, tmp_path):
    form = CATALOG["gowalla"].forms[0]
    sources = tuple(Source(f"{server.url}/{file}") for file in ("train.txt", "test.txt"))
    small("gowalla", 2, 3, 4, forms=(replace(form, sources=sources),))
    put("train.txt", "0 0 1\n1 2\n", "web")
    with pytest.raises(DataError, match="404"):
        load("gowalla")
    assert cached(tmp_path) == []
    put("test.txt", "1 0\n", "web")
    assert len(load("gowalla")) == 4 and cached(tmp_path) == ["data/gowalla/test.txt", "data/gowalla/train.txt"]

    file = "reviews_Apps_for_Android_5.json.gz"
    small("apps", 1, 1, 1, forms=(replace(CATALOG["apps"].forms[0], sources=(Source(f"{server.url}/{file}"),)),))
    review = b'{"reviewerID": "A", "asin": "B"}\n'
    put(file, gzip.compress(review), "web")
    assert len(load("apps")) == len(load("apps")) == 1 and f"data/apps/{file}" in cached(tmp_path)
    (tmp_path / "cache/data/apps" / file).unlink()
    put(file, review, "web")  # as some servers send it
    assert len(load("apps")) == 1 and f"data/{REVIEWS}" in cached(tmp_path)


def test_archive_cannot_write_outside_its_folder(put, small, server, tmp_path):
    small("ml-100k", 4, 3, 5, forms=(u_data_from(f"{server.url}/ml.zip"),))
    evil = {name: "x" for name in ("../evil", "../../evil", "../../../evil", f"{tmp_path}/evil")}
    put("ml.zip", zipped(**evil, **{"ml-100k/u.data": U_DATA}), "web")
    assert len(load("ml-100k")) == 5
    assert cached(tmp_path) == ["data/ml-100k/u.data"] and not list(tmp_path.rglob("evil*"))


def test_read_only_cache_is_named(small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RKD_CACHE", str(tmp_path / "file"))
    small("ml-100k", 4, 3, 5, forms=(u_data_from("http://127.0.0.1:1/ml.zip"),))
    with pytest.raises(DataError, match="NotADirectoryError: .*file"):
        load("ml-100k")


def load_and_say(queue):
    queue.put(load("ml-100k").fingerprint)


@needs_fork
def test_processes_that_fetch_at_once(put, small, server, tmp_path):
    small("ml-100k", 4, 3, 5, forms=(u_data_from(f"{server.url}/ml.zip"),))
    put("ml.zip", zipped(**{"ml-100k/u.data": U_DATA}), "web")
    server.wait.clear()  # nobody ends before all have begun
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=load_and_say, args=(queue,)) for _ in range(3)]
    for process in processes:
        process.start()
    until(lambda: len(server.requests) == 3)
    server.wait.set()
    assert len({queue.get(timeout=10) for _ in processes}) == 1
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert cached(tmp_path) == ["data/ml-100k/u.data"]


@needs_fork
def test_killed_fetch_leaves_nothing_that_is_taken_for_data(put, small, server, tmp_path):
    small("ml-100k", 4, 3, 5, forms=(u_data_from(f"{server.url}/ml.zip"),))
    put("ml.zip", zipped(**{"ml-100k/u.data": U_DATA * 9999}), "web")
    server.wait.clear()
    process = multiprocessing.get_context("fork").Process(target=load, args=("ml-100k",))
    process.start()
    until(lambda: any((tmp_path / "cache").rglob("tmp*")))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    server.wait.set()
    assert not (tmp_path / "cache/data/ml-100k").exists()
    put("ml.zip", zipped(**{"ml-100k/u.data": U_DATA}), "web")
    assert len(load("ml-100k")) == 5


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


# ----------------------------------------------------------------------------------------------------------- wheels

WHEEL = zipped(**{"own/data.inter": INTER, "own/__init__.py": "raise SystemExit('imported')", "../../evil": "x"})


@pytest.fixture
def pip(monkeypatch):
    """A pip that delivers WHEEL, or says that it cannot."""
    def run(command, **options):
        assert command[1:4] == ["-m", "pip", "download"] and {"--no-deps", "--only-binary=:all:"} <= set(command)
        if run.fails:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: no such index\n")
        (folder,) = (word.removeprefix("--dest=") for word in command if word.startswith("--dest="))
        with open(os.path.join(folder, "own-1.0-py3-none-any.whl"), "wb") as wheel:
            wheel.write(WHEEL)
        return subprocess.CompletedProcess(command, 0, "", "")
    run.fails = False
    monkeypatch.setattr(fetch.subprocess, "run", run)
    return run


def wheel_form(known_hash):
    form = CATALOG["ml-100k"].forms[1]
    return replace(form, sources=(Source("own==1.0", known_hash, "own/data.inter"),))


def test_wheel(pip, small, tmp_path):
    small("ml-100k", 4, 3, 5, forms=(wheel_form("sha256:" + hashlib.sha256(WHEEL).hexdigest()),))
    pip.fails = True
    with pytest.raises(DataError, match="own==1.0: DataError: pip: ERROR: no such index"):
        load("ml-100k")
    pip.fails = False
    assert originals(load("ml-100k")) == PAIRS
    assert cached(tmp_path) == ["data/ml-100k/ml-100k.inter"] and not list(tmp_path.rglob("evil*"))


def test_wheel_with_another_hash(pip, small, tmp_path):
    small("ml-100k", 4, 3, 5, forms=(wheel_form("sha256:" + "0" * 64),))
    with pytest.raises(DataError, match="own==1.0: DataError: the hash of own-1.0-py3-none-any.whl is not sha256:000"):
        load("ml-100k")
    assert cached(tmp_path) == []


@pytest.mark.network
def test_ml_100k_out_of_recboles_wheel(monkeypatch, tmp_path):
    monkeypatch.setitem(CATALOG, "ml-100k", replace(CATALOG["ml-100k"], forms=CATALOG["ml-100k"].forms[1:2]))
    try:
        data = load("ml-100k")
    except DataError as error:
        if "DataError: pip:" in str(error):
            pytest.skip("pip cannot reach its index")
        raise
    assert (data.n_users, data.n_items, len(data)) == (943, 1682, 100_000)
    assert statistics(data)["sparsity_percent"] == 93.7
    assert np.array_equal(data.user_ids, np.arange(1, 944))
    assert cached(tmp_path) == ["data/ml-100k/ml-100k.inter"]

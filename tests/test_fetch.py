"""Where data sets come from: the search order, downloads, wheels and the cache, and that all of it is verified."""

import functools
import gzip
import hashlib
import http.server
import multiprocessing
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from catalog_helpers import INTER, PAIRS, REVIEWS, U_DATA, originals, zipped

from rkd.datasets import CATALOG, DataError, fetch, load, statistics, titles
from rkd.datasets.fetch import Source

pytestmark = pytest.mark.usefixtures("folders")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes")


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


def u_data_from(url, content=None):
    """ml-100k's form, to be fetched as a zip with u.data in it from ``url``."""
    known_hash = content and "sha256:" + hashlib.sha256(content).hexdigest()
    return replace(CATALOG["ml-100k"].forms[0], sources=(Source(url, known_hash, "ml-100k/u.data"),))


def cached(tmp_path):
    return sorted(str(path.relative_to(tmp_path / "cache")) for path in (tmp_path / "cache").rglob("*")
                  if path.is_file())


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


def test_one_of_two_files_is_not_enough(put, small):
    small("gowalla", 2, 3, 3, forms=(replace(CATALOG["gowalla"].forms[0], sources=()),))
    put("gowalla/train.txt", "0 0 1\n1 2\n")
    with pytest.raises(DataError, match="data: has none of gowalla/train.txt with gowalla/test.txt"):
        load("gowalla")


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


def test_mirrors_have_their_turn_and_are_held_to_the_same_hash(put, small, server, tmp_path):
    whole = zipped(**{"ml-100k/u.data": U_DATA})
    put("good.zip", whole, "web")
    put("other.zip", whole[:-1], "web")
    form = u_data_from(f"{server.url}/absent.zip", whole)
    source = replace(form.sources[0], mirrors=(f"{server.url}/other.zip", f"{server.url}/good.zip"))
    small("ml-100k", 4, 3, 5, forms=(replace(form, sources=(source,)),))
    assert originals(load("ml-100k")) == PAIRS and cached(tmp_path) == ["data/ml-100k/u.data"]
    (tmp_path / "cache/data/ml-100k/u.data").unlink()
    small("ml-100k", 4, 3, 5, forms=(replace(form, sources=(replace(source, mirrors=source.mirrors[:1]),)),))
    with pytest.raises(DataError, match="absent.zip: HTTPError: 404.*; .*other.zip: ValueError: SHA256 hash"):
        load("ml-100k")


def test_every_public_data_set_but_apps_has_a_second_address():
    for name, dataset in CATALOG.items():
        sources = [form.sources for form in dataset.forms if form.sources]
        assert len(sources) > 1 or name == "apps" or all(source.mirrors for source in sources[0]), name


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


def test_what_lies_beside_is_kept_where_the_archive_has_it(put, small, server, tmp_path):
    form = u_data_from(f"{server.url}/ml.zip")
    small("ml-100k", 4, 3, 5, forms=(replace(form, sources=(replace(
        form.sources[0], beside=("ml-100k/u.item", "ml-100k/none")),)),))
    put("ml.zip", zipped(**{"ml-100k/u.data": U_DATA, "ml-100k/u.item": "10|A|\n", "ml-100k/u.user": "1"}), "web")
    assert len(load("ml-100k")) == 5 and titles("ml-100k") == {10: "A"}
    assert cached(tmp_path) == ["data/ml-100k/u.data", "data/ml-100k/u.item"]


def test_archive_cannot_write_outside_its_folder(put, small, server, tmp_path):
    small("ml-100k", 4, 3, 5, forms=(u_data_from(f"{server.url}/ml.zip"),))
    evil = dict.fromkeys(("../evil", "../../evil", "../../../evil", f"{tmp_path}/evil"), "x")
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


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_what_is_fetched_may_be_read_by_whom_umask_allows(put, small, server, tmp_path):
    small("ml-100k", 4, 3, 5, forms=(u_data_from(f"{server.url}/ml.zip"),))
    put("ml.zip", zipped(**{"ml-100k/u.data": U_DATA}), "web")
    before = os.umask(0o027)
    try:
        load("ml-100k")
    finally:
        os.umask(before)
    assert (tmp_path / "cache/data/ml-100k/u.data").stat().st_mode & 0o777 == 0o640


@needs_fork
def test_killed_fetch_leaves_nothing_in_the_cache(put, small, server, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    small("ml-100k", 4, 3, 5, forms=(u_data_from(f"{server.url}/ml.zip"),))
    put("ml.zip", zipped(**{"ml-100k/u.data": U_DATA * 9999}), "web")
    server.wait.clear()
    process = multiprocessing.get_context("fork").Process(target=load, args=("ml-100k",))
    process.start()
    until(lambda: any((tmp_path / "temporary").rglob("tmp*")))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    server.wait.set()
    assert not any((tmp_path / "cache/data").iterdir())
    put("ml.zip", zipped(**{"ml-100k/u.data": U_DATA}), "web")
    assert len(load("ml-100k")) == 5


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


# -------------------------------------------------------------------------------------------------- published facts

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
    assert cached(tmp_path) == ["data/ml-100k/ml-100k.inter", "data/ml-100k/ml-100k.item"]
    assert len(titles("ml-100k")) == 1682 and titles("ml-100k")[50] == "Star Wars"

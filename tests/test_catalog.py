"""The catalog itself: names, what it says is verified, real data against published facts, and statistics."""

import gzip
import os

import pytest

from rkd.datasets import CATALOG, DataError, fetch, load, statistics, titles

pytestmark = pytest.mark.usefixtures("folders")
needs_data = pytest.mark.skipif(not os.environ.get("RKD_DATA"), reason="RKD_DATA is not set")
REAL_DATA = os.environ.get("RKD_DATA", "")


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


def test_catalog_says_what_is_verified():
    assert {name: dataset.verified for name, dataset in CATALOG.items()} == {
        "ml-100k": True, "ml-1m": True, "citeulike": True, "gowalla": True, "apps": False}


def test_catalog_says_how_many_users_validate():
    """UnKD's released code: half, of CiteULike a fifth."""
    assert {name: dataset.valid_users for name, dataset in CATALOG.items()} == {
        "ml-100k": 0.5, "ml-1m": 0.5, "citeulike": 0.2, "gowalla": 0.5, "apps": 0.5}


U_ITEM = "1|Toy Story (1995)|01-Jan-1995||http://x|0|0\n2|Misérables, Les (1995)|\n|no id|\n3\n".encode("latin-1")
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\n7\tBabe, é\t1995\n".encode()
MOVIES = "1::Toy Story (1995)::Animation|Comedy\n12::Él: x (1953)::Drama\n".encode("latin-1")


@pytest.mark.parametrize("folder", ["data", "cache/data"])
@pytest.mark.parametrize("name, file, content, expected", [
    ("ml-100k", "ml-100k/u.item", U_ITEM, {1: "Toy Story (1995)", 2: "Misérables, Les (1995)"}),
    ("ml-100k", "ml-100k/ml-100k.item", ITEM, {7: "Babe, é"}),
    ("ml-1m", "ml-1m/movies.dat", MOVIES, {1: "Toy Story (1995)", 12: "Él: x (1953)"})])
def test_titles_by_the_publishers_ids(tmp_path, folder, name, file, content, expected):
    path = tmp_path / folder / file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert titles(name) == expected
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
    assert titles(name) == expected and titles("citeulike") is None


def test_no_titles_are_no_error(tmp_path, put, monkeypatch):
    """None where there is no file, none that can be read, no such data set, or no folder."""
    assert titles("ml-100k") is titles("synthetic") is titles("nowhere.csv") is None
    put("ml-1m/movies.dat.gz", "no gzip")
    assert titles("ml-1m") is None
    monkeypatch.setenv("RKD_DATA", str(tmp_path / "nowhere"))
    assert titles("ml-1m") is None


@needs_data
@pytest.mark.parametrize("name, counts, sparsity", [("citeulike", (5219, 25181, 125580), 99.9),
                                                    ("ml-1m", (6040, 3706, 1000209), 95.53),
                                                    ("gowalla", (29858, 40981, 1027370), 99.92)])
def test_real_data(monkeypatch, name, counts, sparsity):
    monkeypatch.setenv("RKD_DATA", REAL_DATA)
    if not any(form.find(fetch.data_folder()) for form in CATALOG[name].forms):
        pytest.skip(f"RKD_DATA has no {name}")
    data = load(name)
    assert (data.n_users, data.n_items, len(data)) == counts
    assert statistics(data)["sparsity_percent"] == sparsity

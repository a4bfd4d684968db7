"""load_split: parts of one's own, whose ids are the same wherever they stand; and the publisher's own parts."""

import gzip

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch
from catalog_helpers import originals
from scipy import sparse

from rkd import MF, DataError, DataWarning, evaluate, load, load_split, train

pytestmark = [pytest.mark.usefixtures("folders")]
TRAIN = [("bob", "y"), ("ann", "x"), ("ann", "z"), ("cid", "y")]
VALID = [("cid", "x")]
TEST = [("dan", "x"), ("bob", "w"), ("ann", "y")]
UNSEEN = "1 users and 1 items of valid and test are not in train: they are kept, but nothing is trained of them"


def frame(pairs, **columns) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["user", "item"]).assign(**columns)


def csv(pairs) -> str:
    return "user,item\n" + "".join(f"{user},{item}\n" for user, item in pairs)


def parts_of(split) -> list[list[tuple]]:
    return [sorted(originals(part)) for part in split.parts.values()]


def as_file(put, pairs, name):
    return put(f"{name}.csv", csv(pairs))


def as_parquet(put, pairs, name):
    path = put(f"{name}.parquet", "")
    frame(pairs).to_parquet(path)
    return path


SOURCES = {"file": as_file, "parquet": as_parquet, "frame": lambda put, pairs, name: frame(pairs),
           "arrow": lambda put, pairs, name: pyarrow.Table.from_pandas(frame(pairs)),
           "arrays": lambda put, pairs, name: tuple(np.array(ids) for ids in zip(*pairs)),
           "list": lambda put, pairs, name: pairs}


@pytest.mark.parametrize("kind", [*SOURCES, "mixed"])
def test_ids_are_the_same_in_all_parts(put, kind):
    """Dan and w are in the test part alone. The numbers of rows are those of one data set with all pairs."""
    makers = [SOURCES["file"], SOURCES["frame"], SOURCES["arrays"]] if kind == "mixed" else [SOURCES[kind]] * 3
    sources = [make(put, pairs, name) for make, pairs, name in
               zip(makers, (TRAIN, VALID, TEST), ("clicks", "later", "last"))]
    with pytest.warns(DataWarning, match=f"^{UNSEEN}$"):
        split = load_split(*sources)
    assert parts_of(split) == [sorted(TRAIN), VALID, sorted(TEST)]
    everything = load(TRAIN + VALID + TEST)
    assert split.train.user_ids.tolist() == everything.user_ids.tolist() == ["ann", "bob", "cid", "dan"]
    assert split.data_fingerprint == everything.fingerprint and split.protocol == "given"
    assert split.name == ("clicks" if kind in ("file", "parquet", "mixed") else "data")


def test_parts_of_numbers_and_of_text_that_looks_like_them():
    """Large numbers keep their digits beside floats, and "12" in one table is 12 in the other."""
    with pytest.warns(DataWarning, match="2 users and 0 items of valid and test are not in train"):
        split = load_split({"user": [2**60 + 1, 2**60], "item": [12, 13]}, None,
                           {"user": [2.0, 3.0], "item": ["12", "13"]})
    assert split.train.user_ids.tolist() == [2, 3, 2**60, 2**60 + 1] and split.train.item_ids.tolist() == [12, 13]


def test_parts_left_out_are_empty_and_then_epochs_decide(put, recwarn):
    pairs, others = ([(f"u{user}", f"i{item}") for user in range(8) for item in range(8) if (user + item) % 3 in rest]
                     for rest in ((0, 1), (2,)))
    split = load_split(frame(pairs), test=frame(others))
    assert [len(part) for part in split.parts.values()] == [len(pairs), 0, len(others)] and not recwarn
    with pytest.raises(ValueError, match="the valid part of Split.* give epochs="):
        train(MF(split, 3), split)
    fit = train(MF(split, 3), split, epochs=3, device="cpu", progress=False)
    assert fit.best_epoch == 3 and evaluate(fit.model, split)["users"] == 8
    alone = load_split(frame(pairs))
    assert len(alone.train) == len(pairs) and not len(alone.test)
    with pytest.raises(ValueError, match="the test part of .* holds no interactions"):
        evaluate(fit.model, alone)


def test_a_pair_in_two_parts_is_told_by_file_line_and_id(put):
    first, second = put("a.csv", csv(TRAIN)), put("b.csv", csv([("dan", "x"), ("ann", "z")]))
    with pytest.raises(DataError, match=r"test \(.*b.csv\), line 3: user ann and item z are given before in train "
                                        r"\(.*a.csv\), line 4 \(1 repeats in all\).*repeats=\"drop\""):
        load_split(first, None, second)
    with pytest.warns(DataWarning) as told:
        split = load_split(first, None, second, repeats="drop")
    assert parts_of(split) == [sorted(TRAIN), [], [("dan", "x")]]
    assert "1 repeats of a pair are left out, 5 pairs remain" in str(told[0].message)
    with pytest.raises(DataError, match=r"valid \(the DataFrame\), row 1: .* in train \(the DataFrame\), row 1"):
        load_split(frame(TRAIN), frame(TRAIN))


def test_of_a_log_each_part_may_repeat_a_pair_but_two_parts_may_not():
    """The first of a part's equal pairs stays, by time; with repeats="drop" the part decides before the time does."""
    before = frame([("a", 1), ("a", 1), ("b", 2)], time=[5, 3, 4])
    after = frame([("b", 1), ("b", 1)], time=[9, 8])
    with pytest.warns(DataWarning, match="2 repeats of a pair are left out, 3 pairs remain"):
        split = load_split(before, None, after)
    assert split.train.times.tolist() == [3, 4] and split.test.times.tolist() == [8]
    clash = frame([("b", 2), ("b", 1)], time=[1, 2])
    with pytest.raises(DataError, match="user b and item 2 are given before in train"):
        load_split(before, None, clash)
    with pytest.warns(DataWarning):
        split = load_split(before, None, clash, repeats="drop")
    assert parts_of(split) == [[("a", 1), ("b", 2)], [], [("b", 1)]]


def test_one_threshold_and_one_choice_of_columns_for_all_parts():
    parts = (pd.DataFrame({"who": users, "what": items, "stars": stars}) for users, items, stars in
             ((["a", "b"], ["x", "y"], [5, 5]), (["a", "b"], ["y", "x"], [5, 1])))
    split = load_split(*parts, user_col="who", item_col="what", threshold=4)
    assert parts_of(split) == [[("a", "x"), ("b", "y")], [("a", "y")], []]


def test_sparse_matrices_keep_their_numbers():
    first, second = (sparse.csr_array((np.ones(len(cells)), tuple(zip(*cells))), shape=(4, 5))
                     for cells in ([(0, 1), (3, 4)], [(0, 4), (3, 1)]))
    split = load_split(first, None, second)
    assert (split.n_users, split.n_items) == (4, 5) and split.test.items.tolist() == [4, 1]
    for other in (second[:3], frame([(0, 4)])):
        with pytest.raises(DataError, match="train, test: sparse matrices go together only with others of the same"):
            load_split(first, None, other)


def test_what_load_split_refuses(put):
    empty = put("empty.csv", "user,item\n")
    with pytest.raises(DataError, match="^test: no pairs in it"):
        load_split(frame(TRAIN), None, empty)
    with pytest.raises(ValueError, match=r"test is 'ml-100k', a data set as a whole: load\('ml-100k'\).split"):
        load_split(frame(TRAIN), None, "ml-100k")
    with pytest.raises(DataError, match="there is no data set and no file 'nothing.csv'"):
        load_split(frame(TRAIN), "nothing.csv")
    with pytest.raises(TypeError, match="treshold"):
        load_split(frame(TRAIN), treshold=3)


def test_gowallas_publisher_has_parts_of_its_own(put, small):
    """LightGCN's train.txt and test.txt; another form of the same data does not know them."""
    trained, tested = {u: [*range(u, u + 12)] for u in range(3)}, {0: [20], 1: [21, 22], 2: []}
    small("gowalla", 3, 17, 39)
    for name, lists in (("train.txt", trained), ("test.txt.gz", tested)):
        text = "".join(f"{u} {' '.join(map(str, items))}\n" for u, items in lists.items())
        put(f"gowalla/{name}", gzip.compress(text.encode(), mtime=0) if name.endswith("gz") else text)
    split = load("gowalla").split("given", seed=1)
    assert originals(split.test) == [(0, 20), (1, 21), (1, 22)]
    assert split.valid.users.tolist() == [0, 1, 2]  # a tenth of twelve each
    assert sorted(originals(split.train) + originals(split.valid)) == [(u, i) for u in trained for i in trained[u]]
    assert not torch.equal(load("gowalla").split("given", seed=2).valid.items, split.valid.items)


def test_another_form_of_gowalla_has_no_parts(put, small):
    small("gowalla", 1, 2, 2)
    put("gowalla/interactions.tsv", "user_id\titem_id\n1\t2\n1\t3\n")
    with pytest.raises(ValueError, match="gowalla has no train and test of its publisher's"):
        load("gowalla").split("given")


def test_recboles_benchmark_triple(tmp_path):
    """NAME.train.inter, NAME.valid.inter and NAME.test.inter, with typed columns."""
    paths = []
    for part, pairs in (("train", "7\t10\n7\t11\n8\t10\n8\t12\n"), ("valid", "7\t12\n"), ("test", "8\t11\n")):
        paths.append(tmp_path / f"d.{part}.inter")
        paths[-1].write_text("user_id:token\titem_id:token\n" + pairs)
    split = load_split(*paths)
    assert split.train.user_ids.tolist() == [7, 8] and split.train.item_ids.tolist() == [10, 11, 12]
    assert [(split.parts[name].users.tolist(), split.parts[name].items.tolist()) for name in ("valid", "test")] == [
        ([0], [2]), ([1], [1])]

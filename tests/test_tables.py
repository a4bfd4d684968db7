"""Text of one's own: separators, quotes, encodings, what stands above the data, packed files, folders, lists."""

import bz2
import gzip
import lzma

import pandas as pd
import pytest
from catalog_helpers import PAIRS, originals, zipped

from rkd import DataError, DataWarning, load

pytestmark = [pytest.mark.usefixtures("folders"), pytest.mark.filterwarnings("ignore::rkd.DataWarning")]
TABLE = "user,item\n" + "".join(f"{user},{item}\n" for user, item in PAIRS)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("ending", ["csv", "tsv", "inter", "txt", "dat", "data"])
@pytest.mark.parametrize("sep", [",", "\t", ";", "|", "::", " ", "   "])
def test_separators(put, sep, ending, header):
    lines = [f"{user}{sep}{item}{sep}4" for user, item in PAIRS]
    path = put(f"own.{ending}", "\n".join([sep.join(("user_id", "item_id", "rating")), *lines][not header:]) + "\n")
    assert originals(load(path)) == PAIRS
    assert originals(load(path, sep=sep.strip(" ") or " ")) == PAIRS


@pytest.mark.parametrize("sep", ["\t", ";", "|", "::"])
def test_bad_line_under_another_separator(put, sep):
    with pytest.raises(DataError, match="line 3: expected 2 fields, found 1"):
        load(put("own.csv", TABLE.replace(",", sep).replace(f"1{sep}20", "1")))


@pytest.mark.parametrize("text", ["1;10;3,5\n2;20;4,0\n2;30;4,5\n", "1\t10\t3,5\n2\t20\t4,0\n2\t30\t4,5\n"])
def test_decimal_commas_separate_nothing(put, text):
    assert originals(load(put("own.csv", text), rating_col=2, threshold=4)) == [(2, 20), (2, 30)]


@pytest.mark.parametrize("sep", ["\t", ",", ";"])
@pytest.mark.parametrize("items", [
    ['"Heroes', "Low", 'Lodger"', "Low"], ['5" disk', '12"', 'a "b" c', 'x'], ['"Weird Al" live', "Low", '"', "x"],
    ['"Heroes', "Low", "Lodger", "x"]])
def test_lone_quotes_are_characters(put, sep, items):
    text = f"user{sep}item\n" + "".join(f"{user}{sep}{item}\n" for user, item in zip("abcd", items))
    assert originals(load(put("own.tsv", text))) == list(zip("abcd", items))


def test_lone_quote_in_the_header(put):
    assert originals(load(put("own.csv", 'user,item,12" single\n1,2,x\n1,3,y\n'))) == [(1, 2), (1, 3)]
    with pytest.raises(DataError, match="no pairs"):
        load(put("own.csv", 'user,item,"x\n'))


@pytest.mark.parametrize("sep", ["\t", ",", ";", "|", "::"])
@pytest.mark.parametrize("lone", ["", '"Heroes'])
def test_quotes_in_pairs_hold_separators_and_quotes(put, sep, lone):
    text = (f'"user"{sep}"item"\n1{sep}"Good{sep} the Bad"\n2{sep}"He said ""hi"""\n"3"{sep}plain\n4{sep}""""\n'
            + (f"5{sep}{lone}\n" if lone else ""))
    items = [f"Good{sep} the Bad", 'He said "hi"', "plain", '"', lone]
    assert originals(load(put("own.csv", text))) == list(zip(range(1, 5 + bool(lone)), items))


def test_quotes_may_hold_line_breaks(put):
    text = 'user,item,review\n1,7,"nice\nfilm, ""so"" good\n"\n2,8,no\n3,8,"long\n\nindeed"\n3,,x\n'
    with pytest.raises(DataError, match="line 9: user or item is missing"):
        load(put("own.csv", text))
    assert originals(load(put("own.csv", text[:-5]))) == [(1, 7), (2, 8), (3, 8)]


def test_quotes_around_rows(put):
    text = 'user,item,review\n1,7,"nice\n2,8,no\nindeed"\n3,8,x\n'
    with pytest.raises(DataError, match="line 2: a quote opens here and closes in line 4, around lines that look like"):
        load(put("own.csv", text))
    with pytest.raises(DataError, match="line 3: expected 2 fields, found 1 .some lines have a lone"):
        load(put("own.csv", 'user,item\n1,"2\nx\n3,4\n'))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(put, encoding, ends):
    text = "user,item\nJosé,東\nann,東\n".replace("\n", ends)
    if encoding in ("utf-16-le", "utf-16-be"):
        text = "\ufeff" + text
    assert originals(load(put("own.csv", text.encode(encoding)))) == [("José", "東"), ("ann", "東")]


@pytest.mark.parametrize("above, sep", [
    ("# exported 2024\n", ","), ("# a\n# b, c, d\n", ","), ("sep=,\n", ","), ("sep=;\n", ";"), ('"sep=|"\n', "|"),
    ("\n\n", ","), ("%%MatrixMarket\n", ",")])
def test_what_stands_above_the_data(put, above, sep):
    path = put("own.csv", above + TABLE.replace(",", sep) + f"9{sep}\n")
    with pytest.raises(DataError, match=f"line {above.count(chr(10)) + 7}: user or item is missing"):
        load(path)
    assert originals(load(put("own.csv", above + TABLE.replace(",", sep)))) == PAIRS
    with pytest.raises(DataError, match="line 1: expected 2 fields or more.*remove what stands above the data"):
        load(put("own.csv", "A report of 2024\n" + TABLE))


def test_header_behind_a_hash_and_ids_that_begin_with_one(put):
    assert originals(load(put("own.csv", "# " + TABLE))) == PAIRS
    assert originals(load(put("own.csv", "#a,x\n#b,x\n"))) == [("#a", "x"), ("#b", "x")]


@pytest.mark.parametrize("name, content", [
    ("own.csv.gz", gzip.compress(TABLE.encode())), ("own.csv.bz2", bz2.compress(TABLE.encode())),
    ("own.csv.xz", lzma.compress(TABLE.encode())), ("own.csv.zip", zipped(**{"a.csv": TABLE})),
    ("own.zip", zipped(**{"folder/a.csv": TABLE, "__MACOSX/._a.csv": "x"})),
    ("own.zip", zipped(**{"a.csv.gz": gzip.compress(TABLE.encode())}))],
    ids=["gz", "bz2", "xz", "zip", "zip with a folder", "gz in a zip"])
def test_packed(put, name, content):
    path = put(name, content)
    data = load(path)
    assert originals(data) == PAIRS and data.name == "own"
    with pytest.raises(DataError, match="own"):
        load(put(name, content[:-9]))


def test_zip_of_several_files(put):
    path = put("own.zip", zipped(**{"ml/ratings.csv": TABLE, "ml/movies.csv": "movieId,title\n1,x\n"}))
    with pytest.raises(DataError, match="holds 2 files .ml/ratings.csv, ml/movies.csv.: name one.* as .*own.zip/ml"):
        load(path)
    assert originals(load(path / "ml/ratings.csv")) == PAIRS
    with pytest.raises(DataError, match="has no 'ml/tags.csv', but ml/ratings.csv, ml/movies.csv"):
        load(path / "ml/tags.csv")


def test_folder_of_parquet_parts(tmp_path):
    folder = tmp_path / "own.parquet"
    (folder / "day=1").mkdir(parents=True)
    (folder / "_SUCCESS").touch()
    frame = pd.DataFrame(PAIRS, columns=["user", "item"])
    frame[:2].to_parquet(folder / "part-0.parquet")
    frame[2:].to_parquet(folder / "day=1/part-1.parquet")
    data = load(folder)
    assert originals(data) == PAIRS and data.name == "own"
    (folder / "other").mkdir()
    frame.to_parquet(folder / "other/part-0.parquet")  # none of the parts
    assert len(load(folder)) == len(PAIRS)
    frame[1:3].to_parquet(folder / "part-2.parquet")
    with pytest.raises(DataError, match="part-2.parquet, row 1: user 1 and item 20 are given before"):
        load(folder)
    frame.assign(more=1).to_parquet(folder / "part-2.parquet")
    with pytest.raises(DataError, match="its Parquet files have different columns"):
        load(folder)


def test_lists_of_items(put):
    assert originals(load(put("train.txt", "0 1 2 3\n1 2\n2\n"))) == [(0, 1), (0, 2), (0, 3), (1, 2)]
    with pytest.raises(DataError, match="line 2: user 1 and item 2 are given before"):
        load(put("train.txt", "0 1\n1 2 2\n"))
    assert originals(load(put("train.txt", "0 1\n0 2\n1 2\n"))) == [(0, 1), (0, 2), (1, 2)]  # pairs
    assert originals(load(put("train.txt", "0 1 5\n0 2 5\n1 2 5\n"))) == [(0, 1), (0, 2), (1, 2)]  # pairs with ratings
    with pytest.warns(DataWarning, match="read as lists, a user and its items a line; if it is a table, sep=' '"):
        assert len(load(put("train.txt", "0 1 5\n1 2 5\n"))) == 4
    assert len(load(put("train.txt", "0 1 5\n1 2 5\n"), sep=" ")) == 2


def test_arguments_for_text_only(tmp_path):
    frame = pd.DataFrame(PAIRS, columns=["user", "item"])
    frame.to_parquet(tmp_path / "own.parquet")
    with pytest.raises(DataError, match="sep= and header= are for text"):
        load(tmp_path / "own.parquet", sep=",")
    with pytest.raises(ValueError, match="sep and header are for text"):
        load(frame, header=True)
    with pytest.raises(ValueError, match="sep must be one character or more"):
        load(frame, sep="")


def test_any_ending_with_a_separator(put):
    assert originals(load(put("own.log", TABLE), sep=",")) == PAIRS

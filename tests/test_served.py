"""A model by itself: its lists in own ids, on disk and back, and as other programs read it."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import interactions_of, matrix, product

import rkd
from rkd import MF, Given, Interactions, LightGCN, Lists, Served, distill, evaluate, load_model, serve

WORDS = np.array(["Ωmega", "a b", "", "naïve", "日本", "\ud800", "\n", "a\0", "0", "1e5", "🜁", "null"], dtype=object)


def words(n, seed):
    """n different texts of many scripts."""
    order = np.random.default_rng(seed).permutation(n)
    return np.array([f"{WORDS[i % len(WORDS)]}{i // len(WORDS) or ''}" for i in order], dtype=object)


@pytest.fixture
def named(data):
    return replace(data, user_ids=words(23, 1), item_ids=np.random.default_rng(2).permutation(37) * 7 + 2**60)


@pytest.fixture
def model(named):
    split = named.split("unkd", seed=0)
    return serve(LightGCN(split, 4, seed=3), split)


def brute(model, split, user, k, exclude=True):
    """A user's k best by a loop over all scores."""
    scores = product(model)[user]
    order = np.argsort(-scores, kind="stable")
    return [(split.train.item_ids[i], scores[i]) for i in order if not (exclude and matrix(split.train)[user, i])][:k]


def same(found, expected):
    assert [item for item, _ in found] == [item for item, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], rel=1e-5, abs=1e-7)


# -------------------------------------------------------------------------------------------------- recommendations

@pytest.mark.parametrize("exclude", [True, False])
def test_a_users_best_items_by_own_ids(named, model, exclude):
    """One user, and several in whatever holds their ids; the third user has four unseen items, and no fifth is made
    up."""
    split = named.split("unkd", seed=0)
    for user, one in enumerate(named.user_ids):
        found = model.recommend(one, k=5, exclude_seen=exclude)
        same(found, brute(model, split, user, 5, exclude))
        assert all(type(item) is int and type(score) is float for item, score in found)
    several = [named.user_ids[n] for n in (4, 2, 9)]
    for ids in (several, tuple(several), np.array(several, dtype=object), iter(several)):
        lists = model.recommend(ids, k=20, exclude_seen=exclude)
        assert list(lists) == several
        for user, one in zip((4, 2, 9), several):
            same(lists[one], brute(model, split, user, 20, exclude))
    left = 37 - matrix(split.train)[2].sum()
    assert len(model.recommend(several[1], k=100, exclude_seen=exclude)) == (left if exclude else 37) and left < 20


def test_ids_that_are_numbers_and_none_at_all(data):
    split = data.split("unkd", seed=0)
    plain = serve(MF(split, 4), split)
    assert plain.recommend(3) == plain.recommend(np.int64(3)) == plain.recommend(torch.tensor(3))
    same(plain.recommend(torch.tensor([3, 4]))[3], plain.recommend(3))
    assert {item for item, _ in plain.recommend(3, k=40)} == set(np.flatnonzero(~matrix(split.train)[3]).tolist())
    for mask in (True, np.arange(23) < 3):  # True is no user 1
        with pytest.raises(ValueError, match="user True is none of the 23"):
            plain.recommend(mask)


@pytest.mark.parametrize("asked, message", [
    (dict(user="nobody"), "user 'nobody' is none of the 23 that the model knows, such as '.*'; for a new user: recomm"),
    (dict(user=3), "user 3 is none of the 23"), (dict(user=True), "user True is none"),
    (dict(user=["nobody"]), "user 'nobody' is none"), (dict(user=np.array([True, False])), "user True is none"),
    (dict(user=[["a"]]), r"user \['a'\] is none"),
    (dict(items=[2**60, "x"]), "item 'x' is none of the 37 that the model knows, such as 115"),
    (dict(items=[]), "items is empty"), (dict(items="abc"), "items must be a list of items' ids, not 'abc'"),
    (dict(items=2**60), "items must be a list"), (dict(), "one of the two"),
    (dict(user="", items=[2**60]), "one of the two"),
    *((dict(user="", k=k), f"k must be a whole number of 1 or more, not {k!r}") for k in (0, 2.5, True, "ten", None)),
])
def test_what_cannot_be_recommended_is_told(model, asked, message):
    with pytest.raises(ValueError, match=message):
        model.recommend(**asked)


def test_ids_must_be_of_one_user_each(named):
    twice = replace(named, user_ids=np.array(["same"] * 23, dtype=object)).split("unkd", 0)
    with pytest.raises(ValueError, match="22 user ids stand for more than one user"):
        serve(MF(twice, 3), twice).recommend("same")


def test_a_new_user_gets_what_others_like_who_chose_the_same():
    """Users of two tastes; a few items of a taste are enough. What was chosen is not shown again, unless asked for."""
    dense = np.kron(np.eye(2), np.ones((20, 15))) * (np.random.default_rng(0).random((40, 30)) < 0.6)
    ids = np.array([f"{'ab'[n // 15]}{n}" for n in range(30)], dtype=object)
    split = replace(interactions_of(dense), item_ids=ids).split("ratio", seed=0)
    served = rkd.train(MF(split, 4), split, lr=0.05, epochs=30, device="cpu", progress=False).served
    for taste, chosen in (("a", ["a3", "a0", "a12", "a8"]), ("b", ["b20", "b16", "b29", "b18", "b20"])):
        found = served.recommend(items=chosen, k=10)
        assert all(item.startswith(taste) for item, _ in found) and not {*chosen} & {item for item, _ in found}
        again = served.recommend(items=chosen, k=30, exclude_seen=False)
        assert [item for item, _ in again if item not in chosen][:10] == [item for item, _ in found]
        vector = served.fold_in(chosen)
        assert vector.shape == (4,)
        scores = {one: float(vector @ served.factors()[1][n]) for n, one in enumerate(ids)}
        assert dict(again) == pytest.approx({item: scores[item] for item, _ in again}, rel=1e-5)
    assert len(served.recommend(items=ids[:28], k=10)) == 2


# ----------------------------------------------------------------------------------------------------- save and load

def mixed(n):
    return np.array([*range(n - 3), "x", 2.5, 2**70], dtype=object)


@pytest.mark.parametrize("user_ids", [
    words(23, 5), mixed(23), None, np.arange(23) + np.iinfo(np.int64).min, np.array([f"é{n}" for n in range(23)]),
    np.arange(23, dtype=np.uint64) + 2**63, np.arange(23, dtype=np.int8), np.arange(23) / 3])
@pytest.mark.parametrize("make", [MF, LightGCN])
def test_what_is_saved_is_loaded(data, user_ids, make, tmp_path):
    split = replace(data, user_ids=user_ids, item_ids=words(37, 6)).split("unkd", seed=0)
    fresh, path = serve(make(split, 4, seed=2), split), tmp_path / "a" / "model.safetensors"
    fresh.save(path)
    loaded = load_model(path)
    for one, other in ((loaded.user_ids, fresh.user_ids), (loaded.item_ids, split.train.item_ids)):
        assert one.tolist() == other.tolist() and [*map(type, one.tolist())] == [*map(type, other.tolist())]
    assert all(map(torch.equal, loaded.factors() + loaded.inputs(), fresh.factors() + fresh.inputs()))
    assert (loaded.inputs() is loaded.factors()) == (make is MF)
    assert torch.equal(loaded.seen.keys, split.train.keys) and loaded.about == fresh.about
    user = fresh.user_ids[5]
    assert loaded.recommend(user, 7) == fresh.recommend(user, 7)
    for model in (fresh, make(split, 4, seed=2)):
        assert evaluate(loaded, split) == pytest.approx(evaluate(model, split), abs=0, rel=0, nan_ok=True)


def test_a_loaded_model_is_a_teacher_and_moves_between_devices(named, model, tmp_path, device):
    split = named.split("unkd", seed=0)
    model.save(tmp_path / "m")
    loaded, plain = load_model(tmp_path / "m"), Given(model.factors(), model.inputs())
    students = (distill(t, split, "de", dim=3, epochs=2, device="cpu", progress=False) for t in (loaded, plain))
    assert torch.equal(*(student.model.table for student in students))
    there = loaded.to(device)
    assert isinstance(there, Served) and there.factors()[0].device == device
    user = named.user_ids[4]
    assert [i for i, _ in there.recommend(user)] == [i for i, _ in model.recommend(user)]
    assert [i for i, _ in there.recommend(items=[2**60])] == [i for i, _ in model.recommend(items=[2**60])]


def test_it_does_not_change_with_what_it_was_made_of(data):
    split = data.split("unkd", seed=0)
    student = MF(split, 4)
    served, before = serve(student, split), student.table.detach().clone()
    with torch.no_grad():
        student.table.zero_()
    assert torch.equal(torch.cat(served.factors()), before)


@pytest.mark.parametrize("spoil, message", [
    (lambda content: content[:-5], "is cut off, damaged, or no model that rkd saved"),
    (lambda content: content[:40], "is cut off, damaged, or no model that rkd saved"),
    (lambda content: b"", "is cut off, damaged, or no model that rkd saved"),
    (lambda content: b"user,item\n1,2\n", "is cut off, damaged, or no model that rkd saved"),
    (lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:], "is damaged: its checksum is another"),
    (lambda content: content.replace(b"unkd", b"unkD"), "is damaged: its checksum is another"),
    (lambda content: content.replace(b"rkd model 1", b"rkd model 9"),
     "is no model that this release of rkd saved: its format is 'rkd model 9', not 'rkd model 1'"),
    (lambda content: content.replace(b'"format"', b'"forma1"'), "is no model .*: its format is 'unknown'"),
])
def test_a_file_that_is_not_whole_is_refused(model, tmp_path, spoil, message):
    model.save(path := tmp_path / "m")
    content = path.read_bytes()
    path.write_bytes(spoil(content))
    assert path.read_bytes() != content
    with pytest.raises(ValueError, match=f"^{path} {message}") as error:
        load_model(path)
    assert "\n" not in str(error.value)


def test_what_cannot_be_served_or_saved(data, tmp_path):
    split = data.split("unkd", seed=0)
    lists = Lists([[1, 2]] * 23, np.ones((23, 2)), 37)
    for model, error, message in ((lists, ValueError, "no embeddings"), (7, TypeError, "expected a model or a pair"),
                                  (MF(split, 3).factors()[::-1], ValueError, "37 users and 23 items")):
        with pytest.raises(error, match=message):
            serve(model, split)
    with pytest.raises(ValueError, match="the model is of 23 users and 37 items, the pairs are of 37 and 23"):
        Served(MF(split, 3).factors(), Interactions(37, 23, split.train.items[:0], split.train.items[:0]))
    dated = replace(data, user_ids=np.arange(23).astype("datetime64[D]")).split("unkd", seed=0)
    with pytest.raises(ValueError, match="user_ids holds datetime.date.*, which is neither text nor number"):
        serve(MF(dated, 3), dated).save(tmp_path / "m")
    assert not [*tmp_path.iterdir()]
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_model(tmp_path / "nothing")


# ------------------------------------------------------------------------------------------------------------ exports

def test_npz_is_what_numpy_reads_without_pickle(named, tmp_path):
    named = replace(named, user_ids=np.array([f"ü{n}" for n in range(23)], dtype=object))
    model = serve(LightGCN(split := named.split("unkd", seed=0), 4), split)
    model.export(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as arrays:
        found = dict(arrays)
    assert found["user_ids"].tolist() == named.user_ids.tolist()
    assert found["item_ids"].tolist() == named.item_ids.tolist()
    for name, table in zip(("user_factors", "item_factors", "user_inputs", "item_inputs"),
                           model.factors() + model.inputs()):
        assert np.array_equal(found.pop(name), table.numpy())
    start, end = found["seen_offsets"][2:4]
    assert found["seen_items"][start:end].tolist() == np.flatnonzero(matrix(split.train)[2]).tolist()
    assert found.keys() == {"user_ids", "item_ids", "seen_offsets", "seen_items"}


def test_safetensors_and_endings(model, tmp_path):
    model.export(tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").user_ids.tolist() == model.user_ids.tolist()
    with pytest.raises(ValueError, match="m.pkl must end in .npz, .safetensors, .faiss"):
        model.export(tmp_path / "m.pkl")


@pytest.mark.parametrize("ids, message", [
    (mixed(23), "no NumPy array holds the user ids as they are"), (WORDS[:8].repeat(3)[:23], "no NumPy array"),
    (np.array(["x" * 10**8, *map(str, range(22))], dtype=object), "the longest user id has 100000000 letters"),
])
def test_ids_that_numpy_cannot_hold(data, tmp_path, ids, message):
    split = replace(data, user_ids=ids).split("unkd", seed=0)
    with pytest.raises(ValueError, match=message):
        serve(MF(split, 3), split).export(tmp_path / "m.npz")
    assert not [*tmp_path.iterdir()]


def test_a_faiss_index_finds_what_is_recommended(named, model, tmp_path):
    faiss = pytest.importorskip("faiss")
    model.export(tmp_path / "m.faiss")
    index, ids = faiss.read_index(str(tmp_path / "m.faiss")), json.loads((tmp_path / "m.faiss.ids.json").read_text())
    assert ids == named.item_ids.tolist()
    vectors = np.stack([model.factors()[0][4].numpy(), model.fold_in([2**60]).numpy()])
    scores, rows = index.search(vectors, 6)
    for found, row, score in zip((model.recommend(named.user_ids[4], 6, exclude_seen=False),
                                  model.recommend(items=[2**60], k=6, exclude_seen=False)), rows, scores):
        same(found, [(ids[n], s) for n, s in zip(row, score)])


def test_without_faiss_one_is_told_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match="^export to .faiss needs faiss: pip install faiss-cpu$"):
        model.export(tmp_path / "m.faiss")

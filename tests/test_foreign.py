"""Models of other libraries: objects with their documented attributes, against the scores that those libraries compute;
and the libraries themselves where they are installed."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import rkd
from rkd import MF, Given, Lists, Split
from rkd.given import fixed

RNG = np.random.default_rng(7)
P, Q = RNG.standard_normal((4, 3)), RNG.standard_normal((5, 3))
BU, BI = RNG.standard_normal(4), RNG.standard_normal(5)
MEAN = 3.5
USERS, ITEMS = ["u3", "u1", "u0", "u2"], ["i4", "i0", "i2", "i1", "i3"]  # the models' rows: by order of appearance
PAIRS = [(f"u{u}", f"i{i}") for u in range(4) for i in range(5) if (u + i) % 3]


class Vocabulary:
    """Of LensKit: its terms by ids(), their numbers by number()."""

    def ids(self):
        return np.array(self.terms)

    def __init__(self, terms):
        self.terms = terms


class OnGPU:
    """A matrix of implicit's on a GPU."""

    def __init__(self, table):
        self.table, self.shape = table, table.shape

    def to_numpy(self):
        return self.table


class Cornac(SimpleNamespace):
    """A recommender of cornac's that is no MF: its vectors for nearest neighbours, and its scores."""

    def get_vector_measure(self):
        return "dot product aka. inner product"

    def get_user_vectors(self):
        return P

    def get_item_vectors(self):
        return np.concatenate([Q, BI[:, None]], 1) if self.wide else Q

    def score(self, user):
        return self.sign * (Q @ P[user])


def rows_of(ids):
    return OrderedDict((name, row) for row, name in enumerate(ids))


MODELS = {  # model → what it scores but for one constant
    "implicit": (SimpleNamespace(user_factors=P, item_factors=Q, factors=3), P @ Q.T),
    "implicit on a GPU": (SimpleNamespace(user_factors=OnGPU(P), item_factors=OnGPU(Q), factors=3), P @ Q.T),
    "cornac MF": (SimpleNamespace(u_factors=P, i_factors=Q, u_biases=BU, i_biases=BI, global_mean=MEAN,
                                  uid_map=rows_of(USERS), iid_map=rows_of(ITEMS + ["i9"])),  # i9: of no training pair
                  P @ Q.T + BU[:, None] + BI),
    "cornac BPR": (SimpleNamespace(u_factors=P, i_factors=Q, i_biases=BI, u_biases=None, uid_map=rows_of(USERS),
                                   iid_map=rows_of(ITEMS)), P @ Q.T + BI),
    "cornac": (Cornac(sign=1, wide=False, uid_map=rows_of(USERS), iid_map=rows_of(ITEMS)), P @ Q.T),
    "LensKit": (SimpleNamespace(user_embeddings=P, item_embeddings=Q, users=Vocabulary(USERS), items=Vocabulary(ITEMS),
                                bias=SimpleNamespace(global_bias=MEAN, user_biases=BU, item_biases=BI)),
                P @ Q.T + BU[:, None] + BI),
    "LensKit ALS": (SimpleNamespace(user_embeddings=torch.from_numpy(P), item_embeddings=torch.from_numpy(Q),
                                    users=Vocabulary(USERS), items=Vocabulary(ITEMS)), P @ Q.T),
    "LensKit 0.14": (SimpleNamespace(  # the biases are in an order of their own
        user_features_=P, item_features_=Q, user_index_=pd.Index(USERS), item_index_=pd.Index(ITEMS),
        bias=SimpleNamespace(mean_=MEAN, user_offsets_=pd.Series(BU, USERS).sort_index(),
                             item_offsets_=pd.Series(BI, ITEMS).sort_index())), P @ Q.T + BU[:, None] + BI),
    "LensKit HPF": (SimpleNamespace(user_features_=P, item_features_=Q, users_=Vocabulary(USERS),
                                    items_=Vocabulary(ITEMS)), P @ Q.T),
    "LensKit SVD": (SimpleNamespace(user_components_=P, factorization_=SimpleNamespace(components_=Q.T),
                                    users_=Vocabulary(USERS), items_=Vocabulary(ITEMS),
                                    bias_=SimpleNamespace(user_biases=BU, item_biases=BI)),
                    P @ Q.T + BU[:, None] + BI),
    "LightFM": (SimpleNamespace(user_embeddings=P, item_embeddings=Q, user_biases=BU, item_biases=BI),
                P @ Q.T + BU[:, None] + BI),
    "Surprise": (SimpleNamespace(pu=P, qi=Q, bu=BU, bi=BI, trainset=SimpleNamespace(
        global_mean=MEAN, _raw2inner_id_users=rows_of(USERS), _raw2inner_id_items=rows_of(ITEMS))),
        P @ Q.T + BU[:, None] + BI),
    "dict": ({"users": P, "items": Q, "user_ids": USERS, "item_ids": ITEMS}, P @ Q.T),
    "another's": (SimpleNamespace(U=P.tolist(), V=torch.nn.Embedding.from_pretrained(torch.from_numpy(Q))), P @ Q.T),
}
WITHOUT_IDS = {"implicit", "implicit on a GPU", "LightFM", "another's"}


def split_of(pairs) -> Split:
    data = rkd.load(pairs)
    empty = rkd.Interactions(data.n_users, data.n_items, *torch.zeros(2, 0, dtype=torch.int64))
    return Split(data, empty, empty)


@pytest.mark.parametrize("name", MODELS)
def test_a_models_scores_are_its_own_and_its_rows_go_by_its_ids(name):
    model, scores = MODELS[name]
    found = fixed(model, split_of(PAIRS))
    if name not in WITHOUT_IDS:
        scores = scores[np.argsort(USERS)][:, np.argsort(ITEMS)]
    ours = found.scores(None, torch.arange(5).expand(4, 5))
    np.testing.assert_allclose(ours, scores, rtol=1e-5, atol=1e-6)


def test_an_npz_file_is_read_by_name(tmp_path):
    np.savez(tmp_path / "teacher.npz", users=P, items=Q, user_ids=np.array(USERS), item_ids=np.array(ITEMS))
    found = fixed(np.load(tmp_path / "teacher.npz"), split_of(PAIRS))
    np.testing.assert_allclose(found.factors()[1], Q[np.argsort(ITEMS)], rtol=1e-6)


def test_ids_that_are_given_go_before_a_models_own():
    model = MODELS["cornac"][0]
    found = fixed(Given(model, user_ids=sorted(USERS), item_ids=sorted(ITEMS)), split_of(PAIRS))
    np.testing.assert_allclose(found.factors()[0], P, rtol=1e-6)


def test_what_a_model_was_trained_into_is_that_model():
    split = split_of(PAIRS)
    model = MF(split, 3)
    assert torch.equal(fixed(rkd.Fit(model), split).factors()[0], model.factors()[0])


class Scorer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.user_embedding, self.item_embedding = torch.nn.Embedding(4, 3), torch.nn.Embedding(5, 3)


def test_a_pair_of_embeddings_is_taken_but_not_guessed():
    scorer = Scorer()
    assert torch.equal(Given((scorer.user_embedding, scorer.item_embedding)).factors()[0], scorer.user_embedding.weight)
    with pytest.raises(TypeError, match=r"not Scorer; give \(model.user_embedding, model.item_embedding\) where"):
        Given(scorer)


@pytest.mark.parametrize("model, message", [
    (SimpleNamespace(predict=print), r"expected a model or a pair .*not SimpleNamespace; for .*make rkd.Lists\(items"),
    (P @ Q.T, r"not ndarray of float64, \(4, 5\); for scores that are no inner product make rkd.Lists"),
    (pd.DataFrame(P @ Q.T), "not DataFrame.* make rkd.Lists"),
    (SimpleNamespace(pu=P, qi=Q, bu=BU, bi=BI, yj=Q), "expected a model or a pair"),  # Surprise's SVD++
    (SimpleNamespace(user_factors=None, item_factors=None), "has no factors of users and items: fit it first"),
    (SimpleNamespace(user_embeddings=None, item_embeddings=Q), "has no factors of users and items: fit it first"),
    (Cornac(sign=-1, wide=False), "Cornac ranks items otherwise than the inner products"),
    ({"users": P}, "expected a model or a pair .*not dict"), (MF, "expected a model or a pair .*not type")])
def test_what_has_no_factors_is_told_what_to_do(model, message):
    with pytest.raises(TypeError, match=message):
        Given(model)


def test_biases_must_be_one_a_row():
    with pytest.raises(ValueError, match="the model has 5 item factors, but 4 item biases"):
        Given(SimpleNamespace(u_factors=P, i_factors=Q, i_biases=BI[:4]))


# --------------------------------------------------------------------------------------------- the libraries themselves

@pytest.fixture
def clicks():
    """Of text ids, in random order."""
    data = rkd.load("synthetic")
    rng = np.random.default_rng(1)
    order = rng.permutation(len(data))
    pairs = [(f"u{u}", f"i{i}") for u, i in zip(data.users[order].tolist(), data.items[order].tolist())]
    return rkd.load(pairs).split()


def test_implicit_itself(clicks):
    als = pytest.importorskip("implicit.als")
    from scipy.sparse import csr_matrix
    train = clicks.train
    seen = csr_matrix((np.ones(len(train), np.float32), (train.users, train.items)), (clicks.n_users, clicks.n_items))
    model = als.AlternatingLeastSquares(8, iterations=2, random_state=0)
    model.fit(seen, show_progress=False)
    users = np.arange(clicks.n_users)
    lists, scores = model.recommend(users, seen, N=5)
    for teacher in (model, Lists(lists, scores, clicks.n_items)):
        assert np.array_equal(rkd.recommend(teacher, clicks, torch.from_numpy(users), 5), lists)


@pytest.mark.parametrize("name", ["MF", "BPR", "PMF"])
def test_cornac_itself(clicks, name):
    cornac = pytest.importorskip("cornac")
    train = clicks.train
    rows = zip(train.user_ids[train.users], train.item_ids[train.items], 1.0 + (train.items % 4))
    data = cornac.data.Dataset.from_uir([(u, i, float(r)) for u, i, r in rows][::-1], seed=0)
    model = getattr(cornac.models, name)(k=4, max_iter=2, seed=1, verbose=False).fit(data)
    found = fixed(model, clicks)
    for user in range(0, clicks.n_users, 50):
        own = model.score(data.uid_map[train.user_ids[user]])
        items = torch.tensor([np.searchsorted(train.item_ids, i) for i in data.iid_map])
        ours = found.scores(torch.tensor([user]), items[None])[0].numpy()
        np.testing.assert_allclose(ours - ours.mean(), own - own.mean(), atol=1e-4)

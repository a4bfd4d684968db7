"""New users' vectors: against the regression written out, and as good as those of users who were trained."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import matrix

from rkd import MF, Interactions, LightGCN, Split, evaluate, train
from rkd.datasets import synthetic
from rkd.fold_in import PRIOR, RIDGE, FoldIn


def features(v, dense):
    """Each user's mean factor, with PRIOR items more, which are the mean of all that was chosen."""
    mean = np.mean([v[i] for _, i in zip(*np.nonzero(dense))], axis=0)
    return np.array([(sum((v[i] for i in np.flatnonzero(row)), np.zeros(v.shape[1])) + PRIOR * mean)
                     / (row.sum() + PRIOR) for row in dense])


def test_it_is_the_ridge_regression_of_users_on_their_items(data, device):
    """By NumPy's least squares on rows added for the penalty; who has no item has no say in it."""
    generator, dense = torch.Generator().manual_seed(0), matrix(data)
    u, v = (torch.randn(n, 5, generator=generator) for n in (23, 37))
    fold = FoldIn(u.to(device), v.to(device), data.to(device))
    trained = dense.any(1)
    assert not trained.all()
    x, y = features(v.double().numpy(), dense)[trained], u.double().numpy()[trained]
    x_mean, y_mean = x.mean(0), y.mean(0)
    penalty = RIDGE * np.mean(((x - x_mean) ** 2).sum(0))
    rows = np.vstack([x - x_mean, np.sqrt(penalty) * np.eye(5)])
    weight = np.linalg.lstsq(rows, np.vstack([y - y_mean, np.zeros((5, 5))]), rcond=None)[0]
    new = np.random.default_rng(1).random((9, 37)) < 0.2
    new[0] = False
    users, items = map(torch.from_numpy, np.nonzero(new))
    found = fold(Interactions(9, 37, users, items).to(device)).cpu().double().numpy()
    mean = np.mean([v[i].double().numpy() for i in data.items], axis=0)
    expected = np.array([(v[torch.from_numpy(row)].double().sum(0).numpy() + PRIOR * mean) / (row.sum() + PRIOR)
                         for row in new]) @ weight + y_mean - x_mean @ weight
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_no_pairs_teach_nothing(data):
    none = replace(data, users=data.users[:0], items=data.items[:0])
    with pytest.raises(ValueError, match="no user has an item"):
        FoldIn(torch.ones(23, 2), torch.ones(37, 2), none)


def without(part: Interactions, users: torch.Tensor, keep: bool) -> Interactions:
    chosen = torch.isin(part.users, users) == keep
    return replace(part, users=part.users[chosen], items=part.items[chosen])


@pytest.mark.parametrize("make", [MF, LightGCN])
def test_users_kept_from_training_fare_nearly_as_those_trained(make):
    """A fifth of the users of a world with low-rank preferences: NDCG@10 within a tenth of what the same users have
    when they are trained as well, and three items of theirs are still worth much more than none."""
    world = synthetic.world(300, 100, rank=3, signal=4.0, popularity=1.0, n_train=15, n_valid=4, n_test=6, seed=0)
    split, new = world.split, torch.arange(0, 300, 5)
    options = dict(lr=2e-2, l2=1e-2, epochs=40, device="cpu", progress=False)
    everyone = train(make(split, 6, seed=0), split, **options).model
    known = Split(*(without(part, new, False) for part in (split.train, split.valid, split.test)))
    user_factors, item_factors = train(make(known, 6, seed=0), known, **options).model.factors()
    fold, theirs = FoldIn(user_factors, item_factors, known.train), without(split.train, new, True)
    asked = replace(split, test=without(split.test, new, True))
    first = torch.cat([torch.arange(15)[:3] + 15 * n for n in range(len(new))])
    order = theirs.users.argsort(stable=True)[first]
    few = replace(theirs, users=theirs.users[order], items=theirs.items[order])

    def ndcg(vectors):
        folded = user_factors.clone()
        folded[new] = vectors
        return evaluate((folded, item_factors), asked)["ndcg@10"]

    trained = evaluate(everyone, asked)["ndcg@10"]
    nobody = ndcg(user_factors[torch.isin(torch.arange(300), new, invert=True)].mean(0))
    full, three = ndcg(fold(theirs)[new]), ndcg(fold(few)[new])
    assert len(few) == 3 * len(new)
    assert nobody < 0.7 * trained and full > 0.9 * trained and nobody + (full - nobody) / 3 < three < full

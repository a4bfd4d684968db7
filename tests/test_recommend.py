"""Whom rkd.recommend takes for users, what ks are, and what it says of anything else."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import brute_ranking, product

from rkd import MF, evaluate, per_user, recommend


def test_users_in_whatever_holds_row_numbers(split, device):
    """Each is the ranking by brute force, filled up with −1."""
    split = split.to(device)
    model = MF(split, 4).to(device)
    lists = [(row + [-1] * 40)[:6] for row in brute_ranking(product(model), split.to("cpu"))]
    for users in ([4, 2, 4], (4, 2, 4), np.array([4, 2, 4], dtype=np.int8), torch.tensor([4, 2, 4], dtype=torch.int32),
                  torch.tensor([4, 2, 4], device=device), pd.Series([4, 2, 4]), range(2, 5)):
        found = recommend(model, split, users, 6)
        assert found.dtype == torch.int64 and found.tolist() == [lists[u] for u in users]
    for one in (4, np.int64(4), torch.tensor(4)):
        assert recommend(model, split, one, np.int64(6)).tolist() == [lists[4]]
    mask = np.zeros(23, dtype=bool)
    mask[[2, 4]] = True
    for masked in (mask, mask.tolist(), torch.from_numpy(mask)):
        assert recommend(model, split, masked, 6.0).tolist() == [lists[2], lists[4]]
    for nobody in ([], np.zeros(0), np.zeros(23, dtype=bool)):
        assert recommend(model, split, nobody, 6).shape == (0, 6)


@pytest.mark.parametrize("users, message", [
    ([3, -1], "users must be row numbers from 0 to 22, but entry 1 is -1"), (23, "but entry 0 is 23"),
    (-1, "but entry 0 is -1"), ("ann", r"not 'ann': rkd.serve\(model, split\).recommend\('ann'\) takes own ids"),
    (["ann", "bob"], "takes own ids"), (None, "takes own ids"), ([0.5, 1.0], "not torch.float32"),
    ([True, False], "a mask of users must have 23 entries, one for each, not 2"), (True, "a mask of users"),
])
def test_users_that_are_none(split, users, message):
    with pytest.raises(ValueError, match=message):
        recommend(MF(split, 3), split, users, 5)


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "five", None])
def test_a_k_that_is_none(split, k):
    with pytest.raises(ValueError, match="k must be a whole number of 1 or more, not "):
        recommend(MF(split, 3), split, [0], k)
    for measure in (evaluate, per_user):
        for ks in ([5, k], [k], k):
            with pytest.raises(ValueError, match="ks must hold lengths of lists, whole numbers of 1 or more"):
                measure(MF(split, 3), split, ks=ks)


def the_same(metrics: dict):
    """As they are, NaN included."""
    return pytest.approx(metrics, abs=0, rel=0, nan_ok=True)


def test_ks_in_whatever_holds_whole_numbers(split):
    model = MF(split, 3)
    both, ten = evaluate(model, split, ks=(5, 10)), evaluate(model, split, ks=(10,))
    for ks in ([5, 10], np.array([5, 10]), np.array([5.0, 10.0]), torch.tensor([5, 10]), pd.Series([5, 10])):
        assert evaluate(model, split, ks=ks) == the_same(both) and per_user(model, split, ks=ks).keys() >= {"recall@5", "ndcg@10"}
    for k in (10, 10.0, np.int64(10), np.array(10), torch.tensor(10)):
        assert evaluate(model, split, ks=k) == the_same(ten)

"""How far scores follow popularity, against SciPy. (Groups and halves: test_evaluate.py)"""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from rkd.popularity import items_by_group, popularity_groups, popularity_in_scores


@pytest.mark.parametrize("n_groups", [1, 3])
def test_correlation_with_popularity_is_scipys(split, n_groups):
    generator = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 4, generator=generator) for n in (split.n_users, split.n_items))
    counts = split.train.item_counts
    group = popularity_groups(counts, n_groups)
    expected = [spearmanr(counts[group == g], (items[group == g] @ u)).statistic
                for g in range(n_groups) for u in users if len(counts[group == g].unique()) > 1]
    assert popularity_in_scores(users, items, counts, n_groups) == pytest.approx(np.mean(expected), abs=1e-5)


def test_scores_of_popularity_alone_follow_it():
    counts = torch.tensor([9, 7, 5, 4, 3, 2, 1])
    scores = torch.ones(3, 1), counts[:, None].float()
    assert popularity_in_scores(*scores, counts, 1) == pytest.approx(1, abs=1e-5)
    assert popularity_in_scores(scores[0], -scores[1], counts, 2) == pytest.approx(-1, abs=1e-5)


def test_items_by_group_by_hand():
    counts = torch.tensor([1, 6, 0, 3, 2])  # mass 12: {1} holds half, {3, 4, 0} the rest, and 2, which nobody has
    assert [items.tolist() for items in items_by_group(counts, 2)] == [[1], [0, 2, 3, 4]]

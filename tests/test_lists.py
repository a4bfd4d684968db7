"""A user's lists side by side, and calibrated lists: against hand-worked cases and a loop."""

import numpy as np
import torch

import rkd
from rkd.study.lists import calibrated, side_by_side


def toy(item_ids=None):
    """Items a … f: a and b are the popular half; user 0 has a, b and c, user 1 a, d and e, user 2 b and f."""
    users, items = zip(*((u, "abcdef".index(i)) for u, has in enumerate(("abc", "ade", "bf")) for i in has))
    train = rkd.Interactions(3, 6, torch.tensor(users), torch.tensor(items), item_ids=item_ids)
    return rkd.Split(train, test=rkd.Interactions(3, 6, torch.tensor([0, 2]), torch.tensor([3, 0])))


SCORES = torch.tensor([[9.0, 8, 7, 1, 3, 2], [9, 6, 5, 4, 3, 2], [6, 9, 5, 4, 3, 8]])
MODEL = rkd.Given((SCORES, torch.eye(6)))


def test_lists_side_by_side_by_hand():
    """The second model lists two items only."""
    two = rkd.Lists(torch.tensor([[3, 4], [1, 2], [4, 3]]), torch.tensor([[2.0, 1]] * 3), 6)
    found = side_by_side({"one": MODEL, "two": two}, toy(), 2, k=5)
    assert found.to_dict("list") == {
        "one": ["● item 0 (2) ✓", "○ item 2 (1)", "○ item 3 (1)", "○ item 4 (1)"],
        "two": ["○ item 4 (1)", "○ item 3 (1)", "", ""]}
    assert found.index.tolist() == [1, 2, 3, 4] and found.index.name == "rank"


def test_titles_go_by_the_publishers_ids():
    split = toy(np.array([10, 20, 30, 40, 50, 60]))
    found = side_by_side({"one": MODEL}, split, 0, {40: "Toy Story"}, k=2)
    assert found["one"].tolist() == ["○ item 50 (1)", "○ item 60 (1)"]
    assert side_by_side({"one": MODEL}, split, 0, {40: "Toy Story"}, k=3)["one"].iloc[2] == "○ Toy Story (1) ✓"


def test_calibrated_lists_by_a_loop():
    """As many unpopular items as the user's training items have of them, in order of score."""
    split = rkd.split_of("synthetic")
    model, k = rkd.MF(split, 6, seed=1), 10
    found = calibrated(model, split, k)
    users, items = model.factors()
    popular = rkd.popular_items(split.train.item_counts)
    lists = found.ranking(k, split.train)
    for user in range(0, split.n_users, 7):
        own = split.train.items[split.train.users == user].tolist()
        unpopular = int(k * sum(not popular[i] for i in own) / len(own) + 0.5)
        scores = (items @ users[user]).tolist()
        ranked = sorted(set(range(split.n_items)) - set(own), key=lambda i: -scores[i])
        chosen = [i for i in ranked if not popular[i]][:unpopular] + [i for i in ranked if popular[i]][:k - unpopular]
        assert lists[user].tolist() == sorted(chosen, key=lambda i: -scores[i])


def test_calibrated_lists_end_where_a_half_does():
    """User 0 has a third of its items in the unpopular half, so one of two places; it has no popular item left."""
    assert calibrated(MODEL, toy(), 2).ranking(2, toy().train).tolist() == [[4, -1], [1, 2], [0, 2]]

"""Ranking and its metrics against brute force, and the groups of popularity that some of them rest on."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import interactions_of, matrix, random_interactions
from torch.utils._python_dispatch import TorchDispatchMode

import rkd.ranking
from rkd import METRICS, MF, Interactions, Lists, Split, evaluate, per_user, popular_items, popularity_groups, recommend
from rkd.hits import rank
from rkd.metrics import decile_recall
from rkd.popularity import popularity_deciles

# ------------------------------------------------------------------------------------------ the definitions, spelt out


def brute_groups(counts, n_groups):
    """Each item's group: the one in which the middle of its stretch of the sorted popularity lies."""
    order = sorted(range(len(counts)), key=lambda i: (-counts[i], i))
    group, before = {}, 0
    for i in order:
        group[i] = min(math.floor((before + counts[i] / 2) * n_groups / sum(counts)), n_groups - 1)
        before += counts[i]
    return [group[i] for i in range(len(counts))]


def brute_lists(scores, train, k):
    """Each user's unseen items by falling score, equal scores by id: lists of at most k."""
    return [sorted((i for i in range(scores.shape[1]) if not train[u, i]), key=lambda i: (-scores[u, i], i))[:k]
            for u in range(len(scores))]


def among(inside, hits, wanted, without):
    """Recall of some of the wanted items; ``without`` where none of them is wanted."""
    n = inside[wanted].sum()
    return inside[hits].sum() / n if n else without


def brute_evaluate(scores, train, held_out, ks):
    """(overall, by user): every metric of rkd.evaluate, one user and one item at a time."""
    counts = train.sum(0)
    unpopular = np.array(brute_groups(counts.tolist(), 2)) == 1
    trained, decile = counts > 0, np.array(brute_groups(counts.tolist(), 10)) + 1
    users = np.flatnonzero(held_out.any(1))
    by_user, overall = {"users": users}, {"users": len(users)}
    by_user["held_out/aplt"] = np.array([unpopular[held_out[u]].mean() for u in users])
    overall["held_out/aplt"] = by_user["held_out/aplt"].mean()
    for k in ks:
        lists = brute_lists(scores, train, k)
        rows = []
        for u in users:
            hits = [i for i in lists[u] if held_out[u, i]]
            wanted = np.flatnonzero(held_out[u])
            dcg = sum(1 / math.log2(rank + 1) for rank, i in enumerate(lists[u], 1) if held_out[u, i])
            row = {"arp": counts[lists[u]].mean(), "aplt": unpopular[lists[u]].mean(),
                   "recall": len(hits) / len(wanted), "precision": len(hits) / k, "hit_rate": float(len(hits) > 0),
                   "ndcg": dcg / sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))}
            for half, inside, as_unkd in (("popular", ~unpopular, ~unpopular),
                                          ("unpopular", unpopular, unpopular & trained)):
                row[f"{half}/recall"] = among(inside, hits, wanted, np.nan)
                row[f"{half}/recall_unkd"] = among(as_unkd, hits, wanted, 0)
            row |= {f"decile {d}/recall": among(decile == d, hits, wanted, np.nan) for d in range(1, 11)}
            rows.append(row)
        for name in rows[0]:
            by_user[f"{name}@{k}"] = np.array([row[name] for row in rows])
            there = by_user[f"{name}@{k}"][~np.isnan(by_user[f"{name}@{k}"])]
            overall[f"{name}@{k}"] = there.mean() if len(there) else np.nan
        shown = [i for u in users for i in lists[u]]
        times = np.bincount(shown, minlength=len(counts))
        overall[f"coverage@{k}"] = (times > 0).mean()
        overall[f"gini@{k}"] = np.abs(times[:, None] - times).mean() / (2 * times.mean())
    return overall, by_user


def case(n_users, n_items, seed=0, dim=4):
    """A split with awkward users (see conftest), and factors whose scores are whole numbers: exact in any order."""
    split = random_interactions(n_users, n_items, seed).split("unkd", seed)
    rng = np.random.default_rng(seed)
    factors = tuple(rng.integers(-50, 50, (n, dim)).astype(np.float32) for n in (n_users, n_items))
    return split, factors


def same(found: dict, expected: dict):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(np.asarray(found[name]), value, rtol=1e-6, atol=1e-9, err_msg=name)


def check(split, factors, on, ks, device="cpu"):
    overall, by_user = brute_evaluate(factors[0] @ factors[1].T, matrix(split.train), matrix(getattr(split, on)), ks)
    there = split.to(device)
    same(evaluate(factors, there, on, ks), overall)
    same({name: x.cpu() for name, x in per_user(factors, there, on, ks).items()}, by_user)


# ------------------------------------------------------------------------------------------------------------- metrics

@pytest.mark.parametrize("n_users, n_items", [(23, 37), (40, 64), (30, 20), (12, 9), (60, 131)])
@pytest.mark.parametrize("on", ["valid", "test"])
def test_every_metric_against_brute_force(n_users, n_items, on, device):
    """Catalogues below, at and beside multiples of 32; 50 is more than most of them hold."""
    check(*case(n_users, n_items, seed=n_items), on, (1, 3, 10, 50), device)


@pytest.mark.parametrize("block", [1, 100, 64 * 7])
def test_blocks_of_users_change_nothing(block, monkeypatch, device):
    monkeypatch.setattr(rkd.ranking, "BLOCK_SCORES", block)
    check(*case(41, 50, seed=8), "test", (5, 10), device)


def test_users_with_few_items_left(device):
    """Everyone has 10, 11 or all 12 items of the catalogue in training or held out."""
    dense = np.ones((8, 12), dtype=bool)
    dense[::2, 4] = False
    dense[::3, 9] = False
    split = interactions_of(dense).split("unkd", seed=1)
    check(split, case(8, 12)[1], "test", (2, 5, 20), device)
    listed = recommend(case(8, 12)[1], split.to(device), torch.arange(8, device=device), 20).cpu()
    left = 12 - matrix(split.train).sum(1)
    assert ((listed >= 0).sum(1).numpy() == left).all()
    assert all((row[:n] >= 0).all() and (row[n:] == -1).all() for row, n in zip(listed, left))


@pytest.mark.parametrize("n_items", [9, 37, 200, 1000])
@pytest.mark.parametrize("levels", [1, 2, 5])
def test_ties_go_to_the_lower_id(n_items, levels, device):
    """One score for all items, or only two or five different ones, so that nearly every cut goes through a tie."""
    split = random_interactions(30, n_items, seed=levels).split()
    rng = np.random.default_rng(levels)
    factors = np.ones((30, 1), np.float32), rng.integers(levels, size=(n_items, 1)).astype(np.float32)
    expected = brute_lists(factors[0] @ factors[1].T, matrix(split.train), 10)
    listed = recommend(factors, split.to(device), torch.arange(30, device=device), 10).tolist()
    assert [[i for i in row if i >= 0] for row in listed] == expected
    check(split, factors, "test", (1, 10), device)


def test_lists_are_exact_for_other_users_in_any_order(device):
    split, factors = case(23, 300, seed=4)
    users = [7, 2, 2, 19, 0]
    expected = brute_lists(factors[0] @ factors[1].T, matrix(split.train), 7)
    listed = recommend(factors, split.to(device), torch.tensor(users, device=device), 7)
    assert listed.tolist() == [expected[u] for u in users]


def hand_worked() -> tuple[Split, tuple]:
    """Two users, six items. User 0 trained on item 0, and 1, 3 are held out; user 1 trained on 0, 1; 5 is held out.

    Both rank the items 5, 1, 2, 3, 4 (0 best of all, but trained on). Item 0 alone is popular.
    """
    train = interactions_of(np.array([[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]], bool))
    held_out = interactions_of(np.array([[0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]], bool))
    return Split(train, None, held_out), (np.ones((2, 1)), np.array([[9.0], [7], [6], [5], [4], [8]]))


def test_metrics_worked_by_hand():
    """User 0's list is 5, 1*, 2 and 3* the fourth; user 1's 5*, 2, 3 (a star marks a hit)."""
    found = evaluate(*reversed(hand_worked()), "test", ks=(3, 4))
    dcg = 1 / math.log2(3)
    assert found["ndcg@3"] == pytest.approx((dcg / (1 + dcg) + 1) / 2)
    assert found["ndcg@4"] == pytest.approx(((dcg + 1 / math.log2(5)) / (1 + dcg) + 1) / 2)
    assert (found["recall@3"], found["recall@4"]) == (0.75, 1)
    assert (found["precision@3"], found["precision@4"]) == pytest.approx((1 / 3, 3 / 8))
    assert found["hit_rate@3"] == 1 and found["users"] == 2
    assert found["coverage@3"] == 4 / 6  # 5, 1, 2, 3
    assert found["arp@3"] == pytest.approx((1 / 3 + 0) / 2)
    assert found["held_out/aplt"] == found["aplt@3"] == 1  # all but item 0 are unpopular
    assert math.isnan(found["popular/recall@3"]) and found["unpopular/recall@3"] == 0.75
    # as UnKD counts, 0 for whom nothing popular is held out; of item 1 alone, since 3 and 5 were never trained on
    assert found["popular/recall_unkd@3"] == 0 and found["unpopular/recall_unkd@3"] == (1 + 0) / 2
    # of the mass of 3, item 0's 2 have their middle at a third: decile 4; item 1's at 5/6: 9; all others come last
    assert found["decile 9/recall@3"] == 1 and found["decile 10/recall@3"] == (0 + 1) / 2
    assert math.isnan(found["decile 4/recall@3"])
    assert found["gini@3"] == pytest.approx(16 / 36)  # of 0 0 1 1 2 2: (−5·0 − 3·0 − 1·1 + 1·1 + 3·2 + 5·2) / (6·6)


def test_a_perfect_ranking_and_a_hopeless_one():
    split, _ = case(23, 37)
    wanted = matrix(split.test).astype(np.float32)
    best, worst = evaluate((wanted, np.eye(37)), split), evaluate((-wanted, np.eye(37)), split, ks=(3,))
    assert best["ndcg@10"] == best["recall@20"] == best["popular/recall@20"] == best["hit_rate@10"] == 1
    assert worst["hit_rate@3"] == pytest.approx(0, abs=0.1)  # the user with few items left


def test_per_user_averages_to_evaluate():
    split, factors = case(60, 64)
    overall, by_user = evaluate(factors, split), per_user(factors, split)
    assert by_user.pop("users").tolist() == sorted(set(split.test.users.tolist()))
    expected = {name: values.nanmean().item() for name, values in by_user.items()}
    assert expected == {name: overall[name] for name in expected}


def test_model_tensors_and_arrays_are_all_the_same(split, device):
    model, split = MF(split, 5, seed=1).to(device), split.to(device)
    users, items = model.factors()
    assert not users.requires_grad
    arrays = users.cpu().numpy().astype(np.float64), items.cpu().numpy()
    expected = evaluate(model, split)
    for other in ((users, items), [users.double() if device.type != "mps" else users, items], arrays,
                  (users.cpu().tolist(), items.cpu().tolist())):
        assert repr(evaluate(other, split)) == repr(expected)  # to the bit, and NaN is NaN


def test_lists_are_evaluated_like_the_model_they_come_from(device):
    """And shorter ones like a model that ranks nothing else: what is missing counts as a miss."""
    split, factors = case(23, 37)
    there, scores = split.to(device), factors[0] @ factors[1].T
    items = np.tile(np.arange(37), (23, 1))
    assert repr(evaluate(Lists(items, scores, 37), there)) == repr(evaluate(factors, there))
    best = np.array([row[:3] for row in brute_lists(scores, matrix(split.train), 3)])
    listed = Lists(best, np.take_along_axis(scores, best, 1), 37)
    assert recommend(listed, there, torch.arange(23, device=device), 5).tolist() == [[*row, -1, -1] for row in best]
    found, whole = evaluate(listed, there, ks=(3, 10)), evaluate(factors, there, ks=(3, 10))
    assert all(repr(found[name]) == repr(whole[name]) for name in found if name.endswith("@3"))
    assert found["recall@10"] == found["recall@3"]
    assert found["precision@10"] == pytest.approx(0.3 * found["precision@3"])


def test_hits_are_what_metrics_look_at(device):
    """Every field, and the two counts by kind of item, one user and one item at a time."""
    split, factors = case(23, 37, seed=2)
    train, test = matrix(split.train), matrix(split.test)
    found = rank(factors, split.to(device), "test", 6)
    users, lists = np.flatnonzero(test.any(1)), brute_lists(factors[0] @ factors[1].T, train, 6)
    assert found.users.tolist() == users.tolist() and found.lists.tolist() == [lists[u] for u in users]
    assert found.hits.tolist() == [[float(test[u, i]) for i in lists[u]] for u in users] and found.hits.any()
    assert list(zip(found.owner.tolist(), found.held_out.tolist())) == [
        (place, i) for place, u in enumerate(users) for i in np.flatnonzero(test[u])]
    assert found.sizes.tolist() == test[users].sum(1).tolist()
    even = np.arange(37) % 2 == 0
    mask = torch.from_numpy(even).to(device)
    assert found.count(mask).tolist() == (test & even)[users].sum(1).tolist()
    assert found.shown(mask).tolist() == [[bool(even[i]) for i in lists[u]] for u in users]


def test_no_place_that_is_empty_is_shown():
    """User 2 has few unseen items: item 0, which an empty place might be taken for, is not among them."""
    split, factors = case(23, 37)
    found = rank(factors, split, "test", 37)
    left = (~matrix(split.train)).sum(1)[found.users]
    assert left.min() < 37 and found.shown(torch.ones(37, dtype=torch.bool)).sum(1).tolist() == left.tolist()


def test_a_metric_of_ones_own(monkeypatch):
    """One function put into METRICS: of each user it is averaged, without the users that have none, and is in per_user;
    of all lists together it is in ``evaluate`` alone."""
    def first_item(found, k):
        return torch.where(found.users % 2 == 0, found.lists[:, 0].double() + k, torch.nan)

    monkeypatch.setitem(METRICS, "first", first_item)
    monkeypatch.setitem(METRICS, "places", lambda found, k: (found.lists[:, :k] >= 0).double().sum())
    split, factors = case(23, 37)
    overall, by_user = evaluate(factors, split, ks=(1, 4)), per_user(factors, split, ks=(1, 4))
    users, lists = by_user["users"].tolist(), brute_lists(factors[0] @ factors[1].T, matrix(split.train), 4)
    for k in (1, 4):
        expected = np.array([lists[u][0] + k if u % 2 == 0 else np.nan for u in users])
        np.testing.assert_array_equal(by_user[f"first@{k}"], expected)
        assert overall[f"first@{k}"] == pytest.approx(np.nanmean(expected))
        assert overall[f"places@{k}"] == k * len(users) and f"places@{k}" not in by_user
    assert {"recall@1", "coverage@4"} <= overall.keys()


def test_deciles_are_tenths_of_the_halves():
    """The first five are the popular half, and every held-out item is in one of the ten."""
    split, factors = case(60, 131, seed=3)
    counts = split.train.item_counts
    assert torch.equal(popularity_deciles(counts) < 5, popular_items(counts))
    found = rank(factors, split, "test", 10)
    decile = decile_recall(found, 10)
    held_out = torch.stack([found.count(popularity_deciles(counts) == d) for d in range(10)], 1)
    recall = (decile.nan_to_num() * held_out).sum(1) / held_out.sum(1)
    torch.testing.assert_close(recall, METRICS["recall"](found, 10))
    assert (decile.nan_to_num() > 0).any(0)[5:].any() and decile.shape == (len(found.users), 10)


def test_a_list_of_nothing_has_no_popularity():
    """Of user 1 the model lists item 1 alone, which is trained on: neither ARP nor APLT counts this user."""
    split, _ = hand_worked()
    model = Lists(np.array([[1], [1]]), np.zeros((2, 1)), 6)
    by_user, overall = per_user(model, split, ks=(1,)), evaluate(model, split, ks=(1,))
    assert by_user["arp@1"].isnan().tolist() == by_user["aplt@1"].isnan().tolist() == [False, True]
    assert (overall["arp@1"], overall["aplt@1"], overall["recall@1"]) == (1, 1, 0.25)


def test_what_is_of_all_lists_is_no_users():
    """Each of the others is, and there is nothing else."""
    split, factors = case(23, 37)
    overall, by_user = evaluate(factors, split, ks=(5,)), per_user(factors, split, ks=(5,))
    names = METRICS.keys() - {"decile #/recall"} | {f"decile {d}/recall" for d in range(1, 11)}
    assert overall.keys() == {f"{name}@5" for name in names} | {"users", "held_out/aplt"}
    assert overall.keys() - by_user.keys() == {"coverage@5", "gini@5"}
    assert all(len(values) == overall["users"] for values in by_user.values())


def test_what_evaluation_refuses():
    split, (users, items) = case(23, 37)
    empty = Interactions(23, 37, *torch.zeros(2, 0, dtype=torch.int64))
    for arguments, message in [
        (((users, items), split, "train"), "on must be 'valid' or 'test', not 'train'"),
        (((users, items), split, "test", ()), "ks must hold"),
        (((users, items), split, "test", (0, 10)), "ks must hold"),
        (((users[1:], items), split), "22 users and 37 items"),
        (((users, items[1:]), split), "23 users and 36 items"),
        (((users, items[:, 1:]), split), "equal width"),
        (((users[0], items), split), "two matrices"),
        (((users * np.nan, items), split), "factors of 23 users hold NaN or infinity: user 0, 1, 2"),
        (((users, items + np.inf), split), "factors of 37 items hold NaN or infinity: item 0"),
        (((users + 1e20, items + 1e20), split), "the model's scores overflow"),
        (((users, items), replace(split, test=empty)), "test part of .* holds no interactions"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate(*arguments)
    with pytest.raises(TypeError, match="expected a model or a pair"):
        evaluate(7, split)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor):
                self.numel = max(self.numel, x.untyped_storage().nbytes() // x.element_size())
        return out


def test_memory_stays_bounded_however_many_users():
    """300 users × 200 000 items are 60 million scores; no tensor may hold more than a block of about 2 million."""
    rng = np.random.default_rng(0)
    users = torch.arange(300).repeat_interleave(10)
    train, test = (Interactions(300, 200_000, users, torch.from_numpy(rng.permutation(200_000)[:3000]))
                   for _ in range(2))
    factors = torch.randn(300, 2), torch.randn(200_000, 2)
    with Largest() as largest:
        evaluate(factors, Split(train, None, test), ks=(10,))
    assert 200_000 <= largest.numel <= 1.25 * rkd.ranking.BLOCK_SCORES


# -------------------------------------------------------------------------------------------------- popularity groups

def groups(counts, n):
    return popularity_groups(torch.tensor(counts), n).tolist()


def test_groups_worked_by_hand():
    """Half of 20 is 10: the two of 6 and 4 make it exactly; with 7 and 5, the middle of the 5 lies at 9.5."""
    assert groups([4, 1, 6, 3, 2, 4], 2) == [0, 1, 0, 1, 1, 1]
    assert groups([5, 1, 7, 3, 2, 2], 2) == [0, 1, 0, 1, 1, 1]
    assert groups([6, 6, 6, 2], 2) == [0, 0, 1, 1]  # the middle of the second 6 is at 9 of 20
    assert groups([1, 2, 3, 4, 5, 6, 7, 8], 3) == [2, 2, 2, 2, 1, 1, 0, 0]  # thirds of 36: 15, 11, 10
    assert popular_items(torch.tensor([4, 1, 6, 3, 2, 4])).tolist() == [True, False, True, False, False, False]


def test_equal_counts_are_cut_by_id_and_unseen_items_come_last():
    assert groups([3] * 6, 3) == [0, 0, 1, 1, 2, 2]
    assert groups([0, 5, 0, 5, 0], 2) == [1, 0, 1, 1, 1]
    assert groups([2, 2, 0], 1) == [0, 0, 0]


@pytest.mark.parametrize("skew", [0.0, 1.0, 2.0])
def test_groups_are_of_equal_mass_and_in_order(skew, device):
    """Within the popularity of the item on the cut, for even, skewed and very skewed counts, whatever K."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        counts = rng.permutation((rng.integers(1, 50, 300) * 1000 / np.arange(1, 301) ** skew).astype(int))
        for k in range(1, 9):
            found = popularity_groups(torch.from_numpy(counts).to(device), k).cpu().numpy()
            assert found.tolist() == brute_groups(counts.tolist(), k)
            mass = np.bincount(found, counts, minlength=k)
            assert (np.abs(mass - counts.sum() / k) <= counts.max()).all()
            assert all(counts[found == g].min() >= counts[found > g].max(initial=0) for g in set(found))


def test_what_groups_refuse():
    for n in (0, 3, -1):
        with pytest.raises(ValueError, match="n_groups must be between 1 and 2"):
            groups([3, 0, 2], n)

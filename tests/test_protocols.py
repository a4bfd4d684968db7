"""What each protocol of division promises, against plain loops and cases worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import interactions_of, matrix, random_interactions

from rkd import DataError, load
from rkd.data import Interactions
from rkd.protocols import PROTOCOLS

RANDOM = ["unkd", "ratio", "given"]  # those that the seed decides
SLICED = {"time": "ratio", "kds": "kds"}


def known(data: Interactions, seed=0) -> Interactions:
    """The data with a time for each pair, many of them equal, and a publisher's test part: a third of the pairs."""
    rng = np.random.default_rng(seed)
    return replace(data, times=torch.from_numpy(rng.integers(0, 5, len(data))),
                   given=2 * torch.from_numpy(rng.random(len(data)) < 1 / 3).to(torch.int8))


@pytest.fixture
def data() -> Interactions:
    return known(random_interactions())


def counts(interactions: Interactions) -> np.ndarray:
    return matrix(interactions).sum(1)


def sized(*sizes: int, **fields) -> Interactions:
    """One user for each size, who has that many items."""
    return replace(interactions_of(np.arange(max(sizes)) < np.array(sizes)[:, None]), **fields)


def parts_of(split) -> list[list[list[int]]]:
    """The items of each user in train, valid and test."""
    return [[np.flatnonzero(row).tolist() for row in matrix(part)] for part in split.parts.values()]


# ------------------------------------------------------------------------------------------------------ all of them

@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(3))
def test_parts_are_disjoint_and_complete(protocol, seed):
    data = known(random_interactions(seed=seed), seed)
    split = data.split(protocol, seed)
    parts = [*split.parts.values()]
    assert (sum(matrix(part).astype(int) for part in parts) == matrix(data)).all()  # each pair in exactly one
    assert sum(map(len, parts)) == len(data)
    if protocol != "given":  # nobody is left without training items
        assert (counts(split.train)[counts(data) > 0] > 0).all()
    assert all(part.name == data.name for part in parts) and (split.protocol, split.seed) == (protocol, seed)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_neither_a_name_nor_the_order_of_the_pairs_decides_anything(data, protocol):
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(7))
    first = data.split(protocol, seed=5)
    for again in (data, replace(data, name="citeulike"), data.pick(order)):
        again = again.split(protocol, seed=5)
        assert torch.equal(again.train.keys, first.train.keys) and torch.equal(again.test.keys, first.test.keys)
        assert again.fingerprint == first.fingerprint
    assert (data.split(protocol, seed=6).fingerprint != first.fingerprint) == (protocol in RANDOM)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_split_knows_the_data_that_were_divided(data, protocol, device):
    """Whatever the protocol and the seed; and other data have another fingerprint."""
    for seed in range(2):
        assert data.split(protocol, seed).to(device).data_fingerprint == data.fingerprint
    other = known(random_interactions(seed=1))
    assert other.split(protocol).data_fingerprint == other.fingerprint != data.fingerprint


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_parts_keep_what_the_data_say_of_themselves(data, protocol):
    data = replace(data, valid_users=0.3, user_ids=np.arange(23) + 100, item_ids=np.arange(37).astype(str))
    when = {(u, i): t for u, i, t in zip(*(x.tolist() for x in (data.users, data.items, data.times)))}
    for part in data.split(protocol).parts.values():
        assert (part.valid_users, part.user_ids[3], part.item_ids[3]) == (0.3, 103, "3")
        assert [when[pair] for pair in zip(part.users.tolist(), part.items.tolist())] == part.times.tolist()


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "random"])
def test_what_no_protocol_divides(protocol):
    none = torch.zeros(0, dtype=torch.int64)
    two = Interactions(3, 4, torch.tensor([1, 0, 1]), torch.tensor([2, 2, 2]), user_ids=np.array(["a", "b", "c"]))
    for data, message in ((Interactions(3, 4, none, none), "no interactions"),
                          (two, r"user 'b', item 2 is given twice \(1 repeats")):
        with pytest.raises(ValueError, match="unknown split 'random'" if protocol == "random" else message):
            data.split(protocol)


@pytest.mark.parametrize("protocol, sizes, message", [
    ("unkd", [1, 1, 1, 1], "'unkd' of data leaves no pair for validation: .*2 items or more.*up to 1 items"),
    ("unkd", [10], "'unkd' of data leaves no pair for validation"),
    ("ratio", [2, 2, 1], "'ratio' of data leaves no pair for validation: it needs users with 3 items or more; the "
                         "users here have up to 2 items. \"all\" keeps every pair"),
    ("time", [2, 2], "'time' of data leaves no pair for validation: it needs users with 3 items"),
    ("kds", [5, 5], "'kds' of data leaves no pair for validation: it needs users with 6 items"),
    ("given", [3, 3], "'given' of data leaves no pair for validation"),
])
def test_users_with_too_few_items_are_told_at_once(protocol, sizes, message):
    data = sized(*sizes)
    data = replace(data, times=data.items, given=2 * (data.items > 1).to(torch.int8))
    with pytest.raises(ValueError, match=message):
        data.split(protocol)
    assert len(data.split("all").train) == len(data)


def test_a_protocol_of_ones_own(data, monkeypatch):
    """One function: here one item of each user is tested on, none validates."""
    monkeypatch.setitem(PROTOCOLS, "first", lambda log, rng: (log.users < 0, log.place() == 0))
    split = data.split("first")
    assert counts(split.test).tolist() == np.minimum(counts(data), 1).tolist() and len(split.valid) == 0
    assert (matrix(split.train) | matrix(split.test) == matrix(data)).all()
    assert parts_of(split)[2] == [row[:1] for row in parts_of(data.split("all"))[0]]


# ------------------------------------------------------------------------------------------------------ one by one

def test_unkd_holds_out_a_fifth_rounded_up():
    split = sized(1, 2, 3, 4, 5, 6, 10, 11, 99, 100, 101).split("unkd")
    held_out = counts(split.valid) + counts(split.test)
    assert held_out.tolist() == [0, 1, 1, 1, 1, 2, 2, 3, 20, 20, 21]


@pytest.mark.parametrize("fields, share", [({}, 0.5), ({"name": "citeulike"}, 0.5), ({"valid_users": 0.2}, 0.2),
                                           ({"name": "ml-1m", "valid_users": 0.35}, 0.35)])
def test_unkd_sends_whole_users_to_valid_or_test(fields, share):
    """Their share is what the data say of it; what they are called decides nothing."""
    split = sized(*[10] * 200, **fields).split("unkd", seed=3)
    validates = counts(split.valid) > 0
    assert not (validates & (counts(split.test) > 0)).any()
    assert validates.sum() == share * 200
    assert 0 < validates[:100].sum() < 100 * min(1, 2 * share)  # at random, not the first ones


def test_ratio_minds_no_share_of_users(data):
    assert replace(data, valid_users=0.1).split("ratio").fingerprint == data.split("ratio").fingerprint


def test_ratio_is_eight_one_one_within_each_user():
    split = sized(1, 2, 3, 9, 10, 19, 20, 29, 100).split("ratio")
    assert counts(split.train).tolist() == [1, 2, 1, 7, 8, 17, 16, 25, 80]
    assert counts(split.valid).tolist() == counts(split.test).tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 10]


@pytest.mark.parametrize("protocol", ["unkd", "ratio"])
def test_held_out_items_are_drawn_uniformly(protocol):
    """Of 2000 users with the items 0…9, each item is held out by a fifth, within 5 standard deviations."""
    split = sized(*[10] * 2000).split(protocol)
    held_out = matrix(split.valid).sum(0) + matrix(split.test).sum(0)
    assert (np.abs(held_out - 400) < 5 * np.sqrt(2000 * 0.2 * 0.8)).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("protocol, timed", [("time", True), ("kds", True), ("kds", False)])
def test_slices_against_a_loop(protocol, timed, seed):
    """Each user's list in order of time, where there are times, then of the item, and cut."""
    data = known(random_interactions(seed=seed, density=0.5), seed)
    data = data if timed else replace(data, times=None)
    when = data.times if timed else torch.zeros(len(data))
    expected = [[], [], []]
    for user in range(data.n_users):
        order = [item for _, item in sorted((when[n].item(), data.items[n].item())
                                            for n in range(len(data)) if data.users[n] == user)]
        n = len(order)
        tenth = max(n // 10, 1) if n >= 3 else 0
        first, second = (n - 2 * tenth, n - tenth) if protocol == "time" else (max(8 * n // 10, 1), 9 * n // 10)
        for part, items in zip(expected, (order[:first], order[first:second], order[max(first, second):])):
            part.append(sorted(items))
    assert parts_of(data.split(protocol)) == expected


def test_time_by_hand():
    """Ann's last item is of time 9, the one before of time 8, although neither the file nor the ids say so; of equal
    times the higher id is the later; one who has two keeps both."""
    users = torch.tensor([0] * 4 + [1] * 3 + [2] * 2)
    items = torch.tensor([3, 0, 1, 2, 2, 0, 1, 0, 3])
    split = Interactions(3, 4, users, items, times=torch.tensor([8, 9, 1, 2, 5, 5, 5, 1, 2])).split("time", seed=4)
    assert parts_of(split) == [[[1, 2], [0], [0, 3]], [[3], [1], []], [[0], [2], []]]


def test_time_needs_times():
    with pytest.raises(ValueError, match=r"no times are known of data, .*time_col=.*Interactions\(…, times=\)"):
        sized(9).split("time")


def test_kds_by_hand():
    """Ten, seven, six, one: ⌊.8 n⌋ = 8, 5, 4, 0 → 1 are trained on, those up to ⌊.9 n⌋ = 9, 6, 5, 0 validate."""
    split = sized(10, 7, 6, 1).split("kds")
    train, valid, test = parts_of(split)
    assert train == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4], [0, 1, 2, 3], [0]]
    assert valid == [[8], [5], [4], []] and test == [[9], [6], [5], []]
    assert split.cold_share == 1 / 3  # item 9 alone is nobody's in training


def test_kds_of_citeulike_is_what_its_authors_count():
    """Their README has 98,405 / 12,451 / 14,724 pairs. Nearly a cold start, where a random division is none."""
    try:
        data = load("citeulike")
    except DataError:
        pytest.skip("no CiteULike here")
    split = data.split("kds")
    assert [len(part) for part in split.parts.values()] == [98_405, 12_451, 14_724]
    assert split.cold_share == pytest.approx(0.735, abs=0.0005) and data.split("ratio").cold_share < 0.07


def test_given_takes_the_publishers_test_and_draws_validation_from_its_training():
    data = sized(30, 12, 4, 2, 3)
    tested = data.items % 2 == 1
    tested |= data.users == 4  # who has no training items
    data = replace(data, given=2 * tested.to(torch.int8))
    splits = [data.split("given", seed) for seed in range(20)]
    for split in splits:
        assert parts_of(split)[2] == [[*range(1, 30, 2)], [*range(1, 12, 2)], [1, 3], [1], [0, 1, 2]]
        assert counts(split.valid).tolist() == [1, 1, 0, 0, 0]  # of 15, 6, 2, 1 and no training items
    drawn = {parts_of(split)[1][1][0] for split in splits}
    assert len(drawn) > 3  # of the six: at random


def test_given_takes_the_publishers_validation_where_there_is_one():
    data = sized(5, 5)
    split = replace(data, given=torch.tensor([0, 0, 1, 2, 2, 0, 0, 0, 0, 1], dtype=torch.int8)).split("given", seed=3)
    assert parts_of(split) == [[[0, 1], [0, 1, 2, 3]], [[2], [4]], [[3, 4], []]]


def test_given_needs_a_publisher_who_divides():
    with pytest.raises(ValueError, match="data has no train and test of its publisher's.*rkd.load_split"):
        sized(9).split("given")

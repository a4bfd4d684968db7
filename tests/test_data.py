"""Interactions, and what each protocol of division promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import interactions_of, matrix, random_interactions

from rkd.data import PROTOCOLS, Interactions, Split


def long(*values):
    return torch.tensor(values, dtype=torch.int64)


def counts(interactions: Interactions) -> np.ndarray:
    return matrix(interactions).sum(1)


# ----------------------------------------------------------------------------------------------------- interactions

@pytest.mark.parametrize("users, items, message", [
    (long(0, 1, 2), long(0, 1), "3 users but 2 items"),
    (long(0, 3), long(0, 1), r"users must lie in 0…2, but span 0…3"),
    (long(0, -1), long(0, 1), r"users must lie in 0…2, but span -1…0"),
    (long(0, 1), long(0, 4), r"items must lie in 0…3, but span 0…4"),
    (long(0, 1).int(), long(0, 1), "users must be a flat int64 tensor, not torch.int32"),
    (long(0, 1), long(0, 1).float(), "items must be a flat int64 tensor, not torch.float32"),
    (long(0, 1)[None], long(0, 1)[None], r"flat int64 tensor, .* \(1, 2\)"),
])
def test_what_interactions_refuse(users, items, message):
    with pytest.raises(ValueError, match=message):
        Interactions(3, 4, users, items)


def test_keys_csr_and_counts_by_hand(device):
    data = Interactions(4, 5, long(2, 0, 2, 3, 0), long(4, 3, 0, 2, 1)).to(device)
    assert len(data) == 5 and data.users.device == data.items.device == device
    assert data.keys.tolist() == [1, 3, 10, 14, 17]
    offsets, items = data.csr
    assert offsets.tolist() == [0, 2, 2, 4, 5] and items.tolist() == [1, 3, 0, 4, 2]
    assert data.item_counts.tolist() == [1, 1, 1, 1, 1]


def test_csr_and_counts_against_the_dense_matrix(data):
    offsets, items = (x.numpy() for x in data.csr)
    for u, row in enumerate(matrix(data)):
        assert np.array_equal(items[offsets[u]:offsets[u + 1]], np.flatnonzero(row))
    assert np.array_equal(data.item_counts.numpy(), matrix(data).sum(0))


def test_no_pairs_is_a_valid_set():
    none = Interactions(3, 4, long(), long())
    assert len(none) == 0 and none.csr[0].tolist() == [0, 0, 0, 0] and none.item_counts.tolist() == [0] * 4


def test_fingerprint_is_of_the_pairs_not_of_their_order(data):
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1))
    assert replace(data, users=data.users[order], items=data.items[order], name="x").fingerprint == data.fingerprint


def test_fingerprint_differs_for_other_data(data):
    moved = data.items.clone()
    moved[0] = 3  # an item that nobody has
    others = [replace(data, items=moved), replace(data, users=data.users[1:], items=data.items[1:]),
              replace(data, n_users=data.n_users + 1), replace(data, n_items=data.n_items + 1)]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 5


# ---------------------------------------------------------------------------------------------------------- division

@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(3))
def test_parts_are_disjoint_and_complete(protocol, seed):
    data = random_interactions(seed=seed)
    split = data.split(protocol, seed)
    parts = [split.train, split.valid, split.test]
    assert (sum(matrix(part).astype(int) for part in parts) == matrix(data)).all()  # each pair in exactly one
    assert sum(map(len, parts)) == len(data)
    assert (counts(split.train)[counts(data) > 0] > 0).all()  # nobody is left without training items
    assert all(part.name == data.name for part in parts) and (split.protocol, split.seed) == (protocol, seed)


def sized(*sizes: int, **fields) -> Interactions:
    """One user for each size, who has that many items."""
    return replace(interactions_of(np.arange(max(sizes)) < np.array(sizes)[:, None]), **fields)


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


def test_a_name_decides_nothing(data):
    for protocol in PROTOCOLS:
        first, other = (replace(data, name=name).split(protocol) for name in ("data", "citeulike"))
        assert first.fingerprint == other.fingerprint


def test_ratio_minds_no_share_of_users(data):
    assert replace(data, valid_users=0.1).split("ratio").fingerprint == data.split("ratio").fingerprint


def test_a_protocol_of_ones_own(data, monkeypatch):
    """One function: here one item of each user is tested on, none validates."""
    monkeypatch.setitem(PROTOCOLS, "one each", lambda users, place, counts, valid_users, rng: (place < 0, place == 0))
    split = data.split("one each")
    assert counts(split.test).tolist() == np.minimum(counts(data), 1).tolist() and len(split.valid) == 0
    assert (matrix(split.train) | matrix(split.test) == matrix(data)).all()


def test_ratio_is_eight_one_one_within_each_user():
    split = sized(1, 2, 3, 9, 10, 19, 20, 29, 100).split("ratio")
    assert counts(split.train).tolist() == [1, 2, 1, 7, 8, 17, 16, 25, 80]
    assert counts(split.valid).tolist() == counts(split.test).tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 10]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_held_out_items_are_drawn_uniformly(protocol):
    """Of 2000 users with the items 0…9, each item is held out by a fifth, within 5 standard deviations."""
    split = sized(*[10] * 2000).split(protocol)
    held_out = matrix(split.valid).sum(0) + matrix(split.test).sum(0)
    assert (np.abs(held_out - 400) < 5 * np.sqrt(2000 * 0.2 * 0.8)).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_seed_says_all_whatever_the_order_of_the_pairs(data, protocol):
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(7))
    shuffled = replace(data, users=data.users[order], items=data.items[order])
    first = data.split(protocol, seed=5)
    for again in (data.split(protocol, seed=5), shuffled.split(protocol, seed=5)):
        assert torch.equal(again.train.keys, first.train.keys) and torch.equal(again.test.keys, first.test.keys)
        assert again.fingerprint == first.fingerprint
    assert data.split(protocol, seed=6).fingerprint != first.fingerprint


def test_split_fingerprint_tells_valid_from_test(split):
    assert replace(split, valid=split.test, test=split.valid).fingerprint != split.fingerprint


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_split_knows_the_data_that_were_divided(data, protocol, device):
    """Whatever the protocol and the seed; and other data have another fingerprint."""
    for seed in range(2):
        assert data.split(protocol, seed).to(device).data_fingerprint == data.fingerprint
    other = random_interactions(seed=1)
    assert other.split(protocol).data_fingerprint == other.fingerprint != data.fingerprint


def test_parts_keep_what_the_data_say_of_themselves(data):
    data = replace(data, valid_users=0.3, user_ids=np.arange(23) + 100, item_ids=np.arange(37).astype(str))
    split = data.split()
    for part in (split.train, split.valid, split.test):
        assert (part.valid_users, part.user_ids[3], part.item_ids[3]) == (0.3, 103, "3")


def test_split_goes_to_a_device_and_is_made_there(data, device):
    split, here = data.split().to(device), data.to(device).split()
    for part in ("train", "valid", "test"):
        assert getattr(split, part).users.device == getattr(here, part).items.device == device
    assert split.fingerprint == here.fingerprint == data.split().fingerprint
    assert split.to(device) is split


def test_what_a_split_refuses(data):
    with pytest.raises(ValueError, match="unknown split 'random'"):
        data.split("random")
    with pytest.raises(ValueError, match="no interactions"):
        Interactions(3, 4, long(), long()).split()
    with pytest.raises(ValueError, match=r"user 1, item 2 is given twice \(1 repeats"):
        Interactions(3, 4, long(1, 0, 1), long(2, 2, 2)).split()
    with pytest.raises(ValueError, match="same n_users and n_items"):
        Split(data, data, replace(data, n_items=99))


def test_a_split_that_leaks_or_repeats_is_refused(split):
    train, test = split.train, split.test
    both = replace(train, users=torch.cat([train.users, test.users[:1]]),
                   items=torch.cat([train.items, test.items[:1]]))
    message = "given twice: a pair may neither be repeated nor be both trained and tested on"
    with pytest.raises(ValueError, match=message):
        replace(split, train=both)
    with pytest.raises(ValueError, match="given twice"):
        replace(split, train=replace(train, users=train.users.repeat(2), items=train.items.repeat(2)))

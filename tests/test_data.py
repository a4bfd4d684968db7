"""Interactions and Split: what they hold, what they refuse, and in whose words. Divisions: test_protocols.py."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import matrix

from rkd.data import Interactions, Split
from rkd.sampling import NegativeSampler


def long(*values):
    return torch.tensor(values, dtype=torch.int64)


NAMES = dict(user_ids=np.array(["ann", "bob", "cid"], dtype=object), item_ids=np.array([7, 8, 9, 11]))


def pairs(users, items, **fields):
    """Three users, four items."""
    return Interactions(3, 4, long(*users), long(*items), **fields)


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


@pytest.mark.parametrize("fields, message", [
    (dict(times=torch.zeros(3)), r"times must be flat, one for each of the 2 pairs, not of shape \(3,\)"),
    (dict(given=torch.zeros(2, 1)), r"given must be flat, .* not of shape \(2, 1\)"),
    (dict(times=torch.tensor([1, torch.nan])), "times must be finite numbers"),
    (dict(user_ids=np.arange(4)), "4 user_ids, but n_users is 3"),
    (dict(item_ids=np.arange(3)), "3 item_ids, but n_items is 4"),
])
def test_what_else_is_known_must_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        pairs([0, 1], [0, 1], **fields)


def test_times_and_parts_follow_their_pairs_and_are_not_in_the_fingerprint(device):
    data = pairs([2, 0, 1], [0, 3, 1], times=torch.tensor([5.0, 2.5, 9.0]), given=torch.tensor([0, 2, 1]))
    assert data.fingerprint == pairs([2, 0, 1], [0, 3, 1]).fingerprint
    picked = data.to(device).pick(torch.tensor([2, 0], device=device))
    assert (picked.users.tolist(), picked.items.tolist()) == ([1, 2], [1, 0])
    assert (picked.times.tolist(), picked.given.tolist()) == ([9.0, 5.0], [1, 0]) and picked.users.device == device
    masked = data.to(device).pick(torch.tensor([False, True, True], device=device))
    assert (masked.users.tolist(), masked.times.tolist(), masked.given.tolist()) == ([0, 1], [2.5, 9.0], [2, 1])


def test_names_are_the_callers_where_they_are_known():
    named, bare = pairs([1], [3], **NAMES), pairs([1], [3])
    assert (named.named_user(1), named.named_item(3)) == ("user 'bob'", "item 11")
    assert (bare.named_user(1), bare.named_item(3)) == ("user 1", "item 3")
    assert named.named_pair(int(named.keys[0])) == "user 'bob', item 11"


# ------------------------------------------------------------------------------------------------------------- split

def test_parts_that_are_left_out_are_empty(data, device):
    data = data.to(device)
    split = Split(data)
    assert (len(split.train), len(split.valid), len(split.test)) == (len(data), 0, 0)
    assert split.test.users.device == device and split.data_fingerprint == data.fingerprint
    assert np.isnan(split.cold_share)


def test_split_fingerprint_tells_valid_from_test(split):
    assert replace(split, valid=split.test, test=split.valid).fingerprint != split.fingerprint


def test_split_goes_to_a_device_and_is_made_there(data, device):
    split, here = data.split().to(device), data.to(device).split()
    for part in ("train", "valid", "test"):
        assert getattr(split, part).users.device == getattr(here, part).items.device == device
    assert split.fingerprint == here.fingerprint == data.split().fingerprint
    assert split.to(device) is split


def test_the_share_of_test_pairs_whose_item_is_new():
    """Items 0 and 1 are trained on; of the four test pairs three are of items 2 and 3, of which one validates."""
    split = Split(pairs([0, 1], [0, 1]), pairs([1], [3]), pairs([0, 1, 2, 2], [2, 2, 3, 0]))
    assert split.cold_share == 0.75


def test_parts_of_other_sizes_or_ids_are_refused(data):
    with pytest.raises(ValueError, match="same n_users and n_items, .*rkd.load_split"):
        Split(data, data, replace(data, n_items=99))
    train, none = pairs([0, 1], [0, 1], **NAMES), pairs([], [], **NAMES)
    other = pairs([0], [3], **NAMES | {"user_ids": np.array(["ann", "cid", "bob"], dtype=object)})
    with pytest.raises(ValueError, match="^user number 1 is 'bob' in train but 'cid' in test: rkd.load_split numbers"):
        Split(train, none, other)
    with pytest.raises(ValueError, match="^item number 3 is 11 in train but 'x' in valid"):
        Split(train, pairs([0], [3], item_ids=np.array([7, 8, 9, "x"], dtype=object)), none)
    equal = {name: ids.copy() for name, ids in NAMES.items()}
    assert len(Split(train, none, pairs([0], [3], **equal)).test) == len(Split(train, None, pairs([0], [3])).test) == 1


@pytest.mark.parametrize("train, valid, test, message", [
    ([(0, 1), (1, 2), (1, 2)], [], [], r"user 'bob', item 9 is given twice in train \(1 such in all\): remove"),
    ([(0, 1)], [], [(2, 3), (2, 3)], "user 'cid', item 11 is given twice in test"),
    ([(0, 1), (2, 2)], [], [(2, 2), (0, 1)], r"user 'ann', item 8 is both in train and in test \(2 such in all\): a "
                                           "pair may not be both trained and tested on"),
    ([(0, 1)], [(0, 1)], [], "user 'ann', item 8 is both in train and in valid"),
    ([(0, 1)], [(1, 2), (2, 2)], [(1, 2)], "user 'bob', item 9 is both in valid and in test .* it takes epochs="),
])
def test_a_split_that_leaks_or_repeats_is_refused(train, valid, test, message):
    parts = (pairs(*zip(*part), **NAMES) if part else None for part in (train, valid, test))
    with pytest.raises(ValueError, match=f"^{message}"):
        Split(*parts)


def test_validating_on_the_test_part_is_refused(split):
    with pytest.raises(ValueError, match="both in valid and in test"):
        Split(split.train, split.test, split.test)


def test_a_user_with_everything_is_called_by_name():
    full = pairs([0, 1, 1, 1, 1], [0, 0, 1, 2, 3], **NAMES)
    with pytest.raises(ValueError, match="^user 'bob' interacted with all 4 items"):
        NegativeSampler(full)

"""Rows that go by ids are put into a split's order by value, as worked by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from rkd import Given, Interactions, Lists, Split
from rkd.given import fixed

USERS = np.array(["007", "7", "ann", "ben"], dtype=object)  # as load leaves them: sorted
ITEMS = np.array([2, 7, 10])
P, Q = np.arange(8.0).reshape(4, 2), np.arange(6.0).reshape(3, 2)


def split_of(pairs, user_ids=USERS, item_ids=ITEMS, n_users=4, n_items=3) -> Split:
    """Of these training pairs and no others."""
    return Split(*(Interactions(n_users, n_items, *torch.tensor(part, dtype=torch.int64).view(-1, 2).unbind(1),
                                user_ids=user_ids, item_ids=item_ids) for part in (pairs, [], [])))


EVERYBODY = [(0, 0), (1, 1), (2, 2), (3, 0)]


def rows(found):
    return [table.tolist() for table in found.factors()]


@pytest.mark.parametrize("user_ids, item_ids", [
    (["ben", "7", "007", "ann"], [10, 2, 7]),
    (np.array(["ben", "7", "007", "ann"], dtype=object), np.array([10.0, 2.0, 7.0])),
    (pd.Index(["ben", "7", "007", "ann"]), ["10", " 2", "7.0"]),
    (["ben", 7.0, "007", b"ann"], pd.Series([10, 2, 7], dtype="Int64")),
    (["ben", np.int32(7), "007", "ann"], np.array([10, 2, 7], np.uint8)),
    ({"7": 1, "ben": 0, "ann": 3, "007": 2}, {2: 1, 7: 2, 10: 0}),
])
def test_rows_go_to_the_users_and_items_whose_ids_they_have(user_ids, item_ids):
    """However ids are written, by value as load reads them: 7, 7.0 and "7" are one, "007" is another."""
    split = split_of(EVERYBODY)
    found = fixed(Given((P, Q), user_ids=user_ids, item_ids=item_ids), split)
    assert rows(found) == [P[[2, 1, 3, 0]].tolist(), Q[[1, 2, 0]].tolist()]
    assert fixed(found, split).factors()[0] is found.factors()[0]  # once is enough


def test_text_that_looks_like_a_number_is_another_text_id():
    with pytest.raises(ValueError, match="1 of the split's 4 users are not among the 4 user ids given: 7$"):
        fixed(Given((P, Q), user_ids=["ben", "7.0", "007", "ann"]), split_of(EVERYBODY))


def test_tables_of_factors_go_by_their_index():
    users, items = pd.DataFrame(P, ["ben", "7", "007", "ann"]), pd.DataFrame(Q, [10, 2, 7])
    assert rows(fixed((users, items), split_of(EVERYBODY))) == [P[[2, 1, 3, 0]].tolist(), Q[[1, 2, 0]].tolist()]


def test_ids_of_one_side_do_and_what_the_split_has_not_is_left_out():
    more = np.arange(12.0).reshape(6, 2)
    found = fixed(Given((P, more), item_ids=[99, 10, None, 7, "x", 2]), split_of(EVERYBODY))
    assert rows(found) == [P.tolist(), more[[5, 3, 1]].tolist()]
    assert (found.n_users, found.n_items) == (4, 3)


def test_inputs_are_put_in_order_as_well():
    found = fixed(Given((P, Q), (10 * P, 10 * Q), item_ids=[10, 2, 7]), split_of(EVERYBODY))
    assert found.inputs()[1].tolist() == (10 * Q[[1, 2, 0]]).tolist()


def test_who_has_no_training_pairs_need_not_be_known():
    """Such a user is the mean of the users; such an item as that which scores worst on the whole: here the first, of
    the mean scores −1, 3 and 1."""
    u, v = np.array([[1.0, 0], [3, 0]]), np.array([[-0.5, 9], [1.5, 0], [0.5, 0]])
    found = fixed(Given((u, v[[1, 0]]), user_ids=["ann", "7"], item_ids=[7, 2]), split_of([(1, 0), (2, 1)]))
    assert rows(found) == [[[2, 0], [3, 0], [1, 0], [2, 0]], v[[0, 1, 0]].tolist()]


@pytest.mark.parametrize("ids, message", [
    (dict(user_ids=["ben", "x", "y", "ann"]), "2 of the split's 4 users are not among the 4 user ids given: 007, 7$"),
    (dict(item_ids=[3, 4, 5]), "3 of the split's 3 items are not among the 3 item ids given: 2, 7, 10$"),
    (dict(item_ids=[2, 7, 2]), "1 item ids are given twice: 2$"),
])
def test_ids_that_are_not_the_splits_are_told(ids, message):
    with pytest.raises(ValueError, match=f"the model does not fit the split: {message}"):
        fixed(Given((P, Q), **ids), split_of(EVERYBODY))


def test_only_the_first_few_are_listed():
    ids = np.arange(100, 140)
    split = split_of([(k, k) for k in range(40)], ids, ids, 40, 40)
    with pytest.raises(ValueError, match="38 of the split's 40 users .*: 100, 101, 102, 103, 104, …$"):
        fixed(Given((np.ones((40, 2)), np.ones((40, 2))), user_ids=[138, 139, *range(38)]), split)


def test_a_split_without_ids_goes_by_its_numbers():
    split = split_of(EVERYBODY, None, None)
    assert rows(fixed(Given((P, Q), item_ids=[2, 0, 1]), split))[1] == Q[[1, 2, 0]].tolist()
    with pytest.raises(ValueError, match="the 3 item ids given: 0; this split has no ids but row numbers"):
        fixed(Given((P, Q), item_ids=[1, 2, 3]), split)


@pytest.mark.parametrize("ids", [["a", "b"], [["a"]] * 4, "abcd", 7])
def test_ids_are_one_a_row(ids):
    with pytest.raises(ValueError, match="user_ids must be a flat list of 4 ids, one for each row of the user factors"):
        Given((P, Q), user_ids=ids)


# --------------------------------------------------------------------------------------------------------------- lists

LISTED, SCORES = [[0, 2, 3], [3, 1, -1], [2, 1, 0], [2, 0, 3]], [[3.0, 2, 1], [2, 1, 0], [3, 2, 1], [9, 8, 7]]


def test_lists_go_by_ids_too():
    """Of the numbers 0 to 3 that they hold, the split has three; users are ann, ben, 007 and 7."""
    lists = Lists(LISTED, SCORES, user_ids=["ann", "ben", "007", "7"], item_ids=[10, 99, 2, 7])
    found = fixed(lists, split_of(EVERYBODY))
    assert (found.n_users, found.n_items) == (4, 3)
    assert found.items.tolist() == [[0, 2, -1], [0, 2, 1], [2, 0, 1], [1, -1, -1]]
    assert found.listed[1].tolist() == [9, 8, 7]
    assert fixed(found, split_of(EVERYBODY)).items.tolist() == found.items.tolist()


def test_an_item_without_training_pairs_need_not_be_in_a_list_and_no_gap_becomes_one():
    lists = Lists([[0, 1, -1]] * 4, [[3.0, 2, 1]] * 4, item_ids=[7, 2])
    found = fixed(lists, split_of([(0, 0), (1, 1), (2, 1), (3, 0)]))
    assert found.n_items == 3 and found.items.tolist() == [[1, 0, -1]] * 4


def test_lists_that_cannot_be_put_in_order():
    names = dict(user_ids=["ann", "ben", "007", "7"], item_ids=[10, 99, 2, 7])
    with pytest.raises(ValueError, match="the list of user ben is empty"):
        fixed(Lists([[0], [1], [2], [3]], [[1.0]] * 4, **names), split_of(EVERYBODY))
    with pytest.raises(ValueError, match="the list of user ben is empty"):
        Lists([[0], [-1], [2], [3]], [[1.0]] * 4, **names)
    with pytest.raises(ValueError, match="user 7's list holds item 99 twice"):
        Lists([[0, 2], [1, 2], [2, 3], [1, 1]], [[1.0, 2]] * 4, **names)
    with pytest.raises(ValueError, match="1 of the split's 3 items are not among the 3 item ids given: 7"):
        fixed(Lists([[0], [1], [2], [0]], [[1.0]] * 4, item_ids=[10, 99, 2]), split_of(EVERYBODY))
    with pytest.raises(TypeError, match="Lists needs n_items, the size of the catalogue, or item_ids"):
        Lists([[0]], [[1.0]])

"""The item side: a method of lists with users and items exchanged, so that it ranks the users for every item."""

from dataclasses import replace

from torch import cat

from ..batch import distinct, weighted_mean
from ..data import Interactions, Split
from ..given import Given
from ..kernels import ItemLists
from .base import OnLists


class ByItem(OnLists):
    """Makes a method of lists one of the item side, when named before it: ``class ItemRRD(ByItem, RRD)``. What the
    method draws for a user from the items that it has not seen, this draws for an item from the users who have not
    seen it; a user's loss becomes an item's.

    A step's loss is the mean over the distinct positive and negative items of its batch. Raises ValueError for a
    teacher without embeddings: lists of items for users do not say which users are best for an item.
    """

    def prepare(self):
        try:
            users, items = self.teacher.factors()
        except ValueError as error:
            raise ValueError(f"{self.label} ranks all users for an item by the teacher's embeddings, and this teacher "
                             "has none; items=0 leaves the item side out") from error
        self.teacher, self.split = Given((items, users)), exchanged(self.split)
        super().prepare()

    def begin_epoch(self, student, epoch):
        users, items = student.factors()
        super().begin_epoch(Given((items, users)), epoch)
        self.lists = ItemLists(self.lists.items, self.split.n_items, of_users=True)

    def loss(self, student, batch):
        items, weight = distinct(cat([batch.positives, batch.negatives]))
        extra = {name: values.index_select(0, items) for name, values in self.extra.items()}
        return weighted_mean(self.user_loss(student.scores(items, self.lists), **extra), weight)


def exchanged(split: Split) -> Split:
    """The split with users and items exchanged. An item that every user has counts as one that nobody has, so that
    somebody is left to be ranked for it."""
    def exchange(part: Interactions) -> Interactions:
        some = part.item_counts.index_select(0, part.items) < part.n_users
        return replace(part, n_users=part.n_items, n_items=part.n_users, users=part.items[some], items=part.users[some],
                       user_ids=part.item_ids, item_ids=part.user_ids, times=None, given=None)

    return replace(split, train=exchange(split.train), valid=exchange(split.valid), test=exchange(split.test))

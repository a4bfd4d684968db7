"""Exercise 2: full-ranking metrics, and the popular and the unpopular half."""

import torch
from torch import Tensor

from ..popularity import popular_items
from .draws import chosen, counts, normal, seeded
from .task import formula


def ranked(scores: Tensor, train: Tensor, k: int) -> Tensor:
    """Each user's k best unseen items, best first: scores, train (bool) [n_users, n_items] → [n_users, k] int64."""
    return _masked(scores, train).argsort(1, descending=True)[:, :k]


def _masked(scores, train):
    return scores.masked_fill(train, -torch.inf)


def _trained(found, expected, given):
    """How many training items are in the lists, where there are any."""
    inside = (found >= 0) & (found < given["train"].shape[1])
    trained = given["train"].gather(1, torch.where(inside, found, 0).long()) & inside
    if trained.any():
        return f"{int(trained.sum())} of the listed items are training items; mask with −∞, since 0 is above −1"
    return None


def dcg(hits: Tensor) -> Tensor:
    """Σ_r hit_r / log₂(r + 1), ranks r = 1, 2, …: bool [n, k] → [n]."""
    return _dcg(hits)


def _dcg(hits, log=torch.log2, first=2):
    ranks = torch.arange(first, first + hits.shape[1])
    return (hits / log(ranks.double())).sum(1)


def recall_and_ndcg(lists: Tensor, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """Recall and NDCG at k of each user: lists [n, k] item ids, best first; held_out bool [n, n_items] → [n] each."""
    hits = held_out.gather(1, lists)
    return hits.sum(1) / held_out.sum(1), _dcg(hits) / _ideal(held_out.sum(1).clamp(max=lists.shape[1]), lists)


def _ideal(n_hits, lists):
    """The DCG of n_hits hits at the top."""
    return _dcg(torch.arange(lists.shape[1]) < n_hits[:, None])


def _other_recall(size):
    """The same with another denominator of the recall."""
    def wrong(lists, held_out):
        hits = held_out.gather(1, lists)
        return hits.sum(1) / size(held_out.sum(1), lists.shape[1]), recall_and_ndcg(lists, held_out)[1]
    return wrong


def _other_ndcg(ideal):
    """The same with another ideal, (hits, held-out items, lists) → [n]."""
    def wrong(lists, held_out):
        hits = held_out.gather(1, lists)
        return recall_and_ndcg(lists, held_out)[0], _dcg(hits) / ideal(hits, held_out.sum(1), lists)
    return wrong


def popular_half(train: Tensor, test: Tensor) -> Tensor:
    """The few items that hold half of the training interactions: bool [n_users, n_items] each → bool [n_items]."""
    return popular_items(train.sum(0))


def _half(popularity):
    return popular_items(popularity)


def _top_half_of_items(train, test):
    return train.sum(0).argsort(descending=True).argsort() < train.shape[1] // 2


def _unsorted(train, test):
    popularity = train.sum(0)
    return 2 * popularity.cumsum(0) - popularity < popularity.sum()


def _side_of_cut(whole):
    """An item on the cut to the unpopular side (whole) or to the popular one."""
    def wrong(train, test):
        popularity, order = train.sum(0).sort(descending=True, stable=True)
        before = popularity.cumsum(0) - (0 if whole else popularity)
        inside = 2 * before <= popularity.sum() if whole else 2 * before < popularity.sum()
        return torch.zeros(len(order), dtype=torch.bool).scatter_(0, order, inside)
    return wrong


def _mass(found, expected, given):
    """The halves' masses, where the half is not of half the mass."""
    popularity = given["train"].sum(0).double()
    share = (popularity @ found.double() / popularity.sum()).item()
    return f"your popular half holds {share:.0%} of the training interactions; half of them is asked for"


def _scored(seed, n_users, n_items, k, shift=0.0):
    return {"scores": normal(seed, n_users, n_items) + shift, "train": chosen(seed + 50, n_users, n_items), "k": k}


def _listed(seed, n, n_items, k, held=4):
    lists = torch.rand(n, n_items, generator=seeded(seed)).argsort(1)
    sizes = 1 + torch.arange(n)[:, None] % held  # from 1 to ``held``
    held_out = torch.rand(n, n_items, generator=seeded(seed + 50)).argsort(1).argsort(1) < sizes
    return {"lists": lists[:, :k], "held_out": held_out}


def _parts(seed, n_users, n_items):
    """Training interactions of uneven popularity, and test ones of another."""
    popularity = counts(seed, n_items).double()
    drawn = torch.rand(2, n_users, n_items, generator=seeded(seed))
    train = drawn[0] < popularity / popularity.max() * 0.9
    train[0] = True  # no item without interactions
    return {"train": train, "test": (drawn[1] < popularity.flip(0) / popularity.max()) & ~train}


def _equal(n):
    """Items of one popularity, the third of five on the cut."""
    train = torch.eye(n, dtype=torch.bool) | torch.eye(n, dtype=torch.bool).roll(1, 0)
    return {"train": train, "test": ~train}


RANKED_MISTAKES = {
    "training items are not masked: a user's lists show what the user has already":
        lambda s, t, k: s.argsort(1, descending=True)[:, :k],
    "it ranks the worst first": lambda s, t, k: s.masked_fill(t, torch.inf).argsort(1)[:, :k],
    "only training items are left: the mask is turned round": lambda s, t, k: ranked(s, ~t, k),
    "training items' scores are set to 0, which is still above every negative score: −∞ is below all":
        lambda s, t, k: (s * ~t).argsort(1, descending=True)[:, :k],
    "it returns the scores; the items' ids are asked for": lambda s, t, k: _masked(s, t).topk(k).values,
    "it returns every item's rank; the ids of the k best are asked for":
        lambda s, t, k: _masked(s, t).argsort(1, descending=True).argsort(1)[:, :k],
    "the lists are one item too short": lambda s, t, k: ranked(s, t, k)[:, :-1],
    "the lists are one item too long": lambda s, t, k: ranked(s, t, k + 1),
    "it is off by one rank: the best item is left out": lambda s, t, k: ranked(s, t, k + 1)[:, 1:],
    "the items are right, their order is not: best first is asked for":
        lambda s, t, k: ranked(s, t, k).sort(1).values,
    "the k best are listed backwards: best first is asked for": lambda s, t, k: ranked(s, t, k).flip(1),
    "the ids count from 1; items count from 0": lambda s, t, k: ranked(s, t, k) + 1,
}

DCG_MISTAKES = {
    "it takes the natural logarithm; base 2 is asked for": lambda h: _dcg(h, torch.log),
    "it takes the logarithm to base 10; base 2 is asked for": lambda h: _dcg(h, torch.log10),
    "it is off by one rank: the discount of the first place is 1 / log₂ 2 = 1": lambda h: _dcg(h, first=3),
    "it divides by log₂ 1 = 0 at the first place: the discount is 1 / log₂(rank + 1), ranks from 1":
        lambda h: _dcg(h, first=1),
    "the discount is 1 / rank; 1 / log₂(rank + 1) is asked for": lambda h: _dcg(h, lambda x: x - 1),
    "there is no discount: this counts the hits": lambda h: h.sum(1),
    "the mean over places is not asked for: DCG is a sum": lambda h: _dcg(h) / h.shape[1],
    "it multiplies by the logarithm; the discount divides": lambda h: _dcg(h, lambda x: 1 / x.log2()),
    "it is one number for all; one for each user is asked for": lambda h: _dcg(h).mean(),
    "the last place counts most: the discount runs backwards": lambda h: _dcg(h.flip(1)),
}

RATES_MISTAKES = {
    "recall is divided by k, which makes it precision: divide by the user's held-out items":
        _other_recall(lambda held, k: k),
    "recall is divided by min(k, held-out items): divide by the user's held-out items":
        _other_recall(lambda held, k: held.clamp(max=k)),
    "the ideal list has k hits even for users with fewer held-out items: min(k, held-out items) can be hit":
        _other_ndcg(lambda hits, held, lists: _ideal(torch.full_like(held, lists.shape[1]), lists)),
    "the ideal list is made of the hits found; it is made of min(k, held-out items)":
        _other_ndcg(lambda hits, held, lists: _ideal(hits.sum(1), lists)),
    "the ideal DCG goes beyond place k: only min(k, held-out items) can be hit":
        _other_ndcg(lambda hits, held, lists: _dcg(torch.arange(int(held.max())) < held[:, None])),
    "NDCG is not divided by the ideal: this is DCG":
        _other_ndcg(lambda hits, held, lists: torch.ones(len(held))),
    "the two are in the wrong order: recall first": lambda *a: recall_and_ndcg(*a)[::-1],
    "it averages over the users; one value for each is asked for":
        lambda *a: tuple(x.mean() for x in recall_and_ndcg(*a)),
}

HALF_MISTAKES = {
    "popularity is counted on test data: it is a fact of the training data alone": lambda a, b: _half(b.sum(0)),
    "popularity is counted on training and test data together: take the training data alone":
        lambda a, b: _half((a | b).sum(0)),
    "it is the unpopular half": lambda *parts: ~popular_half(*parts),
    "it is half of the items; half of the interactions is asked for": _top_half_of_items,
    "it cuts the items in order of their ids: did you sort by popularity?": _unsorted,
    "an item on the cut goes to the side that holds its middle; yours always goes to the unpopular one":
        _side_of_cut(whole=True),
    "an item on the cut goes to the side that holds its middle; yours always goes to the popular one":
        _side_of_cut(whole=False),
}

TASKS = {
    "ranked": formula(ranked, RANKED_MISTAKES, _trained,
                      visible=(_scored(1, 5, 12, 4), _scored(2, 8, 30, 10, shift=-1.0)),
                      hidden=(_scored(3, 6, 9, 3, shift=-3.0), _scored(4, 20, 15, 1))),
    "dcg": formula(dcg, DCG_MISTAKES, visible=({"hits": chosen(1, 5, 6, share=0.5)}, {"hits": chosen(2, 9, 10)}),
                   hidden=({"hits": chosen(3, 20, 3)}, {"hits": chosen(4, 4, 1, share=0.5)})),
    "recall_and_ndcg": formula(recall_and_ndcg, RATES_MISTAKES,
                               visible=(_listed(1, 12, 14, 3, held=6), _listed(2, 15, 20, 5, held=9)),
                               hidden=(_listed(3, 30, 12, 1), _listed(4, 10, 30, 20, held=1))),
    "popular_half": formula(popular_half, HALF_MISTAKES, _mass, visible=(_parts(1, 30, 12), _parts(2, 60, 40)),
                            hidden=(_parts(3, 50, 9), _parts(4, 25, 60), _parts(5, 40, 25), _equal(5))),
}

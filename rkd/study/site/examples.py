"""One user of a synthetic world, whose teacher knows what the world is drawn by: SLD's labels and UnKD's draws there,
by the methods themselves, at every setting of the sliders."""

from collections.abc import Iterable
from itertools import product

import torch

from ... import compress
from ...datasets.synthetic import World, world
from ...given import Given
from ...methods import SLD, UnKD
from ...methods.sld import soft_labels, standardised
from ...popularity import popularity_groups

USER = 0
DIM = 4  # of the student: the teacher, cut


def teacher_in(truth: World) -> Given:
    """Scores of affinity and popularity, as one who knows the clicks would have them."""
    scores = truth.affinity + truth.effect
    return Given((scores, torch.eye(scores.shape[1])))


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def labels(gammas: Iterable[float], taus: Iterable[float]) -> dict:
    """SLD's list of the user, best first by the teacher: "teacher" and "student", their standardised scores, and
    "labels", "γ τ" → a probability for each item, "1 1" among
    them."""
    truth = world(seed=0)
    teacher = teacher_in(truth)
    student = compress.truncate(teacher, DIM)
    method = SLD(teacher, truth.split, _seeded())
    method.begin_epoch(student, 1)
    present = method.extra["present"][USER].flatten() > 0
    ours, theirs = (model.scores(None, method.lists)[USER][present] for model in (student, teacher))
    order = theirs.argsort(descending=True)
    ours, theirs, every = ours[order], theirs[order], torch.ones(len(order))
    return {"teacher": _rounded(standardised(theirs, every)), "student": _rounded(standardised(ours, every)),
            "labels": {_key(gamma, tau): _rounded(soft_labels(theirs, ours, every, gamma, tau))
                       for gamma, tau in product({*gammas, 1.0}, {*taus, 1.0})}}


def draws(groups: Iterable[float], depths: Iterable[float]) -> dict:
    """UnKD's pairs in the world's first epoch: "popularity" and "scores" of the user's unseen items, "edges", K → the
    lowest popularity of each group but the last, and "draws", "K μ" → "pairs", the user's, places of the better and the
    worse item, and "popular", the share of all users' pairs in which the better item is the more popular, of those that
    differ."""
    truth = world(seed=0)
    teacher, train = teacher_in(truth), truth.split.train
    counts = train.item_counts
    unseen = torch.ones(train.n_items, dtype=torch.bool)
    unseen[train.items[train.users == USER]] = False
    place = unseen.cumsum(0) - 1
    found = {}
    for k, mu in product(groups, depths):
        method = UnKD(teacher, truth.split, _seeded(), groups=int(k), mu=mu)
        method.begin_epoch(None, 1)
        better, worse = method.pairs()
        there = better >= 0
        more = counts[better[there]] - counts[worse[there]]
        own = there[USER]
        found[_key(k, mu)] = {
            "pairs": torch.stack([place[better[USER, own]], place[worse[USER, own]]], 1).tolist(),
            "popular": round(float((more > 0).sum() / (more != 0).sum()), 4)}
    return {"popularity": counts[unseen].tolist(), "scores": _rounded((truth.affinity + truth.effect)[USER, unseen]),
            "edges": {_key(k): _edges(counts, int(k)) for k in groups}, "draws": found}


def _edges(counts: torch.Tensor, k: int) -> list[int]:
    group = popularity_groups(counts, k)
    return [int(counts[group == g].min()) for g in range(k - 1)]


def _key(*values: float) -> str:
    """As explore.js has it."""
    return " ".join(f"{value:.10g}" for value in values)


def _rounded(values: torch.Tensor) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]

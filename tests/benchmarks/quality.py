"""Time to quality: seconds of training until a model as good as implicit's best would be kept.

Whoever trains keeps the model of the best validation NDCG@10 so far. The target is the test Recall@10 of the one that
implicit keeps in the end; it is reached at the first check where the kept model's is no lower. Rule, target, seed,
split and evaluation are the same for both; test data decide nothing else. The checks' own time counts for neither.
"""

import tuning
from kept import Keeper
from libraries import fit_implicit, fit_rkd, warm_up

from rkd import split_of

CHECKS = 20  # of implicit's training; rkd's are its own, every 5 epochs
SLOWEST = 10  # rkd's training ends at so many times implicit's seconds, reached or not


def time_to_quality(dataset: str, seed: int) -> dict:
    """Train implicit, then rkd until it has reached implicit's best: when each had, and what rkd kept in the end."""
    split, settings = split_of(dataset), tuning.settings(dataset)
    iterations = settings.pop("iterations")
    warm_up()
    peer = Keeper(split)
    fit_implicit(split, tuning.DIM, iterations, seed, peer, max(1, iterations // CHECKS), **settings)
    target = peer.kept[-1].test
    theirs = peer.reached(target)
    limit = SLOWEST * theirs.seconds
    own = Keeper(split, lambda keeper, seconds: keeper.reached(target) is not None or seconds > limit)
    fit_rkd(split, tuning.DIM, 500, seed, own)
    ours = own.reached(target)
    return {"target": target, "implicit": theirs.seconds, "implicit_epochs": theirs.epoch, "kept": own.kept[-1].test,
            "rkd": ours.seconds if ours else None, "rkd_epochs": ours.epoch if ours else None}

"""The model that validation would keep, as training goes."""

from collections.abc import Callable
from dataclasses import dataclass

from rkd import evaluate


@dataclass
class Kept:
    """A model better on validation data than all before it: when, its validation NDCG@10, its test Recall@10."""

    epoch: int
    seconds: float
    valid: float
    test: float


class Keeper:
    """Follows training by its checks, each with the factors as they are then; ``kept`` lists what was kept in turn.

    until(keeper, seconds) : whether training is to end at this check.
    """

    def __init__(self, split, until: Callable[["Keeper", float], bool] = lambda keeper, seconds: False):
        self.split, self.until, self.kept = split, until, []

    def __call__(self, epoch: int, factors, seconds: float) -> bool:
        valid = evaluate(factors, self.split, "valid", (10,))["ndcg@10"]
        if not self.kept or valid > self.kept[-1].valid:
            test = evaluate(factors, self.split, "test", (10,))["recall@10"]
            self.kept.append(Kept(epoch, seconds, valid, test))
        return self.until(self, seconds)

    def reached(self, target: float) -> Kept | None:
        """The first kept model whose test Recall@10 is no lower than the target."""
        return next((model for model in self.kept if model.test >= target), None)

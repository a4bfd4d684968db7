"""What a distillation is to the training loop."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..data import Split
from ..device import fixed_shapes
from ..losses import weighted_mean
from ..models import MF


EVERYONE = 2  # all users are taken where they are at most so many times those of the batch


@dataclass
class Batch:
    """One step's training pairs, each with a negative: three int64 tensors [B]."""

    users: Tensor
    positives: Tensor
    negatives: Tensor

    def counted_users(self, n_users: int) -> "CountedUsers":
        """The batch's users, each (nearly) once: of the ``n_users`` that there are all, where the batch is not small
        against them. A loss over these is the loss over ``users`` for less work."""
        if n_users <= EVERYONE * len(self.users):
            times = torch.zeros(n_users, device=self.users.device)
            return CountedUsers(None, times.index_add_(0, self.users, torch.ones_like(self.users, dtype=times.dtype)))
        if fixed_shapes(self.users.device):
            return CountedUsers(self.users, torch.ones_like(self.users, dtype=torch.float32))
        times = self.users.bincount()  # faster than sorting
        users = times.nonzero().flatten()
        return CountedUsers(users, times[users].float())

    def entities(self, n_pairs: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The ``distinct`` users, and the distinct items, positive or negative, of the batch's first ``n_pairs`` pairs."""
        return distinct(self.users[:n_pairs]), distinct(torch.cat([self.positives[:n_pairs], self.negatives[:n_pairs]]))


@dataclass
class CountedUsers:
    """Users and how often each is in a batch: ``index`` [n] int64, None for everyone in order, ``times`` [n] floats."""

    index: Tensor | None
    times: Tensor

    def of(self, values: Tensor) -> Tensor:
        """These users' rows of what there is for everyone: [n_users, …] → [n, …]."""
        return values if self.index is None else values.index_select(0, self.index)

    def mean(self, per_user: Tensor) -> Tensor:
        """The mean over the batch of a loss of each of these users, [n]: one counts once for every pair that it has."""
        return weighted_mean(per_user, self.times)


def distinct(entities: Tensor) -> tuple[Tensor, Tensor]:
    """Users or items [n], each once, and their weights, 1; where shapes are fixed all of them, the repeated with weight 0.

    ``weighted_mean`` of a loss over them is its mean over the distinct ones, either way.
    """
    if fixed_shapes(entities.device):
        entities = entities.sort().values
        first = torch.ones_like(entities, dtype=torch.float32)
        first[1:] = (entities[1:] != entities[:-1]).float()
        return entities, first
    entities = entities.unique()
    return entities, torch.ones_like(entities, dtype=torch.float32)


class Distiller:
    """A term added to the student's loss: L = L_BPR + weight · L_distill.

    A method is a subclass. Its constructor takes the teacher as two factor matrices, the split, a random generator on
    their device, and then, by keyword and with defaults, the method's own settings; there it does all that needs doing
    once. Everything random is drawn from the generator, so that a seed repeats a run.
    """

    taught_by = "teacher"  # the method of a Run whose result is the teacher

    def __init__(self, teacher: tuple[Tensor, Tensor], split: Split, generator: Generator):
        self.user_factors, self.item_factors = teacher  # [n_users, d_t], [n_items, d_t]
        self.split, self.generator = split, generator

    def parameters(self, student: MF) -> Iterable[torch.nn.Parameter]:
        """Called once, before training: what the method itself trains (a projector, say) together with the student."""
        return ()

    def begin_epoch(self, student: MF, epoch: int) -> None:
        """Called before epoch 1, 2, …: the place for draws that serve a whole epoch."""

    def report(self, student: MF) -> dict:
        """Called at every evaluation: what the method has to say of itself, plain values for the history."""
        return {}

    def loss(self, student: MF, batch: Batch) -> Tensor:
        """The distillation loss of one step, a scalar."""
        raise TypeError(f"{type(self).__name__} must define loss(student, batch)")

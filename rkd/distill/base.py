"""What a distillation is to the training loop."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from ..data import Split
from ..models import MF


@dataclass
class Batch:
    """One step's training pairs, each with a negative: three int64 tensors [B]."""

    users: Tensor
    positives: Tensor
    negatives: Tensor

    @cached_property
    def unique_users(self) -> tuple[Tensor, Tensor]:
        """(the batch's distinct users [n], how often each is there [n], as floats)

        A loss over these, weighted by the counts, is the loss over ``users`` for less work.
        """
        times = self.users.bincount()  # faster than sorting
        users = times.nonzero().flatten()
        return users, times[users].float()

    def entities(self, n_pairs: int) -> tuple[Tensor, Tensor]:
        """The distinct users and items (positive or negative) of the batch's first ``n_pairs`` pairs, [n] each."""
        items = torch.cat([self.positives[:n_pairs], self.negatives[:n_pairs]])
        return self.users[:n_pairs].unique(), items.unique()


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

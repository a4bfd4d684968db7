"""What comes of training: a model, how it came about, and what it takes to go on as if training had not stopped."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Generator, Tensor

from . import archive
from .data import Split
from .models import Model
from .served import Served, serve, served_of


@dataclass
class Fit:
    """A trained model and how it came about.

    split   : what it was trained on; None where the Fit comes from a file.
    history : one dict per evaluation: epoch, loss (mean over the epoch's steps), ndcg@10 and recall@10 on validation,
              and what the distiller reports.
    method  : what it minimised: the distillation's label, or the objective's name.
    state   : for ``train(…, resume=fit)``, see ``state_of``.
    model is the one of ``best_epoch`` (0: the one that was given); ``epochs`` says how many were run; seconds include
    set-up and evaluation, seconds_per_epoch do not. On a CPU they are processor time, of all threads, so that what else
    runs there counts little.
    """

    model: Model
    split: Split | None = field(default=None, repr=False)
    history: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    seconds_per_epoch: float = 0.0
    method: str = ""
    state: dict = field(default_factory=dict, repr=False)

    @property
    def served(self) -> Served:
        """The model as it is now with ids, to recommend from, save and export; on the CPU."""
        if self.split is None:
            return self.model
        return serve(self.model, self.split, {"model": self.model.label, "method": self.method,
                                              "epochs": self.epochs, "best_epoch": self.best_epoch})

    def save(self, path) -> None:
        """Write it all into one file: ``load_model`` reads the model, ``load_fit`` the Fit, from which training can go
        on. ``fit.served.save(path)`` writes the model alone, a quarter of the size."""
        served = self.served
        state = {name: leaf.cpu().numpy() for name, leaf in archive.flat(self.state, STATE).items()}
        told = {name: getattr(self, name) for name in TOLD}
        archive.write(Path(path), served.arrays() | state, served.about | {"fit": told})


STATE = "training"
TOLD = "history", "best_epoch", "epochs", "seconds", "seconds_per_epoch", "method"


def load_fit(path) -> Fit:
    """The Fit in a file that ``Fit.save`` wrote; its model is a Served. Raises ValueError where the file is damaged or
    another, or holds a model alone."""
    arrays, about = archive.read(Path(path))
    if "fit" not in about:
        raise ValueError(f"{path} holds a model alone, no training to go on with: that takes Fit.save; "
                         "rkd.load_model reads it")
    told = about.pop("fit")
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if name.startswith(STATE + ".")}
    return Fit(served_of(arrays, about), state=archive.nested(tensors, STATE), **told)


def state_of(optimizer: torch.optim.Adam, generator: Generator, method, best: dict[str, Tensor],
             best_ndcg: float) -> dict:
    """All that the next epoch depends on, tensors in dicts and lists: "parameters" (the model's and the method's, as
    they were last, one vector), "adam", "generator", "method" (Distiller.state); and "best", "best_ndcg". No copies."""
    (vector,) = optimizer.param_groups[0]["params"]
    return {"parameters": vector.detach(), "adam": dict(optimizer.state[vector]), "generator": generator.get_state(),
            "method": method.state() if method else {}, "best": best,
            "best_ndcg": torch.tensor(best_ndcg, dtype=torch.float64)}


@torch.no_grad()
def put_back(source: Fit, fit: Fit, optimizer: torch.optim.Adam, generator: Generator,
             method) -> tuple[dict[str, Tensor], float]:
    """Bring a new training to where ``source`` was last; returns (best, best_ndcg). Raises ValueError where ``source``
    is of another model, method or split, or there is nothing to go on from."""
    (vector,) = optimizer.param_groups[0]["params"]
    state, data = source.state, source.split.fingerprint if source.split else source.model.about["fingerprint"]
    if not state:
        raise ValueError("resume: this Fit has no state to go on from")
    if (source.method, len(state["parameters"])) != (fit.method, len(vector)):
        raise ValueError(f"resume: that was {source.method} with {len(state['parameters'])} parameters, this is "
                         f"{fit.method} with {len(vector)}: give the same model, method and settings")
    if data != fit.split.fingerprint:
        raise ValueError(f"resume: that was trained on other data than {fit.split}")
    copies = copied(state, lambda tensor: tensor.to(vector.device, copy=True))
    vector.copy_(copies["parameters"])
    optimizer.load_state_dict(optimizer.state_dict() | {"state": {0: copies["adam"]}})
    generator.set_state(state["generator"].cpu())
    if method:
        method.put_back(copies.get("method", {}))
    for name in TOLD:
        setattr(fit, name, getattr(source, name))
    fit.history, fit.state = [*source.history], state
    return copies["best"], state["best_ndcg"].item()


def copied(tree, copy: Callable[[Tensor], Tensor]):
    """The same dicts and lists of copies."""
    if isinstance(tree, dict):
        return {key: copied(part, copy) for key, part in tree.items()}
    return [copied(part, copy) for part in tree] if isinstance(tree, (list, tuple)) else copy(tree)

"""A student with a teacher's help: what a Run trains, and ``distill`` for any teacher."""

from functools import partial

from .data import Split
from .device import resolve_device
from .fit import Fit
from .methods import Method, check_settings, distillation
from .models import BACKBONES, fixed
from .train import train
from .tuned import COMMON, tuned


def distill(teacher, split: Split, method: str | type[Method], *, backbone: str = "mf", dim: int = 10, seed: int = 0,
            lr: float | None = None, l2: float | None = None, weight: float | None = None, epochs: int = 500,
            batch_size: int | None = None, device: str = "auto", progress: bool = True, callback=None,
            resume: Fit | None = None, evaluate_every: int = 5, patience: int = 20, **settings) -> Fit:
    """Train a student of ``dim`` with the teacher's help.

    teacher  : a model, (user factors [n_users, d_t], item factors [n_items, d_t]) from anywhere, or rkd.Lists.
    method   : a name in rkd.METHODS, or a class of your own; ``settings`` are its own. What is not given takes its
               tuned value for the split's data and protocol where there is one (see rkd.tuned).
    The rest is as for ``train``; seed is of the student's initialisation as well.

    Raises ValueError for an unknown method, backbone or setting, a teacher of other sizes than the split's, or one that
    lacks what the method needs.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"unknown backbone {backbone!r}: choose from {', '.join(BACKBONES)}")
    made = distillation(method)
    given = {"lr": lr, "l2": l2, "weight": weight, "batch_size": batch_size}
    defaults = tuned(split.data_fingerprint, backbone, made, split=split.protocol)
    settings = {name: value for name, value in defaults.items() if name not in COMMON} | settings
    settings = check_settings(method, settings)
    chosen = {name: defaults[name] if value is None else value for name, value in given.items()}
    device = resolve_device(device)
    return train(BACKBONES[backbone](split, dim, seed), split, **chosen, epochs=epochs, seed=seed, device=device,
                 progress=progress, callback=callback, resume=resume, evaluate_every=evaluate_every, patience=patience,
                 distiller=partial(made, fixed(teacher, split, device), **settings))

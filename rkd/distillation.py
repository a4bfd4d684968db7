"""A student with a teacher's help: what a Run trains, and ``distill`` for any teacher."""

from functools import partial

from .data import Split
from .device import neutral, resolve_device
from .door import warn_of_order
from .fit import Fit
from .given import fixed
from .methods import Method, check_settings, distillation
from .models import BACKBONES
from .train import train
from .tuned import COMMON, STUDENT_DIM, tuned


@neutral()
def distill(teacher, split: Split, method: str | type[Method], *, backbone: str = "mf", dim: int = STUDENT_DIM,
            seed: int = 0, lr: float | None = None, l2: float | None = None, weight: float | None = None,
            epochs: int | None = None, batch_size: int | None = None, device: str = "auto", progress: bool = True,
            callback=None, resume: Fit | None = None, evaluate_every: int = 5, patience: int = 20, lazy: bool = False,
            **settings) -> Fit:
    """Train a student of ``dim`` with the teacher's help.

    teacher  : a model; (user factors [n_users, d_t], item factors [n_items, d_t]), or a model of implicit, cornac,
               LensKit, LightFM or Surprise, as rkd.Given takes them; or rkd.Lists.
    method   : a name in rkd.METHODS, or a class of your own; ``settings`` are its own. What is not given takes its
               tuned value for the split's data and protocol where there is one (see rkd.tuned).
    The rest is as for ``train``; seed is of the student's initialisation as well.

    Raises TypeError for a teacher that is none, ValueError for an unknown method, backbone or setting, a teacher of
    other users or items than the split's, with numbers that are none, or without what the method needs. Warns with a
    TeacherWarning where a teacher's rows seem to be in another order than the split's.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"unknown backbone {backbone!r}: choose from {', '.join(BACKBONES)}")
    made = distillation(method)
    given = {"lr": lr, "l2": l2, "weight": weight, "batch_size": batch_size}
    defaults = tuned(split.data_fingerprint, backbone, made, split=split.protocol, dim=dim)
    settings = {name: value for name, value in defaults.items() if name not in COMMON} | settings
    settings = check_settings(method, settings)
    chosen = {name: defaults[name] if value is None else value for name, value in given.items()}
    device = resolve_device(device)
    model, split = BACKBONES[backbone](split, dim, seed), split.to(device)
    teacher = fixed(teacher, split, role="teacher")
    warn_of_order(teacher, split)
    return train(model, split, **chosen, epochs=epochs, seed=seed, device=device, progress=progress,
                 callback=callback, resume=resume, evaluate_every=evaluate_every, patience=patience,
                 lazy=lazy, distiller=partial(made, teacher, **settings))

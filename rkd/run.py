"""A Run specifies an experiment completely; ``fit`` trains it."""

import os
import warnings
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache

import torch

from .data import Interactions, Split
from .datasets import CATALOG, load
from .datasets.synthetic import world
from .device import neutral
from .distillation import distill
from .door import TeacherWarning
from .fit import Fit
from .limits import plain
from .methods import Distiller, Method, check_settings, method_of, name_of
from .models import BACKBONES
from .protocols import PROTOCOLS
from .train import check_training, train
from .tuned import COMMON, STUDENT_DIM, TEACHER_DIM, tuned


@dataclass(frozen=True)
class Run:
    """One experiment. What is not given takes the value tuned for the data, backbone and method, where there is one.

    dataset, split, split_seed : the data (a catalog name, or a path, which becomes absolute) and its division, "unkd"
               or another protocol of Interactions.split that leaves a test part; the synthetic world of seed split_seed
               is dataset "synthetic-world", split "affinity".
    backbone : "mf" or "lightgcn", of teacher and student.
    method   : a name in rkd.METHODS, such as "teacher", "none" (the plain student) or "unkd"; or a class of your own.
    dim      : embedding size; 100 for teachers and 10 for students.
    seed     : of initialisation, order and draws. A student of seed s learns from the teacher of seed s.
    lr, l2, weight, batch_size : of train.
    settings : the method's own, a dict (kept as sorted pairs).
    teacher_dim, teacher_epochs : the teacher's embedding size, and its epochs at most, by default the student's; for
               distillations.

    Raises ValueError for a name, setting or value that does not exist, DataError for data that cannot be had.
    """

    dataset: str
    method: str | type[Method] = "none"
    seed: int = 0
    backbone: str = "mf"
    dim: int | None = None
    split: str = "unkd"
    split_seed: int = 0
    lr: float | None = None
    l2: float | None = None
    weight: float | None = None
    settings: dict = field(default_factory=dict)
    epochs: int = 500
    teacher_dim: int = TEACHER_DIM
    batch_size: int | None = None
    teacher_epochs: int | None = None

    def __post_init__(self):
        if self.backbone not in BACKBONES:
            raise ValueError(f"unknown backbone {self.backbone!r}: choose from {', '.join(BACKBONES)}")
        for each in fields(self):
            object.__setattr__(self, each.name, plain(getattr(self, each.name)))
        object.__setattr__(self, "dataset", located(self.dataset))
        check_training(lr=self.lr, l2=self.l2, weight=self.weight, epochs=self.epochs, batch_size=self.batch_size,
                       dim=self.dim, teacher_dim=self.teacher_dim, teacher_epochs=self.teacher_epochs)
        if self.split not in PROTOCOLS and (self.dataset, self.split) != ("synthetic-world", "affinity"):
            raise ValueError(f"unknown split {self.split!r}: choose from {', '.join(PROTOCOLS)}")
        if self.split == "all":
            raise ValueError('a Run is measured on a test part, and the split "all" keeps none: for a model of all '
                             'data take rkd.train(model, data.split("all"), epochs=…)')
        made = method_of(self.method)
        settings = check_settings(made, dict(self.settings))
        if not self.distils and self.weight:
            raise ValueError(f"method {self.name!r} distils nothing, so it takes no weight")
        dim = self.dim or (self.teacher_dim if made.teaches else STUDENT_DIM)
        defaults = tuned(fingerprint_of(self.dataset), self.backbone, made, split=self.split, dim=dim)
        fill = {name: defaults.pop(name) for name in COMMON} | {"dim": dim}
        if made.teaches and self.dim is not None:
            fill["teacher_dim"] = self.dim
        for name, value in fill.items():
            if getattr(self, name) is None or name == "teacher_dim":
                object.__setattr__(self, name, value)
        if not self.distils or self.teacher_epochs == self.epochs:
            object.__setattr__(self, "teacher_epochs", None)
        settings = made.settings() | defaults | settings
        made.check_together(settings)
        object.__setattr__(self, "settings", tuple(sorted(settings.items())))
        if name_of(made) != made.__name__:  # one of METHODS, given as a class
            object.__setattr__(self, "method", name_of(made))

    @property
    def name(self) -> str:
        """The method's name."""
        return name_of(self.method)

    @property
    def distils(self) -> bool:
        return issubclass(method_of(self.method), Distiller)

    @property
    def teacher(self) -> "Run | None":
        """The run of this run's teacher; None where nothing is distilled."""
        if not self.distils:
            return None
        return Run(self.dataset, method_of(self.method).taught_by, self.seed, self.backbone, self.teacher_dim,
                   self.split, self.split_seed, epochs=self.teacher_epochs or self.epochs,
                   teacher_dim=self.teacher_dim)

    def as_dict(self) -> dict:
        """The run as plain values, settings as a dict: what is written to disk and shown."""
        return asdict(self) | {"method": self.name, "settings": dict(self.settings)}

    def __str__(self) -> str:
        return f"{self.dataset} {self.backbone} {self.name} d={self.dim} seed {self.seed}"


def located(dataset: str | os.PathLike) -> str:
    """A data set's name as it is, the path of a file as an absolute one, so that it means the same wherever it is
    read."""
    name = os.fspath(dataset)
    known = name in (*CATALOG, "synthetic", "synthetic-world")
    return name if known or not os.path.lexists(os.path.expanduser(name)) else os.path.abspath(os.path.expanduser(name))


@neutral()
def split_of(run_or_name: "Run | str", protocol: str = "unkd", seed: int = 0) -> Split:
    """The split of a run, or of a data set by name; loaded once in a process, a file once for each change of it. Raises
    ValueError where a run would have nothing to validate or to test on."""
    if isinstance(run_or_name, Run):
        split = split_of(run_or_name.dataset, run_or_name.split, run_or_name.split_seed)
        for name in ("valid", "test"):
            if not len(split.parts[name]):
                raise ValueError(f"the {name} part of {split} holds no pairs, and a Run is measured on both: take "
                                 "rkd.train, or divide the data otherwise")
        return split
    name = located(run_or_name)
    return _split(name, protocol, seed, _state(name))


def _state(name: str) -> tuple | None:
    """What tells a file from itself before a change; None of a data set by name."""
    state = os.stat(name) if os.path.isabs(name) else None
    return state and (state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=8)
def _data(name: str, state: tuple | None) -> Interactions:
    return load(name)


@lru_cache(maxsize=64)
def _split(name: str, protocol: str, seed: int, state: tuple | None) -> Split:
    if (name, protocol) == ("synthetic-world", "affinity"):
        return world(seed=seed).split
    return _data(name, state).split(protocol, seed)


def fingerprint_of(dataset: str) -> str:
    """The fingerprint of a data set's pairs: from the catalog where it is known there, else from the data."""
    if dataset == "synthetic-world":
        return dataset  # a new world for every seed: nothing was chosen for any
    if dataset in CATALOG and CATALOG[dataset].verified:
        return CATALOG[dataset].fingerprint
    name = located(dataset)
    return _data(name, _state(name)).fingerprint


def fit(run: Run, teacher, split: Split, device: torch.device, progress: bool) -> Fit:
    """Train a run; teacher: the model of ``run.teacher``, None where nothing is distilled."""
    common = dict(lr=run.lr, l2=run.l2, epochs=run.epochs, batch_size=run.batch_size, seed=run.seed, device=device,
                  progress=progress)
    if not run.distils:
        model = BACKBONES[run.backbone](split, run.dim, run.seed)
        return train(model, split, **common, objective=method_of(run.method)(**dict(run.settings)).objective())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TeacherWarning)  # the teacher is of this split, however little it has learnt
        return distill(teacher, split, run.method, backbone=run.backbone, dim=run.dim, weight=run.weight, **common,
                       **dict(run.settings))

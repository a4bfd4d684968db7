"""What a method is: a term added to the student's loss. Most are OnLists (scores) or OnEntities (embeddings)."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import torch
from torch import Generator, Tensor
from torch.nn import Parameter

from ..batch import Batch, distinct, weighted_mean
from ..data import Split
from ..kernels import ItemLists
from ..limits import FINITE, FROM_1, Limit, plain
from ..limits import check as check_value
from ..models import MF, Model, fixed
from ..sampling import NegativeSampler
from .projector import Projector


class Method:
    """What every method says of itself; tables, plots, the tuner and the command line read it here.

    label     : its name in tables.
    source    : who published it, where.
    search    : setting → the range that the tuner draws it from: a pair of floats (log-uniform), or a list of values.
    limits    : setting → the values it may have (limits.py).
    weight    : of its loss, where none was tuned.
    weights   : the range that the tuner draws the weight from, log-uniformly.
    published : its authors' settings, in our convention: lr, l2, batch_size, weight and its own; empty where unknown.
    taught_by : the method that trains its teacher; None for what is trained without one.
    teaches   : whether students learn from it.
    differs   : in what it differs from its authors' paper or code, a sentence each.

    A method's settings are its annotated attributes with defaults. A subclass is a dataclass by itself.
    """

    label = source = ""
    search = {}
    limits = {}
    weight = 0.1
    weights = (1e-2, 1.0)
    published = {}
    taught_by = "teacher"
    teaches = False
    differs = ()

    def __init_subclass__(cls, kw_only: bool = True):
        super().__init_subclass__()
        cls.label = cls.__dict__.get("label") or cls.__name__
        dataclass(eq=False, repr=False, kw_only=kw_only)(cls)

    @classmethod
    def settings(cls) -> dict:
        """The method's settings and their defaults."""
        parameters = inspect.signature(cls.__init__).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @classmethod
    def limit(cls, setting: str) -> Limit:
        """The values that a setting may have (limits.py)."""
        return next((base.limits[setting] for base in cls.__mro__ if setting in getattr(base, "limits", {})), FINITE)

    @classmethod
    def check(cls, settings: dict, name: str = "") -> dict:
        """The settings as plain Python values. Raises ValueError for one that the method (``name``, or its label) does
        not have, of another type than the default, or outside its limit."""
        known, name, checked = cls.settings(), name or cls.label, {}
        for setting, value in settings.items():
            if setting not in known:
                has = ", ".join(f"{k}={v!r}" for k, v in known.items()) or "no settings of its own"
                raise ValueError(f"{name} has no setting {setting!r}; it has {has}")
            checked[setting], wanted = plain(value), type(known[setting])
            if not (type(checked[setting]) is wanted or (wanted is float and type(checked[setting]) is int)):
                raise ValueError(f"{name}'s {setting} is a {wanted.__name__} such as {known[setting]!r}, not {value!r}")
            check_value(f"{name}'s {setting}", checked[setting], cls.limit(setting))
        return checked


class Distiller(Method, kw_only=False):
    """A term added to the student's loss: L = L_BPR + weight · L_distill.

    A method is a subclass with a ``loss``. It has the teacher (a Model; a pair of factors becomes one), the split and a
    random generator, all on one device. Everything random is drawn from the generator, so that a seed repeats a run.
    """

    teacher: Model
    split: Split
    generator: Generator

    def __post_init__(self):
        for name, value in self.check({name: getattr(self, name) for name in self.settings()}).items():
            setattr(self, name, value)
        self.teacher = fixed(self.teacher, self.split, self.generator.device)
        self.prepare()

    def prepare(self) -> None:
        """Called once, by the constructor: does all that needs doing once."""

    def parameters(self, student: MF) -> Iterable[Parameter]:
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

    @cached_property
    def everyone(self) -> Tensor:
        """All users' ids, [n_users, 1]."""
        return torch.arange(self.split.n_users, device=self.generator.device)[:, None]

    @cached_property
    def negatives(self) -> NegativeSampler:
        """Draws of unseen items."""
        return NegativeSampler(self.split.train)

    def unseen(self, n: int) -> Tensor:
        """n random unseen items of every user, with replacement: [n_users, n]."""
        return self.negatives(self.everyone.expand(-1, n), self.generator)

    def best(self, model: Model, depth: int) -> Tensor:
        """Every user's ``depth`` best unseen items by a model, best first: [n_users, min(depth, n_items)], −1 where a
        user has no more (lists.py says how a loss leaves these out)."""
        return model.ranking(min(depth, self.split.n_items), self.split.train)


class OnLists(Distiller):
    """A loss of the student's scores of a list of items for every user, drawn afresh each epoch.

    A method is ``draw`` and ``user_loss``. counts_users : the loss of a step is the mean over its "pairs", so that a
    user counts as often as it is there, or over its distinct users, each "once".
    """

    counts_users = "pairs"

    def draw(self, student: MF, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Before each epoch: a list for every user, [n_users, L] int64, and what else ``user_loss`` needs, by name, a
        row for every user, [n_users, …]. −1 stands for no item."""
        raise TypeError(f"{type(self).__name__} must define draw(student, epoch)")

    def user_loss(self, scores: Tensor, **extra: Tensor) -> Tensor:
        """The loss of each of n users, [n], of the student's scores of their lists, [n, L], and their rows of the
        rest. Where a list may hold −1, it takes ``present`` as well, 1 and 0 as floats, [n, L], and leaves out the
        scores of the places that are 0: they are some item's."""
        raise TypeError(f"{type(self).__name__} must define user_loss(scores, …)")

    def begin_epoch(self, student, epoch):
        items, self.extra = self.draw(student, epoch)
        if "present" in inspect.signature(self.user_loss).parameters:
            self.extra = {"present": (items >= 0).float()} | self.extra
        self.lists = ItemLists(items.clamp(min=0), self.split.n_items)

    def loss(self, student, batch):
        users = batch.counted_users(self.split.n_users, once=self.counts_users == "once")
        extra = {name: users.of(values) for name, values in self.extra.items()}
        return users.mean(self.user_loss(student.scores(users.index, self.lists), **extra))


SIDES = ("users", "items")


class OnEntities(Distiller):
    """A distance between the teacher's and the student's embeddings: L = mean_u D(u) + ½ (mean_i D(i) + mean_j D(j)),
    over the distinct users u, positive items i and negative items j of the batch's first ``n_pairs`` pairs.

    A method is ``distance``. A network for each side carries the student's embeddings into the teacher's space; it is
    trained along and thrown away. Raises ValueError for a teacher without embeddings.
    """

    n_experts: int = 5
    n_pairs: int = 64

    limits = {"n_experts": FROM_1, "n_pairs": FROM_1}
    layer = "output"  # which embeddings: those that are scored, or "input", those before any propagation
    sides = SIDES
    network = Projector

    def prepare(self):
        try:
            embeddings = self.teacher.factors() if self.layer == "output" else self.teacher.inputs()
        except ValueError as error:
            raise ValueError(f"{self.label} learns from a teacher's embeddings, and this teacher has none; RD, CD, "
                             "RRD, UnKD and SLD learn from lists of scores") from error
        self.of_teacher = {side: rows for side, rows in zip(SIDES, embeddings) if side in self.sides}  # [n, d_t] each

    def parameters(self, student):
        self.networks = {side: self.network(student.dim, rows.shape[1], self.n_experts, self.generator)
                         for side, rows in self.of_teacher.items()}
        return chain(*(network.parameters() for network in self.networks.values()))

    def of_student(self, student: MF, side: str, entities: Tensor) -> Tensor:
        """The student's embeddings of these users or items, differentiable: [n, d_s]."""
        return student.rows(side, entities, self.layer)

    def distance(self, student: MF, side: str, entities: Tensor) -> Tensor:
        """D of these users or items (``side``), [n] int64: [n]."""
        raise TypeError(f"{type(self).__name__} must define distance(student, side, entities)")

    def entities(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """side → (its entities in this step, their weights), [n] each."""
        u, i, j = (x[:self.n_pairs] for x in (batch.users, batch.positives, batch.negatives))
        (i, of_i), (j, of_j) = distinct(i), distinct(j)
        items = torch.cat([i, j]), torch.cat([of_i / of_i.sum(), of_j / of_j.sum()])
        return {side: found for side, found in zip(SIDES, (distinct(u), items)) if side in self.sides}

    def loss(self, student, batch):
        return sum(weighted_mean(self.distance(student, side, entities), weight)
                   for side, (entities, weight) in self.entities(batch).items())


class Sum(Distiller):
    """A weighted sum of methods: L = Σ_p w_p · L_p.

    A method is ``parts``, weight's name → method, and the weights as settings of these names. The parts' own settings
    are the sum's as well: by their name where one part alone has it, else as PART_NAME (``cpd_tau``, ``sld_tau``). A
    part of weight 0 is left out and costs nothing.
    """

    parts = {}

    def __init_subclass__(cls):
        names = [name for part in cls.parts.values() for name in part.settings()]
        cls._settings_of = {
            weight: {name if names.count(name) == 1 else f"{weight}_{name}": name for name in part.settings()}
            for weight, part in cls.parts.items()}
        for weight, part in cls.parts.items():
            for own, name in cls._settings_of[weight].items():
                default = part.settings()[name]
                if own not in cls.__dict__:
                    setattr(cls, own, default)
                cls.__annotations__ = cls.__annotations__ | {own: type(default)}
        super().__init_subclass__()

    @classmethod
    def limit(cls, setting):
        for part, names in cls._settings_of.items():
            if setting in names:
                return cls.parts[part].limit(names[setting])
        return super().limit(setting)

    def prepare(self):
        weights = {part: getattr(self, part) for part in self.parts}
        if not any(weights.values()):
            raise ValueError(f"one of {', '.join(weights)} must be above 0")
        self.terms = {part: self.parts[part](
            self.teacher, self.split, self.generator,
            **{name: getattr(self, own) for own, name in self._settings_of[part].items()})
            for part, weight in weights.items() if weight}

    def parameters(self, student):
        return chain(*(term.parameters(student) for term in self.terms.values()))

    def begin_epoch(self, student, epoch):
        for term in self.terms.values():
            term.begin_epoch(student, epoch)

    def report(self, student):
        return {name: value for term in self.terms.values() for name, value in term.report(student).items()}

    def loss(self, student, batch):
        return sum(getattr(self, part) * term.loss(student, batch) for part, term in self.terms.items())

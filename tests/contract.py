"""What every distillation must pass, yours as well:

    from contract import check_method

    check_method(Mine)  # or with settings: check_method(Mine, k=3)

CHECKS are its parts. An AssertionError, or whatever the method itself raises, says what is amiss.
"""

import json
import pickle
import random
import sys
from contextlib import ExitStack, contextmanager
from functools import cache
from unittest.mock import patch

import numpy as np
import torch
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

import rkd
from rkd import METHODS, MF, Given, LightGCN, Lists, Sum
from rkd.adam import Adam
from rkd.archive import flat
from rkd.batch import Batch
from rkd.datasets.synthetic import interactions, world
from rkd.device import fixed_shapes
from rkd.methods import check_settings
from rkd.models import BACKBONES
from rkd.sampling import NegativeSampler
from rkd.train import step_loss, train_epoch

EPOCHS = (1, 11, 101)  # at the start, warmed up, and cold


def check_method(method, **settings):
    """Every check of a subclass of rkd.Distiller, made with these settings."""
    for check in CHECKS:
        check(method, **settings)


# ----------------------------------------------------------------------------------------------------- what it is given

@cache
def small_split():
    return world(60, 90, n_train=10).split


def a_teacher() -> Given:
    generator = torch.Generator().manual_seed(9)
    return Given(torch.randn(n, 12, generator=generator) for n in (60, 90))


def listed(teacher, split=None, length=40) -> Lists:
    """A teacher's best items and their scores, and nothing else; two users' lists are shorter."""
    split = split or small_split()
    items = teacher.ranking(length, split.train)
    scores = teacher.scores(None, items.clamp(min=0))
    items[:2, length - 5:] = -1
    return Lists(items, scores, split.n_items)


class Trial:
    """A method and its student, on a teacher of their own."""

    def __init__(self, method, settings, backbone=MF, seed=0, teacher=None, device="cpu"):
        self.split, self.teacher = small_split().to(device), teacher or a_teacher().to(device)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.student, self.sampler = backbone(self.split, 5, seed=1).to(device), NegativeSampler(self.split.train)
        self.method = method(self.teacher, self.split, self.generator, **settings)
        self.own = list(self.method.parameters(self.student))

    def step(self, size=100):
        """(the loss, the gradient of the student's table, those of the method's own parameters)"""
        users, items = self.split.train.users[:size], self.split.train.items[:size]
        negatives = self.sampler(users, torch.Generator(users.device).manual_seed(4))
        for parameter in (self.student.table, *self.own):
            parameter.grad = None
        loss = self.method.loss(self.student, Batch(users, items, negatives))
        loss.backward()
        self.student.end_step()
        return loss.detach(), self.student.table.grad, [parameter.grad for parameter in self.own]

    def steps(self):
        """A small batch and one that is not, in each of EPOCHS."""
        for epoch in EPOCHS:
            self.method.begin_epoch(self.student, epoch)
            for size in (20, 100):
                yield self.step(size)


# ----------------------------------------------------------------------------------------------------------- the checks

def check_description(method, **settings):
    """Settings are plain values with defaults; ``search`` draws values that these can take; it says what it is."""
    known = method.settings()
    for name, default in known.items():
        assert type(default) in (bool, int, float, str), f"setting {name} has no plain default value: {default!r}"
    check_settings(method, known | settings)
    for name, span in method.search.items():
        assert name in known, f"search names {name!r}, which is no setting"
        assert span and isinstance(span, (list, tuple)), f"search of {name} is neither a list nor a pair: {span!r}"
        for value in span:
            check_settings(method, {name: value})
        if isinstance(span, tuple):
            assert type(known[name]) is float, f"search of {name} is a range, but the setting is not a float"
            assert len(span) == 2 and 0 < span[0] < span[1], f"search of {name} is no range: {span!r}"
    common = {"lr", "l2", "batch_size", "weight"}
    check_settings(method, {name: value for name, value in method.published.items() if name not in common})
    assert all(method.published.get(name, 1) > 0 for name in common)
    assert len(method.weights) == 2 and 0 < method.weights[0] < method.weights[1], f"no range: {method.weights!r}"
    assert method.label and isinstance(method.label, str) and isinstance(method.source, str)
    assert isinstance(method.differs, tuple) and all(isinstance(sentence, str) for sentence in method.differs)
    assert method.weight > 0 and not method.teaches
    assert METHODS[method.taught_by].teaches, f"taught_by is {method.taught_by!r}, which teaches nobody"


def check_loss(method, **settings):
    """A finite scalar, whose gradient is finite and reaches the student's table."""
    for backbone in (MF, LightGCN):
        trial = Trial(method, settings, backbone)
        assert all(isinstance(parameter, Parameter) for parameter in trial.own), "parameters() gives what is none"
        reached = False
        for loss, gradient, of_own in trial.steps():
            assert loss.shape == () and loss.isfinite(), f"the loss is no finite scalar: {loss}"
            assert gradient is not None and gradient.isfinite().all(), "the table's gradient is missing, or not finite"
            assert all(x is None or x.isfinite().all() for x in of_own), "a parameter's gradient is not finite"
            reached |= bool(gradient.any())
        assert reached, "no gradient reaches the student's table"


def check_seed(method, **settings):
    """A seed repeats everything to the bit, another draws otherwise, and nothing is drawn from anywhere else."""
    found, elsewhere = [], global_state()
    for seed in (1, 1, 2):
        trial = Trial(method, settings, seed=seed)
        found.append([torch.cat([loss[None], gradient.flatten()]) for loss, gradient, _ in trial.steps()])
        trial.method.report(trial.student)
    first, again, other = found
    assert all(map(torch.equal, first, again)), "the same seed gives other numbers"
    untouched = torch.Generator().manual_seed(2).get_state()
    if not torch.equal(trial.generator.get_state(), untouched):
        assert not all(map(torch.equal, first, other)), "another seed gives the same numbers"
    assert global_state() == elsewhere, "something is drawn from another generator than the method's own"


def global_state() -> bytes:
    return pickle.dumps((torch.get_rng_state().numpy(), np.random.get_state(), random.getstate()))


def check_changes_nothing(method, **settings):
    """Neither the teacher nor the split, nor the student but for its gradient."""
    teachers = [a_teacher()] + [listed(a_teacher())] * learns_from_lists(method, **settings)
    for teacher in teachers:
        split = small_split()
        parts = split.train, split.valid, split.test
        given = [*(x for part in parts for x in (part.users, part.items, *part.csr, part.item_counts)),
                 *((teacher.items, teacher.listed) if isinstance(teacher, Lists) else teacher.factors())]
        before, trial = [x.clone() for x in given], Trial(method, settings, teacher=teacher)
        table = trial.student.table.detach().clone()
        list(trial.steps())
        trial.method.report(trial.student)
        assert all(map(torch.equal, given, before)), "the teacher or the split is another afterwards"
        assert torch.equal(trial.student.table, table), "the student's table is another afterwards"


def learns_from_lists(method, **settings) -> bool:
    """Whether it takes a teacher that is a list of scored items for every user. One that does not says why."""
    try:
        found = list(Trial(method, settings, teacher=listed(a_teacher())).steps())
    except ValueError as error:
        assert "embeddings" in str(error), f"of a teacher without embeddings it only says {str(error)!r}"
        return False
    assert all(loss.isfinite() and gradient.isfinite().all() for loss, gradient, _ in found)
    return True


def check_sum(method, **settings):
    """A Sum's settings are its weights, its parts' own, each of which reaches its part, and that alone, and what it
    adds."""
    if not issubclass(method, Sum):
        return
    known, names = method.settings(), [name for part in method.parts.values() for name in part.settings()]
    own_names = {(weight, name): name if names.count(name) == 1 else f"{weight}_{name}"
                 for weight, part in method.parts.items() for name in part.settings()}
    assert {*method.parts, *own_names.values()} <= set(known)
    weights = dict.fromkeys(method.parts, 1.0)

    def values(**given):
        terms = method(a_teacher(), small_split(), torch.Generator().manual_seed(0), **weights | given).terms
        return {(weight, name): getattr(terms[weight], name) for weight, name in own_names}

    plain = values()
    assert plain == {key: known[own] for key, own in own_names.items()}, f"the parts have other settings: {plain}"
    for (weight, name), own in own_names.items():
        other = {bool: lambda x: not x, int: lambda x: x + 1, float: lambda x: x / 2 or 0.5}.get(type(known[own]))
        if other:
            other = other(known[own])
            assert values(**{own: other}) == plain | {(weight, name): other}, f"{own} does not reach {weight}"
    for weight in method.parts:
        alone = dict.fromkeys(method.parts, 0.0) | {weight: 2.0}
        made = method(a_teacher(), small_split(), torch.Generator().manual_seed(0), **alone)
        assert list(made.terms) == [weight], f"with {alone} there are {list(made.terms)}"


def check_training(method, **settings):
    """rkd.distill takes it, with either backbone; what it reports can be written down."""
    for backbone in BACKBONES:
        fit = rkd.distill(a_teacher(), small_split(), method, backbone=backbone, dim=4, lr=1e-2, l2=1e-2, weight=0.5,
                          epochs=2, evaluate_every=1, batch_size=256, device="cpu", progress=False, **settings)
        assert fit.model.table.isfinite().all() and len(fit.history) == 2
        assert json.loads(json.dumps(fit.history, allow_nan=False)) == fit.history


def check_fixed_shapes(method, **settings):
    """As a GPU needs it: no step waits for the host, and all full batches ask for the same operations on the same
    shapes, whether they are small against the users or not."""
    for backbone in (MF, LightGCN):
        with as_on_a_gpu():
            state, made = training(method, backbone, **settings)
            for size in (32, 512):
                one, other = (record_step(state, made, size, seed) for seed in (5, 6))
                assert not one.waits(), f"a step waits for the host: {', '.join(sorted(one.waits()))}"
                differ = [pair for pair in zip(one.operations, other.operations) if pair[0] != pair[1]]
                assert one.operations == other.operations, f"shapes depend on what is in a batch: {differ[:1]}"
                assert len(one.operations) > 20


def check_resume(method, **settings):
    """Four epochs and then three more are seven, to the bit: what outlives an epoch is in ``keeps``."""
    def fit(epochs, resume=None):
        return rkd.distill(a_teacher(), small_split(), method, dim=4, lr=1e-2, l2=1e-2, weight=0.5, evaluate_every=1,
                           batch_size=256, device="cpu", progress=False, epochs=epochs, resume=resume, **settings)

    at_once, resumed = fit(7), fit(7, resume=fit(4))
    assert resumed.history == at_once.history, "training resumes with other numbers: is an attribute not in keeps?"
    for name, tensor in flat(at_once.state, "state").items():
        assert torch.equal(tensor, flat(resumed.state, "state")[name]), f"training resumes with another {name}"


CHECKS = (check_description, check_loss, check_seed, check_changes_nothing, check_sum, check_training, check_resume,
          check_fixed_shapes)


# ------------------------------------------------------------------------------------------- what a step asks a GPU for

# What a GPU's host would have to wait for: a value fetched, or a shape that depends on values.
WAITS = {"_local_scalar_dense", "nonzero", "_unique2", "unique_consecutive", "unique_dim", "masked_select", "bincount",
         "repeat_interleave", "is_nonzero", "equal"}


@contextmanager
def as_on_a_gpu(fixed=True):
    """Shapes fixed, or not, wherever rkd asks."""
    with ExitStack() as stack:
        for module in list(sys.modules.values()):
            if getattr(module, "__dict__", {}).get("fixed_shapes") is fixed_shapes and module.__name__ != __name__:
                stack.enter_context(patch.object(module, "fixed_shapes", lambda device: fixed))
        yield


class Recorder(TorchDispatchMode):
    """Notes every operation, by its name and the shapes of what it returns."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        found = function(*arguments, **keywords or {})
        returned = [x for x in (found if isinstance(found, (tuple, list)) else [found]) if isinstance(x, torch.Tensor)]
        name = function.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            x is not None and x.dtype == torch.bool for x in arguments[1])
        name = "masked_select" if by_mask else name
        if name == "repeat_interleave" and (keywords or {}).get("output_size") is not None:
            name = "repeat_interleave, its size being given"
        self.operations.append((name, tuple(tuple(x.shape) for x in returned)))
        return found

    def waits(self) -> set[str]:
        return WAITS & {name for name, _ in self.operations}


def training(method=None, backbone=MF, lists=False, **settings):
    """(student, split, negatives, Adam, generator), the method or None, after one epoch on the data set "synthetic".
    lists : from a teacher that is no more than these."""
    split, generator = synthetic_split(), torch.Generator().manual_seed(0)
    teacher = Given(torch.randn(n, 32, generator=generator) for n in (split.n_users, split.n_items))
    teacher = listed(teacher, split) if lists else teacher
    student, made = backbone(split, 4, seed=1), method and method(teacher, split, generator, **settings)
    state = student, split, NegativeSampler(split.train), Adam(student, 1e-2, made), generator
    train_epoch(*state, 1, 1e-2, 512, made, 0.5)
    return state, made


@cache
def synthetic_split():
    return interactions().split("unkd", seed=0)


def record_step(state, method, size, seed=5) -> Recorder:
    """One step on a batch of so many pairs, forth, back and Adam."""
    student, split, negatives, optimizer, generator = state
    chosen = torch.randint(len(split.train), (size,), generator=torch.Generator().manual_seed(seed))
    users = split.train.users[chosen]
    batch = Batch(users, split.train.items[chosen], negatives(users, generator))
    with Recorder() as recorder:
        optimizer.zero_grad(set_to_none=False)
        step_loss(student, batch, 1e-2, method, 0.5).backward()
        student.end_step()
        optimizer.step()
    return recorder

"""Whatever a notebook has set of torch's own: the same bits, and afterwards it is set as it was."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import rkd
from rkd import METHODS, Distiller
from rkd.device import neutral

STUDENTS = [name for name, method in METHODS.items() if issubclass(method, Distiller)]


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


AROUND = {"float64": default_dtype, "device": default_device, "with device": lambda: torch.device("meta"),
          "no_grad": torch.no_grad, "inference": torch.inference_mode,
          "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16)}


def everything(methods=("cd",)) -> dict[str, torch.Tensor]:
    """What a notebook does, from the data to the lists: name → numbers."""
    options = dict(epochs=1, batch_size=1024, progress=False, device="cpu")
    split = rkd.load("synthetic").split()
    found = {}
    for backbone in (rkd.MF, rkd.LightGCN):
        teacher = rkd.train(backbone(split, 8), split, **options).model
        found[f"{backbone.__name__} factors"] = torch.cat(teacher.factors())
        found[f"{backbone.__name__} metrics"] = [*rkd.evaluate(teacher, split).values()]
    users, items = (x.numpy() for x in teacher.factors())
    given = rkd.Given((users[::-1], items), user_ids=np.arange(split.n_users)[::-1])
    found["lists"] = rkd.recommend(given, split, torch.tensor([3, 0], device="cpu"), 5)
    found["by user"] = rkd.per_user(given, split)["ndcg@10"]
    for method in methods:
        found[method] = rkd.distill(given, split, method, dim=4, **options).model.table.detach()
    lists = rkd.Lists(given.ranking(20, split.train), given.scores(None, given.ranking(20, split.train)), split.n_items)
    found["from lists"] = rkd.distill(lists, split, "rd", dim=4, **options).model.table.detach()
    return {name: np.array(numbers.tolist() if isinstance(numbers, torch.Tensor) else numbers)
            for name, numbers in found.items()}


@pytest.fixture(scope="module")
def as_it_is():
    return everything(STUDENTS)


@pytest.mark.parametrize("setting", AROUND)
def test_torchs_own_state_changes_no_bit(setting, as_it_is):
    with AROUND[setting]():
        found = everything(STUDENTS if setting in ("float64", "inference") else ["mkd"])
    for name, numbers in found.items():
        assert np.array_equal(numbers, as_it_is[name], equal_nan=True), name


def state():
    return (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"))


@pytest.mark.parametrize("setting", AROUND)
def test_within_it_torch_is_as_imported_and_afterwards_as_it_was(setting):
    usual = state()
    with AROUND[setting]():
        before = state()
        assert before != usual
        with neutral():
            assert state() == usual
        with pytest.raises(KeyError), neutral():
            raise KeyError
        assert state() == before
    assert state() == usual


def test_a_run_is_the_same_as_well():
    run = rkd.Run("synthetic", "cd", epochs=2, dim=4, teacher_dim=4)
    options = dict(jobs=1, device="cpu", log=lambda _: None)
    with torch.inference_mode(), default_dtype():
        found, = rkd.compute([run], **options)
        table = found.model.table
    split, common = rkd.split_of(run), dict(epochs=2, progress=False, device="cpu")
    settings = [dict(lr=r.lr, l2=r.l2, batch_size=r.batch_size) for r in (run.teacher, run)]
    teacher = rkd.train(rkd.MF(split, 4), split, **settings[0], **common).model
    student = rkd.distill(teacher, split, "cd", dim=4, weight=run.weight, **settings[1], **common).model
    assert np.array_equal(table.tolist(), student.table.tolist())

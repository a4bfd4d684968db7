"""Methods by name and by class, their settings, and rkd.distill. What each must pass: test_contract.py."""

import numpy as np
import pytest
import torch

import rkd
from rkd import METHODS, MF, Distiller, OnLists, distill, train
from rkd.methods import CD, RD, check_settings, distillation, method_of, name_of

ALONE = ["teacher", "pd", "none", "softmax", "cosine"]
DISTIL = [name for name in METHODS if name not in ALONE]


def test_settings_are_the_annotated_attributes():
    assert METHODS["cd"].settings() == {"guide": "student", "n_samples": 30, "temperature": 20.0, "t1": 2.0, "t2": 0.0,
                                        "refresh": 5, "depth": 0, "better": False, "redraw": True}
    assert METHODS["rd"].settings()["k"] == 30
    assert METHODS["pd"].settings() == {"gamma": 0.1}
    assert METHODS["teacher"].settings() == METHODS["none"].settings() == {}
    METHODS["pd"].settings()["gamma"] = 5.0
    assert METHODS["pd"].settings() == {"gamma": 0.1}  # the caller's own copy
    check_settings("cd", {"t1": 3, "guide": "teacher"})  # a whole number is a float


def test_a_subclass_has_the_settings_of_its_base_and_its_own(split):
    class Mine(CD):
        n_samples: int = 3
        deep: bool = True

    assert Mine.settings() == CD.settings() | {"n_samples": 3, "deep": True} and CD.settings()["n_samples"] == 30
    assert (Mine.label, Mine.source, Mine.search) == ("Mine", CD.source, CD.search)  # its own name in tables
    made = Mine(rkd.Given(MF(split, 6).factors()), split, torch.Generator(), guide="teacher", temperature=1.0)
    assert (made.n_samples, made.deep, made.guide) == (3, True, "teacher")
    with pytest.raises(TypeError, match="unexpected keyword argument 'samples'"):
        Mine(rkd.Given(MF(split, 6).factors()), split, torch.Generator(), samples=3)


def test_a_method_is_a_name_or_a_class(split):
    class Mine(RD):
        pass

    assert list(METHODS) == [*ALONE, *DISTIL] and all(issubclass(METHODS[name], Distiller) for name in DISTIL)
    for method, name, found in (("rd", "rd", RD), (RD, "rd", RD), (Mine, "Mine", Mine)):
        assert method_of(method) is distillation(method) is found and name_of(method) == name
    for no_method in (int, RD.settings, None,
                      OnLists(MF(split, 3).factors(), split, torch.Generator())):
        with pytest.raises(TypeError, match="a method is a name or a subclass of rkd.Distiller, rkd.OnLists or"):
            method_of(no_method)
    with pytest.raises(ValueError, match="Mine's k is a int such as 30, not 2.5"):
        check_settings(Mine, {"k": 2.5})


@pytest.mark.parametrize("method, settings, message", [
    ("nothing", {}, "unknown method 'nothing': choose from teacher, pd, none, softmax, cosine, " + ", ".join(DISTIL)),
    ("rd", {"guide": "teacher"}, "rd has no setting 'guide'; it has k=30, "),
    ("cd", {"n_samples": 3.0}, "cd's n_samples is a int such as 30, not 3.0"),
    ("cd", {"n_samples": True}, "cd's n_samples is a int"),
    ("cd", {"t1": "2"}, "cd's t1 is a float such as 2.0, not '2'"),
    ("cd", {"guide": 1}, "cd's guide is a str"), ("rrd", {"sigmoid": 1}, "rrd's sigmoid is a bool such as False"),
    ("mkd", {"tau": 0.5}, "mkd has no setting 'tau'; it has nkd=0.5, .*cpd_tau=5.0, .*sld_tau=0.5"),
])
def test_settings_that_do_not_exist(split, method, settings, message):
    with pytest.raises(ValueError, match=message):
        check_settings(method, settings)
    with pytest.raises(ValueError, match=message):
        distill(MF(split, 3), split, method, **settings)


def test_a_teacher_may_be_a_pair_of_arrays(split, device):
    teacher = MF(split, 5, seed=4)
    arrays = tuple(x.numpy() for x in teacher.factors())
    options = dict(epochs=6, weight=0.5, temperature=1.0, n_samples=5, device=device, progress=False)
    first, second = (distill(t, split, "cd", **options).model.table for t in (teacher, arrays))
    exact = device.type == "cpu"  # elsewhere sums come in any order; another teacher's student is 0.03 away
    torch.testing.assert_close(first, second, rtol=0, atol=0 if exact else 1e-3)
    assert first.device == device


def test_distill_refuses_a_teacher_of_other_sizes_and_unknown_backbones(split):
    with pytest.raises(ValueError, match="the teacher is of 3 users and 37 items, the split of 23 and 37"):
        distill((np.zeros((3, 2)), np.zeros((37, 2))), split, "rd")
    with pytest.raises(ValueError, match="unknown backbone 'mlp': choose from mf, lightgcn"):
        distill(MF(split, 3), split, "rd", backbone="mlp")
    with pytest.raises(TypeError, match="expected a model or a pair"):
        distill("teacher", split, "rd")


class Imitate(Distiller):
    """A method of one's own: a trained projection takes the student's users to the teacher's."""

    made = None

    scale: float = 1.0

    def prepare(self):
        self.epochs, self.steps, self.of_users = [], 0, self.teacher.factors()[0]
        start = torch.randn(4, self.of_users.shape[1], generator=self.generator, device=self.generator.device)
        self.projection = torch.nn.Parameter(start)
        self.start = start.clone()
        Imitate.made = self

    def parameters(self, student):
        assert student.dim == len(self.projection)
        return [self.projection]

    def begin_epoch(self, student, epoch):
        self.epochs.append(epoch)

    def loss(self, student, batch):
        self.steps += 1
        mapped = student.rows("users", batch.users) @ self.projection
        return self.scale * (mapped - self.of_users[batch.users]).square().mean()


@pytest.mark.parametrize("backbone, method", [("mf", "imitate"), ("lightgcn", "imitate"), ("mf", Imitate)])
def test_a_method_of_ones_own(split, backbone, method, monkeypatch, device):
    """Named in METHODS, or given as a class, it works like the others: settings, hooks, parameters of its own, and
    gradients to both."""
    if method == "imitate":
        monkeypatch.setitem(METHODS, method, Imitate)
    teacher = rkd.MF(split, 6, seed=1).factors()
    options = dict(backbone=backbone, dim=4, lr=0.05, l2=0.0, epochs=60, device=device, progress=False)
    fit = rkd.distill(teacher, split, method, weight=100.0, scale=2.0, **options)
    made = Imitate.made
    assert made.scale == 2.0 and made.epochs == list(range(1, fit.epochs + 1)) and made.steps == fit.epochs
    assert made.of_users.device == device and torch.equal(made.of_users.cpu(), teacher[0])
    assert not torch.equal(made.projection, made.start)

    def error(students, projection):  # over users with training items
        return (students @ projection - made.of_users)[split.train.users].square().mean()

    plain = rkd.distill(teacher, split, method, weight=0.0, **options)
    best = torch.linalg.lstsq(plain.model.factors()[0].cpu(), made.of_users.cpu()).solution.to(device)
    assert fit.history[-1]["loss"] < fit.history[0]["loss"]
    assert error(fit.model.factors()[0], made.projection.detach()) < 0.7 * error(plain.model.factors()[0], best)
    with pytest.raises(ValueError, match=f"{name_of(method)} has no setting 'k'; it has scale=1.0"):
        rkd.distill(teacher, split, method, k=3)


@pytest.mark.parametrize("made, missing", [(Distiller, "loss"), (OnLists, "draw")])
def test_a_method_without_a_loss_says_what_is_missing(split, made, missing):
    with pytest.raises(TypeError, match=rf"Empty must define {missing}\("):
        distill(MF(split, 3), split, type("Empty", (made,), {}), epochs=1)


def test_weight_zero_is_the_plain_student(split):
    """RD draws nothing at random while it warms up, so that nothing but the weight is at work."""
    options = dict(lr=1e-2, l2=1e-2, epochs=10, device="cpu", progress=False)
    plain = train(MF(split, 4, seed=3), split, seed=3, **options)
    assert torch.equal(distill(MF(split, 9), split, "rd", dim=4, seed=3, weight=0.0, **options).model.table,
                       plain.model.table)
    assert not torch.equal(distill(MF(split, 9), split, "rd", dim=4, seed=3, weight=0.1, **options).model.table,
                           plain.model.table)


@pytest.mark.parametrize("method", ALONE)
def test_what_is_trained_alone_is_no_distillation(split, method):
    """It has settings, but no teacher to learn them from."""
    with pytest.raises(ValueError, match=f"{method} has no setting 'k'"):
        check_settings(method, {"k": 1})
    for given in (method, METHODS[method]):
        with pytest.raises(ValueError, match="is no distillation: choose from " + ", ".join(DISTIL)):
            distill(MF(split, 3), split, given, epochs=1)

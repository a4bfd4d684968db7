"""Every method keeps the contract, so do methods of one's own in ten lines; and what breaks it is told."""

import contract
import pytest
import torch
from contract import CHECKS, Trial, a_teacher, check_method, learns_from_lists, listed, small_split

import rkd
from rkd import METHODS, MF, Distiller, LightGCN, OnEntities, OnLists, Sum
from rkd.kernels import ItemLists
from rkd.methods import DE, RRD

pytestmark = pytest.mark.usefixtures("untuned")

DISTIL = [name for name, method in METHODS.items() if issubclass(method, Distiller)]
FROM_LISTS = ["rd", "cd", "rrd", "rrd-top", "pd-cd", "unkd", "sld", "stratified-sld", "rce-kd", "sld-rounded",
              "sld-ease"]
BOTH_SIDES = ["dcd", "ir-rrd"]  # the user side learns from lists, the item side does not: test_by_item.py


class MSE(OnLists):
    """L = mean over u and n_items random unseen items of (s_ui − z_ui)²."""

    n_items: int = 30

    def draw(self, student, epoch):
        items = self.unseen(self.n_items)
        return items, {"target": self.teacher.scores(None, items)}

    def user_loss(self, scores, target):
        return (scores - target).square().mean(1)


class Norms(Distiller):
    """A loss, and nothing else: users' embeddings as long as the teacher's."""

    def loss(self, student, batch):
        of_teacher = self.teacher.factors()[0].index_select(0, batch.users)
        return (student.rows("users", batch.users).norm(dim=1) - of_teacher.norm(dim=1)).square().mean()


class Squares(OnEntities):
    """Any distance is a method."""

    n_experts: int = 2

    def distance(self, student, side, entities):
        mapped = self.networks[side](self.of_student(student, side, entities))
        return (self.of_teacher[side].index_select(0, entities) - mapped).square().mean(1)


class Three(Sum):
    """Two parts have a setting ``n_experts``, two have ``n_pairs``."""

    label = "Three of them"
    search = {"error": (0.1, 1.0), "far_n_experts": [1, 2]}
    parts = {"error": MSE, "far": Squares, "experts": DE}

    error: float = 1.0
    far: float = 0.5
    experts: float = 0.1


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", DISTIL)
def test_every_method_keeps_the_contract(name, check):
    check(METHODS[name])


@pytest.mark.parametrize("method", [MSE, Norms, Squares, Three])
def test_methods_of_ones_own_keep_it(method):
    check_method(method)


def test_settings_are_checked_as_given():
    check_method(MSE, n_items=3)
    with pytest.raises(ValueError, match="interesting items cannot be drawn from a pool"):
        check_method(RRD, k=200)


# ------------------------------------------------------------------------------------------------------------ rkd's own

@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name):
    method = METHODS[name]
    assert method.label and method.source and method.__doc__ and rkd.methods.name_of(method) == name
    assert [other for other in METHODS if METHODS[other].label == method.label] == [name]
    assert all(sentence.endswith((".", ")")) for sentence in method.differs)


@pytest.mark.parametrize("backbone", [MF, LightGCN])
@pytest.mark.parametrize("name", DISTIL)
def test_every_method_reaches_users_and_items_of_both_backbones_tables(name, backbone, device):
    """At every step: at the start, warmed up, and when DE is cold."""
    for loss, gradient, of_own in Trial(METHODS[name], {}, backbone, device=device).steps():
        assert loss.shape == () and loss.isfinite() and loss != 0 and gradient.isfinite().all()
        assert gradient[:60].any() and gradient[60:].any()
        assert all(x.isfinite().all() for x in of_own if x is not None)


def test_those_that_learn_from_lists():
    assert [name for name in DISTIL if learns_from_lists(METHODS[name])] == FROM_LISTS
    assert learns_from_lists(MSE) and not learns_from_lists(Norms)
    for parts in (dict(nkd=0.0, cpd=0.0), dict(cpd=0.0), dict(nkd=0.0)):
        assert learns_from_lists(METHODS["mkd"], **parts) == (len(parts) == 2)


@pytest.mark.parametrize("name", [name for name in DISTIL if name not in FROM_LISTS + BOTH_SIDES])
def test_those_that_need_embeddings_say_so(name):
    """By the name of the part that does, and with those that would do instead."""
    need = {"de-rrd": "DE", "mkd": "NKD", "stratified-mkd": "NKD"}.get(name, METHODS[name].label)
    message = f"^{need} learns from a teacher's embeddings, and this teacher has none; RD, CD, RRD, UnKD and SLD learn "
    with pytest.raises(ValueError, match=message + "from lists of scores$"):
        rkd.distill(listed(a_teacher()), small_split(), name, epochs=1, progress=False)
    assert {"RD", "CD", "RRD", "UnKD", "SLD"} <= {METHODS[of_lists].label for of_lists in FROM_LISTS}


@pytest.mark.parametrize("name", FROM_LISTS)
def test_lists_as_long_as_the_catalogue_teach_what_their_scores_do(name):
    """The same losses from a teacher's embeddings and from lists of all that it scores."""
    losses = []
    for teacher in (a_teacher(), everything(a_teacher())):
        losses.append([loss.item() for loss, _, _ in Trial(METHODS[name], {}, teacher=teacher).steps()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def everything(teacher):
    items = torch.arange(90).expand(60, -1)
    return rkd.Lists(items, teacher.scores(None, items), 90)


# ----------------------------------------------------------------------------------------------------- what breaks it

class Silent(Norms):
    """No gradient."""

    def loss(self, student, batch):
        return super().loss(student, batch).detach().requires_grad_()


class Vector(Norms):
    def loss(self, student, batch):
        return super().loss(student, batch)[None]


class Infinite(Norms):
    def loss(self, student, batch):
        return super().loss(student, batch) / 0


class Elsewhere(MSE):
    """Drawn from torch's own generator."""

    def unseen(self, n):
        return torch.randint(90, (len(self.everyone), n))


class Unseeded(MSE):
    """Its second object differs from the first."""

    made = 0

    def prepare(self):
        Unseeded.made += 1

    def user_loss(self, scores, target):
        return super().user_loss(scores, target) * Unseeded.made


class Constant(MSE):
    """It draws, and does not use what it draws."""

    def draw(self, student, epoch):
        items, _ = super().draw(student, epoch)
        return items * 0, {"target": self.teacher.scores(None, items * 0)}


class Scaling(MSE):
    """Changes the teacher."""

    def prepare(self):
        self.teacher.factors()[1].mul_(2)


class Clipping(MSE):
    """Changes the student."""

    def begin_epoch(self, student, epoch):
        super().begin_epoch(student, epoch)
        student.table.data.clamp_(-0.1, 0.1)


class Waiting(MSE):
    def loss(self, student, batch):
        return super().loss(student, batch) * float(batch.users.max())


class Distinct(MSE):
    """Shapes by what is in a batch."""

    def loss(self, student, batch):
        users = torch.tensor(sorted(set(batch.users.tolist())))
        return self.user_loss(student.scores(users, self.lists), self.extra["target"][users]).mean()


class Unknown(MSE):
    search = {"items": [10, 20]}


class Mistyped(MSE):
    search = {"n_items": [10, 20.5]}


class Orphan(MSE):
    taught_by = "none"


class Needy(MSE):
    """Says nothing of why it does not take lists."""

    def prepare(self):
        if isinstance(self.teacher, rkd.Lists):
            raise ValueError("bad teacher")


class Talking(MSE):
    """What it reports cannot be written down."""

    def report(self, student):
        return {"norm": student.table.norm()}


class Counting(MSE):
    """What it counts outlives an epoch, and keeps does not say so."""

    epochs = 0

    def begin_epoch(self, student, epoch):
        super().begin_epoch(student, epoch)
        self.epochs += 1

    def user_loss(self, scores, target):
        return super().user_loss(scores, target) * self.epochs


class Deaf(Three):
    """Its settings do not reach the parts."""

    def prepare(self):
        super().prepare()
        for term in self.terms.values():
            term.n_pairs = 7


@pytest.mark.parametrize("method, message", [
    (Silent, "gradient is missing"), (Vector, "no finite scalar"), (Infinite, "no finite scalar"),
    (Elsewhere, "same seed gives other numbers|another generator"), (Unseeded, "the same seed gives other numbers"),
    (Constant, "another seed gives the same numbers"), (Scaling, "the teacher or the split is another afterwards"),
    (Clipping, "the student's table is another afterwards"),
    (Waiting, "a step waits for the host: _local_scalar_dense"),
    (Distinct, "shapes depend on what is in a batch"), (Unknown, "search names 'items', which is no setting"),
    (Orphan, "taught_by is 'none', which teaches nobody"),
    (Needy, "of a teacher without embeddings it only says 'bad teacher'"),
    (Deaf, "the parts have other settings"), (Counting, "is an attribute not in keeps"),
])
def test_what_breaks_the_contract_is_told(method, message):
    with pytest.raises(AssertionError, match=message):
        check_method(method)


@pytest.mark.parametrize("method, error, message", [
    (Mistyped, ValueError, "Mistyped's n_items is a int such as 30, not 20.5"),
    (Talking, TypeError, "not JSON serializable"),
    (type("Empty", (Distiller,), {}), TypeError, "Empty must define loss"),
    (type("Undrawn", (OnLists,), {}), TypeError, "Undrawn must define draw"),
])
def test_what_fails_says_why(method, error, message):
    with pytest.raises(error, match=message):
        check_method(method)


def test_recorded_operations_are_those_of_a_gpu():
    """Of one and the same step: on a CPU shapes may differ, as on a GPU they may not, and that is known again after."""
    state, method = contract.training(METHODS["rd"])
    assert contract.record_step(state, method, 32).waits()
    with contract.as_on_a_gpu():
        assert not contract.record_step(state, method, 32).waits()
    assert contract.record_step(state, method, 32).waits()
    assert isinstance(method.top, ItemLists)

"""The distillations against NumPy, their settings, and what they do to a student."""

import numpy as np
import pytest
import torch
from conftest import a_batch, agreement_gained, brute_ranking, loss_of, matrix, product, seeded

import rkd
from rkd import MF, synthetic
from rkd.distill import ALONE, CD, METHODS, RD, Distiller, check_settings, settings_of
from rkd.distill.base import Batch, CountedUsers
from rkd.models import BACKBONES
from rkd.sampling import NegativeSampler
from rkd.train import distill, train


def log_sigmoid(x):
    return -np.logaddexp(0, -x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_batchs_distinct_users_and_how_often_they_come(device):
    users = a_batch(device).counted_users(23)
    once = torch.zeros(23).index_add_(0, users.index.cpu(), users.times.cpu())
    assert once.nonzero().flatten().tolist() == [0, 1, 4, 7, 22] and once[[0, 1, 4, 7, 22]].tolist() == [1, 1, 3, 2, 1]
    values = torch.arange(23.0, device=device)
    assert users.mean(users.of(values)).item() == pytest.approx(a_batch(device).users.float().mean().item())
    assert users.of(values).tolist() == users.index.tolist() and users.times.dtype == torch.float32


def test_everyone_stands_for_a_batch_that_is_not_small(device):
    """Each of nine users with how often it is there, never or three times; the mean is over the batch either way."""
    batch = a_batch(device, (4, 4, 7, 0, 4))
    everyone, some = batch.counted_users(9), batch.counted_users(23)
    assert everyone.index is None and everyone.times.tolist() == [1, 0, 0, 0, 3, 0, 0, 1, 0]
    values = torch.randn(23, device=device)
    assert everyone.of(values[:9]).tolist() == values[:9].tolist()
    for users, known in ((everyone, 9), (some, 23)):
        assert users.mean(users.of(values[:known])).item() == pytest.approx(values[batch.users].mean().item(), abs=1e-6)


# ------------------------------------------------------------------------------------------------------------------ RD

def test_rd_takes_the_teachers_best_untrained_items(world, device):
    split, teacher, _ = world
    method = RD(teacher, split, seeded(device), k=7)
    assert method.top.items.tolist() == [row[:7] for row in brute_ranking(product(teacher), split)]


def rd_loss_by_hand(world, users, k, sharpness, mu, random_items=None):
    """The paper's formula with loops; without ``random_items`` that of the warm-up."""
    split, teacher, student = world
    ranked, s = brute_ranking(product(teacher), split), product(student.factors())
    untrained = (~matrix(split.train)).sum(1)
    losses = []
    for u in users:
        weights = []
        for r, i in enumerate(ranked[u][:k], 1):
            weight = np.exp(-r / sharpness)
            if random_items is not None:
                above = np.mean([s[u, j] > s[u, i] for j in random_items[u]])
                weight *= max(0, np.tanh(mu * (above * untrained[u] + 1 - r)))
            weights.append(weight)
        total = sum(weights)
        losses.append(-sum(w / total * log_sigmoid(s[u, i]) for w, i in zip(weights, ranked[u])) if total else 0.0)
    return np.mean(losses)


def test_rd_while_warming_up_by_hand(world, device):
    split, teacher, student = world
    method, batch = RD(teacher, split, seeded(device), k=6, sharpness=3.0, warmup=2), a_batch(device)
    for epoch in (1, 2):
        method.begin_epoch(student, epoch)
        expected = rd_loss_by_hand(world, batch.users.tolist(), 6, 3.0, None)
        assert loss_of(method, student, batch) == pytest.approx(expected, rel=1e-5)


def test_rd_after_warming_up_by_hand(world, device):
    """With the random items that the method drew for itself, which are never training items."""
    split, teacher, student = world
    method = RD(teacher, split, seeded(device), k=6, sharpness=3.0, mu=0.2, n_samples=20, warmup=2)
    drawn, sample = [], method.negatives
    method.negatives = lambda users, generator: drawn.append(sample(users, generator)) or drawn[-1]
    batch = a_batch(device, users=[*range(23), 4, 4, 7])
    for epoch in (2, 3, 4):
        method.begin_epoch(student, epoch)
        items = drawn[-1].cpu().numpy() if drawn else None
        assert len(drawn) == epoch - 2 and (items is None or items.shape == (23, 20))
        expected = rd_loss_by_hand(world, batch.users.tolist(), 6, 3.0, 0.2, items)
        assert loss_of(method, student, batch) == pytest.approx(expected, rel=1e-5)
    assert not matrix(split.train)[np.arange(23)[:, None], items].any()
    assert not torch.equal(drawn[0], drawn[1])  # fresh ones each epoch
    with torch.no_grad():
        student.table[split.n_users:] = student.table[split.n_users:].roll(5, 0)  # an optimizer's step
    weighed_anew = rd_loss_by_hand(world, batch.users.tolist(), 6, 3.0, 0.2, items)
    assert len(drawn) == 2 and loss_of(method, student, batch) == pytest.approx(weighed_anew, rel=1e-5)


def discrepancies(method, student):
    everyone = CountedUsers(None, torch.ones(student.n_users, device=student.table.device))
    return method.discrepancy(student, everyone, student.scores(None, method.top).detach())


def test_rd_lets_go_of_what_the_student_ranks_as_high_as_the_teacher(world, device):
    """A student that is the teacher itself: no discrepancy at the top, so next to no weight there."""
    split, teacher, _ = world
    student = MF(split, 6).to(device)
    with torch.no_grad():
        student.table.copy_(torch.cat(teacher))
    method = RD(teacher, split, seeded(device), k=5, n_samples=20_000, warmup=0)
    method.begin_epoch(student, 1)
    assert (discrepancies(method, student) < 0.05).all()
    with torch.no_grad():
        student.table[:split.n_users] *= -1  # the other way round: everything is far too low
    assert (discrepancies(method, student) > 0.2).float().mean() > 0.9


# ------------------------------------------------------------------------------------------------------------------ CD

@pytest.mark.parametrize("guide", ["student", "teacher"])
def test_cds_items_labels_and_loss_by_hand(world, guide, device):
    """At temperature 0.6 the ranking is 6 deep, so 6 samples are its 6 best untrained items in some order."""
    split, teacher, student = world
    method = CD(teacher, split, seeded(device), guide=guide, n_samples=6, temperature=0.6, t1=1.5, t2=0.4)
    method.begin_epoch(student, 1)
    z, s = product(teacher), product(student.factors())
    items = method.lists.items.cpu().numpy()
    expected = brute_ranking({"student": s, "teacher": z}[guide], split)
    assert [sorted(row) for row in items.tolist()] == [sorted(row[:6]) for row in expected]

    rows = np.arange(split.n_users)[:, None]
    q = sigmoid((z[rows, items] + 0.4) / 1.5)
    np.testing.assert_allclose(method.soft_labels.cpu().numpy(), q, rtol=1e-5)
    per_user = -(q * log_sigmoid(s[rows, items]) + (1 - q) * log_sigmoid(-s[rows, items])).mean(1)
    batch = a_batch(device)
    assert loss_of(method, student, batch) == pytest.approx(per_user[batch.users.cpu()].mean(), rel=1e-5)


@pytest.mark.parametrize("guide", ["student", "teacher"])
def test_cd_draws_afresh_each_epoch_distinct_untrained_items(world, guide, device):
    split, teacher, student = world
    method, train = CD(teacher, split, seeded(device), guide=guide, n_samples=3, temperature=5.0), matrix(split.train)
    drawn = []
    for epoch in (1, 2, 3):
        method.begin_epoch(student, epoch)
        drawn.append(method.lists.items.cpu().numpy())
        assert not train[np.arange(split.n_users)[:, None], drawn[-1]].any()
        assert all(len(set(row)) == 3 for row in drawn[-1].tolist())
    assert (drawn[0] != drawn[1]).any() and (drawn[1] != drawn[2]).any()


def test_cd_prefers_the_top_of_the_guides_ranking(world, device):
    split, teacher, student = world
    method = CD(teacher, split, seeded(device), guide="teacher", n_samples=1, temperature=2.0)
    ranked, places = brute_ranking(product(teacher), split), []
    for epoch in range(1, 201):
        method.begin_epoch(student, epoch)
        places += [ranked[u].index(i) for u, (i,) in enumerate(method.lists.items.tolist())]
    assert np.mean(places) == pytest.approx(1 / (np.exp(0.5) - 1), abs=0.15)  # of a geometric distribution


def test_cd_renews_the_students_ranking_every_refresh_epochs(world, device):
    split, teacher, student = world
    method, rankings = CD(teacher, split, seeded(device), n_samples=2, temperature=1.0, refresh=3), []
    for epoch in range(1, 8):
        with torch.no_grad():
            student.table[split.n_users:] = student.table[split.n_users:].roll(1, 0)  # every epoch another ranking
        method.begin_epoch(student, epoch)
        rankings.append(method.ranked.tolist())
        if epoch in (1, 4, 7):
            assert rankings[-1] == [row[:10] for row in brute_ranking(product(student.factors()), split)]
    changed = [epoch for epoch in range(2, 8) if rankings[epoch - 1] != rankings[epoch - 2]]
    assert changed == [4, 7]


@pytest.mark.parametrize("settings, message", [
    ({"guide": "nobody"}, "guide must be 'student' or 'teacher', not 'nobody'"), ({"t1": 0.0}, "t1 must be above 0"),
    ({"t1": -1.0}, "t1 must be above 0"), ({"refresh": 0}, "refresh at least 1"),
])
def test_cd_settings_out_of_range(world, settings, message, device):
    with pytest.raises(ValueError, match=message):
        CD(world[1], world[0], seeded(device), **settings)


def test_cd_says_so_where_users_have_too_few_items(world, device):
    split, teacher, student = world
    method = CD(teacher, split, seeded(device), n_samples=37)
    with pytest.raises(ValueError, match="37 distinct ranks cannot be drawn"):
        method.begin_epoch(student, 1)


# ------------------------------------------------------------------------------------------------- settings and distill

def test_settings_are_the_constructors_keywords():
    assert settings_of("cd") == {"guide": "student", "n_samples": 30, "temperature": 20.0, "t1": 2.0, "t2": 0.0,
                                 "refresh": 5}
    assert settings_of("rd")["k"] == 30
    assert settings_of("pd") == {"gamma": 0.1} and settings_of("teacher") == settings_of("none") == {}
    settings_of("pd")["gamma"] = 5.0
    assert settings_of("pd") == {"gamma": 0.1}  # the caller's own copy
    check_settings("cd", {"t1": 3, "guide": "teacher"})  # a whole number is a float


@pytest.mark.parametrize("method, settings, message", [
    ("nothing", {}, "unknown method 'nothing': choose from teacher, pd, none, " + ", ".join(METHODS)),
    ("rd", {"guide": "teacher"}, "rd has no setting 'guide'; it has k=30, "),
    ("cd", {"n_samples": 3.0}, "cd's n_samples is a int such as 30, not 3.0"),
    ("cd", {"n_samples": True}, "cd's n_samples is a int"),
    ("cd", {"t1": "2"}, "cd's t1 is a float such as 2.0, not '2'"),
    ("cd", {"guide": 1}, "cd's guide is a str"), ("rrd", {"sigmoid": 1}, "rrd's sigmoid is a bool such as False"),
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
    assert torch.equal(first, second) and first.device == device


def test_distill_refuses_a_teacher_of_other_sizes_and_unknown_backbones(split):
    with pytest.raises(ValueError, match="the teacher is of 3 users and 37 items"):
        distill((np.zeros((3, 2)), np.zeros((37, 2))), split, "rd")
    with pytest.raises(ValueError, match="unknown backbone 'mlp': choose from mf, lightgcn"):
        distill(MF(split, 3), split, "rd", backbone="mlp")
    with pytest.raises(TypeError, match="expected a model or a pair"):
        distill("teacher", split, "rd")


class Imitate(Distiller):
    """A method of one's own: a trained projection takes the student's users to the teacher's."""

    made = None

    def __init__(self, teacher, split, generator, *, scale: float = 1.0):
        super().__init__(teacher, split, generator)
        self.scale, self.epochs, self.steps = scale, [], 0
        start = torch.randn(4, self.user_factors.shape[1], generator=generator, device=generator.device)
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
        mapped = student.users(batch.users) @ self.projection
        return self.scale * (mapped - self.user_factors[batch.users]).square().mean()


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_a_method_of_ones_own(split, backbone, monkeypatch, device):
    """Named in METHODS, it works like the others: settings, hooks, parameters of its own, and gradients to both."""
    monkeypatch.setitem(METHODS, "imitate", Imitate)
    teacher = rkd.MF(split, 6, seed=1).factors()
    options = dict(backbone=backbone, dim=4, lr=0.05, l2=0.0, epochs=60, device=device, progress=False)
    fit = rkd.distill(teacher, split, "imitate", weight=100.0, scale=2.0, **options)
    made = Imitate.made
    assert made.scale == 2.0 and made.epochs == list(range(1, fit.epochs + 1)) and made.steps == fit.epochs
    assert made.user_factors.device == device and torch.equal(made.user_factors.cpu(), teacher[0])
    assert not torch.equal(made.projection, made.start)

    def error(students, projection):  # over users with training items
        return (students @ projection - made.user_factors)[split.train.users].square().mean()

    plain = rkd.distill(teacher, split, "imitate", weight=0.0, **options)
    best = torch.linalg.lstsq(plain.model.factors()[0].cpu(), made.user_factors.cpu()).solution.to(device)
    assert fit.history[-1]["loss"] < fit.history[0]["loss"]
    assert error(fit.model.factors()[0], made.projection.detach()) < 0.7 * error(plain.model.factors()[0], best)
    with pytest.raises(ValueError, match="imitate has no setting 'k'; it has scale=1.0"):
        rkd.distill(teacher, split, "imitate", k=3)


def test_a_method_without_a_loss_says_what_is_missing(split, monkeypatch):
    monkeypatch.setitem(METHODS, "empty", type("Empty", (Distiller,), {}))
    with pytest.raises(TypeError, match="Empty must define loss"):
        distill(MF(split, 3), split, "empty", epochs=1)


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
    with pytest.raises(ValueError, match=method):
        distill(MF(split, 3), split, method, epochs=1)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_reaches_both_backbones_tables(backbone, method, device):
    """A finite loss, and a gradient on the table that Adam trains: at the start, warmed up, and when DE is cold."""
    split = synthetic.world(60, 90, n_train=10).split.to(device)
    generator = seeded(device)
    teacher = tuple(torch.randn(n, 12, generator=generator, device=device) for n in (60, 90))
    student = BACKBONES[backbone](split, 5, seed=1).to(device)
    distiller, sampler = METHODS[method](teacher, split, generator), NegativeSampler(split.train)
    own = list(distiller.parameters(student))
    users, items = split.train.users[:100], split.train.items[:100]
    for epoch in (1, 11, 101):
        distiller.begin_epoch(student, epoch)
        student.table.grad = None
        student.begin_step()
        loss = distiller.loss(student, Batch(users, items, sampler(users, generator)))
        loss.backward()
        student.end_step()
        gradient = student.table.grad
        assert loss.shape == () and loss.isfinite() and loss != 0 and gradient.isfinite().all()
        assert gradient[:60].any() and gradient[60:].any()
        assert all(parameter.grad.isfinite().all() for parameter in own if parameter.grad is not None)


@pytest.mark.parametrize("guide", ["student", "teacher"])
def test_a_student_of_cd_comes_closer_to_the_teachers_ranking(guide):
    """Share of the teacher's top 10 that is in the student's: on average over 3 worlds 0.02 more than the plain
    student's (in calibration 0.04 to 0.08 in each of 4 worlds for the student's guide, 0.03 to 0.07 for the teacher's).
    """
    assert np.mean(agreement_gained(3, "cd", weight=1.0, guide=guide)) > 0.02


def test_rd_never_counts_an_item_above_itself():
    """The random items are the teacher's own: for the best of them none is higher, whatever the rounding."""
    split = synthetic.world(60, 40, n_train=8).split
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(60, 10, generator=generator), torch.randn(40, 10, generator=generator)
    method = RD(teacher, split, generator, k=1, mu=1.0, n_samples=7)
    method.negatives = lambda users, generator: method.top.items.expand(-1, 7)
    student = MF(split, 10)
    with torch.no_grad():
        student.table.copy_(torch.cat(teacher))
    method.begin_epoch(student, method.warmup + 1)
    assert not discrepancies(method, student).any()  # estimated rank 1, like the teacher's

"""Students that begin as the truncated teacher, that know they will be rounded, that learn from EASE or a rounded
teacher; and those of other losses than BPR, alone."""

import pytest
import torch

import rkd
from rkd import compress
from rkd.batch import Batch
from rkd.losses import cosine_contrastive
from rkd.methods.objectives import OfUnitRows
from rkd.methods.rounded import AsRounded
from rkd.methods.warm import begin
from rkd.references import ease
from rkd.rounding import round_rows

pytestmark = pytest.mark.usefixtures("untuned")


@pytest.fixture(scope="module")
def split():
    return rkd.load("synthetic").split("unkd", 0)


@pytest.fixture(scope="module")
def teacher(split):
    return rkd.train(rkd.MF(split, 12, 0), split, lr=0.02, epochs=10, progress=False, device="cpu").model


def scores(model):
    users, items = model.factors()
    return users @ items.T


def distilled(teacher, split, method, **settings):
    return rkd.distill(teacher, split, method, **{"dim": 4, "lr": 1e-2, "l2": 1e-2, "weight": 0.1, "device": "cpu",
                                                  "progress": False} | settings)


# ----------------------------------------------------------------------------------------------------------- warm start

def test_a_student_begins_as_the_truncated_teacher(split, teacher):
    """In its scores; its coordinates are turned."""
    student = begin(rkd.MF(split, 4), teacher)
    wanted = compress.truncate(teacher, 4)
    assert torch.allclose(scores(student), scores(wanted), atol=1e-4)
    assert not torch.allclose(student.factors()[0], wanted.factors()[0], atol=0.1)
    u, i = (x.numpy() for x in teacher.factors())
    assert torch.allclose(scores(begin(rkd.MF(split, 4), (u, i))), scores(student), atol=1e-4)


def test_lightgcn_begins_along_the_teachers_main_directions(split):
    """What it scores with is the teacher's projection, so that at the teacher's size it is the teacher."""
    teacher = rkd.LightGCN(split, 6, seed=3)
    assert torch.allclose(scores(begin(rkd.LightGCN(split, 6), teacher)), scores(teacher), atol=1e-5)
    e = torch.cat(teacher.factors())
    directions = torch.linalg.eigh(e.T @ e).eigenvectors[:, -2:]
    u, i = ((x @ directions) @ directions.T for x in teacher.factors())
    assert torch.allclose(scores(begin(rkd.LightGCN(split, 2), teacher)), u @ i.T, atol=1e-5)


@pytest.mark.parametrize("method", ["sld-warm", "unkd-warm"])
def test_the_first_step_is_made_from_there(split, teacher, method):
    """With a step of next to nothing the trained student is still the truncated teacher."""
    fit = distilled(teacher, split, method, epochs=1, lr=1e-9)
    assert torch.allclose(scores(fit.model), scores(compress.truncate(teacher, 4)), atol=1e-3)


def test_from_there_on_the_loss_is_the_methods_own(split, teacher):
    """Of one that begins as the same student."""
    batch, losses = Batch(split.train.users[:50], split.train.items[:50], split.train.items[50:100]), []
    for method in ("unkd-warm", "unkd"):
        made, student = rkd.METHODS[method](teacher, split, torch.Generator().manual_seed(0)), rkd.MF(split, 4)
        if method == "unkd":
            begin(student, teacher)
        made.parameters(student)
        made.begin_epoch(student, 1)
        losses.append(made.loss(student, batch).item())
    assert losses[0] == losses[1] > 0


def test_a_teacher_is_no_smaller(split, teacher):
    with pytest.raises(ValueError, match="dim must be between 1 and the model's own 12, not 13"):
        begin(rkd.MF(split, 13), teacher)


# -------------------------------------------------------------------------------------------------- rounded in training

@pytest.mark.parametrize("backbone", [rkd.MF, rkd.LightGCN])
def test_a_rounded_student_scores_as_quantised_and_its_gradient_is_the_students(split, backbone):
    """The straight-through rule by hand: a loss's gradient for the rounded embeddings, as if these were its own."""
    student = backbone(split, 5, seed=1)
    scales = round_rows(student.output.detach(), 3)[1]
    seen = AsRounded(student, scales, 3)
    rounded = torch.cat(compress.quantize(student.factors(), 3).factors())
    assert torch.allclose(seen.output, rounded, atol=1e-6)
    users, items = torch.tensor([0, 2]), torch.tensor([[1, 4], [0, 1]])
    (seen.scores(users, items) ** 2).sum().backward()
    free = rounded.clone().requires_grad_()
    u, i = free[users], free[split.n_users + items]
    ((u[:, None] * i).sum(2) ** 2).sum().backward()
    assert torch.allclose(student.output.grad, free.grad, atol=1e-6)


def test_its_loss_is_slds_of_the_quantised_student(split, teacher):
    """And so is its gradient; the lists are drawn from the student as it is."""
    student, quantised = rkd.MF(split, 5, seed=1), rkd.MF(split, 5)
    with torch.no_grad():
        quantised.table.copy_(torch.cat(compress.quantize(student, 2).factors()))
    batch = Batch(split.train.users[:50], split.train.items[:50], split.train.items[50:100])
    losses, gradients = [], []
    for method, scored, settings in (("sld-rounded", student, {"bits": 2}), ("sld", quantised, {})):
        made = rkd.METHODS[method](teacher, split, torch.Generator().manual_seed(0), **settings)
        made.begin_epoch(student, 1)
        loss = made.loss(scored, batch)
        loss.backward()
        losses.append(loss.item())
        gradients.append(scored.table.grad)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert gradients[0].any() and torch.allclose(*gradients, atol=1e-7)


def test_a_teacher_rounded_before_teaches_as_one_that_was_given_rounded(split, teacher):
    """The same student to the bit, and another than the teacher's as it is."""
    settings = {"epochs": 2, "mu": 2.0}  # the first ranks, which rounding to 2 bits changes
    ours = distilled(teacher, split, "unkd-from-rounded", bits=2, **settings).model
    same = distilled(compress.quantize(teacher, 2), split, "unkd", **settings).model
    plain = distilled(teacher, split, "unkd", **settings).model
    assert torch.equal(ours.table, same.table) and not torch.equal(ours.table, plain.table)
    assert rkd.METHODS["unkd-from-rounded"].settings()["bits"] == 3


def test_bits_that_cannot_be(split, teacher):
    with pytest.raises(ValueError, match="bits must be from 2 to 8, not 1"):
        rkd.Run("synthetic", "unkd-from-rounded", settings={"bits": 1})

    with pytest.raises(ValueError, match="bits must be from 2 to 8, not 9"):
        distilled(teacher, split, "sld-rounded", epochs=1, bits=9)


# --------------------------------------------------------------------------------------------------------- EASE's lists

def test_the_teacher_is_ease(split, teacher):
    """As with EASE's own lists given to SLD; another ridge is another teacher."""
    ours = distilled(teacher, split, "sld-ease", epochs=2, ridge=30.0).model
    given = distilled(ease(split, 30.0), split, "sld", epochs=2).model
    assert torch.equal(ours.table, given.table)
    assert not torch.equal(distilled(teacher, split, "sld-ease", epochs=2, ridge=3.0).model.table, given.table)


# ---------------------------------------------------------------------------------------------------------------- alone

@pytest.mark.parametrize("method, factor", [("softmax", 3), ("cosine", 1.5)])
def test_a_run_of_them_learns(split, method, factor):
    """From where its seed begins; cosines, which hold no popularity, little of these few pairs."""
    run = rkd.Run("synthetic", method, lr=0.01, epochs=20, batch_size=256, settings={"n_negatives": 64})
    (result,) = rkd.compute([run], jobs=1, device="cpu")
    assert result.metrics["ndcg@10"] > factor * rkd.evaluate(rkd.MF(split, 10, 0), split)["ndcg@10"]


def test_cosines_are_of_unit_rows_and_the_table_is_brought_to_unit_length(split):
    model = rkd.MF(split, 3, seed=2)
    with torch.no_grad():
        model.table *= 7
    batch = Batch(torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([4, 5]))
    loss = OfUnitRows(0.2, 5.0, 2).loss(model, batch, 0.1)
    assert torch.allclose(model.table.norm(dim=1), torch.ones(len(model.table)), atol=1e-6)
    u, i, j = (model.table[rows].double() for rows in (batch.users, batch.positives + model.n_users,
                                                       batch.negatives + model.n_users))
    assert loss.item() == pytest.approx(cosine_contrastive((u * i).sum(1), u @ j.T, 0.2, 5.0).item(), rel=1e-5)
    loss.backward()
    assert (model.table * model.table.grad).sum(1).abs().max() < 1e-5  # a cosine does not change along a row

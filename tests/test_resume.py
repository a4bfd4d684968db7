"""Training that goes on where another stopped, that began from a trained model, and that was interrupted."""

import sys
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from rkd import MF, Fit, LightGCN, Served, distill, evaluate, load_fit, load_model, train
from rkd.archive import flat
from rkd.datasets import synthetic
from rkd.losses import PD
from rkd.models import BACKBONES

QUIET = dict(device="cpu", progress=False)


def overfitting(make=MF, **options):
    """A world in which a large step without decay is best early, and later worse and worse."""
    world = synthetic.world(100, 60, rank=4, signal=2.0, popularity=1.5, n_train=15, n_valid=0, n_test=0)
    split = world.split.train.split(seed=1)
    given = dict(lr=0.2, l2=0.0, batch_size=256, evaluate_every=2, seed=3) | QUIET | options
    return lambda epochs, **more: train(make(split, 8, seed=0), split, epochs=epochs, **given | more)


def same(one: Fit, other: Fit):
    assert one.history == other.history
    assert (one.best_epoch, one.epochs, one.method) == (other.best_epoch, other.epochs, other.method)
    leaves, others = flat(one.state, "state"), flat(other.state, "state")
    assert leaves.keys() == others.keys() and len(leaves) > 5
    for name, leaf in leaves.items():
        assert torch.equal(leaf, others[name]), name
    assert all(map(torch.equal, one.served.factors(), other.served.factors()))


@pytest.mark.parametrize("make, options", [(MF, {}), (LightGCN, {}), (MF, {"objective": PD(0.2)})])
def test_epochs_in_two_goes_are_the_same_as_in_one(make, options, tmp_path):
    """Through a file or not, and twice from the same Fit: the best model was found in the first part, or not."""
    learn = overfitting(make, **options)
    at_once, first = learn(20), learn(8)
    first.save(tmp_path / "first.safetensors")
    assert not torch.equal(first.state["parameters"], at_once.state["parameters"])
    for source in (first, first, load_fit(tmp_path / "first.safetensors")):
        resumed = learn(20, resume=source)
        same(resumed, at_once)
        assert source.epochs == 8 and len(source.history) == 4
    assert torch.equal(resumed.model.table, at_once.model.table) and resumed.seconds > first.seconds


def test_a_distillation_resumes_from_a_file(split, untuned, tmp_path):
    """One whose networks train along, and whose lists are renewed every fifth epoch."""
    teacher = MF(split, 8)

    def learn(epochs, **more):
        return distill(teacher, split, "mkd", dim=4, lr=1e-2, weight=0.5, epochs=epochs, evaluate_every=1, cpd_q=3,
                       **QUIET, **more)

    learn(3).save(tmp_path / "three")
    assert load_fit(tmp_path / "three").method == "MKD"
    same(learn(7, resume=load_fit(tmp_path / "three")), learn(7))


def test_patience_goes_on_counting():
    """It stops at the same epoch; and what has ended by itself ends at once, until it is given more patience."""
    learn = overfitting(patience=4)
    at_once = learn(500)
    assert at_once.epochs == at_once.best_epoch + 2 * 4 < 500
    resumed = learn(500, resume=learn(at_once.epochs - 4))
    same(resumed, at_once)
    same(learn(500, resume=resumed), at_once)
    assert learn(500, resume=resumed, patience=6).epochs == at_once.epochs + 4


def test_an_epoch_that_is_no_multiple_is_one_evaluation_more():
    """The weights go the same way; only what is evaluated, and so may be the best, differs."""
    learn = overfitting()
    at_once, resumed = learn(12), learn(12, resume=learn(5))
    assert torch.equal(at_once.state["parameters"], resumed.state["parameters"])
    assert [entry for entry in resumed.history if entry["epoch"] != 5] == at_once.history


def test_a_callback_can_save_for_the_case_that_the_process_dies(tmp_path):
    """What it saved last, resumed, ends as what was not killed; it serves the model as it was then."""
    learn, path = overfitting(LightGCN), tmp_path / "so far"
    at_once = learn(30)
    assert at_once.best_epoch < 16

    class Killed(Exception):
        pass

    def save(fit):
        fit.save(path)
        if fit.epochs == 16:
            raise Killed

    with pytest.raises(Killed):
        learn(30, callback=save)
    saved = load_fit(path)
    assert (saved.epochs, saved.history) == (16, at_once.history[:8])
    ndcg = evaluate(load_model(path), at_once.split, "valid", 10)["ndcg@10"]
    assert ndcg == pytest.approx(at_once.history[7]["ndcg@10"], abs=1e-6)
    same(learn(30, resume=saved), at_once)


def test_what_cannot_be_resumed_is_told(split, tmp_path):
    fit = train(MF(split, 3), split, epochs=2, **QUIET)
    other = replace(split, train=split.valid, valid=split.train)
    for model, there, options, message in (
            (MF(split, 4), split, {}, "that was BPR with 180 parameters, this is BPR with 240"),
            (MF(split, 3), split, {"objective": PD(0.1)}, "that was BPR with .* this is PD"),
            (MF(split, 3), other, {}, "trained on other data")):
        with pytest.raises(ValueError, match=message):
            train(model, there, epochs=4, resume=fit, **options, **QUIET)
    with pytest.raises(ValueError, match="no state to go on from"):
        train(MF(split, 3), split, epochs=4, resume=Fit(fit.model, split, method="BPR"), **QUIET)
    fit.served.save(tmp_path / "model")
    with pytest.raises(ValueError, match="holds a model alone, no training to go on with"):
        load_fit(tmp_path / "model")
    assert (tmp_path / "model").stat().st_size < 15_000


# ---------------------------------------------------------------------------------------- a model that was trained once

@pytest.mark.parametrize("make", [MF, LightGCN])
def test_a_second_training_never_gives_back_a_worse_model(make):
    world = synthetic.world(100, 60, rank=4, signal=2.0, popularity=1.5, n_train=15, n_valid=0, n_test=0)
    split = world.split.train.split(seed=1)
    first = train(make(split, 8, seed=0), split, lr=0.02, l2=1e-2, epochs=60, **QUIET)
    model, good = deepcopy(first.model), evaluate(first.model, split, "valid", 10)["ndcg@10"]
    second = train(model, split, lr=3.0, l2=0.0, epochs=10, **QUIET)
    assert max(entry["ndcg@10"] for entry in second.history) < good  # else this test shows nothing
    assert second.best_epoch == 0 and torch.equal(second.model.table, first.model.table)
    third = train(model, split, lr=3.0, l2=0.0, epochs=20, patience=3, evaluate_every=1, **QUIET)
    assert third.epochs == 3 and third.best_epoch == 0
    resumed = train(model, split, lr=3.0, l2=0.0, epochs=12, evaluate_every=1, resume=third, **QUIET)
    assert resumed.best_epoch == 0 and torch.equal(resumed.model.table, first.model.table)


def test_a_fresh_model_is_not_evaluated_before_it_is_trained(split, monkeypatch):
    module, asked = sys.modules[train.__module__], []
    plain = module.rank
    monkeypatch.setattr(module, "rank", lambda *of: asked.append(of[1]) or plain(*of))
    for make in BACKBONES.values():
        model = make(split, 3, seed=np.int64(5))
        assert model.fresh and deepcopy(model).fresh
        train(model, split, epochs=10, seed=np.int64(1), batch_size=np.int64(64), **QUIET)
        assert len(asked) == 2 and not model.fresh
        loaded = make(split, 3, seed=5)
        loaded.load_state_dict(model.state_dict())
        assert not loaded.fresh
        train(loaded, split, epochs=10, **QUIET)
        assert len(asked) == 5
        asked.clear()


@pytest.mark.parametrize("make", [MF, LightGCN])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_training_leaves_the_best_model(split, make, error, monkeypatch):
    """In the middle of a step, after the loss and before what follows it; and the model can be trained on."""
    best, model = [], make(split, 4, seed=1)

    def watch(fit):
        if not best or fit.best_epoch == fit.epochs:
            best[:] = [fit.model.table.detach().clone()]
        if fit.epochs == 8:
            monkeypatch.setattr(type(model), "end_step", interrupt)

    def interrupt(self):
        monkeypatch.undo()
        raise error

    with pytest.raises(error):
        train(model, split, lr=0.3, l2=0.0, epochs=50, evaluate_every=1, callback=watch, **QUIET)
    assert torch.equal(model.table, best[0]) and model.table.grad is None
    again = make(split, 4, seed=1)
    again.load_state_dict(model.state_dict())
    tables = [train(one, split, lr=1e-2, epochs=3, **QUIET).state["parameters"] for one in (model, again)]
    assert torch.equal(*tables)


def test_a_fit_is_served_by_its_ids(data, tmp_path):
    named = replace(data, user_ids=np.array([f"u{n}" for n in range(23)], dtype=object), item_ids=np.arange(37) + 100)
    split = named.split()
    fit = train(LightGCN(split, 4), split, epochs=5, **QUIET)
    fit.save(tmp_path / "fit")
    for served in (fit.served, load_model(tmp_path / "fit"), load_fit(tmp_path / "fit").model):
        assert isinstance(served, Served) and served.user_ids[7] == "u7" and served.item_ids[0] == 100
        assert all(map(torch.equal, served.factors() + served.inputs(), fit.model.factors() + fit.model.inputs()))
    about = load_model(tmp_path / "fit").about
    assert about.items() >= {"model": "LightGCN", "method": "BPR", "epochs": 5, "data": "data",
                             "fingerprint": split.fingerprint}.items()

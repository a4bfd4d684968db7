"""PD: teachers trained with popularity factors that they rank without, and CD and HTD from them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import brute_ranking, loss_of, product, seeded
from runs_helpers import computed, tiny, write_trials

import rkd
from rkd import METHODS, MF, Interactions, Run, distill, train
from rkd.batch import Batch
from rkd.datasets import synthetic
from rkd.datasets.synthetic import probe
from rkd.losses import BPR, PD, popularity_deconfounding, popularity_factors
from rkd.methods import CD, HTD, PDCD, PDHTD
from rkd.run import fingerprint_of
from rkd.store import key_of

QUIET = dict(device="cpu", progress=False)


# ----------------------------------------------------------------------------------------------------------- equations

def test_popularity_deconfounding_worked_by_hand():
    """f is s + 1 above 0 and exp(s) below: margins 0.5 · 3 − 0.2 · e^−1 and 0.1 · e^−2 − 1 · 1."""
    found = popularity_deconfounding(*(torch.tensor(x, dtype=torch.float64)
                                       for x in ([2, -2], [-1, 0], [0.5, 0.1], [0.2, 1])))
    margins = 1.5 - 0.2 * np.exp(-1), 0.1 * np.exp(-2) - 1
    assert found.item() == pytest.approx(np.mean([np.log1p(np.exp(-margin)) for margin in margins]))


def test_popularity_deconfounding_of_equal_factors_ranks_by_the_score():
    """f rises throughout, so the higher score has the lower loss."""
    s, one = torch.linspace(-8, 8, 101, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    loss = torch.stack([popularity_deconfounding(x[None], 0 * one, one, one) for x in s])
    assert (loss.diff() < 0).all()


def test_popularity_factors_worked_by_hand():
    """Counts 3, 0, 4 are shares 4, 1, 5 of 10."""
    counts = torch.tensor([3, 0, 4])
    assert popularity_factors(counts, 0.5).tolist() == pytest.approx([0.4**0.5, 0.1**0.5, 0.5**0.5])
    assert popularity_factors(counts, 1.0).tolist() == pytest.approx([0.4, 0.1, 0.5])


# ------------------------------------------------------------------------------------------------------------ training

def test_gamma_changes_what_is_learned_and_without_it_is_bpr(split):
    """The loss itself is checked step by step in test_train.py."""
    def table(objective=None):
        return train(MF(split, 4), split, lr=1e-2, epochs=5, objective=objective, **QUIET).model.table
    plain, pd = table(), table(PD(0.1))
    assert torch.equal(table(BPR()), plain) and torch.equal(table(METHODS["none"]().objective()), plain)
    assert not torch.equal(pd, plain) and not torch.equal(pd, table(PD(0.2)))
    assert torch.equal(table(METHODS["pd"](gamma=0.1).objective()), pd) and METHODS["pd"]().objective().gamma == 0.1


def test_a_negative_gamma_is_refused():
    for made in (PD, lambda gamma: METHODS["pd"](gamma=gamma).objective()):
        with pytest.raises(ValueError, match="gamma must be 0 or more, not -0.1"):
            made(-0.1)


def test_what_pd_trained_ranks_without_popularity(split, monkeypatch):
    """Its model is a model like any other: the ranking is that of its factors, whatever the counts are."""
    model = train(MF(split, 4), split, lr=1e-2, epochs=10, objective=PD(0.3), **QUIET).model
    users = torch.arange(split.n_users)
    by_factors = [row[:3] for row in brute_ranking(product(model), split)]
    assert rkd.recommend(model, split, users, 3).tolist() == by_factors
    assert repr(rkd.evaluate(model, split)) == repr(rkd.evaluate(model.factors(), split))
    monkeypatch.setattr(Interactions, "item_counts", property(lambda self: torch.arange(self.n_items).flip(0)))
    assert rkd.recommend(model, split, users, 3).tolist() == by_factors


@pytest.mark.parametrize("seed", range(2))
def test_a_teacher_of_pd_is_less_biased(seed):
    """Of the scores less is popularity, and more is affinity. Validation is by affinity here, since one by popularity
    stops the training where it has most of that. (In calibration, 5 worlds: 0.05 to 0.10 less, 0.09 to 0.12 more.)"""
    truth = synthetic.world(400, 100, rank=4, signal=2.0, popularity=2.0, n_train=15, n_valid=4, n_test=4, seed=seed)
    split, found = replace(truth.split, valid=truth.split.test, test=None), []
    for objective in (BPR(), PD(0.2)):
        fit = train(MF(split, 16, seed), split, lr=2e-2, l2=1e-2, epochs=60, seed=seed, objective=objective, **QUIET)
        users, items = fit.model.factors()
        found.append(probe(users @ items.T, truth))
    plain, pd = found
    assert pd["popularity"] < plain["popularity"] - 0.03 and pd["affinity"] > plain["affinity"] + 0.05


# ----------------------------------------------------------------------------------------------------- CD and HTD of PD

@pytest.mark.parametrize("method, base", [(PDCD, CD), (PDHTD, HTD)])
def test_the_distillation_is_the_base_methods(world, method, base, device):
    split, teacher, student = world
    options = {CD: dict(n_samples=3, temperature=2.0), HTD: dict(n_experts=2, alpha=0.3)}[base]
    batch, losses = Batch(*torch.tensor([[4, 7, 4], [5, 6, 5], [1, 2, 3]], device=device)), []
    for make in (method, base):
        distiller = make(teacher, split, seeded(device), **options)
        list(distiller.parameters(student))
        distiller.begin_epoch(student, 1)
        losses.append(loss_of(distiller, student, batch))
    assert losses[0] == losses[1] != 0


def test_settings_and_teachers_by_name(untuned):
    assert PDCD.settings() == CD.settings() and PDHTD.settings() == HTD.settings()
    alone = dict.fromkeys(("teacher", "pd", "none", "softmax", "cosine"))
    assert {name: method.taught_by for name, method in METHODS.items()} == \
        dict.fromkeys(METHODS, "teacher") | {"pd-cd": "pd", "pd-htd": "pd"} | alone
    assert [name for name, method in METHODS.items() if method.teaches] == ["teacher", "pd"]
    split = synthetic.world(30, 40, n_train=8).split
    models = [distill(MF(split, 6, seed=1), split, name, dim=3, weight=1.0, lr=1e-2, l2=1e-2, epochs=3, temperature=1.0,
                      n_samples=5, **QUIET).model.table for name in ("cd", "pd-cd")]
    assert torch.equal(*models)  # with one and the same teacher


def test_runs_of_pd(untuned):
    pd, student = Run("synthetic", "pd"), Run("synthetic", "pd-cd", 3, teacher_dim=6)
    assert not pd.distils and pd.teacher is None
    assert (pd.dim, pd.weight, dict(pd.settings)) == (100, 0.0, {"gamma": 0.1})
    assert student.distils
    assert student.teacher == Run("synthetic", "pd", 3, dim=6)
    assert Run("synthetic", "cd").teacher.method == Run("synthetic", "htd").teacher.method == "teacher"
    assert Run("synthetic", "pd-htd").teacher.method == "pd"
    strong = Run("synthetic", "pd", settings={"gamma": 0.2})
    assert len({key_of(run) for run in (pd, strong, Run("synthetic", "teacher"))}) == 3


def test_gamma_of_the_teacher_is_in_the_students_key(untuned):
    before = key_of(tiny("pd-cd")), key_of(tiny("cd"))
    write_trials(fingerprint_of("synthetic"), "pd", {"gamma": 0.2})
    assert dict(tiny("pd-cd").teacher.settings) == {"gamma": 0.2}
    assert key_of(tiny("pd-cd")) != before[0] and key_of(tiny("cd")) == before[1]


def test_the_student_learns_from_the_debiased_teacher(untuned):
    """compute() trains PD first and distils from it, as the same calls by hand do."""
    (student,), lines = computed([tiny("pd-cd", seed=1)])
    assert len(lines) == 2 and " pd " in lines[0]
    split, run = rkd.split_of("synthetic"), student.run
    options, of_teacher = dict(epochs=4, seed=1, **QUIET), dict(lr=run.teacher.lr, l2=run.teacher.l2)
    teacher = train(MF(split, 5, seed=1), split, objective=PD(0.1), **of_teacher, **options).model
    fit = distill(teacher, split, "cd", dim=3, lr=run.lr, l2=run.l2, weight=run.weight, **options)
    assert torch.equal(fit.model.table, student.model.table)

"""MKD and its stratified variant: the weighted sum of the parts on the same draws, and nothing of what is left out."""

from itertools import product as choices

import pytest
import torch
from conftest import a_batch, seeded

import rkd
from rkd.datasets import synthetic
from rkd.methods import CPD, MKD, NKD, SLD, StratifiedMKD, StratifiedSLD
from rkd.models import BACKBONES

pytestmark = pytest.mark.usefixtures("untuned")

OUTPUT = {MKD: SLD, StratifiedMKD: StratifiedSLD}
SHARED = {"n_experts", "n_pairs", "dropout", "q", "temperature", "pool", "tau"}  # that more than one part has
OF_PARTS = {"nkd": dict(mix="hard", alpha=0.3, n_pairs=3, dropout=0.2),
            "cpd": dict(pairwise=0.7, listwise=0.2, tau=0.8, temperature=4.0, n_pairs=5),
            "sld": dict(gamma=0.4, tau=0.9, temperature=3.0)}
ALL_SETTINGS = dict(mix="hard", alpha=0.3, nkd_n_pairs=3, nkd_dropout=0.2, pairwise=0.7, listwise=0.2, cpd_tau=0.8,
                    cpd_temperature=4.0, cpd_n_pairs=5, gamma=0.4, sld_tau=0.9, sld_temperature=3.0)
SUBSETS = [subset for subset in choices((True, False), repeat=3) if any(subset)]


def parts_of(kind, names, teacher, split, generator):
    made = {"nkd": NKD, "cpd": CPD, "sld": OUTPUT[kind]}
    return [made[name](teacher, split, generator, **OF_PARTS[name]) for name in names]


@pytest.mark.parametrize("kind", OUTPUT)
@pytest.mark.parametrize("chosen", SUBSETS)
def test_loss_gradients_and_report_are_the_parts(world, kind, chosen, device):
    """On the very same draws, so that a part of weight 0 draws nothing; none of the settings at its default."""
    split, teacher, student = world
    weights = {name: w for name, w, there in zip(("nkd", "cpd", "sld"), (0.7, 1.3, 0.4), chosen) if there}
    mine, theirs = seeded(device, 5), seeded(device, 5)
    method = kind(teacher, split, mine, **{"nkd": 0.0, "cpd": 0.0, "sld": 0.0} | weights, **ALL_SETTINGS)
    parts = parts_of(kind, weights, teacher, split, theirs)
    own = list(method.parameters(student))
    expected_own = [parameter for part in parts for parameter in part.parameters(student)]
    assert len(own) == len(expected_own) == 8 * (("nkd" in weights) + ("cpd" in weights))
    assert all(map(torch.equal, own, expected_own)) and all(isinstance(p, torch.nn.Parameter) for p in own)
    for epoch in (1, 2, 6):
        results = []
        for terms, trained in (([(1.0, method)], own), (list(zip(weights.values(), parts)), expected_own)):
            for _, part in terms:
                part.begin_epoch(student, epoch)
            student.table.grad = None
            loss = sum(weight * part.loss(student, a_batch(device)) for weight, part in terms)
            loss.backward()
            report = {name: value for _, part in terms for name, value in part.report(student).items()}
            results.append((loss.item(), student.table.grad.clone(), [p.grad for p in trained], report))
            assert loss.shape == ()
        (loss, *gradients, report), (expected, *expected_gradients, expected_report) = results
        assert loss == pytest.approx(expected, rel=1e-6) and report == expected_report
        torch.testing.assert_close(gradients, expected_gradients)
        assert len(report) == (4 if "cpd" in weights else 0)
        assert torch.equal(mine.get_state(), theirs.get_state())


@pytest.mark.parametrize("kind", OUTPUT)
def test_each_part_comes_in_proportion_to_its_weight(world, kind, device):
    """Of one part alone, twice the weight is twice the loss, to the bit; the defaults are the parts' own."""
    split, teacher, student = world
    for name in OF_PARTS:
        losses = []
        for weight in (1.0, 2.0):
            others = dict.fromkeys(OF_PARTS, 0.0) | {name: weight}
            method = kind(teacher, split, seeded(device), **others)
            list(method.parameters(student))
            method.begin_epoch(student, 1)
            losses.append(method.loss(student, a_batch(device)).item())
        assert losses[0] > 0 and losses[1] == 2 * losses[0]
    parts = {"nkd": NKD, "cpd": CPD, "sld": OUTPUT[kind]}
    assert kind.settings() == {"nkd": 0.5, "cpd": 0.5, "sld": 1.0} | {
        f"{part}_{name}" if name in SHARED else name: default
        for part, method in parts.items() for name, default in method.settings().items()}
    assert ("groups" in kind.settings()) == (kind is StratifiedMKD) and set(ALL_SETTINGS) < set(kind.settings())


@pytest.mark.parametrize("kind", OUTPUT)
@pytest.mark.parametrize("settings, message", [
    (dict(nkd=0.0, cpd=0.0, sld=0.0), "^one of nkd, cpd, sld must be above 0$"),
    (dict(nkd=-1.0), "nkd must be 0 or more, "),
    (dict(mix="half"), "mix must be one of none, hard, soft"), (dict(sld_tau=0.0), "sld_tau must be above 0, not 0.0"),
    (dict(cpd_n_experts=0), "cpd_n_experts must be at least 1"),
])
def test_settings_out_of_range(world, kind, settings, message, device):
    """MKD's own, and those of its parts."""
    with pytest.raises(ValueError, match=message):
        kind(world[1], world[0], seeded(device), **settings)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", ["sld", "stratified-sld", "mkd", "stratified-mkd"])
def test_the_same_seed_trains_the_same_bits(method, backbone):
    split = synthetic.world(50, 60, n_train=10).split
    teacher = tuple(torch.randn(n, 6, generator=seeded()) for n in (50, 60))
    options = dict(backbone=backbone, dim=4, lr=0.02, l2=0.01, epochs=6, device="cpu", progress=False)
    fits = [rkd.distill(teacher, split, method, weight=weight, seed=seed, **options)
            for weight, seed in ((0.5, 1), (0.5, 1), (0.5, 2), (0.0, 1))]
    first, again, *others = (fit.model.table for fit in fits)
    assert torch.equal(first, again) and fits[0].history == fits[1].history and first.isfinite().all()
    assert not any(torch.equal(first, other) for other in others)
    assert all(("inconsistency" in entry) == ("mkd" in method) for entry in fits[0].history)

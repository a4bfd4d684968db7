"""NKD's loss by hand and against loops in NumPy with the same draws, and mixing at its limits."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import drawn_for, either_way, first_of, loss_of, numpy, seeded
from nkd_helpers import (
    brute_neighbours,
    brute_projection,
    cosine,
    kept_units,
    made,
    pair_of,
    replay,
    some_batch,
    uniform,
)
from scipy.stats import binom, chisquare, kstest

from rkd import MF, Given, LightGCN
from rkd.batch import Batch
from rkd.given import fixed
from rkd.methods import NKD


@pytest.fixture
def pair(split, device):
    return pair_of(split, device)


def ratios(method, generator, *shape) -> np.ndarray:
    r = uniform(generator, *shape)
    return 2 * method.alpha * r if method.mix == "soft" else 1.0 * (r < method.alpha)


def brute_mean_distances(method, draws, side, teacher, student, *groups) -> list[float]:
    """mean D of each group of ids; drawn are neighbours, the teacher's ratios, the student's, and silenced units."""
    groups = [*map(drawn_for, groups)]
    own, m = sum(groups, []), method.n_experts
    n, embeddings = len(own), numpy(teacher, student)
    d_t, d_s = (x.shape[1] for x in embeddings)
    if method.mix != "none":
        nearest = brute_neighbours(embeddings[0], min(method.k, len(teacher) - 1))
        chosen = torch.randint(nearest.shape[1], (n, 1), device=teacher.device, generator=draws).flatten().tolist()
        embeddings = [np.stack([r[a] * x[e] + (1 - r[a]) * x[nearest[e, chosen[a]]] for a, e in enumerate(own)])
                      for x, r in zip(embeddings, (ratios(method, draws, n, d_t), ratios(method, draws, n, d_s)))]
    else:
        embeddings = [x[own] for x in embeddings]
    t, s = embeddings
    projected = brute_projection(method.networks[side], s,
                                 kept_units(draws, (n, m, (d_s + d_t) // 2), method.dropout))
    distances = np.split([1 - cosine(a, b) for a, b in zip(t, projected)], [len(groups[0])])
    return [np.mean(of_group[first_of(ids)]) for ids, of_group in zip(groups, distances)]


def brute_loss(method, pair, batch) -> float:
    """The docstring's L with what ``method`` is about to draw, users first."""
    teacher, student = (x.factors() if method.layer == "output" else x.inputs() for x in pair[1:])
    u, i, j = (x[:method.n_pairs] for x in (batch.users, batch.positives, batch.negatives))
    draws, total = replay(method.generator), 0.0
    if "users" in method.sides:
        total += brute_mean_distances(method, draws, "users", teacher[0], student[0], u)[0]
    if "items" in method.sides:
        total += np.mean(brute_mean_distances(method, draws, "items", teacher[1], student[1], i, j))
    return total


@either_way
@pytest.mark.parametrize("settings", [
    {}, {"alpha": 0.2, "k": 3}, {"alpha": 1.0, "n_experts": 1}, {"mix": "hard", "alpha": 0.7}, {"mix": "none"},
    {"mix": "none", "dropout": 0.0}, {"k": 100, "dropout": 0.5}, {"n_pairs": 4}, {"n_pairs": 1, "mix": "hard"},
    {"on": "users"}, {"on": "items", "mix": "hard"},
], ids=str)
def test_nkds_loss_against_loops(pair, settings, device):
    """Three steps with fresh draws each; mix "none" is plain feature distillation, which draws for dropout alone."""
    method, batch = made(pair, **settings), some_batch(device)
    for _ in range(3):
        expected = brute_loss(method, pair, batch)
        assert loss_of(method, pair[2], batch) == pytest.approx(expected, rel=1e-4)


@either_way
@pytest.mark.parametrize("layer", ["output", "input"])
@pytest.mark.parametrize("mix", ["soft", "none"])
def test_on_lightgcn_the_layer_is_a_setting(split, layer, mix, device):
    """Mixing, neighbours and what is imitated are all of one layer, teacher's and student's: "output" the propagated
    embeddings. The layers' losses differ, so that the loops tell them apart."""
    teacher = fixed(LightGCN(split, 6, seed=4), split, device)
    pair = split.to(device), teacher, LightGCN(split, 4, seed=2).to(device)
    batch = some_batch(device)
    method = made(pair, layer=layer, mix=mix)
    expected = brute_loss(method, pair, batch)
    method.layer = {"output": "input", "input": "output"}[layer]
    other = brute_loss(method, pair, batch)
    method.layer = layer
    assert loss_of(method, pair[2], batch) == pytest.approx(expected, rel=1e-4) != pytest.approx(other, rel=1e-2)


@pytest.mark.parametrize("mix, expected", [("none", (0.4 + 0.2) / 2 + (0 + (1 + 0.4) / 2) / 2),
                                           ("hard", (0.2 + 0.4) / 2 + (1 + (0.4 + 1) / 2) / 2)])
def test_nkds_loss_worked_by_hand(mix, expected, device):
    """P(s) = max(0, s): users 0 and 1 are .4 and .2 away, items 0, 1, 2 are 0, 1 and .4 away. Pairs (0, 0) twice and
    (1, 0), negatives 1, 1, 2. Mixed (in full, alpha = 0): users 0 ↔ 1, items 0 → 1 ↔ 2.
    """
    teacher = [[[1, 0], [0, 2], [99, 0]], [[0, 1], [0, 3], [0, 4.5]]]
    student = [[[3, 4], [3, 4], [0, 0]], [[-5, 2], [7, -1], [4, 3]]]
    sizes = SimpleNamespace(n_users=3, n_items=3)
    model = MF(sizes, 2).to(device)
    teacher = Given(torch.tensor(teacher, device=device))
    method = NKD(teacher, sizes, seeded(device), mix=mix, alpha=0.0, k=1, n_experts=1, dropout=0.0)
    with torch.no_grad():
        model.table.copy_(torch.tensor(student).flatten(0, 1))
        for parameter in method.parameters(model):
            parameter.copy_(torch.eye(2)[None] if parameter.dim() == 3 else torch.zeros(1, 2))
    batch = Batch(*torch.tensor([[0, 0, 1], [0, 0, 0], [1, 1, 2]], device=device))
    assert loss_of(method, model, batch) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 4])
def test_a_neighbour_is_any_of_the_k_nearest_alike(pair, k, device):
    method, t = made(pair, k=k), numpy(*pair[1].factors())[1]
    drawn = method.neighbour_of("items", torch.tensor([5, 30], device=device).repeat(4000)).view(-1, 2).cpu()
    for entity, column in zip((5, 30), drawn.T.tolist()):
        ids, times = np.unique(column, return_counts=True)
        assert ids.tolist() == sorted(brute_neighbours(t, k)[entity]) and (k == 1 or chisquare(times).pvalue > 1e-3)


# --------------------------------------------------------------------------------------------------------------- mixing

def two(device, n=3000):
    """Two embeddings of n entities in 4 dimensions, multiples of 1/8, so that sums are exact; never equal."""
    generator = seeded("cpu", 6)
    own, other = (torch.randint(-40, 40, (n, 4), generator=generator).to(device) for _ in range(2))
    return own / 8, (other + (own == other).int()) / 8


@pytest.mark.parametrize("mix", ["soft", "hard"])
def test_the_neighbour_alone(pair, mix, device):
    own, other = two(device)
    assert torch.equal(made(pair, mix=mix, alpha=0.0).mixed(own, other), other)


def test_hard_mixing_takes_one_or_the_other(pair, device):
    """Each coordinate apart, one's own with probability alpha; always at 1."""
    own, other = two(device)
    assert torch.equal(made(pair, mix="hard", alpha=1.0).mixed(own, other), own)
    mixed = made(pair, mix="hard", alpha=0.7).mixed(own, other)
    mine = mixed == own
    assert torch.equal(mixed, torch.where(mine, own, other))
    times = np.bincount(mine.sum(1).tolist(), minlength=5)  # how many of an entity's 4
    assert chisquare(times, 3000 * binom.pmf(range(5), 4, 0.7)).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.8])
def test_soft_mixing_is_uniform_about_alpha(pair, alpha, device):
    """r in [0, 2 alpha], so that up to ½ nothing lies beyond one's own; each coordinate apart."""
    own, other = two(device)
    r = (made(pair, alpha=alpha).mixed(own, other) - other) / (own - other)
    r, = numpy(r)
    assert r.min() > -1e-5 and r.max() < 2 * alpha + 1e-5 and (r.max() > 1) == (alpha > 0.5)
    assert kstest(r.flatten() / (2 * alpha), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(r.T) - np.eye(4)).max() < 0.1


@pytest.mark.parametrize("mix", ["soft", "hard"])
def test_teacher_and_student_are_mixed_with_one_neighbour_by_ratios_of_their_own(pair, mix, monkeypatch, device):
    """A student that is the teacher, to the dimension: same pairs of embeddings, ratios without correlation."""
    split, teacher, _ = pair
    student = MF(split, 6).to(device)
    with torch.no_grad():
        student.table.copy_(torch.cat(teacher.factors()))
    method, calls, mixed = made((split, teacher, student), mix=mix), [], NKD.mixed
    monkeypatch.setattr(NKD, "mixed", lambda *a: calls.append((*a[1:], mixed(*a))) or calls[-1][2])
    method.distance(student, "items", torch.arange(37, device=device).repeat(100))
    (t, t_other, t_mixed), (s, s_other, s_mixed) = calls
    assert torch.equal(t, s) and torch.equal(t_other, s_other)
    ratios = [numpy((x_mixed - x_other) / (x - x_other))[0].flatten()
              for x, x_other, x_mixed in ((t, t_other, t_mixed), (s, s_other, s_mixed))]
    assert abs(np.corrcoef(ratios)[0, 1]) < 0.04 and min(x.std() for x in ratios) > 0.2

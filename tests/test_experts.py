"""Mixtures of experts, and DE and HTD that are built of them: against loops in NumPy, with the same Gumbel noise."""

import numpy as np
import pytest
import torch
from conftest import drawn_for, either_way, first_of, loss_of, numpy, seeded, trained_in_worlds
from nkd_helpers import replay, some_batch, uniform
from scipy.stats import chisquare, kstest
from topology_helpers import brute_entity, brute_group, constant, unit

from rkd import MF, distill
from rkd.methods import DE, HTD
from rkd.methods import experts as mixture
from rkd.methods.experts import Experts, RectifiedExperts, temperature


def gate_of(experts, teacher) -> np.ndarray:
    """The gate's log-odds of each expert: [n, M]."""
    t, gate, bias = numpy(teacher, experts.gate, experts.gate_bias)
    return t @ gate + bias


def noise_of(generator, *shape) -> np.ndarray:
    """What a generator draws next: −log(−log U) of uniform variates, which is Gumbel noise."""
    return -np.log(-np.log(uniform(generator, *shape)))


def brute_distance(experts, student, teacher, t, noise) -> float:
    """Mean ‖t − Σ_m z_m f_m(s)‖², entity by entity and expert by expert."""
    w1, b1, w2, b2 = numpy(experts.first, experts.first_bias, experts.second, experts.second_bias)
    log_odds, total = gate_of(experts, teacher), 0.0
    for s, target, odds, g in zip(*numpy(student, teacher), log_odds, noise):
        scaled = (odds - np.log(np.exp(odds).sum()) + g) / t
        z = np.exp(scaled - scaled.max())
        mixed = sum(z_m / z.sum() * (np.maximum(s @ w1[m] + b1[m], 0) @ w2[m] + b2[m]) for m, z_m in enumerate(z))
        total += ((target - mixed) ** 2).sum()
    return total / len(noise)


@pytest.fixture
def experts(device):
    """Five experts from 3 dimensions to 8, by way of 5; and 40 entities."""
    generator = seeded(device, 3)
    student, teacher = (torch.randn(40, d, device=device, generator=generator) for d in (3, 8))
    return Experts(3, 8, 5, generator), student, 2 * teacher


# ------------------------------------------------------------------------------------------------------------- Experts

@pytest.mark.parametrize("t", [1.0, 1e-10])
def test_two_experts_worked_by_hand(t):
    """The gate sends t > 0 to f_0(s) = 2 max(0, s + 1) + 3, t < 0 to f_1(s) = 5 max(0, 1 − s), whatever the noise."""
    experts = Experts(1, 1, 2, seeded())
    values = [[1.0, -1.0], [1.0, 1.0], [2.0, 5.0], [3.0, 0.0], [200.0, -200.0], [0.0, 0.0]]
    with torch.no_grad():
        for parameter, value in zip(experts.parameters(), values):
            parameter.copy_(torch.tensor(value).view(parameter.shape))
    student, teacher = torch.tensor([[2.0], [-3.0], [0.5], [4.0]]), torch.tensor([[1.0], [2.0], [-1.0], [-2.0]])
    squares = (1 - 9) ** 2, (2 - 3) ** 2, (-1 - 2.5) ** 2, (-2 - 0) ** 2
    assert experts.distances(student, teacher, t).mean().item() == pytest.approx(sum(squares) / 4)
    assert experts.preferred(teacher).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("t", [1.0, 0.2, 0.01, 9e-4, 1e-10])
def test_distance_against_loops(experts, t):
    """Below T = 1e-3 only the winner speaks; the formula says no different at 1e-10."""
    experts, student, teacher = experts
    for _ in range(3):
        noise = noise_of(replay(experts.generator), 40, 5)
        expected = brute_distance(experts, student, teacher, t if t > 9e-4 else 1e-10, noise)
        assert experts.distances(student, teacher, t).mean().item() == pytest.approx(expected, rel=1e-5)


def test_the_short_cut_is_the_formula_to_its_gradients(experts, monkeypatch):
    """The winner's path and the soft mixture at T = 1e-10, which SHARP = 0 forces, on the same noise."""
    experts, student, teacher = experts
    student, found = student.requires_grad_(), []
    state = experts.generator.get_state()
    for sharp in (1e-3, 0.0):
        monkeypatch.setattr(mixture, "SHARP", sharp)
        experts.generator.set_state(state)
        distance = experts.distances(student, teacher, 1e-10).mean()
        *network, gate, bias = experts.parameters()
        found.append([distance.detach(), *torch.autograd.grad(distance, [student, *network])])
        if sharp == 0.0:
            again = experts.distances(student, teacher, 1e-10).mean()
            assert not any(g.any() for g in torch.autograd.grad(again, [gate, bias]))  # so leaving them out is right
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("t", [1.0, 0.1, 1e-4])
def test_gradients_reach_the_student_and_the_experts(experts, t):
    """Every student row, every layer of every expert; and the gate as long as the mixture is soft."""
    experts, student, teacher = experts
    student.requires_grad_()
    experts.distances(student, teacher, t).sum().backward()
    assert student.grad.isfinite().all() and (student.grad != 0).any(1).all()
    *network, gate, bias = experts.parameters()
    assert all(parameter.grad[m].any() for parameter in network for m in range(5))
    assert all((parameter.grad is not None and parameter.grad.any().item()) == (t > 1e-3) for parameter in (gate, bias))


@pytest.mark.parametrize("t", [1e-10, 2e-3])
def test_an_expert_wins_as_often_as_the_gate_says(t, device):
    """With all weights zero but the last biases', at b = 0, ∂L/∂b_m = −2 t · (share of entities that m wins)."""
    generator, n = seeded(device, 8), 20_000
    experts = Experts(2, 1, 6, generator)
    with torch.no_grad():
        for parameter in (experts.first, experts.second, experts.second_bias):
            parameter.zero_()
        experts.gate.copy_(torch.linspace(-1, 1.5, 6)[None])
    teacher = torch.full((n, 1), 1.5, device=device)
    experts.distances(torch.zeros(n, 2, device=device), teacher, t).mean().backward()
    times = experts.second_bias.grad.flatten().cpu().double().numpy() / -3 * n
    p = np.exp(gate_of(experts, teacher[:1])[0])
    assert chisquare(times, times.sum() * p / p.sum()).pvalue > 1e-3
    assert times.sum() == pytest.approx(n, rel=1e-4)


def test_experts_begin_as_torchs_linear_layers_do():
    """Uniform within ± 1 / √inputs; the hidden layer is as wide as half of both dimensions; a seed repeats them."""
    dims = {"first": (40, 60), "first_bias": (40, 60), "second": (60, 80), "second_bias": (60, 80)}
    experts, again = (Experts(40, 80, 3, seeded(seed=1)) for _ in range(2))
    for name, (inputs, outputs) in dims.items():
        shape = (3, outputs) if "bias" in name else (3, inputs, outputs)
        assert getattr(experts, name).shape == shape
        scaled = getattr(experts, name).detach().flatten() * inputs**0.5
        assert kstest(scaled, "uniform", (-1, 2)).pvalue > 1e-3
    assert experts.gate.shape == (80, 3) and experts.gate.abs().max() <= 80**-0.5
    assert all(torch.equal(a, b) for a, b in zip(experts.parameters(), again.parameters()))


@pytest.mark.parametrize("anneal", [1, 4, 100])
def test_temperature_falls_by_equal_factors(anneal):
    t = np.array([temperature(epoch, anneal) for epoch in range(1, 2 * anneal + 2)])
    assert t[0] == 1 and t[anneal:] == pytest.approx(np.full(anneal + 1, 1e-10), rel=1e-9)
    np.testing.assert_allclose(t[1:anneal + 1] / t[:anneal], 1e-10 ** (1 / anneal), rtol=1e-9)


# ------------------------------------------------------------------------------------------------------------------ DE

@either_way
def test_a_batchs_entities(world, device):
    """Distinct ones of the first pairs; an item may be both a positive and a negative."""
    split, teacher, _ = world
    for n_pairs, users, items in ((4, [0, 4, 7], [2, 5, 6, 30, 31]),
                                  (100, [0, 1, 4, 7, 9, 22], [0, 1, 2, 3, 5, 6, 8, 30, 31])):
        entities = DE(teacher, split, seeded(device), n_pairs=n_pairs).entities(some_batch(device))
        for (side, (found, weight)), *expected in zip(entities.items(), ("users", "items"), (users, items)):
            assert [side, sorted(found[weight > 0].tolist())] == expected


def entities_by_hand(world, n_pairs):
    """The distinct users and the distinct items of ``some_batch``: (the student's embeddings of both, the teacher's of
    both, for whom a step draws noise)."""
    _, teacher, student = world
    batch = some_batch(student.table.device)
    drawn = [drawn_for(ids) for ids in (batch.users[:n_pairs],
                                        torch.cat([batch.positives[:n_pairs], batch.negatives[:n_pairs]]))]
    return *([rows[sorted(set(ids))] for rows, ids in zip(model.factors(), drawn)] for model in (student, teacher)), \
        drawn


def distances_by_hand(method, world, n_pairs, t) -> list[float]:
    """Mean distance of users, and of items, with the noise that the generator is about to draw, users first."""
    student, teacher, drawn = entities_by_hand(world, n_pairs)
    draws = replay(method.generator)
    noise = [noise_of(draws, len(ids), method.n_experts)[first_of(ids)] for ids in drawn]
    return [brute_distance(experts, s, of_teacher, t, own)
            for experts, s, of_teacher, own in zip(method.networks.values(), student, teacher, noise)]


@either_way
@pytest.mark.parametrize("n_pairs", [4, 256])
def test_des_loss_by_hand(world, n_pairs, device):
    split, teacher, student = world
    method = DE(teacher, split, seeded(device), n_experts=3, anneal=4, n_pairs=n_pairs)
    own = list(method.parameters(student))
    assert len(own) == 12 and own[0].shape == own[6].shape == (3, 4, 5)  # 4 → 5 → 6 dimensions
    assert not torch.equal(own[0], own[6])  # users' experts are not those of items
    for epoch, t in ((1, 1.0), (2, 10**-2.5), (4, 10**-7.5), (5, 1e-10), (9, 1e-10)):
        method.begin_epoch(student, epoch)
        expected = sum(distances_by_hand(method, world, n_pairs, t))
        assert loss_of(method, student, some_batch(device)) == pytest.approx(expected, rel=1e-5)


def test_experts_with_the_relu_at_their_end(device):
    """Two linear layers, max(0, ·) behind them; all experts at T = 10, one at T = 1e-10."""
    experts, generator = RectifiedExperts(4, 6, 3, seeded(device)), seeded(seed=1)
    student, teacher = (torch.randn(9, n, generator=generator).to(device) for n in (4, 6))
    w1, b1, w2, b2, gate, gate_bias = numpy(*experts.parameters())
    s, t = numpy(student, teacher)
    for temperature_then in (10.0, 1e-10):
        noise = noise_of(replay(experts.generator), 9, 3)
        found = experts.distances(student, teacher, temperature_then)
        alpha = t @ gate + gate_bias
        z = (alpha - np.log(np.exp(alpha).sum(1, keepdims=True)) + noise) / temperature_then
        z = np.exp(z - z.max(1, keepdims=True))
        z /= z.sum(1, keepdims=True)
        mapped = [sum(z[n, m] * np.maximum((s[n] @ w1[m] + b1[m]) @ w2[m] + b2[m], 0) for m in range(3))
                  for n in range(9)]
        np.testing.assert_allclose(found.detach().cpu(), ((t - np.array(mapped)) ** 2).sum(1), rtol=1e-4)


@either_way
def test_without_annealing_all_experts_speak(world, device):
    """At T = 10 in every epoch."""
    assert [temperature(epoch, 0) for epoch in (1, 50, 1000)] == [10.0] * 3
    split, teacher, student = world
    method = DE(teacher, split, seeded(device), n_experts=3, anneal=0)
    list(method.parameters(student))
    for epoch in (1, 7):
        method.begin_epoch(student, epoch)
        expected = sum(distances_by_hand(method, world, 128, 10.0))
        assert loss_of(method, student, some_batch(device)) == pytest.approx(expected, rel=1e-5)


def test_a_teacher_that_is_trained_along_moves_and_the_given_one_does_not(world, device):
    """By DE's loss alone: its gradient is that of the loss by differences. Without the setting nothing of it moves."""
    split, teacher, student = world
    before = [rows.clone() for rows in teacher.factors()]
    method = DE(teacher, split, seeded(device), n_experts=2, anneal=0, relu="end", train_teacher=True)
    own = list(method.parameters(student))
    assert len(own) == 12 + 2 and all(map(torch.equal, own[12:], before))
    assert own[12] is method.of_teacher["users"] and own[13] is method.of_teacher["items"]
    method.begin_epoch(student, 1)
    state = method.generator.get_state()

    def loss():
        method.generator.set_state(state)
        return method.loss(student, some_batch(device))

    loss().backward()
    student.end_step()
    for rows, entity in ((own[12], 4), (own[13], 5)):
        for coordinate in range(6):
            at, step = rows.data[entity, coordinate].item(), 1e-2
            values = []
            for moved in (at + step, at - step):
                rows.data[entity, coordinate] = moved
                values.append(loss().item())
            rows.data[entity, coordinate] = at
            slope = (values[0] - values[1]) / (2 * step)
            assert rows.grad[entity, coordinate].item() == pytest.approx(slope, rel=2e-2, abs=2e-3)
    optimizer = torch.optim.Adam(own[12:], lr=0.1)
    optimizer.step()
    assert all(map(torch.equal, teacher.factors(), before)) and not torch.equal(own[12], before[0])
    still = DE(teacher, split, seeded(device), n_experts=2)
    assert len(list(still.parameters(student))) == 12 and not still.of_teacher["users"].requires_grad


# ----------------------------------------------------------------------------------------------------------------- HTD

def test_groups_follow_the_gate(world, device):
    split, teacher, student = world
    method = HTD(teacher, split, seeded(device), n_experts=3)
    list(method.parameters(student))
    by_hand = [gate_of(gate, factors).argmax(1) for gate, factors in zip(method.networks.values(), teacher.factors())]
    factors = dict(zip(("users", "items"), teacher.factors()))
    assert len(set(by_hand[0])) > 1 and len(set(by_hand[1])) > 1
    assert method.group(factors).tolist() == [*by_hand[0], *(by_hand[1] + 3)]
    with torch.no_grad():
        for gate, favoured in zip(method.networks.values(), (2, 1)):
            gate.gate_bias[favoured] = 1000
    assert method.group(factors).tolist() == [2] * 23 + [4] * 37


@either_way
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_htds_loss_by_hand(world, alpha, device):
    """alpha · (entity + group) + (1 − alpha) · assignment, each summed by loops, users and items together in the
    topology; over the number of entities."""
    split, teacher, student = world
    method = HTD(teacher, split, seeded(device), alpha=alpha, n_experts=3, anneal=4, n_pairs=6)
    list(method.parameters(student))
    mine, theirs, _ = entities_by_hand(world, 6)
    group = [gate_of(gate, factors).argmax(1) for gate, factors in zip(method.networks.values(), theirs)]
    group = np.concatenate([group[0], group[1] + 3])
    s, t = (np.concatenate(numpy(*part)) for part in (mine, theirs))
    assert len(set(group)) > 2
    for epoch, temperature_then in ((1, 1.0), (5, 1e-10)):
        method.begin_epoch(student, epoch)
        assignment = np.dot(distances_by_hand(method, world, 6, temperature_then), [len(side) for side in mine])
        topology = brute_entity(s, t, group) - constant(t, group) + brute_group(s, t, group)
        expected = (alpha * topology + (1 - alpha) * assignment) / len(s)
        assert loss_of(method, student, some_batch(device)) == pytest.approx(expected, rel=1e-4)


# ---------------------------------------------------------------------------------------------------------- in training

def unexplained(model, teacher) -> float:
    """Share of the teacher's embeddings that no linear map of the model's explains: the mean of users' and items'."""
    return np.mean([np.linalg.lstsq(s, t)[1].sum() / (t**2).sum()
                    for s, t in zip(numpy(*model.factors()), numpy(*teacher.factors()))])


def cosine_gap(model, teacher) -> float:
    """Mean square of the difference of cosines, over pairs of users and of items."""
    return np.mean([((unit(s) @ unit(s).T - unit(t) @ unit(t).T) ** 2).mean()
                    for s, t in zip(numpy(*model.factors()), numpy(*teacher.factors()))])


@pytest.mark.parametrize("method, weight, gap", [("de", 0.1, unexplained), ("htd", 1.0, cosine_gap)])
def test_a_students_embeddings_come_to_resemble_the_teachers(method, weight, gap):
    """By a tenth at least on average over 2 worlds (in calibration on 4 worlds: DE 0.13 to 0.25, HTD 0.32 to 0.49)."""
    ratios = [gap(student, teacher) / gap(plain, teacher)
              for _, teacher, plain, student in trained_in_worlds(2, method, weight=weight, anneal=10)]
    assert np.mean(ratios) < 0.9


@pytest.mark.parametrize("method", [DE, HTD])
def test_the_experts_are_trained_along(split, method, device):
    """All the layers of both mixtures; the gates while the temperature is high."""
    kept = []

    class Kept(method):
        def parameters(self, student):
            kept.append(list(super().parameters(student)))
            kept.append([parameter.detach().clone() for parameter in kept[0]])
            return kept[0]

    distill(MF(split, 8, seed=1), split, Kept, dim=4, lr=1e-2, epochs=5, weight=1.0, device=device, progress=False)
    trained, before = kept
    assert len(trained) == 12 and not any(torch.equal(a, b) for a, b in zip(trained, before))

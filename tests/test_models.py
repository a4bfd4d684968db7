"""The backbones against dense formulas: scores, propagation, and the gradients that they add by hand."""

import math

import numpy as np
import pytest
import torch
from conftest import matrix, seeded
from safetensors.torch import load_file, save_file
from torch.nn.functional import logsigmoid

from rkd.kernels import ItemLists
from rkd.models import BACKBONES, MF, LightGCN, Model


def dense_adjacency(train) -> torch.Tensor:
    """Â from its definition, [n_users + n_items]² float64."""
    r = matrix(train).astype(float)
    du, di = r.sum(1, keepdims=True), r.sum(0, keepdims=True)
    weight = np.divide(r, np.sqrt(du * di), out=np.zeros_like(r), where=r > 0)
    users, items = (np.zeros((n, n)) for n in r.shape)
    return torch.from_numpy(np.block([[users, weight], [weight.T, items]]))


def dense_propagate(train, table, n_layers):
    """mean(E₀, ÂE₀, …, Â^L E₀) with matrix powers."""
    a = dense_adjacency(train)
    return sum(torch.linalg.matrix_power(a, layer) @ table for layer in range(n_layers + 1)) / (n_layers + 1)


def close(found, expected, tolerance=1e-6):
    found, expected = (x.detach().cpu().double() for x in (found, expected))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=tolerance)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_lightgcn_spreads_as_the_dense_formula_says(split, n_layers, device):
    split = split.to(device)
    model = LightGCN(split, 6, seed=3, n_layers=n_layers).to(device)
    users, items = model.factors()
    expected = dense_propagate(split.train, model.table.detach().cpu().double(), n_layers)
    assert users.shape == (split.n_users, 6) and items.shape == (split.n_items, 6)
    close(torch.cat([users, items]), expected)


def test_entities_without_interactions_keep_a_share_of_their_own(split):
    """User 1 and item 3 have none: all their layers but the first are zero."""
    model = LightGCN(split, 4, n_layers=3)
    users, items = model.factors()
    close(users[1], model.table[1].detach() / 4)
    close(items[3], model.table[split.n_users + 3].detach() / 4)


def batch(split, device, n=40):
    """Triples with repeats, four users (one of them twice), and every user's list of 3 items (one of them twice)."""
    generator = torch.Generator().manual_seed(5)
    u, i, j = (torch.randint(m, (n,), generator=generator) for m in (split.n_users, split.n_items, split.n_items))
    u[:5], i[:3], j[3:6] = u[0], i[0], i[0]
    listed = torch.randint(split.n_items, (split.n_users, 3), generator=generator)
    listed[:, 1] = listed[:, 0]
    return [x.to(device) for x in (u, i, j, torch.tensor([2, 0, 2, 7]), listed)]


def scored_loss(users, items, scores, u, i, j, v, listed):
    """A loss that reads embeddings several times and scores once, as training does."""
    margin = (users(u) * items(i)).sum(1) - (users(u) * items(j)).sum(1)
    return -logsigmoid(margin).mean() + 0.3 * scores(v, listed).square().sum() + 0.1 * items(listed).exp().mean()


@pytest.mark.parametrize("backbone, n_layers", [("mf", 0), ("lightgcn", 1), ("lightgcn", 2), ("lightgcn", 3)])
def test_a_steps_gradient_is_autograds_through_the_dense_formula(split, backbone, n_layers, device):
    """Two steps, so that a gradient or an embedding left over from the first one shows."""
    arguments = {"n_layers": n_layers} if n_layers else {}
    model = BACKBONES[backbone](split.to(device), 5, seed=1, **arguments).to(device)
    u, i, j, v, listed = batch(split, device)
    lists = ItemLists(listed, split.n_items)
    for _ in range(2):
        table = model.table.detach().cpu().double().requires_grad_()
        out = dense_propagate(split.train, table, n_layers)
        cu, ci, cj, cv, clisted = (x.cpu() for x in (u, i, j, v, listed))
        expected = scored_loss(lambda x: out[x], lambda x: out[split.n_users + x],
                               lambda x, y: (out[x][:, None] * out[split.n_users + y[x]]).sum(2),
                               cu, ci, cj, cv, clisted)
        expected = expected + 0.2 * (table[cu].square().sum() + table[split.n_users + ci].square().sum())
        expected.backward()

        if model.table.grad is not None:
            model.table.grad.zero_()
        loss = scored_loss(lambda x: model.rows("users", x), lambda x: model.rows("items", x),
                           lambda x, _: model.scores(x, lists), u, i, j, v, listed)
        loss = loss + 0.2 * sum(model.rows(side, x, "input").square().sum() for side, x in (("users", u), ("items", i)))
        loss.backward()
        model.end_step()
        close(loss, expected.detach(), 1e-5)
        close(model.table.grad, table.grad, 1e-5)
        with torch.no_grad():
            model.table -= 0.1 * model.table.grad


def test_gradients_add_up_over_two_backwards(split):
    model = MF(split, 3)
    index = torch.tensor([4, 4, 1])
    for _ in range(2):
        model.rows("items", index).sum().backward()
    assert model.table.grad.sum(1).nonzero().flatten().tolist() == [split.n_users + 1, split.n_users + 4]
    assert model.table.grad[split.n_users + 4].tolist() == [4, 4, 4]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_scores_are_inner_products_of_the_factors(split, backbone, device):
    """Of a list for each of some users, or of everyone's lists, of which those of some users count or all."""
    model = BACKBONES[backbone](split.to(device), 4, seed=1).to(device)
    users, everyone = torch.tensor([3, 0, 22, 3], device=device), torch.arange(split.n_users, device=device)
    listed = torch.randint(split.n_items, (split.n_users, 3), generator=seeded()).to(device)
    p, q = (x.cpu() for x in model.factors())
    for some, index in ((users, users), (None, everyone)):
        lists = listed[index]
        expected = (p[index.cpu()][:, None] * q[lists.cpu()]).sum(2)
        close(model.scores(some, lists), expected)
        close(model.scores(some, ItemLists(listed, split.n_items)), expected)
    items = torch.tensor([[1, 5], [36, 1], [2, 2]], device=device)  # one user's lists need not be alike
    close(model.scores(users[[0, 0, 1]], items), (p[[3, 3, 0]][:, None] * q[items.cpu()]).sum(2))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_gradients_of_scores_are_the_same_however_they_are_asked_for(split, backbone, device):
    model = BACKBONES[backbone](split.to(device), 4, seed=1).to(device)
    users = torch.tensor([3, 0, 22, 3], device=device)
    listed = torch.randint(split.n_items, (split.n_users, 3), generator=seeded()).to(device)
    found = []
    for items in (listed[users], ItemLists(listed, split.n_items)):
        model.table.grad = None
        (model.scores(users, items) * torch.arange(12.0, device=device).view(4, 3)).sum().backward()
        model.end_step()
        found.append(model.table.grad)
    close(*found)
    assert found[0].any()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_rows_are_of_the_layer_asked_for(split, backbone, device):
    """The scored embeddings, or the table's; of an index of any shape."""
    model = BACKBONES[backbone](split.to(device), 4, seed=1).to(device)
    users, items = torch.tensor([3, 0, 22], device=device), torch.tensor([[1, 5], [36, 1], [2, 2]], device=device)
    (p, q), (p0, q0) = model.factors(), model.inputs()
    assert torch.equal(torch.cat([p0, q0]), model.table) and torch.equal(p, p0) == (backbone == "mf")
    assert not (p.requires_grad or p0.requires_grad)
    close(model.rows("users", users), p[users].cpu())
    close(model.rows("items", items), q[items].cpu())
    close(model.rows("users", users, "input"), p0[users].cpu())
    close(model.rows("items", items, layer="input"), q0[items].cpu())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_initialisation_is_xaviers_and_the_seeds_alone(data, backbone):
    make = BACKBONES[backbone]
    first = make(data.split(seed=0), 50, seed=7).table
    torch.manual_seed(123)
    assert torch.equal(make(data.split(seed=1), 50, seed=7).table, first)
    assert not torch.equal(make(data.split(seed=0), 50, seed=8).table, first)
    for part in first.detach().split([data.n_users, data.n_items]):
        bound = math.sqrt(6 / (len(part) + 50))
        assert 0.99 * bound < part.abs().max() <= bound
        assert part.var().item() == pytest.approx(bound**2 / 3, rel=0.1) and abs(part.mean()) < 0.1 * bound


@pytest.mark.parametrize("backbone", BACKBONES)
def test_weights_survive_a_file(split, backbone, tmp_path):
    """The table is all there is to keep; the graph comes from the split."""
    model = BACKBONES[backbone](split, 4, seed=1)
    assert list(model.state_dict()) == ["table"]
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = BACKBONES[backbone](split, 4, seed=2)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(again.factors(), model.factors()))


def test_factors_are_of_the_present_table(split):
    """Not those of the step under way: whoever evaluates between steps sees the trained table."""
    model = LightGCN(split, 4)
    before, index = model.factors()[0], torch.arange(split.n_users)
    close(model.rows("users", index), before)
    with torch.no_grad():
        model.table *= 2
    close(model.factors()[0], 2 * before)
    model.end_step()
    close(model.rows("users", index), 2 * before)  # and so does the next step


def test_a_step_propagates_once_and_one_that_reads_nothing_not_at_all(split, monkeypatch):
    model, times = LightGCN(split, 4), []
    monkeypatch.setattr(model, "propagate", lambda table: times.append(1) or LightGCN.propagate(model, table))
    for _ in range(3):
        model.rows("items", torch.arange(5))
    assert len(times) == 1
    model.end_step()
    assert len(times) == 1  # nothing went back
    for _ in range(2):
        (model.rows("users", torch.arange(5)).sum() + model.rows("items", torch.arange(5)).sum()).backward()
        model.end_step()
    assert len(times) == 5  # forth and back, twice
    model.end_step()
    assert len(times) == 5 and model.table.grad.any()


def test_sizes_out_of_range(split):
    with pytest.raises(ValueError, match="dim must be 1 or more, not 0"):
        MF(split, 0)
    with pytest.raises(ValueError, match="n_layers must be 1 or more"):
        LightGCN(split, 4, n_layers=0)


def test_a_model_of_ones_own_says_what_it_lacks(data):
    class Mine(Model):
        n_users, n_items = 23, 37

    nothing = torch.zeros(1, 1, dtype=torch.int64)
    for name, arguments in (("scores", (nothing[0], nothing)), ("to", ("cpu",))):
        with pytest.raises(TypeError, match=f"Mine must define {name}"):
            getattr(Mine(), name)(*arguments)
    for name, arguments in (("factors", ()), ("inputs", ()), ("top", (nothing[0], 1, data)), ("ranking", (1, data))):
        with pytest.raises(ValueError, match="Mine has scores, but no embeddings"):
            getattr(Mine(), name)(*arguments)

"""The backbones against dense formulas: scores, propagation, and the gradients that they add by hand."""

import math

import numpy as np
import pytest
import torch
from conftest import matrix
from safetensors.torch import load_file, save_file
from torch.nn.functional import logsigmoid

from rkd.lookup import ItemLists
from rkd.models import BACKBONES, MF, LightGCN


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
    torch.testing.assert_close(found.detach().cpu().double(), expected.double(), rtol=1e-4, atol=tolerance)


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
    """A loss that reads embeddings three times and scores once, as training does."""
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
        model.begin_step()
        loss = scored_loss(model.users, model.items, lambda x, _: model.scores(x, lists), u, i, j, v, listed)
        loss = loss + 0.2 * (model.input_users(u).square().sum() + model.input_items(i).square().sum())
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
        model.items(index).sum().backward()
    assert model.table.grad.sum(1).nonzero().flatten().tolist() == [split.n_users + 1, split.n_users + 4]
    assert model.table.grad[split.n_users + 4].tolist() == [4, 4, 4]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_scores_are_inner_products_of_the_factors(split, backbone, device):
    model = BACKBONES[backbone](split.to(device), 4).to(device)
    model.begin_step()
    users, items = torch.tensor([3, 0, 22], device=device), torch.tensor([[1, 5], [36, 1], [2, 2]], device=device)
    listed = items.new_zeros(split.n_users, 2)
    listed[users] = items
    p, q = (x.cpu() for x in model.factors())
    close(model.scores(users, ItemLists(listed, split.n_items)), (p[users.cpu()][:, None] * q[items.cpu()]).sum(2))
    close(model.users(users), p[users.cpu()])
    close(model.items(items), q[items.cpu()])  # of any shape
    assert model.items(items).shape == (3, 2, 4)


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
    """Not those of the last step: whoever evaluates between steps sees the trained table."""
    model = LightGCN(split, 4)
    model.begin_step()
    before = model.factors()[0]
    with torch.no_grad():
        model.table *= 2
    close(model.factors()[0], 2 * before)


def test_sizes_out_of_range(split):
    with pytest.raises(ValueError, match="dim must be 1 or more, not 0"):
        MF(split, 0)
    with pytest.raises(ValueError, match="n_layers must be 1 or more"):
        LightGCN(split, 4, n_layers=0)

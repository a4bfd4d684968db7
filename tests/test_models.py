"""The backbones against dense formulas: scores, propagation, and the gradients that they add by hand. Teachers from
elsewhere: factors against NumPy's products, lists against looking each item up."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import interactions_of, matrix, product, seeded
from safetensors.torch import load_file, save_file
from torch.nn.functional import logsigmoid

from rkd import Given, Lists
from rkd.given import fixed
from rkd.kernels import DENSE, ItemLists
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


# ------------------------------------------------------------------------------------------------------------- factors

@pytest.fixture
def given(split, device):
    """(a Given on the device, all its scores as NumPy gives them)"""
    rng = np.random.default_rng(3)
    p, q = rng.standard_normal((split.n_users, 6)), rng.standard_normal((split.n_items, 6))
    return Given((p, q)).to(device), p @ q.T


@pytest.mark.parametrize("length", [1, 2, 5, 40])
def test_given_scores_are_numpys(given, length, device):
    """Of so few items that they are scored one by one, of more, which are picked from the dense product, and of lists
    longer than the catalogue of 37."""
    assert DENSE * 1 < 37 < DENSE * 2
    model, expected = given
    lists = np.random.default_rng(length).integers(37, size=(23, length))
    listed = torch.from_numpy(lists).to(device)
    for users in (np.array([4, 22, 4, 0]), None):
        index = np.arange(23) if users is None else users
        some = None if users is None else torch.from_numpy(users).to(device)
        close(model.scores(some, ItemLists(listed, 37)), torch.from_numpy(expected[index[:, None], lists[index]]))
        own = np.random.default_rng(9).integers(37, size=(len(index), length))  # a user's two lists differ
        close(model.scores(some, torch.from_numpy(own).to(device)), torch.from_numpy(expected[index[:, None], own]))


def test_given_scores_of_more_users_than_one_block(device):
    rng = np.random.default_rng(0)
    p, q = rng.standard_normal((600, 3)), rng.standard_normal((30, 3))
    users, items = rng.integers(600, size=700), rng.integers(30, size=(700, 10))
    found = Given((p, q)).to(device).scores(*(torch.from_numpy(x).to(device) for x in (users, items)))
    close(found, torch.from_numpy((p @ q.T)[users[:, None], items]))


def test_given_takes_what_is_two_matrices(split):
    p, q = np.ones((23, 2)), np.arange(74).reshape(37, 2)
    trained = torch.nn.Parameter(torch.ones(23, 2))
    for pair in ((p, q), [p.tolist(), q.tolist()], (trained, torch.from_numpy(q)), (x for x in (p, q))):
        model = Given(pair)
        users, items = model.factors()
        assert users.dtype == items.dtype == torch.float32 and not users.requires_grad
        assert np.array_equal(users, p) and np.array_equal(items, q) and (model.n_users, model.n_items) == (23, 37)
        assert model.inputs() is model.factors()
    with pytest.raises(TypeError, match="expected a model or a pair .*, not int"):
        Given(7)
    with pytest.raises(TypeError, match="expected a model or a pair .*, not tuple"):
        Given((p, q, q))
    for pair in ((p, q[:, :1]), (p[0], q), (p, q[None])):
        with pytest.raises(ValueError, match="factors must be two matrices of equal width"):
            Given(pair)


def test_inputs_come_along(split, device):
    """A model before propagation, through ``fixed`` and onto a device."""
    model = LightGCN(split, 4)
    found = fixed(model, split, device)
    for mine, whole in zip((*found.factors(), *found.inputs()), (*model.factors(), *model.inputs())):
        assert mine.device == device
        close(mine, whole)
    again = found.to("cpu").inputs()
    assert all(x.device.type == "cpu" for x in again) and torch.equal(torch.cat(again), model.table)
    assert found.inputs() is not found.factors() and fixed(MF(split, 3), split).inputs()[0].shape == (23, 3)


# --------------------------------------------------------------------------------------------------------------- fixed

def test_what_can_be_fixed(split, device):
    """On the split's device, or the one given; a model as it is now, whatever becomes of it later."""
    model, pair = MF(split, 3), (np.ones((23, 2)), np.ones((37, 2)))
    lists = Lists([[0]] * 23, [[1.0]] * 23, 37)
    there = split.to(device)
    for anything in (model, pair, Given(pair), SimpleNamespace(factors=lambda: pair)):
        found = fixed(anything, there)
        assert isinstance(found, Given) and found.factors()[0].device == device
        assert (product(found) == product(model if anything is model else pair_of(pair))).all()
    assert isinstance(fixed(lists, there), Lists) and fixed(lists, there).items.device == device
    assert fixed(pair, there, "cpu").factors()[0].device.type == "cpu"


def pair_of(arrays):
    return [torch.from_numpy(x) for x in arrays]


def test_what_cannot_be_fixed(split):
    for nothing in (7, None, "mf", (np.ones((23, 2)),), MF):
        with pytest.raises(TypeError):
            fixed(nothing, split)
    other = interactions_of(np.ones((22, 37), bool)).split()
    for model in (MF(other, 3), LightGCN(other, 3), Given((np.ones((22, 2)), np.ones((37, 2)))),
                  (np.ones((22, 2)), np.ones((37, 2))), Lists([[0]] * 22, [[1.0]] * 22, 37)):
        with pytest.raises(ValueError, match="the model is of 22 users and 37 items, the split of 23 and 37"):
            fixed(model, split)
    with pytest.raises(ValueError, match="of 23 users and 36 items, the split of 23 and 37"):
        fixed(Lists([[0]] * 23, [[1.0]] * 23, 36), split)


def test_a_model_of_ones_own_says_what_it_lacks(data):
    class Mine(Model):
        n_users, n_items = 23, 37

    nothing = torch.zeros(1, 1, dtype=torch.int64)
    for name, arguments in (("scores", (nothing[0], nothing)), ("top", (nothing[0], 1, data)), ("ranking", (1, data)),
                            ("to", ("cpu",))):
        with pytest.raises(TypeError, match=f"Mine must define {'top' if name == 'ranking' else name}"):
            getattr(Mine(), name)(*arguments)
    for name in ("factors", "inputs"):
        with pytest.raises(ValueError, match="Mine has scores, but no embeddings"):
            getattr(Mine(), name)()


# --------------------------------------------------------------------------------------------------------------- lists

# item → score, of 9 items
LISTED = [{5: 0.5, 2: 3.0, 8: -1.0}, {0: 2.0}, {7: 1.0, 3: 1.0}, {8: -2.0, 0: -4.0, 1: -3.0}]


@pytest.fixture
def lists(device) -> Lists:
    """LISTED, filled up by −1, with scores there that must not count."""
    items, scores = (torch.tensor([[*row, *[fill] * (3 - len(row))] for row in rows])
                     for rows, fill in ((LISTED, -1), ([list(row.values()) for row in LISTED], 99.0)))
    return Lists(items, scores, 9).to(device)


def test_a_list_scores_what_it_holds_and_all_else_as_its_worst(lists, device):
    def score(user, item):
        return LISTED[user].get(item, min(LISTED[user].values()))

    everything = torch.arange(9, device=device).expand(4, 9)
    whole = [[score(u, i) for i in range(9)] for u in range(4)]
    assert lists.scores(None, everything).tolist() == lists.scores(None, ItemLists(everything, 9)).tolist() == whole
    users = torch.tensor([3, 0, 3], device=device)
    items = torch.tensor([[1, 1, 6], [8, 2, 5], [0, 8, 1]], device=device)  # repeated, in any order
    expected = [[score(u, i) for i in row] for u, row in zip((3, 0, 3), items.tolist())]
    assert lists.scores(users, items).tolist() == expected
    assert lists.scores(users, ItemLists(everything, 9)).tolist() == [whole[u] for u in (3, 0, 3)]


def test_a_lists_top_is_its_own_order(lists, device):
    """Best first, the earlier of equals; without those seen; −1 where there are no more."""
    users, nothing = torch.tensor([0, 2, 3, 1], device=device), interactions_of(np.zeros((4, 9), bool)).to(device)
    assert lists.top(users, 2, nothing).tolist() == [[2, 5], [7, 3], [8, 1], [0, -1]]
    assert lists.top(users, 5, nothing).tolist() == [[2, 5, 8, -1, -1], [7, 3, -1, -1, -1], [8, 1, 0, -1, -1],
                                                     [0, -1, -1, -1, -1]]
    dense = np.zeros((4, 9), bool)
    dense[0, [2, 4]] = dense[1, 0] = dense[3, 1] = True
    seen = interactions_of(dense).to(device)
    assert lists.top(users, 2, seen).tolist() == [[5, 8], [7, 3], [8, 0], [-1, -1]]
    assert lists.ranking(1, seen).tolist() == [[5], [-1], [7], [8]]
    some = torch.tensor([0, 3, 5], device=device)
    assert lists.top(users, 2, seen, some).tolist() == [[5, -1], [3, -1], [0, -1], [-1, -1]]
    assert lists.top(users, 9, seen, some).shape == (4, 3)  # no longer than there are items
    with pytest.raises(ValueError, match="there is no item to rank"):
        lists.top(users, 2, seen, some[:0])


def test_lists_of_a_models_scores_are_that_model(given, split, device):
    """All items listed, in an order of chance: the same scores, the same rankings."""
    model, scores = given
    items = np.random.default_rng(0).permuted(np.tile(np.arange(37), (23, 1)), axis=1)
    whole = Lists(items, np.take_along_axis(scores, items, 1), 37).to(device)
    train, some = split.to(device).train, torch.tensor([1, 4, 20, 36], device=device)
    for depth in (1, 10, 37):
        assert torch.equal(whole.ranking(depth, train), model.ranking(depth, train))
        assert torch.equal(whole.ranking(depth, train, some), model.ranking(depth, train, some))
    close(whole.scores(None, torch.arange(37, device=device).expand(23, 37)), torch.from_numpy(scores))


def test_lists_have_no_embeddings(lists):
    for name in ("factors", "inputs"):
        with pytest.raises(ValueError, match="Lists has scores, but no embeddings"):
            getattr(lists, name)()


@pytest.mark.parametrize("items, scores, message", [
    ([0, 1], [1, 2], "two matrices"),
    ([[0, 1]], [[1]], r"two matrices \[n_users, L\], not \(1, 2\) and \(1, 1\)"),
    ([[], []], [[], []], "two matrices"),
    ([[0], [1]], [[1.0], [math.nan]], "not a finite number"),
    ([[0], [1]], [[1.0], [-math.inf]], "not a finite number"),
    ([[0], [5]], [[1], [2]], "item 5 is listed, but there are 5"),
    ([[0, 1], [-1, -1]], [[1, 2], [1, 2]], "the list of user 1 is empty"),
    ([[0, 1, 2], [4, 3, 4]], [[1, 2, 3], [1, 2, 3]], "user 1's list holds item 4 twice"),
])
def test_what_lists_refuse(items, scores, message):
    with pytest.raises(ValueError, match=message):
        Lists(items, scores, 5)


def test_places_left_empty_may_hold_any_score():
    """So may two of them: they are no item that is given twice."""
    lists = Lists([[-1, 2, -1], [4, -1, -1]], [[math.nan, 1.0, math.inf], [2.0, 0.0, 0.0]], 5)
    assert lists.scores(None, torch.tensor([[2, 4, 0]] * 2)).tolist() == [[1, 1, 1], [2, 2, 2]]

"""Users with few items left: they shorten nobody else's list, and their own holds what there is."""

import numpy as np
import pytest
import torch
from conftest import brute_ranking, interactions_of, matrix, product, seeded

import rkd
from rkd import METHODS, MF, Given, Split, sampling
from rkd.batch import Batch
from rkd.datasets.synthetic import world
from rkd.methods.lists import logits_of_present, mean_of_present, pick

OTHERS, ITEMS, LEFT = 60, 90, 8


def two_worlds():
    """(split, teacher, student) of 60 users; and the same with one more, who has all items but 8."""
    train = matrix(world(OTHERS, ITEMS, n_train=10).split.train)
    bot = np.ones((1, ITEMS), bool)
    bot[0, 5:5 + 11 * LEFT:11] = False
    factors = [[torch.randn(n, dim, generator=seeded(seed=seed)) for n in (OTHERS + 1, ITEMS)]
               for seed, dim in ((1, 6), (2, 4))]
    for dense in (train, np.concatenate([train, bot])):
        nobody = interactions_of(dense & False)
        split = Split(interactions_of(dense), nobody, nobody, "given", 0)
        teacher, table = ((u[:len(dense)], v) for u, v in factors)
        student = MF(split, 4)
        with torch.no_grad():
            student.table.copy_(torch.cat(table))
        yield split, Given(teacher), student


@pytest.fixture
def same_draws(monkeypatch):
    """What is drawn for 60 users is what is drawn for the first 60 of 61."""
    def cut(draw, at):
        def drawn(*arguments, **keywords):
            shape = arguments[at] if isinstance(arguments[at], tuple) else arguments[at:]
            n = shape[0]
            more = n // OTHERS * (OTHERS + 1) if n % OTHERS == 0 else n
            return draw(*arguments[:at], (more, *shape[1:]), **keywords)[:n]
        return drawn

    def noise(like, generator, real=sampling.gumbel):
        return real(like if len(like) > OTHERS else torch.cat([like, like[:1]]), generator)[:len(like)]

    monkeypatch.setattr(torch, "rand", cut(torch.rand, 0))
    monkeypatch.setattr(torch, "randint", cut(torch.randint, 1))
    monkeypatch.setattr(sampling, "gumbel", noise)


CASES = [("rd", {}), ("rd", dict(warmup=0)), ("cd", {}), ("cd", dict(guide="teacher")), ("rrd", {}), ("sld", {}),
         ("unkd", dict(groups=1)), ("cpd", dict(dropout=0.0))]


@pytest.mark.parametrize("name, settings", CASES)
def test_a_user_with_nearly_everything_changes_nobody_elses_lists(name, settings, same_draws):
    """Nor losses; its own lists are of its 8 items."""
    lists, losses, bot = [], [], OTHERS
    for split, teacher, student in two_worlds():
        method = METHODS[name](teacher, split, seeded(seed=3), **settings)
        list(method.parameters(student))
        method.begin_epoch(student, 1)
        drawn = {"rd": lambda: method.top.items, "cpd": lambda: method.lists}.get(name, lambda: method.lists.items)()
        users = torch.arange(OTHERS)
        lists.append(drawn[:OTHERS])
        losses.append(method.loss(student, Batch(users, users, users + 1)).item())
    assert torch.equal(*lists) and losses[1] == pytest.approx(losses[0], rel=1e-5)
    users = torch.tensor([bot, bot])
    own = method.loss(student, Batch(users, users, users + 1))
    own.backward()
    assert own.item() > 0 and own.isfinite() and student.table.grad.isfinite().all() and student.table.grad[bot].any()
    if name not in ("sld", "unkd"):  # which keep other places
        counted = {"rd": lambda: method.position_weight[bot] > 0, "cpd": lambda: drawn[bot] >= 0}.get(
            name, lambda: method.extra["present"][bot].bool())()
        ranked = brute_ranking(product(teacher), split)[bot]
        there = drawn[bot][counted].tolist()
        assert len(ranked) == LEFT and set(there) <= set(ranked)
        assert there[:4] == ranked[:4] if name == "rrd" else sorted(there) == sorted(ranked)


def test_rds_weights_are_of_the_places_that_there_are(same_draws):
    *_, (split, teacher, student) = two_worlds()
    method = METHODS["rd"](teacher, split, seeded(), k=12, sharpness=4.0)
    weight = np.exp(-np.arange(1, 13) / 4)
    for user, n in ((0, 12), (OTHERS, LEFT)):
        expected = np.where(np.arange(12) < n, weight, 0) / weight[:n].sum()
        np.testing.assert_allclose(method.position_weight[user], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["rd", "cd", "rrd", "de-rrd", "pd-cd", "unkd", "cpd", "sld", "stratified-sld", "mkd"])
def test_six_users_and_eight_items_will_do(name):
    """With the default settings, all of which ask for more items than there are."""
    dense = np.array([[(3 * u + 5 * k + u * k) % 8 in (1, 2, 4, 7) or k == u for k in range(8)] for u in range(6)])
    dense[:, 7] = False  # nobody has everything
    split = interactions_of(dense).split("unkd", seed=0)
    teacher = rkd.train(MF(split, 6), split, epochs=2, device="cpu", progress=False).model
    fit = rkd.distill(teacher, split, name, dim=3, epochs=12, weight=0.5, device="cpu", progress=False)
    assert fit.model.table.isfinite().all() and np.isfinite(fit.history[-1]["loss"])


def test_lists_with_empty_places_by_hand():
    ranked, ranks = torch.tensor([[7, 3, 9], [2, 5, -1]]), torch.tensor([[2, 0, -1, -1], [1, -1, -1, -1]])
    assert pick(ranked, ranks).tolist() == [[9, 7, -1, -1], [5, -1, -1, -1]]
    values, present = torch.tensor([[3.0, 5, 100], [1, 2, 3]]), torch.tensor([[True, True, False], [False] * 3])
    assert mean_of_present(values, present).tolist() == mean_of_present(values, present.float()).tolist() == [4, 0]
    shares = torch.softmax(logits_of_present(values, present), 1)
    assert shares[0].tolist() == pytest.approx([1 / (1 + np.e**2), 1 / (1 + np.e**-2), 0])

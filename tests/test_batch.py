"""A batch's distinct users and items, and how often each counts."""

import pytest
import torch
from conftest import a_batch

from rkd import batch as batches
from rkd.batch import distinct, weighted_mean


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_batchs_distinct_users_and_how_often_they_come(device):
    users = a_batch(device).counted_users(23)
    once = torch.zeros(23).index_add_(0, users.index.cpu(), users.times.cpu())
    assert once.nonzero().flatten().tolist() == [0, 1, 4, 7, 22] and once[[0, 1, 4, 7, 22]].tolist() == [1, 1, 3, 2, 1]
    values = torch.arange(23.0, device=device)
    assert users.mean(users.of(values)).item() == pytest.approx(a_batch(device).users.float().mean().item())
    assert users.of(values).tolist() == users.index.tolist() and users.times.dtype == torch.float32


def test_everyone_stands_for_a_batch_that_is_not_small(device):
    """Each of nine users with how often it is there, never or three times; the mean is over the batch either way."""
    batch = a_batch(device, (4, 4, 7, 0, 4))
    everyone, some = batch.counted_users(9), batch.counted_users(23)
    assert everyone.index is None and everyone.times.tolist() == [1, 0, 0, 0, 3, 0, 0, 1, 0]
    values = torch.randn(23, device=device)
    assert everyone.of(values[:9]).tolist() == values[:9].tolist()
    for users, known in ((everyone, 9), (some, 23)):
        assert users.mean(users.of(values[:known])).item() == pytest.approx(values[batch.users].mean().item(), abs=1e-6)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("n_users", [9, 23])
def test_each_distinct_user_once(n_users, fixed, device, monkeypatch):
    """The mean is over users 0, 4 and 7, however often each is there, whatever the shapes."""
    monkeypatch.setattr(batches, "fixed_shapes", lambda device: fixed)
    users, values = a_batch(device, (4, 4, 7, 0, 4)).counted_users(n_users, once=True), torch.randn(23, device=device)
    values = values[:n_users]
    assert users.mean(users.of(values)).item() == pytest.approx(values[[0, 4, 7]].mean().item(), abs=1e-6)
    assert (users.index is None) == (n_users == 9)


def test_distinct_entities_weigh_alike_whatever_the_shapes(device, monkeypatch):
    """Where shapes are fixed a repeated one is there twice, once with weight 0: means over them are the same."""
    entities, means = torch.tensor([4, 1, 4, 4, 9, 1], device=device), []
    values = torch.randn(10, device=device)
    for fixed in (False, True):
        monkeypatch.setattr(batches, "fixed_shapes", lambda device: fixed)
        found, weight = distinct(entities)
        means.append(weighted_mean(values[found], weight).item())
        assert len(found) == (6 if fixed else 3) and sorted(found[weight > 0].tolist()) == [1, 4, 9]
    assert means == pytest.approx([values[[1, 4, 9]].mean().item()] * 2, abs=1e-6)


def test_weighted_mean_by_hand():
    assert weighted_mean(t(1, 5, 2), t(1, 2, 3)).item() == pytest.approx((1 + 10 + 6) / 6)


def test_weighted_mean_by_counts_is_the_mean_over_positions():
    loss, positions = torch.randn(5, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 0, 3, 3, 1])
    users, counts = positions.unique(return_counts=True)
    torch.testing.assert_close(weighted_mean(loss[users], counts.float()), loss[positions].mean())

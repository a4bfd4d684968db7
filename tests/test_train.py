"""The training loop: step by step against autograd, what it finds, when it stops, and that it repeats."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from runs_helpers import write_trials
from torch.nn.functional import logsigmoid

from rkd import MF, Distiller, Given, LightGCN, distill, evaluate, train
from rkd.datasets import synthetic
from rkd.kernels import ItemLists
from rkd.losses import PD
from rkd.models import BACKBONES
from rkd.sampling import NegativeSampler

QUIET = dict(progress=False)


class Shrink(Distiller):
    """A distillation that is easily written down: the mean square of every user's scores of items 0 and 5."""

    def prepare(self):
        items = torch.tensor([0, 5], device=self.generator.device).expand(self.split.n_users, 2)
        self.lists = ItemLists(items, self.split.n_items)

    def loss(self, student, batch):
        return student.scores(batch.users, self.lists).square().mean()


def nobody(split):
    """A teacher that says nothing."""
    return Given((torch.zeros(split.n_users, 1), torch.zeros(split.n_items, 1)))


def shrink(split, generator):
    return Shrink(nobody(split), split, generator)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("weight, gamma", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.3), (0.5, 0.3)])
def test_training_is_adam_on_the_plain_formula(split, backbone, weight, gamma, device):
    """Two epochs in batches of 50, against a loop of autograd and torch's own Adam on the same draws."""
    split = split.to(device)
    model, lr, l2 = BACKBONES[backbone](split, 4, seed=1).to(device), 0.01, 0.3
    table = model.table.detach().clone().requires_grad_()
    optimizer, generator = torch.optim.Adam([table], lr=lr), torch.Generator(device).manual_seed(6)
    n, pairs, losses = split.n_users, split.train, []
    for _ in range(2):
        order = torch.randperm(len(pairs), generator=generator, device=device)
        negatives = NegativeSampler(pairs)(pairs.users, generator)[order]
        for u, i, j in zip(*(x.split(50) for x in (pairs.users[order], pairs.items[order] + n, negatives + n))):
            e = model.propagate(table)
            decay = (table[u].square().sum() + table[i].square().sum() + table[j].square().sum()) / 2 / len(u)
            target = (e[u][:, None] * e[torch.tensor([n, n + 5], device=device)]).sum(2).square().mean()
            s_i, s_j = (e[u] * e[i]).sum(1), (e[u] * e[j]).sum(1)
            if gamma:  # PD: x + 1 above 0, exp(x) below, times the share of interactions to the power of gamma
                share = (pairs.item_counts + 1).double() / (pairs.item_counts + 1).sum()
                s_i, s_j = (torch.where(s > 0, s + 1, s.exp()) * share[k - n].float()**gamma
                            for s, k in ((s_i, i), (s_j, j)))
            loss = -logsigmoid(s_i - s_j).mean() + l2 * decay + weight * target
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    fit = train(model, split, lr=lr, l2=l2, epochs=2, batch_size=50, seed=6, device=device, distiller=shrink,
                weight=weight, objective=PD(gamma) if gamma else None, **QUIET)
    torch.testing.assert_close(fit.model.table.detach(), table.detach(), rtol=1e-3, atol=1e-4)
    assert fit.history[-1]["loss"] == pytest.approx(np.mean(losses[len(losses) // 2:]), rel=1e-4)


@pytest.mark.parametrize("make", [MF, LightGCN])
def test_a_planted_low_rank_preference_is_found(make, device):
    """Recall@10 of 200 users with 8 held-out items of 100 left: the true preferences reach 0.51, random factors and
    popularity about 0.1, a fitted model 0.43 to 0.46 (3 worlds each)."""
    world = synthetic.world(200, 120, rank=3, signal=4.0, popularity=0.0, n_train=20, n_valid=4, n_test=8, seed=0)
    fit = train(make(world.split, 8, seed=0), world.split, lr=2e-2, l2=1e-2, epochs=60, device=device, **QUIET)
    popularity = np.ones((200, 1)), world.split.train.item_counts.numpy()[:, None]
    found, popular, true = (evaluate(model, world.split.to(fit.model.table.device))["recall@10"]
                            for model in (fit.model, popularity, (np.eye(200), world.affinity.T)))
    assert popular < 0.15 and true > 0.48
    assert 0.38 < found < true
    assert fit.history[-1]["loss"] < 0.6 * fit.history[0]["loss"]


@pytest.mark.parametrize("make", [MF, LightGCN])
def test_a_seed_repeats_every_bit(split, make):
    def table(seed, init=1):
        torch.manual_seed(len(str(seed)))  # nobody else's draws matter
        return train(make(split, 4, init), split, lr=1e-2, epochs=6, batch_size=64, seed=seed, device="cpu",
                     **QUIET).model.table
    assert torch.equal(table(0), table(0))
    assert not torch.equal(table(0), table(1)) and not torch.equal(table(0), table(0, init=2))


@pytest.mark.parametrize("method, settings", [
    ("rd", {"warmup": 2}), ("cd", {"n_samples": 5, "temperature": 2.0}), ("de", {}), ("rrd", {"k": 2}),
    ("de-rrd", {"k": 2, "anneal": 3}), ("htd", {}), ("unkd", {}),
])
def test_a_seed_repeats_every_bit_of_a_distillation(split, method, settings):
    def table(seed):
        return distill(MF(split, 8), split, method, dim=4, seed=seed, lr=1e-2, weight=0.5, epochs=6, device="cpu",
                       **QUIET, **settings).model.table
    assert torch.equal(table(0), table(0)) and not torch.equal(table(0), table(1))


@pytest.mark.parametrize("make", [MF, LightGCN])
def test_stopping_early_goes_back_to_the_best_epoch(make, device):
    """A large step without decay overfits within a few epochs; then 20 evaluations pass in vain."""
    world = synthetic.world(300, 150, rank=8, signal=2.0, popularity=1.5, n_train=25, n_valid=0, n_test=0)
    split = world.split.train.split(seed=1)
    fit = train(make(split, 16, seed=0), split, lr=0.05, l2=0.0, epochs=500, device=device, **QUIET)
    ndcg = [entry["ndcg@10"] for entry in fit.history]
    assert [entry["epoch"] for entry in fit.history] == list(range(5, fit.epochs + 1, 5))
    assert fit.best_epoch == fit.history[int(np.argmax(ndcg))]["epoch"]
    assert fit.epochs == fit.best_epoch + 5 * 20 < 500  # UnKD's protocol
    valid = evaluate(fit.model, split.to(device), on="valid")
    assert valid["ndcg@10"] == max(ndcg)
    assert valid["recall@10"] == fit.history[int(np.argmax(ndcg))]["recall@10"]
    assert fit.model.table.grad is None and fit.seconds > fit.seconds_per_epoch > 0


def test_the_last_epoch_is_evaluated_whatever_its_number(split):
    fit = train(MF(split, 3), split, epochs=7, device="cpu", **QUIET)
    assert [entry["epoch"] for entry in fit.history] == [5, 7] and fit.epochs == 7
    assert fit.best_epoch in (5, 7)


def by_train(split, **options):
    return train(MF(split, 3), split, lr=0.05, l2=0.0, device="cpu", **QUIET, **options)


def by_distill(split, **options):
    """The same student: of weight 0, its teacher counts for nothing."""
    return distill(nobody(split), split, Shrink, dim=3, weight=0.0, batch_size=2048, lr=0.05, l2=0.0, device="cpu",
                   **QUIET, **options)


@pytest.mark.parametrize("learn", [by_train, by_distill])
def test_how_often_it_is_evaluated_and_how_long_it_goes_on_in_vain(split, learn):
    fit = learn(split, epochs=500, evaluate_every=3, patience=4)
    assert [entry["epoch"] for entry in fit.history] == list(range(3, fit.epochs + 1, 3))
    assert fit.epochs == fit.best_epoch + 3 * 4 < 500


@pytest.mark.parametrize("learn", [by_train, by_distill])
@pytest.mark.parametrize("returns, n", [(True, 3), (1, 8), (None, 8)])
def test_a_callback_sees_every_evaluation_and_stops_training_by_true_alone(split, learn, returns, n):
    """It sees the model as it is then; the one that comes out is the best so far."""
    seen = []

    def watch(fit):
        seen.append((fit.epochs, fit.best_epoch, len(fit.history), fit.seconds, fit.seconds_per_epoch))
        assert evaluate(fit.model, split, "valid", (10,))["ndcg@10"] == fit.history[-1]["ndcg@10"]
        return returns if len(seen) == 3 else False

    fit = learn(split, epochs=16, evaluate_every=2, callback=watch)
    epochs, best, evaluations, seconds, seconds_per_epoch = zip(*seen)
    assert epochs == tuple(range(2, 2 * n + 1, 2)) and evaluations == tuple(range(1, n + 1)) and fit.epochs == 2 * n
    ndcg = [entry["ndcg@10"] for entry in fit.history]
    assert best == tuple(2 * int(np.argmax(ndcg[:i])) + 2 for i in evaluations) and best[-1] == fit.best_epoch
    assert evaluate(fit.model, split, "valid", (10,))["ndcg@10"] == max(ndcg)
    assert 0 < seconds[0] < seconds[-1] < fit.seconds and seconds_per_epoch[-1] == fit.seconds_per_epoch > 0


def test_the_test_data_decide_nothing(split):
    """The same model comes out whatever the test part holds."""
    first = train(MF(split, 3), split, lr=1e-2, epochs=10, device="cpu", **QUIET)
    second = train(MF(split, 3), replace(split, test=None), lr=1e-2, epochs=10, device="cpu", **QUIET)
    assert torch.equal(first.model.table, second.model.table) and first.history == second.history


@pytest.mark.parametrize("bad", [
    {"lr": 0.0}, {"lr": -1.0}, {"lr": float("nan")}, {"l2": -0.1}, {"l2": float("inf")}, {"weight": -1.0},
    {"epochs": 0}, {"batch_size": 0}, {"evaluate_every": 0}, {"patience": 0}])
def test_settings_out_of_range(split, bad):
    (name, value), = bad.items()
    with pytest.raises(ValueError, match=f"^{name} must be .*, not {value}$"):
        train(MF(split, 3), split, **bad)


def test_a_popularity_exponent_out_of_range(split):
    with pytest.raises(ValueError, match="gamma must be 0 or more, not -0.1"):
        train(MF(split, 3), split, objective=PD(-0.1))


def test_a_device_that_is_not_here(split):
    with pytest.raises(ValueError, match="device 'tpu' is not available here"):
        train(MF(split, 3), split, device="tpu")


@pytest.mark.parametrize("make", [MF, LightGCN])
def test_training_that_diverges_says_so(split, make):
    with pytest.raises(ValueError, match="did training diverge"):
        train(make(split, 3), split, lr=1e20, epochs=10, **QUIET)


def test_no_bar_and_no_words_where_nobody_watches(split, capfd):
    train(MF(split, 3), split, epochs=5, device="cpu", progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_distillation_takes_the_batch_size_it_was_tuned_with(split, untuned, monkeypatch):
    """What is given comes first, then what is tuned for the data and the protocol, then 2048."""
    seen = []
    monkeypatch.setattr(sys.modules[train.__module__], "train_epoch",
                        lambda *arguments: seen.append(arguments[7]) or torch.zeros(()))
    teacher = torch.zeros(split.n_users, 2), torch.zeros(split.n_items, 2)

    def learn(**of):
        distill(teacher, split, "rd", epochs=1, device="cpu", **QUIET, **of)

    learn()
    write_trials(split.data_fingerprint, "rd", {"batch_size": 64})
    learn()
    learn(batch_size=5)
    assert seen == [2048, 64, 5]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_a_step_frees_is_kept():
    """Page faults of a process that makes and frees 24 MiB over and over, before and after."""
    count = """if True:
        import resource, torch
        from rkd.device import keep_memory
        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(20):
                parts = [torch.ones(1 << 20) for _ in range(6)]
                del parts
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        faults()
        print(faults())
        keep_memory()
        faults()
        print(faults())"""
    done = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    assert after <= before / 10  # a system that has large pages to give may have no faults to begin with


# ----------------------------------------------------------------------------------------------- without validation

@pytest.mark.parametrize("learn", [by_train, by_distill])
@pytest.mark.parametrize("held_out", [{"valid": None}, {"valid": None, "test": None}])
def test_without_validation_exactly_so_many_epochs_are_trained(split, learn, held_out, monkeypatch):
    """The last model comes out, the one of a training that validates and is stopped there; nothing is evaluated."""
    stopped = learn(split, epochs=12, callback=lambda fit: fit.epochs == 10)
    monkeypatch.setattr(sys.modules[train.__module__], "rank", None)
    fit = learn(replace(split, **held_out), epochs=7, evaluate_every=3, patience=1)
    assert (fit.epochs, fit.best_epoch) == (7, 7)
    assert [sorted(entry) for entry in fit.history] == [["epoch", "loss"]] * 3
    assert [entry["epoch"] for entry in fit.history] == [3, 6, 7]
    ten = learn(replace(split, **held_out), epochs=10)
    assert [entry["loss"] for entry in ten.history] == [entry["loss"] for entry in stopped.history]
    assert not torch.equal(ten.model.table, fit.model.table)


def test_without_validation_the_last_model_is_kept_whatever_it_is_worth(split):
    """The same table as by hand, epoch by epoch; a callback still stops training."""
    bare, tables = replace(split, valid=None), []

    def watch(fit):
        tables.append(fit.model.table.detach().clone())
        return fit.epochs == 6

    fit = by_train(bare, epochs=20, evaluate_every=2, callback=watch)
    assert (fit.epochs, fit.best_epoch, len(tables)) == (6, 6, 3)
    assert torch.equal(fit.model.table, tables[-1]) and not torch.equal(fit.model.table, tables[-2])


@pytest.mark.parametrize("learn", [by_train, by_distill])
def test_a_part_that_is_needed_and_empty_is_told_before_the_first_epoch(split, learn, monkeypatch):
    monkeypatch.setattr(sys.modules[train.__module__], "train_epoch", None)
    with pytest.raises(ValueError, match=r"the valid part of Split\(.* holds no pairs, .*: give epochs="):
        learn(replace(split, valid=None))
    nothing = split.train.pick(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"the train part of Split\(.* holds no pairs: there is nothing to train on"):
        learn(replace(split, train=nothing), epochs=3)


def test_a_model_of_another_size_is_told_before_the_first_epoch(split, data, monkeypatch):
    monkeypatch.setattr(sys.modules[train.__module__], "train_epoch", None)
    other = MF(replace(data, n_items=38).split(), 3)
    for part in (split, replace(split, valid=None)):
        with pytest.raises(ValueError, match="the model is of 23 users and 38 items, the split of 23 and 37"):
            train(other, part, epochs=3, **QUIET)


def test_by_default_500_epochs_are_the_most(split, monkeypatch):
    monkeypatch.setattr(sys.modules[train.__module__], "train_epoch", lambda *_: torch.zeros(()))
    fits = [learn(split, patience=1000, evaluate_every=100) for learn in (by_train, by_distill)]
    assert [fit.epochs for fit in fits] == [500, 500]


@pytest.mark.parametrize("make", [MF, LightGCN])
def test_without_validation_training_that_diverges_says_so(split, make):
    with pytest.raises(ValueError, match=r"the loss of epoch \d+ is (nan|inf): did training diverge"):
        train(make(split, 3), replace(split, valid=None), lr=1e20, epochs=10, **QUIET)

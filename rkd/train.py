"""The one training loop: what a model alone minimises, plus weight · distiller.loss; Adam; early stopping on
NDCG@10."""

import math
import time
from collections.abc import Callable

import torch
from tqdm import tqdm

from .adam import Adam, LazyAdam
from .batch import Batch
from .data import Split
from .device import keep_memory, neutral, resolve_device
from .fit import Fit, put_back, state_of
from .given import same_sizes
from .hits import ndcg, rank, recall
from .limits import ABOVE_0, FROM_0, FROM_1, check, plain
from .losses import BPR
from .models import MF
from .sampling import NegativeSampler

PLAIN = BPR()


@neutral()
def train(model: MF, split: Split, *, lr: float = 1e-3, l2: float = 1e-2, epochs: int | None = None,
          batch_size: int = 2048, seed: int = 0, objective=None, distiller=None, weight: float = 0.0,
          evaluate_every: int = 5, patience: int = 20, callback: Callable[[Fit], object] | None = None,
          resume: Fit | None = None, lazy: bool = False, device: str = "auto", progress: bool = True) -> Fit:
    """Fit ``model`` to ``split.train`` by L = objective + weight · L_distill.

    lr, l2     : Adam's learning rate; the weight of the batch's embeddings' norm (losses.BPR).
    epochs     : at most so many; training stops after ``patience`` evaluations, ``evaluate_every`` epochs apart,
                 without a better NDCG@10 on ``split.valid``, and the model goes back to the best, also where training
                 is interrupted. A model that was trained before may itself be the best, epoch 0. By default 500.
                 Where the split has no validation, exactly so many, which must be given.
    seed       : of the order of the pairs, of the negatives (one uniform unseen item per pair and epoch) and of all
                 that the distiller draws. On a CPU the same seed and number of threads give the same bits.
    objective  : what the model alone minimises (losses.py), by default BPR().
    distiller  : makes a Distiller when called with split=…, generator=…, both on the device; rkd.distill does.
    callback   : called with the Fit so far every ``evaluate_every`` epochs; training stops where it returns True.
    resume     : a Fit to go on from, of the same model, split, method and settings; ``epochs`` counts from its
                 beginning. On a CPU N epochs and then M are the same as N + M, to the bit, where N is a multiple of
                 ``evaluate_every`` (after another N there is one evaluation more).
    lazy       : Adam moves an embedding when it is next read (LazyAdam): the same up to rounding, on a CPU and for MF,
                 in less time where a batch reads a small part of all embeddings.
    progress   : a bar on standard error, where that is a terminal.

    Raises ValueError for settings out of range, a model of other sizes than the split's, a Fit that is another model's,
    no training pairs, no epochs where there is no validation, or where a score ceases to be a number.
    """
    epochs = most_epochs(split, epochs)
    check_training(lr=lr, l2=l2, weight=weight, epochs=epochs, batch_size=batch_size, evaluate_every=evaluate_every,
                   patience=patience)
    same_sizes(model, split, "student" if distiller else "model")
    device = resolve_device(device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    keep_memory()
    fit, batch_size = Fit(model, split), plain(batch_size)
    split, model = split.to(device), model.to(device)
    generator = torch.Generator(device).manual_seed(plain(seed))
    negatives = NegativeSampler(split.train)
    objective = objective or PLAIN
    objective.prepare(split)
    method = distiller(split=split, generator=generator) if distiller else None
    fit.method = method.label if method else type(objective).__name__

    best, best_ndcg, epoch_seconds = snapshot(model), -1.0, 0.0
    if len(split.valid) and not resume and not model.fresh:
        best_ndcg = validate(model, split)["ndcg@10"]
    optimizer = (LazyAdam if lazy else Adam)(model, lr, method)
    if resume:
        best, best_ndcg = put_back(resume, fit, optimizer, generator, method)
        epoch_seconds = fit.epochs * fit.seconds_per_epoch
        start -= fit.seconds
    bar = tqdm(range(fit.epochs + 1, 1 + (epochs if in_vain(fit) < patience else 0)), unit="epoch", leave=False,
               disable=None if progress else True)
    try:
        for epoch in bar:
            epoch_start = clock()
            loss = train_epoch(model, split, negatives, optimizer, generator, epoch, l2, batch_size, method, weight,
                               objective)
            fit.epochs = epoch
            evaluates = epoch % evaluate_every == 0 or epoch == epochs
            loss = loss.item() if evaluates else loss  # waits for the device
            epoch_seconds += clock() - epoch_start
            if not evaluates:
                continue
            valid = validate(model, split) if len(split.valid) else {}
            value = valid.get("ndcg@10", epoch)  # without validation the last is the best
            if not valid and not math.isfinite(loss):
                raise ValueError(f"the loss of epoch {epoch} is {loss}: did training diverge? Try a smaller lr")
            fit.history.append({"epoch": epoch, "loss": loss, **valid, **(method.report(model) if method else {})})
            if valid:
                bar.set_postfix_str(f"validation ndcg@10 {value:.4f}")
            if value > best_ndcg:
                best_ndcg, fit.best_epoch, best = value, epoch, snapshot(model)
            fit.seconds, fit.seconds_per_epoch = clock() - start, epoch_seconds / epoch
            fit.state = state_of(optimizer, generator, method, best, best_ndcg)
            stop = callback(fit) if callback else False
            if stop is True or in_vain(fit) >= patience:
                break
    finally:
        model.end_step()  # of a step that was interrupted
        optimizer.release()
        for name, parameter in model.named_parameters():
            parameter.data, parameter.grad = best[name], None  # a tensor of its own again
        bar.close()
    fit.seconds = clock() - start
    return fit


def validate(model: MF, split: Split) -> dict[str, float]:
    """NDCG@10 and recall@10 on the validation data."""
    found = rank(model, split, "valid", 10)
    return {"ndcg@10": ndcg(found, 10).nanmean().item(), "recall@10": recall(found, 10).nanmean().item()}


def in_vain(fit: Fit) -> int:
    """How many evaluations have passed since the best."""
    return sum(entry["epoch"] > fit.best_epoch for entry in fit.history)


def most_epochs(split: Split, epochs: int | None) -> int:
    """How many epochs to train at most. Raises ValueError where the split holds too little to train at all, or to know
    when to stop."""
    if not len(split.train):
        raise ValueError(f"the train part of {split} holds no pairs: there is nothing to train on")
    if epochs is None and not len(split.valid):
        raise ValueError(f"the valid part of {split} holds no pairs, by which training would know when to stop: give "
                         "epochs=, and exactly so many are trained, or divide the data so that some pairs validate")
    return 500 if epochs is None else epochs


LIMITS = {"lr": ABOVE_0, "l2": FROM_0, "weight": FROM_0, "epochs": FROM_1, "batch_size": FROM_1, "dim": FROM_1,
          "teacher_dim": FROM_1, "teacher_epochs": FROM_1, "evaluate_every": FROM_1, "patience": FROM_1}


def check_training(**given) -> None:
    """Raises ValueError for an argument of ``train``, or a size, outside its limit; None is not checked."""
    for name, value in given.items():
        if value is not None:
            check(name, value, LIMITS[name])


def snapshot(model: MF) -> dict[str, torch.Tensor]:
    """A copy of the model's state."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def train_epoch(model, split, negatives, optimizer, generator, epoch, l2, batch_size, method=None, weight=1.0,
                objective=PLAIN):
    """One pass over the training pairs in random order; returns the mean loss as a tensor on the device."""
    order = torch.randperm(len(split.train), generator=generator, device=generator.device)
    users, items = split.train.users.index_select(0, order), split.train.items.index_select(0, order)
    drawn = negatives.of_pairs(split.train.users, generator).index_select(0, order)
    if method:
        method.begin_epoch(model, epoch)
    total, steps = 0.0, 0
    for u, i, j in zip(users.split(batch_size), items.split(batch_size), drawn.split(batch_size)):
        optimizer.zero_grad(set_to_none=False)  # the buffers stay
        loss = step_loss(model, Batch(u, i, j), l2, method, weight, objective)
        loss.backward()
        model.end_step()
        optimizer.step()
        total, steps = total + loss.detach(), steps + 1
    optimizer.end_epoch()
    return total / steps


def step_loss(model, batch, l2, method=None, weight=1.0, objective=PLAIN):
    """L_objective + weight · L_distill of one batch, a scalar."""
    loss = objective.loss(model, batch, l2)
    if method:
        loss = loss + weight * method.loss(model, batch)
    return loss

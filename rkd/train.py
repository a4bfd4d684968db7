"""The one training loop: what a model alone minimises, plus weight · distiller.loss; Adam; early stopping on
NDCG@10."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from .batch import Batch
from .data import Split
from .device import keep_memory, neutral, resolve_device
from .given import same_sizes
from .hits import ndcg, rank, recall
from .limits import ABOVE_0, FROM_0, FROM_1, check
from .losses import BPR
from .models import MF
from .sampling import NegativeSampler


@dataclass
class Fit:
    """A trained model and how it came about.

    history : one dict per evaluation: epoch, loss (mean over the epoch's steps), ndcg@10 and recall@10 on validation,
              and what the distiller reports.
    model is the one of ``best_epoch``; ``epochs`` says how many were run; seconds include set-up and evaluation,
    seconds_per_epoch do not. On a CPU they are processor time, of all threads, so that what else runs there counts
    little.
    """

    model: MF
    history: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    seconds_per_epoch: float = 0.0


PLAIN = BPR()


@neutral()
def train(model: MF, split: Split, *, lr: float = 1e-3, l2: float = 1e-2, epochs: int = 500, batch_size: int = 2048,
          seed: int = 0, objective=None, distiller=None, weight: float = 0.0, evaluate_every: int = 5,
          patience: int = 20, callback: Callable[[Fit], object] | None = None, device: str = "auto",
          progress: bool = True) -> Fit:
    """Fit ``model`` to ``split.train`` by L = objective + weight · L_distill.

    lr, l2     : Adam's learning rate; the weight of the batch's embeddings' norm (losses.BPR).
    epochs     : at most so many; training stops after ``patience`` evaluations, ``evaluate_every`` epochs apart,
                 without a better NDCG@10 on ``split.valid``, and the model goes back to the best. (UnKD's protocol)
    seed       : of the order of the pairs, of the negatives (one uniform unseen item per pair and epoch) and of all
                 that the distiller draws. On a CPU the same seed and number of threads give the same bits.
    objective  : what the model alone minimises (losses.py), by default BPR().
    distiller  : makes a Distiller when called with split=…, generator=…, both on the device; rkd.distill does.
    callback   : called with the Fit so far after every evaluation; training stops where it returns True.
    progress   : a bar on standard error, where that is a terminal.

    Raises ValueError for settings out of range, a model of other sizes than the split's, or where a score ceases to be
    a number.
    """
    check_training(lr=lr, l2=l2, weight=weight, epochs=epochs, batch_size=batch_size, evaluate_every=evaluate_every,
                   patience=patience)
    same_sizes(model, split, "student" if distiller else "model")
    device = resolve_device(device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    keep_memory()
    split, model = split.to(device), model.to(device)
    generator = torch.Generator(device).manual_seed(seed)
    negatives = NegativeSampler(split.train)
    objective = objective or PLAIN
    objective.prepare(split)
    method = distiller(split=split, generator=generator) if distiller else None
    optimizer = adam(model, lr, method)

    fit, best_ndcg, epoch_seconds = Fit(model), -1.0, 0.0
    best = snapshot(model)
    bar = tqdm(range(1, epochs + 1), unit="epoch", leave=False, disable=None if progress else True)
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
        found = rank(model, split, "valid", 10)
        fit.history.append({"epoch": epoch, "loss": loss, "ndcg@10": ndcg(found, 10).nanmean().item(),
                            "recall@10": recall(found, 10).nanmean().item(),
                            **(method.report(model) if method else {})})
        value = fit.history[-1]["ndcg@10"]
        bar.set_postfix_str(f"validation ndcg@10 {value:.4f}")
        if value > best_ndcg:
            best_ndcg, fit.best_epoch, best = value, epoch, snapshot(model)
        fit.seconds, fit.seconds_per_epoch = clock() - start, epoch_seconds / epoch
        stop = callback(fit) if callback else False
        if stop is True or len(fit.history) - fit.best_epoch // evaluate_every >= patience:
            break
    for name, parameter in model.named_parameters():
        parameter.data, parameter.grad = best[name], None  # a tensor of its own again
    bar.close()
    fit.seconds = clock() - start
    return fit


LIMITS = {"lr": ABOVE_0, "l2": FROM_0, "weight": FROM_0, "epochs": FROM_1, "batch_size": FROM_1, "dim": FROM_1,
          "teacher_dim": FROM_1, "evaluate_every": FROM_1, "patience": FROM_1}


def check_training(**given) -> None:
    """Raises ValueError for an argument of ``train``, or a size, outside its limit; None is not checked."""
    for name, value in given.items():
        if value is not None:
            check(name, value, LIMITS[name])


def snapshot(model: MF) -> dict[str, torch.Tensor]:
    """A copy of the model's state."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def adam(model: MF, lr: float, method=None) -> torch.optim.Adam:
    """Adam over the model's parameters and whatever the method trains with them.

    All of it is moved into one vector, and all gradients into another, so that a step is one call however many there
    are.
    """
    parameters = [*model.parameters(), *(method.parameters(model) if method else ())]
    vector = torch.cat([p.detach().flatten() for p in parameters])
    vector.grad = torch.zeros_like(vector)
    sizes = [p.numel() for p in parameters]
    for p, values, grad in zip(parameters, vector.split(sizes), vector.grad.split(sizes)):
        p.data, p.grad = values.view(p.shape), grad.view(p.shape)
    return torch.optim.Adam([vector], lr=lr, fused=vector.device.type != "mps")


def train_epoch(model, split, negatives, optimizer, generator, epoch, l2, batch_size, method=None, weight=1.0,
                objective=PLAIN):
    """One pass over the training pairs in random order; returns the mean loss as a tensor on the device."""
    order = torch.randperm(len(split.train), generator=generator, device=generator.device)
    users, items = split.train.users.index_select(0, order), split.train.items.index_select(0, order)
    # drawn user by user: faster where these lie together
    drawn = negatives(split.train.users, generator).index_select(0, order)
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
    return total / steps


def step_loss(model, batch, l2, method=None, weight=1.0, objective=PLAIN):
    """L_objective + weight · L_distill of one batch, a scalar."""
    loss = objective.loss(model, batch, l2)
    if method:
        loss = loss + weight * method.loss(model, batch)
    return loss

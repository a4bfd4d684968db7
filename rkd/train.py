"""The one training loop: BPR, plus weight · distiller.loss; Adam; early stopping on validation NDCG."""

import time
from dataclasses import dataclass, field
from functools import partial

import torch
from tqdm import tqdm

from .data import Split
from .device import keep_memory, resolve_device
from .distill import METHODS, check_settings
from .distill.base import Batch
from .evaluate import evaluate, factors
from .losses import bpr, half_square, popularity_deconfounding
from .lookup import rows
from .models import BACKBONES, MF
from .sampling import NegativeSampler
from .tuned import tuned

EVALUATE_EVERY = 5  # epochs
PATIENCE = 20  # evaluations without a better one (UnKD's protocol, with the line above)


@dataclass
class Fit:
    """A trained model and how it came about.

    history : one dict per evaluation: epoch, loss (mean over the epoch's steps), ndcg@10 and recall@10 on validation, and
              what the distiller reports.
    model is the one of ``best_epoch``; ``epochs`` says how many were run; seconds include set-up and evaluation,
    seconds_per_epoch do not. On a CPU they are processor time, of all threads, so that what else runs there counts little.
    """

    model: MF
    history: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    seconds_per_epoch: float = 0.0


def train(model: MF, split: Split, *, lr: float = 1e-3, l2: float = 1e-2, epochs: int = 500, batch_size: int = 2048,
          seed: int = 0, gamma: float = 0.0, device: str = "auto", distiller=None, weight: float = 0.0,
          progress: bool = True) -> Fit:
    """Fit ``model`` to ``split.train`` by L = L_BPR + l2 · L_2 + weight · L_distill.

    lr, l2     : Adam's learning rate; the weight of the batch's embeddings' norm (losses.l2).
    epochs     : at most so many; training stops after 20 evaluations, 5 epochs apart, without a better NDCG@10 on
                 ``split.valid``, and the model goes back to the best.
    seed       : of the order of the pairs, of the negatives (one uniform untrained item per pair and epoch) and of all
                 that the distiller draws. On a CPU the same seed and number of threads give the same bits.
    gamma      : above 0, PD's loss takes the place of BPR's, with popularity factors (share of the interactions)^gamma;
                 the model then ranks without them.        (Zhang et al., SIGIR 2021; shares smoothed as in UnKD's code)
    distiller  : makes the Distiller when called with split=…, generator=…, both on the device; ``distill`` below does.
    progress   : a bar on standard error, where that is a terminal.

    Raises ValueError for settings out of range, or where a score ceases to be a number.
    """
    if lr <= 0 or l2 < 0 or gamma < 0 or weight < 0 or epochs < 1 or batch_size < 1:
        raise ValueError("lr must be above 0, l2, gamma and weight 0 or more, epochs and batch_size 1 or more; "
                         f"not {lr=}, {l2=}, {gamma=}, {weight=}, {epochs=}, {batch_size=}")
    device = resolve_device(device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    keep_memory()
    split, model = split.to(device), model.to(device)
    generator = torch.Generator(device).manual_seed(seed)
    negatives = NegativeSampler(split.train)
    method = distiller(split=split, generator=generator) if distiller else None
    optimizer = adam(model, lr, method)
    popularity = popularity_factors(split.train.item_counts, gamma) if gamma else None

    fit, best, epoch_seconds = Fit(model), -1.0, 0.0
    best_table = model.table.detach().clone()
    bar = tqdm(range(1, epochs + 1), unit="epoch", leave=False, disable=None if progress else True)
    for epoch in bar:
        epoch_start = clock()
        loss = train_epoch(model, split, negatives, optimizer, generator, epoch, l2, batch_size, method, weight,
                           popularity)
        fit.epochs = epoch
        evaluates = epoch % EVALUATE_EVERY == 0 or epoch == epochs
        loss = loss.item() if evaluates else loss  # waits for the device
        epoch_seconds += clock() - epoch_start
        if not evaluates:
            continue
        metrics = evaluate(model, split, on="valid", ks=(10,))
        ndcg = metrics["ndcg@10"]
        fit.history.append({"epoch": epoch, "loss": loss, "ndcg@10": ndcg, "recall@10": metrics["recall@10"],
                            **(method.report(model) if method else {})})
        bar.set_postfix_str(f"validation ndcg@10 {ndcg:.4f}")
        if ndcg > best:
            best, fit.best_epoch = ndcg, epoch
            best_table.copy_(model.table.detach())
        elif len(fit.history) - fit.best_epoch // EVALUATE_EVERY >= PATIENCE:
            break
    model.table.data, model.table.grad = best_table, None  # a tensor of its own again
    bar.close()
    fit.seconds, fit.seconds_per_epoch = clock() - start, epoch_seconds / fit.epochs
    return fit


def distill(teacher, split: Split, method: str, *, backbone: str = "mf", dim: int = 10, seed: int = 0,
            lr: float | None = None, l2: float | None = None, weight: float | None = None, epochs: int = 500,
            batch_size: int | None = None, device: str = "auto", progress: bool = True, **settings) -> Fit:
    """Train a student of ``dim`` with the teacher's help.

    teacher  : a model, or (user factors [n_users, d_t], item factors [n_items, d_t]) from anywhere.
    method   : a name in rkd.distill.METHODS; ``settings`` are its own. What is not given takes its tuned value for
               split.name and protocol where there is one.
    The rest is as for ``train``; seed is of the student's initialisation as well.

    Raises ValueError for an unknown method, backbone or setting, or a teacher of other sizes than the split's.
    """
    given = {"lr": lr, "l2": l2, "weight": weight, "batch_size": batch_size}
    defaults = tuned(split.name, backbone, method, split=split.protocol)
    settings = {k: v for k, v in defaults.items() if k not in given} | settings
    check_settings(method, settings)
    if method not in METHODS:
        raise ValueError(f"{method!r} is no distillation: choose from {', '.join(METHODS)}")
    if backbone not in BACKBONES:
        raise ValueError(f"unknown backbone {backbone!r}: choose from {', '.join(BACKBONES)}")
    teacher = factors(teacher, resolve_device(device))
    if (len(teacher[0]), len(teacher[1])) != (split.n_users, split.n_items):
        raise ValueError(f"the teacher is of {len(teacher[0])} users and {len(teacher[1])} items, "
                         f"the split of {split.n_users} and {split.n_items}")
    chosen = {name: defaults[name] if value is None else value for name, value in given.items()}
    return train(BACKBONES[backbone](split, dim, seed), split, **chosen, epochs=epochs, seed=seed, device=device,
                 progress=progress, distiller=partial(METHODS[method], teacher, **settings))


def adam(model: MF, lr: float, method=None) -> torch.optim.Adam:
    """Adam over the model's table and whatever the method trains with it.

    All of it is moved into one vector, and all gradients into another, so that a step is one call however many there are.
    """
    parameters = [model.table, *(method.parameters(model) if method else ())]
    vector = torch.cat([p.detach().flatten() for p in parameters])
    vector.grad = torch.zeros_like(vector)
    sizes = [p.numel() for p in parameters]
    for p, values, grad in zip(parameters, vector.split(sizes), vector.grad.split(sizes)):
        p.data, p.grad = values.view(p.shape), grad.view(p.shape)
    return torch.optim.Adam([vector], lr=lr, fused=vector.device.type != "mps")


def train_epoch(model, split, negatives, optimizer, generator, epoch, l2, batch_size, method=None, weight=1.0,
                popularity=None):
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
        loss = step_loss(model, Batch(u, i, j), l2, method, weight, popularity)
        loss.backward()
        model.end_step()
        optimizer.step()
        total, steps = total + loss.detach(), steps + 1
    return total / steps


def popularity_factors(counts, gamma):
    """PD's m_i = pop_i^γ, pop_i an item's share of all interactions, each item counted once more: [n_items]."""
    return ((counts + 1) / (counts + 1).sum()) ** gamma


def step_loss(model, batch, l2, method=None, weight=1.0, popularity=None):
    """L_BPR + l2 · L_2 + weight · L_distill of one batch. L_2 is of the input embeddings, the trained parameters."""
    model.begin_step()
    index = torch.stack([batch.users, batch.positives + model.n_users, batch.negatives + model.n_users])  # [3, B]
    same = model.output is model.table  # what is scored is what is trained
    e = rows(model.output, index)  # [3, B, d]
    if popularity is None:
        loss = bpr(e, l2 if same else 0.0)
    else:
        u, i, j = e.unbind()  # [B, d] each
        scores = (u * i).sum(1), (u * j).sum(1)  # [B] each
        loss = popularity_deconfounding(*scores, popularity[batch.positives], popularity[batch.negatives])
        if same:
            loss = loss + l2 * half_square(e)
    if not same:
        loss = loss + l2 * half_square(rows(model.table, index))
    if method:
        loss = loss + weight * method.loss(model, batch)
    return loss

"""Exercise 3: a distillation of soft labels (CD), and the bias that it adds."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from .draws import normal
from .task import formula


def teacher_probability(scores: Tensor, t1: float, t2: float) -> Tensor:
    """σ((z + t2) / t1), of any shape."""
    return torch.sigmoid((scores + t2) / t1)


def cd_loss(scores: Tensor, probability: Tensor) -> Tensor:
    """−mean_i q log σ(s) + (1 − q) log(1 − σ(s)) of each user: [n, L] each → [n]."""
    return _cross_entropy(scores, probability).mean(1)


def _cross_entropy(scores, probability):
    return binary_cross_entropy_with_logits(scores, probability, reduction="none")


def effects(scores: Tensor, affinity: Tensor, effect: Tensor) -> Tensor:
    """Least squares within each user, y ≈ a M + b Z, all standardised over the user's items: scores, affinity [n, m],
    effect [m] → (a, b) [n, 2]."""
    return _least_squares(_standard(scores), _standard(affinity), _standard(effect.expand_as(scores)))


def _standard(x):
    return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True, correction=0)


def _least_squares(y, m, z):
    features = torch.stack([m, z], 2).double()  # [n, m, 2]
    return torch.linalg.lstsq(features, y.double()[:, :, None], driver="gels").solution.squeeze(2).float()


def _correlations(scores, affinity, effect):
    y, m, z = _standard(scores), _standard(affinity), _standard(effect.expand_as(scores))
    return torch.stack([(y * m).mean(1), (y * z).mean(1)], 1)


def _over_all(scores, affinity, effect):
    def flat(x):
        return (x - x.mean()) / x.std(correction=0)
    return _least_squares(flat(scores), flat(affinity), flat(effect.expand_as(scores)))


def _uncentred(scores, affinity, effect):
    causes = scores, affinity, effect.expand_as(scores)
    return _least_squares(*(x / x.std(1, keepdim=True, correction=0) for x in causes))


def _by_range(scores, affinity, effect):
    causes = scores, affinity, effect.expand_as(scores)
    return _least_squares(*((x - x.mean(1, keepdim=True)) / (x.amax(1, keepdim=True) - x.amin(1, keepdim=True))
                            for x in causes))


PROBABILITY_MISTAKES = {
    "it multiplies by t1; a temperature divides": lambda z, t1, t2: torch.sigmoid((z + t2) * t1),
    "t2 is added after the division; (z + t2) / t1 is asked for": lambda z, t1, t2: torch.sigmoid(z / t1 + t2),
    "t1 and t2 have changed places": lambda z, t1, t2: torch.sigmoid((z + t1) / t2),
    "t2 is taken away; it is added": lambda z, t1, t2: torch.sigmoid((z - t2) / t1),
    "the sigmoid is missing: a probability lies between 0 and 1": lambda z, t1, t2: (z + t2) / t1,
    "it is a softmax over the list; every item has a probability of its own": lambda z, t1, t2: torch.softmax(
        (z + t2) / t1, 1),
    "the temperature is missing": lambda z, t1, t2: torch.sigmoid(z + t2),
}

CD_MISTAKES = {
    "it is the negative of the loss": lambda s, q: -cd_loss(s, q),
    "it is the sum over the list; the mean is asked for": lambda s, q: _cross_entropy(s, q).sum(1),
    "it is one number for the batch; one for each user is asked for": lambda s, q: cd_loss(s, q).mean(),
    "the second half is missing: an item of low probability must be pushed down as well":
        lambda s, q: -(q * torch.nn.functional.logsigmoid(s)).mean(1),
    "the teacher's probability goes through the sigmoid a second time": lambda s, q: cd_loss(s, torch.sigmoid(q)),
    "the student's score goes through the sigmoid twice": lambda s, q: cd_loss(torch.sigmoid(s), q),
    "teacher and student have changed places in the cross-entropy":
        lambda s, q: _cross_entropy(q.clamp(1e-6, 1 - 1e-6).logit(), torch.sigmoid(s)).mean(1),
    "it is a squared error; the cross-entropy is asked for": lambda s, q: (torch.sigmoid(s) - q).square().mean(1),
    "it is the KL divergence, which is the cross-entropy less the entropy of q":
        lambda s, q: cd_loss(s, q) - cd_loss(q.clamp(1e-6, 1 - 1e-6).logit(), q),
    "the labels are made hard: q itself is asked for, not whether it is above ½":
        lambda s, q: cd_loss(s, (q > 0.5).float()),
    "it takes the logarithm of 0 where a score is large: binary_cross_entropy_with_logits does not":
        lambda s, q: -(q * torch.sigmoid(s).log() + (1 - q) * (1 - torch.sigmoid(s)).log()).mean(1),
    "its logarithm is cut off where a score is large: binary_cross_entropy_with_logits takes the scores themselves":
        lambda s, q: binary_cross_entropy(torch.sigmoid(s), q, reduction="none").mean(1),
    "no gradient reaches the student's scores: did you detach them or leave torch?":
        lambda s, q: cd_loss(s, q).detach(),
}

EFFECTS_MISTAKES = {
    "these are correlations one by one; both causes must be in one regression, since they may overlap": _correlations,
    "it standardises over all users at once; do it within each user": _over_all,
    "the means are not taken away: standardise to mean 0 as well as to deviation 1": _uncentred,
    "nothing is standardised: users whose scores vary more would count more":
        lambda s, m, z: _least_squares(s, m, z.expand_as(s)),
    "it is divided by the range; the standard deviation is asked for": _by_range,
    "the two coefficients are in the wrong order: affinity first": lambda *a: effects(*a).flip(1),
    "it averages over the users; one row for each is asked for": lambda *a: effects(*a).mean(0),
    "the coefficients are along the other axis: one row for each user": lambda *a: effects(*a).T,
}


def _labels(seed, n, length, scale=1.0):
    return {"scores": normal(seed, n, length, scale=scale), "probability": torch.sigmoid(normal(seed + 50, n, length))}


def _world(seed, n, m):
    affinity, effect = 3 * normal(seed, n, m) + 1, normal(seed + 50, m)
    affinity = affinity + effect  # so that the two overlap
    noise = normal(seed + 99, n, m)
    spread = 1 + torch.arange(n)[:, None]
    return {"scores": spread * (affinity + 2 * effect + noise) + 5, "affinity": affinity, "effect": effect}


TASKS = {
    "teacher_probability": formula(
        teacher_probability, PROBABILITY_MISTAKES,
        visible=({"scores": normal(1, 4, 6), "t1": 2.0, "t2": 0.5}, {"scores": normal(2, 3, 5), "t1": 0.5, "t2": -1.0}),
        hidden=({"scores": normal(3, 1, 9, scale=5.0), "t1": 4.0, "t2": 1.0},)),
    "cd_loss": formula(cd_loss, CD_MISTAKES, gradient_of=("scores",), visible=(_labels(1, 5, 7), _labels(2, 3, 12)),
                       hidden=(_labels(3, 1, 4), _labels(4, 30, 10, scale=60.0))),
    "effects": formula(effects, EFFECTS_MISTAKES, visible=(_world(1, 5, 20), _world(2, 3, 40)),
                       hidden=(_world(3, 20, 60),)),
}

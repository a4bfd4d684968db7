"""Exercise 8: a distillation of one's own. There is no formula; there is what every distillation loss must be."""

import torch

from .draws import counts, normal
from .task import Task, form, shaped


def _lawful(found, given) -> str | None:
    """What keeps a function from being a distillation loss. The rows of a case are as _case makes them."""
    n, gradient = len(given["scores"]), found["gradient"]
    value = shaped(found["value"], torch.zeros(n))
    if form(value) != form(torch.zeros(n)):
        return f"it should return a loss for each user, {form(torch.zeros(n))}, and returns {form(value)}"
    if not bool(value.isfinite().all()):
        return "the loss is not finite for every list: does something overflow, or is a logarithm taken of 0?"
    if gradient["scores"] is None or not bool(gradient["scores"].any()):
        return "no gradient reaches the student's scores, so nothing is learned: did you detach them or leave torch?"
    if not bool(gradient["scores"].isfinite().all()):
        return "the gradient is not finite for every list: clamp before a root, a logarithm or a division"
    if gradient["teacher"] is not None and bool(gradient["teacher"].any()):
        return "a gradient is let into the teacher, which is given: detach its scores"
    a, b, agrees, opposes, one_order, other_order = value.double().tolist()
    if abs(a - b) < 1e-9:
        return "another teacher makes no difference: what is distilled?"
    if abs(one_order - other_order) > 1e-4 * (1 + abs(one_order)):
        return ("the loss depends on the order in which a list's items are given, or on the other users of the batch: "
                "is there a sum, a mean or a softmax over dim 0?")
    if abs(agrees - opposes) < 1e-9:
        return "agreeing with the teacher and ranking the other way round cost the same"
    if agrees > opposes:
        return ("a student that agrees with the teacher has a larger loss than one that ranks the other way round: is "
                "the sign right?")
    return None


def _case(seed, length, scale=1.0):
    """Six users: two with the same scores and other teachers; one who agrees with the teacher, one who ranks the other
    way round; one twice, with the list in another order."""
    s, t = normal(seed, 6, length), normal(seed + 50, 6, length, scale=scale)
    popularity = counts(seed, length).expand(6, -1).clone()
    order = torch.arange(length).flip(0)
    s[1], s[2], s[3], s[5] = s[0], t[2], -t[2], s[4][order]
    t[3], t[5], popularity[5] = t[2], t[4][order], popularity[4][order]
    return {"scores": s, "teacher": t, "popularity": popularity}


TASKS = {
    "my_loss": Task(visible=(_case(1, 10), _case(2, 30)), hidden=(_case(3, 12, scale=30.0),), judge=_lawful,
                    gradient_of=("scores", "teacher")),
}

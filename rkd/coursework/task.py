"""A task: a function that a student writes, the cases it is tried on, and what is said of a wrong answer.

A wrong answer is explained by reproducing it: each task lists typical mistakes as functions that make them; if the
answer equals a known mistake's, the student is told that mistake.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from .answers import NO_FUNCTION, answer

Judge = Callable[[dict, dict], str | None]  # (answer, given) → what is wrong with it, in words, or None


UNDRAWN = "it draws nothing from the generator that it is given, so that nobody can repeat it"


class Wrong(AssertionError):
    """An answer that is not right; its message says why. A notebook shows the message without a traceback."""

    def _render_traceback_(self):  # IPython asks for it
        return [f"Not right yet: {self}"]


@dataclass(frozen=True)
class Task:
    """visible, hidden : the cases, each a dict of arguments in order; judge : see Judge; gradient_of : see answer;
    mistakes : words → a function that makes this mistake."""

    visible: tuple[dict, ...]
    hidden: tuple[dict, ...]
    judge: Judge
    gradient_of: tuple[str, ...] = ()
    mistakes: dict[str, Callable] = field(default_factory=dict)

    def cases(self, hidden: bool) -> tuple[dict, ...]:
        return self.hidden if hidden else self.visible

    def verdict(self, answers: list[dict], hidden: bool) -> str | None:
        """What is wrong with the first wrong answer, in words; None where all are right. One answer for each case."""
        for given, found in zip(self.cases(hidden), answers, strict=True):
            if words := said_of(found) or self.judge(found, given) or UNDRAWN * bool(found.get("undrawn")):
                return words
        return None


def said_of(found: dict) -> str | None:
    """What is wrong with an answer whatever the task: an error, or an argument changed in place."""
    if "error" in found:
        name, message = found["error"]
        unwritten = "it is not written yet" + f" ({message})" * bool(message)
        words = {"NotImplementedError": unwritten, "Stopped": f"it {message}"}
        if message == NO_FUNCTION:
            return NO_FUNCTION
        return words.get(name, f"it raises {name}: {message}")
    if found["changed"]:
        return (f"it changes its argument {' and '.join(found['changed'])} in place; whoever called it may still need "
                "that: work on a copy")
    return None


def formula(right: Callable, mistakes: dict[str, Callable], words: Callable | None = None, **options) -> Task:
    """A task whose answer is the value, and the gradient, of a function ``right``, to about four digits.

    mistakes : words → a function that makes this mistake, the likeliest first.
    words    : (value, expected, given) → what to say of an answer of the right form that no mistake explains, or None.
    options  : of Task.
    """
    gradient_of = options.get("gradient_of", ())

    def judge(found, given):
        expected = answer(right, given, gradient_of)
        found = found | {"value": shaped(found["value"], expected["value"])}
        if all(close(found[part], expected[part]) for part in ("value", "gradient")):
            return None
        compared = ["value"] if not close(found["value"], expected["value"]) else ["value", "gradient"]
        for said, wrong in mistakes.items():
            theirs = answer(wrong, given, gradient_of)
            if "value" in theirs and all(close(shaped(found[part], theirs[part]), theirs[part]) for part in compared):
                return said
        return (differs(found["value"], expected["value"], words and partial(words, given=given))
                or next(f"the value is right, the gradient of {name} is not" for name in gradient_of
                        if not close(found["gradient"][name], expected["gradient"][name])))

    return Task(judge=judge, mistakes=mistakes, **options)


def shaped(found, like):
    """A plain value in another's form where only the container differs: a list, a tuple or an array in place of a
    tensor, rows in place of a list, axes of length 1 more or less. Any other as it is."""
    if isinstance(like, list):
        rows = list(found) if isinstance(found, Tensor) and found.dim() else found
        fits = isinstance(rows, list) and len(rows) == len(like)
        return [shaped(*pair) for pair in zip(rows, like)] if fits else found
    if number(like) and (number(found) or isinstance(found, list)):
        with suppress(Exception):  # rows of unequal length, or no numbers
            value, like = _stacked(found), torch.as_tensor(like)
            if [n for n in value.shape if n != 1] == [n for n in like.shape if n != 1]:
                return value.reshape(like.shape)
    return found


def _stacked(value) -> Tensor:
    return torch.stack([_stacked(x) for x in value]) if isinstance(value, list) else torch.as_tensor(value)


def close(a, b) -> bool:
    """Whether two plain values are the same up to rounding; whole numbers, floats and booleans compare by value."""
    if isinstance(b, dict) and isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[name], b[name]) for name in a)
    if isinstance(b, list) and isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if not (number(a) and number(b)):
        return a is None and b is None
    a, b = (torch.as_tensor(x).double() for x in (a, b))
    return a.shape == b.shape and torch.allclose(a, b, rtol=2e-4, atol=1e-6, equal_nan=True)


def number(x) -> bool:
    """A tensor or a number."""
    return isinstance(x, (Tensor, bool, int, float))


def differs(found, expected, words=None) -> str | None:
    """How a value differs from the expected one, in words; None where it does not."""
    if close(found, expected):
        return None
    if form(found) != form(expected):
        return f"it should return {form(expected)}, and returns {form(found)}"
    if isinstance(expected, list):
        place = next(i for i, pair in enumerate(zip(found, expected)) if not close(*pair))
        return f"its {('first', 'second', 'third')[place]} value is wrong: {differs(found[place], expected[place])}"
    a, b = (torch.as_tensor(x).double() for x in (found, expected))
    if bool((a.isnan() & ~b.isnan()).any()):
        return "it returns NaN, not a number, where there is one"
    if bool((a.isinf() & ~b.isinf()).any()):
        return "it returns infinity: something overflows, or a logarithm is taken of 0"
    if words and (said := words(found, expected)):
        return said
    place = tuple(((a - b).abs() > 1e-6 + 2e-4 * b.abs()).nonzero()[0].tolist())
    where = f" at {list(place)}" if place else ""
    return f"it differs from the formula: {a[place].item():.5g} in place of {b[place].item():.5g}{where}"


def form(value) -> str:
    """A value's form in words: what it is, and its shape."""
    if isinstance(value, list):
        forms = [form(x) for x in value]
        each = f"each {forms[0]}" if len(forms) > 1 and len(set(forms)) == 1 else "; ".join(forms)
        return f"{len(value)} value{'s' * (len(value) != 1)}" + f" ({each})" * bool(value)
    if isinstance(value, Tensor) and value.dim():
        return f"a tensor of shape {list(value.shape)}"
    if number(value):
        return "one number"
    return "a dict" if isinstance(value, dict) else str(value)  # None, or the name of a type

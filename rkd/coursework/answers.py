"""What a student's function answers to given arguments, as plain values that can be written down.

Nothing is pickled: values travel as JSON.
"""

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

NO_FUNCTION = "there is no such function"


def answer(function, given: dict, gradient_of: tuple = ()) -> dict:
    """Call ``function`` with copies of ``given``'s values, in order.

    given : argument → tensor, number or None; one called "generator" is a seed, and passed as a torch.Generator.
    gradient_of : arguments for which the gradient of the value's sum is wanted.

    Returns {"value": …, "gradient": {argument: tensor or None}, "changed": [arguments changed in place], "undrawn":
    whether there is a generator of which nothing was drawn, "largest": how many numbers the largest tensor has that the
    function made (with torch: NumPy's are not seen)}, or {"error": [name, message]} where the function raises.
    """
    if not callable(function):
        return {"error": ["NameError", NO_FUNCTION]}
    arguments = {name: x.clone() if isinstance(x, Tensor) else x for name, x in given.items()}
    if "generator" in given:
        arguments["generator"] = torch.Generator().manual_seed(given["generator"])
    generator = arguments.get("generator")
    before = generator and generator.get_state()
    for name in gradient_of:
        arguments[name].requires_grad_()
    try:
        with torch.enable_grad(), Largest() as made:
            value = function(*arguments.values())
            parts = [x.sum() for x in (value if isinstance(value, (list, tuple)) else [value])
                     if isinstance(x, Tensor) and x.requires_grad]
            if gradient_of and parts:
                sum(parts).backward()
            gradient = {name: arguments[name].grad for name in gradient_of}
    except Exception as error:
        return {"error": [type(error).__name__, str(error)[:500]]}
    changed = [name for name, x in given.items() if isinstance(x, Tensor) and not same(arguments[name].detach(), x)]
    undrawn = generator is not None and torch.equal(generator.get_state(), before)
    return {"value": plain(value), "gradient": plain(gradient), "changed": changed, "undrawn": undrawn,
            "largest": made.numel}


class Largest(TorchFunctionMode):
    """Notes the size of the largest tensor that any function of torch returns."""

    numel = 0

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        found = function(*arguments, **keywords or {})
        for x in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(x, Tensor):
                self.numel = max(self.numel, x.numel())
        return found


def same(a: Tensor, b: Tensor) -> bool:
    """Equal to the bit, NaN being itself."""
    return a.shape == b.shape and a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()


def plain(value):
    """Tensors detached, on the CPU; arrays as tensors; anything that no exercise asks for as the name of its type."""
    if isinstance(value, (bool, int, float, type(None))):
        return value
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        return torch.from_numpy(np.array(value))
    if isinstance(value, Tensor) and not value.is_complex():
        return value.detach().cpu().clone()
    if isinstance(value, (tuple, list)):
        return [plain(x) for x in value]
    if isinstance(value, dict):
        return {str(name): plain(x) for name, x in value.items()}
    return type(value).__name__


def encode(value):
    """A plain value as JSON can hold it."""
    if isinstance(value, Tensor):
        return {"tensor": value.flatten().tolist(), "shape": list(value.shape), "dtype": str(value.dtype)[6:]}
    if isinstance(value, list):
        return [encode(x) for x in value]
    return {"dict": {name: encode(x) for name, x in value.items()}} if isinstance(value, dict) else value


def decode(value):
    """What ``encode`` was given. Raises ValueError for what it cannot have written."""
    if isinstance(value, list):
        return [decode(x) for x in value]
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {name: decode(x) for name, x in value["dict"].items()}
    dtype = getattr(torch, str(value.get("dtype")), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"no tensor: {str(value)[:80]}")
    return torch.tensor(value["tensor"], dtype=dtype).reshape(value["shape"])


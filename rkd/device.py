"""Where tensors live, and what of torch's own state counts for them: nothing."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, MIB = -1, -3, 1 << 20  # of glibc's mallopt


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """"auto" is the GPU where there is one (cuda, then mps), else the CPU; anything else is taken by its name.

    Raises ValueError where the device named is not here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} is not available here ({str(error).splitlines()[0]}); "
                         "use 'auto', 'cuda', 'mps' or 'cpu'") from error


def real(device: torch.device) -> torch.dtype:
    """float64, for averages and draws; float32 on mps, which has no more."""
    return torch.float32 if device.type == "mps" else torch.float64


def fixed_shapes(device: torch.device) -> bool:
    """Whether a step must not let tensors' shapes depend on what is in them: everywhere but on a CPU, where doing a
    thing once for what is there more than once pays; a GPU would have to wait for the host at every such place."""
    return device.type != "cpu"


@contextmanager
def neutral() -> Iterator[None]:
    """torch as it is when it has just been imported, for the time of a call: float32 and the CPU by default, gradients
    on, no inference mode, no autocast. All that the package does gives the same bits whatever a notebook has set.

    A context, and by ``@neutral()`` a decorator.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if dtype != torch.float32:
            stack.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@cache
def keep_memory() -> None:
    """Have glibc keep up to 256 MiB of what the process frees, where there is a glibc; elsewhere nothing happens.

    By default it hands the tensors of a training step back to the system and fetches them anew, page by page, in the
    next: a third of an epoch of MF at d = 100.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt:
            mallopt(M_MMAP_THRESHOLD, 32 * MIB)
            mallopt(M_TRIM_THRESHOLD, 256 * MIB)

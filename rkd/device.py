"""Where tensors live."""

import ctypes
import sys
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

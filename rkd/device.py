"""Where tensors live."""

import torch


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

"""Nearest neighbours among embeddings of one kind, in blocks, and kept on disk."""

from hashlib import sha256

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .data import Interactions
from .fetch import cache_folder
from .files import write_whole
from .ranking import top_k


def nearest(embeddings: Tensor, k: int) -> Tensor:
    """The k nearest others of each row by Euclidean distance, nearest first: [n, d] → [n, k] int64.

    k is cut to n − 1. Searched in blocks of rows, so that no n × n matrix is held; the answer is kept in the cache under
    a hash of the embeddings. Raises ValueError where there are fewer than two rows.
    """
    n, device = len(embeddings), embeddings.device
    if n < 2:
        raise ValueError(f"{n} embeddings have no neighbours among themselves")
    embeddings, k = embeddings.detach().float(), min(k, n - 1)
    content = embeddings.cpu().contiguous().numpy().tobytes() + str((tuple(embeddings.shape), k)).encode()
    path = cache_folder() / "neighbours" / f"{sha256(content).hexdigest()[:24]}.safetensors"
    try:
        return load_file(path)["nearest"].to(device)
    except (OSError, SafetensorError, KeyError):
        pass
    # −‖a − b‖² = 2 ⟨a, b⟩ − ‖b‖² − ‖a‖², and the last term is the same for all b
    centred = embeddings - embeddings.mean(0)
    queries = torch.cat([2 * centred, -torch.ones(n, 1, device=device)], 1)
    keys = torch.cat([centred, centred.square().sum(1, keepdim=True)], 1)
    rows = torch.arange(n, device=device)
    found = top_k(queries, keys, rows, k, exclude=Interactions(n, n, rows, rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda scratch: save_file({"nearest": found.cpu()}, scratch))
    return found

"""Arrays, ids and a few words about them in one safetensors file: no pickle, whole or not there at all, verified when
read."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .files import write_whole
from .limits import plain

FORMAT = "rkd model 1"
TEXT = ".json"  # ends the name of an array that is the UTF-8 of JSON


def write(path: Path, arrays: dict[str, np.ndarray], about: dict) -> None:
    """Write arrays by name and ``about``, plain values, into a file."""
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    words = json.dumps(about)
    content = save(arrays, {"format": FORMAT, "about": words, "checksum": _checksum(arrays, words)})
    write_whole(path, lambda scratch: scratch.write_bytes(content))


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """What ``write`` wrote. Raises ValueError where the file is another, or was changed since, OSError where it cannot
    be read."""
    path.open("rb").close()  # of what is not there, or no file, the system says it best
    try:
        with safe_open(path, "numpy") as file:
            words, arrays = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is cut off, damaged, or no model that rkd saved ({error})") from None
    if words.get("format") != FORMAT:
        raise ValueError(f"{path} is no model that this release of rkd saved: its format is "
                         f"{words.get('format', 'unknown')!r}, not {FORMAT!r}")
    if words.get("checksum") != _checksum(arrays, words.get("about", "")):
        raise ValueError(f"{path} is damaged: its checksum is another. Save the model again")
    return arrays, json.loads(words["about"])


def _checksum(arrays: dict[str, np.ndarray], words: str) -> str:
    digest = sha256(words.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(arrays[name].data if arrays[name].size else b"")
    return digest.hexdigest()[:32]


def of_ids(name: str, ids: np.ndarray | None) -> dict[str, np.ndarray]:
    """Ids as an array under its name: numbers as they are, anything else as the JSON of the list; nothing of None.

    Raises ValueError for an id that is neither text nor number.
    """
    if ids is None:
        return {}
    if ids.dtype.kind in "iuf":
        return {name: ids}
    values = [plain(value) for value in ids.tolist()]
    for value in values:
        if not isinstance(value, (str, int, float)):
            raise ValueError(f"{name} holds {value!r}, which is neither text nor number, and cannot be saved")
    return {name + TEXT: np.frombuffer(json.dumps(values).encode(), dtype=np.uint8)}


def ids_of(name: str, arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    """The ids that ``of_ids`` made arrays of."""
    if name + TEXT not in arrays:
        return arrays.get(name)
    values = json.loads(arrays[name + TEXT].tobytes())
    ids = np.empty(len(values), dtype=object)
    ids[:] = values
    return ids


def flat(tree, name: str) -> dict[str, object]:
    """The leaves of dicts, lists and tuples within each other, by their way there: {"name.a.0": …}."""
    if not isinstance(tree, (dict, list, tuple)):
        return {name: tree}
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {way: leaf for key, part in parts for way, leaf in flat(part, f"{name}.{key}").items()}


def nested(leaves: dict[str, object], name: str):
    """The tree that ``flat`` took apart, of what is under this name; tuples come back as lists, and what is empty, not
    at all."""
    tree: dict = {}
    for way, leaf in leaves.items():
        first, *keys = way.split(".")
        if first == name:
            inner = tree
            for key in keys[:-1]:
                inner = inner.setdefault(key, {})
            inner[keys[-1]] = leaf
    return _lists(tree)


def _lists(tree):
    if not isinstance(tree, dict):
        return tree
    parts = {key: _lists(part) for key, part in tree.items()}
    if parts and all(key.isdigit() for key in parts):
        return [parts[key] for key in sorted(parts, key=int)]
    return parts

"""A served model for other programs: NumPy's npz, safetensors, a FAISS index. By the ending of the path."""

import json
from pathlib import Path

import numpy as np

from .archive import TEXT
from .files import write_whole

WIDEST = 1 << 31  # bytes of an array of ids


def _npz(model, path: Path) -> None:
    arrays = {name: array for name, array in model.arrays().items() if not name.endswith(TEXT)}
    arrays |= {"user_ids": _text("user", model.user_ids), "item_ids": _text("item", model.item_ids)}

    def written(scratch):
        with scratch.open("wb") as file:
            np.savez(file, **arrays)
    write_whole(path, written)


def _text(role: str, ids: np.ndarray) -> np.ndarray:
    """Ids as NumPy holds them without pickle: numbers, or text, all of the width of the longest."""
    if ids.dtype != object:
        return ids
    values = ids.tolist()
    longest = max((len(one) for one in values if isinstance(one, str)), default=0)
    if 4 * len(values) * longest > WIDEST:
        raise ValueError(f"the longest {role} id has {longest} letters, and NumPy gives every id as many: export to "
                         ".safetensors")
    array = np.array(values)
    if array.dtype == object or array.tolist() != values:
        raise ValueError(f"no NumPy array holds the {role} ids as they are (text and numbers together, or text that "
                         "ends with a zero byte): export to .safetensors")
    return array


def _faiss(model, path: Path) -> None:
    try:
        import faiss
    except ModuleNotFoundError:
        raise ValueError("export to .faiss needs faiss: pip install faiss-cpu") from None
    items = model.factors()[1].cpu().numpy()
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(np.ascontiguousarray(items))
    write_whole(path, lambda scratch: faiss.write_index(index, str(scratch)))
    ids = json.dumps(model.item_ids.tolist())
    write_whole(path.with_name(path.name + ".ids.json"), lambda scratch: scratch.write_text(ids, encoding="utf-8"))


EXPORTS = {".npz": _npz, ".safetensors": lambda model, path: model.save(path), ".faiss": _faiss}

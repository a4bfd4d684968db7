"""Settings chosen on validation data (by tune.py), from tuned.json: data set → backbone → method → settings."""

import json
from pathlib import Path

PATH = Path(__file__).with_name("tuned.json")


def tuned(dataset: str, backbone: str, method: str) -> dict:
    """lr, l2, weight and the method's own settings; method may be "teacher" or "none" (the plain student).

    Where none were chosen, those of MF on the same data stand in, then those of MF on MovieLens-100K.
    """
    chosen = json.loads(PATH.read_text(encoding="utf-8"))
    for source, base in ((dataset, backbone), (dataset, "mf"), ("ml-100k", "mf")):
        if method in (found := chosen.get(source, {}).get(base, {})):
            return {"weight": 0.0} | found[method]
    return {"lr": 1e-3, "l2": 1e-2, "weight": 0.1}

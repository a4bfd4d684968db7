"""Settings chosen on validation data (by tune.py), from tuned.json: data set → backbone → method → settings."""

import json
from pathlib import Path

PATH = Path(__file__).with_name("tuned.json")


def tuned(dataset: str, backbone: str, method: str) -> dict:
    """lr, l2, weight and the method's own settings; method may be "teacher" or "none" (the plain student).

    What was not chosen for the data set and backbone comes from the nearest that was: a distillation's weight from MF
    on the same data or on MovieLens-100K, its lr and l2 from the plain student of the same backbone.
    """
    chosen = json.loads(PATH.read_text(encoding="utf-8"))
    plain = "teacher" if method == "teacher" else "none"
    settings = {"lr": 1e-3, "l2": 1e-2, "weight": 0.0 if method == plain else 0.1}
    for source in (("ml-100k", "mf", method), (dataset, "mf", method), ("ml-100k", backbone, plain),
                   (dataset, backbone, plain), (dataset, backbone, method)):  # the nearest last
        settings |= chosen.get(source[0], {}).get(source[1], {}).get(source[2], {})
    return settings

"""Settings chosen on validation data (by tune.py), from tuned.json: choice → data set → split → backbone → method."""

import json
from pathlib import Path

from .distill import ALONE, TEACHERS

PATH = Path(__file__).with_name("tuned.json")
COMMON = ("lr", "l2", "weight", "batch_size")  # the settings that are not a method's own


def tuned(dataset: str, backbone: str, method: str, choice: str = "accuracy", split: str = "unkd") -> dict:
    """lr, l2, batch_size, weight and the method's own settings; method may be one of rkd.distill.ALONE as well.

    choice : "accuracy", the best NDCG@10, or "tail", the best unpopular Recall@10 among those within 2 % of it.

    What was not chosen for the data set, split and backbone comes from the nearest that was: a distillation's weight and
    own settings from MF on the same data or on MovieLens-100K, its lr, l2 and batch_size from the plain student of the
    same backbone; of the splits from the same one, else from "unkd". Only batch_size never comes from another data set: it
    goes with the number of pairs, and is 2048, the papers', where nothing was chosen.
    """
    chosen = json.loads(PATH.read_text(encoding="utf-8")).get(choice, {})
    plain = "teacher" if method in TEACHERS else "none"
    settings = {"lr": 1e-3, "l2": 1e-2, "batch_size": 2048, "weight": 0.0 if method in ALONE else 0.1}
    for source in (("ml-100k", "mf", method), (dataset, "mf", method), ("ml-100k", backbone, plain),
                   (dataset, backbone, plain), (dataset, backbone, method)):  # the nearest last
        for protocol in ("unkd", split):
            found = chosen.get(source[0], {}).get(protocol, {}).get(source[1], {}).get(source[2], {})
            settings |= {name: value for name, value in found.items() if name != "batch_size" or source[0] == dataset}
    return settings

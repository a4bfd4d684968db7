"""A run's result on disk, under two keys: the fit's (weights, history) and the metrics'. A new metric trains nothing.

RUN.safetensors holds the weights, RUN.json says how they came about and ends with their checksum, RUN.metrics.json
holds what was measured of them.
"""

import json
import platform
import subprocess
from dataclasses import dataclass, fields
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import load, save

from .data import Split
from .datasets.synthetic import probe, world
from .device import neutral, resolve_device
from .evaluate import METRICS, evaluate, per_user
from .files import cache_folder, write_whole
from .fingerprint import PACKAGE, code_fingerprint
from .fit import Fit
from .methods import method_of
from .models import BACKBONES, MF
from .pinned import INSTRUCTIONS
from .run import Run, split_of

KS = (10, 20)
# What these decide is in the key itself: the method's class, its settings, the pairs of the data; or it is no weight.
# And a run's models are its own: how those from elsewhere are read and looked at changes none.
DECIDED = ("rkd.methods", "rkd.tuned", "rkd.datasets", "rkd.datasets.synthetic", "rkd.protocols", "rkd.served",
           "rkd.archive", "rkd.alignment", "rkd.arrays", "rkd.door", "rkd.foreign")


@dataclass
class Result:
    """What came of a run: metrics on test and validation (see evaluate), the history of training (see Fit), and under
    ``provenance`` where and with what it was computed."""

    run: Run
    key: str
    metrics: dict[str, float]
    valid_metrics: dict[str, float]
    history: list[dict]
    best_epoch: int
    epochs: int
    seconds: float
    seconds_per_epoch: float
    provenance: dict
    weights: str  # checksum

    @property
    def model(self) -> MF:
        """The trained model, read from disk, on the CPU. Raises ValueError where its file is damaged."""
        return model_of(self.run, self.key, self.weights)

    @cached_property
    def by_user(self) -> dict[str, torch.Tensor]:
        """The test metrics user by user (see evaluate.per_user), computed from the model when first asked for."""
        return per_user(self.model, split_of(self.run), "test", KS)

    @cached_property
    def effects(self) -> dict[str, float]:
        """How much of the scores is affinity and how much popularity, of a run in a synthetic world (see probe)."""
        users, items = self.model.factors()
        return probe(users @ items.T, world(seed=self.run.split_seed))


MEASURED = {"metrics", "valid_metrics"}  # the fields that are not the fit's


def key_of(run: Run, device: str = "auto") -> str:
    """The fit's key, a hash of everything that can change the weights: the run's settings and its teacher's, the data,
    the code that trains, the release of torch, the instruction set and the kind of device."""
    kind = resolve_device(device).type
    return key_under(run, split_of(run).fingerprint, torch.__version__, kind, INSTRUCTIONS if kind == "cpu" else "",
                     key_of(run.teacher, kind) if run.distils else None)


def key_under(run: Run, data: str, release: str, device: str, instructions: str, teacher: str | None) -> str:
    """``key_of`` a run on data of this fingerprint, with this release of torch, kind of device and instruction set, and
    its teacher's key, by the code as it is; it needs no data."""
    what = run.as_dict() | {
        "data": data, "torch": release, "device": device, "instructions": instructions,
        "code": code_fingerprint("rkd.run", without=DECIDED, classes=(method_of(run.method),)), "teacher": teacher}
    del what["dataset"]  # the fingerprint says it better: a path or a name, the same data is the same run
    return _hash(what)


def metrics_key() -> str:
    """The metrics' key: a hash of the code that evaluates, and of METRICS."""
    metrics = [(name, metric.__name__, code_fingerprint(classes=(metric,))) for name, metric in METRICS.items()]
    return _hash({"code": code_fingerprint("rkd.evaluate", without=DECIDED), "metrics": metrics, "ks": KS})


def _hash(what: dict) -> str:
    return sha256(json.dumps(what, sort_keys=True, default=_plain).encode()).hexdigest()[:24]


def _plain(value):
    """A number of NumPy's as Python's, all else, such as a path, as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _checksum(content: bytes) -> str:
    return sha256(content).hexdigest()


def _content(path: Path) -> bytes:
    """What is in a file; nothing where there is none that can be read."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


def paths(run: Run, key: str) -> tuple[Path, Path, Path]:
    """The files of a run: record, weights, metrics."""
    split = split_of(run)
    stem = f"{run.backbone}-{run.name}-{run.dim}-{run.seed}-{key}"
    runs = cache_folder() / "runs"
    known = sorted(runs.glob(f"*-{split.fingerprint}"))  # maybe under another name of the data
    folder = known[0] if known else runs / f"{split.name[:50]}-{split.fingerprint}"
    return tuple(folder / f"{stem}{ending}" for ending in (".json", ".safetensors", ".metrics.json"))


def store(run: Run, key: str, fit: Fit, device: torch.device) -> None:
    """Write a fit's weights and then its record, which says that the run is whole."""
    record, weights, _ = paths(run, key)
    content = save({name: value.detach().cpu().contiguous() for name, value in fit.model.state_dict().items()})
    write_whole(weights, lambda path: path.write_bytes(content))
    _write(record, {"run": run.as_dict(), "key": key, "history": fit.history, "best_epoch": fit.best_epoch,
                    "epochs": fit.epochs, "seconds": round(fit.seconds, 3),
                    "seconds_per_epoch": round(fit.seconds_per_epoch, 5),
                    "provenance": provenance(split_of(run), device), "weights": _checksum(content)})


def weights_size(run: Run) -> int:
    """How many bytes a run's weights take."""
    split = split_of(run)
    return 4 * run.dim * (split.n_users + split.n_items)


@neutral()
def model_of(run: Run, key: str, checksum: str) -> MF:
    """A stored model, on the CPU. Raises ValueError where its file is not the one with this checksum."""
    path = paths(run, key)[1]
    content = _content(path)
    if _checksum(content) != checksum:
        raise ValueError(f"{path} is damaged: compute the run again")
    model = BACKBONES[run.backbone](split_of(run), run.dim)
    model.load_state_dict(load(content))
    return model


def measure(run: Run, key: str, metrics: str, device: torch.device) -> None:
    """Evaluate a stored fit's model and write its metrics, under the key ``metrics`` of METRICS as they are."""
    found = trained(run, key)
    if found is None:
        raise RuntimeError(f"{paths(run, key)[0]} was changed or deleted as soon as it was written")
    checksum = found["weights"]
    split, model = split_of(run).to(device), model_of(run, key, checksum)
    _write(paths(run, key)[2], {"key": metrics, "weights": checksum, "metrics": evaluate(model, split, "test", KS),
                                "valid_metrics": evaluate(model, split, "valid", KS)})


def trained(run: Run, key: str) -> dict | None:
    """The record of a stored fit; None where it is not there, does not read, or its weights are not those recorded."""
    record, weights, _ = paths(run, key)
    found = read(record)
    if not found or found.keys() != {field.name for field in fields(Result)} - MEASURED:  # or of another release
        return None
    return found if (found["key"], found["weights"]) == (key, _checksum(_content(weights))) else None


def stored(run: Run, key: str, metrics: str) -> Result | None:
    """The result on disk; None where the fit is not (see ``trained``), or not its metrics under the key ``metrics``."""
    found, measured = trained(run, key), read(paths(run, key)[2])
    if not found or not measured or measured.keys() != {"key", "weights"} | MEASURED:
        return None
    if (measured["key"], measured["weights"]) != (metrics, found["weights"]):
        return None
    return Result(**found | {"run": run, "metrics": measured["metrics"], "valid_metrics": measured["valid_metrics"]})


def _write(path: Path, values: dict) -> None:
    """Write values as JSON, with a checksum of their own."""
    text = json.dumps(values | {"checksum": _hash(values)}, indent=1, default=_plain)
    write_whole(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def read(path: Path) -> dict | None:
    """A record: what ``_write`` wrote; None where it is not there or was changed since."""
    try:
        values = json.loads(_content(path))
        return values if values.pop("checksum") == _hash(values) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def costs() -> dict[tuple[str, str], list[float]]:
    """(backbone, method) → seconds for an epoch and training pair, of the runs in the cache."""
    found: dict[tuple[str, str], list[float]] = {}
    for path in cache_folder().glob("runs/*/*.json"):
        record = None if path.name.endswith(".metrics.json") else read(path)
        if record:
            cost = record["seconds_per_epoch"] / record["provenance"]["pairs"]
            found.setdefault((record["run"]["backbone"], record["run"]["method"]), []).append(cost)
    return found


def expected_seconds(run: Run, known: dict[tuple[str, str], list[float]]) -> float:
    """What a run should take, from the ``costs`` of like runs, or of any; 0 where there are none."""
    like = known.get((run.backbone, run.name)) or [cost for group in known.values() for cost in group] or [0.0]
    return median(like) * len(split_of(run).train) * run.epochs


def provenance(split: Split, device: torch.device) -> dict:
    """Where a result comes from: code, data, versions, device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"commit": _git("rev-parse", "--short=12", "HEAD"), "dirty": bool(_git("status", "--porcelain", "--", ".")),
            "data": split.train.name, "pairs": len(split.train), "split": f"{split.protocol}, seed {split.seed}",
            "fingerprint": split.fingerprint,
            "python": platform.python_version(), "torch": torch.__version__, "device": f"{device.type} ({name})",
            "instructions": INSTRUCTIONS if device.type == "cpu" else ""}


@cache
def _git(*arguments: str) -> str:
    """What git says of rkd's own checkout; nothing where the package lies anywhere else."""
    def git(*words):
        done = subprocess.run(["git", *words], cwd=PACKAGE, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        top = git("rev-parse", "--show-toplevel")
        return git(*arguments) if top and Path(top).resolve() == PACKAGE.parent.resolve() else ""
    except OSError:  # no git
        return ""

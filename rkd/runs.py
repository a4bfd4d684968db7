"""A Run says all of an experiment; its Result is computed once and kept on disk under a hash of all that decides it."""

import json
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path

import joblib
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from .catalog import load
from .data import Split
from .device import resolve_device
from .distill import METHODS, TEACHERS, Distiller, check_settings, settings_of
from .evaluate import evaluate, per_user
from .fetch import cache_folder
from .files import write_whole
from .fingerprint import code_fingerprint
from .models import BACKBONES, MF
from .synthetic import world
from .train import Fit, distill, train
from .tuned import COMMON, tuned

KS = (10, 20)


@dataclass(frozen=True)
class Run:
    """One experiment. What is not given takes the value tuned for the data set, backbone and method, where there is one.

    dataset, split, split_seed : the data (a catalog name or a path) and its division, "unkd" or "ratio"; the synthetic
               world of seed split_seed is dataset "synthetic-world", split "affinity".
    backbone : "mf" or "lightgcn", of teacher and student.
    method   : "teacher", "pd" (a debiased teacher), "none" (the plain student) or a name in rkd.distill.METHODS.
    dim      : embedding size; 100 for teachers and 10 for students.
    seed     : of initialisation, order and draws. A student of seed s learns from the teacher of seed s.
    lr, l2, weight, batch_size : of train.
    settings : the method's own, a dict (kept as sorted pairs).
    teacher_dim : the teacher's embedding size, for distillations.

    Raises ValueError for a name, setting or value that does not exist.
    """

    dataset: str
    method: str = "none"
    seed: int = 0
    backbone: str = "mf"
    dim: int | None = None
    split: str = "unkd"
    split_seed: int = 0
    lr: float | None = None
    l2: float | None = None
    weight: float | None = None
    settings: dict = field(default_factory=dict)
    epochs: int = 500
    teacher_dim: int = 100
    batch_size: int | None = None

    def __post_init__(self):
        if self.backbone not in BACKBONES:
            raise ValueError(f"unknown backbone {self.backbone!r}: choose from {', '.join(BACKBONES)}")
        settings, defaults = dict(self.settings), tuned(self.dataset, self.backbone, self.method, split=self.split)
        check_settings(self.method, settings)
        if not self.distils and self.weight:
            raise ValueError(f"method {self.method!r} distils nothing, so it takes no weight")
        fill = {name: defaults.pop(name) for name in COMMON}
        fill["dim"] = self.teacher_dim if self.teaches else 10
        settings = settings_of(self.method) | defaults | settings
        if self.teaches and self.dim is not None:
            fill["teacher_dim"] = self.dim
        for name, value in fill.items():
            if getattr(self, name) is None or name == "teacher_dim":
                object.__setattr__(self, name, value)
        object.__setattr__(self, "settings", tuple(sorted(settings.items())))

    @property
    def teaches(self) -> bool:
        return self.method in TEACHERS

    @property
    def distils(self) -> bool:
        return self.method in METHODS

    @property
    def teacher(self) -> "Run | None":
        """The run of this run's teacher; None where nothing is distilled."""
        if not self.distils:
            return None
        return Run(self.dataset, METHODS[self.method].taught_by, self.seed, self.backbone, self.teacher_dim,
                   self.split, self.split_seed, epochs=self.epochs, teacher_dim=self.teacher_dim)

    def as_dict(self) -> dict:
        """The run as plain values, settings as a dict: what is written to disk and shown."""
        return asdict(self) | {"settings": dict(self.settings)}

    def __str__(self) -> str:
        return f"{self.dataset} {self.backbone} {self.method} d={self.dim} seed {self.seed}"


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

    @property
    def model(self) -> MF:
        """The trained model, read from disk, on the CPU."""
        split = split_of(self.run)
        model = BACKBONES[self.run.backbone](split, self.run.dim)
        model.load_state_dict(load_file(_paths(self.run, self.key)[1]))
        return model

    @cached_property
    def by_user(self) -> dict[str, torch.Tensor]:
        """The test metrics user by user (see evaluate.per_user), computed from the model when first asked for."""
        return per_user(self.model, split_of(self.run), "test", KS)


@cache
def split_of(run_or_name: "Run | str", protocol: str = "unkd", seed: int = 0) -> Split:
    """The split of a run, or of a data set by name; loaded once in a process."""
    if isinstance(run_or_name, Run):
        return split_of(run_or_name.dataset, run_or_name.split, run_or_name.split_seed)
    if (run_or_name, protocol) == ("synthetic-world", "affinity"):
        return world(seed=seed).split
    return load(run_or_name).split(protocol, seed)


def key_of(run: Run, device: str = "auto") -> str:
    """Hash of everything that can change the run's result: its settings and its teacher's, the data, the code that
    computes it, the release of torch and the kind of device."""
    roots = [("rkd.train", "train"), ("rkd.evaluate", "evaluate"), ("rkd.models", BACKBONES[run.backbone].__name__)]
    if run.distils:
        roots.append((METHODS[run.method].__module__, METHODS[run.method].__name__))
    what = {"run": run.as_dict(), "data": split_of(run).fingerprint, "code": code_fingerprint(*roots),
            "torch": torch.__version__, "device": resolve_device(device).type, "ks": KS,
            "teacher": key_of(run.teacher, device) if run.distils else None}
    del what["run"]["dataset"]  # the fingerprint says it better: a path or a name, the same data is the same run
    return sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]


def compute(runs: Iterable[Run], jobs: int | None = None, device: str = "auto",
            log: Callable[[str], None] = print) -> list[Result]:
    """The results of ``runs``, in their order: from disk where they are there, else computed now, teachers first.

    jobs : processes at once; by default one per core, or one where the device is not the CPU. On a CPU each process
           computes on one thread, so that a result does not depend on how many there are.
    log  : receives one plain line per run that had to be computed.

    A run is on disk whole or not at all: whenever this is killed, only the runs in progress are lost. Several processes may
    compute at once: each run is trained by one of them, and on CPUs no more train than there are cores.
    """
    runs = list(runs)
    keys = [key_of(run, device) for run in runs]
    wanted = dict(zip(keys, runs))
    teacher_of = {key: key_of(run.teacher, device) for key, run in wanted.items() if run.distils}
    teachers = {teacher: wanted[key].teacher for key, teacher in teacher_of.items()}
    results = {key: stored(run, key) for key, run in (teachers | wanted).items()}
    missing = {key: run for key, run in (teachers | wanted).items() if results[key] is None}
    if jobs is None:
        jobs = joblib.cpu_count() if resolve_device(device).type == "cpu" else 1
    ready = {key: run for key, run in missing.items() if teacher_of.get(key) not in missing}
    done = 0
    for stage in (ready, {key: run for key, run in missing.items() if key not in ready}):  # students of the first last
        stage = dict(sorted(stage.items(), key=lambda item: _size(item[1]), reverse=True))  # the long ones first
        parallel = joblib.Parallel(n_jobs=min(jobs, max(len(stage), 1)), return_as="generator_unordered")
        for result in parallel(joblib.delayed(_compute_one)(run, key, device, jobs == 1) for key, run in stage.items()):
            done += 1
            results[result.key] = result
            log(f"run {done}/{len(missing)}: {result.run}, {result.epochs} epochs, {result.seconds:.0f} s")
    return [replace(results[key], run=run) for run, key in zip(runs, keys)]


def compute_groups(groups: dict[str, list[Run]], jobs: int | None = None) -> dict[str, list[Result]]:
    """``compute`` for named lists of runs, all at once so that no process waits for the end of a list."""
    runs = [run for group in groups.values() for run in group]
    results = iter(compute(runs, jobs))
    return {name: [next(results) for _ in group] for name, group in groups.items()}


def _size(run: Run) -> tuple:
    """Larger for runs that take longer: those of LightGCN, of methods that train perceptrons as well, of teachers."""
    trains_more = run.distils and METHODS[run.method].parameters is not Distiller.parameters
    return run.backbone == "lightgcn", trains_more, run.dim


def _compute_one(run: Run, key: str, device: str, progress: bool) -> Result:
    """Train, evaluate, store; or wait for the process that is at it already."""
    record, _ = _paths(run, key)
    record.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(record.with_suffix(".lock")):
        found = stored(run, key)
        if found is not None:
            return found
        with _core(resolve_device(device)) as device:
            return _store(run, key, _fit(run, split_of(run), device, progress), split_of(run), device)


@contextmanager
def _core(device: torch.device) -> Iterator[torch.device]:
    """Hold the device; on a CPU one of its cores, for one thread, of those that no other process here trains on."""
    if device.type != "cpu":
        yield device
        return
    locks = [FileLock(cache_folder() / "runs" / f"core-{i}.lock") for i in range(joblib.cpu_count())]
    threads = torch.get_num_threads()
    while (lock := next(filter(_acquired, locks), None)) is None:
        time.sleep(0.05)
    torch.set_num_threads(1)
    try:
        yield device
    finally:
        torch.set_num_threads(threads)
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _fit(run: Run, split: Split, device: torch.device, progress: bool) -> Fit:
    common = dict(lr=run.lr, l2=run.l2, epochs=run.epochs, batch_size=run.batch_size, seed=run.seed, device=device,
                  progress=progress)
    if not run.distils:
        return train(BACKBONES[run.backbone](split, run.dim, run.seed), split, **common, **dict(run.settings))
    teacher = stored(run.teacher, key_of(run.teacher, device)).model
    return distill(teacher, split, run.method, backbone=run.backbone, dim=run.dim, weight=run.weight, **common,
                   **dict(run.settings))


def _store(run: Run, key: str, fit: Fit, split: Split, device: torch.device) -> Result:
    on_device = split.to(device)
    result = Result(run, key, evaluate(fit.model, on_device, "test", KS), evaluate(fit.model, on_device, "valid", KS),
                    fit.history, fit.best_epoch, fit.epochs, round(fit.seconds, 3), round(fit.seconds_per_epoch, 5),
                    provenance(split, device))
    record, weights = _paths(run, key)
    write_whole(weights, lambda path: save_file({"table": fit.model.table.detach().cpu().contiguous()}, path))
    values = {f.name: getattr(result, f.name) for f in fields(Result)} | {"run": run.as_dict()}
    text = json.dumps(values, indent=1)
    write_whole(record, lambda path: path.write_text(text, encoding="utf-8"))  # last: it says that the run is whole
    return result


def stored(run: Run, key: str) -> Result | None:
    """The result on disk, or None where it is not there or does not read."""
    record, weights = _paths(run, key)
    try:
        with safe_open(weights, "pt"):  # reads the header, and that the file is as long as it says
            return Result(**json.loads(record.read_text(encoding="utf-8")) | {"run": run})
    except (OSError, ValueError, TypeError, SafetensorError):
        return None


def _paths(run: Run, key: str) -> tuple[Path, Path]:
    folder = cache_folder() / "runs" / f"{split_of(run).name}-{split_of(run).fingerprint}"
    stem = f"{run.backbone}-{run.method}-{run.dim}-{run.seed}-{key}"
    return folder / f"{stem}.json", folder / f"{stem}.safetensors"


def provenance(split: Split, device: torch.device) -> dict:
    """Where a result comes from: code, data, versions, device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"commit": _git("rev-parse", "--short=12", "HEAD"), "dirty": bool(_git("status", "--porcelain", "--", ".")),
            "data": split.train.name, "split": f"{split.protocol}, seed {split.seed}", "fingerprint": split.fingerprint,
            "python": platform.python_version(), "torch": torch.__version__, "device": f"{device.type} ({name})"}


@cache
def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""

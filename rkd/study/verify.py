"""Do recorded runs come out the same when they are trained anew, and may records be kept across an edit of the code?"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from ..environment import told
from ..files import cache_folder
from ..records import Recorded, Records
from ..run import Run
from ..schedule import compute
from ..store import Result
from .check import ERRORS

METRICS = ("recall@10", "ndcg@10", "unpopular/recall@10")  # that are compared where bits cannot be
KIND = ("device", "instructions", "torch")  # what bits depend on besides settings, data and code


@dataclass(frozen=True)
class Outcome:
    """What became of a recorded run: trained anew, it is the ``same`` or not; ``word`` says how."""

    record: Recorded
    anew: Result
    same: bool
    word: str

    def __str__(self) -> str:
        code = f" (its code has changed since: {', '.join(self.record.changed)})" if self.record.changed else ""
        return f"{self.record.run}: {self.word}{code}"


def drawn(runs: Sequence[Run], n: int, seed: int, of_each: bool = False) -> list[Run]:
    """n runs drawn by a seed; of_each: at least one of every method and backbone, however small n."""
    order = [runs[i] for i in np.random.default_rng(seed).permutation(len(runs))]
    first = {(run.name, run.backbone): run for run in reversed(order)} if of_each else {}
    chosen = list(first.values())
    return chosen + [run for run in order if run not in chosen][:max(n - len(chosen), 0)]


def verify(records: Records, runs: Sequence[Run], jobs: int | None = None, device: str = "auto",
           log=print) -> list[Outcome]:
    """Train recorded runs anew, their teachers too, and compare. On the same kind of processor weights and metrics must
    be equal to the bit; elsewhere METRICS within what other seeds could move them. Raises RunsFailed."""
    before = records.results(runs, log=lambda line: None)
    with fresh_runs():
        after = compute(runs, jobs, device, log)
    return [_compared(records, *pair) for pair in zip(before, after)]


def bits_compare(old: Result, new: Result) -> bool:
    """Whether both were computed on CPUs of one kind by one release of torch."""
    return (all(old.provenance[name] == new.provenance[name] for name in KIND)
            and old.provenance["device"].startswith("cpu"))


def _compared(records: Records, old: Recorded, new: Result) -> Outcome:
    if old.provenance["fingerprint"] != new.provenance["fingerprint"]:
        return Outcome(old, new, False, "its data are others now")
    if bits_compare(old, new):
        other = [name for name in {**old.metrics, **new.metrics}
                 if repr(old.metrics.get(name)) != repr(new.metrics.get(name))]
        if old.weights == new.weights and not other:
            return Outcome(old, new, True, "equal to the bit")
        moved = ", ".join(f"{name} {old.metrics.get(name, np.nan):.6f} → {new.metrics.get(name, np.nan):.6f}"
                          for name in other[:3])
        return Outcome(old, new, False, f"differs ({moved or 'in the weights alone'})")
    limits = {name: ERRORS * sqrt(2) * spread for name, spread in spreads(records, old).items()}
    far = [name for name in METRICS if not abs(old.metrics[name] - new.metrics[name]) <= limits[name]]
    machine = ", ".join(f"{new.provenance[name]}, recorded {old.provenance[name]}" for name in KIND
                        if old.provenance[name] != new.provenance[name])
    moved = ", ".join(f"{name} {old.metrics[name]:.4f} → {new.metrics[name]:.4f}, at most ± {limits[name]:.4f}"
                      for name in far)
    word = f"differs ({moved})" if far else "within the spread of the seeds"
    return Outcome(old, new, not far, f"{word} ({machine or 'bits do not repeat there'})")


def spreads(records: Records, of: Recorded) -> dict[str, float]:
    """Metric → standard deviation over seeds on a recorded run's data, pooled over the runs there. Where none has a
    second seed, as in a synthetic world, the share of the mean that it is on all other data; 0 where there is none
    either."""
    groups = {}
    for row in records.rows.values():
        spec = json.loads(row["run"]) | {"seed": None}
        group = json.loads(row["provenance"])["fingerprint"], json.dumps(spec, sort_keys=True)
        groups.setdefault(group, []).append(json.loads(row["metrics"]))
    several = {group: found for group, found in groups.items() if len(found) > 1}
    here = [found for (data, _), found in several.items() if data == of.provenance["fingerprint"]]

    def pooled(name, found, scale):
        values = [[metrics[name] for metrics in group] for group in found]
        return sqrt(np.mean([np.var(group, ddof=1) / scale(group) ** 2 for group in values])) if values else 0.0

    if here:
        return {name: pooled(name, here, lambda group: 1.0) for name in METRICS}
    return {name: of.metrics[name] * pooled(name, several.values(), lambda group: max(np.mean(group), 1e-9))
            for name in METRICS}


def adopt(records: Records, n: int, seed: int, jobs: int | None = None, device: str = "auto", log=print) -> bool:
    """Keep records across an edit that changes no bits: train n of those anew whose code has changed, at least one of
    every method and backbone, and give all of them the keys of the code as it is now if each is equal to the bit. The
    records' provenance says so. Returns whether they are kept; a line says why not. Raises RunsFailed."""
    changed = {run: modules for run in records.runs if (modules := records.changed(run))}
    if not changed:
        log("no record's code has changed: nothing to adopt")
        return True
    modules = sorted({module for of in changed.values() for module in of})
    outcomes = verify(records, drawn(list(changed), n, seed, of_each=True), jobs, device, log)
    for outcome in outcomes:
        log(str(outcome))
    if other := [o for o in outcomes if not (o.same and bits_compare(o.record, o.anew))]:
        log(f"not adopted: {len(other)} of {len(outcomes)} runs are not equal to the bit "
            f"({'; '.join(str(o.record.run) for o in other)}); what changed: {', '.join(modules)}")
        return False
    where = outcomes[0].anew.provenance
    line = (f"commit {where['commit']}{'+dirty' * where['dirty']}: an edit of {', '.join(modules)}; {len(outcomes)} of "
            f"{len(changed)} runs, drawn by seed {seed}, equal to the bit ({where['device']}, {where['instructions']})")
    records.renew(line)
    log(f"adopted, {line}")
    return True


@contextmanager
def fresh_runs() -> Iterator[None]:
    """A cache without runs, with all else that is in the real one; and no records."""
    real = cache_folder()
    (real / "data").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for entry in real.iterdir():
            if entry.name != "runs":
                (Path(folder) / entry.name).symlink_to(entry.resolve())
        with told(RKD_CACHE=folder, RKD_RECORDS=""):
            yield

"""The runs behind all tables and figures of a scale, without executing a notebook."""

from collections.abc import Collection, Iterable

from ..device import resolve_device
from ..methods import method_of, name_of
from ..run import Run
from ..store import Result, costs, expected_seconds, key_of, metrics_key, stored, trained
from ..tuned import searched_as
from .claims import STUDIES as CLAIMED
from .papers import both, frontier, mkd, unkd
from .scales import SCALES

# notebook → the functions (scale, data sets) → Study that it computes
STUDIES = {"01_popularity_bias": (unkd.bias, unkd.bias_in_worlds),
           "02_unkd": (unkd.comparison, unkd.comparison_in_worlds),
           "03_unkd_ablations": (unkd.ablations,), "04_nkd": (mkd.nkd,), "05_cpd": (mkd.cpd,), "06_sld": (mkd.sld,),
           "07_mkd": (mkd.mkd,), "08_head_to_head": (both.head_to_head,), "09_bytes": (frontier.students,),
           "10_scorecard": CLAIMED}


def plan(scale: str, device: str = "auto") -> list[dict]:
    """Every run of a scale once, teachers too: its "key", "state" ("done", "to measure" or "to train"), the "seconds"
    that it took or should take, "notebooks", "label", and the run's own fields.

    Seconds to come are those of an epoch and pair of like runs in the cache, or of any, times epochs at most and pairs.
    Raises ValueError for an unknown scale.
    """
    kind, metrics, known = resolve_device(device), metrics_key(), costs()
    rows = {}
    for run, notebooks in runs_of(scale).items():
        key = key_of(run, kind)
        if key in rows:
            rows[key]["notebooks"] = sorted({*rows[key]["notebooks"], *notebooks})
            continue
        record = trained(run, key)
        state = "to train" if record is None else "done" if stored(run, key, metrics) else "to measure"
        seconds = record["seconds"] if record else expected_seconds(run, known)
        rows[key] = {"key": key, "state": state, "seconds": round(seconds, 1), "notebooks": sorted(set(notebooks)),
                     "label": str(run), **run.as_dict()}
    return list(rows.values())


def runs_of(scale: str, notebooks: Iterable[str] = STUDIES) -> dict[Run, list[str]]:
    """Every run of a scale's notebooks, teachers too, on the data sets that can be had: run → the notebooks that use
    it. Raises ValueError for an unknown scale."""
    if scale not in SCALES:
        raise ValueError(f"unknown scale {scale!r}: choose from {', '.join(SCALES)}")
    datasets, found = SCALES[scale].available(log=lambda line: None), {}
    for notebook in notebooks:
        for study in STUDIES[notebook]:
            for group in study(SCALES[scale], datasets).groups.values():
                for run in group:
                    for one in filter(None, (run.teacher, run)):
                        found.setdefault(one, []).append(notebook)
    return found


def computed(scale: str, device: str = "auto") -> tuple[list[Result], list[Run]]:
    """The results of a scale's runs that are on disk, and the runs that are not."""
    metrics, found, missing = metrics_key(), [], []
    for run in runs_of(scale):
        result = stored(run, key_of(run, device), metrics)
        (found if result else missing).append(result or run)
    return found, missing


def shard(runs: Iterable[Run], part: int, parts: int) -> list[Run]:
    """The ``part``-th of ``parts`` shares of runs, counted from 0, for machines that know nothing of each other: the
    same runs give the same shares, every run is in one, and a student is where its teacher is. Raises ValueError where
    part is not below parts."""
    if not 0 <= part < parts:
        raise ValueError(f"a shard is i/n, i from 0 to n − 1, not {part}/{parts}")
    families: dict[Run, list[Run]] = {}
    for run in runs:
        families.setdefault(run.teacher or run, []).append(run)
    shares = [[] for _ in range(parts)]
    for family in sorted(families.values(), key=len, reverse=True):
        min(shares, key=len).extend(family)
    return shares[part]


def searches_of(scale: str, only: Collection[str] | None = None, split: str | None = None, backbone: str | None = None,
                dim: int | None = None) -> dict[tuple[str, str, str, int | None], list[str]]:
    """What tune is to choose for a scale, or for those of its runs that are named: (data set, split, backbone, dim) →
    methods; dim is None for the scale's usual sizes, which come first. The synthetic world, of which there is a new one
    for every seed, is left out. Raises ValueError where nothing is left."""
    found: dict[tuple[str, str, str, int | None], list[str]] = {}
    for run in runs_of(scale):
        wanted = all(value in (None, getattr(run, name))
                     for name, value in (("split", split), ("backbone", backbone), ("dim", dim)))
        if run.dataset == "synthetic-world" or not wanted or only and run.name not in only:
            continue
        usual = SCALES[scale].teacher_dim if method_of(run.method).teaches else SCALES[scale].student_dim
        methods = found.setdefault((run.dataset, run.split, run.backbone, None if run.dim == usual else run.dim), [])
        if (name := name_of(searched_as(run.method))) not in methods:
            methods.append(name)
    if not found:
        raise ValueError(f"scale {scale} has no such runs")
    return dict(sorted(found.items(), key=lambda search: search[0][3] or 0))

"""Where a table or figure comes from, and the refusal to mix what does not belong together."""

import json
import platform
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from ..store import Result

PACKAGES = ("torch", "numpy", "pandas", "matplotlib", "seaborn")


def provenance_of(results: list[Result], divisions: bool = False) -> dict:
    """What the results have in common, for the file beside the table or figure made of them. Where several machines
    computed them, "instructions" names every kind of processor, "avx2, AMD and avx2, Intel". divisions: each row keeps
    to one split, but not all rows to the same.

    Raises ValueError where two results on one data set differ in pairs, split, kind of device or release of torch.
    """
    common, kinds = {}, {}
    for result in results:
        where = {k: result.provenance[k] for k in ("split", "fingerprint", "device", "torch")}
        data = data_of(result) + (f", {where['split']}" if divisions else "")
        first = common.setdefault(data, where)
        kinds.setdefault(data, set()).add(result.provenance["instructions"])
        if first != where:
            differs = ", ".join(f"{k}: {first[k]!r} and {where[k]!r}" for k in where if first[k] != where[k])
            raise ValueError(f"results of mixed provenance on {data} ({differs}): "
                             "a table must come from one data set, one split and one kind of machine")
    changed = sorted({module for r in results for module in getattr(r, "changed", ())})
    return {
        "data": {name: where | {"instructions": " and ".join(sorted(kinds[name]))} for name, where in common.items()},
        "commits": sorted({r.provenance["commit"] + ("+dirty" if r.provenance["dirty"] else "") for r in results}),
        "settings": sha256(" ".join(sorted({r.key for r in results})).encode()).hexdigest()[:16],
        "runs": len({r.key for r in results}),
        "seeds": sorted({r.run.seed for r in results}),
        "seconds": round(sum({r.key: r.seconds for r in results}.values())),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    } | ({"changed since": changed} if changed else {})


def data_of(result: Result) -> str:
    """The name of the data set of a result; of synthetic worlds each seed's is one of its own."""
    data, (protocol, _, seed) = result.provenance["data"], result.provenance["split"].partition(", ")
    return f"{data}, {seed}" if protocol == "affinity" else data


def write_provenance(path: Path, results: list[Result], divisions: bool = False) -> None:
    path.write_text(json.dumps(provenance_of(results, divisions), indent=1) + "\n", encoding="utf-8")

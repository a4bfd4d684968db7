"""What the tests of records share: runs, their records, and ways to change these and the code behind them."""

import json
import tempfile
from io import BytesIO

import pandas as pd
import pytest
from runs_helpers import computed, tiny

import rkd
from rkd import Run
from rkd.records import FILES, write

WORLD = Run("synthetic-world", "none", 1, split="affinity", split_seed=1, dim=3, epochs=2)
GROUPS = {"none": [tiny(seed=seed) for seed in (0, 1)], "cd": [tiny("cd", seed) for seed in (0, 1)],
          "cpd": [tiny("cpd")], "world": [WORLD]}


RUNS = [run for group in GROUPS.values() for run in group]


def silent(line):
    pass


def recorded_in(folder, runs):
    """(the results of runs, what they say by user at hand; the folder of their records)"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RKD_CACHE", str(folder / "cache"))
        patch.setattr(tempfile, "tempdir", str(folder))  # no core is held there
        results, _ = computed(runs)
        write(results, folder / "records", silent)
        _ = [(r.by_user, r.run.dataset == "synthetic-world" and r.effects) for r in results]
    return results, folder / "records"


def tamper(folder, change):
    """Change the rows of runs, and the checksum with them."""
    path = folder / FILES[0]
    rows = pd.read_parquet(path).to_dict("records")
    for row in rows:
        change(row)
    buffer = BytesIO()
    pd.DataFrame(rows).to_parquet(buffer, index=False)
    path.write_bytes(buffer.getvalue())
    about = json.loads((folder / "records.json").read_text())
    about["files"][FILES[0]] = rkd.records.sha256(buffer.getvalue()).hexdigest()
    (folder / "records.json").write_text(json.dumps(about))


def edited(monkeypatch, module):
    """As if a module's code were another now."""
    source = rkd.fingerprint.IMPORTED[module] + "\nassert True\n"
    monkeypatch.setitem(rkd.fingerprint.IMPORTED, module, source)
    monkeypatch.setattr(rkd.fingerprint, "_edited", lambda module: False)
    rkd.fingerprint._imports.cache_clear()

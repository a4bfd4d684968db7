"""Teachers in files that are larger than the memory allowed: distilled all the same, to the same bits."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from rkd import Given, ranking
from rkd.ranking import finite_rows, largest, overflow

# A teacher of 117 MiB, and 80 of memory to write to beyond what the process has when it has trained once.
WITHIN_AN_ALLOWANCE = """if True:
    import resource, sys, warnings
    from pathlib import Path
    import numpy as np, torch
    import rkd
    warnings.simplefilter("ignore", rkd.TeacherWarning)
    folder, MIB = Path(sys.argv[1]), 1 << 20
    paths = [str(folder / f"{side}.npy") for side in ("users", "items")]

    def pairs(n_users, n_items):
        users = torch.arange(n_users).repeat_interleave(3)
        items = (7 * users + 31 * torch.arange(3).repeat(n_users)) % n_items
        return rkd.Interactions(n_users, n_items, users, items).split("ratio", seed=0)

    def held(name):
        return 1024 * int(Path("/proc/self/status").read_text().partition(name + ":")[2].split()[0])

    def allow(soft):
        resource.setrlimit(resource.RLIMIT_DATA, (soft, resource.RLIM_INFINITY))

    def learn(teacher, method, split):
        settings = {"n_experts": 1} if method == "de" else {}  # small networks
        return rkd.distill(teacher, split, method, dim=4, lr=1e-2, epochs=1, device="cpu", progress=False,
                           **settings).model.table

    small = pairs(100, 50)
    for method in ("rd", "de"):
        learn((np.ones((100, 2)), np.ones((50, 2))), method, small)
    split = pairs(40_000, 400)
    split.data_fingerprint, split.train.csr
    allow(held("VmData") + 80 * MIB)
    try:
        np.load(paths[0])
        raise AssertionError("the teacher fits the allowance: this shows nothing")
    except MemoryError:
        pass
    found = {method: learn(paths, method, split) for method in ("rd", "de")}
    allow(resource.RLIM_INFINITY)

    before = held("RssAnon")
    one_file = rkd.Given(folder / "both.safetensors")
    one_file.refuse_unusable(split, "teacher")
    assert held("RssAnon") - before < 32 * MIB
    whole = [np.load(path) for path in paths]
    for method in found:
        assert torch.equal(found[method], learn(whole, method, split))
    assert all(map(np.array_equal, one_file.factors(), whole))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_teacher_larger_than_the_memory_allowed_teaches_the_same(tmp_path):
    rng = np.random.default_rng(0)
    tables = {side: rng.random((n, 768), dtype=np.float32) - 0.5 for side, n in (("users", 40_000), ("items", 400))}
    for side, table in tables.items():
        np.save(tmp_path / f"{side}.npy", table)
    save_file(tables, tmp_path / "both.safetensors")
    done = subprocess.run([sys.executable, "-c", WITHIN_AN_ALLOWANCE, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_rows_in_the_splits_order_are_left_where_they_are(split, tmp_path):
    """By ids too; in another order they are put right, in memory."""
    users, items = (np.random.default_rng(n).random((n, 3), dtype=np.float32) for n in (23, 37))
    np.save(tmp_path / "users.npy", users)
    np.save(tmp_path / "items.npy", items)
    paths = tmp_path / "users.npy", str(tmp_path / "items.npy")
    given = Given(paths, user_ids=np.arange(23), item_ids=np.arange(37)[::-1])
    found = given.aligned(split)
    assert found.factors()[0] is given.factors()[0]
    assert np.array_equal(found.factors()[0], users) and np.array_equal(found.factors()[1], items[::-1])
    np.save(tmp_path / "users.npy", np.array([["a"] * 3] * 23, dtype=object))
    with pytest.raises(TypeError, match="user factors must be a matrix of numbers"):
        Given(paths)


def test_the_largest_value_and_what_is_finite_by_blocks(monkeypatch):
    monkeypatch.setattr(ranking, "CHECKED", 15)  # 7 rows
    table = torch.randn(17, 2)
    assert finite_rows(table).all() and largest(table) == float(table.abs().max())
    for row, bad in ((0, torch.nan), (7, torch.inf), (16, -torch.inf)):
        table[row, 1] = bad
    assert (~finite_rows(table)).nonzero().flatten().tolist() == [0, 7, 16]
    assert largest(torch.tensor([[1.0, -3.0]])) == 3 and overflow(torch.tensor([[1.0, -1e20]]), torch.ones(1, 2) * 1e19)

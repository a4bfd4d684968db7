"""Recorded runs trained anew: a changed bit is found, and no record is kept across an edit that changes one."""

import json
import os
import shutil
from dataclasses import replace
from functools import wraps
from pathlib import Path

import pandas as pd
import pytest
from records_helpers import edited, recorded_in, silent, tamper
from runs_helpers import tiny

import rkd
from rkd import RunsFailed
from rkd.__main__ import main
from rkd.records import Records
from rkd.store import key_of
from rkd.study import verify as verifying
from rkd.study.check import ERRORS
from rkd.study.verify import adopt, bits_compare, drawn, spreads, verify

RUNS = [tiny(seed=0), tiny(seed=1), tiny("cd", 0), tiny("cd", 1), tiny("teacher", 0)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of the records of RUNS."""
    return recorded_in(tmp_path_factory.mktemp("made"), RUNS)[1]


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "records"))


def again(folder, runs=RUNS):
    return verify(Records(folder), runs, 1, "cpu", silent)


def test_what_is_drawn():
    runs = [tiny(method, seed) for method in ("none", "cd") for seed in range(4)]
    runs += [tiny("none", seed, backbone="lightgcn") for seed in range(2)]
    assert len(drawn(runs, 3, 0)) == 3 == len({*drawn(runs, 3, 0)})
    assert drawn(runs, 3, 0) == drawn(runs, 3, 0) and {*drawn(runs, 99, 0)} == {*runs}
    assert len({tuple(drawn(runs, 3, seed)) for seed in range(9)}) > 1
    for seed in range(9):
        for n in (1, 5):
            chosen = drawn(runs, n, seed, of_each=True)
            assert len(chosen) == max(n, 3) == len({*chosen})
            assert {(run.name, run.backbone) for run in chosen} == {("none", "mf"), ("cd", "mf"), ("none", "lightgcn")}


def test_the_same_bits_come_out_though_all_is_in_the_cache_already(folder, monkeypatch, tmp_path):
    """Trained anew, in a cache of its own, which is gone afterwards."""
    trained = []
    monkeypatch.setattr(verifying, "compute", lambda *of: trained.append(os.environ["RKD_CACHE"]) or rkd.compute(*of))
    lines, cache = [], os.environ["RKD_CACHE"]
    outcomes = verify(Records(folder), RUNS[1:3], 1, "cpu", lines.append)
    assert [str(outcome) for outcome in outcomes] == [f"{run}: equal to the bit" for run in RUNS[1:3]]
    assert all(outcome.same for outcome in outcomes) and len(lines) == 3  # and the teacher
    assert trained[0] != cache == os.environ["RKD_CACHE"] and not Path(trained[0]).exists()
    assert not (Path(cache) / "runs").exists()


def changed(folder, name, value):
    def change(row):
        row[name] = value(row[name])

    tamper(folder, change)


def test_a_bit_of_the_weights_is_found(folder):
    changed(folder, "weights", lambda text: ("1" if text[0] != "1" else "2") + text[1:])
    (outcome,) = again(folder, RUNS[:1])
    assert not outcome.same and str(outcome) == f"{RUNS[0]}: differs (in the weights alone)"


def test_a_bit_of_a_metric_is_found(folder):
    def nudge(text):
        metrics = json.loads(text)
        return json.dumps(metrics | {"arp@10": metrics["arp@10"] * (1 + 1e-15)})

    changed(folder, "metrics", nudge)
    (outcome,) = again(folder, RUNS[:1])
    assert not outcome.same and "differs (arp@10" in outcome.word


def test_other_data_are_found(folder):
    was = Records(folder).result(RUNS[0])
    new = replace(was, provenance=was.provenance | {"fingerprint": "other"})
    assert verifying._compared(Records(folder), was, new).word == "its data are others now"


def test_on_another_processor_within_the_spread_of_the_seeds(folder):
    """The spread is that of all runs of the data with several seeds, pooled; where there are none, of other data as a
    share of the mean."""
    records = Records(folder)
    was = records.result(RUNS[0])
    values = {run: records.result(run).metrics["recall@10"] for run in RUNS}
    pooled = (pd.Series([values[run] for run in RUNS[:2]]).var() + pd.Series([values[run] for run in RUNS[2:4]]).var())
    limit = ERRORS * 2**0.5 * (pooled / 2) ** 0.5
    assert spreads(records, was)["recall@10"] * ERRORS * 2**0.5 == pytest.approx(limit) and limit > 0
    for name, value in (("instructions", "avx2, another"), ("torch", "9"), ("device", "cuda (x)")):
        for times, same in ((0.99, True), (1.01, False)):
            new = replace(was, provenance=was.provenance | {name: value}, weights="",
                          metrics=was.metrics | {"recall@10": was.metrics["recall@10"] + times * limit})
            outcome = verifying._compared(records, was, new)
            assert not bits_compare(was, new) and outcome.same == same and value in outcome.word
            assert outcome.word.startswith("within the spread of the seeds" if same else "differs (recall@10")
    shares = [pd.Series([values[run] for run in pair]) for pair in (RUNS[:2], RUNS[2:4])]
    share = sum((pair.std() / pair.mean()) ** 2 for pair in shares) / 2
    alone = replace(was, provenance=was.provenance | {"fingerprint": "of a world"})  # of which there is one seed
    assert spreads(records, alone)["recall@10"] == pytest.approx(was.metrics["recall@10"] * share ** 0.5)
    on_gpu = replace(was, provenance=was.provenance | {"device": "cuda (x)"})
    assert not bits_compare(on_gpu, on_gpu)  # there the same run need not give the same bits


# ------------------------------------------------------------------------------------------------------------- adoption

def keys(folder):
    return {run: row["key"] for run in RUNS for row in [Records(folder).rows[rkd.records._spec(run)]]}


def test_nothing_to_adopt(folder):
    lines, before = [], keys(folder)
    assert adopt(Records(folder), 1, 0, 1, "cpu", lines.append)
    assert lines == ["no record's code has changed: nothing to adopt"] and keys(folder) == before


def test_an_edit_that_changes_no_bit_is_adopted(folder, monkeypatch):
    before, lines = keys(folder), []
    edited(monkeypatch, "rkd.train")
    assert all(Records(folder).changed(run) == ["rkd.train"] for run in RUNS)
    assert adopt(Records(folder), 1, 0, 1, "cpu", lines.append)
    records = Records(folder)
    assert all(records.changed(run) == [] for run in RUNS)
    assert keys(folder) == {run: key_of(run, "cpu") for run in RUNS}
    assert not {*keys(folder).values()} & {*before.values()}
    (line,) = records.about["adopted"]
    assert lines[-1] == f"adopted, {line}"
    assert "an edit of rkd.train; 3 of 5 runs, drawn by seed 0, equal to the bit" in line  # one of each method
    assert [records.result(run).metrics for run in RUNS] == [Records(folder).result(run).metrics for run in RUNS]
    edited(monkeypatch, "rkd.methods.cd")
    assert adopt(Records(folder), 2, 0, 1, "cpu", silent)
    assert len(Records(folder).about["adopted"]) == 2 and "2 of 2 runs" in Records(folder).about["adopted"][1]


def test_an_edit_that_changes_a_bit_is_refused_and_named(folder, monkeypatch):
    """CD comes out otherwise; the plain student, of which the edited file is as well, does not."""
    before, lines = {path: path.read_bytes() for path in folder.iterdir()}, []
    edited(monkeypatch, "rkd.train")
    loss = rkd.METHODS["cd"].user_loss
    monkeypatch.setattr(rkd.METHODS["cd"], "user_loss", wraps(loss)(lambda *of, **more: loss(*of, **more) * 1.0001))
    monkeypatch.setattr(rkd.schedule, "refuse_altered", lambda *of, **more: None)
    assert not adopt(Records(folder), 1, 0, 1, "cpu", lines.append)
    assert lines[-1].startswith("not adopted: 1 of 3 runs are not equal to the bit (synthetic mf cd d=3 seed ")
    assert lines[-1].endswith("what changed: rkd.train")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_bits_of_another_processor_adopt_nothing(folder, monkeypatch):
    edited(monkeypatch, "rkd.train")
    monkeypatch.setattr(verifying, "bits_compare", lambda old, new: False)
    assert not adopt(Records(folder), 1, 0, 1, "cpu", silent) and Records(folder).about["adopted"] == []


def test_the_command_line(folder, capsys):
    common = ["verify", "--records", str(folder), "--device", "cpu", "--jobs", "1", "--sample", "1", "--seed", "3"]
    assert main(common) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(": equal to the bit")
    changed(folder, "weights", lambda text: "0" * 64)
    assert main(common) == 1 and "differs (in the weights alone)" in capsys.readouterr().out
    assert main([*common, "--adopt"]) == 0 and "nothing to adopt" in capsys.readouterr().out
    assert main(["verify", "--records", str(folder / "none")]) == 2 and "holds no records" in capsys.readouterr().err


def test_runs_that_cannot_be_trained_any_more_are_no_result(folder, monkeypatch):
    monkeypatch.setattr(rkd.worker, "fit", lambda *of: 1 / 0)
    with pytest.raises(RunsFailed, match="ZeroDivisionError"):
        again(folder, RUNS[:1])

"""Records: what they keep gives the same metrics, tables and tests without data or models, and nothing else passes."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import random_interactions
from records_helpers import GROUPS, RUNS, edited, recorded_in, silent, tamper
from runs_helpers import computed, tiny

import rkd
from rkd import METHODS, MF, DataError, Split, compute, evaluate, per_user
from rkd.__main__ import main
from rkd.hits import rank
from rkd.kept import BY_USER, DEPTH, OF_LISTS, ByUser, NotRecorded, classes_of, faults, held_out, kept
from rkd.records import FILES, Records, brief, write
from rkd.study import plan
from rkd.study.provenance import provenance_of
from rkd.study.scales import Scale
from rkd.study.study import Study


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(the results of RUNS; the folder of their records)"""
    return recorded_in(tmp_path_factory.mktemp("made"), RUNS)


@pytest.fixture
def recorded(made, tmp_path):
    """The same, the folder a copy."""
    return made[0], Path(shutil.copytree(made[1], tmp_path / "records"))


@pytest.fixture
def unavailable(monkeypatch):
    """A function that leaves records alone: neither data nor runs are to be had any more."""
    def gone(*of):
        raise DataError("there are no data")

    def leave(folder):
        monkeypatch.setenv("RKD_RECORDS", str(folder))
        monkeypatch.setenv("RKD_CACHE", str(folder.parent / "empty"))
        monkeypatch.setattr(rkd.run, "_split", gone)

    return leave


@pytest.fixture
def only_records(recorded, unavailable):
    """The folder of records, where there is nothing else."""
    unavailable(recorded[1])
    return recorded[1]


# ------------------------------------------------------------------------------------------------------- what is kept

@pytest.mark.parametrize("n_items", [37, 14])  # of fewer items than a list has places
def test_every_metric_of_a_user_comes_from_what_is_kept(n_items):
    """Cold items among hits and lists, users with nothing popular held out, empty places."""
    split = random_interactions(23, n_items, density=0.6 if n_items == 14 else 0.25).split("unkd", 0)
    cold = split.test.items.bincount().argmax()  # let nobody have it in training
    split = Split(split.train.pick(split.train.items != cold), split.valid, split.test)
    met = set()  # (class, hit or not)
    for seed in range(3):
        model = MF(split, 4, seed)
        with torch.no_grad():
            model.table[split.n_users:][split.train.item_counts == 0] *= 40  # cold items stand high
        found = rank(model, split, "test", DEPTH)
        row, held = kept(found, classes_of(split)), held_out(split)
        expected, of = per_user(model, split), ByUser(row, held)
        assert {*of} == {"users", "held_out/aplt", *(f"{name}@{k}" for name in BY_USER for k in (10, 20))}
        for name in of:
            torch.testing.assert_close(of[name].double(), expected[name].double(), rtol=0, atol=0, equal_nan=True)
        metrics = evaluate(model, split)
        assert faults(row, held, metrics) == []
        met |= {*zip(*(x.flatten().tolist() for x in (classes_of(split)[found.lists.clamp(min=0)], found.hits)))}
        assert expected.keys() - {*of} == {
            f"{name}@{k}" for k in (10, 20) for name in ("arp", *(f"decile {d}/recall" for d in range(1, 11)))}
        hits = row["hits"].copy()
        hits[0] ^= 1
        assert {"recall@10", "ndcg@20"} <= {*faults(row | {"hits": hits}, held, metrics)}
    assert met == {(kind, hit) for kind in range(3) for hit in (0.0, 1.0)}


def test_what_is_not_known_of_each_user_is_refused(recorded):
    result = Records(recorded[1]).result(tiny())
    assert all(f"{name}@10" not in result.by_user for name in OF_LISTS)  # known as a mean alone, in models too
    assert "inconsistency" not in result.by_user  # nor is a number of the run itself
    for name in ("arp@10", "decile 3/recall@20"):
        with pytest.raises(NotRecorded, match=f"{name} of each user is not in the records, its mean alone"):
            rkd.stats.by_seed([result], name)


def test_a_brief_history():
    """Numbers of six digits, save of the epoch that was kept."""
    rows = [{"epoch": epoch, "loss": epoch / 9, "map": [[0.1234]]} for epoch in (5, 10, 15)]
    assert brief(rows, 10) == [{"epoch": 5, "loss": 0.555556, "map": [[0.1234]]}, rows[1],
                               {"epoch": 15, "loss": 1.66667, "map": [[0.1234]]}]
    assert brief([], 0) == []


# ------------------------------------------------------------------------------------------------------ there and back

def test_a_study_comes_from_records_as_from_training(recorded, unavailable):
    """Without data, cache and model: results, tables, paired tests, curves and effects in a world."""
    study = Study(GROUPS, {label: [r for r in recorded[0] if r.run in group] for label, group in GROUPS.items()})
    unavailable(recorded[1])
    again = Study(GROUPS).compute()
    for before, after in zip(study, again):
        for name in ("key", "metrics", "valid_metrics", "best_epoch", "epochs", "seconds", "provenance", "weights"):
            assert repr(getattr(after, name)) == repr(getattr(before, name))
        assert after.history == brief(before.history, before.best_epoch)
        assert after.run == before.run and after.changed == []
        with pytest.raises(NotRecorded, match="records hold no models, so that of .* is not here"):
            _ = after.model
    metrics = ["recall@10", "ndcg@20", "unpopular/recall@10", "coverage@10"]
    labels = ["none", "cd"]
    pd.testing.assert_frame_equal(again.table(metrics, labels, against="none"),
                                  study.table(metrics, labels, against="none"))
    pd.testing.assert_frame_equal(again.claims(("cd", "above", "none", metrics)),
                                  study.claims(("cd", "above", "none", metrics)))
    assert again["world"][0].effects == study["world"][0].effects
    assert again["cpd"][0].history[-1]["inconsistency_by_rank"] == study["cpd"][0].history[-1]["inconsistency_by_rank"]
    assert not (recorded[1].parent / "empty").exists()


def test_a_study_of_which_records_hold_a_part(only_records, capsys):
    """What is there counts, groups that are not there are asked for in vain, and a line tells what is lacking."""
    groups = {"none": [*GROUPS["none"], tiny(seed=7)], "cd": GROUPS["cd"], "unkd": [tiny("unkd")]}
    study = Study(groups).compute()
    assert capsys.readouterr().out == "runs that the records lack: none (1), unkd (1)\n"
    assert [r.run for r in study["none"]] == GROUPS["none"] and [r.run for r in study["cd"]] == GROUPS["cd"]
    assert study.groups == groups and study.tidy()["label"].unique().tolist() == ["none", "cd"]
    with pytest.raises(NotRecorded, match="no run of UnKD is in the records"):
        study["unkd"]
    with pytest.raises(KeyError, match="nukd"):
        study["nukd"]
    with pytest.raises(NotRecorded, match="none of its runs"):
        Study({"unkd": groups["unkd"]}).compute()
    assert Study(GROUPS).compute().results.keys() == GROUPS.keys() and not capsys.readouterr().out


def test_the_data_sets_and_their_facts_are_those_of_the_records(only_records):
    lines = []
    scale = Scale(("synthetic", "apps"), (0,), (0,))
    assert scale.available(lines.append) == ("synthetic",)
    assert lines == [f"apps is left out: it is not in the records of {only_records}"]
    with pytest.raises(DataError):
        Scale(("apps",), (0,), (0,)).available(silent)
    assert Records(only_records).facts["synthetic"] == rkd.statistics(rkd.load("synthetic"))


def test_a_run_with_other_settings_is_not_recorded(only_records):
    with pytest.raises(NotRecorded, match="cd d=3 seed 0 is not in the records of .*, with these settings"):
        compute([tiny("cd", lr=0.5)])


def test_methods_of_ones_own_are_refused(tmp_path):
    class Mine(METHODS["cd"]):
        label = "Mine"

    results, _ = computed([tiny(Mine)])
    with pytest.raises(ValueError, match="only methods of rkd.METHODS can be recorded"):
        write(results, tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_too_much_is_refused(recorded, monkeypatch):
    before = {path: path.read_bytes() for path in recorded[1].iterdir()}
    monkeypatch.setattr(rkd.records, "LIMIT", 1e-3)
    with pytest.raises(ValueError, match=r"the records would take 0.\d MB, and at most 0.001 are kept"):
        Records(recorded[1]).renew("for nothing")
    assert {path: path.read_bytes() for path in recorded[1].iterdir()} == before


# ----------------------------------------------------------------------------------------------------------- tampering

def test_a_changed_file_is_refused(recorded):
    for name in FILES:
        path = recorded[1] / name
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        with pytest.raises(ValueError, match=f"{name} was changed since it was written"):
            Records(recorded[1])
        path.write_bytes(content)
    Records(recorded[1])
    (recorded[1] / FILES[0]).unlink()
    with pytest.raises(ValueError, match="holds no records"):
        Records(recorded[1])


@pytest.mark.parametrize("metric", ["recall@10", "aplt@20"])
def test_metrics_that_the_lists_do_not_give_are_refused(recorded, metric):
    def better(row):
        metrics = json.loads(row["metrics"])
        row["metrics"] = json.dumps(metrics | {metric: metrics[metric] + 1e-6})

    tamper(recorded[1], better)
    with pytest.raises(ValueError, match=f"{metric} is not what its users' lists give"):
        Records(recorded[1]).result(tiny())


# ------------------------------------------------------------------------------------------------------------- the code

def test_records_of_code_that_has_changed_are_named(recorded, monkeypatch):
    folder, lines = recorded[1], []
    Records(folder).results(RUNS, lines.append)
    assert lines == []
    edited(monkeypatch, "rkd.methods.cpd")
    found = Records(folder).results(RUNS, lines.append)
    assert {r.run.name for r in found if r.changed} == {"cpd"} and len(lines) == 1
    assert lines[0].startswith("1 of 6 records are of code that has changed since (rkd.methods.cpd)")
    assert provenance_of([found[4]])["changed since"] == ["rkd.methods.cpd"]
    assert "changed since" not in provenance_of([found[0]])
    edited(monkeypatch, "rkd.metrics")  # which trains nothing, but measures all
    changed = [r.changed for r in Records(folder).results(RUNS, silent)]
    assert changed == [["rkd.metrics"]] * 4 + [["rkd.methods.cpd", "rkd.metrics"], ["rkd.metrics"]]


# ---------------------------------------------------------------------------------------------------- the command line

def test_record_writes_what_is_computed(tmp_path, capsys, monkeypatch):
    run, other = tiny(), tiny(seed=1)
    compute([run], log=silent)
    monkeypatch.setattr(plan, "runs_of", lambda scale: {run: [], other: []})
    assert main(["record", "--scale", "smoke", "--records", str(tmp_path / "r"), "--device", "cpu"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"1 runs are not computed and left out, such as {other}" and out[1].startswith("1 runs, 0.")
    assert Records(tmp_path / "r").runs == [run]
    assert sorted(os.listdir(tmp_path / "r")) == sorted([*FILES, "records.json"])


def test_record_adds_to_what_was_recorded_elsewhere(recorded, capsys, monkeypatch):
    """A part of the runs is here, a part was recorded before, one is nowhere; one is recorded and no longer wanted."""
    folder, here, nowhere = recorded[1], [tiny("unkd"), RUNS[0]], tiny(seed=9)
    Records(folder).renew("a line")
    before = Records(folder).rows
    compute(here, log=silent)
    monkeypatch.setattr(plan, "runs_of", lambda scale: dict.fromkeys([*here, *RUNS[:-1], nowhere]))
    assert main(["record", "--scale", "smoke", "--records", str(folder), "--device", "cpu"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"1 runs are not computed and left out, such as {nowhere}"
    assert out[1] == f"{len(RUNS) - 2} runs are not computed here: their records stay" and out[2].startswith("6 runs, ")
    after = Records(folder)
    assert {*after.runs} == {*here, *RUNS[:-1]} and after.about["adopted"] == ["a line"]
    assert {*after.splits} == {
        json.loads(row["provenance"])["fingerprint"] for row in after.rows.values()}
    for run in RUNS[1:-1]:
        spec = json.dumps(run.as_dict(), sort_keys=True)
        assert repr(after.rows[spec]) == repr(before[spec]) and after.result(run).changed == []
    edited(monkeypatch, "rkd.methods.cpd")
    with pytest.raises(ValueError, match="has 1 records of code that has changed since, such as .* cpd"):
        write([], folder, silent, keep=RUNS)
    assert {*Records(folder).runs} == {*after.runs}

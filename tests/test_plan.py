"""The plan: every run behind the tables, what state it is in, and that the notebooks compute just these."""

import inspect
import json
import re
from collections import Counter
from dataclasses import replace

import nbformat
import pytest
from runs_helpers import METRICS, computed, files

import rkd
from rkd.__main__ import main
from rkd.evaluate import METRICS as MEASURED
from rkd.methods import name_of
from rkd.store import key_of
from rkd.study.claims import CLAIMS
from rkd.study.papers import RIVALS, both, frontier, mkd, unkd
from rkd.study.plan import STUDIES, plan, searches_of, shard
from rkd.study.plan import runs_of as planned_runs
from rkd.study.reproduce import ROOT
from rkd.study.scales import SCALES
from rkd.study.study import Study
from rkd.tuned import searched_as, usual_dim

SMOKE = SCALES["smoke"]


def runs_of(notebook) -> set:
    """The runs of a notebook's studies, and their teachers'."""
    studies = [study(SMOKE, SMOKE.datasets) for study in STUDIES[notebook]]
    runs = {run for study in studies for group in study.groups.values() for run in group}
    return runs | {run.teacher for run in runs if run.distils}


def test_every_run_stands_once_with_its_notebooks():
    rows = plan("smoke", "cpu")
    found = {row["key"]: row for row in rows}
    assert len(found) == len(rows) and all(row["state"] == "to train" for row in rows)
    keys = {notebook: {key_of(run, "cpu"): run for run in runs_of(notebook)} for notebook in STUDIES}
    assert {key: row["notebooks"] for key, row in found.items()} == {
        key: sorted(notebook for notebook in STUDIES if key in keys[notebook]) for of in keys.values() for key in of}
    for of in keys.values():
        for key, run in of.items():
            assert found[key].items() >= run.as_dict().items() and found[key]["label"] == str(run)
    assert {row["method"] for row in rows if "02_unkd" in row["notebooks"]} == {*unkd.COMPARED, *RIVALS}
    assert {row["dataset"] for row in rows} == {"synthetic", "synthetic-world"}


def test_the_state_of_a_run_as_it_is_computed(monkeypatch):
    """The plain student alone, then a new metric: nothing is to be trained again."""
    run = SMOKE.runs("synthetic", ["none"])[0]
    key = key_of(run, "cpu")
    before = {row["key"]: row for row in plan("smoke", "cpu")}
    assert (before[key]["state"], before[key]["seconds"]) == ("to train", 0.0)  # nothing is known yet of what it takes
    (result,), _ = computed([run])
    after = {row["key"]: row for row in plan("smoke", "cpu")}
    assert list(after) == list(before)
    assert (after[key]["state"], after[key]["seconds"]) == ("done", round(result.seconds, 1))
    others = [row for row in after.values() if row["key"] != key]
    assert all(row["state"] == "to train" for row in others)
    for row in others:  # as the one run that is known, by epochs and pairs
        pairs = len(rkd.split_of(row["dataset"], row["split"], row["split_seed"]).train)
        expected = result.seconds_per_epoch / result.provenance["pairs"] * pairs * row["epochs"]
        assert row["seconds"] == pytest.approx(expected, abs=0.051)
    monkeypatch.setitem(MEASURED, "first", lambda found, k: found.hits[:, 0])
    measured = {row["key"]: row for row in plan("smoke", "cpu")}
    assert measured[key] == after[key] | {"state": "to measure"} and len(measured) == len(after)
    assert {k: row for k, row in measured.items() if k != key} == {row["key"]: row for row in others}
    computed([run])
    assert {row["key"]: row["state"] for row in plan("smoke", "cpu")}[key] == "done"
    (weights,) = files(".safetensors")
    assert result.metrics.keys() == METRICS  # as they were
    weights.write_bytes(weights.read_bytes()[:-1])
    assert {row["key"]: row["state"] for row in plan("smoke", "cpu")}[key] == "to train"


def test_seconds_are_those_of_like_runs():
    """Of the same backbone and method, where the cache has one; else of any."""
    runs = [SMOKE.runs("synthetic", [method], split="ratio")[0] for method in ("none", "teacher")]
    (plain, teacher), _ = computed(runs)
    costs = [r.seconds_per_epoch / r.provenance["pairs"] for r in (plain, teacher)]
    for row in plan("smoke", "cpu"):
        if row["state"] == "to train":
            pairs = len(rkd.split_of(row["dataset"], row["split"], row["split_seed"]).train)
            like = {("mf", "none"): costs[0], ("mf", "teacher"): costs[1]}
            cost = like.get((row["backbone"], row["method"]), sum(costs) / 2)
            assert row["seconds"] == pytest.approx(cost * pairs * row["epochs"], abs=0.051)


def test_what_is_to_be_tuned_for_a_scale(monkeypatch):
    """Every run's settings are chosen by one search, of its data, split, backbone, method and size."""
    monkeypatch.setitem(SCALES, "laptop", replace(SCALES["laptop"], datasets=("synthetic",)))
    found = searches_of("laptop")
    for notebook in STUDIES:
        for study in STUDIES[notebook]:
            runs = [run for group in study(SCALES["laptop"], ("synthetic",)).groups.values() for run in group]
            for run in runs + [run.teacher for run in runs if run.distils]:
                dim = None if run.dim == usual_dim(run.method) else run.dim
                named = name_of(searched_as(run.method)) in found.get((run.dataset, run.split, run.backbone, dim), [])
                assert named == (run.dataset != "synthetic-world")
    assert [dim for *_, dim in found] == [None] * 2 + [20, 50, 100]
    assert all(len(methods) == len(set(methods)) for methods in found.values())
    assert searches_of("laptop", ["cd"], "unkd", "mf") == {("synthetic", "unkd", "mf", None): ["cd"]}
    with pytest.raises(ValueError, match="scale laptop has no such runs"):
        searches_of("laptop", ["cd"], dim=50)


def test_an_unknown_scale(capsys):
    with pytest.raises(ValueError, match="unknown scale 'huge': choose from smoke, laptop, paper"):
        plan("huge")
    assert main(["plan", "--scale", "huge"]) == 2 and "unknown scale 'huge'" in capsys.readouterr().err


def test_the_command_line_prints_an_object_a_line(capsys):
    assert main(["plan", "--scale", "smoke", "--device", "cpu", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == plan("smoke", "cpu")
    assert all(json.loads(line).keys() >= {"key", "state", "seconds"} for line in lines)


def test_the_command_line_in_words(capsys):
    run = SMOKE.runs("synthetic", ["none"])[0]
    computed([run])
    assert main(["plan", "--scale", "smoke", "--device", "cpu"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    rows = plan("smoke", "cpu")
    assert [line.split()[0] for line in lines] == [row["key"] for row in rows]
    assert next(line for line in lines if line.startswith(key_of(run, "cpu"))).split()[1] == "done"
    assert re.fullmatch(rf"{len(rows)} runs; {len(rows) - 1} to train, about \d+\.\d minutes of one core", last)


# -------------------------------------------------------------------------------------------------------- the notebooks

def test_every_study_of_a_paper_is_planned():
    functions = [f for module in (unkd, mkd, both, frontier) for f in vars(module).values() if inspect.isfunction(f)]
    studies = {f for f in functions if list(inspect.signature(f).parameters) == ["scale", "datasets"]
               and inspect.signature(f).return_annotation is Study}
    planned = [study for notebook in STUDIES for study in STUDIES[notebook] if notebook != "10_scorecard"]
    assert set(planned) == studies and len(planned) == len(studies) == 11


def test_every_notebook_is_planned():
    assert list(STUDIES) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_the_scorecard_is_of_the_other_notebooks_studies():
    assert {*STUDIES["10_scorecard"]} == {claim.study for claim in CLAIMS}
    assert all(claim.study in STUDIES[claim.notebook] for claim in CLAIMS)


@pytest.mark.parametrize("notebook", [notebook for notebook in STUDIES if notebook != "10_scorecard"])
def test_a_notebook_computes_its_planned_studies_and_nothing_else(notebook):
    """Besides, it may compute a few of their runs beforehand, to look at a model, and in cells to play with what the
    reader makes of them."""
    cells = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    code = "\n".join(cell.source for cell in cells
                     if cell.cell_type == "code" and "play" not in cell.metadata.get("tags", []))
    made = re.findall(r"\b(unkd|mkd|both|frontier)\.(\w+)\(scale, datasets\)", code)
    assert [f"rkd.study.papers.{module}.{name}" for module, name in made] == [
        f"{study.__module__}.{study.__name__}" for study in STUDIES[notebook]]
    computes = len(re.findall(r"(?<!\brkd)\.compute\(JOBS\)", code))
    assert computes == len(made), code
    beforehand = re.findall(r"\brkd\.compute\(", code)
    of_tuned = re.findall(r"rkd\.compute\(\s*\[mkd\.tuned_run\(", code) + re.findall(
        r'rkd\.compute\(scale\.runs\(name, \["teacher"\]\)', code)
    assert len(beforehand) == len(of_tuned)


def test_runs_computed_beforehand_are_runs_of_the_studies():
    for notebook in ("04_nkd", "05_cpd", "06_sld"):
        assert {mkd.tuned_run(SMOKE, SMOKE.datasets, method) for method in ("none", "teacher")} <= runs_of(notebook)
    assert SMOKE.runs("synthetic", ["teacher"])[0] in runs_of("02_unkd")


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shards_are_all_runs_once_and_students_with_their_teachers(parts):
    runs = planned_runs("smoke")
    shares = [shard(runs, part, parts) for part in range(parts)]
    assert sorted(map(repr, sum(shares, []))) == sorted(map(repr, runs))
    for share in shares:
        assert all(run.teacher in share for run in share if run.distils)
    assert shares == [shard(planned_runs("smoke"), part, parts) for part in range(parts)]
    largest = max(Counter(run.teacher or run for run in runs).values())  # of a teacher and its students: one share's
    assert parts > 3 or max(map(len, shares)) < max(2 * len(runs) / parts, largest + 1)


@pytest.mark.parametrize("text", ["2/2", "1", "a/2", "-1/2", "1/0"])
def test_shards_that_are_none(text, capsys):
    assert main(["compute", "--scale", "smoke", f"--shard={text}"]) == 2
    error = capsys.readouterr().err
    assert "argument --shard: is I/N, I from 0 to N - 1, as 0/8, not" in error and error.count("\n") == 1


def test_a_shard_is_computed(monkeypatch, capsys):
    """Of a plan of two families, by the command line: one teacher, and its student."""
    runs = [run for seed in (0, 1) for method in ("teacher", "rd") for run in [
        rkd.Run("synthetic", method, seed, dim=3, teacher_dim=3, epochs=1)]]
    monkeypatch.setattr("rkd.study.plan.runs_of", lambda scale: dict.fromkeys(runs))
    assert main(["compute", "--scale", "smoke", "--shard", "1/2", "--jobs", "1", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 runs are complete" and len(files()) == 2

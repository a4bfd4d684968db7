"""What is chosen of trials, and which trials count for what is to be trained."""

import csv
import re
from contextlib import suppress

import pandas as pd
import pytest
import torch
from runs_helpers import write_trials

import rkd
import rkd.tuned
from rkd import CATALOG, METHODS, Distiller, split_of
from rkd.data import PROTOCOLS
from rkd.methods import check_settings
from rkd.models import BACKBONES
from rkd.study.figures import searched
from rkd.study.papers import mkd
from rkd.study.scales import SCALES
from rkd.tuned import COMMON, best_so_far, choices, choose, trials_of, tuned

NDCG, TAIL = "valid_ndcg@10", "valid_unpopular/recall@10"


def test_two_choices_by_hand():
    table = pd.DataFrame({"lr": [0.1, 0.2, 0.3, 0.4], "groups": [2, 3, 4, 5], "best_epoch": 1, "epochs": 2,
                          "valid_ndcg@10": [0.500, 0.491, 0.489, 0.400], "valid_recall@10": 0.0,
                          "valid_unpopular/recall@10": [0.01, 0.02, 0.05, 0.09]})
    assert choose(table) == {"accuracy": {"lr": 0.1, "groups": 2}, "tail": {"lr": 0.2, "groups": 3}}  # 0.98 · 0.5
    assert all(type(settings["groups"]) is int for settings in choose(table).values())
    halved = table.assign(trial=range(4), origin="drawn", edge="", rung=[25, 50, 50, 50], batch_size=8192)
    assert choose(halved) == {"accuracy": {"lr": 0.2, "groups": 3, "batch_size": 8192},  # the first not at the end
                              "tail": {"lr": 0.3, "groups": 4, "batch_size": 8192}}
    authors = halved.assign(origin=["drawn", "published", "drawn", "drawn"], batch_size=[8192, 2048, 8192, 8192])
    assert {settings["lr"] for settings in choose(authors).values()} == {0.3}  # as many steps in an epoch as all
    assert choose(authors.assign(batch_size=2048))["accuracy"]["lr"] == 0.2


def test_the_best_so_far_by_hand():
    table = pd.DataFrame({NDCG: [0.2, 0.1, 0.3, 0.25], "epochs": [25, 20, 50, 50], "rung": [25, 25, 50, 50]})
    assert best_so_far(table).to_dict() == {25: 0.2, 45: 0.2, 95: 0.3, 145: 0.3}
    (axis,) = searched({"RD": best_so_far(table)}).axes
    assert axis.lines[0].get_xydata().tolist() == [[25, 0.2], [45, 0.2], [95, 0.3], [145, 0.3]]
    with pytest.raises(ValueError, match="do not tell in which order"):
        best_so_far(table.drop(columns="rung"))


def test_tuning_anew_counts_at_once(untuned):
    """Choices are kept in memory, but not longer than their file stays as it is."""
    fingerprint = split_of("synthetic").data_fingerprint
    for lr in (0.5, 0.25):
        write_trials(fingerprint, "rd", {"lr": lr})
        assert rkd.Run("synthetic", "rd").lr == lr


def test_of_two_names_of_the_same_data_the_trials_written_last_count(untuned):
    fingerprint = split_of("synthetic").data_fingerprint
    for name, lr in (("b", 0.5), ("c", 0.25), ("a", 0.125)):
        write_trials(fingerprint, "rd", {"lr": lr}, name=name)
        assert rkd.Run("synthetic", "rd").lr == lr


def test_what_is_committed_fits_the_methods():
    """Every chosen setting is one that its method has; every folder is of data that the catalog knows."""
    names = {dataset.fingerprint: name for name, dataset in CATALOG.items()}
    found = list(rkd.tuned.TRIALS.rglob("*.*"))
    assert len(found) > 30
    for path in found:
        place, split, backbone, file = path.relative_to(rkd.tuned.TRIALS).parts
        name, fingerprint = place.rsplit("-", 1)
        method, dim = re.fullmatch(r"(.+?)(?:-d(\d+))?\.csv", file).groups()
        assert names[fingerprint] == name and split in PROTOCOLS and backbone in BACKBONES and method in METHODS
        both = choices(fingerprint, split, backbone, method, dim and int(dim))
        assert both == by_hand(path) and both.keys() == {"accuracy", "tail"}
        for settings in both.values():
            own = {k: v for k, v in settings.items() if k not in COMMON}
            check_settings(method, own)
            assert own.keys() == METHODS[method].search.keys() | own.keys() & METHODS[method].published.keys()
            assert "batch_size" in settings and ("weight" in settings) == issubclass(METHODS[method], Distiller)


def by_hand(path) -> dict[str, dict]:
    """What is chosen of a file of trials, with or without rungs, of the drawn trials' batch, as text is compared."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    longest = max(int(row.get("rung", 0)) for row in rows)
    batches = {row["batch_size"] for row in rows if row.get("origin", "drawn") == "drawn"}
    rows = [row for row in rows if int(row.get("rung", 0)) == longest and row["batch_size"] in batches]
    first = max(rows, key=lambda row: float(row[NDCG]))
    second = max((row for row in rows if float(row[NDCG]) >= 0.98 * float(first[NDCG])),
                 key=lambda row: float(row[TAIL]))
    not_settings = {"trial", "origin", "rung", "edge", "best_epoch", "epochs"}
    return {choice: {name: value(text) for name, text in row.items()
                     if not name.startswith("valid_") and name not in not_settings}
            for choice, row in (("accuracy", first), ("tail", second))}


def value(text):
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        return float(text)
    return {"True": True, "False": False}.get(text, text)


# ----------------------------------------------------------------------------------------------------------- the sizes

def test_settings_are_chosen_for_a_size(untuned):
    """Those of the size, where there are any, then those of the usual one; of a method first, then the plain
    student's."""
    write_trials("a", "none", {"lr": 1, "l2": 2, "batch_size": 16})
    write_trials("a", "none-d50", {"lr": 3, "batch_size": 17})
    write_trials("a", "rd", {"weight": 4, "k": 5})
    write_trials("a", "rd-d50", {"weight": 6}, {"weight": 7})
    write_trials("a", "teacher", {"lr": 8})
    write_trials("a", "teacher-d50", {"lr": 9})
    for dim in (None, 10, 20):
        assert tuned("a", "mf", "rd", dim=dim) == {"lr": 1, "l2": 2, "batch_size": 16, "weight": 4, "k": 5}
    assert tuned("a", "mf", "rd", dim=50) == {"lr": 3, "l2": 2, "batch_size": 17, "weight": 6, "k": 5}
    assert tuned("a", "mf", "rd", "tail", dim=50)["weight"] == 7 and tuned("a", "mf", "none", dim=50)["lr"] == 3
    assert tuned("a", "mf", "cd", dim=50)["lr"] == 3 and tuned("a", "mf", "cd", dim=10)["lr"] == 1
    assert [tuned("a", "mf", "teacher", dim=dim)["lr"] for dim in (None, 100, 50, 10)] == [8, 8, 9, 8]
    assert trials_of("a", "unkd", "mf", "rd", 50)["weight"].tolist() == [6, 7]
    assert trials_of("a", "unkd", "mf", "cd", 50) is None


def test_runs_of_a_size_take_what_was_chosen_for_it(untuned, monkeypatch):
    """However they are made: by Run, by a scale, by MKD's study of sizes, by distill; their teachers too."""
    fingerprint, seen = split_of("synthetic").data_fingerprint, {}
    for dim, lr in (("", 0.5), ("-d20", 0.25), ("-d50", 0.125)):
        for method in ("none", "rd", "mkd", "teacher"):
            for protocol in ("ratio", "unkd"):
                write_trials(fingerprint, f"{method}{dim}", {"lr": lr}, split=protocol)
    found = {dim: rkd.Run("synthetic", "rd", dim=dim, split="ratio", teacher_dim=50) for dim in (None, 5, 20)}
    assert {dim: run.lr for dim, run in found.items()} == {None: 0.5, 5: 0.5, 20: 0.25}
    assert {run.teacher.lr for run in found.values()} == {0.125}
    laptop = SCALES["laptop"]
    assert [run.lr for run in laptop.runs("synthetic", ["rd"], split="ratio", dim=20)] == [0.25] * len(laptop.seeds)
    groups = mkd.mkd(laptop, ["synthetic"]).groups
    for method in ("none", "mkd"):
        assert {dim: {(run.lr, run.dim) for run in groups[f"{method}, d = {dim}"]} for dim in mkd.sizes(laptop)} == {
            10: {(0.5, 10)}, 20: {(0.25, 20)}, 50: {(0.125, 50)}, 100: {(0.5, 100)}}
    monkeypatch.setattr("rkd.distillation.train", lambda *_, **given: seen.update(given))
    split = split_of("synthetic", "ratio")
    rkd.distill((torch.zeros(split.n_users, 1), torch.zeros(split.n_items, 1)), split, "rd", dim=20)
    assert seen["lr"] == 0.25


def test_a_scale_runs_either_choice(untuned):
    """Every setting of the choice reaches the run; what is given goes before it."""
    common = {"lr": 0.5, "l2": 0.25, "weight": 0.125, "batch_size": 16}
    write_trials(split_of("synthetic").data_fingerprint, "unkd", {**common, "groups": 2},
                 {**common, "lr": 0.75, "groups": 3}, split="ratio")
    for choice, lr, groups in (("accuracy", 0.5, 2), ("tail", 0.75, 3)):
        run, *others = SCALES["laptop"].runs("synthetic", ["unkd"], split="ratio", choice=choice)
        assert [r.seed for r in (run, *others)] == list(SCALES["laptop"].seeds)
        assert (run.lr, run.l2, run.weight, run.batch_size) == (lr, 0.25, 0.125, 16)
        assert dict(run.settings)["groups"] == groups
    run, *_ = SCALES["laptop"].runs("synthetic", ["unkd"], few=True, choice="tail", split="ratio", lr=0.1)
    assert run.lr == 0.1 and dict(run.settings)["groups"] == 3

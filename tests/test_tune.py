"""Fair tuning: equal numbers of trials, common points, validation data alone, both choices kept."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import rkd.tuned
from rkd import split_of
from rkd.data import Interactions, Split
from rkd.distill import ALONE, METHODS, check_settings, settings_of
from rkd.tune import OWN, RANGES, SEED, _point, _sobol, choices, trials, tune
from rkd.scales import SCALES
from rkd.tuned import tuned


@pytest.fixture
def small(untuned, monkeypatch):
    """Trials of three epochs on the synthetic data set."""
    def of(method, n=4):
        return trials("synthetic", method, n=n, epochs=3, jobs=1)

    monkeypatch.setattr("builtins.print", lambda *_, **__: None)
    return of


def test_every_method_tries_the_same_common_points(small):
    tables = {method: small(method) for method in ("none", "rd", "unkd", "pd")}
    common = {method: table.sort_values(["lr", "l2"])[["lr", "l2"]].to_numpy().tolist()
              for method, table in tables.items()}
    assert common["none"] == common["rd"] == common["unkd"] == common["pd"] and len(common["none"]) == 4
    assert "weight" not in tables["none"] and set(tables["rd"]["weight"]) == set(tables["unkd"]["weight"])
    assert set(OWN["unkd"]) <= set(tables["unkd"]) and set(OWN["pd"]) <= set(tables["pd"])


def test_points_lie_in_their_ranges():
    for ranges in (RANGES, *OWN.values()):
        for row in _sobol(len(ranges), 12, 0):
            for name, value in _point(ranges, row).items():
                span = ranges[name]
                assert value in span if isinstance(span, list) else 0.98 * span[0] <= value <= 1.02 * span[1]
    assert _point({"a": [1, 2, 3]}, np.array([0.999])) == {"a": 3}
    assert _point({"a": (0.01, 1.0)}, np.array([0.5])) == {"a": 0.1}


def test_own_settings_exist_and_are_of_their_type():
    for method, ranges in OWN.items():
        assert method in {**METHODS, **ALONE}
        check_settings(method, {name: span[0] for name, span in ranges.items()})


def test_the_tuning_seed_is_never_reported():
    assert all(SEED not in scale.seeds for scale in SCALES.values())


def test_trials_do_not_look_at_the_test_data(small, monkeypatch):
    """Other test items, same trials."""
    first = small("rd")
    split = split_of("synthetic")
    taken = Interactions(split.n_users, split.n_items, split.test.users, split.test.items.flip(0), "synthetic")
    keys = set(((split.train.users * split.n_items + split.train.items).tolist())
               + (split.valid.users * split.n_items + split.valid.items).tolist())
    fresh = [(u, i) for u, i in zip(taken.users.tolist(), taken.items.tolist()) if u * split.n_items + i not in keys]
    users, items = map(list, zip(*dict.fromkeys(fresh)))
    other = Split(split.train, split.valid, Interactions(split.n_users, split.n_items, torch.tensor(users),
                                                         torch.tensor(items), "synthetic"), "unkd", 0)
    monkeypatch.setattr("rkd.runs.split_of", lambda *_: other)
    pd.testing.assert_frame_equal(first, small("rd"))


def test_two_choices_by_hand():
    table = pd.DataFrame({"lr": [0.1, 0.2, 0.3, 0.4], "groups": [2, 3, 4, 5], "best_epoch": 1, "epochs": 2,
                          "valid_ndcg@10": [0.500, 0.491, 0.489, 0.400], "valid_recall@10": 0.0,
                          "valid_unpopular/recall@10": [0.01, 0.02, 0.05, 0.09]})
    assert choices(table) == {"accuracy": {"lr": 0.1, "groups": 2}, "tail": {"lr": 0.2, "groups": 3}}  # 0.98 · 0.5 = 0.49
    assert all(type(settings["groups"]) is int for settings in choices(table).values())


def test_tuning_writes_trials_and_choices_and_later_runs_take_them(untuned, tmp_path):
    tune("synthetic", ["unkd", "teacher"], tmp_path / "trials", n=2, epochs=3, jobs=1)
    table = pd.read_csv(tmp_path / "trials/synthetic-unkd-mf-unkd.csv")
    kept = json.loads(rkd.tuned.PATH.read_text())
    chosen = {choice: by_dataset["synthetic"]["unkd"]["mf"] for choice, by_dataset in kept.items()}
    assert set(chosen) == {"accuracy", "tail"} and set(chosen["accuracy"]) == {"teacher", "unkd"}
    assert chosen["accuracy"]["unkd"] == choices(table)["accuracy"]
    run = rkd.Run("synthetic", "unkd")
    assert (run.lr, run.l2, run.weight) == tuple(table.loc[0, ["lr", "l2", "weight"]])
    assert (run.batch_size, run.teacher.batch_size) == (8192, 2048) and (table["batch_size"] == 8192).all()
    assert dict(run.settings)["groups"] == table.loc[0, "groups"]
    assert tuned("synthetic", "mf", "unkd", choice="tail") == chosen["tail"]["unkd"]
    assert not list(rkd.tuned.PATH.parent.glob("*writing*"))


def test_what_is_committed_fits_the_methods():
    """Every chosen setting is one that its method has."""
    kept = json.loads(rkd.tuned.PATH.read_text())
    by_split = [by_backbone for by_dataset in kept.values() for dataset in by_dataset.values()
                for by_backbone in dataset.values()]
    for by_method in (chosen for by_backbone in by_split for chosen in by_backbone.values()):
        for method, settings in by_method.items():
            own = {k: v for k, v in settings.items() if k not in (*RANGES, "batch_size")}
            check_settings(method, own)
            assert set(own) <= set(settings_of(method)) and "batch_size" in settings
            assert ("weight" in settings) == (method in METHODS)


def test_a_scale_runs_either_choice(untuned):
    """Every setting of the choice reaches the run; what is given goes before it."""
    common = {"lr": 0.5, "l2": 0.25, "weight": 0.125, "batch_size": 16}
    rkd.tuned.PATH.write_text(json.dumps({
        choice: {"synthetic": {"ratio": {"mf": {"unkd": {**common, "lr": lr, "groups": groups}}}}}
        for choice, lr, groups in (("accuracy", 0.5, 2), ("tail", 0.75, 3))}))
    for choice, lr, groups in (("accuracy", 0.5, 2), ("tail", 0.75, 3)):
        run, *others = SCALES["laptop"].runs("synthetic", ["unkd"], split="ratio", choice=choice)
        assert [r.seed for r in (run, *others)] == list(SCALES["laptop"].seeds)
        assert (run.lr, run.l2, run.weight, run.batch_size) == (lr, 0.25, 0.125, 16)
        assert dict(run.settings)["groups"] == groups
    (run,) = SCALES["laptop"].runs("synthetic", ["unkd"], few=True, choice="tail", split="ratio", lr=0.1)
    assert run.lr == 0.1 and dict(run.settings)["groups"] == 3

"""Fair tuning: equal numbers of trials, common points, validation data alone, both choices kept."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from runs_helpers import write_trials

import rkd
import rkd.tuned
from rkd import CATALOG, METHODS, Distiller, Interactions, Split, split_of
from rkd.files import cache_folder
from rkd.methods import check_settings
from rkd.models import BACKBONES
from rkd.protocols import PROTOCOLS
from rkd.study.scales import SCALES
from rkd.tune import RANGES, SEED, _point, _sobol, trials, tune
from rkd.tuned import COMMON, choices, choose, tuned


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
    assert METHODS["unkd"].search.keys() <= set(tables["unkd"]) and METHODS["pd"].search.keys() <= set(tables["pd"])


def test_points_lie_in_their_ranges():
    for ranges in (RANGES, *(method.search for method in METHODS.values() if method.search)):
        for row in _sobol(len(ranges), 12, 0):
            for name, value in _point(ranges, row).items():
                span = ranges[name]
                assert value in span if isinstance(span, list) else 0.98 * span[0] <= value <= 1.02 * span[1]
    assert _point({"a": [1, 2, 3]}, np.array([0.999])) == {"a": 3}
    assert _point({"a": (0.01, 1.0)}, np.array([0.5])) == {"a": 0.1}


def test_own_settings_exist_and_are_of_their_type():
    searched = [method for method in METHODS.values() if method.search]
    for method in searched:
        check_settings(method, {name: span[0] for name, span in method.search.items()})
    assert len(searched) == len(METHODS) - 2  # all but the teacher and the plain student


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
    monkeypatch.setattr("rkd.schedule.refuse_altered", lambda *_, **__: None)
    for module in ("run", "store", "worker"):
        monkeypatch.setattr(f"rkd.{module}.split_of", lambda *_: other)
    pd.testing.assert_frame_equal(first, small("rd"))


def test_two_choices_by_hand():
    table = pd.DataFrame({"lr": [0.1, 0.2, 0.3, 0.4], "groups": [2, 3, 4, 5], "best_epoch": 1, "epochs": 2,
                          "valid_ndcg@10": [0.500, 0.491, 0.489, 0.400], "valid_recall@10": 0.0,
                          "valid_unpopular/recall@10": [0.01, 0.02, 0.05, 0.09]})
    assert choose(table) == {"accuracy": {"lr": 0.1, "groups": 2}, "tail": {"lr": 0.2, "groups": 3}}  # 0.98 · 0.5
    assert all(type(settings["groups"]) is int for settings in choose(table).values())


def test_tuning_writes_trials_and_later_runs_take_the_choices(untuned):
    """By default into the cache."""
    fingerprint = split_of("synthetic").data_fingerprint
    tune("synthetic", ["unkd", "teacher"], n=2, epochs=3, jobs=1)
    place = cache_folder() / "tuning" / f"synthetic-{fingerprint}" / "unkd" / "mf"
    assert sorted(path.name for path in place.iterdir()) == ["teacher.csv", "unkd.csv"]  # and nothing half-written
    table = pd.read_csv(place / "unkd.csv")
    kept = choices(fingerprint, "unkd", "mf", "unkd")
    assert set(kept) == {"accuracy", "tail"} and kept == choose(table)
    run = rkd.Run("synthetic", "unkd")
    assert (run.lr, run.l2, run.weight) == tuple(table.loc[0, ["lr", "l2", "weight"]])
    assert (run.batch_size, run.teacher.batch_size) == (8192, 2048) and (table["batch_size"] == 8192).all()
    assert dict(run.settings)["groups"] == table.loc[0, "groups"]
    assert tuned(fingerprint, "mf", "unkd", choice="tail") == kept["tail"]
    assert run.teacher.lr == pd.read_csv(place / "teacher.csv").loc[0, "lr"]


def test_a_students_trials_learn_from_the_teacher_just_chosen(untuned, monkeypatch):
    teachers, compute = [], rkd.compute
    monkeypatch.setattr("rkd.tune.compute", lambda runs, jobs: teachers.append({run.teacher for run in runs}) or
                        compute(runs, jobs, log=lambda line: None))
    tune("synthetic", ["rd", "teacher"], n=2, epochs=3, jobs=1)
    assert teachers == [{None}, {rkd.Run("synthetic", "teacher", SEED, epochs=3)}]
    (teacher,) = teachers[1]
    assert teacher.lr == choices(split_of("synthetic").data_fingerprint, "unkd", "mf", "teacher")["accuracy"]["lr"]


def test_tuning_anew_counts_at_once(untuned):
    """Choices are kept in memory, but not longer than their file stays as it is."""
    fingerprint = split_of("synthetic").data_fingerprint
    for lr in (0.5, 0.25):
        write_trials(fingerprint, "rd", {"lr": lr})
        assert rkd.Run("synthetic", "rd").lr == lr


def test_tuning_to_a_folder_says_what_it_chose(untuned, tmp_path, capsys):
    """The trials lie there and nowhere else; a method of one's own is tuned like any other."""
    class Mine(rkd.methods.rd.RD):
        search = {"k": [3, 4]}

    tune("synthetic", [Mine], tmp_path / "trials", n=2, epochs=2, jobs=1)
    fingerprint = split_of("synthetic").data_fingerprint
    (path,) = (tmp_path / "trials").rglob("*.csv")
    assert path.relative_to(tmp_path / "trials").as_posix() == f"synthetic-{fingerprint}/unkd/mf/Mine.csv"
    assert not (cache_folder() / "tuning").exists() and choices(fingerprint, "unkd", "mf", "Mine") == {}
    chosen = choose(pd.read_csv(path))
    assert set(chosen["accuracy"]) == {"lr", "l2", "weight", "batch_size", "k"}
    assert [line for line in capsys.readouterr().out.splitlines() if not line.startswith("run ")] == [
        *(f"synthetic unkd mf Mine, {choice}: {settings}" for choice, settings in chosen.items()),
        f"runs take these settings where RKD_TUNING={tmp_path / 'trials'} is set"]


@pytest.mark.parametrize("shipped", [False, True])
def test_trials_written_anywhere_are_learnt_from_in_the_call_and_found_where_told(shipped, untuned, tmp_path,
                                                                                 monkeypatch, capsys):
    """Whether or not trials for these data come with rkd, which otherwise count before those in the cache."""
    fingerprint, teachers, compute = split_of("synthetic").data_fingerprint, [], rkd.compute
    if shipped:
        write_trials(fingerprint, "teacher", {"lr": 0.5})
    monkeypatch.setattr("rkd.tune.compute", lambda runs, jobs: teachers.append({run.teacher for run in runs}) or
                        compute(runs, jobs, log=lambda line: None))
    for folder in (tmp_path / "elsewhere", None):
        tune("synthetic", ["rd", "teacher"], folder, n=2, epochs=3, jobs=1)
        said = f"RKD_TUNING={folder or cache_folder() / 'tuning'} is set" in capsys.readouterr().out
        (teacher,) = teachers[-1]
        (path,) = (folder or cache_folder() / "tuning").glob("*/unkd/mf/teacher.csv")
        best = pd.read_csv(path).loc[0, "lr"]
        assert teacher.lr == best != 0.5 and "RKD_TUNING" not in os.environ
        found = rkd.Run("synthetic", "teacher").lr
        assert found == (0.5 if shipped else best if folder is None else 0.001)
        assert said == (folder is not None)  # rd has no trials but these
        monkeypatch.setenv("RKD_TUNING", str(path.parents[3]))
        assert rkd.Run("synthetic", "teacher").lr == best
        monkeypatch.delenv("RKD_TUNING")


def test_a_trial_that_fails_stops_no_other(untuned, monkeypatch, capsys):
    monkeypatch.setitem(RANGES, "lr", (1e-2, 1e30))
    table = trials("synthetic", "none", n=4, epochs=3, jobs=1)
    assert 1 <= len(table) < 4 and table["valid_ndcg@10"].notna().all()
    assert "runs failed; the others are kept" in capsys.readouterr().out
    monkeypatch.setitem(RANGES, "lr", (1e29, 1e30))
    with pytest.raises(rkd.RunsFailed, match="4 of 4 runs failed"):
        trials("synthetic", "none", n=4, epochs=3, jobs=1)
    with pytest.raises(ValueError, match="1 trial or more, not 0"):
        trials("synthetic", "none", n=0)


def test_of_two_names_of_the_same_data_the_trials_written_last_count(untuned):
    fingerprint = split_of("synthetic").data_fingerprint
    for name, lr in (("b", 0.5), ("c", 0.25), ("a", 0.125)):
        write_trials(fingerprint, "rd", {"lr": lr}, name=name)
        assert rkd.Run("synthetic", "rd").lr == lr


def test_what_is_committed_fits_the_methods():
    """Every chosen setting is one that its method has; every folder is of data that the catalog knows."""
    names = {dataset.fingerprint: name for name, dataset in CATALOG.items()}
    found = list(rkd.tuned.TRIALS.rglob("*.*"))
    assert len(found) > 50
    for path in found:
        place, split, backbone, file = path.relative_to(rkd.tuned.TRIALS).parts
        name, fingerprint = place.rsplit("-", 1)
        method = file.removesuffix(".csv")
        assert names[fingerprint] == name and split in PROTOCOLS and backbone in BACKBONES and method in METHODS
        both = choices(fingerprint, split, backbone, method)
        assert both == choose(pd.read_csv(path)) and both.keys() == {"accuracy", "tail"}
        for settings in both.values():
            own = {k: v for k, v in settings.items() if k not in COMMON}
            check_settings(method, own)
            assert own.keys() == METHODS[method].search.keys() and "batch_size" in settings
            assert ("weight" in settings) == issubclass(METHODS[method], Distiller)


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
    (run,) = SCALES["laptop"].runs("synthetic", ["unkd"], few=True, choice="tail", split="ratio", lr=0.1)
    assert run.lr == 0.1 and dict(run.settings)["groups"] == 3

"""The search: as many trials of every method, halved at equal epochs, validation data alone; what is chosen of them."""

import math
import os
import re
from collections import Counter
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from runs_helpers import files, write_trials

import rkd
import rkd.tuned
from rkd import METHODS, Interactions, Split, split_of
from rkd.design import RANGES, SEED
from rkd.files import cache_folder
from rkd.study.scales import SCALES
from rkd.tune import rungs, search, tune
from rkd.tuned import COMMON, best, choices, choose, tuned

NDCG, TAIL = "valid_ndcg@10", "valid_unpopular/recall@10"


@pytest.fixture
def small(untuned, monkeypatch):
    """Trials of three epochs on the synthetic data set."""
    def of(*methods, n=4, epochs=3):
        return search("synthetic", list(methods), n=n, epochs=epochs, jobs=1)

    monkeypatch.setattr("builtins.print", lambda *_, **__: None)
    return of


@pytest.fixture
def imagined(untuned, monkeypatch):
    """imagined(ndcg, tail): searches in which runs are not trained, but have these metrics, functions of the run."""
    def of(ndcg, tail=lambda run: 0.1):
        def compute(runs, jobs):
            return [SimpleNamespace(best_epoch=run.epochs, epochs=run.epochs, valid_metrics={
                "ndcg@10": ndcg(run), "recall@10": 0.2, "unpopular/recall@10": tail(run)}) for run in runs]

        monkeypatch.setattr("rkd.tune.compute", compute)
        return lambda *methods, **options: search("synthetic", list(methods), **options)

    monkeypatch.setattr("rkd.tune._announce", lambda *_: None)
    return of


def away(run, **best) -> float:
    """How far a run's settings are from the best, in logarithms."""
    return sum(abs(math.log(getattr(run, name) / value)) for name, value in best.items())


# --------------------------------------------------------------------------------------------------------- the halving

def test_rungs():
    assert rungs(32, 160) == [(32, 20), (16, 40), (8, 160)]
    assert rungs(32, 200) == [(32, 25), (16, 50), (8, 200)]
    assert rungs(8, 200) == [(8, 25), (4, 50), (2, 200)] and rungs(32, 500)[0] == (32, 65)
    assert rungs(1, 100) == [(1, 15), (1, 25), (1, 100)] and rungs(4, 12) == [(4, 5), (2, 12)]
    assert rungs(7, 3) == [(7, 3)]


def test_the_better_half_goes_on(imagined, monkeypatch):
    """By what they are at that rung: here a low l2 is good at first, a high one in the end. The authors' settings,
    bad throughout, and the best of the tail stay."""
    authors = {"lr": 7e-3, "l2": 1e-2, "weight": 1e-9, "batch_size": 8192}
    monkeypatch.setattr(METHODS["rd"], "published", authors)

    def ndcg(run):
        return 0.1 if run.weight == 1e-9 else 0.4 - 0.02 * away(run, lr=7e-3) + 1e-4 * run.epochs * run.l2 ** 0.2

    table = imagined(ndcg, lambda run: run.weight)("rd")["rd"]
    first = table[~table["origin"].str.startswith("beyond")]
    lived = {rung: part.set_index("trial") for rung, part in first.groupby("rung")}
    assert {rung: len(part) for rung, part in lived.items()} == {20: 32, 40: 16, 160: 8}
    for rung, part in lived.items():
        assert all(part[NDCG] > 0.39 - 0.02 * 4) or 0 in part.index
        if rung < 160:
            after = lived[{20: 40, 40: 160}[rung]].index
            stay, go = part.loc[after], part.drop(after)
            near = part[part[NDCG] >= 0.98 * part[NDCG].max()]
            extra = {0, near[TAIL].idxmax()}
            assert extra | {part[NDCG].idxmax()} <= set(stay.index)
            assert stay.drop(list(extra))[NDCG].min() > go[NDCG].max()
    assert choose(table)["accuracy"]["l2"] == table.loc[table[table["rung"] == 160][NDCG].idxmax(), "l2"]
    assert table["origin"].iloc[0] == "published" and table["epochs"].max() == 160


def test_what_cannot_be_chosen_is_tried_and_no_more(imagined, monkeypatch):
    """The authors' settings with another batch, were they the best: the first rung has them, and elsewhere nothing
    changes."""
    def ndcg(run):
        return 0.9 if run.batch_size == 2048 else 0.4 - 0.02 * away(run, lr=7e-3) - 1e-3 * away(run, l2=1e-2)

    others = {}
    for batch in (2048, 8192):
        monkeypatch.setattr(METHODS["rd"], "published", {"lr": 5e-2, "l2": 1e-2, "weight": 1e-9, "batch_size": batch})
        table = imagined(ndcg)("rd")["rd"]
        assert table.loc[table["trial"] == 0, "rung"].tolist() == ([20] if batch == 2048 else [20, 40, 160])
        others[batch] = table[table["trial"] > 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(others[2048], others[8192])


def test_every_method_is_trained_for_as_many_epochs(imagined):
    """32 · 20 + 16 · 40 + 8 · 160; of LightGCN a quarter longer; less a trial after the first rung where the authors'
    batch is another. Teachers are trained to the end for every rung."""
    taught = set()

    def ndcg(run):
        taught.add((run.backbone, run.teacher.epochs) if run.distils else None)
        return 0.5 - 0.01 * away(run, lr=7e-3, l2=1e-2, **({"weight": METHODS[run.name].weight} if run.weight else {}))

    for backbone, epochs in (("mf", 2560), ("lightgcn", 3200)):
        tables = imagined(ndcg)("none", "rd", "unkd", "pd", backbone=backbone)
        drawn = {method: table[table["origin"] != "beyond"] for method, table in tables.items()}
        ended = {"none": 0, "pd": 0} | dict.fromkeys(("rd", "unkd"), epochs // 64 + epochs // 16)
        assert {method: table["epochs"].sum() + ended[method] for method, table in drawn.items()} == dict.fromkeys(
            tables, epochs)
        common = {method: table[(table["rung"] == epochs / 128) & (table["origin"] == "drawn")][["lr", "l2"]]
                  .to_numpy().tolist() for method, table in tables.items()}
        assert len(common["none"]) == 32
        assert all(points == common["none"][:len(points)] and len(points) >= 31 for points in common.values())
    assert taught == {None, ("mf", 160), ("lightgcn", 200)}
    assert "weight" not in tables["none"] and METHODS["unkd"].search.keys() <= set(tables["unkd"])


def test_a_choice_within_the_ranges_extends_nothing(imagined):
    table = imagined(lambda run: 0.5 - 0.01 * away(run, lr=7e-3, l2=1e-2, weight=0.1))("rd")["rd"]
    assert set(table["origin"]) == {"published", "drawn"} and len(table) == 32 + 15 + 7
    assert not table.loc[(table["rung"] == 160) & (table["origin"] == "drawn"), "edge"].str.len().any()


def test_a_choice_on_an_edge_extends_the_range(imagined):
    """Until the best lies within, at l2 = .2, or twice, where more is always better."""
    table = imagined(lambda run: 0.5 - 0.01 * away(run, lr=7e-3) - 0.05 * away(run, l2=0.2))("none")["none"]
    further = table[table["origin"] == "beyond l2 high"]
    assert set(table["origin"]) == {"drawn", "beyond l2 high"} and set(further["trial"]) == set(range(32, 40))
    assert Counter(further["rung"]) == {20: 8, 40: 4, 160: 2}
    best = table.loc[table[table["rung"] == 160][NDCG].idxmax()]
    assert best["origin"] == "beyond l2 high" and best["edge"] == "" and 0.1 < best["l2"] < 0.4 * 0.65

    table = imagined(lambda run: 0.5 - 0.01 * away(run, lr=1e9))("rd")["rd"]
    assert table[table["trial"] >= 32]["origin"].str.startswith("beyond lr high").all()
    assert 0.2 < table["lr"].max() <= 0.05 * 16
    assert table["trial"].nunique() == 32 + 8 + 8 and Counter(table["rung"])[20] == 48
    best = table.loc[table[table["rung"] == 160][NDCG].idxmax()]
    assert best["trial"] >= 40 and best["edge"].startswith("lr high")  # and is reported so
    assert (table["edge"].str.contains("lr high") == (table["lr"] >= 1e-3 * 800 ** 0.9)).all()  # of .001 … 4 · 4 · .05
    own = table[table["trial"] >= 32][[*METHODS["rd"].search]]
    assert len(own.drop_duplicates()) == 1  # the method's own settings are those of the best so far


def test_a_trial_repeats_itself_and_goes_on(small):
    """What a trial was at the rung before, from the same teacher, is how it begins at the next."""
    table = small("sld", n=2, epochs=10)["sld"]
    assert table["rung"].tolist()[:4] == [5, 5, 10, 10]
    histories = {}
    for trial in table.head(4).to_dict("records"):
        run = rkd.Run("synthetic", "sld", SEED, **{name: trial[name] for name in (*COMMON,)}, epochs=trial["rung"],
                      settings={name: trial[name] for name in METHODS["sld"].search}, teacher_epochs=10)
        (result,) = rkd.compute([run], jobs=1, log=lambda line: None)
        assert result.valid_metrics["ndcg@10"] == trial[NDCG] and run.teacher.epochs == 10
        histories[trial["trial"], trial["rung"]] = result.history
    for trial in (0, 1):
        assert len(histories[trial, 10]) == 2 and histories[trial, 10][:1] == histories[trial, 5]


def test_a_search_that_was_killed_goes_on_where_it_was(untuned, monkeypatch, capsys):
    """Every run is trained once, but for the one that was at it."""
    fits, fit = [], rkd.run.fit

    def counted(run, *rest):
        fits.append(run)
        if len(fits) == 7:
            raise KeyboardInterrupt
        return fit(run, *rest)

    monkeypatch.setattr("rkd.worker.fit", counted)
    with pytest.raises(KeyboardInterrupt):
        tune("synthetic", ["none", "rd"], n=4, epochs=10, jobs=1)
    assert not list(cache_folder().glob("tuning/**/*.csv")) and len(files()) == 6
    tune("synthetic", ["none", "rd"], n=4, epochs=10, jobs=1)
    once = Counter(fits)
    assert once.pop(fits[6]) == 2 and set(once.values()) == {1} and len(once) > 10
    before, written = len(fits), {path: path.read_text() for path in cache_folder().glob("tuning/**/*.csv")}
    capsys.readouterr()
    tune("synthetic", ["none", "rd"], n=4, epochs=10, jobs=1)
    assert len(fits) == before and {path: path.read_text() for path in written} == written and len(written) == 2
    assert "to train" not in capsys.readouterr().out


def test_the_tuning_seed_is_never_reported():
    assert all(SEED not in scale.seeds for scale in SCALES.values())


def test_trials_do_not_look_at_the_test_data(small, monkeypatch):
    """Other test items, same trials."""
    first = small("rd")["rd"]
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
    pd.testing.assert_frame_equal(first, small("rd")["rd"])


# --------------------------------------------------------------------------------------------------------- its record

def test_tuning_writes_trials_and_later_runs_take_the_choices(untuned):
    """By default into the cache."""
    fingerprint = split_of("synthetic").data_fingerprint
    tune("synthetic", ["sld", "teacher"], n=2, epochs=3, jobs=1)
    place = cache_folder() / "tuning" / f"synthetic-{fingerprint}" / "unkd" / "mf"
    assert sorted(path.name for path in place.iterdir()) == ["sld.csv", "teacher.csv"]  # and nothing half-written
    table = pd.read_csv(place / "sld.csv")
    kept = choices(fingerprint, "unkd", "mf", "sld")
    assert set(kept) == {"accuracy", "tail"} and kept == choose(table)
    run = rkd.Run("synthetic", "sld")
    chosen = table.loc[table[NDCG].idxmax()]
    assert (run.lr, run.l2, run.weight) == tuple(chosen[["lr", "l2", "weight"]])
    assert (run.batch_size, run.teacher.batch_size) == (8192, 2048) and (table["batch_size"] == 8192).all()
    assert dict(run.settings)["gamma"] == chosen["gamma"]
    assert tuned(fingerprint, "mf", "sld", choice="tail") == kept["tail"]
    teachers = pd.read_csv(place / "teacher.csv")
    assert run.teacher.lr == teachers.loc[teachers[NDCG].idxmax(), "lr"]


def test_a_students_trials_learn_from_the_teacher_just_chosen(untuned, monkeypatch):
    teachers, compute = [], rkd.compute
    monkeypatch.setattr("rkd.tune.compute", lambda runs, jobs: teachers.append({run.teacher for run in runs}) or
                        compute(runs, jobs, log=lambda line: None))
    tune("synthetic", ["rd", "teacher"], n=2, epochs=3, jobs=1)
    assert teachers[0] == {None} and teachers[-1] == {rkd.Run("synthetic", "teacher", SEED, epochs=3)}
    (teacher,) = teachers[-1]
    assert teacher.lr == choices(split_of("synthetic").data_fingerprint, "unkd", "mf", "teacher")["accuracy"]["lr"]


def test_tuning_to_a_folder_says_what_it_chose(untuned, tmp_path, capsys):
    """The trials lie there and nowhere else; a method of one's own is tuned like any other."""
    class Mine(rkd.methods.rd.RD):
        search = {"k": [3, 4]}
        published = {}

    tune("synthetic", [Mine], tmp_path / "trials", n=2, epochs=2, jobs=1)
    fingerprint = split_of("synthetic").data_fingerprint
    (path,) = (tmp_path / "trials").rglob("*.csv")
    assert path.relative_to(tmp_path / "trials").as_posix() == f"synthetic-{fingerprint}/unkd/mf/Mine.csv"
    assert not (cache_folder() / "tuning").exists() and choices(fingerprint, "unkd", "mf", Mine) == {}
    chosen = choose(pd.read_csv(path))
    assert set(chosen["accuracy"]) == {"lr", "l2", "weight", "batch_size", "k"}
    table = pd.read_csv(path, keep_default_na=False)
    edges = {choice: table["edge"][row] for choice, row in best(table).items()}
    assert [line for line in capsys.readouterr().out.splitlines() if not re.match(r"run |\d+ trials", line)] == [
        *(f"synthetic unkd mf Mine, {choice}: {settings}"
          + f" (at the edge of what was tried: {edges[choice]})" * bool(edges[choice])
          for choice, settings in chosen.items()),
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
        chosen = choose(pd.read_csv(path))["accuracy"]["lr"]
        assert teacher.lr == chosen != 0.5 and "RKD_TUNING" not in os.environ
        found = rkd.Run("synthetic", "teacher").lr
        assert found == (0.5 if shipped else chosen if folder is None else 0.001)
        assert said == (folder is not None)  # rd has no trials but these
        monkeypatch.setenv("RKD_TUNING", str(path.parents[3]))
        assert rkd.Run("synthetic", "teacher").lr == chosen
        monkeypatch.delenv("RKD_TUNING")


def test_a_trial_that_fails_stops_no_other(untuned, monkeypatch, capsys):
    monkeypatch.setitem(RANGES, "lr", (1e-2, 1e30))
    table = search("synthetic", ["none"], n=4, epochs=3, jobs=1)["none"]
    assert 1 <= len(table) < 4 and table["valid_ndcg@10"].notna().all()
    assert "runs failed; the others are kept" in capsys.readouterr().out
    monkeypatch.setitem(RANGES, "lr", (1e29, 1e30))
    with pytest.raises(rkd.RunsFailed, match="4 of 4 runs failed"):
        search("synthetic", ["none"], n=4, epochs=3, jobs=1)
    with pytest.raises(ValueError, match="1 trial or more, not 0"):
        search("synthetic", ["none"], n=0)


def test_tuning_for_a_size(untuned):
    """Students of that size, from the usual teacher; their trials have a file of their own."""
    fingerprint = split_of("synthetic").data_fingerprint
    tune("synthetic", ["rd"], n=2, epochs=3, jobs=1, dim=3)
    (path,) = cache_folder().glob("tuning/**/*.csv")
    assert path.name == "rd-d3.csv" and choices(fingerprint, "unkd", "mf", "rd") == {}
    assert choices(fingerprint, "unkd", "mf", "rd", 3) == choose(pd.read_csv(path))
    sizes = {re.match(r"mf-(\w+)-(\d+)-", file.name).groups() for file in files()}
    assert sizes == {("rd", "3"), ("teacher", "100")}

"""What a Run says: its defaults, tuned settings for what is not given, its teacher, what it refuses."""

from dataclasses import replace

import pytest
from runs_helpers import tiny, write_trials

import rkd.datasets.synthetic
import rkd.tuned
from rkd import CATALOG, METHODS, DataError, Distiller, Run, compute, distill, split_of
from rkd.methods import Alone
from rkd.protocols import PROTOCOLS
from rkd.run import fingerprint_of
from rkd.tuned import tuned


class Mine(Distiller):
    """A method of one's own."""

    k: int = 3

    def loss(self, student, batch):
        return student.rows("users", batch.users).square().mean()


def test_a_runs_defaults(untuned):
    teacher, plain, student = (Run("synthetic", method) for method in ("teacher", "none", "cd"))
    assert (teacher.dim, plain.dim, student.dim, student.teacher_dim) == (100, 10, 10, 100)
    assert (plain.weight, plain.settings) == (0.0, ()) and dict(student.settings).items() >= {"n_samples": 30}.items()
    assert (student.backbone, student.split, student.split_seed) == ("mf", "unkd", 0)
    assert (student.seed, student.epochs) == (0, 500)
    assert student.teacher == teacher and teacher.teacher is None and plain.teacher is None
    assert student.distils and not teacher.distils and not plain.distils
    assert hash(student) == hash(Run("synthetic", "cd")) and student.as_dict()["settings"]["guide"] == "student"


def test_a_method_may_be_a_class(untuned):
    run = Run("synthetic", Mine)
    assert (run.name, run.method, run.distils, dict(run.settings)) == ("Mine", Mine, True, {"k": 3})
    assert run.teacher == Run("synthetic", "teacher") and run.as_dict()["method"] == "Mine" and "Mine" in str(run)
    assert run == Run("synthetic", Mine) and run != Run("synthetic", type("Mine", (Mine,), {}))
    for name, method in METHODS.items():
        assert Run("synthetic", method) == Run("synthetic", name)


def test_tuned_settings_stand_in_for_what_is_not_given(untuned, monkeypatch):
    """Data sets a, b and c, whose fingerprints are their names, and MovieLens-100K."""
    movies = CATALOG["ml-100k"].fingerprint
    monkeypatch.setattr("rkd.run.fingerprint_of", lambda name: movies if name == "ml-100k" else name)
    write_trials("a", "cd", {"lr": 1, "l2": 2, "batch_size": 64, "weight": 3, "t1": 4.0},
                 {"lr": 20, "l2": 21, "batch_size": 66, "weight": 22, "t1": 23.0})
    write_trials("a", "cd", {"lr": 5, "l2": 6}, backbone="lightgcn")
    write_trials("a", "cd", {"lr": 30, "weight": 31}, split="ratio")
    write_trials("b", "none", {"lr": 10, "l2": 11})
    write_trials("b", "none", {"lr": 12, "l2": 13}, backbone="lightgcn")
    write_trials(movies, "cd", {"lr": 7, "l2": 8, "batch_size": 65, "weight": 9})
    write_trials(movies, "teacher", {"lr": 14, "l2": 15})
    run = Run("a", "cd")
    assert (run.lr, run.l2, run.batch_size, run.weight, dict(run.settings)["t1"]) == (1, 2, 64, 3, 4.0)
    run = Run("a", "cd", split="ratio")
    assert (run.lr, run.l2, run.weight) == (30, 2, 31)  # its own first, then those of "unkd"
    run = Run("a", "cd", lr=0.5, settings={"t1": 2.5, "t2": 1})
    assert (run.lr, run.l2, dict(run.settings)) == (0.5, 2, METHODS["cd"].settings() | {"t1": 2.5, "t2": 1})

    def found(*arguments):
        run = Run(*arguments[:2], backbone=arguments[2])
        return run.lr, run.l2, run.weight

    assert found("a", "cd", "lightgcn") == (5, 6, 3)  # the weight of MF
    assert found("b", "cd", "mf") == (10, 11, 9)  # the plain student's lr and l2, MovieLens-100K's weight
    assert found("b", "cd", "lightgcn") == (12, 13, 9)
    assert found("c", "cd", "mf") == (7, 8, 9)  # all from MovieLens-100K
    assert found("c", "teacher", "lightgcn") == found("ml-100k", "teacher", "mf") == (14, 15, 0)
    assert found("c", "pd", "mf") == (14, 15, 0)  # a teacher's, as long as PD has none of its own
    assert Run("c", "cd").batch_size == 2048 and Run("ml-100k", "cd").batch_size == 65  # never from other data
    assert found("a", "rd", "mf") == (1e-3, 1e-2, 0.1) and found("a", "none", "mf") == (1e-3, 1e-2, 0.0)  # not tuned
    assert tuned("a", "mf", "cd", "tail") == {"lr": 20, "l2": 21, "weight": 22, "batch_size": 66, "t1": 23.0}


def test_the_data_decide_which_settings_are_tuned_not_their_name(untuned, tmp_path, monkeypatch):
    """MovieLens-100K is, here, 30 users with 6 items each. A file called so with other pairs gets the settings of data
    that nobody has tuned; the same pairs under another name get the tuned ones. Both by Run and by distill."""
    monkeypatch.setenv("RKD_CACHE", str(tmp_path / "cache"))
    true, lie = ([(u, (u * step + i) % 20) for u in range(30) for i in range(6)] for step in (1, 3))
    places = {"true": tmp_path / "anything.csv", "lie": tmp_path / "ml-100k.csv"}
    for path, pairs in zip(places.values(), (true, lie)):
        path.write_text("user,item\n" + "".join(f"{u},{i}\n" for u, i in pairs))
    movies = split_of(str(places["true"])).data_fingerprint
    monkeypatch.setattr(rkd.tuned, "DEMONSTRATION", movies)
    write_trials(movies, "rd", {"lr": 0.5, "l2": 0.25, "weight": 0.125, "batch_size": 16, "k": 4}, name="ml-100k")
    tuned_so, untuned_so = (0.5, 0.25, 0.125, 16), (0.5, 0.25, 0.125, 2048)  # the batch size alone is never another's
    for place, expected in (("true", tuned_so), ("lie", untuned_so)):
        run = Run(str(places[place]), "rd")
        assert (run.lr, run.l2, run.weight, run.batch_size) == expected
        split, seen = split_of(run), {}
        assert split.name == places[place].stem and (split.data_fingerprint == movies) == (place == "true")
        monkeypatch.setattr("rkd.distillation.train", lambda *_, **given: seen.update(given))
        distill(([[0.0]] * 30, [[0.0]] * 20), split, "rd")
        assert tuple(seen[name] for name in ("lr", "l2", "weight", "batch_size")) == expected
        assert seen["distiller"].keywords["k"] == 4
    monkeypatch.setattr(rkd.tuned, "DEMONSTRATION", "of other data")
    run = Run(str(places["lie"]), "rd")
    assert (run.lr, run.l2, run.weight, run.batch_size, dict(run.settings)["k"]) == (1e-3, 1e-2, 0.1, 2048, 30)


def test_fingerprints_come_from_the_catalog_or_from_the_data(monkeypatch):
    assert fingerprint_of("synthetic") == rkd.load("synthetic").fingerprint == split_of("synthetic").data_fingerprint
    monkeypatch.setattr("rkd.run.load", None)  # what the catalog knows is not loaded
    assert fingerprint_of("ml-100k") == CATALOG["ml-100k"].fingerprint
    assert fingerprint_of("synthetic-world") == "synthetic-world"


def test_a_run_whose_data_cannot_be_divided_so_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    """One user: "unkd" has nobody to validate, "ratio" can divide it, "time" knows no times."""
    monkeypatch.setattr("rkd.worker.fit", None)
    path = tmp_path / "one.csv"
    path.write_text("user,item\n" + "".join(f"ann,{i}\n" for i in range(9)))
    assert len(split_of(Run(path, split="ratio")).test) == 1
    for protocol, message in (("unkd", "'unkd' of one leaves no pair for validation"), ("time", "no times are known"),
                              ("given", "one has no train and test of its publisher's")):
        with pytest.raises(ValueError, match=message):
            compute([Run(path, "rd", split=protocol)], jobs=1, device="cpu")


def test_a_run_needs_pairs_to_validate_and_to_test_on(monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "no valid", lambda log, rng: (log.users < 0, log.place() == 0))
    with pytest.raises(ValueError, match="the valid part of Split.*'no valid'.* holds no pairs, and a Run is measured"):
        compute([Run("synthetic", "rd", split="no valid")], jobs=1, device="cpu")


def test_a_runs_teacher_shares_data_seed_and_backbone():
    run = Run("synthetic", "rd", 3, "lightgcn", dim=4, split="ratio", split_seed=2, lr=0.5, weight=0.7, epochs=9,
              teacher_dim=6)
    assert run.teacher == Run("synthetic", "teacher", 3, "lightgcn", 6, "ratio", 2, epochs=9)
    assert run.teacher.lr != 0.5 and run.teacher.teacher_dim == 6
    assert Run("synthetic", "pd-cd").teacher.method == "pd"


def test_a_teacher_may_be_trained_for_longer():
    run = Run("synthetic", "rd", epochs=9, teacher_epochs=20)
    assert (run.epochs, run.teacher.epochs) == (9, 20) and run.teacher == Run("synthetic", "teacher", epochs=20)
    assert Run("synthetic", "rd", epochs=9, teacher_epochs=9) == Run("synthetic", "rd", epochs=9) != run
    assert Run("synthetic", "none", teacher_epochs=9) == Run("synthetic", "none")  # nobody's teacher
    assert replace(Run("synthetic", "rd", epochs=9), epochs=7).teacher.epochs == 7
    with pytest.raises(ValueError, match="teacher_epochs must be at least 1, not 0"):
        Run("synthetic", "rd", teacher_epochs=0)


def test_a_teacher_minds_only_what_concerns_the_teacher():
    other = tiny("cd", dim=4, lr=0.7, weight=0.7, settings={"t1": 1.0})
    assert tiny("cd").teacher == other.teacher == tiny("rd").teacher


@pytest.mark.parametrize("arguments, message", [
    (dict(method="nothing"), "unknown method 'nothing': choose from " + ", ".join(METHODS)),
    (dict(backbone="nothing"), "unknown backbone 'nothing': choose from mf, lightgcn"),
    (dict(method="none", weight=1.0), "distils nothing"),
    (dict(split="random"), "unknown split 'random': choose from unkd, ratio, time, kds, given"),
    (dict(split="affinity"), "unknown split 'affinity'"),
    (dict(split="all"), "a Run is measured on a test part, and the split \"all\" keeps none"),
    (dict(method="pd", weight=1.0), "'pd' distils nothing"),
    (dict(method="teacher", settings={"k": 3}), "teacher has no setting 'k'; it has no settings of its own"),
    (dict(method="pd", settings={"k": 3}), "pd has no setting 'k'; it has gamma=0.1"),
    (dict(method="rd", settings={"guide": "teacher"}), "rd has no setting 'guide'"),
    (dict(method="rd", settings={"k": 3.5}), "rd's k is a int such as 30"),
    (dict(method=Mine, settings={"k": "many"}), "Mine's k is a int such as 3"),
])
def test_what_a_run_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Run("synthetic", **arguments)


@pytest.mark.parametrize("method", [int, Mine.settings, None, 3])
def test_a_class_that_is_no_method_is_refused(method):
    with pytest.raises(TypeError, match="a method is a name or a subclass of"):
        Run("synthetic", method)


def test_data_that_cannot_be_had_are_refused():
    with pytest.raises(DataError, match="there is no data set and no file 'nothing'"):
        Run("nothing")


def test_the_synthetic_world_has_runs_too():
    """Its division comes with it: "affinity", test items by affinity alone; other divisions of it there are none."""
    split = split_of(Run("synthetic-world", split="affinity", split_seed=1))
    assert split.fingerprint == rkd.datasets.synthetic.world(seed=1).split.fingerprint and split.protocol == "affinity"
    with pytest.raises(DataError, match="no data set and no file 'synthetic-world'"):
        split_of(Run("synthetic-world", split="unkd"))


def test_alone_may_be_ones_own_too():
    """A model trained without a teacher, on an objective of one's own."""
    class Other(Alone):
        gamma: float = 0.5

    run = Run("synthetic", Other)
    assert (run.distils, run.teacher, run.weight, dict(run.settings)) == (False, None, 0.0, {"gamma": 0.5})

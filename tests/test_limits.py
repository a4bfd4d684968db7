"""What a setting may be: every setting of every method has its limit, and a value outside is refused before anything is
trained."""

import re

import numpy as np
import pytest
import torch
from conftest import random_interactions

import rkd
from rkd import METHODS, MF, Distiller, Run
from rkd.limits import ABOVE_0, BELOW_1, FINITE, FROM_0, FROM_1, SHARE, one_of

SPLIT = random_interactions().split("unkd")
SETTINGS = [(name, setting) for name, method in METHODS.items() for setting in method.settings()]
# a limit's words → values outside
OUTSIDE = {"above 0": [0, -1], "0 or more": [-1], "at least 1": [0, -1], "between 0 and 1": [-0.1, 1.1],
           "from 0 to below 1": [-0.1, 1.0], "above 0 and at most 1": [0.0, 1.1], "a finite number": [],
           "from 2 to 8": [1, 9]}


def wrong(name, setting) -> list:
    """Values that this setting may not have."""
    method, default = METHODS[name], METHODS[name].settings()[setting]
    words = method.limit(setting)[0]
    if isinstance(default, str):
        return ["best", ""]
    values = [type(default)(value) for value in OUTSIDE[words]]
    return values + [float("nan"), float("inf"), -float("inf")] * isinstance(default, float)


@pytest.mark.parametrize("name, setting", SETTINGS)
def test_every_setting_has_a_limit_that_its_default_and_its_range_keep(name, setting):
    method, default = METHODS[name], METHODS[name].settings()[setting]
    if isinstance(default, bool):
        return
    assert method.limit(setting) is not FINITE or setting == "t2"
    for value in [default, *method.search.get(setting, ())]:
        assert method.check({setting: value}) == {setting: value}


@pytest.mark.parametrize("name, setting", SETTINGS)
def test_what_is_outside_is_refused_in_words_before_a_teacher_is_trained(name, setting):
    if isinstance(METHODS[name].settings()[setting], bool):
        return
    for value in wrong(name, setting):
        said = re.escape(f"{setting} must be {METHODS[name].limit(setting)[0]}, not {value!r}")
        with pytest.raises(ValueError, match=f"^{name}'s {said}$"):
            Run("synthetic", name, settings={setting: value})
        if issubclass(METHODS[name], Distiller):
            with pytest.raises(ValueError, match=f"^{name}'s {said}$"):
                rkd.distill(None, SPLIT, name, **{setting: value})
            with pytest.raises(ValueError, match=said):
                METHODS[name](MF(SPLIT, 3).factors(), SPLIT, torch.Generator(), **{setting: value})


@pytest.mark.parametrize("argument, value", [
    ("lr", 0.0), ("lr", -1), ("lr", float("nan")), ("l2", -0.1), ("weight", -1.0), ("weight", float("inf")),
    ("epochs", 0), ("dim", 0), ("dim", -3), ("teacher_dim", 0), ("batch_size", 0)])
def test_a_run_refuses_what_training_would(argument, value):
    with pytest.raises(ValueError, match=f"^{argument} must be .*, not {value!r}$"):
        Run("synthetic", "unkd", **{argument: value})


def test_numpy_numbers_are_numbers():
    given = dict(seed=np.int64(3), dim=np.int32(4), lr=np.float64(0.5), epochs=np.int64(2))
    run = Run("synthetic", "unkd", settings={"groups": np.int64(2), "mu": np.float64(4.0)}, **given)
    assert run == Run("synthetic", "unkd", seed=3, dim=4, lr=0.5, epochs=2, settings={"groups": 2, "mu": 4.0})
    assert type(run.seed) is int and type(dict(run.settings)["mu"]) is float


def test_the_limits_by_hand():
    table = {ABOVE_0: "ny", FROM_0: "yy", FROM_1: "ny", SHARE: "yy", BELOW_1: "yn", FINITE: "yy"}  # of 0 and of 1
    for (_, holds), expected in table.items():
        assert [bool(holds(0)), bool(holds(1))] == [letter == "y" for letter in expected]
    words, holds = one_of("a", "b")
    assert words == "one of a, b" and holds("a") and not holds("c")


def test_a_file_that_changed_is_read_again_and_a_path_means_one_file(tmp_path, monkeypatch):
    for folder, items in (("a", 20), ("b", 30)):
        (tmp_path / folder).mkdir()
        rows = [f"u{u},i{(7 * u + k) % items}" for u in range(40) for k in range(6)]
        (tmp_path / folder / "clicks.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path / "a")
    first = Run("clicks.csv")
    assert rkd.split_of(first).n_items == 20 and rkd.split_of(first) is rkd.split_of(Run(tmp_path / "a" / "clicks.csv"))
    monkeypatch.chdir(tmp_path / "b")
    assert rkd.split_of(first).n_items == 20 and rkd.split_of(Run("clicks.csv")).n_items == 30
    (tmp_path / "a" / "clicks.csv").write_text((tmp_path / "b" / "clicks.csv").read_text())
    assert rkd.split_of(first).n_items == 30

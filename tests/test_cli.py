"""The command line."""

import json
from dataclasses import fields, replace

import pandas as pd
import pytest
from runs_helpers import METRICS, computed, files, python

from rkd import METHODS, Run, load_model
from rkd.__main__ import RUN_OPTIONS, _advice, _print_json, main, parse_settings
from rkd.study.scales import SCALES


def cli_keys() -> set[str]:
    return {f.name for f in fields(Run)} | {"max_epochs", "metrics", "valid_metrics", "epochs", "best_epoch",
                                            "seconds_per_epoch", "seconds", "key", "provenance"}


def test_the_command_line_ends_with_one_json_object():
    process = python("-m", "rkd", "run", "--dataset", "synthetic", "--method", "cd", "--backbone", "mf", "--dim", 3,
                     "--teacher-dim", 5, "--seed", 1, "--set", "n_samples=7", "--set", "guide=teacher", "--epochs", 3,
                     "--weight", 0.25, "--batch-size", 700, "--device", "cpu", "--json")
    out, error = process.communicate()
    assert process.returncode == 0 and error == ""
    shown = json.loads(out.splitlines()[-1])
    assert shown.keys() == cli_keys() and shown["metrics"].keys() == shown["valid_metrics"].keys() == METRICS
    run = Run("synthetic", "cd", 1, dim=3, teacher_dim=5, weight=0.25, settings={"n_samples": 7, "guide": "teacher"},
              epochs=3, batch_size=700)
    assert {**run.as_dict(), "epochs": 3, "max_epochs": 3}.items() <= shown.items()
    (result,), lines = computed([run])
    assert lines == [] and result.metrics == shown["metrics"] and result.key == shown["key"]
    assert shown["seconds"] > shown["seconds_per_epoch"] > 0 and shown["best_epoch"] == 3


def test_mistakes_on_the_command_line_end_in_one_line():
    process = python("-m", "rkd", "run", "--dataset", "synthetic", "--method", "rd", "--set", "k=many")
    out, error = process.communicate()
    assert (process.returncode, out, error) == (2, "", "rkd: --set k=many: k is a int such as 30\n")


@pytest.mark.parametrize("arguments, message", [
    ("--method nothing", "unknown method 'nothing'"),
    ("--backbone nothing", "unknown backbone 'nothing'"),
    ("--split nothing", "unknown split 'nothing'"),
    ("--dataset nothing", "there is no data set and no file 'nothing'"),
    ("--device tpu", "device 'tpu' is not available here"),
    ("--method rd --set k", "--set takes NAME=VALUE, not 'k'"),
    ("--method rd --set k=2.5", "--set k=2.5: k is a int such as 30"),
    ("--method cd --set t1=warm", "--set t1=warm: t1 is a float such as 2.0"),
    ("--method rd --set guide=teacher", "rd has no setting 'guide'"),
    ("--method none --set k=3", "none has no setting 'k'; it has no settings of its own"),
    ("--method none --weight 1", "distils nothing"),
    ("--method cd --set guide=nobody", "cd's guide must be one of student, teacher, not 'nobody'"),
    ("--method rrd --set k=200", "200 interesting items cannot be drawn from a pool of 100"),
    ("--method mkd --set nkd=0 --set cpd=0 --set sld=0", "one of nkd, cpd, sld must be above 0"),
    ("--method de-rrd --set k=200", "200 interesting items cannot be drawn from a pool of 100"),
    ("--method pd --set gamma=-1.0", "pd's gamma must be 0 or more, not -1.0"),
    ("--epochs 0", "argument --epochs: must be at least 1, not 0"),
    ("--dim 0", "argument --dim: must be at least 1, not 0"),
    ("--lr -1", "argument --lr: must be above 0, not -1"),
])
def test_what_the_command_line_refuses(arguments, message, capsys):
    status = main(["run", "--dataset", "synthetic", "--epochs", "5", "--device", "cpu", *arguments.split()])
    out, error = capsys.readouterr()
    assert status == 2 and error.startswith("rkd: ") and message in error
    assert error.count("\n") == 1 and "recall" not in out


def test_a_run_that_fails(capsys):
    status = main(["run", "--dataset", "synthetic", "--epochs", "5", "--device", "cpu", "--lr", "1e30"])
    out, error = capsys.readouterr()
    first, second = error.splitlines()
    assert status == 1 and first == "rkd: 1 of 1 runs failed; the others are kept:"
    assert second.startswith("- synthetic mf none d=10 seed 0: ValueError: ") and "did training diverge" in second
    assert "recall" not in out and files() == []


@pytest.mark.parametrize("command, option, value, message", [
    *(("run --dataset synthetic", option, value, f"must be {words}, not {value}") for option, value, words in (
        ("--dim", "0", "at least 1"), ("--teacher-dim", "-3", "at least 1"), ("--epochs", "0", "at least 1"),
        ("--batch-size", "0", "at least 1"), ("--lr", "-1", "above 0"), ("--lr", "0", "above 0"),
        ("--lr", "nan", "above 0"), ("--l2", "-0.001", "0 or more"), ("--weight", "inf", "0 or more"),
        ("--seed", "-1", "0 or more"), ("--seed", "9" * 30, "below 2^63"), ("--split-seed", "-1", "0 or more"),
        ("--dim", "9" * 30, "below 2^63"))),
    ("run --dataset synthetic", "--dim", "ten", "invalid int value: 'ten'"),
    ("run --dataset synthetic", "--lr", "fast", "invalid float value: 'fast'"),
    ("run --dataset synthetic", "--nothing", "1", "unrecognized arguments: --nothing"),
    ("tune synthetic", "--trials", "0", "must be at least 1, not 0"),
    ("tune synthetic", "--jobs", "-1", "must be at least 1, not -1"),
    ("tune synthetic", "--jobs", "0", "must be at least 1, not 0"),
    ("tune synthetic", "--epochs", "0", "must be at least 1, not 0"),
    ("tune synthetic", "--dim", "0", "must be at least 1, not 0"),
    ("run --dataset synthetic", "--teacher-epochs", "0", "must be at least 1, not 0"),
    ("bench synthetic", "--threads", "0", "must be at least 1, not 0"),
])
def test_a_number_out_of_range_is_refused_by_name(command, option, value, message, capsys):
    assert main([*command.split(), f"{option}={value}"]) == 2
    out, error = capsys.readouterr()
    assert error.startswith("rkd: ") and error.count("\n") == 1 and option in error and message in error and out == ""


@pytest.mark.parametrize("pair", ["gamma=inf", "gamma=nan"])
def test_settings_are_finite(pair):
    with pytest.raises(ValueError, match=f"--set {pair}: gamma is a float such as 0.1"):
        parse_settings("pd", [pair])


def test_text_is_utf_8_whatever_the_locale():
    """As on Windows, where a file that output goes to takes cp1252."""
    process = python("-m", "rkd", "methods", PYTHONIOENCODING="cp1252", PYTHONUTF8="0", LC_ALL="C")
    out = process.stdout.buffer.read().decode("utf-8")
    assert process.wait() == 0 and "λ" in out and "\\u" not in out


def test_without_a_cache_there_is_one_line(tmp_path):
    """A cache below a file, and none at all."""
    (tmp_path / "file").write_text("")
    assert _advice(ValueError()) == _advice(FileNotFoundError(2, "No such file", str(tmp_path / "file"))) == ""
    assert "RKD_CACHE" in _advice(PermissionError(13, "Permission denied", str(tmp_path / "cache" / "tuning")))
    run = ("-m", "rkd", "run", "--dataset", "synthetic", "--epochs", 2, "--device", "cpu")
    for variables in (dict(RKD_CACHE=tmp_path / "file" / "cache"), dict(without=["RKD_CACHE"], HOME=tmp_path / "file")):
        process = python(*run, **variables)
        out, error = process.communicate()
        assert process.returncode == 2 and error.count("\n") == 1 and "RKD_CACHE" in error and out == ""


def test_every_field_of_a_run_has_an_option(capsys):
    assert {*RUN_OPTIONS, "settings"} == {field.name for field in fields(Run)}
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    out = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')} " in out for name in RUN_OPTIONS) and "--set NAME=VALUE" in out


def test_settings_are_parsed_by_their_defaults_type():
    assert parse_settings("cd", ["n_samples=5", "t1=3", "guide=teacher", "t2=-1e-2"]) == {
        "n_samples": 5, "t1": 3.0, "guide": "teacher", "t2": -0.01}
    assert type(parse_settings("cd", ["t1=3"])["t1"]) is float
    assert parse_settings("cd", ["guide=a=b"]) == {"guide": "a=b"} and parse_settings("none", []) == {}


def test_a_file_of_ones_own(tmp_path, capsys):
    """User u has the items u … u + 7 of 40, all named by words."""
    path = tmp_path / "own.csv"
    path.write_text("user,item\n" + "".join(f"u{u},i{(u + i) % 40}\n" for u in range(60) for i in range(8)))
    arguments = ["run", "--dataset", str(path), "--epochs", "2", "--dim", "2", "--device", "cpu", "--json"]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert first["dataset"] == str(path) and first["provenance"]["data"] == "own" and first["metrics"]["users"] == 30
    assert main(arguments) == 0  # from disk: the same times, to the digit
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == first
    assert main(["data", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts.items() >= {"users": 60, "items": 40, "interactions": 480, "sparsity_percent": 80.0}.items()


def test_data_and_methods(capsys):
    assert main(["data", "synthetic"]) == 0
    assert "300 users, 150 items, 7500 interactions" in capsys.readouterr().out
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    for name in METHODS:
        assert name in out and all(f"{k}={v!r}" in out for k, v in METHODS[name].settings().items())
    assert main(["data", "nothing"]) == 2


def test_tuning(tmp_path, capsys):
    """The trials go to the cache, or where they are wanted."""
    arguments = ["tune", "synthetic", "--only", "teacher,none", "--trials", "2", "--epochs", "2", "--jobs", "1"]
    assert main([*arguments, "--to", str(tmp_path / "trials")]) == 0
    out = capsys.readouterr().out
    assert all(f"synthetic unkd mf {method}, {choice}: {{'lr': " in out
               for method in ("teacher", "none") for choice in ("accuracy", "tail"))
    assert main(arguments) == 0  # from disk; and the same again
    cached = tmp_path / "cache" / "tuning"
    for method in ("teacher", "none"):
        first, second = (next(folder.glob(f"synthetic-*/unkd/mf/{method}.csv"))
                         for folder in (tmp_path / "trials", cached))
        assert len(pd.read_csv(first)) >= 2 and first.read_text() == second.read_text()
    assert main(["tune", "synthetic", "--only", "nothing"]) == 2
    assert "unknown method 'nothing'" in capsys.readouterr().err


def test_tuning_what_a_scale_reports(tmp_path, monkeypatch, capsys):
    """Of each size that it compares; or the part of it that is named."""
    called = []
    monkeypatch.setitem(SCALES, "laptop", replace(SCALES["laptop"], datasets=("synthetic",), mkd_split="ratio"))
    monkeypatch.setattr("rkd.__main__.tune", lambda *arguments: called.append(arguments))
    for dim in ([], ["--dim", "20"]):
        assert main(["tune", "--scale", "laptop", "--only", "mkd,none", "--split", "ratio", "--trials", "3", *dim]) == 0
    common, others = [(None, "mf", 3, None, None, "ratio", None), (None, "lightgcn", 3, None, None, "ratio", None)], [
        (None, "mf", 3, None, None, "ratio", dim) for dim in (20, 50, 100)]
    assert {(dataset, frozenset(methods), *rest) for dataset, methods, *rest in called} == {
        ("synthetic", frozenset({"none", "mkd"}), *rest) for rest in (*common, *others)}
    assert [call[-1] for call in called] == [None, None, 20, 50, 100, 20]
    assert "synthetic, ratio, mf, d = 20\n" in capsys.readouterr().out
    for wrong, message in (([], "takes a data set, or a --scale"),
                           (["synthetic", "--scale", "smoke"], "takes a data set, or a --scale"),
                           (["--scale", "huge"], "unknown scale 'huge'"),
                           (["--scale", "laptop", "--dim", "7"], "scale laptop has no such runs")):
        assert main(["tune", *wrong]) == 2 and message in capsys.readouterr().err


def test_json_is_strict(capsys):
    _print_json({"a": float("nan"), "b": {"c": float("inf"), "d": 1.5}, "e": [1]})
    assert capsys.readouterr().out == '{"a": null, "b": {"c": null, "d": 1.5}, "e": [1]}\n'


def test_a_saved_run_recommends_by_own_ids(tmp_path, capsys):
    """Users of two tastes; what is printed is what the library says."""
    path, model = tmp_path / "own.csv", tmp_path / "model.safetensors"
    path.write_text("user,item\n" + "".join(f"u{u},{u % 2}{i:02}\n" for u in range(40) for i in range(u % 9, 20)))
    run = ["run", "--dataset", str(path), "--epochs", "5", "--dim", "2", "--device", "cpu", "--save", str(model)]
    assert main(run) == 0
    served, _ = load_model(model), capsys.readouterr()
    assert main(["recommend", str(model), "u3", "-k", "4"]) == 0
    expected = served.recommend("u3", 4)
    assert capsys.readouterr().out == "".join(f"{score:10.4f}  {item}\n" for item, score in expected)
    chosen = [str(item) for item, _ in served.recommend("u3", 2, exclude_seen=False)]
    assert main(["recommend", str(model), "--items", *chosen, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    items = [item for item, _ in served.recommend("u3", 2, exclude_seen=False)]
    assert [(line["item"], line["score"]) for line in lines] == served.recommend(items=items)
    assert served.about["run"]["dim"] == 2
    for arguments, message in ((["u77"], "user 'u77' is none of the 40"), ([], "one of the two"),
                               (["u3", "-k", "0"], "argument -k: must be at least 1, not 0"),
                               (["--items", "zz"], "item 'zz' is none of the 40")):
        assert main(["recommend", str(model), *arguments]) == 2
        out, error = capsys.readouterr()
        assert out == "" and error.startswith("rkd: ") and error.count("\n") == 1 and message in error
    for other, message in ((path, "no model that rkd saved"), (tmp_path / "none", "No such file"), (tmp_path, "dir")):
        assert main(["recommend", str(other), "u3"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("rkd: ") and error.count("\n") == 1 and message in error

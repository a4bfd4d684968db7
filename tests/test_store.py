"""What is kept of a run: the keys that tell results apart, what lies on disk, damage, metrics without training."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from runs_helpers import EVERYTHING, METRICS, ROOT, computed, files, same, times, tiny, write_trials

import rkd
from rkd import METHODS, Run, evaluate, split_of
from rkd.store import _git, key_of, metrics_key, provenance, stored

# ---------------------------------------------------------------------------------------------------------------- keys

def test_every_setting_changes_the_key(untuned):
    given = dict(dim=3, epochs=4, teacher_dim=5, lr=0.1, l2=0.1, weight=0.1)
    others = [dict(seed=1), dict(backbone="lightgcn"), dict(dim=4), dict(split="ratio"), dict(split_seed=1),
              dict(lr=0.2), dict(l2=0.2), dict(weight=0.2), dict(settings={"t1": 1.0}), dict(epochs=5),
              dict(teacher_dim=6), dict(batch_size=77), dict(teacher_epochs=5)]
    runs = [Run("synthetic", "cd", **given | other) for other in [{}, *others]]
    assert len({key_of(run) for run in runs}) == len(runs)
    assert key_of(Run("synthetic", "cd", **given, settings={"t1": 2.0})) == key_of(runs[0])  # the default, spelt out
    assert len({key_of(tiny(method, dim=5)) for method in METHODS}) == len(METHODS)


def test_the_teachers_key_minds_only_what_concerns_the_teacher():
    first = tiny("cd").teacher
    assert key_of(first) == key_of(tiny("rd", dim=4, lr=0.7, weight=0.7).teacher) != key_of(tiny("cd", seed=1).teacher)


def test_a_student_of_another_teacher_has_another_key(untuned):
    """The teacher's settings are not the student's own, but tuning the teacher anew changes what the student learns."""
    run = tiny("cd")
    before = key_of(run)
    write_trials(split_of("synthetic").data_fingerprint, "teacher", {"lr": 0.5})
    assert tiny("cd") == run and key_of(run) != before


def test_a_path_is_as_good_as_its_text(tmp_path):
    """Nothing is lost for the record's sake after training."""
    path = tmp_path / ("data" * 60 + ".csv")  # as long as a name may be
    data = rkd.load("synthetic")
    path.write_text("".join(f"{u},{i}\n" for u, i in zip(data.users.tolist(), data.items.tolist())))
    (result,), _ = computed([Run(path, dim=3, epochs=2)])
    assert computed([Run(str(path), dim=3, epochs=2)])[1] == [] and len(files(*EVERYTHING)) == 3
    assert json.loads(files()[0].read_text())["run"]["dataset"] == str(path)


def test_the_data_decide_not_their_name(tmp_path):
    """A copy under another path is the same run; one pair less is another."""
    data = rkd.load("synthetic")
    lines = [f"{u},{i}\n" for u, i in zip(data.users.tolist(), data.items.tolist())]
    (tmp_path / "copy.csv").write_text("".join(reversed(lines)))
    (tmp_path / "less.csv").write_text("".join(lines[1:]))
    key, copy, less = (key_of(Run(str(name), lr=1e-3, l2=1e-2))
                       for name in ("synthetic", tmp_path / "copy.csv", tmp_path / "less.csv"))
    assert key == copy != less


def test_torch_the_device_and_on_a_cpu_the_instruction_set_are_in_the_key(monkeypatch):
    monkeypatch.setattr("rkd.store.resolve_device", lambda name: torch.device(name))
    keys = [key_of(tiny(), "cpu"), key_of(tiny(), "cuda")]
    monkeypatch.setattr("rkd.store.INSTRUCTIONS", "others")
    keys += [key_of(tiny(), "cpu"), key_of(tiny(), "cuda")]
    monkeypatch.setattr(torch, "__version__", "99.0")
    keys += [key_of(tiny(), "cpu"), key_of(tiny(), "cuda")]
    assert keys[1] == keys[3] and len(set(keys)) == 5


# ------------------------------------------------------------------------------------------------------------- results

def test_a_result_is_what_its_model_evaluates_to():
    (result,), lines = computed([tiny("cd", backbone="lightgcn")])
    assert len(lines) == 2  # its teacher as well
    split = split_of(result.run)
    assert repr(evaluate(result.model, split)) == repr(result.metrics)
    assert repr(evaluate(result.model, split, on="valid")) == repr(result.valid_metrics)
    assert result.metrics.keys() == METRICS and result.key == key_of(result.run, "cpu")
    assert result.best_epoch in [entry["epoch"] for entry in result.history] and result.epochs == 4
    assert result.model.dim == 3 and type(result.model).__name__ == "LightGCN"
    assert result.provenance["fingerprint"] == split.fingerprint and result.provenance["torch"] == torch.__version__
    assert result.provenance["instructions"] == rkd.pinned.INSTRUCTIONS
    for name, values in rkd.per_user(result.model, split).items():
        assert torch.equal(values.nan_to_num(-1), result.by_user[name].nan_to_num(-1))


def test_a_result_is_what_train_and_distill_return():
    """compute() adds nothing of its own: the same calls by hand give the same table."""
    (teacher, student), _ = computed([tiny("teacher", seed=2), tiny("cd", seed=2)])
    split = split_of("synthetic")
    options = dict(epochs=4, seed=2, device="cpu", progress=False)
    fit = rkd.train(rkd.MF(split, 5, seed=2), split, lr=teacher.run.lr, l2=teacher.run.l2, **options)
    assert torch.equal(fit.model.table, teacher.model.table)
    run = student.run
    fit = rkd.distill(fit.model, split, "cd", dim=3, lr=run.lr, l2=run.l2, weight=run.weight, **options)
    assert torch.equal(fit.model.table, student.model.table) and fit.history == student.history


def test_a_debiased_teachers_run_is_of_its_objective():
    (result,), _ = computed([tiny("pd", dim=5, settings={"gamma": 0.2})])
    split, run = split_of("synthetic"), result.run
    fit = rkd.train(rkd.MF(split, 5), split, lr=run.lr, l2=run.l2, batch_size=run.batch_size, epochs=4, device="cpu",
                    objective=rkd.losses.PD(0.2), progress=False)
    assert torch.equal(fit.model.table, result.model.table) and fit.history == result.history


# -------------------------------------------------------------------------------------------------------------- damage

def truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def with_a_bit_flipped(path):
    """In the last byte but seven, which of weights is in the middle of a number."""
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def with_a_digit_changed(path):
    """The last digit of the first number with a decimal point."""
    def other(found):
        return found[1] + str((int(found[2]) + 1) % 10)

    text, n = re.subn(r"(\d\.\d*)(\d)", other, path.read_text(), count=1)
    assert n == 1 and json.loads(text)  # it still reads
    path.write_text(text)


@pytest.fixture
def trainings(monkeypatch):
    """The runs that were trained, in this process."""
    trained, fit = [], rkd.worker.fit
    monkeypatch.setattr("rkd.worker.fit", lambda run, *rest: trained.append(run) or fit(run, *rest))
    return trained


@pytest.mark.parametrize("ending", EVERYTHING)
@pytest.mark.parametrize("damage", [
    lambda path: path.unlink(), lambda path: path.write_text(""), truncated, with_a_bit_flipped,
    lambda path: path.write_bytes(b"\xff\xfe"), lambda path: path.write_text("[1, 2]"),
    lambda path: path.write_text('{"key": "of another release"}'), lambda path: path.write_text('{"checksum": "none"}'),
    lambda path: path.write_text("null"),
], ids=["gone", "empty", "truncated", "a bit", "no text", "list", "other fields", "checksum alone", "null"])
def test_a_damaged_result_is_computed_again(damage, ending, trainings):
    """What was not damaged is kept: metrics are measured anew without training."""
    (first,), _ = computed([tiny()])
    table, metrics = first.model.table, metrics_key()
    assert stored(first.run, first.key, metrics)
    damage(files(ending)[0])
    assert stored(first.run, first.key, metrics) is None
    (again,), lines = computed([tiny()])
    assert len(lines) == 1 and again.metrics == first.metrics and torch.equal(again.model.table, table)
    assert trainings == ([tiny()] if ending == ".metrics.json" else [tiny()] * 2)
    assert computed([tiny()])[1] == [] and len(files(*EVERYTHING)) == 3


@pytest.mark.parametrize("ending", [".json", ".metrics.json"])
def test_a_changed_digit_is_noticed(ending, trainings):
    (first,), _ = computed([tiny()])
    with_a_digit_changed(files(ending)[0])
    assert stored(first.run, first.key, metrics_key()) is None
    (again,), lines = computed([tiny()])
    assert len(lines) == 1 and again.metrics == first.metrics and again.history == first.history


@pytest.mark.parametrize("ending", [".json", ".metrics.json"])
@pytest.mark.parametrize("change", [lambda values: values.popitem(), lambda values: values.update(more=1)])
def test_what_another_release_wrote_is_computed_again(ending, change):
    """Whole, but with other fields."""
    (first,), _ = computed([tiny()])
    values = rkd.store.read(files(ending)[0])
    change(values)
    rkd.store._write(files(ending)[0], values)
    (again,), lines = computed([tiny()])
    assert len(lines) == 1 and again.metrics == first.metrics and again.history == first.history


def test_metrics_of_other_weights_do_not_count():
    """As after a kill between a fit computed anew, here by hand, and its metrics."""
    (first,), _ = computed([tiny()])
    (metrics,) = files(".metrics.json")
    values = json.loads(metrics.read_text()) | {"weights": "others"}
    del values["checksum"]
    rkd.store._write(metrics, values)
    assert stored(first.run, first.key, metrics_key()) is None
    (again,), lines = computed([tiny()])
    assert len(lines) == 1 and same(first, again)


def test_weights_damaged_after_a_result_was_read_are_not_taken_for_its_model():
    (result,), _ = computed([tiny()])
    with_a_bit_flipped(files(".safetensors")[0])
    with pytest.raises(ValueError, match="is damaged: compute the run again"):
        _ = result.model


def flipped(place):
    def flip(path):
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1 << len(content) % 8
        path.write_bytes(content)
    return flip


def rewritten(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def replaced(make):
    def replace_it(path):
        path.unlink()
        make(path)
    return replace_it


def of_another_run(path):
    """The same file of the other run of this cache: whole, but not this run's."""
    ending = "".join(path.suffixes)
    (other,) = [other for other in files(ending) if other != path]
    shutil.copy(other, path)


DAMAGES = {
    **{f"bit at {place}": flipped(place) for place in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999)},
    "last byte gone": truncated, "half": rewritten(lambda old: old[:len(old) // 2]),
    "second half": rewritten(lambda old: old[len(old) // 2:]), "twice": rewritten(lambda old: old + old),
    "zeros": rewritten(lambda old: bytes(len(old))), "ones": rewritten(lambda old: b"\xff" * len(old)),
    "zeros in the middle": rewritten(lambda old: old[:len(old) // 2] + bytes(16) + old[len(old) // 2 + 16:]),
    "backwards": rewritten(lambda old: old[::-1]), "empty": rewritten(lambda old: b""),
    "gone": lambda path: path.unlink(), "a folder": replaced(Path.mkdir),
    "a pipe": replaced(lambda path: os.mkfifo(path)),
    "a link to nothing": replaced(lambda path: path.symlink_to("nothing")),
    "a link to itself": replaced(lambda path: path.symlink_to(path.name)), "of another run": of_another_run,
    "nested": rewritten(lambda old: b"[" * 100_000), "a number": rewritten(lambda old: b"1"),
}


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """A cache with two runs in it, and their results."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("two_runs") / "cache"
        patch.setenv("RKD_CACHE", str(cache))
        results, _ = computed([tiny("none", dim=2), tiny("none", seed=1, dim=2)])
        return cache, results, [result.model.table for result in results]


@pytest.mark.skipif(os.name != "posix", reason="no pipes here")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("ending", EVERYTHING)
@pytest.mark.parametrize("which", [0, 1])
def test_no_damage_is_served(damage, ending, which, two_runs, monkeypatch, tmp_path):
    """Whatever befalls one file of one run, the run is not there any more, and the other is."""
    cache, results, tables = two_runs
    monkeypatch.setenv("RKD_CACHE", str(shutil.copytree(cache, tmp_path / "copy")))
    DAMAGES[damage](files(ending)[which])
    found = [stored(result.run, result.key, metrics_key()) for result in results]
    lost = [i for i in range(2) if found[i] is None]
    assert lost == [i for i in range(2) if results[i].run.seed == which]
    assert torch.equal(found[1 - lost[0]].model.table, tables[1 - lost[0]])
    if ending == ".safetensors":
        with pytest.raises(ValueError, match="is damaged: compute the run again"):
            _ = results[lost[0]].model


def test_what_cannot_be_replaced_is_said_in_words():
    (first,), _ = computed([tiny()])
    (record,) = files(".json")
    record.unlink()
    record.mkdir()
    with pytest.raises(rkd.RunsFailed, match="IsADirectoryError.*Is a directory|PermissionError"):
        computed([tiny()])


def test_a_damaged_teacher_is_trained_again_for_a_new_student(trainings):
    (teacher, student), _ = computed([tiny("teacher"), tiny("cd")])
    table = teacher.model.table
    with_a_bit_flipped(next(path for path in files(".safetensors") if "teacher" in path.name))
    (student,), lines = computed([tiny("rd")])
    assert len(lines) == 2 and [run.name for run in trainings] == ["teacher", "cd", "teacher", "rd"]
    assert torch.equal(computed([tiny("teacher")])[0][0].model.table, table)


# ------------------------------------------------------------------------------------------------------------- metrics

def depth_of_the_first_hit(found, k):
    """The place of the first hit, counted from 0; k where there is none: [n]."""
    return (found.hits[:, :k].cumsum(1) == 0).sum(1).double()


def test_a_metric_added_later_is_computed_without_training(monkeypatch, trainings):
    (before,), _ = computed([tiny("cd")])
    kept = times(".json", ".safetensors")
    monkeypatch.setitem(rkd.METRICS, "first_hit", depth_of_the_first_hit)
    (after,), lines = computed([tiny("cd")])
    assert len(lines) == 2 and len(trainings) == 2  # its teacher's metrics as well; both were trained before
    assert times(".json", ".safetensors") == kept
    assert after.metrics.keys() == after.valid_metrics.keys() == METRICS | {"first_hit@10", "first_hit@20"}
    assert after.metrics.items() >= before.metrics.items() and after.key == before.key
    assert after.metrics["first_hit@20"] == after.by_user["first_hit@20"].mean() > after.metrics["first_hit@10"] > 0
    assert computed([tiny("cd")])[1] == []
    monkeypatch.delitem(rkd.METRICS, "first_hit")
    (again,), lines = computed([tiny("cd")])
    assert again.metrics == before.metrics and len(trainings) == 2


def test_the_metrics_key_minds_what_is_measured_and_how(monkeypatch):
    keys = [metrics_key()]
    for metric in (depth_of_the_first_hit, lambda found, k: found.sizes):
        monkeypatch.setitem(rkd.METRICS, "mine", metric)
        keys.append(metrics_key())
    monkeypatch.delitem(rkd.METRICS, "mine")
    monkeypatch.setitem(rkd.METRICS, "by another name", depth_of_the_first_hit)
    keys.append(metrics_key())
    assert len(set(keys)) == 4
    monkeypatch.delitem(rkd.METRICS, "by another name")
    assert metrics_key() == keys[0]


def limited(found, k):
    return found.hits[:, :min(k, LIMIT)].sum(1)


LIMIT = 3


def test_what_a_metric_uses_counts(monkeypatch):
    monkeypatch.setitem(rkd.METRICS, "limited", limited)
    before = metrics_key()
    monkeypatch.setattr(f"{__name__}.LIMIT", 4)
    assert metrics_key() != before


# ---------------------------------------------------------------------------------------------------------- provenance

@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with a copy of rkd in a folder of it, which the provenance is asked of."""
    def at(folder):
        top = tmp_path / "repository"
        package = shutil.copytree(ROOT / "rkd", top / folder / "rkd", ignore=shutil.ignore_patterns("__pycache__"))
        (top / "README.md").write_text("words\n")
        git = ["git", "-C", top, "-c", "user.name=a", "-c", "user.email=a@b.c"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
            subprocess.run([*git, *command], check=True)
        monkeypatch.setattr("rkd.store.PACKAGE", package)
        return package

    yield at
    _git.cache_clear()


def commit_and_dirty():
    _git.cache_clear()
    found = provenance(split_of("synthetic"), torch.device("cpu"))
    return found["commit"], found["dirty"]


def test_provenance_tells_committed_code_from_edited_code(repository):
    package = repository(".")
    head = subprocess.run(["git", "-C", package, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert commit_and_dirty() == (head[:12], False) and len(head) == 40
    (package.parent / "README.md").write_text("other words\n")
    assert commit_and_dirty() == (head[:12], False)  # no code
    with open(package / "losses.py", "a") as file:
        file.write("# edited\n")
    assert commit_and_dirty() == (head[:12], True)


def test_a_foreign_repository_is_not_stamped(repository):
    """As where an environment with rkd in it lies in somebody's project."""
    package = repository("environment/site-packages")
    with open(package / "losses.py", "a") as file:
        file.write("# edited\n")
    assert commit_and_dirty() == ("", False)


def test_no_git_is_no_matter(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit_and_dirty() == ("", False)
    _git.cache_clear()

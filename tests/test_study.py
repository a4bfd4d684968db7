"""Studies, and what is made of any: tables, tests, verdicts, and files with provenance; on results by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from runs_helpers import files, tiny
from scipy.stats import ttest_1samp, ttest_rel
from study_helpers import all_results, result, study_of

from rkd import METHODS, Run, stats
from rkd.kept import NotRecorded
from rkd.methods import label_of
from rkd.stats import holm
from rkd.study import figures, tables
from rkd.study.papers import unkd, unkd_figures
from rkd.study.provenance import provenance_of
from rkd.study.study import Study, as_tuned, named


@pytest.fixture
def results():
    return all_results()


@pytest.fixture
def study(results):
    return study_of(results)


# -------------------------------------------------------------------------------------------------------------- studies

def test_a_study_is_computed_group_by_group_and_each_run_once():
    groups = {"plain": [tiny(seed=0), tiny(seed=1)], "rd": [tiny("rd")], "again": [tiny(seed=1)]}
    study = Study(groups).compute(1)
    assert study.groups == groups and list(study.results) == ["plain", "rd", "again"]
    assert {label: [r.run for r in study[label]] for label in study.results} == groups
    assert study["again"][0].key == study["plain"][1].key and study["plain"][0].key != study["plain"][1].key
    assert len(files()) == 4  # the teacher's among them
    assert [r.key for r in study] == [r.key for label in ("plain", "rd") for r in study[label]]


def test_parts_of_a_study():
    by_hand = {"plain": [result("none", 0), result("none", 1)], "rd": [result("rd", backbone="lightgcn")],
               "K = 2": [result("rd", dim=20), result("rd", backbone="lightgcn", dim=20)]}
    study = study_of(**by_hand)
    some = study.only(label for label in ("K = 2", "plain"))
    assert list(some.groups) == list(some.results) == ["K = 2", "plain"] and some["plain"] is study["plain"]
    on_graph = study.where(backbone="lightgcn")
    assert list(on_graph.groups) == list(on_graph.results) == ["rd", "K = 2"]
    assert on_graph["K = 2"] == by_hand["K = 2"][1:] and on_graph.groups["K = 2"] == [by_hand["K = 2"][1].run]
    assert study.where(backbone="mf", seed=1).results == {"plain": by_hand["plain"][1:]}
    whole = on_graph | study.only(["plain"])
    assert list(whole.groups) == ["rd", "K = 2", "plain"] and whole["plain"] == by_hand["plain"]
    with pytest.raises(KeyError, match="nothing"):
        study.only(["nothing"])


def test_parts_of_a_study_before_it_is_computed():
    study = Study({"plain": [tiny()], "rd": [tiny("rd"), tiny("rd", backbone="lightgcn")]})
    assert study.only(["rd"]) == Study({"rd": study.groups["rd"]})
    assert study.where(backbone="mf") == Study({"plain": [tiny()], "rd": [tiny("rd")]}) and list(study) == []


def test_tidy_rows(results):
    frame = study_of(first=results[:2], rd=[result("rd", dataset="citeulike", backbone="lightgcn", dim=20)]).tidy()
    assert frame.columns.tolist() == ["label", "dataset", "backbone", "method", "dim", "seed", "metric", "value"]
    assert len(frame) == 3 * 7
    assert frame[frame["metric"] == "recall@10"].values.tolist() == [
        ["first", "ml-1m", "mf", "teacher", 100, 0, "recall@10", 0.1],
        ["first", "ml-1m", "mf", "teacher", 100, 1, "recall@10", 0.11],
        ["rd", "citeulike", "lightgcn", "rd", 20, 0, "recall@10", 0.1]]


def test_values_and_levels_by_hand(study):
    assert study.values("rd", "popular/recall@10").tolist() == [0.25, 0.27]
    assert study.level("rd")["popular/recall@10"] == pytest.approx(0.26)
    levels = study.levels
    assert list(levels.index) == ["teacher", "none", "rd", "cd"]
    assert levels["popular/recall@10"].tolist() == pytest.approx([0.31, 0.21, 0.26, 0.23])
    assert levels.loc["cd", "unpopular/recall@10"] == 0.02


def test_a_table_of_named_groups_by_hand(results):
    """A row per group, in order; one seed has no spread."""
    study = study_of(all=results[:2], rd=results[4:5])
    table = study.table(["recall@10", "unpopular/recall@10"])
    assert table.loc["all"].tolist() == ["0.1050 ± 0.0071", "0.0600 ± 0.0000"]
    assert table.loc["RD"].tolist() == ["0.1000", "0.0300"] and list(table.index) == ["all", "RD"]
    assert table.columns.tolist() == ["recall@10", "unpopular/recall@10"]
    assert study.table(["recall@10"], ["rd", "all"]).index.tolist() == ["RD", "all"]
    assert study.table(["recall@10"], {"rd": "first"})["recall@10"].to_dict() == {"first": "0.1000"}


def test_names_in_tables():
    assert {label: named(label) for label in ("none", "de-rrd", "unkd, tail", "K = 4", "plain student", "Mine")} == {
        "none": "Student", "de-rrd": "DE-RRD", "unkd, tail": "UnKD, tail", "K = 4": "K = 4",
        "plain student": "plain student", "Mine": "Mine"}
    assert all(named(name) == method.label == label_of(name) for name, method in METHODS.items())


def users(method, values, seeds=(0, 1), **where):
    """Results of two seeds whose users' recall is this, ± 0.1."""
    return [result(method, seed, by_user={"recall@10": [v + 0.1 - 0.2 * seed for v in values], "ndcg@10": values},
                   **where) for seed in seeds]


@pytest.fixture
def by_users():
    """RD is far above the plain student; CD is like it."""
    rng = np.random.default_rng(0)
    ours = rng.random(40)
    values = {"rd": ours, "none": ours - 0.3 + 0.05 * rng.random(40), "cd": rng.random(40)}
    return {name: value.tolist() for name, value in values.items()}


def test_claims_about_groups(by_users):
    """All combinations of a statement, save a group against itself; Holm's over the whole table."""
    study = study_of(**{name: users(name, values) for name, values in by_users.items()})
    found = study.claims(("rd", "above", list(by_users), ["recall@10", "ndcg@10"]), ("none", "below", "cd", "ndcg@10"))
    assert found.index.names == ["dataset", "backbone", "metric", "method", "is", "than"]
    assert [key[2:] for key in found.index] == [
        ("recall@10", "RD", "above", "Student"), ("recall@10", "RD", "above", "CD"),
        ("ndcg@10", "RD", "above", "Student"), ("ndcg@10", "RD", "above", "CD"), ("ndcg@10", "Student", "below", "CD")]
    assert {key[:2] for key in found.index} == {("ml-1m", "MF")}
    expected = [ttest_rel(by_users[ours], by_users[rival]).pvalue
                for ours, rival in (*[("rd", "none"), ("rd", "cd")] * 2, ("none", "cd"))]  # the seeds' shift cancels
    np.testing.assert_allclose(found["p"], expected, rtol=1e-4)
    np.testing.assert_allclose(found["p_holm"], holm(np.array(expected)), rtol=1e-4)
    assert found["verdict"].tolist() == ["holds", "undecided", "holds", "undecided", "holds"]
    assert found["difference"].iloc[0] == pytest.approx(np.mean(by_users["rd"]) - np.mean(by_users["none"]))
    line = stats.verdicts(found).splitlines()[0]
    assert line.startswith("recall@10: RD above Student: holds (+0.2") and line.endswith(", 2 seeds × 40 users)")


def test_claims_on_each_data_set_and_backbone_that_both_groups_have(by_users):
    study = study_of(rd=users("rd", by_users["rd"]) + users("rd", by_users["rd"], (0,), dataset="citeulike"),
                     none=users("none", by_users["none"]) + users("none", by_users["none"], backbone="lightgcn")
                     + users("none", by_users["none"], dataset="citeulike"))
    found = study.claims(("rd", "above", "none", "ndcg@10"))
    assert [key[:2] for key in found.index] == [("ml-1m", "MF"), ("citeulike", "MF")]
    assert found["verdict"].tolist() == ["holds", "holds, one seed"]  # the seeds that both have
    with pytest.raises(ValueError, match="rd and other have no data set and backbone in common"):
        (study | study_of(other=users("cd", by_users["cd"], backbone="lightgcn"))).claims(
            ("rd", "above", "other", "ndcg@10"))
    with pytest.raises(ValueError, match="'above' or 'below' another, not 'over'"):
        study.claims(("rd", "over", "none", "ndcg@10"))


def test_a_table_marks_what_is_certainly_other(by_users):
    """Metric by metric: the plain student is other in recall, and in NDCG like the rest."""
    study = study_of(**{name: users(name, values) for name, values in by_users.items()})
    for r in study:
        r.metrics |= {"ndcg@10": 0.1}
        r.by_user |= {"ndcg@10": study["rd"][0].by_user["ndcg@10"].flip(0 if r.run.name == "cd" else ())}
    table = study.table(["recall@10", "ndcg@10"], {"rd": "Ours", "none": "Plain", "cd": "CD"}, against="rd")
    assert table["recall@10"].tolist() == ["0.1050 ± 0.0071", "0.1050 ± 0.0071 †", "0.1050 ± 0.0071"]
    assert table["ndcg@10"].to_dict() == dict.fromkeys(["Ours", "Plain", "CD"], "0.1000 ± 0.0000")
    assert not study.table(["recall@10"])["recall@10"].str.contains("†").any()


def test_intervals_of_groups_are_those_over_their_seeds(study):
    found = study.intervals(["recall@10", "popular/recall@10"], ["cd", "rd"])
    assert found.index.tolist() == ["cd", "rd"]
    assert found.columns.tolist() == [(metric, bound) for metric in ("recall@10", "popular/recall@10")
                                      for bound in ("mean", "low", "high")]
    expected = ttest_1samp([0.22, 0.24], 0).confidence_interval()
    assert found.loc["cd", "popular/recall@10"].tolist() == pytest.approx([0.23, expected.low, expected.high])


def test_sweeps_of_groups_by_hand():
    """Of labels "SETTING = x" and "SETTING × x" alone, x as a number."""
    labels = {"K = 2": 0.2, "K = 10": 0.4, "α = 0.25": 0.1, "cpd × 4": 0.6, "none": 0.7, "K": 0.8, "KK = 3": 0.9}
    study = study_of(**{label: [result("none", metrics={"recall@10": value, "ndcg@10": value / 2})]
                        for label, value in labels.items()})
    chosen = study.swept("K")
    assert chosen[chosen["metric"] == "recall@10"][["x", "value"]].values.tolist() == [[2.0, 0.2], [10.0, 0.4]]
    assert study.swept("α")["x"].tolist() == [0.25, 0.25] and study.swept("cpd")["x"].tolist() == [4.0, 4.0]
    assert study.sweeps(["α", "K"], ["ndcg@10", "recall@10"]).to_dict("index") == {
        ("α", 0.25): {"ndcg@10": 0.05, "recall@10": 0.1}, ("K", 2.0): {"ndcg@10": 0.1, "recall@10": 0.2},
        ("K", 10.0): {"ndcg@10": 0.2, "recall@10": 0.4}}
    del study.results["K = 10"]
    with pytest.raises(NotRecorded, match="no runs with another K are in the records"):
        study.swept("K")


def test_what_a_run_was_given(untuned):
    """The searched settings and those that are not as by default."""
    run = Run("synthetic", "cd", lr=0.02, l2=0.003, weight=0.5, batch_size=512, settings={"t1": 4.0, "refresh": 3})
    assert as_tuned(run) == ("CD as tuned: lr=0.02, l2=0.003, batch=512, λ=0.5, guide=student, refresh=3, t1=4.0, "
                             "temperature=20.0")
    assert as_tuned(Run("synthetic", lr=0.02, l2=0.003)) == "Student as tuned: lr=0.02, l2=0.003, batch=2048"


# --------------------------------------------------------------------------------------------------------------- tables

def test_mean_and_std_over_seeds_by_hand(results):
    table = tables.mean_std(study_of(results).tidy(), ["popular/recall@10", "unpopular/recall@10"])
    assert list(table.columns) == ["Teacher", "Student", "RD", "CD"]
    assert table.loc[("ml-1m", "popular/recall@10"), "RD"] == "0.2600 ± 0.0141"  # 0.25 and 0.27: 0.02 / √2
    assert table.loc[("ml-1m", "unpopular/recall@10"), "CD"] == "0.0200 ± 0.0000"
    one = tables.mean_std(study_of(results[:1]).tidy(), ["popular/recall@10"])
    assert one.iloc[0, 0] == "0.3000"


def test_means_by_data_set_and_method():
    study = study_of(all_results("ml-100k", "ml-1m"))
    means = {name: study.where(dataset=name).levels["popular/recall@10"] for name in ("ml-100k", "ml-1m")}
    assert means["ml-1m"].to_dict() == pytest.approx({"teacher": 0.31, "none": 0.21, "rd": 0.26, "cd": 0.23})
    assert "rd" in means["ml-100k"] and sum(map(len, means.values())) == 8


def test_a_saved_table_reads_back_in_every_form(results, tmp_path, monkeypatch):
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    table = unkd.table1(study_of(results).tidy())
    assert tables.save_table(table, "t", "laptop", study_of(results)) is table
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "laptop" / "t.csv"), table.reset_index(), check_dtype=False)
    assert r"0.2100 $\pm$ 0.0141" in (tmp_path / "laptop" / "t.tex").read_text()
    assert "| 0.2100 ± 0.0141 " in (tmp_path / "laptop" / "t.md").read_text()
    kept = json.loads((tmp_path / "laptop" / "t.provenance.json").read_text())
    assert kept["seeds"] == [0, 1] and kept["runs"] == 8 and kept["seconds"] == 16 and kept["commits"] == ["abc"]
    assert kept["data"] == {"ml-1m": {"split": "unkd, seed 0", "fingerprint": "f", "device": "cpu (x)", "torch": "2",
                                      "instructions": "avx2"}}


def test_a_note_stands_under_the_saved_table(results, tmp_path, monkeypatch):
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    table = pd.DataFrame({("MF", "recall@10", "ours"): ["0.1010 ± 0.0014 †"]},
                         index=pd.MultiIndex.from_tuples([("ml-1m", "Student")], names=["dataset", "method"]))
    tables.save_table(table, "t3", "laptop", results, note=unkd.MARK_MEANS)
    assert (tmp_path / "laptop/t3.md").read_text().endswith(f"\n\n{unkd.MARK_MEANS}\n")
    latex = (tmp_path / "laptop/t3.tex").read_text()
    assert r"0.1010 $\pm$ 0.0014 $^\dagger$" in latex and r"p $<$ 0.05" in latex and "†" not in latex
    assert list(pd.read_csv(tmp_path / "laptop/t3.csv").columns)[:3] == ["dataset", "method", "MF recall@10 ours"]


def test_tables_are_utf_8_whatever_the_locale(results, tmp_path, monkeypatch):
    """As on Windows, where a file's text is cp1252 unless one says otherwise."""
    write_text = Path.write_text
    monkeypatch.setattr(Path, "write_text", lambda path, text, encoding="cp1252": write_text(path, text, encoding))
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    table = pd.DataFrame({"recall@10": ["0.1010 ± 0.0014"]}, index=pd.Index(["λ and μ"], name="setting"))
    tables.save_table(table, "t", "laptop", results, note="γ, τ and †")
    text = (tmp_path / "laptop/t.md").read_text(encoding="utf-8")
    assert all(part in text for part in ("λ and μ", "±", "γ, τ and †"))
    assert r"$\lambda$ and $\mu$" in (tmp_path / "laptop/t.tex").read_text(encoding="utf-8")
    assert pd.read_csv(tmp_path / "laptop/t.csv").iloc[0, 0] == "λ and μ"


# ----------------------------------------------------------------------------------------------------------- provenance

@pytest.mark.parametrize("field", ["split", "fingerprint", "device", "torch"])
def test_results_that_do_not_belong_together_make_no_table_and_no_figure(results, field, tmp_path, monkeypatch):
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    results[3] = replace(results[3], provenance=results[3].provenance | {field: "other"})
    mixed = f"results of mixed provenance on ml-1m .{field}: .*'other'"
    with pytest.raises(ValueError, match=mixed):
        tables.save_table(unkd.table1(study_of(results).tidy()), "t", "laptop", results)
    with pytest.raises(ValueError, match=mixed):
        figures.save_figure(unkd_figures.causal_graph(), "f", "laptop", results)
    assert not list((tmp_path / "laptop").iterdir())


def test_several_kinds_of_processor_are_named(results):
    """As where machines of both makers computed a table's runs."""
    (kept,) = provenance_of(results)["data"].values()
    results[3] = replace(results[3], provenance=results[3].provenance | {"instructions": "avx2, Intel"})
    (found,) = provenance_of(results)["data"].values()
    assert found == kept | {"instructions": f"{kept['instructions']} and avx2, Intel"}


def test_worlds_are_data_sets_of_their_own(results):
    """One of each seed; within one nothing may be mixed."""
    for n, r in enumerate(results[:3]):
        r.provenance |= {"data": "synthetic-world", "split": f"affinity, seed {n}", "fingerprint": f"f{n}"}
    assert list(provenance_of(results[:3])["data"]) == [f"synthetic-world, seed {n}" for n in range(3)]
    results[2].provenance |= {"split": "affinity, seed 1"}
    with pytest.raises(ValueError, match="results of mixed provenance on synthetic-world, seed 1 .fingerprint: 'f1'"):
        provenance_of(results[:3])


def test_provenance_tells_settings_apart(results):
    assert provenance_of(results)["settings"] == provenance_of(results[::-1])["settings"]
    assert provenance_of(results)["settings"] != provenance_of(results[1:])["settings"]


def test_provenance_of_several_data_sets_and_a_run_that_stands_twice(results):
    other = replace(result("rd", 5, "citeulike"), seconds=0.6)
    other.provenance |= {"dirty": True, "instructions": "native"}
    found = provenance_of([*results, results[0], other])
    assert {name: entry["instructions"] for name, entry in found["data"].items()} == {
        "ml-1m": "avx2", "citeulike": "native"}
    assert (found["runs"], found["seeds"]) == (9, [0, 1, 5])
    assert found["seconds"] == 17  # 8 · 2 + 0.6: a run that stands twice took its time once
    assert found["commits"] == ["abc", "abc+dirty"] and found["packages"].keys() >= {"torch", "numpy", "pandas"}

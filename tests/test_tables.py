"""Tidy results → tables and figures, on results made by hand."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from runs_helpers import computed

from rkd import figures, tables
from rkd.provenance import provenance_of
from rkd.runs import Result, Run
from rkd.synthetic import probe, world

RECALLS = {"teacher": (0.30, 0.06), "none": (0.20, 0.04), "rd": (0.25, 0.03), "cd": (0.22, 0.02)}


def result(method, seed, dataset="ml-1m") -> Result:
    popular, unpopular = RECALLS[method]
    metrics = {"recall@10": 0.1 + 0.01 * seed, "popular/recall@10": popular + 0.02 * seed,
               "unpopular/recall@10": unpopular, "unpopular_share": 0.5, "unpopular_share@10": 0.1}
    where = {"commit": "abc", "dirty": False, "data": dataset, "split": "unkd, seed 0", "fingerprint": "f",
             "python": "3", "torch": "2", "device": "cpu (x)"}
    return Result(Run(dataset, method, seed), f"{dataset}{method}{seed}", metrics, metrics, [], 1, 1, 2.0, 1.0, where)


@pytest.fixture
def results():
    return [result(method, seed) for method in RECALLS for seed in (0, 1)]


def test_mean_and_std_over_seeds_by_hand(results):
    table = tables.mean_std(tables.tidy(results), ["popular/recall@10", "unpopular/recall@10"])
    assert list(table.columns) == ["Teacher", "Student", "RD", "CD"]
    assert table.loc[("ml-1m", "popular/recall@10"), "RD"] == "0.2600 ± 0.0141"  # 0.25 and 0.27: 0.02 / √2
    assert table.loc[("ml-1m", "unpopular/recall@10"), "CD"] == "0.0200 ± 0.0000"
    one = tables.mean_std(tables.tidy(results[:1]), ["popular/recall@10"])
    assert one.iloc[0, 0] == "0.3000"


def test_named_lists_of_results_by_hand(results):
    """A row per name, in order; one seed has no spread."""
    table = tables.by_label({"all": results[:2], "first": results[:1]}, ["recall@10", "unpopular/recall@10"])
    assert table.loc["all"].tolist() == ["0.1050 ± 0.0071", "0.0600 ± 0.0000"]
    assert table.loc["first"].tolist() == ["0.1000", "0.0600"] and list(table.index) == ["all", "first"]
    frame = tables.tidy(results + [result("rd", 0, "apps")])
    assert tables.seeds_of(frame, "rd", "recall@10", "ml-1m").tolist() == [0.1, 0.11]


def test_means_and_sweeps_of_results_by_hand(results):
    few = [r for r in results if r.run.method == results[0].run.method]
    assert tables.level(few)["recall@10"] == pytest.approx(sum(r.metrics["recall@10"] for r in few) / len(few))
    frame = tables.swept({0.5: few[:1], 2: few})
    assert frame["x"].value_counts().to_dict() == {0.5: len(few[0].metrics), 2: len(few) * len(few[0].metrics)}
    chosen = frame[(frame["x"] == 0.5) & (frame["metric"] == "recall@10")]
    assert chosen["value"].tolist() == [few[0].metrics["recall@10"]]


def test_effects_in_the_world_are_the_probes():
    run = Run("synthetic-world", split="affinity", dim=4, epochs=2)
    found, truth = computed([run])[0][0], world()
    users, items = found.model.factors()
    expected = probe(users @ items.T, truth) | {"model": "Student", "seed": 0, "recall@10": found.metrics["recall@10"]}
    assert tables.world_effects([found]).to_dict("records") == [expected]


def test_table1_sets_ours_beside_the_published():
    frame = tables.tidy([result(m, s, dataset) for dataset in ("ml-100k", "ml-1m") for m in RECALLS for s in (0, 1)])
    table = tables.unkd_table1(frame)
    assert table.loc[("ml-1m", "unpopular", "published")].to_dict() == {
        "Teacher": "0.0517", "Student": "0.0250", "RD": "0.0242", "CD": "0.0179"}  # the paper's Table 1
    assert table.loc[("ml-1m", "popular", "ours"), "Student"] == "0.2100 ± 0.0141"
    assert ("ml-100k", "popular", "published") not in table.index  # not a data set of the paper's


def test_table2_sets_ours_beside_the_published():
    facts = {name: {"users": 1, "items": 2, "interactions": 3, "sparsity_percent": 4.5, "fingerprint": ""}
             for name in ("citeulike", "ml-100k")}
    table = tables.unkd_table2(facts)
    assert table.loc[("citeulike", "published")].tolist() == [5219, 25181, 125580, 99.91]
    assert table.loc[("ml-100k", "ours")].tolist() == [1, 2, 3, 4.5] and len(table) == 3


def test_a_saved_table_reads_back_in_every_form(results, tmp_path, monkeypatch):
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    table = tables.unkd_table1(tables.tidy(results))
    tables.save_table(table, "t", "laptop", results)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "laptop" / "t.csv"), table.reset_index(), check_dtype=False)
    assert r"0.2100 $\pm$ 0.0141" in (tmp_path / "laptop" / "t.tex").read_text()
    assert "| 0.2100 ± 0.0141 " in (tmp_path / "laptop" / "t.md").read_text()
    kept = json.loads((tmp_path / "laptop" / "t.provenance.json").read_text())
    assert kept["seeds"] == [0, 1] and kept["runs"] == 8 and kept["seconds"] == 16 and kept["commits"] == ["abc"]
    assert kept["data"] == {"ml-1m": {"split": "unkd, seed 0", "fingerprint": "f", "device": "cpu (x)", "torch": "2"}}


@pytest.mark.parametrize("field", ["split", "fingerprint", "device", "torch"])
def test_results_that_do_not_belong_together_make_no_table(results, field, tmp_path, monkeypatch):
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    results[3] = replace(results[3], provenance=results[3].provenance | {field: "other"})
    with pytest.raises(ValueError, match=f"results of mixed provenance on ml-1m .{field}: .*'other'"):
        tables.save_table(tables.unkd_table1(tables.tidy(results)), "t", "laptop", results)
    assert not list((tmp_path / "laptop").iterdir())


def test_provenance_tells_settings_apart(results):
    assert provenance_of(results)["settings"] == provenance_of(results[::-1])["settings"]
    assert provenance_of(results)["settings"] != provenance_of(results[1:])["settings"]


def test_changes_over_the_student_are_drawn_as_they_are(results):
    """One panel a data set; popular RD: the mean of 0.25 and 0.27 over the mean of 0.20 and 0.22, less 1."""
    frame = tables.tidy([*results, *(result(m, 0, "apps") for m in RECALLS)])
    axes = figures.change_over_student(frame).axes
    assert [axis.get_title() for axis in axes] == ["ml-1m", "apps"]
    bars = {round(bar.get_height(), 6) for bar in axes[0].patches if bar.get_height()}
    assert bars == {round(x, 6) for x in (0.26 / 0.21 - 1, 0.23 / 0.21 - 1, 0.03 / 0.04 - 1, 0.02 / 0.04 - 1)}


def test_figures_are_the_same_bytes_whenever_they_are_drawn(results, tmp_path, monkeypatch):
    figures.use_style()
    written = []
    for place in ("one", "two"):
        monkeypatch.setenv("RKD_FIGURES", str(tmp_path / place))
        figures.save_figure(figures.causal_graph(), "graph", "laptop", [])
        figures.save_figure(figures.change_over_student(tables.tidy(results)), "change", "laptop", results)
        written.append([(tmp_path / place / "laptop" / f"{name}.{kind}").read_bytes()
                        for name in ("graph", "change") for kind in ("png", "svg")])
    assert written[0] == written[1]


def unkd_results(backbones=("mf", "lightgcn"), methods=("none", "cd", "de-rrd", "pd-cd", "unkd"), dataset="ml-1m"):
    """Two seeds of each method on each backbone, metrics by hand."""
    def of(method, backbone, seed):
        value = 0.1 + 0.01 * methods.index(method) + 0.002 * seed + 0.1 * (backbone == "lightgcn")
        metrics = {name: value for name in ("recall@10", "ndcg@10", "popular/recall@10", "unpopular/recall@10")}
        first = result("none", seed, dataset)
        return replace(first, run=Run(dataset, method, seed, backbone), key=f"{method}{backbone}{seed}", metrics=metrics)

    return [of(method, backbone, seed) for backbone in backbones for method in methods for seed in (0, 1)]


@pytest.fixture
def p_values(monkeypatch):
    """Certain against the plain student, not against the others."""
    def tests(ours, others, metric):
        assert {r.run.method for r in ours} == {"unkd"} and "unkd" not in others
        return pd.DataFrame({"p_holm": {name: 0.001 if name == "none" else 0.2 for name in others}})

    monkeypatch.setattr(tables, "paired_tests", tests)


def test_table3_by_backbone_with_marks_and_the_published(p_values):
    table = tables.unkd_table3(unkd_results())
    assert list(table.index) == [("ml-1m", m) for m in ("Student", "CD", "DE-RRD", "PD-CD", "UnKD")]
    row = table.loc[("ml-1m", "Student")]
    assert row["MF", "recall@10", "ours"] == "0.1010 ± 0.0014 †"  # 0.100 and 0.102: 0.002 / √2
    assert row["LightGCN", "ndcg@10", "ours"] == "0.2010 ± 0.0014 †"
    assert row["MF", "recall@10", "published"] == "0.1435" and row["LightGCN", "ndcg@10", "published"] == "0.2581"
    assert table.loc[("ml-1m", "UnKD"), ("MF", "ndcg@10", "published")] == "0.2615"
    assert table.loc[("ml-1m", "DE-RRD"), ("MF", "recall@10", "published")] == "0.1436"
    assert table.loc[("ml-1m", "PD-CD"), ("MF", "recall@10", "published")] == ""  # not in the paper's Table 3
    assert not any(tables.MARK in cell for m in ("CD", "UnKD") for cell in table.loc[("ml-1m", m)])


def test_table3_without_a_published_data_set(p_values):
    table = tables.unkd_table3(unkd_results(dataset="ml-100k", backbones=("mf",)))
    assert [column[2] for column in table.columns] == ["ours", "ours"]


def test_table4_sets_halves_beside_the_published(p_values):
    table = tables.unkd_table4(unkd_results())
    assert table.loc[("ml-1m", "PD-CD"), ("MF", "unpopular/recall@10", "published")] == "0.0210"
    assert table.loc[("ml-1m", "UnKD"), ("LightGCN", "popular/recall@10", "published")] == "0.2384"
    assert table.loc[("ml-1m", "Student"), ("LightGCN", "recall@10", "published")] == "0.1456"


def test_a_note_stands_under_the_saved_table(p_values, tmp_path, monkeypatch):
    monkeypatch.setenv("RKD_FIGURES", str(tmp_path))
    used = unkd_results()
    tables.save_table(tables.unkd_table3(used), "t3", "laptop", used, note=tables.MARK_MEANS)
    assert (tmp_path / "laptop/t3.md").read_text().endswith(f"\n\n{tables.MARK_MEANS}\n")
    latex = (tmp_path / "laptop/t3.tex").read_text()
    assert r"0.1010 $\pm$ 0.0014 $^\dagger$" in latex and r"p $<$ 0.05" in latex and "†" not in latex
    assert list(pd.read_csv(tmp_path / "laptop/t3.csv").columns)[:3] == ["dataset", "method", "MF recall@10 ours"]


def test_pareto_front_by_hand():
    points = pd.DataFrame({"x": [1, 2, 3, 2, 3, 1], "y": [3, 2, 1, 1, 1, 2]}, index=list("abcdef"))
    assert figures.pareto_front(points)[lambda front: front].index.tolist() == ["a", "b", "c", "e"]  # c and e are equal


def test_a_sweep_shows_the_means_it_is_given(results):
    frame = pd.concat([tables.tidy(results[2:4]).assign(x=1), tables.tidy(results[4:6]).assign(x=2)])
    level = pd.Series({"recall@10": 0.5, "popular/recall@10": 0.5, "unpopular/recall@10": 0.5})
    figure = figures.sweep({"K": frame}, {"plain student": level, "teacher": 2 * level})
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[1].lines}
    assert figure.axes[1].containers[0].lines[0].get_ydata().tolist() == pytest.approx([0.21, 0.26])
    assert lines["plain student"][0] == 0.5 and lines["teacher"][0] == 1
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()] == ["1", "2"]


def test_size_against_quality_draws_each_methods_means(results):
    frame = pd.concat([tables.tidy(results[2:4]).assign(dim=5), tables.tidy(results[2:4]).assign(dim=10, value=0.3)])
    figure = figures.size_against_quality(frame, pd.Series({"recall@10": 0.4}), {"recall@10": "Recall@10"})
    student, teacher = figure.axes[0].lines
    assert student.get_ydata().tolist() == pytest.approx([0.105, 0.3]) and student.get_xdata().tolist() == [5, 10]
    assert student.get_label() == "Student" and teacher.get_ydata()[0] == 0.4


def test_heat_maps_share_one_scale():
    figure = figures.heat_maps({"a": np.eye(3) / 4, "b": np.full((3, 3), 0.5)}, "share")
    assert [axis.collections[0].get_clim() for axis in figure.axes[:2]] == [(0, 0.5), (0, 0.5)]
    assert figure.axes[0].collections[0].get_array().reshape(3, 3)[0].tolist() == [0.25, 0, 0]

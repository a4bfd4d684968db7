"""Figures: what they show is what they are given."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from scipy.stats import ttest_1samp
from study_helpers import all_results, result, study_of

from rkd.study import figures
from rkd.study.papers import unkd, unkd_figures


@pytest.fixture
def results():
    return all_results()


def test_figures_are_the_same_bytes_whenever_they_are_drawn(results, tmp_path, monkeypatch):
    figures.use_style()
    written = []
    for place in ("one", "two"):
        monkeypatch.setenv("RKD_FIGURES", str(tmp_path / place))
        figures.save_figure(unkd_figures.causal_graph(), "graph", "laptop")
        change = unkd_figures.change_over_student(unkd.changes(study_of(results), {}))
        figures.save_figure(change, "change", "laptop", results)
        written.append([(tmp_path / place / "laptop" / f"{name}.{kind}").read_bytes()
                        for name in ("graph", "change") for kind in ("png", "svg")])
    assert written[0] == written[1]
    beside = sorted(path.name for path in (tmp_path / "two" / "laptop").glob("*.json"))
    assert beside == ["change.provenance.json"]  # what is drawn from no result has none


def test_pareto_front_by_hand():
    points = pd.DataFrame({"x": [1, 2, 3, 2, 3, 1], "y": [3, 2, 1, 1, 1, 2]}, index=list("abcdef"))
    assert figures.pareto_front(points)[lambda front: front].index.tolist() == ["a", "b", "c", "e"]  # c and e are equal


def test_points_of_the_plane_by_hand():
    """A choice is a point of its method's, whose own name may have a comma."""
    study = study_of(**{"none": all_results()[2:4], "rrd-top, tail": [result("cd")], "K = 2": [result("rd", 1)]})
    points = figures.points(study, {"rrd-top, tail": "for the tail", "none": "as tuned"})
    assert points.index.tolist() == ["RRD, no sampling, tail", "Student"] and points.index.name == "model"
    nan = pytest.approx(np.nan, nan_ok=True)

    def about(x):
        return pytest.approx(x, abs=1e-5)

    assert points.to_dict("records") == [
        {"name": "RRD, no sampling", "kind": "for the tail", "recall@10": 0.1, "recall@10 low": nan,
         "recall@10 high": nan, "unpopular/recall@10": 0.02, "unpopular/recall@10 low": nan,
         "unpopular/recall@10 high": nan},
        # 0.10 and 0.11: 0.005 times Student's t of one degree of freedom, 12.706
        {"name": "Student", "kind": "as tuned", "recall@10": about(0.105), "recall@10 low": about(0.105 - 0.06353),
         "recall@10 high": about(0.105 + 0.06353), "unpopular/recall@10": 0.04, "unpopular/recall@10 low": 0.04,
         "unpopular/recall@10 high": 0.04}]


PLANE = pd.DataFrame({"name": ["t", "a", "b", "c", "a"], "kind": ["teacher", "tuned", "tuned", "ours", "tail"],
                      "recall@10": [0.9, 0.2, 0.1, 0.1, 0.15], "unpopular/recall@10": [0.9, 0.3, 0.25, 0.4, 0.35]},
                     index=["t", "a", "b", "c", "a, tail"])


def test_the_front_leaves_teachers_out():
    """b is beaten by a, a's second choice by none."""
    assert figures.front(PLANE).index.tolist() == ["c", "a, tail", "a"]


def test_the_plane_draws_points_names_and_front():
    """Teachers are drawn but not on the front, which is stairs; the two points of a are joined, and named once; they
    look alike, but the second is hollow."""
    points = PLANE.copy()
    for metric, reach in (("recall@10", 0.01), ("unpopular/recall@10", 0.02)):
        points[f"{metric} low"], points[f"{metric} high"] = points[metric] - reach, points[metric] + reach
    axis = figures.plane(points).axes[0]
    dots = [part for part in axis.collections if isinstance(part, PathCollection)]
    assert [dot.get_offsets().tolist()[0] for dot in dots] == points[
        ["recall@10", "unpopular/recall@10"]].values.tolist()
    colours = [dot.get_edgecolor().tolist() for dot in dots]
    assert colours[1] == colours[4] and len(set(map(str, colours))) == 4
    assert [dot.get_facecolor().tolist()[0][:3] == [1, 1, 1] for dot in dots] == [False] * 4 + [True]
    lines = {line.get_drawstyle(): line.get_xydata().tolist() for line in axis.lines if len(line.get_xydata()) > 1}
    assert lines == {"steps-pre": [[0.1, 0.4], [0.15, 0.35], [0.2, 0.3]], "default": [[0.2, 0.3], [0.15, 0.35]]}
    assert sorted(text.get_text() for text in axis.texts if text.get_text()) == ["a", "b", "c", "t"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["teacher", "tuned", "ours", "tail"]
    across, up = axis.containers[0].lines[2]
    only = figures.plane(points, figures.looks(["a", "elsewhere"])).axes[0]  # what has no look is a grey dot
    greys = [part.get_edgecolor().tolist()[0][:3] for part in only.collections if isinstance(part, PathCollection)]
    assert [grey == pytest.approx([0.502] * 3, abs=1e-3) for grey in greys] == [True, False, True, True, False]
    np.testing.assert_allclose(across.get_segments()[1], [[0.19, 0.3], [0.21, 0.3]])
    np.testing.assert_allclose(up.get_segments()[1], [[0.2, 0.28], [0.2, 0.32]])


def test_a_sweep_shows_the_means_it_is_given(results):
    frame = pd.concat([study_of(results[2:4]).tidy().assign(x=1), study_of(results[4:6]).tidy().assign(x=2)])
    level = pd.Series({"recall@10": 0.5, "popular/recall@10": 0.5, "unpopular/recall@10": 0.5})
    figure = figures.sweep({"K": frame}, {"Student": level, "Teacher": 2 * level, "UnKD": 3 * level})
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    (bars,) = figure.axes[1].containers[0].lines[2]
    expected = ttest_1samp([0.20, 0.22], 0).confidence_interval()
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], [expected.low, expected.high])
    assert figure.axes[1].containers[0].lines[0].get_ydata().tolist() == pytest.approx([0.21, 0.26])
    assert {name: (lines[name].get_ydata()[0], lines[name].get_linestyle()) for name in figures.references(
        ["Student", "Teacher", "UnKD"])} == {"Student": (0.5, ":"), "Teacher": (1, "--"), "UnKD": (1.5, "-.")}
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()] == ["1", "2"]
    assert figure.axes[1].containers[0].lines[0].get_xdata().tolist() == [1, 2]
    assert [axis.get_xscale() for axis in figure.axes] == ["linear"] * 3


def test_a_line_of_reference_is_the_same_in_every_figure():
    assert figures.references(["Student", "DE-RRD"]) == {"Student": ":", "DE-RRD": "-."}
    styles = figures.references(["UnKD", "Teacher", "MKD"])
    assert styles["Teacher"] == "--" and len(set(styles.values())) == 3


def test_a_sweep_over_factors_is_logarithmic(results):
    frame = pd.concat([study_of(results[2:4]).tidy().assign(x=x) for x in (5, 50, 400)])
    level = pd.Series({"recall@10": 0.5})
    axis = figures.sweep({"λ": frame}, {"Teacher": level}, rows={"recall@10": "Recall@10"}).axes[0]
    assert axis.get_xscale() == "log" and axis.containers[0].lines[0].get_xdata().tolist() == [5, 50, 400]
    low, high = axis.get_xlim()
    assert low > 2.5 and high < 800  # no empty half
    assert [text.get_text() for text in axis.get_xticklabels()] == ["5", "50", "400"]
    assert [figures.scale_of(x) for x in ([1, 2, 3, 4], [0, 1, 10], [1, 100])] == ["linear"] * 3


def test_labels_that_would_touch_stand_a_line_lower():
    assert figures.tick_labels([0.25, 0.26, 0.27, 2], "log") == ["0.25", "\n0.26", "0.27", "2"]
    assert figures.tick_labels([1, 2, 3], "linear") == ["1", "2", "3"]


def test_a_sweep_shades_what_it_is_told_to(results):
    frame = pd.concat([study_of(results[2:4]).tidy().assign(x=x) for x in (1, 2, 3)])
    first, second = figures.sweep({"K": frame, "μ": frame}, {}, rows={"recall@10": "Recall@10"},
                                  spans={"K": {"best": (2, 3)}}).axes
    (span,) = first.patches
    assert (span.get_x(), span.get_x() + span.get_width()) == (2, 3) and not second.patches
    assert "best" in [text.get_text() for text in second.get_legend().get_texts()]


def test_dots_are_drawn_from_the_top_with_their_bounds():
    """And lines down from those that are named; no bar where a bound is NaN."""
    frame = pd.DataFrame({"mean": [0.2, 0.4], "low": [0.1, np.nan], "high": [0.4, np.nan]}, index=["a", "b"])
    axis = figures.dots({"Recall@10": frame.rename({"b": "Teacher"})}, lines=["Teacher"]).axes[0]
    points, _, (bars,) = axis.containers[0].lines
    assert points.get_xydata().tolist() == [[0.2, 0], [0.4, 1]] and axis.yaxis_inverted()
    np.testing.assert_allclose(bars.get_segments()[0], [[0.1, 0], [0.4, 0]])
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "Teacher"] and axis.get_xlabel() == "Recall@10"
    assert [line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == "--"] == [0.4]


def test_dots_on_a_logarithmic_axis_have_plain_numbers():
    frame = pd.DataFrame({"mean": [0.1, 4.0], "low": [0.1, 3.0], "high": [0.1, 5.0]}, index=["a", "b"])
    figure = figures.dots({"seconds": frame}, log=True)
    figure.canvas.draw()
    (axis,) = figure.axes
    assert axis.get_xscale() == "log" and {"0.2", "0.5", "1", "2"} <= {x.get_text() for x in axis.get_xticklabels()}


def test_size_against_quality_draws_each_methods_means_and_intervals(results):
    student = study_of(results[2:4]).tidy()
    frame = pd.concat([student.assign(dim=5), student.assign(dim=10, value=0.3)])
    axis = figures.size_against_quality(frame, pd.Series({"recall@10": 0.4}), {"recall@10": "Recall@10"}).axes[0]
    (drawn,) = axis.containers
    assert drawn.lines[0].get_xdata().tolist() == [5, 10] and drawn.get_label() == "Student"
    assert drawn.lines[0].get_ydata().tolist() == pytest.approx([0.105, 0.3])
    expected = ttest_1samp([0.10, 0.11], 0).confidence_interval()
    np.testing.assert_allclose(drawn.lines[2][0].get_segments()[0][:, 1], [expected.low, expected.high])
    assert [line.get_ydata()[0] for line in axis.lines if line.get_label() == "Teacher"] == [0.4]


def test_methods_stand_side_by_side_at_a_size(results):
    """By the same factor, as the axis is logarithmic."""
    groups = [study_of(group).tidy() for group in (results[:2], results[2:4])]
    frame = pd.concat([group.assign(dim=dim) for dim in (5, 10) for group in groups])
    axis = figures.size_against_quality(frame, pd.Series({"recall@10": 0.4}), {"recall@10": "Recall@10"}).axes[0]
    one, other = (np.array(bars.lines[0].get_xdata(), float) for bars in axis.containers)
    np.testing.assert_allclose(other / one, 1.04)
    np.testing.assert_allclose(one * other, [25, 100])
    assert [text.get_text() for text in axis.get_xticklabels()] == ["5", "10"]


def test_curves_draw_every_results_history():
    """Of both results of a label in one colour and mark, named once; a panel for a name, and one for a function."""
    rows = [{"epoch": 5, "loss": 0.4, "x": [1]}, {"epoch": 10, "loss": 0.3, "x": [2]}]
    one, again, other = (replace(result("none"), history=rows[:n]) for n in (2, 1, 1))
    figure = figures.curves({"cd": [one, again], "two": [other]}, {"the loss": "loss", "x": lambda row: row["x"][0]})
    for axis, values in zip(figure.axes, ([0.4, 0.3], [1, 2])):
        lines = axis.lines
        assert [line.get_xydata().tolist() for line in lines] == [
            [[5, values[0]], [10, values[1]]], [[5, values[0]]], [[5, values[0]]]]
        assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
        assert lines[0].get_marker() == lines[1].get_marker() != lines[2].get_marker()
    assert [axis.get_ylabel() for axis in figure.axes] == ["the loss", "x"]
    like = figures.looks(["MKD", "CD", "two"])
    line = figures.curves({"cd": [one]}, {"the loss": "loss"}, like).axes[0].lines[0]
    assert (line.get_marker(), line.get_color()) == like["CD"] != like["MKD"]
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["CD", "two"]

"""Discordant pairs as metrics of a study, and their drawing; on results made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot
from study_helpers import result, study_of

from rkd.study.papers import mkd


def projected(seed, label, first, second, overall):
    """A result of CPD whose kept epoch has these shares within the first and second tenth; the others have none."""
    by_rank = np.zeros((10, 10))
    by_rank[0, 0], by_rank[1, 1] = first, second
    rows = [{"epoch": epoch, "inconsistency": overall * kept, "inconsistency_by_rank": (by_rank * kept).tolist(),
             "cosine_inconsistency": overall * kept / 2, "cosine_inconsistency_by_rank": (by_rank * kept / 2).tolist()}
            for epoch, kept in ((5, 0), (10, 1), (15, 0))]
    return replace(result(label, seed, metrics={"ndcg@10": 0.1}), history=rows, best_epoch=10)


def test_discordance_is_a_metric_of_the_kept_epoch():
    ours = [projected(seed, "cpd", 0.2 + 0.02 * seed, 0.4, 0.3) for seed in (0, 1)]
    student = replace(result("none", metrics={"ndcg@10": 0.1}), history=[{"epoch": 1}])
    study = mkd.with_discordance(study_of(CPD=ours, none=[student]))
    assert study.level("CPD").to_dict() == pytest.approx({
        "ndcg@10": 0.1, "products, first tenth": 0.21, "products, second tenth": 0.4, "products, all pairs": 0.3,
        "cosines, first tenth": 0.105, "cosines, second tenth": 0.2, "cosines, all pairs": 0.15})
    assert study["none"] == [student] and ours[0].metrics == {"ndcg@10": 0.1}
    assert mkd.discordance(ours[1])[0, 0] == pytest.approx(0.11)
    assert mkd.discordance(ours[1], "products").shape == (10, 10)


def test_discordant_pairs_are_drawn_in_percent_one_triangle_and_the_difference():
    figure = mkd.discordant({"a": np.array([[0.1, 0.2], [0.2, 0.3]]), "b": np.array([[0.3, 0.1], [0.1, 0.3]])})
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "b − a"]
    assert [[text.get_text() for text in axis.texts] for axis in figure.axes] == [
        ["10", "20", "30"], ["30", "10", "30"], ["+20", "-10", "+0"]]
    limits = [axis.collections[0].get_clim() for axis in figure.axes]
    assert limits == [pytest.approx(x) for x in ((0, 30), (0, 30), (-20, 20))]
    pyplot.close(figure)

"""Names beside points: where there is room."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rkd.study.names import MARK, beside


@pytest.fixture
def axis():
    figure, axis = plt.subplots(figsize=(7, 5))
    axis.set(xlim=(0, 1), ylim=(0, 1))
    yield axis
    plt.close(figure)


def boxes(axis, texts):
    """Of each text, in pixels: [n, 4]."""
    axis.figure.draw_without_rendering()
    return np.array([text.get_window_extent().extents for text in texts])


def overlap(one, other) -> bool:
    return bool((np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]) > 0.5).all())


@pytest.mark.parametrize("seed", range(3))
def test_names_cover_no_mark_and_no_other_name_and_stay_inside(axis, seed):
    """Twelve of twenty-four points, half of them in a heap, two in corners of the frame."""
    draws = np.random.default_rng(seed)
    marks = np.concatenate([draws.uniform(0.05, 0.95, (11, 2)), draws.uniform(0.45, 0.6, (11, 2)),
                            [[0.99, 0.99], [0.01, 0.01]]])
    chosen = [*range(5), *range(11, 16), 22, 23]
    names = [f"method {n}" for n in chosen]
    texts = beside(axis, names, marks[chosen], marks)
    assert [text.get_text() for text in texts] == names and [text.xy for text in texts] == [*map(tuple, marks[chosen])]
    found, reach = boxes(axis, texts), MARK * axis.figure.dpi / 72
    drawn = [np.concatenate([place - reach, place + reach]) for place in axis.transData.transform(marks)]
    for n, box in enumerate(found):
        assert not any(overlap(box, other) for other in [*drawn, *found[:n]])
        assert (box[:2] > axis.bbox.extents[:2] - 0.5).all() and (box[2:] < axis.bbox.extents[2:] + 0.5).all()


def test_a_name_with_room_stands_at_its_point_and_one_in_a_crowd_is_led_to(axis):
    alone, heap = np.array([[0.1, 0.8]]), np.stack(np.meshgrid(*2 * [np.linspace(0.45, 0.6, 8)]), -1).reshape(-1, 2)
    marks = np.concatenate([alone, heap])
    free, led = beside(axis, ["free", "led"], marks[[0, 28]], marks)
    assert np.hypot(*free.get_position()) < 20 < np.hypot(*led.get_position())
    leaders = [text for text in axis.texts if text.arrow_patch is not None]
    assert [text.xy for text in leaders] == [led.xy]  # from the point towards the name
    assert 0 < np.hypot(*leaders[0].xyann) < np.hypot(*led.xyann)
    assert np.cross([*leaders[0].xyann, 0], [*led.xyann, 0]) == pytest.approx(0, abs=1e-6)

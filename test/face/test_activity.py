import numpy as np
import pytest
from naive import random_batch

from cs3d_ros.events import EventBatch
from cs3d_ros.face.activity import GRID_ROWS, MEMORIES_S, ActivityMap, image_of

PERIOD_S = 1 / 30


def one_pixel(x, y, count, width=346, height=260):
    """Return events of one pixel."""
    columns = (np.full(count, x, np.uint16), np.full(count, y, np.uint16), np.arange(count))
    return EventBatch(*columns, np.ones(count, np.uint8), width, height)


@pytest.mark.parametrize('size', [(346, 260), (640, 480), (1280, 720), (36, 64), (1, 1)])
def test_cells_cover_the_sensor_and_count_every_event(size):
    activity = ActivityMap(*size)
    batch = random_batch(3, 5000, *size)
    activity.add(batch)
    assert activity.close(PERIOD_S)
    cell = activity.cell
    expected = np.zeros(activity.counts.shape[1:])
    np.add.at(expected, (batch.y // cell, batch.x // cell), 1)
    for counts in activity.counts:
        np.testing.assert_array_equal(counts, expected)
    assert len(expected) <= 1.5 * GRID_ROWS


def test_events_are_forgotten_exponentially():
    activity = ActivityMap(346, 260)
    for count in (1000, 400, 700):
        activity.add(one_pixel(17, 9, count))
        activity.close(PERIOD_S)
    for counts, memory_s in zip(activity.counts, MEMORIES_S):
        ages = np.exp(-PERIOD_S * np.array([2, 1, 0]) / memory_s)
        assert counts[9 // 4, 17 // 4] == pytest.approx(np.dot(ages, (1000, 400, 700)), rel=1e-5)


def test_nothing_is_forgotten_while_nothing_moves():
    activity = ActivityMap(346, 260)
    activity.add(one_pixel(17, 9, 1000))
    assert activity.close(PERIOD_S)
    before = activity.counts
    activity.add(one_pixel(200, 100, 5))
    assert not activity.close(PERIOD_S)
    np.testing.assert_array_equal(activity.counts, before)
    activity.reset()
    assert not activity.counts.any()


@pytest.mark.parametrize('factor', [0.1, 7.0])
def test_image_does_not_depend_on_how_many_events_an_edge_makes(factor):
    counts = np.random.default_rng(0).poisson(3.0, (2, 65, 87)).astype(np.float32)
    image = image_of(counts)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image_of(factor * counts), image, rtol=1e-5)


def test_image_of_nothing_is_nothing():
    assert not image_of(np.zeros((2, 4, 5), np.float32)).any()

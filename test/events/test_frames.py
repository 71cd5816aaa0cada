import naive
import numpy as np
import pytest
from naive import random_batch, random_cuts

from cs3d_ros.events import (
    EventBatch,
    FrameSettings,
    SquareAccumulator,
    count_in_cells,
    period_index,
)
from cs3d_ros.face import FaceSquare


def one_event(x, y, p=1):
    return EventBatch(
        np.array([x], np.uint16),
        np.array([y], np.uint16),
        np.array([0], np.int64),
        np.array([p], np.uint8),
        346,
        260,
    )


def test_frame_without_events_is_still():
    assert (SquareAccumulator().take() == 128).all()


def test_on_brightens_and_off_darkens_by_one_step():
    frames = SquareAccumulator(FrameSettings(size=4, step=32))
    square = FaceSquare(2.0, 2.0, 4.0, 0.0)
    frames.add(one_event(0, 0, 1), square)
    frames.add(one_event(3, 1, 0), square)
    expected = np.full((4, 4), 128)
    expected[0, 0], expected[1, 3] = 160, 96
    assert np.array_equal(frames.take(), expected)


def test_frame_saturates():
    frames = SquareAccumulator(FrameSettings(size=1))
    for _ in range(9):
        frames.add(one_event(0, 0, 1), FaceSquare(0.5, 0.5, 1.0, 0.0))
    assert frames.take().item() == 255


def test_on_and_off_cancel():
    frames = SquareAccumulator(FrameSettings(size=1))
    for p in (1, 0):
        frames.add(one_event(0, 0, p), FaceSquare(0.5, 0.5, 1.0, 0.0))
    assert frames.take().item() == 128


def test_next_frame_begins_empty():
    frames = SquareAccumulator()
    frames.add(random_batch(1), FaceSquare(100.0, 100.0, 200.0, 0.0))
    frames.take()
    assert (frames.take() == 128).all()


def test_roll_turns_the_face_upright():
    frames = SquareAccumulator(FrameSettings(size=3))
    # a quarter turn: what lies below the centre of the sensor lies to the right of the face's
    frames.add(one_event(1, 2), FaceSquare(1.5, 1.5, 3.0, np.pi / 2))
    assert frames.take()[1, 2] == 160


@pytest.mark.parametrize('roll', [0.0, 0.3, -1.0])
@pytest.mark.parametrize('side', [40.0, 111.7, 400.0])
def test_frame_equals_its_naive_twin(side, roll):
    batch = random_batch(3, 3000)
    frames = SquareAccumulator(FrameSettings())
    frames.add(batch, FaceSquare(150.3, 90.1, side, roll))
    assert np.array_equal(
        frames.take(), naive.event_frame(batch, 150.3, 90.1, side, roll, 112, 32)
    )


@pytest.mark.parametrize('seed', range(3))
def test_frame_does_not_depend_on_how_the_events_are_cut(seed):
    batch = random_batch(seed, 3000)
    square = FaceSquare(150.0, 90.0, 120.0, 0.1)
    whole, parts = SquareAccumulator(), SquareAccumulator()
    whole.add(batch, square)
    for part in random_cuts(batch, seed):
        parts.add(part, square)
    assert np.array_equal(whole.take(), parts.take())


@pytest.mark.parametrize('t_ns, index', [(0, 0), (99, 0), (100, 1), (-1, -1), (10**18, 10**16)])
def test_periods_are_aligned_to_absolute_time(t_ns, index):
    assert period_index(t_ns, 100) == index


@pytest.mark.parametrize(
    'settings', [FrameSettings(size=0), FrameSettings(step=128), FrameSettings(period_ns=0)]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match='must be positive'):
        SquareAccumulator(settings)


def test_cells_count_every_event_once():
    batch = random_batch(1, 1000)
    counts = np.zeros((44, 58), np.int32)
    count_in_cells(batch, 6, counts)
    expected = np.zeros((44, 58), int)
    np.add.at(expected, (batch.y // 6, batch.x // 6), 1)
    assert np.array_equal(counts, expected)


def test_cells_that_do_not_cover_the_sensor_are_refused():
    with pytest.raises(ValueError, match='counts must have shape'):
        count_in_cells(random_batch(1), 6, np.zeros((44, 57), np.int32))

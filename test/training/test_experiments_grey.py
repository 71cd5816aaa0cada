import json

import numpy as np
import pytest

pytest.importorskip('cv2')
pytest.importorskip('h5py')
pytest.importorskip('numba')

from cs3d_ros.events import EventBatch, FrameSettings, SquareAccumulator
from cs3d_ros.face.align import FaceSquare
from training.data.clips import DataError
from training.data.plan import SetPlan
from training.data.studio import world_version
from training.experiments.grey_camera import (
    DARK_NOISE_E,
    FULL_WELL_E,
    cut_again,
    cut_out,
    expose,
    plan_of,
)


def write_about(folder, **changes):
    """Write what a set tells of itself, as training.synthesize does."""
    plan = SetPlan(seed=7, without=('hands',))
    about = {
        'seed': plan.seed,
        'size': [plan.width, plan.height],
        'without': list(plan.without),
        'conditions': list(plan.conditions),
        'world': world_version(),
        **changes,
    }
    (folder / 'set.json').write_text(json.dumps(about))
    return plan


def test_plan_is_read_back_from_what_a_set_tells(tmp_path):
    assert write_about(tmp_path) == plan_of(tmp_path)


def test_set_of_another_world_is_refused(tmp_path):
    write_about(tmp_path, world='0123')
    with pytest.raises(DataError, match='version 0123'):
        plan_of(tmp_path)


def test_folder_that_is_no_rendered_set_is_refused(tmp_path):
    with pytest.raises(DataError, match='no set of training.synthesize'):
        plan_of(tmp_path)


@pytest.mark.parametrize('level', [1.0, 0.03])
def test_noise_is_that_of_the_electrons(level):
    light = np.full((200, 200), 0.25)
    seen = expose(light, level, 1.0, np.random.default_rng(1)).astype(float)
    electrons = 0.25 * FULL_WELL_E * level
    wanted = 255 * np.sqrt(electrons + DARK_NOISE_E**2) / (FULL_WELL_E * level)
    rounding = 1 / np.sqrt(12)
    assert seen.mean() == pytest.approx(255 * 0.25, abs=0.1)
    assert seen.std() == pytest.approx(np.hypot(wanted, rounding), rel=0.05)


def test_display_values_follow_the_gamma():
    seen = expose(np.full((50, 50), 0.5), 1.0, 2.2, np.random.default_rng(2))
    assert seen.mean() == pytest.approx(255 * 0.5 ** (1 / 2.2), abs=0.5)


@pytest.mark.parametrize('roll', [0.0, 0.4])
def test_square_of_a_picture_lies_where_that_of_events_does(roll):
    square = FaceSquare(52.0, 47.0, 40.0, roll)
    x, y = 60, 41
    accumulator = SquareAccumulator(FrameSettings(80))
    columns = [
        np.array([value], kind) for value, kind in ((x, 'u2'), (y, 'u2'), (0, 'i8'), (1, 'u1'))
    ]
    accumulator.add(EventBatch(*columns, 100, 100), square)
    row, column = np.argwhere(accumulator.take() > 128)[0]
    picture = np.zeros((100, 100), np.uint8)
    picture[y, x] = 255
    seen = cut_out(picture, square, 80).astype(float)
    rows, columns = np.indices(seen.shape)
    middle = (rows * seen).sum() / seen.sum(), (columns * seen).sum() / seen.sum()
    np.testing.assert_allclose(middle, (row, column), atol=0.75)


def test_square_out_of_what_was_kept_is_that_of_the_picture():
    rng = np.random.default_rng(3)
    import cv2

    picture = cv2.GaussianBlur(rng.integers(0, 256, (160, 160)).astype(np.uint8), (0, 0), 4)
    kept_square = (80.0, 76.0, 90.0)
    kept = cut_out(picture, FaceSquare(*kept_square, 0.0), 90)
    wanted = FaceSquare(84.0, 74.0, 60.0, 0.1)
    np.testing.assert_allclose(
        cut_again(kept, kept_square, wanted, 60).astype(int),
        cut_out(picture, wanted, 60).astype(int),
        atol=3,
    )

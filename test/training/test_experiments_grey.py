import json

import numpy as np
import pytest

pytest.importorskip('cv2')
pytest.importorskip('h5py')
pytest.importorskip('numba')
pytest.importorskip('pytorch_lightning')

from fabricated import write_set

from cs3d_ros.events import EventBatch, FrameSettings, SquareAccumulator
from cs3d_ros.face.align import FaceSquare
from training.augment import Variation
from training.data.clips import ClipSet, DataError
from training.data.plan import SetPlan
from training.data.studio import Studio, world_version
from training.experiments.grey import GreySet, picture_path
from training.experiments.grey_camera import (
    DARK_NOISE_E,
    FULL_WELL_E,
    GreyClip,
    cut_again,
    cut_out,
    expose,
    film,
    pack,
    plan_of,
)
from training.targets import UNCHANGED
from training.windows import Window


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


@pytest.fixture
def grey(tmp_path):
    """Return a set of dots whose pictures tell in grey which period they show."""
    source = write_set(tmp_path / 'dots')
    folder = tmp_path / 'grey'
    folder.mkdir()
    for entry in ClipSet(source).entries:
        pictures = np.zeros((84, 40, 40), np.uint8)
        pictures += np.arange(84, dtype=np.uint8)[:, None, None]
        pictures[:, :, 20:] += 100
        squares = np.tile(np.float32([80, 80, 200]), (84, 1))
        content = pack(GreyClip(pictures, squares))
        picture_path(folder, entry['index']).write_bytes(content)
    return GreySet(folder, source, 'test', settings=FrameSettings(24))


def test_window_of_pictures_shows_the_periods_of_that_of_events(grey):
    period_ns = grey.settings.period_ns
    window = Window(grey.clips[0], 40 * period_ns, UNCHANGED)
    frames = grey.cut(window)
    assert frames.shape == (16, 24, 24)
    np.testing.assert_array_equal(frames[:, 12, 2], np.arange(24, 40))
    np.testing.assert_array_equal(frames[:, 12, 21], np.arange(124, 140))


def test_window_that_begins_before_its_clip_is_black_there(grey):
    frames = grey.cut(Window(grey.clips[0], 4 * grey.settings.period_ns, UNCHANGED))
    assert not frames[:12].any()
    np.testing.assert_array_equal(frames[12:, 12, 2], np.arange(4))


def test_mirrored_window_is_mirrored(grey):
    window = Window(grey.clips[0], 40 * grey.settings.period_ns, UNCHANGED)
    mirrored = grey.cut(window, Variation(mirror=True))
    np.testing.assert_array_equal(mirrored, grey.cut(window)[:, :, ::-1])


def test_batches_of_pictures_are_those_that_networks_learn_from(grey):
    examples = grey.batch(9, np.random.default_rng(1))
    assert examples.frames.shape == (9, 16, 24, 24)
    assert set(examples.changing[:, 0]) == set(range(UNCHANGED + 1))


def test_clip_that_was_not_filmed_is_told(tmp_path):
    source = write_set(tmp_path / 'dots')
    with pytest.raises(DataError, match='holds no grey clip'):
        GreySet(tmp_path, source, 'test')


def test_scene_that_is_filmed_again_is_that_of_the_events(shared_data):
    studio = Studio(SetPlan(seed=1, width=96, height=96), shared_data)
    recorded, seen = studio.make(0), film(studio, 0)
    boxes = recorded.truth.box[: 2 * len(seen.pictures)]
    assert len(recorded.truth.box) - len(boxes) in (0, 1)
    middles = (boxes[:, :2] + boxes[:, 2:] / 2).reshape(-1, 2, 2).mean(1)
    np.testing.assert_allclose(seen.squares[:, :2], middles, atol=0.01)
    assert seen.pictures.std() > 10


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

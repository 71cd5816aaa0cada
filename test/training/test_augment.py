import numpy as np
import pytest

pytest.importorskip('numba')

from fabricated import MS, write_set

from cs3d_ros.events import EventBatch, FrameSettings, SquareAccumulator
from cs3d_ros.face.align import FaceSquare
from training.augment import (
    AUGMENTATIONS,
    Variation,
    changed_sensor,
    cropped_anew,
    draw_variation,
    mirrored,
    moving_edges,
    noisy,
    stretched,
    varied_square,
    wandering,
)
from training.dataset import DataSet
from training.targets import UNCHANGED
from training.windows import Clip, Window, cut_window

WIDTH, HEIGHT = 120, 90


def cloud(count=5000, seed=0, end_ns=500 * MS):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, end_ns, count))
    x, y = (rng.integers(0, side, count).astype(np.uint16) for side in (WIDTH, HEIGHT))
    return EventBatch(x, y, t, rng.integers(0, 2, count).astype(np.uint8), WIDTH, HEIGHT)


def frame_of(batch, square, size=48):
    accumulator = SquareAccumulator(FrameSettings(size=size))
    accumulator.add(batch, square)
    return accumulator.take()


def clip_of(batch):
    boxes = np.array([[30.0, 20.0, 60.0, 50.0]] * 2)
    return Clip(batch.between, np.array([0, 10**10]), boxes, 'someone', [])


def test_mirrored_events_make_the_mirrored_frame():
    batch = cloud()
    square = FaceSquare(50.3, 44.1, 61.7, 0.0)
    # a pixel centre is x + 0.5, so the mirrored scene has its column x at width - x
    other = square._replace(cx=WIDTH - square.cx)
    np.testing.assert_array_equal(
        frame_of(mirrored(batch), other), frame_of(batch, square)[:, ::-1]
    )


def test_mirror_keeps_polarity():
    batch = cloud()
    np.testing.assert_array_equal(mirrored(batch).p, batch.p)
    assert mirrored(mirrored(batch)) == batch


@pytest.mark.parametrize('pace', [0.8, 1.0, 1.25])
def test_stretched_time_keeps_every_event(pace):
    batch = cloud()
    other = stretched(batch, pace, 0)
    assert len(other) == len(batch)
    np.testing.assert_allclose(other.t * pace, batch.t, atol=1)


def test_window_of_a_pace_is_the_window_of_stretched_events():
    batch, pace = cloud(end_ns=1000 * MS), 1.25
    period = FrameSettings().period_ns
    end_ns = 20 * period
    fast = cut_window(
        Window(clip_of(batch), int(end_ns * pace), UNCHANGED), variation=Variation(pace=pace)
    )
    slow = cut_window(Window(clip_of(stretched(batch, pace, 0)), end_ns, UNCHANGED))
    assert (fast != slow).mean() < 1e-3  # an event may lie on the edge of a period


@pytest.mark.parametrize('gain', [0.25, 0.5, 2.0, 3.0])
def test_other_threshold_changes_every_pixel_alike(gain):
    batch = cloud(40000)
    other = changed_sensor(batch, Variation(on_gain=gain, off_gain=gain), np.random.default_rng(0))
    before, after = (
        np.bincount(b.p.astype(int) * WIDTH * HEIGHT + b.y.astype(int) * WIDTH + b.x)
        for b in (batch, other)
    )
    short = np.zeros(len(before))
    short[: len(after)] = after
    assert np.abs(short - gain * before).max() <= 1 + 1e-3


def test_thresholds_of_both_polarities_are_their_own():
    batch = cloud(20000)
    other = changed_sensor(batch, Variation(on_gain=2.0, off_gain=0.5), np.random.default_rng(0))
    on, off = (
        ((b.p == 1).sum() for b in (batch, other)),
        ((b.p == 0).sum() for b in (batch, other)),
    )
    was, became = on
    assert became == pytest.approx(2 * was, rel=0.02)
    was, became = off
    assert became == pytest.approx(0.5 * was, rel=0.1)


def test_dropped_events_are_a_share_and_the_rest_a_subset():
    batch = cloud(20000)
    other = changed_sensor(batch, Variation(drop=0.3), np.random.default_rng(0))
    assert len(other) == pytest.approx(0.7 * len(batch), rel=0.03)
    everything = set(zip(*(getattr(batch, n).tolist() for n in 'xytp')))
    assert set(zip(*(getattr(other, n).tolist() for n in 'xytp'))) <= everything
    assert (np.diff(other.t) >= 0).all()


def test_edges_move_behind_the_face_and_never_before_it():
    def boxes(t):
        return np.tile([40.0, 20.0, 40.0, 50.0], (*np.shape(t), 1))

    batch = moving_edges(WIDTH, HEIGHT, 0, 500 * MS, boxes, 8, np.random.default_rng(1))
    assert len(batch) > 1000
    assert (np.diff(batch.t) >= 0).all() and batch.t[-1] < 500 * MS
    inside = ((batch.x - 60.0) / 20) ** 2 + ((batch.y - 45.0) / 25) ** 2 < 1
    assert not inside.any()


def test_an_edge_moves_and_keeps_its_polarity():
    def boxes(t):
        return np.tile([-500.0, -500.0, 1.0, 1.0], (*np.shape(t), 1))

    batch = moving_edges(400, 400, 0, 500 * MS, boxes, 1, np.random.default_rng(5))
    share = batch.p.mean()
    assert min(share, 1 - share) < 0.1
    halves = [
        (b.x.mean(), b.y.mean()) for b in (batch[: len(batch) // 2], batch[len(batch) // 2 :])
    ]
    assert np.hypot(*np.subtract(*halves)) > 4


def test_noise_comes_in_both_polarities_and_its_number():
    frames = noisy(np.full((16, 48, 48), 128, np.uint8), 0.01, 32, np.random.default_rng(0))
    assert (frames != 128).mean() == pytest.approx(0.01, rel=0.2)
    assert (frames > 128).sum() == pytest.approx((frames < 128).sum(), rel=0.4)


def test_crop_and_rotation_move_the_square_in_its_own_sides():
    square = FaceSquare(50.0, 40.0, 60.0, 0.0)
    varied = varied_square(square, Variation(shift_x=0.1, scale=1.2, roll=0.1), (0.0, -0.05))
    assert varied == pytest.approx((56.0, 37.0, 72.0, 0.1))


def marks(side=60):
    """Return one frame with three marks of their own grey levels, and where they lie (x, y)."""
    frame, places = np.full((1, side, side), 128, np.uint8), {}
    for level, (x, y) in zip((0, 64, 255), ((20, 20), (40, 22), (28, 38))):
        frame[0, y - 2 : y + 3, x - 2 : x + 3] = level
        places[level] = x, y
    return frame, places


def found_in(frame, levels):
    return np.array([np.argwhere(frame[0] == level).mean(0)[::-1] for level in levels])


@pytest.mark.parametrize('mirror', [False, True])
def test_a_square_cut_anew_shows_a_similar_picture(mirror):
    frame, places = marks()
    known = np.array(list(places.values()), float)
    scales, shifts = [], []
    for seed in range(200):
        seen = found_in(cropped_anew(frame, mirror, np.random.default_rng(seed)), places)
        if mirror:
            seen[:, 0] = 59 - seen[:, 0]
        scale = np.linalg.norm(seen[1] - seen[0]) / np.linalg.norm(known[1] - known[0])
        np.testing.assert_allclose(seen - seen[0], scale * (known - known[0]), atol=1.5)
        scales.append(np.log(scale))
        shifts.append((seen - known).mean(0) / 60)
    assert np.std(scales) == pytest.approx(0.05, rel=0.3)
    assert np.std(shifts) == pytest.approx(0.03, rel=0.2)
    assert np.abs(np.mean(shifts)) < 0.01


def test_outside_of_a_square_cut_anew_is_still():
    frames = np.zeros((3, 40, 40), np.uint8)
    found = [cropped_anew(frames, False, np.random.default_rng(seed)) for seed in range(40)]
    assert {0, 128} == set(np.unique(found))
    middle = np.array(found)[:, :, 12:28, 12:28]
    assert not middle.any()


def test_wandering_is_slow_and_of_its_deviation():
    paths = np.stack([wandering(90, 0.015, np.random.default_rng(k)) for k in range(300)])
    assert paths[:, ::15].std() == pytest.approx(0.015, rel=0.05)
    assert np.abs(np.diff(paths, axis=1)).max() < 0.01


def test_each_kind_is_left_out_by_itself():
    still = Variation()
    everything = [draw_variation(np.random.default_rng(k)) for k in range(80)]
    assert {f for v in everything for f in v._fields if getattr(v, f) != getattr(still, f)} == set(
        still._fields
    )
    for kind in AUGMENTATIONS:
        others = [k for k in AUGMENTATIONS if k != kind]
        for k, whole in enumerate(everything[:10]):
            without = draw_variation(np.random.default_rng(k), others)
            changed = [f for f in still._fields if getattr(without, f) != getattr(whole, f)]
            assert all(getattr(without, f) == getattr(still, f) for f in changed)
    assert draw_variation(np.random.default_rng(0), ()) == still


def test_thresholds_of_both_polarities_vary_together_and_a_third_apart():
    drawn = [draw_variation(np.random.default_rng(k), ['threshold']) for k in range(2000)]
    on, off = np.log([(v.on_gain, v.off_gain) for v in drawn]).T
    assert np.std(on - off) == pytest.approx(np.log(1.35), rel=0.05)
    together = np.exp((on + off) / 2)
    assert 0.4 <= together.min() < 0.41 and 2.9 < together.max() <= 3.0


def test_batch_without_augmentation_is_the_recording(tmp_path):
    data = DataSet(write_set(tmp_path / 'set', 1), 'train', kinds=())
    examples = data.batch(8, np.random.default_rng(2))
    rng = np.random.default_rng(2)
    rng.integers(9)  # where the balance begins
    assert examples.frames.shape == (8, 16, 112, 112)
    assert {128 - 32, 128, 128 + 32} <= set(np.unique(examples.frames).tolist())

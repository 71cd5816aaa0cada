import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs3d_ros.events import concatenate
from cs3d_ros.simulator import AUTO, OFF, EventCamera, PixelModel, Upsampler

WIDTH, HEIGHT = 160, 120
FRAME_NS = 33_333_333  # of a webcam
TRUE_NS = FRAME_NS // 32
SPEED_PX = 8.0  # per frame of a webcam


def texture(seed=0, width=WIDTH + 80):
    """Return smooth clouds, DN 30 to 220."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 220, (HEIGHT // 6, width // 6)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, HEIGHT), interpolation=cv2.INTER_CUBIC), 30, 220)


def moved(picture, way_px):
    """Return what a picture shows after it went this far to the right, without 8 bit steps."""
    move = np.array([[1, 0, way_px - 40], [0, 1, 0]], np.float32)
    return cv2.warpAffine(picture, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)


def frames(count=4, step_px=SPEED_PX):
    return [np.round(moved(texture(), step_px * i)).astype(np.uint8) for i in range(count)]


def upsampled(pictures, factor=AUTO, step_ns=FRAME_NS):
    upsampler = Upsampler(factor)
    return [
        pair for i, picture in enumerate(pictures) for pair in upsampler.push(picture, i * step_ns)
    ]


def test_still_scene_gets_no_frames():
    picture = frames(1)[0]
    assert len(upsampled([picture] * 5)) == 5


def test_frames_between_follow_the_motion_a_pixel_apart():
    pairs = upsampled(frames(2))
    assert 8 <= len(pairs) - 1 <= 10
    inside = (slice(20, -20), slice(20, -20))
    for picture, t_ns in pairs:
        true = moved(texture(), SPEED_PX * t_ns / FRAME_NS)[inside]
        assert np.abs(picture[inside] - true).mean() < 1.0


def test_a_cross_fade_would_be_far_off():
    first, second = (frame.astype(np.float32) for frame in frames(2))
    inside = (slice(20, -20), slice(20, -20))
    true = moved(texture(), SPEED_PX / 2)[inside]
    assert np.abs((first + second)[inside] / 2 - true).mean() > 5.0


def test_times_are_even_and_frames_come_as_they_were():
    pictures = frames(3)
    pairs = upsampled(pictures, 4, 40_000_000)
    assert [t_ns for _, t_ns in pairs] == [i * 10_000_000 for i in range(9)]
    assert all(pairs[4 * i][0] is picture for i, picture in enumerate(pictures))


def test_wild_motion_is_bounded():
    assert len(upsampled(frames(2, step_px=30.0))) <= 17


def test_cut_is_no_motion():
    pictures = [np.round(moved(texture(seed), 0)).astype(np.uint8) for seed in range(4)]
    assert len(upsampled(pictures)) == 4


def test_light_that_goes_on_beside_a_motion_brightens_where_it_is():
    first, second = frames(2)
    first[30:70, 60:100], second[30:70, 60:100] = 60, 180
    pairs = upsampled([first, second])
    middle, t_ns = pairs[len(pairs) // 2]
    true = moved(texture(), SPEED_PX * t_ns / FRAME_NS)
    assert np.abs(middle - true)[85:-10, 20:-20].mean() < 1.0
    assert 80 < middle[40:60, 70:90].min() <= middle[40:60, 70:90].max() < 160


@pytest.mark.parametrize('step_ns', [10_000_000, 5_000_000])
def test_fast_video_is_left_alone(step_ns):
    assert len(upsampled(frames(4), AUTO, step_ns)) == 4


def test_slow_video_is_left_alone_if_told_so():
    assert len(upsampled(frames(4), OFF)) == 4


def test_asked_for_number_of_frames_comes_whatever_moves():
    assert len(upsampled([frames(1)[0]] * 3, 5)) == 11


def test_frames_too_small_for_flow_pass():
    assert len(upsampled([picture[:20, :20] for picture in frames(3)], 4)) == 3


def test_factor_below_none_is_refused():
    with pytest.raises(ValueError, match='must be 0'):
        Upsampler(-1)


def test_float_frames_are_upsampled_as_bytes_are():
    exact, rounded = (
        upsampled([frame.astype(kind) for frame in frames(2)]) for kind in (np.float64, np.uint8)
    )
    assert len(exact) == len(rounded)
    assert all(np.allclose(one, other) for (one, _), (other, _) in zip(exact, rounded))


@given(st.lists(st.integers(1, 60_000_000), min_size=1, max_size=5), st.integers(0, 20))
def test_every_frame_is_later_than_the_one_before(gaps_ns, factor):
    upsampler, t_ns, last_ns = Upsampler(factor), 0, -1
    picture = np.zeros((40, 40), np.uint8)
    for index, gap_ns in enumerate(gaps_ns):
        t_ns += 100 + gap_ns
        picture = np.roll(picture + np.uint8(index), 3, axis=1)
        pairs = list(upsampler.push(picture, t_ns))
        times = [last_ns] + [time_ns for _, time_ns in pairs]
        assert (np.diff(times) > 0).all()
        assert pairs[-1][1] == t_ns
        last_ns = t_ns


# What it is for.


def true_events():
    pixels = PixelModel(WIDTH, HEIGHT)
    return [pixels.push(moved(texture(), SPEED_PX * i / 32), i * TRUE_NS) for i in range(97)]


def events_of(upsample):
    camera = EventCamera(WIDTH, HEIGHT, upsample=upsample)
    return [camera.push(picture, i * 32 * TRUE_NS) for i, picture in enumerate(frames())]


def times_by_pixel(batches):
    """Return the sorted times of each pixel and polarity that fired."""
    events = concatenate(batches)
    key = (events.y.astype(int) * WIDTH + events.x) * 2 + events.p
    order = np.lexsort((events.t, key))
    keys, starts = np.unique(key[order], return_index=True)
    return dict(zip(keys, np.split(events.t[order], starts[1:])))


def time_error_ms(batches, true):
    """Return how far events are off the true ones, of pixels that fire as often as in truth."""
    mine, truth = times_by_pixel(batches), times_by_pixel(true)
    alike = [key for key in mine if len(mine[key]) == len(truth.get(key, ()))]
    assert len(alike) > 1000
    return np.mean(np.concatenate([np.abs(mine[key] - truth[key]) for key in alike])) * 1e-6


def test_events_come_when_the_edge_does():
    true = true_events()
    with_it, without = (time_error_ms(events_of(upsample), true) for upsample in (AUTO, OFF))
    assert with_it < 0.4 * without


def test_as_many_events_come_as_in_truth():
    true = sum(map(len, true_events()))
    with_it, without = (sum(map(len, events_of(upsample))) for upsample in (AUTO, OFF))
    assert with_it == pytest.approx(true, rel=0.05)
    assert without < 0.9 * true


# A sensor of its own size.


def test_frames_are_scaled_to_the_sensor():
    camera = EventCamera(80, 60)
    batches = [camera.push(picture, i * FRAME_NS) for i, picture in enumerate(frames(2))]
    assert (batches[1].width, batches[1].height) == (80, 60)
    assert len(batches[0]) == 0 and len(batches[1])


@pytest.mark.parametrize(
    'frame, t_ns, words',
    [
        (np.full((HEIGHT, WIDTH), np.nan), 2 * FRAME_NS, 'NaN'),
        (np.zeros((HEIGHT, WIDTH)), 0, 'must increase'),
    ],
)
def test_refused_frame_leaves_no_trace(frame, t_ns, words):
    pictures = frames(3)
    camera, other = (EventCamera(WIDTH, HEIGHT, upsample=OFF) for _ in range(2))
    for index in range(2):
        camera.push(pictures[index], index * FRAME_NS)
        other.push(pictures[index], index * FRAME_NS)
    with pytest.raises(ValueError, match=words):
        camera.push(frame, t_ns)
    assert camera.push(pictures[2], 3 * FRAME_NS) == other.push(pictures[2], 3 * FRAME_NS)


def test_camera_goes_on_upsampling_after_a_refused_frame():
    pictures = frames(4)
    camera = EventCamera(WIDTH, HEIGHT)
    camera.push(pictures[0], 0)
    camera.push(pictures[1], FRAME_NS)
    with pytest.raises(ValueError, match='must increase'):
        camera.push(pictures[2], FRAME_NS // 2)
    assert len(camera.push(pictures[2], 2 * FRAME_NS))
    assert len(camera.push(pictures[3], 3 * FRAME_NS))

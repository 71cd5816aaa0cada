import math

import naive_pixel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_pixel import watch

from cs3d_ros.simulator import PRESETS, PixelModel, PixelSettings, dimmed

STEP_NS = 10_000_000


def level(value):
    """Return the DN whose log intensity is ``value``."""
    return np.full((1, 1), np.exp(value))


def run(levels, settings=PixelSettings()):
    """Return [(t_ns, p), ...] of one pixel that sees these log intensities, a frame each 10 ms."""
    times = [i * STEP_NS for i in range(len(levels))]
    _, _, t, p = watch([level(value) for value in levels], times, settings)
    return list(zip(t.tolist(), p.tolist()))


def test_first_frame_fires_nothing():
    assert run([5.0]) == []


def test_step_fires_one_event_per_threshold():
    assert [p for _, p in run([4.0, 5.05])] == [1] * 5
    assert [p for _, p in run([5.05, 4.0])] == [0] * 5


def test_ramp_crosses_at_the_times_of_its_closed_form():
    # ln I rises by 0.5 in 10 ms: crossings of 0.2 and 0.4 at 4 and 8 ms
    assert [t for t, _ in run([4.0, 4.5])] == [4_000_000, 8_000_000]


def test_rest_below_a_threshold_is_kept_for_the_next_frame():
    assert [t for t, _ in run([4.0, 4.15, 4.3])] == pytest.approx([STEP_NS * (1 + 0.05 / 0.15)])


def test_sine_crosses_at_the_times_of_its_closed_form():
    times = np.arange(0, 20_001) * 50_000  # 1 s, a frame every 50 us
    values = 4.5 + 0.5 * np.sin(2 * np.pi * times * 1e-9)
    _, _, fired, _ = watch([level(v) for v in values], times, PixelSettings(0.2, 0.2))
    # rising through 4.7, 4.9, then falling through 4.7, 4.5, 4.3, 4.1, then rising through 4.3
    rise = np.arcsin([0.4, 0.8]) / (2 * np.pi)
    fall = 0.5 - np.arcsin([0.4, 0.0, -0.4, -0.8]) / (2 * np.pi)
    again = 1 + np.arcsin([-0.4]) / (2 * np.pi)
    expected = np.concatenate([rise, fall, again])
    assert len(fired) in (7, 8)  # another crossing falls on the last frame
    assert np.abs(fired[:7] * 1e-9 - expected).max() < 1e-6


def test_low_passed_step_crosses_at_the_times_of_its_closed_form():
    settings = PixelSettings(0.2, 0.2, cutoff_hz=50.0)
    tau_ns = naive_pixel.time_constant_ns(np.exp(5.05), settings)
    _, _, t, p = watch([level(4.0), level(5.05), level(5.05)], [0, 1, 10**9], settings)
    expected = [-tau_ns * math.log(1 - k * 0.2 / 1.05) for k in range(1, 6)]
    assert p.tolist() == [1] * 5
    assert np.abs(t - expected).max() < 1000


def test_low_passed_ramp_crosses_at_the_times_of_its_closed_form():
    settings = PixelSettings(0.2, 0.2, cutoff_hz=20.0)
    _, _, t, p = watch([level(5.5), level(4.0)], [0, 100_000_000], settings)
    tau_ns = naive_pixel.time_constant_ns((np.exp(5.5) + 2 * np.exp(4.0)) / 3, settings)
    slope = -1.5 / 100e6
    # s (t - tau (1 - exp(-t / tau))) is the answer to a ramp; it moves slope / 1 us at the most
    answer = slope * (t - tau_ns * (1 - np.exp(-t / tau_ns)))
    assert p.tolist() == [0] * 6
    assert np.abs(answer + 0.2 * np.arange(1, 7)).max() < abs(slope) * 1000


def test_low_passed_sine_crosses_at_the_times_of_its_closed_form():
    # so little light that the time constant is that of darkness, whatever the DN
    settings = PixelSettings(0.1, 0.1, cutoff_hz=30.0, light=1e-6)
    times = np.arange(0, 40_001) * 50_000  # 2 s, a frame every 50 us
    omega, tau = 2 * np.pi, naive_pixel.time_constant_ns(0, settings) * 1e-9
    seconds = times * 1e-9
    _, _, t, p = watch([level(v) for v in 4.5 + 0.5 * np.sin(omega * seconds)], times, settings)
    at = t * 1e-9
    damping = 1 + (omega * tau) ** 2
    answer = (
        0.5
        / damping
        * (np.sin(omega * at) - omega * tau * np.cos(omega * at) + omega * tau * np.exp(-at / tau))
    )
    steepness = (
        0.5
        / damping
        * omega
        * np.abs(np.cos(omega * at) + omega * tau * np.sin(omega * at) - np.exp(-at / tau))
    )
    expected = 0.1 * np.cumsum(np.where(p, 1, -1))
    assert len(t) > 15
    assert (np.abs(answer - expected) < steepness * 1e-6 + 1e-9).all()


@st.composite
def scenes(draw):
    """Draw (DN, times, settings) of one pixel without noise."""
    intervals = draw(
        st.lists(
            st.sampled_from([1_000, 100_000, 10_000_000, 33_333_333, 200_000_000]),
            min_size=1,
            max_size=4,
        )
    )
    times = np.concatenate([[0], np.cumsum(intervals)]).tolist()
    dns = draw(st.lists(st.floats(0, 255), min_size=len(times), max_size=len(times)))
    settings = PixelSettings(
        # crooked, as at an exact tie rounding alone decides whether an event comes
        1.00137 * draw(st.floats(0.05, 0.4)),
        1.00173 * draw(st.floats(0.05, 0.4)),
        cutoff_hz=draw(st.sampled_from([0.0, 3.0, 30.0, 300.0, 20_000.0])),
        refractory_us=draw(st.sampled_from([0.0, 0.0, 300.1, 5000.1, 30_000.1])),
        light=draw(st.sampled_from([1.0, 0.1])),
    )
    return dns, times, settings


@given(scenes())
def test_pixel_equals_its_naive_twin(scene):
    dns, times, settings = scene
    _, _, t, p = watch([np.full((1, 1), dn) for dn in dns], times, settings)
    expected = naive_pixel.pixel_events(dns, times, settings)
    assert p.tolist() == [p for _, p in expected]
    assert np.allclose(t, [t for t, _ in expected], rtol=0, atol=1000)


@given(st.lists(st.floats(0, 255), min_size=2, max_size=4), st.sampled_from([0.0, 30.0]))
def test_leaking_pixel_equals_its_naive_twin(dns, cutoff_hz):
    settings = PixelSettings(
        0.1731, 0.2317, cutoff_hz=cutoff_hz, leak_rate_hz=3.1, leak_light_hz=7.3
    )
    times = [i * 70_000_000 for i in range(len(dns) + 1)]
    # In the dark the first event tells how far down the reference began.
    _, _, first, _ = watch([np.zeros((1, 1))] * 2, [0, 10**9], settings)
    sunk = settings.on_threshold * (1 - first[0] * 1e-9 * settings.leak_rate_hz)
    dns = [0.0] + dns
    _, _, t, p = watch([np.full((1, 1), dn) for dn in dns], times, settings)
    expected = naive_pixel.pixel_events(dns, times, settings, sunk)
    assert p.tolist() == [p for _, p in expected]
    assert np.allclose(t, [t for t, _ in expected], rtol=0, atol=1000)


def test_level_that_turns_round_between_frames_fires_at_its_peak():
    settings = PixelSettings(0.2, 0.2, cutoff_hz=5.0)
    # the level falls for 100 ms and the low pass behind it, then it jumps back above
    dns, times = [200.0, 20.0, 200.0], [0, 20_000_000, 120_000_000]
    frames = [np.full((1, 1), dn) for dn in dns]
    _, _, t, p = watch(frames, times, settings)
    expected = naive_pixel.pixel_events(dns, times, settings)
    assert [p for _, p in expected].count(0) >= 1
    assert p.tolist() == [p for _, p in expected]
    assert np.abs(t - [t for t, _ in expected]).max() < 1000


@pytest.mark.parametrize('cutoff_hz', [10.0, 100.0])
def test_low_pass_does_not_depend_on_the_frame_rate(cutoff_hz):
    settings = PixelSettings(0.0501, 0.0502, cutoff_hz=cutoff_hz, light=1e-6)
    rough_times = np.arange(7) * 100_000_000
    rough = 4.0 + np.array([0.0, 0.9, 0.3, 1.2, -0.2, -0.2, 0.8])
    fine_times = np.arange(601) * 1_000_000
    fine = np.interp(fine_times, rough_times, rough)
    seen = [
        watch([level(v) for v in values], times, settings)
        for values, times in ((rough, rough_times), (fine, fine_times))
    ]
    assert seen[0][3].tolist() == seen[1][3].tolist()
    assert np.abs(seen[0][2] - seen[1][2]).max() < 1000


def test_bright_pixels_follow_faster_than_dark_ones():
    frames = np.array([[[10.0, 100.0]], [[15.0, 150.0]], [[15.0, 150.0]]])
    settings = PixelSettings(0.1, 0.1, cutoff_hz=10.0)
    x, _, t, _ = watch(frames, [0, 1, 10**9], settings)
    first = [t[x == column][0] for column in (0, 1)]
    # ln 1.5 > 0.1 for 100 DN; 5 DN on the line are 0.75
    tau = [naive_pixel.time_constant_ns(dn, settings) for dn in (15, 150)]
    steps = [5 * math.log(20) / 20, math.log(1.5)]
    expected = [-tau_ns * math.log(1 - 0.1 / step) for tau_ns, step in zip(tau, steps)]
    assert first == pytest.approx(expected, abs=1000)


def test_dark_pixels_follow_a_line_instead_of_the_logarithm():
    pixels = PixelModel(1, 1, PixelSettings(0.2, 0.2))
    pixels.push(np.full((1, 1), 0.0), 0)
    assert len(pixels.push(np.full((1, 1), 10.0), 1)) == int(np.log(20) / 2 / 0.2)


def test_srgb_values_are_made_linear_on_demand():
    bytes_dn = np.array([[100]], np.uint8), np.array([[200]], np.uint8)
    linear = [255 * ((dn[0, 0] / 255 + 0.055) / 1.055) ** 2.4 for dn in bytes_dn]
    contrast = math.log(linear[1] / linear[0])
    for frames in (bytes_dn, [dn.astype(float) for dn in bytes_dn]):
        _, _, t, _ = watch(frames, [0, 10**9], PixelSettings(0.1, 0.1, srgb=True))
        assert t == pytest.approx(
            [1e9 * 0.1 * k / contrast for k in range(1, int(contrast / 0.1) + 1)], abs=1000
        )


def test_bytes_and_floats_of_the_same_values_fire_alike():
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (6, 9, 11)).astype(np.uint8)
    times = np.arange(6) * STEP_NS
    for settings in PRESETS.values():
        ours = [
            watch(frames.astype(dtype), times, settings)
            for dtype in (np.uint8, np.float32, np.float64)
        ]
        for other in ours[1:]:
            assert all(np.array_equal(a, b) for a, b in zip(ours[0], other))


def test_events_come_sorted_and_inside_their_interval():
    rng = np.random.default_rng(1)
    for settings in PRESETS.values():
        pixels = PixelModel(40, 30, settings)
        for i in range(20):
            # few grey levels, so that pixels often return exactly to where they were
            frame = rng.choice(np.array([40, 60, 90, 200], np.uint8), (30, 40))
            batch = pixels.push(frame, i * STEP_NS)
            assert (i > 0) == (len(batch) > 0)
            if i:
                assert (np.diff(batch.t) >= 0).all()
                assert (i - 1) * STEP_NS <= batch.t[0]
                assert batch.t[-1] <= i * STEP_NS


def test_contrast_that_comes_while_a_pixel_is_blind_is_lost():
    # 1.0 in 10 ms with thresholds of 0.2, each followed by 3 ms in which 0.3 are lost
    settings = PixelSettings(0.2, 0.2, refractory_us=3000.0)
    assert [t for t, _ in run([4.0, 5.0], settings)] == [2_000_000, 7_000_000]


def test_blind_time_goes_on_over_frames():
    settings = PixelSettings(0.2, 0.2, refractory_us=15_000.0)
    # fires at 2 ms, sees again at 17 ms, where the level is 5.7; then 0.2 more take 2 ms
    assert [t for t, _ in run([4.0, 5.0, 6.0], settings)] == [2_000_000, 19_000_000]
    # of an edge that has come and gone only what fell after 16.3 ms counts: 0.2 take 1.3 ms
    assert [t for t, _ in run([4.0, 5.5, 4.0, 4.0], settings)] == [1_333_333, 17_666_666]


def test_no_pixel_fires_twice_within_its_refractory_period():
    rng = np.random.default_rng(5)
    settings = PRESETS['davis346']._replace(refractory_us=4000.0, shot_noise_hz=200.0)
    frames = rng.integers(0, 256, (20, 8, 8)).astype(np.uint8)
    x, y, t, _ = watch(frames, np.arange(20) * STEP_NS, settings)
    for pixel in range(64):
        assert (np.diff(t[y * 8 + x == pixel]) >= 4_000_000).all()


def test_state_does_not_drift_over_hours():
    # a picture an hour, for 2,000 hours
    settings = PixelSettings(0.1037, 0.0911, cutoff_hz=30.0)
    pixels = PixelModel(3, 1, settings)
    dark, bright = np.array([[40.0, 3.0, 77.7]]), np.array([[180.0, 30.0, 255.0]])
    hour = 3_600_000_000_000
    pixels.push(dark, 0)
    fired = []
    for k in range(1, 1001):
        up = pixels.push(bright, (2 * k - 1) * hour)
        down = pixels.push(dark, 2 * k * hour)
        fired.append(
            [np.bincount(up.x, minlength=3).tolist(), np.bincount(down.x, minlength=3).tolist()]
        )
    net = np.array(fired).sum(0)
    # ON and OFF steps must add up to where the pixel is, within one threshold
    assert (np.abs(net[0] * 0.1037 - net[1] * 0.0911) < 0.2).all()


def test_many_small_steps_do_not_add_up_errors():
    # 20,000 turns between two grey levels, 0.5 ms a frame
    settings = PixelSettings(0.1037, 0.0911, cutoff_hz=300.0)
    pixels = PixelModel(1, 1, settings)
    net = 0.0
    for k in range(20_001):
        batch = pixels.push(np.full((1, 1), 60.0 + 40.0 * (k % 2)), k * 500_000)
        net += 0.1037 * batch.on_count - 0.0911 * (len(batch) - batch.on_count)
    assert abs(net) < 0.6  # the distance of the two levels, and a threshold


def test_thresholds_are_spread_as_asked_and_never_near_zero():
    settings = PixelSettings(0.2, 0.3, threshold_sigma=0.08)
    width, height = 200, 150
    found = []
    for start, end in ((20.0, 250.0), (250.0, 20.0)):
        frames = [np.full((height, width), dn) for dn in (start, end)]
        x, y, t, _ = watch(frames, [0, 10**12], settings, seed=3)
        # a ramp first crosses at threshold / slope
        first = np.full(width * height, np.nan)
        cell = y.astype(int) * width + x
        first[cell[::-1]] = t[::-1]
        found.append(first * 1e-12 * abs(math.log(250 / 20)))
    on, off = found
    assert np.isfinite(on).all() and np.isfinite(off).all()
    assert on.min() >= 0.01 - 1e-9
    assert (on < 0.0101).sum() <= 3  # drawn again instead of clipped: nothing piles up there
    # 1 % of a Gaussian of 0.2 +- 0.08 lies below 0.01 and is drawn anew
    assert on.mean() == pytest.approx(0.2018, abs=0.0015)
    assert on.std() == pytest.approx(0.0778, abs=0.0015)
    assert off.mean() == pytest.approx(0.3, abs=0.002)
    assert off.std() == pytest.approx(0.08, abs=0.001)
    assert abs(np.corrcoef(on, off)[0, 1]) < 0.02


def test_same_seed_makes_the_same_events_and_another_other_ones():
    rng = np.random.default_rng(4)
    frames = rng.integers(0, 256, (5, 12, 16)).astype(np.uint8)
    times = np.arange(5) * STEP_NS
    one, again, other = (watch(frames, times, PRESETS['davis346'], seed) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(one, again))
    assert not np.array_equal(one[2], other[2])


def test_random_numbers_are_those_of_splitmix64_on_every_platform():
    # of a pixel array of one: the noise of seed 0 comes at these times by the published generator
    mask = 2**64 - 1

    def scramble(z):
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    state = scramble((scramble(0) + 5) & mask)

    def uniform():
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & mask
        return ((scramble(state) >> 11) + 1) / 2**53

    expected, at = [], -math.log(uniform()) / 100
    while at < 1:
        uniform()  # which pixel
        uniform()  # whether the light leaves it: in the dark always
        expected.append(round(at * 1e9))
        at -= math.log(uniform()) / 100
    _, _, t, _ = watch([np.zeros((1, 1))] * 2, [0, 10**9], PixelSettings(shot_noise_hz=100.0))
    assert np.abs(t - expected).max() <= 1


def test_reset_makes_a_new_camera():
    rng = np.random.default_rng(6)
    frames = rng.integers(0, 256, (4, 6, 7)).astype(np.uint8)
    pixels = PixelModel(7, 6, PRESETS['davis346'], seed=1)
    runs = []
    for _ in range(2):
        batches = [pixels.push(frame, i * STEP_NS) for i, frame in enumerate(frames)]
        runs.append(np.concatenate([b.t for b in batches]).tolist())
        pixels.reset()
    assert runs[0] == runs[1]
    assert len(pixels.push(frames[0], -50)) == 0


def test_dimmed_sensor_has_less_bandwidth():
    settings = PixelSettings(0.2, 0.2, cutoff_hz=100.0)
    frames = [np.full((1, 1), dn) for dn in (100.0, 200.0, 200.0)]
    first = [
        watch(frames, [0, 1, 10**9], each)[2][0] for each in (settings, dimmed(settings, 0.1))
    ]
    assert first[1] / first[0] == pytest.approx((200 + 20) / (20 + 20), rel=1e-3)

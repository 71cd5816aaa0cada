import math

import numpy as np
import pytest
from naive_pixel import watch

from cs3d_ros.simulator import PRESETS, PixelSettings, dimmed

WIDTH, HEIGHT = 64, 50
PIXELS = WIDTH * HEIGHT
SECOND = 1_000_000_000


def still(dn, seconds=20, fps=10, settings=PixelSettings(), seed=0):
    """Return the columns of the events of a still picture."""
    times = np.arange(seconds * fps + 1) * SECOND // fps
    return watch([np.full((HEIGHT, WIDTH), float(dn))] * len(times), times, settings, seed)


def asked_shot_noise_hz(settings, dn):
    half = settings.shot_noise_half_dn
    return settings.shot_noise_hz * half / (half + dn * settings.light)


def test_still_picture_fires_nothing_without_noise():
    assert len(still(100, settings=PRESETS['clean'])[2]) == 0


@pytest.mark.parametrize('preset', ['noisy', 'davis346', 'imx636', 'low_light'])
@pytest.mark.parametrize('dn', [0, 20, 127, 255])
def test_shot_noise_comes_at_the_rate_asked_for_in_any_light(preset, dn):
    settings = PRESETS[preset]._replace(
        leak_rate_hz=0.0, leak_light_hz=0.0, hot_pixel_share=0.0, refractory_us=0.0
    )
    *_, p = still(dn, 30, settings=settings)
    asked = asked_shot_noise_hz(settings, dn)
    assert len(p) / PIXELS / 30 == pytest.approx(asked, rel=0.05)
    assert p.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize('preset', ['noisy', 'davis346', 'imx636'])
@pytest.mark.parametrize('dn', [0, 127, 255])
def test_leak_comes_at_the_rate_asked_for_in_any_light(preset, dn):
    settings = PRESETS[preset]._replace(shot_noise_hz=0.0, hot_pixel_share=0.0)
    *_, p = still(dn, 60, settings=settings)
    asked = settings.leak_rate_hz + settings.leak_light_hz * dn / 255
    assert len(p) / PIXELS / 60 == pytest.approx(asked, rel=0.05)
    assert p.all()


@pytest.mark.parametrize('dn', [10, 127, 255])
def test_leak_and_shot_noise_do_not_hinder_each_other(dn):
    settings = PRESETS['noisy']
    *_, p = still(dn, 60, settings=settings)
    shot, leak = asked_shot_noise_hz(settings, dn), settings.leak_rate_hz
    assert (p == 1).sum() / PIXELS / 60 == pytest.approx(shot / 2 + leak, rel=0.05)
    assert (p == 0).sum() / PIXELS / 60 == pytest.approx(shot / 2, rel=0.05)


def test_leaking_pixels_are_out_of_step_from_the_first_frame_on():
    *_, t, _ = still(100, 10, settings=PixelSettings(leak_rate_hz=0.1))
    counts, _ = np.histogram(t, 10, (0, 10 * SECOND))
    # each pixel fires once in 10 s, at a random phase
    assert len(t) == PIXELS
    assert (np.abs(counts - PIXELS / 10) < 5 * math.sqrt(PIXELS / 10)).all()


def test_leak_comes_at_equal_intervals_over_hours():
    settings = PixelSettings(0.1037, 0.2, leak_rate_hz=0.1)
    _, _, t, _ = watch([np.full((1, 1), 99.0)] * 37, np.arange(37) * 1000 * SECOND, settings)
    assert len(t) == 3600
    assert np.abs(np.diff(t) - 10 * SECOND).max() < 1000  # leak rates are held in single precision


def test_leak_spreads_over_pixels_as_asked():
    settings = PixelSettings(leak_rate_hz=2.0, leak_spread=0.1)
    x, y, _, _ = still(100, 60, settings=settings)
    rates = np.bincount(y.astype(int) * WIDTH + x, minlength=PIXELS) / 60
    assert np.log10(rates).std() == pytest.approx(0.1, rel=0.05)
    assert rates.mean() == pytest.approx(2.0, rel=0.02)


def test_hot_pixels_are_as_many_and_as_hot_as_asked():
    settings = PixelSettings(hot_pixel_share=0.02, hot_pixel_hz=20.0)
    x, y, _, p = still(100, 10, settings=settings)
    counts = np.bincount(y.astype(int) * WIDTH + x, minlength=PIXELS)
    hot = counts[counts > 0]
    assert len(hot) == pytest.approx(0.02 * PIXELS, abs=4 * math.sqrt(0.02 * PIXELS))
    assert (np.abs(hot / 10 - 20.0) <= 0.11).all()
    assert p.all()


def test_shot_noise_is_spread_over_the_time_between_two_frames():
    settings = PixelSettings(shot_noise_hz=5.0)
    *_, t, _ = still(0, 20, 10, settings=settings)
    counts, _ = np.histogram(t % (SECOND // 10), 20, (0, SECOND // 10))
    expected = len(t) / 20
    # chi-squared of 19 degrees of freedom: above 43.8 in one of a thousand
    assert ((counts - expected) ** 2 / expected).sum() < 43.8


def test_shot_noise_of_a_pixel_is_poisson():
    settings = PixelSettings(shot_noise_hz=5.0)
    x, y, t, _ = still(0, 20, 2, settings=settings)
    cell = (y.astype(int) * WIDTH + x) * 20 + t // SECOND
    counts = np.bincount(cell, minlength=PIXELS * 20)
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.02)
    # several in one frame and pixel happen as they should: P(0) = exp(-5)
    assert (counts == 0).mean() == pytest.approx(math.exp(-5), rel=0.1)


def test_noise_does_not_depend_on_the_frame_rate():
    slow, fast = (still(60, 6, fps, settings=PRESETS['noisy']) for fps in (5, 100))
    for one, other in zip(slow, fast):
        assert len(one) == len(other)
    assert np.abs(slow[2] - fast[2]).max() <= 2


def test_pixels_of_low_threshold_are_noisier_and_the_total_stays():
    settings = PixelSettings(threshold_sigma=0.05, shot_noise_hz=50.0)
    x, y, _, p = still(0, 40, settings=settings)
    cell = (y.astype(int) * WIDTH + x)[p == 1]
    rates = np.bincount(cell, minlength=PIXELS) / 40
    assert rates.mean() == pytest.approx(25.0, rel=0.01)
    # rate is proportional to 1 / threshold: the product of rate and threshold is the same for all
    x, y, t, _ = watch(
        [np.full((HEIGHT, WIDTH), dn) for dn in (20.0, 250.0)],
        [0, SECOND],
        settings._replace(shot_noise_hz=0.0),
    )
    thresholds = np.empty(PIXELS)
    thresholds[(y.astype(int) * WIDTH + x)[::-1]] = t[::-1] * 1e-9 * math.log(12.5)
    product = rates * thresholds
    assert np.corrcoef(rates, 1 / thresholds)[0, 1] > 0.95
    low, high = thresholds < 0.17, thresholds > 0.23
    assert product[low].mean() == pytest.approx(product[high].mean(), rel=0.02)


def test_noise_follows_light_that_changes_within_a_frame():
    settings = PixelSettings(10.0, 10.0, shot_noise_hz=50.0, shot_noise_half_dn=10.0)
    frames = [np.full((HEIGHT, WIDTH), dn) for dn in (0.0, 255.0)]
    *_, t, _ = watch(frames, [0, SECOND], settings)
    counts, edges = np.histogram(t, 10, (0, SECOND))
    dn = 255.0 * (edges[:-1] + edges[1:]) / 2 / SECOND
    expected = PIXELS * 5.0 * 10 / (10 + dn)
    assert (np.abs(counts[1:] - expected[1:]) < 5 * np.sqrt(expected[1:])).all()


def test_dimmed_sensor_is_noisier_and_leaks_less():
    settings = PRESETS['davis346']._replace(refractory_us=0.0, hot_pixel_share=0.0)
    bright, dark = (
        still(127, 30, settings=each)[3] for each in (settings, dimmed(settings, 0.05))
    )
    assert (dark == 0).sum() > 5 * (bright == 0).sum()
    shot = [asked_shot_noise_hz(each, 127) for each in (settings, dimmed(settings, 0.05))]
    leak = [len(p) / PIXELS / 30 - rate for p, rate in zip((bright, dark), shot)]
    assert leak == pytest.approx([0.1 + 0.1 * 127 / 255, 0.1 + 0.005 * 127 / 255], abs=0.03)


def test_blind_pixels_make_no_noise_either():
    settings = PixelSettings(shot_noise_hz=100.0, refractory_us=10_000.0)
    x, y, t, _ = still(0, 10, settings=settings)
    # a counter that is dead for 10 ms after each count: 100 / (1 + 100 * 0.01)
    assert len(t) / PIXELS / 10 == pytest.approx(50.0, rel=0.01)
    order = np.lexsort((t, y.astype(int) * WIDTH + x))
    cell = (y.astype(int) * WIDTH + x)[order]
    gaps = np.diff(t[order])[np.diff(cell) == 0]
    assert gaps.min() >= 10_000_000

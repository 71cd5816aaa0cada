"""A real face beside rendered ones: what is measured of the events of one face."""

import numpy as np
import pytest

pytest.importorskip('numba')
pytest.importorskip('cv2')

from cs3d_ros.events import EventBatch
from training.data.compare import CELLS, Measures, Watched, correlations, measure, table

EYES_PX = 40.0
ONSET_NS = (1_000_000_000, 1_500_000_000)


def landmarks() -> np.ndarray:
    """Return (68, 2): eyes EYES_PX apart, the mouth below them, a jaw around both."""
    points = np.zeros((68, 2))
    angle = np.linspace(0, np.pi, 17)
    points[:17] = np.stack([100 - 50 * np.cos(angle), 80 + 60 * np.sin(angle)], axis=-1)
    points[17:36] = 100, 90
    points[36:42] = 100 - EYES_PX / 2, 80
    points[42:48] = 100 + EYES_PX / 2, 80
    points[48:68] = 100, 120
    return points


def watched(x, y, t, p) -> Watched:
    order = np.argsort(t, kind='stable')
    columns = (
        np.asarray(column)[order].astype(dtype)
        for column, dtype in ((x, np.uint16), (y, np.uint16), (t, np.int64), (p, np.uint8))
    )
    t_ns = np.arange(0, 3_000_000_001, 20_000_000)
    marks = np.broadcast_to(landmarks(), (len(t_ns), 68, 2))
    return Watched('a face', EventBatch(*columns, 200, 200), t_ns, marks, ONSET_NS)


def burst(place, count, start_ns=ONSET_NS[0], end_ns=ONSET_NS[1], polarity=1):
    """Return columns of events at one pixel, spread evenly over a time."""
    t = np.linspace(start_ns, end_ns - 1, count).astype(np.int64)
    return np.full(count, place[0]), np.full(count, place[1]), t, np.full(count, polarity)


def joined(*bursts):
    return watched(*(np.concatenate(columns) for columns in zip(*bursts)))


def test_rates_are_per_second_and_squared_eye_distance():
    face = joined(burst((100, 120), 320), burst((100, 120), 400, 2_000_000_000, 2_900_000_000))
    measures = measure(face)
    assert measures.onset_rate == pytest.approx(320 / 0.5 / EYES_PX**2)
    assert measures.steady_rate == pytest.approx(400 / 2.5 / EYES_PX**2)


def test_events_outside_of_the_face_square_do_not_count():
    inside, outside = burst((100, 120), 100), burst((199, 0), 5000)
    assert measure(joined(inside, outside)).onset_rate == measure(joined(inside)).onset_rate


def test_shares_of_mouth_and_eyes_are_told_apart():
    mouth, eye, cheek = burst((100, 121), 60), burst((80, 80), 30), burst((150, 100), 10)
    measures = measure(joined(mouth, eye, cheek))
    assert (measures.mouth, measures.eyes) == (pytest.approx(0.6), pytest.approx(0.3))


def test_polarities_cancel_in_the_signed_sum_alone():
    on, off = burst((100, 120), 50), burst((100, 120), 50, polarity=0)
    measures = measure(joined(on, off))
    assert measures.sum_all.sum() == 100
    assert np.abs(measures.sum_signed).sum() == 0


def test_a_cell_hit_hard_in_every_period_is_saturated():
    # 15 whole periods of the onset; one pixel takes many events in each, one takes one
    hard, soft = burst((100, 120), 3000), burst((80, 80), 15)
    measures = measure(joined(hard, soft))
    assert measures.cells_hit == pytest.approx(2 / CELLS**2, rel=0.1)
    assert measures.saturated == pytest.approx(0.5, abs=0.05)


def test_equal_onsets_correlate_fully_and_mirrored_polarity_fully_against():
    rng = np.random.default_rng(0)
    maps = rng.random((CELLS, CELLS)), rng.random((CELLS, CELLS))
    real = Measures(1, 1, 1, 1, 1, 1, *maps)
    rendered = real._replace(sum_signed=-maps[1])
    assert correlations(real, [rendered]) == (pytest.approx(1), pytest.approx(-1))
    assert len(table(real, [rendered, rendered])) == 8

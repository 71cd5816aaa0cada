from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('pytorch_lightning')
from cs3d_ros.inference import EXPRESSIONS, EmotionSettings
from training.calibrate import (
    LOUD_COST,
    Timeline,
    Watched,
    fit_settling,
    fit_temperature,
    score,
    tempered,
    watch,
)

PERIOD_NS = 33_333_333
AT_REST, HAPPY, SAD = (EXPRESSIONS.index(name) for name in ('neutral', 'happy', 'sad'))


def softmax(logits):
    rows = np.exp(logits - logits.max(1, keepdims=True))
    return rows / rows.sum(1, keepdims=True)


def timeline(worn, probabilities, is_clear=None):
    count = len(worn)
    clear = np.ones(count, bool) if is_clear is None else is_clear
    return Timeline((np.arange(count) + 1) * PERIOD_NS, probabilities, np.array(worn), clear)


def calibrated_timelines(seed, sharpness=1.0):
    """Return answers whose truth is drawn from them, then sharpened: known to be miscalibrated."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(8):
        logits = rng.normal(0, 1.5, (500, len(EXPRESSIONS)))
        honest = softmax(logits)
        worn = (honest.cumsum(1) < rng.random((500, 1))).sum(1)
        lines.append(timeline(worn, softmax(sharpness * logits)))
    return lines


@pytest.mark.parametrize('sharpness', [0.5, 1.0, 2.5])
def test_known_miscalibration_is_found_and_undone(sharpness):
    lines = calibrated_timelines(1, sharpness)
    temperature, errors = fit_temperature(lines)
    assert temperature == pytest.approx(sharpness, rel=0.06)
    assert errors['ece'] < 0.02
    assert errors['frames'] == 4000
    if sharpness != 1.0:
        assert errors['ece_before'] > 0.1


def test_tempered_answers_are_those_of_divided_logits():
    (sharp, *_), (honest, *_) = calibrated_timelines(2, 2.0), calibrated_timelines(2)
    (found,) = tempered([sharp], 2.0)
    np.testing.assert_allclose(found.probabilities, honest.probabilities, atol=1e-6)


def test_unclear_frames_do_not_count_for_the_temperature():
    lines = calibrated_timelines(3)
    wrong = [
        line._replace(
            worn=np.concatenate([line.worn, (line.worn + 1) % 7]),
            probabilities=np.concatenate([line.probabilities] * 2),
            is_clear=np.repeat([True, False], len(line.worn)),
        )
        for line in lines
    ]
    assert fit_temperature(wrong) == fit_temperature(lines)


def estimates(worn, strength, noise, rng):
    """Return state answers that follow the truth, with noise."""
    logits = rng.normal(0, noise, (len(worn), len(EXPRESSIONS)))
    logits[np.arange(len(worn)), worn] += strength
    return softmax(logits)


def smiles(seed, noise, count=3):
    rng = np.random.default_rng(seed)
    worn = np.repeat([AT_REST, HAPPY, AT_REST, SAD, AT_REST], 40)
    return [timeline(worn, estimates(worn, 2.0, noise, rng)) for _ in range(count)]


def test_score_counts_right_frames_and_loud_ones():
    worn = np.repeat([AT_REST, HAPPY], 100)
    always_happy = np.tile(np.eye(7)[HAPPY], (200, 1))
    settings = EmotionSettings(rate_hz=1e3, dwell_s=0.0)
    found = score([timeline(worn, always_happy)], False, settings)
    assert found['accuracy'] == pytest.approx(0.5, abs=0.01)
    assert found['loud_wrong'] == pytest.approx(1.0, abs=0.02)
    assert found['worth'] == pytest.approx(found['accuracy'] - LOUD_COST * found['loud_wrong'])
    unclear = timeline(worn, always_happy, worn == HAPPY)
    assert score([unclear], False, settings) == {
        'accuracy': 1.0,
        'loud_wrong': 0.0,
        'worth': 1.0,
        'frames': 100,
    }


def test_fitted_settling_is_worth_more_than_the_defaults_and_holds_on_others():
    lines = smiles(1, noise=2.5)
    settings, found = fit_settling(lines, unchanged=False)
    before = score(lines, False, EmotionSettings())
    assert found == score(lines, False, settings)
    assert found['worth'] > before['worth'] + 0.02
    others = smiles(2, noise=2.5)
    assert (
        score(others, False, settings)['worth'] > score(others, False, EmotionSettings())['worth']
    )


def test_noisy_answers_are_settled_more_slowly_than_clean_ones():
    clean, _ = fit_settling(smiles(3, noise=0.1), unchanged=False)
    noisy, _ = fit_settling(smiles(3, noise=3.0), unchanged=False)
    assert noisy.rate_hz < clean.rate_hz


def test_loud_errors_teach_to_abstain():
    rng = np.random.default_rng(4)
    worn = np.repeat([AT_REST, HAPPY, AT_REST], 60)
    probabilities = estimates(worn, 4.0, 0.3, rng)
    weak = np.full(7, 0.05)
    weak[[AT_REST, SAD]] = 0.2, 0.55  # what speech looks like to it
    probabilities[10:40] = weak
    settings, found = fit_settling([timeline(worn, probabilities)], unchanged=False)
    assert settings.least_confidence > 0.5
    before = score([timeline(worn, probabilities)], False, EmotionSettings())
    assert found['loud_wrong'] < 0.02 < before['loud_wrong']
    assert found['accuracy'] > 0.8


def test_nothing_clear_is_told():
    worn = np.zeros(20, int)
    unclear = timeline(worn, np.full((20, 7), 1 / 7), np.zeros(20, bool))
    with pytest.raises(ValueError, match='no frame'):
        fit_settling([unclear], unchanged=False)


class EveryOther:
    """An estimator's engine that answers clips of two frames."""

    bundle = SimpleNamespace(
        kind='clip',
        size=8,
        clip_frames=2,
        hop_frames=2,
        unchanged=True,
        period_ns=PERIOD_NS,
        output_count=8,
    )

    def run(self, clip):
        answer = np.full(8, 0.1, np.float32)
        answer[HAPPY] += clip.max()
        return answer, ()


def test_bundle_is_watched_by_the_robots_own_estimator():
    frames = np.full((6, 8, 8), 128, np.uint8)
    frames[3] = 192
    worn = np.array([0, 0, 0, 1, 1, 1])
    (line,) = watch(EveryOther(), [Watched(frames, worn, worn >= 0)])
    assert line.t_ns.tolist() == [2 * PERIOD_NS, 4 * PERIOD_NS, 6 * PERIOD_NS]
    assert line.worn.tolist() == [0, 1, 1]
    assert line.probabilities[:, HAPPY] == pytest.approx([0.0, 0.6, 0.0])  # blank: known

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('cv2')


from cs3d_ros.inference.bundle import Bundle
from training.data.clips import DataError
from training.dataset import LABELS, UNCHANGED
from training.transfer import (
    CLOCK_NS,
    VideoAnswers,
    _transition,
    answers_on,
    load_video,
    main,
    summary,
)

VIDEOS = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'videos'
HAPPY, SCARED = LABELS.index('happy'), LABELS.index('scared')
INTERVALS = [
    {'start': 0.0, 'end': 0.5, 'expression': 'neutral'},
    {'start': 0.6, 'end': 2.0, 'expression': 'happy'},
]


class HappyEngine:
    """Says happy whenever anything moves in the newest frame."""

    bundle = Bundle(
        'none', 1, 'clip', 'fake', LABELS[:-1], True, 16, 112, 33_333_333, 32, 1.15, 2, (), {}, {}
    )

    def run(self, clip, state=()):
        probabilities = np.zeros(8, np.float32)
        probabilities[HAPPY if np.abs(clip[0, 0, -1]).sum() else UNCHANGED] = 1.0
        return probabilities, ()


def test_onset_goes_to_the_expression_of_the_interval_after_it():
    onset = _transition({'start': 0.5, 'end': 0.6, 'kind': 'onset'}, INTERVALS)
    assert onset.target == HAPPY
    assert onset.start_ns == CLOCK_NS + 500_000_000


def test_offset_goes_to_neutral():
    assert _transition({'start': 1.9, 'end': 2.0, 'kind': 'offset'}, INTERVALS).target == 0


def test_expression_that_no_bundle_knows_is_refused():
    intervals = [{'start': 0.0, 'end': 2.0, 'expression': 'other'}]
    with pytest.raises(DataError, match="'other'"):
        _transition({'start': 0.5, 'end': 0.6, 'kind': 'onset'}, intervals)


def test_summary_counts_right_answers_and_loud_errors():
    probabilities = np.zeros((4, 8))
    probabilities[[0, 1], HAPPY] = 0.9, 0.4
    probabilities[1, SCARED] = 0.6
    probabilities[2, SCARED] = 0.6
    probabilities[3, UNCHANGED] = 1.0
    truth = [HAPPY, HAPPY, UNCHANGED, UNCHANGED]
    text = summary(VideoAnswers('a.mp4', np.arange(4.0), truth, probabilities))
    assert 'to happy: 2 clips, 1 right' in text
    assert 'unchanged: 2 clips, 1 loudly wrong (scared 1)' in text


@pytest.mark.skipif(not VIDEOS.is_dir(), reason='real videos are not part of the repository')
def test_real_video_is_judged_period_by_period():
    name = 'neutral_to_smile.mp4'
    labels = json.loads((VIDEOS / 'labels.json').read_text())['clips'][name]
    boxes = json.loads((VIDEOS / 'boxes.json').read_text())['boxes'][name]
    answers = answers_on(load_video(VIDEOS, name, labels, boxes), HappyEngine())
    assert len(answers.truth) == len(answers.probabilities) == len(answers.ends_s)
    assert {HAPPY, 0, UNCHANGED} <= set(answers.truth)
    np.testing.assert_allclose(np.diff(answers.ends_s), 1 / 30, atol=1e-6)
    onset = [k for k, truth in enumerate(answers.truth) if truth == HAPPY]
    assert 0.5 < answers.ends_s[onset[0]] < 0.67
    assert answers.probabilities[onset].argmax(1).tolist() == [HAPPY] * len(onset)


def test_folder_without_labels_is_told(tmp_path):
    with pytest.raises(SystemExit, match='no folder of labelled videos'):
        main(['none.onnx', '--videos', str(tmp_path)])

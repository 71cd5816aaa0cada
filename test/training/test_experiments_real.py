import json

import numpy as np
import pytest

pytest.importorskip('cv2')
pytest.importorskip('h5py')
pytest.importorskip('numba')

import cv2
from fabricated import make_clip
from inference.tiny_onnx import METADATA, write_tiny_bundle

from cs3d_ros.inference.emotion import EXPRESSIONS, Emotion
from training.data.clips import DataError
from training.experiments.__main__ import main
from training.experiments.candidates import watch_all
from training.experiments.chain import Answer
from training.experiments.judgement import Heard, judge_clip, judge_heard
from training.experiments.real import pictures_of
from training.experiments.real_clips import (
    HELD_S,
    Change,
    Interval,
    RealClip,
    read_clips,
    watch,
)
from training.experiments.rendered import as_labelled
from training.targets import LABELS, UNCHANGED

FPS, WIDTH, HEIGHT = 30, 160, 120
BOX = [50, 20, 60, 80]
SMILE = {
    'fps': FPS,
    'duration_s': 2.4,
    'intervals': [
        {'start': 0.0, 'end': 0.8, 'expression': 'neutral'},
        {'start': 1.0, 'end': 1.6, 'expression': 'happy'},
        {'start': 1.8, 'end': 2.4, 'expression': 'neutral'},
    ],
    'transitions': [
        {'start': 0.8, 'end': 1.0, 'kind': 'onset'},
        {'start': 1.6, 'end': 1.8, 'kind': 'offset'},
    ],
}


def smile_clip(path=None):
    """Return the labels of a smile as a clip."""
    return RealClip(
        path,
        'smile.avi',
        2.4,
        tuple(Interval(i['start'], i['end'], i['expression']) for i in SMILE['intervals']),
        (Change(0.8, 1.0, 'happy'), Change(1.6, 1.8, 'neutral')),
        np.array([BOX] * 72, float),
        float(FPS),
    )


def answer(t_s, name='neutral', confidence=0.9, has_face=True, others=0.0):
    """Return an answer that names an expression; 'angry' has the probability `others`."""
    probabilities = [others if n == 'angry' else 0.0 for n in EXPRESSIONS]
    probabilities[EXPRESSIONS.index(name)] = confidence
    return Answer(t_s, Emotion(0, name, confidence, 0.0, 0.0, tuple(probabilities)), None,
                  has_face, 0.0)  # fmt: skip


def judged(answers):
    """Return the verdict on answers to the smile."""
    return judge_clip(smile_clip(), answers, EXPRESSIONS)


@pytest.fixture
def videos(tmp_path):
    """Return a folder with a video of a patch that brightens, as a smile, and darkens again."""
    folder = tmp_path / 'videos'
    folder.mkdir()
    size, codec = (WIDTH, HEIGHT), cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(folder / 'smile.avi'), codec, FPS, size)
    for k in range(72):
        t_s = k / FPS
        level = 90 + 110 * (np.clip((t_s - 0.8) / 0.2, 0, 1) - np.clip((t_s - 1.6) / 0.2, 0, 1))
        frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        frame[30:90, 60:100] = int(level)
        writer.write(frame)
    writer.release()
    (folder / 'labels.json').write_text(json.dumps({'clips': {'smile.avi': SMILE}}))
    (folder / 'boxes.json').write_text(json.dumps({'boxes': {'smile.avi': [BOX] * 72}}))
    return folder


@pytest.fixture
def bundle(tmp_path):
    """Return a bundle that says happy where it brightens, neutral where it darkens."""
    gain, bias = np.zeros(8), np.zeros(8)
    gain[[0, 1]], bias[UNCHANGED] = (-2000, 2000), 5.0
    return write_tiny_bundle(tmp_path / 'tiny.onnx', gain=gain, bias=bias)


def test_onset_named_in_time_and_held_is_right():
    onset = judged([answer(0.5), answer(1.1, 'happy'), answer(1.3, 'happy')]).onsets[0]
    assert onset.found_s == pytest.approx(0.3)
    assert onset.held == 1.0
    assert onset.is_right


def test_onset_named_late_is_found_and_not_right():
    onset = judged([answer(0.9), answer(1.55, 'happy')]).onsets[0]
    assert onset.found_s == pytest.approx(0.75)
    assert not onset.is_right


def test_onset_that_was_never_named_has_no_time():
    onset = judged([answer(0.9), answer(1.3, 'angry')]).onsets[0]
    assert onset.found_s is None
    assert onset.held == 0.0
    assert not onset.is_right


def test_another_emotion_believed_in_before_spoils_an_onset():
    onset = judged([answer(0.5, confidence=0.4, others=0.6), answer(1.1, 'happy')]).onsets[0]
    assert onset.other == pytest.approx(0.6)
    assert not onset.is_right


def test_smile_let_go_halfway_is_not_held():
    answers = [answer(t, name) for t, name in ((1.0, 'happy'), (1.2, 'happy'), (1.4, 'neutral'))]
    assert judged(answers).onsets[0].held == pytest.approx(2 / 3)


def test_neutral_within_a_second_of_the_end_is_a_return():
    back = judged([answer(1.7, 'happy'), answer(2.6)]).returns[0]
    assert back.back_s == pytest.approx(0.8)
    assert back.is_right


def test_smile_that_was_never_named_leaves_nothing_to_return_from():
    back = judged([answer(1.2), answer(2.0)]).returns[0]
    assert back.back_s == pytest.approx(0.2)
    assert not back.is_right


def test_smile_that_stays_is_no_return():
    back = judged([answer(1.7, 'happy'), answer(3.0, 'happy')]).returns[0]
    assert back.back_s is None
    assert not back.is_right


def test_loud_wrong_answers_are_counted_where_the_face_is_neutral():
    answers = [
        answer(0.2, 'sad', 0.6),
        answer(0.3, 'sad', 0.4),  # not loud
        answer(0.4),
        answer(0.5, 'sad', 0.6, has_face=False),
        answer(1.2, 'sad', 0.9),  # the face is happy
        answer(2.0, 'happy', 0.9),  # may still return
    ]
    verdict = judged(answers)
    assert verdict.loud == {'sad': 1}
    assert verdict.neutral == 3


def test_network_alone_is_judged_by_label():
    happy, angry = LABELS.index('happy'), LABELS.index('angry')
    estimates = np.full((4, 8), 0.05)
    estimates[0, happy], estimates[1, angry] = 0.9, 0.9
    estimates[2, angry], estimates[3, UNCHANGED] = 0.9, 0.9
    found = judge_heard(Heard(np.array([happy, happy, UNCHANGED, UNCHANGED]), estimates))
    assert found['right'] == {'happy': 1, 'unchanged': 1}
    assert found['of'] == {'happy': 2, 'unchanged': 2}
    assert (found['loud'], found['calm']) == (1, 2)
    assert found['auc']['happy'] == pytest.approx(0.75)


def test_changes_go_to_the_expression_after_them(videos):
    clip = read_clips(videos)[0]
    assert clip.changes == (Change(0.8, 1.0, 'happy'), Change(1.6, 1.8, 'neutral'))
    assert [t.target for t in clip.transitions()] == [LABELS.index('happy'), 0]
    assert clip.worn(1.2) == 'happy'
    assert clip.worn(0.9) is None


def test_expression_that_is_no_label_is_refused(videos):
    labels = json.loads((videos / 'labels.json').read_text())
    labels['clips']['smile.avi']['intervals'][0]['expression'] = 'bored'
    (videos / 'labels.json').write_text(json.dumps(labels))
    with pytest.raises(DataError, match="'bored'"):
        read_clips(videos)


def test_last_frame_stands_while_an_answer_may_come(videos):
    clip = read_clips(videos)[0]
    assert watch(clip, 'noisy').t[-1] * 1e-9 == pytest.approx(2.4 + HELD_S, abs=0.1)
    assert watch(clip, 'clean').t[-1] * 1e-9 < 1.9


def test_bundle_that_sees_the_smile_passes_at_true_boxes(videos, bundle, tmp_path):
    out = tmp_path / 'out'
    main(['real', bundle, '--videos', str(videos), '-o', str(out), '--presets', 'clean'])
    report = json.loads((out / 'real.json').read_text())
    assert [entry['faces'] for entry in report['settings']] == ['finder', 'true boxes']
    boxed = report['settings'][1]
    assert (boxed['onsets'], boxed['found_right'], boxed['held']) == (1, 1, 1.0)
    assert (boxed['returns'], boxed['returned_right'], boxed['loud']) == (1, 1, 0)
    assert boxed['network']['right']['happy'] == boxed['network']['of']['happy'] > 3
    text = (out / 'real.md').read_text()
    assert 'clean | true boxes | 1 of 1' in text
    assert 'happy after 0.' in text
    assert cv2.imread(str(out / 'smile.png')).std() > 0


def test_bundle_that_always_sees_a_scare_fails(videos, tmp_path):
    bias = np.zeros(8)
    bias[LABELS.index('scared')] = 9.0
    path = write_tiny_bundle(tmp_path / 'scared.onnx', gain=np.zeros(8), bias=bias)
    out = tmp_path / 'out'
    main(['real', path, '--videos', str(videos), '-o', str(out), '--presets', 'noisy'])
    boxed = json.loads((out / 'real.json').read_text())['settings'][1]
    assert boxed['found'] == 0
    assert boxed['loud_share'] > 0.5


def test_folder_without_boxes_is_judged_by_the_finder_alone(videos, bundle, tmp_path):
    (videos / 'boxes.json').unlink()
    out = tmp_path / 'out'
    main(['real', bundle, '--videos', str(videos), '-o', str(out), '--presets', 'clean'])
    report = json.loads((out / 'real.json').read_text())
    assert [entry['faces'] for entry in report['settings']] == ['finder']


def test_folder_without_labels_is_told(bundle, tmp_path):
    with pytest.raises(SystemExit, match='no folder of labelled videos'):
        main(['real', bundle, '--videos', str(tmp_path), '-o', str(tmp_path / 'out')])


def test_folder_that_names_no_clip_is_told(videos, bundle, tmp_path):
    (videos / 'labels.json').write_text('{"clips": {}}')
    with pytest.raises(SystemExit, match='labels.json names no clip'):
        main(['real', bundle, '--videos', str(videos), '-o', str(tmp_path / 'out')])


def test_candidates_are_not_compared_on_videos_without_boxes(videos):
    (videos / 'boxes.json').unlink()
    with pytest.raises(DataError, match='no video of .* has true boxes.*: add boxes.json'):
        watch_all(videos)


def test_pictures_of_clips_that_differ_by_suffix_do_not_replace_each_other():
    assert pictures_of(['smile.mp4', 'smile.avi', 'talking/a.mp4']) == {
        'smile.mp4': 'smile.mp4.png',
        'smile.avi': 'smile.avi.png',
        'talking/a.mp4': 'talking-a.png',
    }


def test_rendered_clip_is_labelled_as_a_real_one():
    recorded = make_clip(0, 'test', 'someone', 'happy', np.random.default_rng(0))
    clip = as_labelled(recorded)
    assert [change.expression for change in clip.changes] == ['happy', 'neutral']
    assert [interval.expression for interval in clip.intervals] == ['neutral', 'happy', 'neutral']
    assert clip.changes[0][:2] == pytest.approx((0.6, 1.0))
    assert clip.intervals[1][:2] == pytest.approx((1.0, 1.8))
    assert clip.box(1_000_000_000) == pytest.approx(tuple(recorded.truth.box[60]))


def test_rendered_clip_that_begins_in_an_expression_wears_it_from_the_start():
    recorded = make_clip(0, 'test', 'someone', 'sad', np.random.default_rng(0))
    segment = recorded.entry['segments'][0]
    segment.update(onset_start_ns=-900_000_000, apex_start_ns=-500_000_000)
    clip = as_labelled(recorded)
    assert clip.intervals[0].expression == 'sad'
    assert clip.intervals[0].start_s == 0.0
    assert [change.expression for change in clip.changes] == ['neutral']


def test_bundles_of_this_file_answer_the_labels():
    assert METADATA['classes'] == list(EXPRESSIONS)

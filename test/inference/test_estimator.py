"""Streams; what clips need before they answer stands in test_pipeline.py."""

import numpy as np
import pytest
from tiny_onnx import write_tiny_stream

from cs3d_ros.inference import EngineError, OnnxRuntimeEngine, make_estimator

BLANK = np.full((112, 112), 128, np.uint8)
FULL = np.full((112, 112), 192, np.uint8)  # 0.5 as the network reads it


@pytest.fixture
def engine(tmp_path):
    return OnnxRuntimeEngine(write_tiny_stream(tmp_path / 'a.onnx', keep=0.5), threads=1)


def answers(estimator, images):
    return np.array([estimator.push(image) for image in images])


def test_stream_answers_every_frame_with_all_it_has_seen(engine):
    told = answers(make_estimator(engine), [FULL, BLANK, FULL])
    logits = np.outer([0.5, 0.25, 0.625], np.arange(7))
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(told, expected, atol=1e-6)


def test_memory_at_rest_costs_no_inference(engine):
    estimator = make_estimator(engine)
    answers(estimator, [FULL] + [BLANK] * 100)
    assert 10 < estimator.inferences < 40  # 0.5 ** 20 is a millionth
    assert estimator.inferences + estimator.skipped == 101


def test_memory_that_still_fades_is_not_at_rest(tmp_path):
    path = write_tiny_stream(tmp_path / 'slow.onnx', keep=0.999)
    estimator = make_estimator(OnnxRuntimeEngine(path, threads=1))
    answers(estimator, [FULL] + [BLANK] * 100)
    assert estimator.skipped == 0


def test_skipping_leaves_every_answer_as_it_was(engine):
    rng = np.random.default_rng(3)
    images = [image for _ in range(5) for image in [rng.choice([FULL, BLANK])] + [BLANK] * 60]
    images += [np.full_like(BLANK, 160)] * 3
    state, expected = (), []
    for image in images:
        frame = (image.astype(np.float32) - 128) / 128
        probabilities, state = engine.run(frame[None, None], state)
        expected.append(probabilities)
    estimator = make_estimator(engine)
    np.testing.assert_allclose(answers(estimator, images), expected, atol=1e-5)
    assert estimator.skipped > 100


def test_still_frames_of_a_moving_face_are_run(engine):
    estimator = make_estimator(engine)
    answers(estimator, [BLANK] * 10)
    assert estimator.skipped == 8  # the first came from nothing, the second equalled it
    before = estimator.inferences
    answers(estimator, [FULL] * 5)
    assert estimator.inferences == before + 5


def test_memory_is_lost_at_a_reset(engine):
    estimator = make_estimator(engine)
    first = answers(estimator, [FULL, BLANK])
    estimator.reset()
    np.testing.assert_array_equal(answers(estimator, [FULL, BLANK]), first)


def test_failure_loses_the_memory_that_may_be_spoilt(engine):
    class Failing:
        bundle = engine.bundle
        fails = False

        def run(self, frames, state=()):
            if self.fails:
                raise EngineError('it broke')
            return engine.run(frames, state)

    failing = Failing()
    estimator = make_estimator(failing)
    first = estimator.push(FULL)
    failing.fails = True
    with pytest.raises(EngineError, match='it broke'):
        estimator.push(FULL)
    failing.fails = False
    np.testing.assert_array_equal(estimator.push(FULL), first)

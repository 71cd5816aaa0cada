import numpy as np
import pytest
from tiny_onnx import CLIP_SHAPE, METADATA, write_tiny_bundle

from cs3d_ros.inference.bundle import BundleError
from cs3d_ros.inference.engine import EngineError, open_engine


@pytest.fixture
def engine(tmp_path):
    return open_engine(write_tiny_bundle(tmp_path / 'tiny.onnx'), threads=1)


def test_engine_answers_the_network(engine):
    clip = np.full(CLIP_SHAPE, 0.5, np.float32)
    probabilities, state = engine.run(clip)
    logits = 0.5 * np.arange(8)
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert probabilities.dtype == np.float32
    assert state == ()


def test_engine_holds_nothing_between_runs(engine):
    clip = np.random.default_rng(3).normal(size=CLIP_SHAPE).astype(np.float32)
    first, _ = engine.run(clip)
    engine.run(np.ones(CLIP_SHAPE, np.float32))
    np.testing.assert_array_equal(engine.run(clip)[0], first)


@pytest.mark.parametrize(
    'clip',
    [
        np.zeros(CLIP_SHAPE, np.float64),
        np.zeros(CLIP_SHAPE, np.uint8),
        np.zeros(CLIP_SHAPE[1:], np.float32),
        np.zeros((1, 1, 8, 112, 112), np.float32),
        [0.0],
        None,
    ],
)
def test_wrong_clip_is_refused_with_what_was_found(engine, clip):
    with pytest.raises(EngineError, match='reads float32 .*got'):
        engine.run(clip)


def test_state_of_a_stateless_bundle_is_refused(engine):
    with pytest.raises(EngineError, match='0 state tensors'):
        engine.run(np.zeros(CLIP_SHAPE, np.float32), (np.zeros(1),))


def test_clip_with_nan_is_an_error_not_an_answer(engine):
    with pytest.raises(EngineError, match='NaN'):
        engine.run(np.full(CLIP_SHAPE, np.nan, np.float32))


def test_network_that_answers_nan_is_refused_at_once(tmp_path):
    path = write_tiny_bundle(tmp_path / 'nan.onnx', bias=np.full(8, np.nan))
    with pytest.raises(EngineError, match='NaN'):
        open_engine(path)


def test_engine_refuses_what_is_no_bundle(tmp_path):
    with pytest.raises(BundleError):
        open_engine(write_tiny_bundle(tmp_path / 'a.onnx', metadata=None))


def test_threads_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match='threads'):
        open_engine(write_tiny_bundle(tmp_path / 'a.onnx'), threads=0)


def test_clip_shape_follows_the_bundle(tmp_path):
    shape = (1, 1, 8, 32, 32)
    path = write_tiny_bundle(
        tmp_path / 'small.onnx', clip_shape=shape, metadata=dict(METADATA, clip_frames=8, size=32)
    )
    assert open_engine(path).run(np.zeros(shape, np.float32))[0].shape == (8,)

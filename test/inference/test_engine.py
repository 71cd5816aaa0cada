import numpy as np
import pytest
from tiny_onnx import CLIP_SHAPE, METADATA, write_tiny_bundle, write_tiny_stream

from cs3d_ros.inference.bundle import BundleError
from cs3d_ros.inference.engine import EngineError, OnnxRuntimeEngine


@pytest.fixture
def engine(tmp_path):
    return OnnxRuntimeEngine(write_tiny_bundle(tmp_path / 'tiny.onnx'), threads=1)


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
    with pytest.raises(EngineError, match='reads clip as float32 .*got'):
        engine.run(clip)


def test_state_of_a_stateless_bundle_is_refused(engine):
    with pytest.raises(EngineError, match='0 state tensors'):
        engine.run(np.zeros(CLIP_SHAPE, np.float32), (np.zeros(1),))


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_clip_that_is_not_finite_is_refused_with_the_cure(engine, value):
    clip = np.zeros(CLIP_SHAPE, np.float32)
    clip[0, 0, 3, 50, 50:52] = value
    with pytest.raises(
        EngineError, match='NaN or infinity in 2 of 200704 .* clip: .*uint8 frames'
    ):
        engine.run(clip)


def test_network_that_answers_nan_is_refused_at_once(tmp_path):
    path = write_tiny_bundle(tmp_path / 'nan.onnx', bias=np.full(8, np.nan))
    with pytest.raises(EngineError, match='answered NaN .*are its own weights'):
        OnnxRuntimeEngine(path)


def test_engine_refuses_what_is_no_bundle(tmp_path):
    with pytest.raises(BundleError):
        OnnxRuntimeEngine(write_tiny_bundle(tmp_path / 'a.onnx', metadata=None))


def test_threads_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match='threads'):
        OnnxRuntimeEngine(write_tiny_bundle(tmp_path / 'a.onnx'), threads=0)


def test_clip_shape_follows_the_bundle(tmp_path):
    shape = (1, 1, 8, 32, 32)
    path = write_tiny_bundle(
        tmp_path / 'small.onnx', clip_shape=shape, metadata=dict(METADATA, clip_frames=8, size=32)
    )
    assert OnnxRuntimeEngine(path).run(np.zeros(shape, np.float32))[0].shape == (8,)


@pytest.fixture
def stream(tmp_path):
    return OnnxRuntimeEngine(write_tiny_stream(tmp_path / 'stream.onnx'), threads=1)


def frame_of(value):
    return np.full((1, 1, 112, 112), value, np.float32)


def test_stream_gives_its_memory_out_and_takes_it_back(stream):
    state = ()
    for value, memory in ((0.5, 0.5), (0.25, 0.5), (0.0, 0.25)):  # memory / 2 + value
        probabilities, state = stream.run(frame_of(value), state)
        logits = memory * np.arange(7)
        assert state[0] == pytest.approx(memory)
        np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(), atol=1e-6)


def test_stream_begins_with_zeros(stream):
    begun, _ = stream.run(frame_of(0.5))
    told, _ = stream.run(frame_of(0.5), stream.bundle.initial_state())
    np.testing.assert_array_equal(begun, told)


@pytest.mark.parametrize(
    'state, fault',
    [
        (
            (np.zeros((1, 2), np.float32),),
            r'reads memory as float32 \(1, 1\), got float32 \(1, 2\)',
        ),
        ((np.zeros((1, 1)),), 'reads memory as float32 .*got float64'),
        ((0.0,), 'reads memory as float32 .*got float'),
        ((np.zeros((1, 1), np.float32),) * 2, 'has 1 state tensors, got 2'),
        ((np.full((1, 1), np.nan, np.float32),), 'answered NaN .*is the state .* finite'),
    ],
)
def test_wrong_state_is_refused_with_what_was_found(stream, state, fault):
    with pytest.raises(EngineError, match=fault):
        stream.run(frame_of(0.0), state)


def test_clip_for_a_stream_is_refused(stream):
    with pytest.raises(EngineError, match=r'reads frame as float32 \(1, 1, 112, 112\)'):
        stream.run(np.zeros(CLIP_SHAPE, np.float32))

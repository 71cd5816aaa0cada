"""What runs on a device, over fakes of every generation of TensorRT; no number is of a GPU."""

import gc
import os

import numpy as np
import pytest
from tiny_onnx import CLIP_SHAPE, write_tiny_bundle, write_tiny_stream

from cs3d_ros.inference import (
    SHIPPED_BUNDLE,
    EngineError,
    OnnxRuntimeEngine,
    make_estimator,
    open_tensorrt,
)
from cs3d_ros.inference.tensorrt_engine import ALIGNMENT

BLANK = np.full((112, 112), 128, np.uint8)
FULL = np.full((112, 112), 192, np.uint8)
FRAME_BYTES, ANSWER_BYTES = 4 * 112 * 112, 4 * 7


def frame_of(value):
    return np.full((1, 1, 112, 112), value, np.float32)


@pytest.fixture
def path(tmp_path):
    return write_tiny_stream(tmp_path / 'stream.onnx')


def opened(machine, path, precision='fp32'):
    return open_tensorrt(path, precision, machine.cache)


@pytest.fixture
def stream(any_machine, path):
    return opened(any_machine, path)


def test_clip_is_answered_as_by_onnx_runtime(any_machine, tmp_path):
    path = write_tiny_bundle(tmp_path / 'clip.onnx')
    clip = np.random.default_rng(1).random(CLIP_SHAPE).astype(np.float32)
    probabilities, state = opened(any_machine, path).run(clip)
    np.testing.assert_array_equal(probabilities, OnnxRuntimeEngine(path).run(clip)[0])
    assert (probabilities.shape, probabilities.dtype, state) == ((8,), np.float32, ())


def test_stream_is_answered_as_by_onnx_runtime(stream, path):
    rng, exact = np.random.default_rng(2), OnnxRuntimeEngine(path)
    state = exact_state = ()
    for value in rng.random(30):
        answer, state = stream.run(frame_of(value), state)
        expected, exact_state = exact.run(frame_of(value), exact_state)
        np.testing.assert_array_equal(answer, expected)
        np.testing.assert_array_equal(state[0], exact_state[0])


@pytest.mark.parametrize('generation', ['8.2', '10'])
@pytest.mark.parametrize('name', ['cs3d', 'cs3d_stream'])
def test_shipped_bundles_are_answered_as_by_onnx_runtime(machine, generation, name):
    path = os.path.join(os.path.dirname(SHIPPED_BUNDLE), name + '.onnx')
    engine, exact = opened(machine.become(generation), path), OnnxRuntimeEngine(path)
    rng, state, exact_state = np.random.default_rng(4), (), ()
    for _ in range(3):
        frames = rng.integers(-2, 3, engine.bundle.input_shape).astype(np.float32) / 4
        answer, state = engine.run(frames, state)
        expected, exact_state = exact.run(frames, exact_state)
        np.testing.assert_allclose(answer, expected, atol=1e-6)
        for tensor, exact_tensor in zip(state, exact_state):
            np.testing.assert_allclose(tensor, exact_tensor, atol=1e-5)
    assert len(state) == len(engine.bundle.state)


def test_half_precision_is_answered_within_its_rounding(any_machine, path):
    engine, exact = opened(any_machine, path, 'fp16'), OnnxRuntimeEngine(path)
    state = exact_state = ()
    for value in np.random.default_rng(3).random(30):
        answer, state = engine.run(frame_of(value), state)
        expected, exact_state = exact.run(frame_of(value), exact_state)
        np.testing.assert_allclose(answer, expected, atol=2e-3)


def test_older_state_gives_the_older_answer(stream):
    states, answers = [()], []
    for value in (0.1, 0.5, 0.9, 0.2):
        answer, state = stream.run(frame_of(value), states[-1])
        states.append(state)
        answers.append(answer)
    for value, state, answer in zip((0.1, 0.5, 0.9, 0.2), states, answers):
        np.testing.assert_array_equal(stream.run(frame_of(value), state)[0], answer)


def test_answer_handed_out_does_not_change_with_the_next_run(stream):
    answer, _ = stream.run(frame_of(0.5))
    kept = answer.copy()
    stream.run(frame_of(0.9))
    np.testing.assert_array_equal(answer, kept)


def test_values_of_a_state_do_not_change_with_the_next_runs(stream):
    _, state = stream.run(frame_of(0.5))
    _, after = stream.run(frame_of(0.25), state)
    stream.run(frame_of(0.9), after)
    assert [float(np.asarray(each[0]).item()) for each in (state, after)] == [0.5, 0.5]


def test_state_is_told_apart_by_shape_and_type(stream):
    _, (memory,) = stream.run(frame_of(0.5))
    assert (memory.shape, memory.dtype) == ((1, 1), np.float32)
    assert np.asarray(memory, np.float64).dtype == np.float64


def test_frame_goes_up_and_answer_comes_down_and_nothing_else(any_machine, stream):
    state = ()
    for value in (0.5, 0.25):
        _, state = stream.run(frame_of(value), state)
    del any_machine.cuda.copies[:]
    stream.run(frame_of(0.1), state)
    assert any_machine.cuda.copies == [('up', FRAME_BYTES), ('down', ANSWER_BYTES)]


def test_stream_that_goes_on_takes_no_more_memory(any_machine, stream):
    state, used = (), []
    for value in np.random.default_rng(5).random(50):
        _, state = stream.run(frame_of(value), state)
        used.append(any_machine.cuda.used())
    assert len(set(used[3:])) == 1


def test_memory_of_states_that_are_held_is_given_back(any_machine, stream):
    before = any_machine.cuda.used()
    held, state = [], ()
    for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        _, state = stream.run(frame_of(value), state)
        held.append(state)
    assert any_machine.cuda.used() > before
    answers = [stream.run(frame_of(0.0), each)[1] for each in held]
    most = any_machine.cuda.used()
    del held, answers, state
    for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        stream.run(frame_of(value))
    assert any_machine.cuda.used() == most


def test_everything_is_freed_with_the_engine(any_machine, path):
    engine = opened(any_machine, path)
    _, state = engine.run(frame_of(0.5))
    del engine
    gc.collect()
    np.testing.assert_array_equal(state[0], [[0.5]])  # as long as somebody holds it
    del state
    gc.collect()
    cuda = any_machine.cuda
    assert (cuda.device, cuda.host, cuda.streams) == ({}, {}, {})


def test_state_may_be_arrays_too(stream):
    _, state = stream.run(frame_of(0.5))
    expected, _ = stream.run(frame_of(0.25), state)
    answer, _ = stream.run(frame_of(0.25), (np.asarray(state[0]),))
    np.testing.assert_array_equal(answer, expected)
    strided = np.zeros((1, 2), np.float32)[:, ::2]
    np.testing.assert_array_equal(
        stream.run(frame_of(0.25), (strided,))[0], stream.run(frame_of(0.25))[0]
    )


@pytest.mark.parametrize(
    'frames, state, fault',
    [
        (np.zeros((1, 1, 112, 112)), (), 'reads frame as float32 .*got float64'),
        (np.zeros(CLIP_SHAPE, np.float32), (), 'reads frame as float32'),
        (frame_of(0), (np.zeros((1, 2), np.float32),), 'reads memory as .*got float32'),
        (frame_of(0), (0.0,), 'reads memory as float32 .*got float'),
        (frame_of(0), (np.zeros((1, 1), np.float32),) * 2, 'has 1 state tensors, got 2'),
        (frame_of(np.nan), (), 'reads finite values, got NaN or infinity'),
        (frame_of(0), (np.full((1, 1), np.nan, np.float32),), 'answered NaN'),
    ],
)
def test_bad_input_is_refused_as_by_onnx_runtime(stream, path, frames, state, fault):
    for engine in (stream, OnnxRuntimeEngine(path)):
        with pytest.raises(EngineError, match=fault):
            engine.run(frames, state)
    assert np.isfinite(stream.run(frame_of(0.5))[0]).all()


def test_estimator_rests_as_with_onnx_runtime(stream, path):
    images = [FULL] + [BLANK] * 60 + [FULL, BLANK]
    estimators = [make_estimator(engine) for engine in (stream, OnnxRuntimeEngine(path))]
    answers = [np.array([estimator.push(i) for i in images]) for estimator in estimators]
    np.testing.assert_array_equal(*answers)
    assert len({(each.inferences, each.skipped) for each in estimators}) == 1
    assert estimators[0].skipped > 10


def test_state_is_fetched_once_where_a_blank_frame_changed_no_answer(any_machine, stream):
    estimator, copies = make_estimator(stream), any_machine.cuda.copies
    del copies[:]
    for _ in range(5):
        estimator.push(FULL)
    assert [way for way, _ in copies] == ['up', 'down'] * 5
    for _ in range(60):
        estimator.push(BLANK)
    fetched = [nbytes for _, nbytes in copies if nbytes == ALIGNMENT]
    assert 2 <= len(fetched) < estimator.inferences - 5  # the first comparison takes two


def test_device_without_memory_is_told_with_the_cure(any_machine, stream):
    states = [stream.run(frame_of(0.5))[1]]
    any_machine.cuda.room = any_machine.cuda.used()
    with pytest.raises(EngineError, match='cudaErrorMemoryAllocation.*close other programs'):
        for _ in range(9):
            states.append(stream.run(frame_of(0.5), states[-1])[1])
    del states[1:]
    assert np.isfinite(stream.run(frame_of(0.5), states[0])[0]).all()


def test_device_that_disappears_is_told_with_the_cure(any_machine, stream):
    estimator = make_estimator(stream)
    first = estimator.push(FULL)
    estimator.push(FULL)
    any_machine.cuda.is_lost = True
    for _ in range(3):
        with pytest.raises(EngineError, match='start this program again.*dmesg') as caught:
            estimator.push(FULL)
        assert '\n' not in str(caught.value)
    any_machine.cuda.is_lost = False
    np.testing.assert_array_equal(estimator.push(FULL), first)  # what it held may be spoilt


def test_device_lost_while_a_state_is_fetched_loses_the_memory(any_machine, path):
    stream = opened(any_machine, path)
    estimator, run = make_estimator(stream), stream.run
    estimator.push(BLANK)

    def run_and_lose(*arguments):
        result = run(*arguments)
        any_machine.cuda.is_lost = True
        return result

    stream.run = run_and_lose
    with pytest.raises(EngineError, match='cudaErrorUnknown'):
        estimator.push(BLANK)
    stream.run, any_machine.cuda.is_lost = run, False
    estimator.push(BLANK)
    assert (estimator.inferences, estimator.skipped) == (3, 0)  # it cannot know that it rests

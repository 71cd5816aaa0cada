"""The bundles that the package ships keep what their cards and the robot promise."""

import os
import re

import numpy as np
import pytest

from cs3d_ros.inference import EXPRESSIONS, SHIPPED_BUNDLE, EngineError, OnnxRuntimeEngine

FOLDER = os.path.dirname(SHIPPED_BUNDLE)
LARGEST = 12_000_000  # bytes


@pytest.fixture(scope='module', params=['cs3d', 'cs3d_stream'])
def engine(request):
    return OnnxRuntimeEngine(os.path.join(FOLDER, request.param + '.onnx'), threads=1)


def sparse_frames(engine, share, seed=0):
    """Return a clip or frame with ON or OFF events in a share of the cells."""
    rng = np.random.default_rng(seed)
    shape = engine.bundle.input_shape
    events = rng.choice([-1, 1], shape) * rng.random(shape)
    return np.where(np.abs(events) < share, np.sign(events) * 0.25, 0).astype(np.float32)


def test_shipped_bundle_names_the_expressions_in_their_order(engine):
    assert engine.bundle.classes == EXPRESSIONS
    assert engine.bundle.unchanged == (engine.bundle.kind == 'clip')


def test_expressions_that_no_person_was_seen_to_show_are_not_named(engine):
    assert set(engine.bundle.unproven) == set(EXPRESSIONS) - {'neutral', 'happy'}


def test_probabilities_are_probabilities(engine):
    probabilities, _ = engine.run(sparse_frames(engine, 0.1))
    assert probabilities.shape == (engine.bundle.output_count,)
    assert probabilities.min() >= 0
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_frames_that_are_not_finite_get_no_answer(engine, value):
    with pytest.raises(EngineError, match='reads finite values'):
        engine.run(np.full(engine.bundle.input_shape, value, np.float32))


def test_stillness_is_no_change(engine):
    still = np.zeros(engine.bundle.input_shape, np.float32)
    probabilities, _ = engine.run(still)
    if engine.bundle.unchanged:
        assert probabilities.argmax() == len(EXPRESSIONS)
    else:
        assert probabilities.argmax() == EXPRESSIONS.index('neutral')


def test_one_noisy_cell_does_not_tip_the_answer(engine):
    frames = sparse_frames(engine, 0.1)
    before, _ = engine.run(frames)
    pictures = frames.reshape(-1, *frames.shape[-2:])  # a view
    pictures[len(pictures) // 2, 50, 50] += 0.25
    after, _ = engine.run(frames)
    assert np.abs(after - before).max() < 0.05


def test_bundle_is_small_enough_for_a_package(engine):
    assert os.path.getsize(engine.bundle.path) < LARGEST


def test_card_and_metadata_tell_the_same_accuracy(engine):
    with open(os.path.splitext(engine.bundle.path)[0] + '.md', encoding='utf-8') as file:
        card = file.read()
    score = engine.bundle.accuracy['expressions']
    found = re.search(r'\*\*([\d.]+) % of (\d+) right', card)
    assert float(found.group(1)) == pytest.approx(100 * score['accuracy'], abs=0.06)
    assert int(found.group(2)) == score['trials']


def test_readme_tells_the_accuracy_of_the_card():
    with open(os.path.splitext(SHIPPED_BUNDLE)[0] + '.md', encoding='utf-8') as file:
        card = file.read()
    with open(os.path.join(FOLDER, '..', '..', 'README.md'), encoding='utf-8') as file:
        told = re.search(
            r'strangers, ([\d.]+) % are right in.*?and\s+([\d.]+) %', file.read(), re.S
        )
    standard = re.search(r'the expressions in standard: accuracy ([\d.]+)', card)
    everywhere = re.search(r'the expressions alone: accuracy ([\d.]+)', card)
    assert [float(found) for found in told.groups()] == [
        pytest.approx(100 * float(found.group(1))) for found in (standard, everywhere)
    ]

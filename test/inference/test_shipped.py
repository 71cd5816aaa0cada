"""The bundle that the package ships keeps what its card and the robot promise."""

import os
import re

import numpy as np
import pytest

from cs3d_ros.inference import EXPRESSIONS, SHIPPED_BUNDLE, open_engine

CARD = os.path.splitext(SHIPPED_BUNDLE)[0] + '.md'


@pytest.fixture(scope='module')
def engine():
    return open_engine(SHIPPED_BUNDLE, threads=1)


def sparse_clip(engine, share, seed=0):
    """Return a clip with ON or OFF events in a share of the cells."""
    rng = np.random.default_rng(seed)
    shape = engine.bundle.input_shape
    events = rng.choice([-1, 1], shape) * rng.random(shape)
    return np.where(np.abs(events) < share, np.sign(events) * 0.25, 0).astype(np.float32)


def test_shipped_bundle_names_the_expressions_in_their_order(engine):
    assert engine.bundle.classes == EXPRESSIONS
    assert engine.bundle.unchanged


def test_probabilities_are_probabilities(engine):
    probabilities, _ = engine.run(sparse_clip(engine, 0.1))
    assert probabilities.shape == (engine.bundle.output_count,)
    assert probabilities.min() >= 0
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)


def test_stillness_is_no_change(engine):
    probabilities, _ = engine.run(np.zeros(engine.bundle.input_shape, np.float32))
    assert probabilities.argmax() == len(EXPRESSIONS)


def test_one_noisy_cell_does_not_tip_the_answer(engine):
    clip = sparse_clip(engine, 0.1)
    before, _ = engine.run(clip)
    clip[0, 0, 8, 50, 50] += 0.25
    after, _ = engine.run(clip)
    assert np.abs(after - before).max() < 0.05


def test_bundle_is_small_enough_for_a_package(engine):
    assert os.path.getsize(SHIPPED_BUNDLE) < 2_000_000


def test_card_and_metadata_tell_the_same_accuracy(engine):
    with open(CARD, encoding='utf-8') as file:
        card = file.read()
    score = engine.bundle.accuracy['expressions']
    found = re.search(r'\*\*([\d.]+) % of (\d+) right', card)
    assert float(found.group(1)) == pytest.approx(100 * score['accuracy'], abs=0.06)
    assert int(found.group(2)) == score['trials']

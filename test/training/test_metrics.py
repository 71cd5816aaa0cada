import numpy as np
import pytest

from training.metrics import (
    calibration_error,
    confusion_matrix,
    confusion_png,
    described,
    judge,
    judge_frames,
    scores,
    wilson_interval,
)

LABELS = ('neutral', 'happy', 'unchanged')


def test_wilson_interval_of_the_textbook():
    assert [round(limit, 3) for limit in wilson_interval(29, 37)] == [0.628, 0.886]
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_scores_of_a_small_matrix_by_hand():
    matrix = confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], 2)
    assert matrix.tolist() == [[1, 1], [0, 2]]
    score = scores(matrix)
    assert score['accuracy'] == 0.75
    assert score['mean_recall'] == 0.75
    assert score['macro_f1'] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_expressions_are_judged_without_the_unchanged_answer():
    probabilities = np.array([[0, 0.4, 0.6], [0, 0, 1.0]])  # happy, but unchanged is likelier
    result = judge([1, 2], probabilities, LABELS)
    assert result['all']['accuracy'] == 0.5
    assert result['expressions']['accuracy'] == 1.0
    assert result['expressions']['trials'] == 1


def test_expressions_are_judged_by_condition():
    probabilities = np.array([[0.9, 0.1, 0], [0.9, 0.1, 0], [0.1, 0.9, 0], [0, 0, 1.0]])
    conditions = np.array(['dark', 'plain', 'plain', 'still'])
    result = judge([1, 0, 1, 2], probabilities, LABELS, conditions)
    assert result['conditions'] == {
        'dark': {'trials': 1, 'accuracy': 0.0},
        'plain': {'trials': 2, 'accuracy': 1.0},
    }
    assert 'the expressions in plain: accuracy 1.000, n = 2' in described(result)


def test_states_are_judged_over_all_their_names():
    result = judge([0, 1], np.array([[0.9, 0.1], [0.6, 0.4]]), LABELS[:2])
    assert result['expressions'] == result['all']
    assert result['all']['recall'] == [1, 0]


def test_interval_of_each_recall_is_wilsons():
    score = scores(np.array([[3, 1], [0, 2]]))
    assert score['recall_95'] == [list(wilson_interval(3, 4)), list(wilson_interval(2, 2))]
    assert all(0 <= low <= high <= 1 for low, high in score['recall_95'])


def test_calibration_error_by_hand():
    # two answers of 0.9, one right: a gap of 0.4; two of 0.6, both right: a gap of 0.4
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    assert calibration_error([0, 1, 0, 1], probabilities) == pytest.approx(0.4)


def test_calibrated_answers_have_hardly_an_error():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), 20000)
    truth = [rng.choice(5, p=row) for row in probabilities]
    assert calibration_error(truth, probabilities) < 0.02
    sure = np.eye(5)[probabilities.argmax(1)]
    assert calibration_error(truth, sure) > 0.3


def test_frames_have_no_interval_as_they_are_no_trials():
    result = judge_frames([0, 1, 1], np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), LABELS[:2])
    assert result['accuracy'] == pytest.approx(2 / 3)
    assert not [name for name in result if name.endswith('_95')]


def test_summary_tells_all_that_a_reader_asks_for():
    result = judge([0, 1, 2, 1], np.eye(3)[[0, 1, 2, 0]], LABELS)
    text = described(result)
    for wanted in ('accuracy 0.750', 'macro-F1', '95 %', 'calibration error', 'unchanged'):
        assert wanted in text
    assert confusion_png(result).startswith(b'\x89PNG')

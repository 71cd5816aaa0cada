import math

import numpy as np
import pytest

from training.experiments.statistics import auc, mean_95, student_t


@pytest.mark.parametrize(
    'freedom, t', [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423)]
)
def test_quantile_is_that_of_printed_tables(freedom, t):
    assert student_t(freedom) == pytest.approx(t, abs=5e-5)


def test_quantile_of_many_is_that_of_the_normal_distribution():
    assert student_t(1000) == pytest.approx(1.9623, abs=5e-5)


def test_quantile_of_one_and_two_have_closed_forms():
    share = 0.8
    assert student_t(1, share) == pytest.approx(math.tan(math.pi * share / 2), rel=1e-7)
    assert student_t(2, share) == pytest.approx(share * math.sqrt(2 / (1 - share**2)), rel=1e-7)


def test_interval_holds_the_truth_in_95_of_100_experiments():
    rng = np.random.default_rng(1)
    means = [mean_95(row) for row in rng.normal(3.0, 2.0, (4000, 3))]
    hits = np.mean([abs(mean.value - 3.0) < mean.half_width for mean in means])
    assert 0.94 < hits < 0.96


def test_single_value_has_no_interval():
    assert mean_95([0.5]) == (0.5, None, 1)


def test_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match='at least one'):
        mean_95([])


def test_auc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(2)
    scores, positive = rng.integers(0, 5, 60), rng.random(60) < 0.4
    pairs = [
        (a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]
    ]  # fmt: skip
    assert auc(scores, positive) == pytest.approx(np.mean(pairs))


def test_auc_turns_with_the_sign_of_the_scores():
    rng = np.random.default_rng(3)
    scores, positive = rng.normal(size=40), rng.random(40) < 0.5
    assert auc(scores, positive) + auc(-scores, positive) == pytest.approx(1.0)


def test_auc_of_one_kind_is_none():
    assert auc([0.1, 0.2], [True, True]) is None

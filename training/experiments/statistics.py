"""Means with their uncertainty over a few seeds, and areas under ROC curves."""

import math
from typing import NamedTuple

import numpy as np


class Mean(NamedTuple):
    """Mean over seeds or folds; the half width of its 95 % interval is None for a single one."""

    value: float
    half_width: float | None
    count: int


def mean_95(values) -> Mean:
    """
    Return the mean with its 95 % interval, of values that scatter normally.

    Source: Student, The Probable Error of a Mean, Biometrika 6, 1908.

    Raises
    ------
    ValueError
        If there is no value.

    Examples
    --------
    >>> mean = mean_95([1.0, 2.0, 3.0])
    >>> mean.value, round(mean.half_width, 3)
    (2.0, 2.484)
    """
    values = np.asarray(list(values), float)
    if not len(values):
        raise ValueError('a mean needs at least one value')
    if len(values) == 1:
        return Mean(float(values[0]), None, 1)
    error = values.std(ddof=1) / math.sqrt(len(values))
    return Mean(float(values.mean()), student_t(len(values) - 1) * float(error), len(values))


def student_t(freedom: int, share: float = 0.95) -> float:
    """
    Return the t within which a share of Student's distribution lies, in both directions.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4, the
    distribution of whole degrees of freedom as a finite sum; inverted by bisection.
    """
    low, high = 0.0, 1e3
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if _within(middle, freedom) < share:
            low = middle
        else:
            high = middle
    return high


def _within(t, freedom):
    """Return the probability that Student's t lies between -t and t."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, total = math.cos(angle), 0.0
    term = cosine if freedom % 2 else 1.0
    for k in range(freedom % 2 + 2, freedom + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if freedom % 2 else total


def auc(scores, is_positive) -> float | None:
    """
    Return the chance that a positive scores above a negative, ties by halves.

    None where one of the two kinds is missing.

    Source: Mann and Whitney, Annals of Mathematical Statistics 18, 1947; Hanley and McNeil,
    Radiology 143, 1982.

    Examples
    --------
    >>> auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    is_positive = np.asarray(is_positive, bool)
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # from 1, equal ones share their mean
    above = ranks[is_positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))

"""How good a classifier is, with what certainty: recall, F1, Wilson interval, confusion."""

import numpy as np


def confusion_matrix(truth, answer, count: int) -> np.ndarray:
    """Return counts (count, count) int64; rows are the truth, columns the answer."""
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (np.asarray(truth), np.asarray(answer)), 1)
    return matrix


def wilson_interval(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """
    Return the interval that holds a proportion with 95 % (z = 1.96) confidence.

    Source: Wilson, J. American Statistical Association 22, 1927.

    Examples
    --------
    >>> [round(limit, 3) for limit in wilson_interval(29, 37)]
    [0.628, 0.886]
    """
    if trials < 1:
        return 0.0, 1.0
    share, spread = hits / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / trials + spread / trials / 4)
    return float(centre - half), float(centre + half)


def scores(matrix: np.ndarray) -> dict:
    """Return accuracy with its interval, mean recall, macro-F1 and recall per row, of a matrix."""
    hits, truths, answers = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    recall = hits / np.maximum(truths, 1)
    f1 = 2 * hits / np.maximum(truths + answers, 1)
    low, high = wilson_interval(int(hits.sum()), int(matrix.sum()))
    return {
        'trials': int(matrix.sum()),
        'accuracy': float(hits.sum() / max(1, matrix.sum())),
        'accuracy_95': [low, high],
        'mean_recall': float(recall[truths > 0].mean()),
        'macro_f1': float(f1[truths > 0].mean()),
        'recall': recall.tolist(),
    }


def judge(truth, probabilities: np.ndarray, labels) -> dict:
    """
    Return the scores of answers to windows, over all labels and over the expressions alone.

    Parameters
    ----------
    truth : sequence of int
        Index into labels, whose last is 'unchanged'.
    probabilities : np.ndarray [shape=(n, len(labels))]
    labels : sequence of str

    Returns
    -------
    dict
        ``all``: every window, every answer allowed. ``expressions``: windows that show one, and
        the best of the expressions taken for the answer; ``confusion`` has rows of truth.
    """
    truth, count = np.asarray(truth), len(labels)
    matrix = confusion_matrix(truth, probabilities.argmax(1), count)
    shown = truth < count - 1
    expressions = confusion_matrix(truth[shown], probabilities[shown, :-1].argmax(1), count - 1)
    picked = probabilities[np.arange(len(truth)), truth]
    return {
        'labels': list(labels),
        'all': scores(matrix),
        'expressions': scores(expressions),
        'loss': float(-np.log(np.maximum(picked, 1e-9)).mean()),
        'confusion': matrix.tolist(),
    }


def described(result: dict) -> str:
    """Return the scores of judge() as text."""
    labels = result['labels']
    lines = []
    for name, title in (
        ('all', 'all {} labels'.format(len(labels))),
        ('expressions', 'the {} expressions'.format(len(labels) - 1)),
    ):
        score = result[name]
        lines.append(
            '{}: accuracy {:.3f} (95 % {:.3f} to {:.3f}, n = {}), mean recall {:.3f}, '
            'macro-F1 {:.3f}'.format(
                title,
                score['accuracy'],
                *score['accuracy_95'],
                score['trials'],
                score['mean_recall'],
                score['macro_f1'],
            )
        )
    lines.append(
        '{:<12}'.format('truth') + ''.join('{:>10}'.format(n[:9]) for n in labels) + '    recall'
    )
    for name, row, recall in zip(labels, result['confusion'], result['all']['recall']):
        lines.append(
            '{:<12}'.format(name)
            + ''.join('{:>10}'.format(n) for n in row)
            + '{:>10.2f}'.format(recall)
        )
    return '\n'.join(lines)

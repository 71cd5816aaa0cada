"""How good a classifier is, with what certainty: recall, F1, Wilson interval, calibration."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

CALIBRATION_BINS = 15
NO_CHANGE = 'unchanged'


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
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


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
        'recall_95': [list(wilson_interval(int(h), int(t))) for h, t in zip(hits, truths)],
    }


def calibration_error(truth, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """
    Return the expected calibration error: by how much confidence and accuracy differ, on average.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3: answers
    in bins of equal width of their confidence, weighted by how many those are.
    """
    confidence = probabilities.max(1)
    is_right = probabilities.argmax(1) == np.asarray(truth)
    places = np.clip((confidence * bins).astype(int), 0, bins - 1)
    gaps = np.zeros(bins)
    np.add.at(gaps, places, is_right - confidence)
    return float(np.abs(gaps).sum() / max(1, len(confidence)))


def judge(truth, probabilities: np.ndarray, labels, conditions=None, is_move=None) -> dict:
    """
    Return the scores of answers, over all labels and over the expressions alone.

    Parameters
    ----------
    truth : sequence of int
        Index into labels.
    probabilities : np.ndarray [shape=(n, len(labels))]
    labels : sequence of str
        The expressions; then 'unchanged', where a network answers what changes.
    conditions : np.ndarray of str [shape=(n,)], optional
        That each was recorded under.
    is_move : np.ndarray of bool [shape=(n,)], optional
        Whether the face just moved to what it wears; of all that have an expression, by default.

    Returns
    -------
    dict
        ``all``: every answer allowed. ``expressions``: moves to one, and the best of the
        expressions taken for the answer; ``conditions``: the same by condition, its ``trials`` and
        ``accuracy``. ``confusion`` has rows of truth; ``ece`` is the expected calibration error
        over all labels.
    """
    truth, labels = np.asarray(truth), list(labels)
    matrix = confusion_matrix(truth, probabilities.argmax(1), len(labels))
    count = len(labels) - (labels[-1] == NO_CHANGE)
    shown = truth < count
    if is_move is not None:
        shown &= is_move
    answers = probabilities[shown, :count].argmax(1)
    expressions = confusion_matrix(truth[shown], answers, count)
    by_condition = {}
    if conditions is not None:
        is_right, under = answers == truth[shown], np.asarray(conditions)[shown]
        for name in np.unique(under).tolist():
            own = is_right[under == name]
            by_condition[name] = {'trials': len(own), 'accuracy': float(own.mean())}
    picked = probabilities[np.arange(len(truth)), truth]
    return {
        'labels': labels,
        'all': scores(matrix),
        'expressions': scores(expressions),
        'conditions': by_condition,
        'loss': float(-np.log(np.maximum(picked, 1e-9)).mean()),
        'ece': calibration_error(truth, probabilities),
        'confusion': matrix.tolist(),
    }


def judge_frames(truth, probabilities: np.ndarray, labels) -> dict:
    """
    Return scores over frames; no intervals, as frames of one face are not independent trials.

    ``loss`` is the mean negative logarithm of the true label's probability.
    """
    truth = np.asarray(truth)
    matrix = confusion_matrix(truth, probabilities.argmax(1), len(labels))
    picked = probabilities[np.arange(len(truth)), truth]
    score = scores(matrix)
    return {
        **{name: value for name, value in score.items() if not name.endswith('_95')},
        'loss': float(-np.log(np.maximum(picked, 1e-9)).mean()),
        'ece': calibration_error(truth, probabilities),
        'confusion': matrix.tolist(),
    }


def described(result: dict) -> str:
    """Return the scores of judge() as text."""
    labels = result['labels']
    lines = []
    for name, title in (
        ('all', 'all {} labels'.format(len(labels))),
        ('expressions', 'the expressions alone'),
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
    lines += [
        'the expressions in {}: accuracy {accuracy:.3f}, n = {trials}'.format(name, **found)
        for name, found in result['conditions'].items()
    ]
    lines.append('expected calibration error {:.3f}'.format(result['ece']))
    if 'frames' in result:
        lines.append(
            'frames: accuracy {accuracy:.3f} of {trials}, mean recall {mean_recall:.3f}, macro-F1 '
            '{macro_f1:.3f}, expected calibration error {ece:.3f}'.format(**result['frames'])
        )
    lines.append(
        '{:<12}'.format('truth')
        + ''.join('{:>10}'.format(n[:9]) for n in labels)
        + '    recall (95 %)'
    )
    score = result['all']
    rows = zip(labels, result['confusion'], score['recall'], score['recall_95'])
    for name, row, recall, interval in rows:
        lines.append(
            '{:<12}'.format(name)
            + ''.join('{:>10}'.format(n) for n in row)
            + '{:>10.2f} ({:.2f} to {:.2f})'.format(recall, *interval)
        )
    return '\n'.join(lines)


def confusion_png(result: dict) -> bytes:
    """Return the confusion matrix of judge() as a PNG: shares of each row, with their counts."""
    labels, matrix = result['labels'], np.array(result['confusion'])
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = 1.6 + 0.75 * len(labels)
    figure = Figure(figsize=(side, side), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        if matrix[row, column]:
            axes.text(
                column,
                row,
                '{:.0%}\n{}'.format(shares[row, column], matrix[row, column]),
                ha='center',
                va='center',
                fontsize=8,
                color='white' if shares[row, column] > 0.5 else 'black',
            )
    ticks = range(len(labels))
    axes.set_xticks(ticks, labels, rotation=45, ha='right')
    axes.set_yticks(ticks, labels)
    axes.set_xlabel('answer')
    axes.set_ylabel('truth')
    score = result['all']
    axes.set_title(
        'accuracy {:.1%} ({:.1%} to {:.1%}), macro-F1 {:.2f}'.format(
            score['accuracy'], *score['accuracy_95'], score['macro_f1']
        ),
        fontsize=10,
    )
    picture = io.BytesIO()
    figure.savefig(picture)
    return picture.getvalue()

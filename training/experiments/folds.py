"""
Subject-independent cross-validation, for corpora too small to spare a test split.

Every person is tested once, by a network that neither learnt from them nor was chosen on them.
"""

from pathlib import Path

import numpy as np

from training.data.clips import ClipSet, DataError
from training.experiments.campaign import cut_once, finish
from training.experiments.examine import Examiner
from training.experiments.paper import SHIPPED, entry_of, run_of
from training.experiments.results import write_result
from training.experiments.views import write_view
from training.metrics import confusion_matrix, scores
from training.targets import LABELS


def parts_of(identities, count: int, seed: int = 0) -> list:
    """
    Return the identities in so many parts of equal size, at random.

    Raises
    ------
    DataError
        If there are fewer than three parts, or fewer people than parts.
    """
    identities = sorted(set(identities))
    if count < 3 or len(identities) < count:
        raise DataError(
            '{} folds need as many people, and at least 3 folds (to learn, choose and test), got '
            '{} people: ask for fewer folds or take a larger corpus'.format(count, len(identities))
        )
    shuffled = np.random.default_rng(seed).permutation(identities)
    return [sorted(map(str, part)) for part in np.array_split(shuffled, count)]


def cross_validate(
    data: list, out: Path, scale, count: int = 5, workers: int = 1, say=print
) -> dict:
    """
    Train and test SHIPPED so often that every person is tested once; write ``folds.json``.

    Parameters
    ----------
    data : list of paths
        Sets whose own splits are left aside.
    out : Path
    scale : Scale
        Its first seed is used.
    count : int
        Folds. In each, one part is tested, the next one chooses, the others are learnt from.
    workers : int
        Processes that cut.
    say : callable
    """
    entry = entry_of(SHIPPED)
    everyone = [entry['identity'] for folder in data for entry in ClipSet(folder).entries]
    parts = parts_of(everyone, count)
    folds, matrix = [], np.zeros((len(LABELS) - 1,) * 2, np.int64)
    for k, tested in enumerate(parts):
        chosen_on = parts[(k + 1) % len(parts)]
        view = write_view(
            out / 'views' / 'fold-{}-of-{}'.format(k + 1, count),
            data,
            lambda e, tested=tested, chosen_on=chosen_on: {
                **e,
                'split': split_of(e['identity'], tested, chosen_on),
            },
        )
        prefix = 'folds/{}-of-{}'.format(k + 1, count)
        run = run_of(entry, [view], scale, scale.seeds[0], prefix)
        trained = finish(cut_once(run, scale, out, workers, say), out, say)
        if trained.failed:
            raise DataError('fold {} broke off: {}'.format(k + 1, trained.failed))
        truth, answers = Examiner([view], view.parent / (view.name + '-test')).expressions(trained)
        own = confusion_matrix(truth, answers, len(LABELS) - 1)
        matrix += own
        folds.append({'identities': tested, **scores(own)})
        result = {'network': SHIPPED, 'folds': folds, 'together': scores(matrix)}
        result = write_result(out, 'folds', result, scale._replace(seeds=scale.seeds[:1]).note())
    return result


def split_of(identity: str, tested, chosen_on) -> str:
    """Return the split of a person in a fold."""
    return 'test' if identity in tested else 'val' if identity in chosen_on else 'train'

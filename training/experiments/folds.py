"""
Subject-independent cross-validation, for corpora too small to spare a test split.

Every person is tested once, by a network that neither learnt from them nor was chosen on them.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from cs3d_ros.inference.emotion import EXPRESSIONS, NEUTRAL
from training.data.clips import ClipSet, DataError
from training.experiments.campaign import cut_once, finish
from training.experiments.examine import Examiner
from training.experiments.paper import entry_of, run_of
from training.experiments.reported import SHIPPED
from training.experiments.results import write_result
from training.experiments.views import write_view
from training.metrics import confusion_matrix, scores
from training.targets import LABELS, tells_windows

PEOPLE = 3  # least of them that show an expression: to learn from, to choose on, to test
DRAWS = 1000  # of people into parts


def usable(folders) -> list:
    """Return the entries of the clips that windows can be cut of."""
    return [
        entry
        for clips in map(ClipSet, folders)
        for index, entry in enumerate(clips.entries)
        if tells_windows(entry, clips.truth(index))
    ]


def shown_by(entries) -> dict:
    """Return the emotions that each person moves to, by identity."""
    shown = {}
    for entry in entries:
        own = {segment['expression'] for segment in entry['segments']} - {NEUTRAL}
        shown.setdefault(entry['identity'], set()).update(own.intersection(EXPRESSIONS))
    return shown


def rare(shown: dict) -> dict:
    """Return by how many people an expression is shown, of those that fewer than PEOPLE show."""
    counts = Counter(expression for own in shown.values() for expression in own)
    return {name: counts[name] for name in EXPRESSIONS if 0 < counts[name] < PEOPLE}


def parts_of(shown: dict, count: int) -> list:
    """
    Return people in so many parts of equal size, at random; each fold learns all expressions.

    Those who show none are spread over the parts after the others, so that each part shows some.

    Parameters
    ----------
    shown : dict
        Expressions that each person moves to, by identity.
    count : int
        Parts; a fold learns from all but two that follow each other.

    Raises
    ------
    DataError
        If there are fewer than three parts, or fewer people who show something than parts; or if
        no fold can be made without an expression that it tests and nobody showed it.
    """
    people = sorted(name for name, own in shown.items() if own)
    if count < 3 or len(people) < count:
        raise DataError(
            '{} folds need as many people who move to an expression, and at least 3 folds (to '
            'learn, choose and test), got {} people: ask for fewer folds or take a larger '
            'corpus'.format(count, len(people))
        )
    still = sorted(set(shown).difference(people))
    rng = np.random.default_rng(0)
    everything = set().union(*shown.values())
    for _ in range(DRAWS):
        parts = [sorted(map(str, p)) for p in np.array_split(rng.permutation(people), count)]
        seen = [set().union(*map(shown.get, part)) for part in parts]
        learnt = [set().union(*_others(seen, k)) for k in range(count)]
        if all(expressions == everything for expressions in learnt):
            # the last parts may be smaller by one
            return [sorted(p + still[count - 1 - k :: count]) for k, p in enumerate(parts)]
    raise DataError(
        'no {} folds were found that each learn {}: ask for more folds or take a larger '
        'corpus'.format(count, ', '.join(name for name in EXPRESSIONS if name in everything))
    )


def _others(parts, k):
    """Return the parts that a fold learns from: not the one it tests, nor the next one."""
    return [part for i, part in enumerate(parts) if i not in (k, (k + 1) % len(parts))]


def cross_validate(
    data: list, out: Path, scale, count: int = 5, workers: int = 1, say=print
) -> dict:
    """
    Train and test SHIPPED so often that every person is tested once; write ``folds.json``.

    Clips with an expression that fewer than PEOPLE show are left out, and the result tells so.

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
    entries = usable(data)
    left_out = rare(shown_by(entries))
    kept = [entry for entry in entries if not _shows(entry, left_out)]
    parts = parts_of(shown_by(kept), count)
    folds, matrix = [], np.zeros((len(LABELS) - 1,) * 2, np.int64)
    for k, tested in enumerate(parts):
        chosen_on = parts[(k + 1) % len(parts)]
        view = write_view(
            out / 'views' / 'fold-{}-of-{}'.format(k + 1, count),
            data,
            lambda e, tested=tested, chosen_on=chosen_on: (
                None
                if _shows(e, left_out)
                else {**e, 'split': split_of(e['identity'], tested, chosen_on)}
            ),
        )
        prefix = 'folds/{}-of-{}'.format(k + 1, count)
        run = run_of(entry_of(SHIPPED), [view], scale, scale.seeds[0], prefix)
        trained = finish(cut_once(run, scale, out, workers, say), out, say)
        if trained.failed:
            raise DataError('fold {} broke off: {}'.format(k + 1, trained.failed))
        truth, answers = Examiner([view], view.parent / (view.name + '-test')).expressions(trained)
        own = confusion_matrix(truth, answers, len(LABELS) - 1)
        matrix += own
        folds.append({'identities': tested, **scores(own)})
        result = {
            'network': SHIPPED,
            'folds': folds,
            'together': scores(matrix),
            'left_out': left_out,
        }
        result = write_result(out, 'folds', result, scale._replace(seeds=scale.seeds[:1]).note())
    return result


def _shows(entry, expressions):
    return any(segment['expression'] in expressions for segment in entry['segments'])


def split_of(identity: str, tested, chosen_on) -> str:
    """Return the split of a person in a fold."""
    return 'test' if identity in tested else 'val' if identity in chosen_on else 'train'

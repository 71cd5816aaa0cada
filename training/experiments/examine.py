"""The same questions to every network, condition by condition, on people that it never saw."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.calibrate import validation_sequences
from training.checkpoints import device
from training.cuts import deciding
from training.data.clips import ClipSet, DataError, write_whole
from training.examination import examination_of
from training.experiments.campaign import content_of
from training.experiments.candidates import HARD
from training.experiments.views import write_view
from training.export import export
from training.metrics import confusion_matrix, scores
from training.models.counter import activity, count, sparse_energy_j
from training.settings import TrainSettings
from training.targets import AT_REST, UNCHANGED
from training.train import data_of, load, network_of

STANDARD = 'standard'
CLIPS = 16  # on which is looked how many neurons are silent


class Examiner:
    """
    Judges trained networks on the test identities of some sets.

    Parameters
    ----------
    data : list of paths
        Sets; the clips of their split ``test`` are asked about.
    views : Path
        Folder for views of them, one per condition.
    open_data : callable
        What opens a split, as training.train takes it.

    Raises
    ------
    DataError
        If they have no such clip.
    """

    def __init__(self, data: list, views: Path, open_data=data_of):
        self._data, self._views, self._open_data = list(data), Path(views), open_data
        entries = [
            entry
            for folder in self._data
            for entry in ClipSet(folder).entries
            if entry['split'] == 'test'
        ]
        if not entries:
            raise DataError(
                'no clip of {} is in the split test, which networks are asked about: make more '
                'clips'.format(', '.join(map(str, self._data)))
            )
        self.conditions = sorted({entry['condition'] for entry in entries})
        self._mark = '-'.join(map(content_of, self._data))
        self._examinations, self._sequences = {}, {}

    def answers(self, trained) -> dict:
        """
        Return (truth, answers), indices into EXPRESSIONS, by condition.

        One per transition that a test clip shows.
        """
        found = self._asked(trained)['answers']
        return {condition: tuple(map(np.array, pair)) for condition, pair in found.items()}

    def _asked(self, trained) -> dict:
        """Return all that a network was asked, which is kept beside its checkpoint."""
        path = trained.folder / 'answers-{}.json'.format(self._mark)
        if not _is_whole(path):
            network = network_of(load(trained.checkpoint)).to(device())
            training = trained.run.training
            answers, busy = {}, None
            for condition in self.conditions:
                asked = self._examination(condition, training, network.settings.size)
                if asked is not None:
                    examination, clips = asked
                    pair = _moves(examination, training, network)
                    answers[condition] = [column.tolist() for column in pair]
                    if not busy or condition == STANDARD:
                        busy = activity(network, clips.to(device()))
            if not answers:
                raise DataError(
                    '{}: no condition can be asked about, the last as {}'.format(
                        ', '.join(map(str, self._data)), self._fault
                    )
                )
            cost = count(network)
            found = {
                'answers': answers,
                'silent': busy.silent,
                'sparse_energy_mj': 1e3 * sparse_energy_j(cost, busy),
            }
            write_whole(path, (json.dumps(found) + '\n').encode())
        return json.loads(path.read_text())

    def _examination(self, condition, training, size):
        """Return the questions of a condition, and some clips; None if it has too few."""
        asked = training.learns, training.answers, training.explicit_offset, training.frame_step
        key = (condition, *asked, training.background_activity_ms, size)
        if key not in self._examinations:
            view = write_view(
                self._views / condition,
                self._data,
                lambda e: e if (e['split'], e['condition']) == ('test', condition) else None,
            )
            try:
                split = self._open_data([view], 'test', training, size)
                examination = examination_of(split, training)
                found = examination, examination.some(CLIPS)
            except DataError as error:
                found, self._fault = None, str(error)
            self._examinations[key] = found
        return self._examinations[key]

    def expressions(self, trained) -> tuple:
        """Return (truth, answers) of all conditions together."""
        pairs = self.answers(trained).values()
        return tuple(np.concatenate(column) for column in zip(*pairs))

    def summary(self, trained) -> dict:
        """
        Return the figures of a network.

        Returns
        -------
        dict
            ``standard`` and ``all``: scores over seven expressions, in the standard condition
            (None where a set knows none) and in all of them; ``conditions``: trials, accuracy and
            mean recall in each that shows as many expressions as all of them do; ``hard``: mean
            recall, on average over the hardest, None if one is missing; ``silent``: share of
            zeros by activation layer, on standard clips; ``sparse_energy_mj``: estimate for
            hardware that skips them; ``ece``, ``signs``, ``windows_seen`` and ``minutes`` of the
            training itself.
        """
        asked, answers, report = self._asked(trained), self.answers(trained), trained.report
        truth, best = self.expressions(trained)
        everything, shown = _scores(truth, best), set(truth)
        conditions = {
            name: _scores(*pair) for name, pair in answers.items() if set(pair[0]) == shown
        }
        return {
            'standard': _scores(*answers[STANDARD]) if STANDARD in answers else None,
            'all': everything,
            'conditions': {
                name: {kind: found[kind] for kind in ('trials', 'accuracy', 'mean_recall')}
                for name, found in conditions.items()
            },
            'hard': float(np.mean([conditions[name]['mean_recall'] for name in HARD]))
            if set(HARD) <= set(conditions)
            else None,
            'silent': asked['silent'],
            'sparse_energy_mj': asked['sparse_energy_mj'],
            'ece': report['test']['ece'],
            'signs': report['warnings'],
            'windows_seen': report['windows_seen'],
            'minutes': report['elapsed_min'],
        }

    def bundle(self, trained) -> Path:
        """Return the bundle of a network, its settling fitted on validation; exported once."""
        path = trained.folder / 'bundle.onnx'
        if not path.exists():
            export(trained.checkpoint, path, trained.run.data, cut=self._whole_clips)
        return path

    def _whole_clips(self, folders, train_settings, size):
        """Return what validation_sequences does; it is cut once for all that looks alike."""
        look = deciding(TrainSettings(**train_settings), size)
        key = json.dumps([*map(str, folders), look])
        if key not in self._sequences:
            self._sequences[key] = validation_sequences(folders, train_settings, size)
        return self._sequences[key]


def _is_whole(path):
    """Tell whether a file is there and JSON: a disk that was full may have cut it off."""
    try:
        json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return False
    return True


def live(folders, split, settings, size):
    """Open a split as data_of does, but never cut before: the clips asked about need not be."""
    return data_of(folders, split, replace(settings, cuts=''), size)


def _moves(examination, training, network):
    """Return truth and best answer (n,), indices into EXPRESSIONS, of all moves to one."""
    asked = examination.is_move
    truth, logits = examination.truth[asked], examination.logits(network).numpy()[asked]
    if training.answers == 'transitions' and not training.explicit_offset:
        # it was taught to call the way back to neutral unchanged
        truth = np.where(truth == UNCHANGED, AT_REST, truth)
        logits[:, AT_REST] = logits[:, UNCHANGED]
    return truth, logits[:, :UNCHANGED].argmax(1)


def _scores(truth, answers):
    """Return the scores, and ``chance``: what always the most frequent answer would reach."""
    found = scores(confusion_matrix(truth, answers, UNCHANGED))
    return {**found, 'chance': float(np.bincount(truth).max() / len(truth))}

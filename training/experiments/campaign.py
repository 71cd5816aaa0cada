"""Trainings under one folder: each is done once, resumes where it was stopped, and is kept."""

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from training.checkpoints import DivergedError, TrainingError
from training.cut import cut_all
from training.cuts import deciding
from training.data.clips import DataError, write_whole
from training.experiments.scale import Scale
from training.fingerprint import digest, fingerprint
from training.models import build
from training.settings import TrainSettings
from training.train import data_of, defaults_of, new_network, train

CHECKPOINT = 'best.pt'
HOW_FAST = ('threads', 'loaders')  # settings of a training that do not decide its outcome


class Run(NamedTuple):
    """One training: what learns from what, and how."""

    name: str  # of its folder: 'ladder/C3D'
    network: str  # as training.models.build takes it
    network_settings: dict
    training: TrainSettings
    data: tuple  # folders

    def described(self) -> dict:
        """Return all that decides its outcome, in JSON's types."""
        training = {k: v for k, v in self.training.as_dict().items() if k not in HOW_FAST}
        return {
            'network': self.network,
            'network_settings': self.network_settings,
            # where cuts and data lie decides nothing, what they hold does; a cut tells by its name
            'training': {**training, 'cuts': Path(training['cuts']).name},
            'data': ['{} {}'.format(Path(f).name, content_of(f)) for f in self.data],
        }


def content_of(folder: Path) -> str:
    """Return the fingerprint of a set; of one that stays as it is, it is read once."""
    files = [(path.name, path.stat()) for path in sorted(Path(folder).glob('*.h5'))]
    return _fingerprint(folder, tuple((name, s.st_mtime_ns, s.st_size) for name, s in files))


@lru_cache(maxsize=None)
def _fingerprint(folder, files):
    return fingerprint(folder)


class Trained(NamedTuple):
    """How a training ended."""

    run: Run
    folder: Path
    report: dict | None  # of training.train
    failed: str | None  # why it broke off

    @property
    def checkpoint(self) -> Path:
        """Path of what it learnt."""
        return self.folder / CHECKPOINT


def training_of(scale: Scale, network: str, seed: int, changes: dict | None = None):
    """
    Return the settings of one training: those of its network, at the scale of the experiment.

    Where a network learns from sequences, an epoch and a batch have as many fewer of them as
    training.train would have by default, so that every network is shown about as many frames.
    """
    own = defaults_of(build(network, width=1 / 64))  # any of its kind
    common = {
        'epochs': scale.epochs,
        'examples_per_epoch': _share(own, 'examples_per_epoch', scale),
        'batch': _share(own, 'batch', scale),
        'time_limit_min': scale.minutes,
        'seed': seed,
        'threads': scale.threads,
        'loaders': scale.loaders,
        'precision': scale.precision,
    }
    return replace(own, **{**common, **(changes or {})})


def _share(own, name, scale):
    share = getattr(own, name) / getattr(TrainSettings, name)
    return max(1, round(share * getattr(scale, name)))


def cut_once(run: Run, scale: Scale, out: Path, workers: int, say=print) -> Run:
    """
    Return a training that takes its examples from cuts, which are made where they are not there.

    Parameters
    ----------
    run : Run
        Trainings whose examples of it look alike share cuts.
    scale : Scale
        Without ``variations``, the training is returned as it is.
    out : Path
        Of the experiment.
    workers : int
        Processes that cut.
    say : callable

    Raises
    ------
    DataError
        If it learns from several sets, or they cannot be cut.
    """
    if not scale.variations:
        return run
    if len(run.data) > 1:
        raise DataError('--variations cuts one set, got {}: give one'.format(len(run.data)))
    source = Path(run.data[0])
    mark = digest([deciding(run.training, scale.size), scale.variations, content_of(source)])
    folder = Path(out) / 'cuts' / '{}-{}'.format(source.name, mark)
    cut_all(source, folder, run.training, scale.size, scale.variations, workers, say)
    return run._replace(training=replace(run.training, cuts=str(folder)))


def finish(run: Run, out: Path, say=print, open_data=data_of) -> Trained:
    """
    Train, unless that was done; go on where an earlier call was stopped.

    A training that diverges is a result, too, and is not tried again.

    Parameters
    ----------
    run : Run
    out : Path
    say : callable
    open_data : callable
        What opens the splits, as training.train takes it.

    Raises
    ------
    DataError
        If the folder holds a training with other settings, or cannot be written.
    TrainingError
        If there is no such network.
    """
    folder = _folder(run, out)
    _claim(folder / 'run.json', run)
    ended = folder / 'ended.json'
    if not ended.exists():
        say('{}, seed {}'.format(run.name, run.training.seed))
        outcome = {'report': None, 'failed': None}
        network = _network(run)
        try:
            outcome['report'] = train(
                list(run.data), folder, network, run.training, say, open_data=open_data
            )
        except DivergedError as error:
            outcome['failed'] = str(error)
            say('broke off: {}'.format(error))
        write_whole(ended, (json.dumps(outcome, indent=1) + '\n').encode())
    return Trained(run, folder, **json.loads(ended.read_text()))


def is_ended(run: Run, out: Path) -> bool:
    """Tell whether just this training was done."""
    folder = _folder(run, out)
    about = folder / 'run.json'
    return (folder / 'ended.json').exists() and json.loads(about.read_text()) == run.described()


def _folder(run, out):
    return Path(out) / 'runs' / run.name / 'seed-{}'.format(run.training.seed)


def _network(run):
    try:
        return new_network(run.network, run.training, **run.network_settings)
    except ValueError as error:
        raise TrainingError('{} cannot be trained: {}'.format(run.name, error)) from error


def _claim(path, run):
    wanted = run.described()
    if path.exists():
        found = json.loads(path.read_text())
        if found != wanted:
            raise DataError(
                '{} holds another training ({}): take another --out, or delete the folder'.format(
                    path.parent, ', '.join(_differences(found, wanted))
                )
            )
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError('{} cannot be made: {}'.format(path.parent, error)) from error
    write_whole(path, (json.dumps(wanted, indent=1) + '\n').encode())


def _differences(found, wanted):
    """Yield in words what differs between two descriptions."""
    for key in wanted:
        old, new = found.get(key), wanted[key]
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences({**dict.fromkeys(new), **old}, {**dict.fromkeys(old), **new})
        elif old != new:
            yield '{} {}, not {}'.format(key, old, new)

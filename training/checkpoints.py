"""Checkpoints: written whole or not at all, read with care."""

import io
from pathlib import Path

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from cs3d_ros import Cs3dError
from training.data.clips import write_whole
from training.models import Network, build
from training.settings import TrainSettings

SCHEMA = 2  # 1 knew no other network than CS3D


class TrainingError(Cs3dError):
    """A training that cannot go on."""


class DivergedError(TrainingError):
    """A training whose loss is no number any more."""


def save(state: dict, path: Path):
    """Write a checkpoint; DataError if it cannot be, as on a full disk: then the old one stays."""
    content = io.BytesIO()
    torch.save(state, content)
    write_whole(Path(path), content.getvalue())


def read(path: Path) -> dict:
    """Return what a file of torch holds, without running code of it; TrainingError if nothing."""
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # pickle, zip and torch errors have no common root
        raise TrainingError('{} is no whole checkpoint: {}'.format(path, error)) from error


def load(path: Path) -> dict:
    """Return a checkpoint of a network (``best.pt``); TrainingError if the file is none."""
    state = read(path)
    if not isinstance(state, dict) or 'network_settings' not in state:
        raise TrainingError('{} is no checkpoint of training.train'.format(path))
    if state.get('schema') != SCHEMA:
        raise TrainingError(
            '{} is of schema {}, this version reads {}: train anew'.format(
                path, state.get('schema', 1), SCHEMA
            )
        )
    return state


def network_of(checkpoint: dict) -> Network:
    """Return the averaged network of a checkpoint in eval mode; TrainingError if it is none."""
    name = checkpoint['model']
    try:
        network = build(name, **checkpoint['network_settings'])
        network.load_state_dict(checkpoint['averaged'])
    except (ValueError, RuntimeError) as error:
        raise TrainingError(
            'the weights of the checkpoint are none of a network {!r} of its settings: {}'.format(
                name, error
            )
        ) from error
    return network.eval()


def resumable(path: Path, network: Network, settings: TrainSettings, clips) -> dict:
    """
    Return what a learner kept in ``last.ckpt``.

    Parameters
    ----------
    path : Path
    network : Network
    settings : TrainSettings
    clips : collection of str
        Digests of those that it is to learn from.

    Raises
    ------
    TrainingError
        If it is of another network or other settings, or learnt from other clips, too.
    """
    kept = read(path).get('learner', {})
    found = kept.get('model'), kept.get('network_settings')
    if found != (network.name, network.settings.as_dict()):
        raise TrainingError(
            '{} is of another network ({} {}): give the same settings or another --out'.format(
                path, *found
            )
        )
    if 'train_settings' in kept:  # older versions kept none
        _check_settings(path, TrainSettings(**kept['train_settings']), settings)
    _check_clips(path, kept.get('learnt_from', ()), clips)
    return kept


def _check_settings(path, before, now):
    before, now = before.decisive(), now.decisive()
    differs = [name for name in now if before[name] != now[name]]
    if differs:
        told = (', '.join('{} {}'.format(k, s[k]) for k in differs) for s in (before, now))
        raise TrainingError(
            '{} was trained with {}, this asks for {}: give the same settings or another '
            '--out'.format(path, *told)
        )


def _check_clips(path, before, now):
    gone = set(before).difference(now)
    if gone:
        raise TrainingError(
            '{} learnt from {} clips, of which {} are no training clips now: give the same data, '
            'which may have grown, or another --out'.format(path, len(before), len(gone))
        )


def device() -> torch.device:
    """Return where networks are to answer: on the GPU if there is one."""
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


class WholeFiles(CheckpointIO):
    """Lightning's own checkpoints, kept as whole as the others."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        save(checkpoint, path)

    def load_checkpoint(self, path, map_location=None, weights_only=None):
        return read(path)

    def remove_checkpoint(self, path):
        Path(path).unlink(missing_ok=True)

"""Train a network on recorded clips: ``python -m training.train DATA --out DIR --model stream``.

Windows or sequences are drawn anew all the time, balanced over what they show, so an epoch is so
many of them, not a pass over the data. Validation identities choose the checkpoint, test
identities are looked at once, at the end. ``DIR`` holds ``last.ckpt`` (resumes), ``best.pt``
(exports), ``settings.json``, ``report.json``, ``report.txt``, ``confusion.png``, ``tensorboard/``.
Under ``torchrun`` several processes, GPUs or machines train one network.
"""

import argparse
import ctypes
import json
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from cs3d_ros import Cs3dError
from cs3d_ros.inference.emotion import EXPRESSIONS
from training.checkpoints import TrainingError, WholeFiles, load, network_of, resumable, save
from training.conclusion import conclude
from training.cuts import keep_open, open_cuts
from training.data.clips import DataError, write_whole
from training.dataset import DataSet
from training.examination import Validation, labels_of
from training.learner import Learner
from training.models import Network, build
from training.provenance import known_of, learnt_sources
from training.sequences import SequenceSet
from training.settings import PRECISIONS, TrainSettings, add_arguments, picked
from training.signs import read_reference
from training.targets import CLIP_FRAMES, LABELS

DEFAULT_MODEL = 'cs3d'
# What the settings of a training decide about a network, or the data does.
DECIDED = ('outputs', 'frames', 'transitions')
STOPPED = 'stopped; the same command does the rest'

__all__ = ['TrainingError', 'data_of', 'load', 'network_of', 'new_network', 'save', 'train']


def keep_memory():
    """Let glibc hold on to freed memory: mapping activations anew each step doubles its time."""
    try:
        libc = ctypes.CDLL('libc.so.6')
        libc.mallopt(-4, 0)  # M_MMAP_MAX: nothing by mmap
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: give nothing back
    except (OSError, AttributeError):
        pass  # another C library: only slower


def blueprint(name: str) -> Network:
    """Return a network of default settings without weights; ValueError if none has the name."""
    with torch.device('meta'):
        return build(name)


def new_network(name: str, settings: TrainSettings, **network_settings) -> Network:
    """Return a new network with the outputs that a training asks for, of the training's seed."""
    decided = {'outputs': len(labels_of(settings))}
    if settings.second_head and hasattr(blueprint(name).settings, 'transitions'):
        decided['transitions'] = len(LABELS) + len(EXPRESSIONS) - decided['outputs']
    torch.manual_seed(settings.seed)
    network = build(name, **{**network_settings, **decided})
    if settings.learns == 'sequences' and not hasattr(network, 'initial_state'):
        raise ValueError('{} has no memory: it learns windows, not sequences'.format(name))
    return network


def begin_with(network: Network, path: Path) -> dict:
    """
    Give a network the weights of a checkpoint, and return what those learnt from.

    Raises
    ------
    TrainingError
        If the checkpoint is of another network.
    """
    kept = load(path)
    found = kept['model'], kept['network_settings']
    if found != (network.name, network.settings.as_dict()):
        raise TrainingError(
            '{} is of another network ({} {}): give the same settings, or leave out --init'.format(
                path, *found
            )
        )
    network.load_state_dict(kept['averaged'])
    learnt = {'windows_seen': kept['step'] * kept['train_settings']['batch']}
    report = kept.get('report', {})
    learnt.update({k: report[k] for k in ('train_clips', 'train_identities') if k in report})
    sources = learnt_sources(report)
    return {**learnt, 'train_sources': sources} if sources else learnt


def data_of(folders, split: str, settings: TrainSettings, size: int) -> DataSet:
    """Return a split as a training asks for it, in frames of a size in px."""
    if settings.cuts:
        return open_cuts(folders, split, settings, size)
    kind = DataSet if settings.learns == 'windows' else SequenceSet
    return kind.of(folders, split, settings, size)


def train(
    folders: list,
    out: Path,
    network: Network,
    settings: TrainSettings,
    say=print,
    reference: dict | None = None,
    open_data=data_of,
    began_with: dict | None = None,
) -> dict | None:
    """
    Train to the end and return the report; resumes what ``out`` holds.

    Parameters
    ----------
    folders : list of paths
    out : Path
    network : Network
        As new_network makes it.
    settings : TrainSettings
    say : callable
        Takes a line for people.
    reference : dict, optional
        Report of the C3D of the same data, to be better than.
    open_data : callable
        Opens a split as data_of does; another one may show a network other frames.
    began_with : dict, optional
        What the network's first weights learnt from, as begin_with returns it; for the report.
        A training that is resumed keeps what it began with.

    Returns
    -------
    dict or None
        None in all processes but the first.

    Raises
    ------
    TrainingError
        If the loss is no number any more, or ``out`` holds another network, or one that was
        trained with other settings than those that MAY_CHANGE, or on clips that are not there.
    DataError
        If the data is none to train on, or ``out`` cannot be written.
    SystemExit
        With status 143, once a batch is done, if it was asked to end by SIGTERM.
    """
    world = int(os.environ.get('WORLD_SIZE', 1))
    if settings.batch % world:
        raise TrainingError(
            'a batch of {} cannot be shared by {} processes: give a multiple by --batch'.format(
                settings.batch, world
            )
        )
    torch.set_num_threads(settings.threads)
    keep_memory()
    out = Path(out)
    _make_folder(out)
    is_first = int(os.environ.get('RANK', 0)) == 0
    say = say if is_first else lambda line: None
    size, open_data = network.settings.size, keep_open(open_data)
    data = open_data(folders, 'train', settings, size)
    validation = Validation(folders, settings, size, open_data) if is_first else None
    if is_first and settings.cuts:
        open_data(folders, 'test', settings, size)  # now, as what comes later was not cut
    learner = Learner(network, settings, data, validation, out, say, began_with)
    last, is_over = out / 'last.ckpt', False
    if last.exists():
        is_over = _resume(learner, last, data, say)
    if is_first:
        _note_settings(out, network, settings)
    if not is_over:
        say('{} training clips'.format(len(data.clips)))
        _fit(learner, out, world, str(last) if last.exists() else None, say)
    if not is_first:
        return None
    learnt_from = known_of(data.clips)
    began_with = learner.began_with
    return conclude(folders, out, settings, say, open_data, learnt_from, reference, began_with)


def _make_folder(out):
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            '{} cannot be used as a folder ({}): give another --out'.format(out, error)
        ) from error


def _fit(learner, out, world, resumed, say):
    try:
        lightning_trainer(out, learner.settings, world).fit(learner, ckpt_path=resumed)
    except OSError as error:  # of TensorBoard: checkpoints have an error of their own
        raise DataError(
            'the training broke off ({}): see that {} can be written, then run the command '
            'again'.format(error, out)
        ) from error
    except SIGTERMException:
        say(STOPPED)
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # which Lightning makes one of
            raise KeyboardInterrupt from None
        raise


def _note_settings(out, network, settings):
    noted = {
        'model': network.name,
        'network': network.settings.as_dict(),
        'training': settings.as_dict(),
    }
    write_whole(out / 'settings.json', (json.dumps(noted, indent=1) + '\n').encode())


def _resume(learner, last, data, say) -> bool:
    """Give a learner what an earlier run kept; return whether the training is over."""
    kept = resumable(last, learner.network, learner.settings, known_of(data.clips))
    say('resumed after epoch {}'.format(len(kept['history'])))
    learner.on_load_checkpoint({'learner': kept})
    return learner.is_over


def lightning_trainer(out: Path, settings: TrainSettings, world: int) -> pl.Trainer:
    """Return the loop: on all GPUs of a torchrun, on one, or on the CPU."""
    logging.getLogger('pytorch_lightning').setLevel(logging.WARNING)
    # advice on loaders that these are none of, and on Lightning's own past
    warnings.filterwarnings('ignore', module='pytorch_lightning')
    local = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    return pl.Trainer(
        accelerator='gpu' if torch.cuda.is_available() else 'cpu',
        devices=local,
        num_nodes=world // local,
        strategy='ddp' if world > 1 else 'auto',
        precision=PRECISIONS[settings.precision],
        max_epochs=settings.epochs,
        plugins=[WholeFiles()],
        callbacks=[
            ModelCheckpoint(
                out,
                'last',
                save_top_k=1,
                every_n_epochs=1,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            )
        ],
        logger=TensorBoardLogger(out, name='tensorboard', version=''),
        log_every_n_steps=10,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
    )


def parser(network: Network) -> argparse.ArgumentParser:
    """Return the command line for a network; its defaults are those of the settings."""
    p = argparse.ArgumentParser(
        prog='python -m training.train',
        allow_abbrev=False,  # as asked() finds the network by its whole name alone
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        'data',
        type=Path,
        nargs='+',
        help='folder(s) made by training.synthesize; may still grow (with --cuts: cut before you '
        'resume)',
    )
    p.add_argument('--out', type=Path, required=True, help='folder of checkpoints; resumes there')
    p.add_argument('--model', default=DEFAULT_MODEL, help='name of a network of training.models')
    p.add_argument(
        '--init', type=Path, help='best.pt of such a network, whose weights it begins with'
    )
    p.add_argument('--reference', type=Path, help='report.json of the C3D of the same data')
    add_arguments(p.add_argument_group('training'), defaults_of(network))
    group = p.add_argument_group('network {} (another one by --model)'.format(network.name))
    add_arguments(group, network.settings, DECIDED)
    return p


def defaults_of(network: Network) -> TrainSettings:
    """Return the settings that a network is trained with unless others are asked for."""
    if hasattr(network, 'initial_state'):
        return TrainSettings(
            learns='sequences', answers='states', second_head=0.3, batch=8, examples_per_epoch=1024
        )
    return TrainSettings()


def asked(argv=None):
    """Return the command line's arguments, network and settings."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument('--model', default=DEFAULT_MODEL)
    name = first.parse_known_args(argv)[0].model
    try:
        plan = blueprint(name)
    except ValueError as error:
        first.error(str(error))
    p = parser(plan)
    args = p.parse_args(argv)
    try:
        settings = TrainSettings(**picked(args, TrainSettings))
        chosen = picked(args, plan.settings, DECIDED)
        return args, new_network(name, settings, **chosen), settings
    except ValueError as error:
        p.error(str(error))


def main(argv=None):
    """Run the command."""
    args, network, settings = asked(argv)
    if int(os.environ.get('RANK', 0)) == 0:
        told = {
            'model': network.name,
            'frames': CLIP_FRAMES if settings.learns == 'windows' else settings.sequence_frames,
            'network': network.settings.as_dict(),
            'training': settings.as_dict(),
        }
        print(json.dumps(told, indent=1), flush=True)
    try:
        began_with = begin_with(network, args.init) if args.init else None
        reference = read_reference(args.reference) if args.reference else None
        train(
            args.data,
            args.out,
            network,
            settings,
            say=lambda line: print(line, flush=True),
            reference=reference,
            began_with=began_with,
        )
    except Cs3dError as error:
        raise SystemExit('error: {}'.format(error)) from error
    except KeyboardInterrupt:
        raise SystemExit(STOPPED) from None


if __name__ == '__main__':
    main()

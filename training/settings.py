"""What makes one training, the network apart: one record, and the command line made of it."""

import argparse
from dataclasses import asdict, dataclass, fields

from cs3d_ros.events import FrameSettings
from training.augment import AUGMENTATIONS

PRECISIONS = {'bf16': 'bf16-mixed', 'fp16': '16-mixed', 'fp32': '32-true'}
CHOICES = {
    'learns': ('windows', 'sequences'),
    'answers': ('transitions', 'states'),
    'precision': tuple(PRECISIONS),
    'augment': AUGMENTATIONS,
}
# What may change between the runs of one training: the machine, and how long one waits.
MAY_CHANGE = ('threads', 'loaders', 'patience', 'time_limit_min')


@dataclass(frozen=True)
class TrainSettings:
    """
    What makes one training; the same settings, data and number of processes give the same network.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    learns: str = 'windows'  # clips of 16 frames, or 'sequences' with a target per frame
    answers: str = 'transitions'  # what changes (8 labels), or 'states': what the face wears (7)
    second_head: float = 0.0  # weight of a head that training alone has and that answers the other
    explicit_offset: bool = True  # False: the way back to neutral counts as unchanged
    sequence_frames: int = 64  # 2.1 s
    still_share: float = 0.3  # of sequences with a stretch in which time stands still
    doubt_weight: float = 0.25  # of frames in the middle of a transition, where nobody knows
    moment_weight: float = 4.0  # of a state while the window before it shows a change
    frame_step: int = 32  # grey levels per event
    background_activity_ms: float = 0.0  # reach of the filter of that name; 0: none
    augment: tuple = AUGMENTATIONS
    cuts: str = ''  # folder of training.cut; empty: examples are cut anew all the time
    epochs: int = 30
    examples_per_epoch: int = 4096  # windows or sequences
    batch: int = 32  # of all processes together
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.05
    warmup: float = 0.02  # share of the training
    average: float = 0.998  # decay per step of the averaged weights, which are the ones judged
    patience: int = 0  # epochs without a better validation that end the training; 0: never
    time_limit_min: float = 0.0  # with validation; 0: none; else the schedule ends with it
    seed: int = 1
    threads: int = 2  # that compute, where there is no GPU
    loaders: int = 1  # threads that cut examples
    precision: str = 'bf16'

    def __post_init__(self):
        """Refuse what no training can be."""
        object.__setattr__(self, 'augment', tuple(self.augment))
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            for one in value if name == 'augment' else (value,):
                if one not in choices:
                    raise ValueError(
                        '{} must be of {}, got {!r}'.format(name, ', '.join(choices), one)
                    )
        for name in 'epochs examples_per_epoch batch threads loaders sequence_frames'.split():
            if getattr(self, name) < 1:
                raise ValueError('{} must be 1 or more, got {}'.format(name, getattr(self, name)))
        for name in 'still_share doubt_weight warmup average label_smoothing'.split():
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError('{} must be 0 to 1, got {}'.format(name, getattr(self, name)))
        if not 1 <= self.frame_step <= 127:
            raise ValueError('frame_step must be 1 to 127, got {}'.format(self.frame_step))
        for name in (
            'learning_rate weight_decay second_head moment_weight patience time_limit_min seed '
            'background_activity_ms'
        ).split():
            if not getattr(self, name) >= 0:
                raise ValueError(
                    '{} must not be negative, got {}'.format(name, getattr(self, name))
                )

    def as_dict(self) -> dict:
        """Return the settings as plain values, for checkpoints and JSON."""
        return {**asdict(self), 'augment': list(self.augment)}

    def decisive(self) -> dict:
        """Return what must stay while a training goes on; of cuts, whether there are some."""
        kept = {k: v for k, v in self.as_dict().items() if k not in MAY_CHANGE}
        return {**kept, 'cuts': bool(self.cuts)}

    def frame_settings(self, size: int) -> FrameSettings:
        """Return how events become frames of a network of that size in px."""
        return FrameSettings(size=size, step=self.frame_step)


def add_arguments(parser: argparse.ArgumentParser, record, leave_out=()):
    """Add an option per field of a record (an instance or class with defaults) to a parser."""
    for field in fields(record):
        if field.name in leave_out:
            continue
        default = getattr(record, field.name)
        option = '--' + field.name.replace('_', '-')
        about = {'default': default, 'help': 'default: {}'.format(default)}
        if isinstance(default, bool):
            about['action'] = argparse.BooleanOptionalAction
        elif isinstance(default, tuple):
            about.update(nargs='*', choices=CHOICES.get(field.name))
        else:
            kind = field.type if field.type in (int, float, str) else type(default)
            about.update(type=kind, choices=CHOICES.get(field.name))
        parser.add_argument(option, **about)


def picked(args: argparse.Namespace, record, leave_out=()) -> dict:
    """Return what a command line says of a record's fields."""
    names = (field.name for field in fields(record))
    return {name: getattr(args, name) for name in names if name not in leave_out}

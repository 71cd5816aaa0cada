"""The comparisons of `ablate`: each a change of settings, of data, or of how answers settle."""

from typing import NamedTuple

from training.augment import AUGMENTATIONS
from training.data.world import Ingredients

GEOMETRY = ('crop', 'rotation')  # augmentations that stand for a tracker's errors
BASE = 'windows'
FEWER_CLIPS = 'all ingredients'  # the base of what learns from a set of its own


class Variant(NamedTuple):
    """What differs from the base: CS3D on windows, which answers what changes."""

    name: str
    network: tuple = ('cs3d', {})
    training: dict = {}  # of TrainSettings
    settling: dict = {}  # of EmotionSettings
    baseline: bool = False  # answers count from what a person's neutral face brings
    without: tuple = ()  # ingredients of the world that is learnt from
    same_data: bool = True  # else its own base, trained on as few clips as the ingredients'

    @property
    def changes(self) -> str:
        """Return what differs, in words."""
        parts = [] if self.network[0] == 'cs3d' else [self.network[0]]
        for record in (self.network[1], self.training, self.settling):
            parts += ['{} {}'.format(name, _plain(value)) for name, value in record.items()]
        parts += ['a neutral baseline per person'] * self.baseline
        parts += ['learnt without ' + ', '.join(self.without)] * bool(self.without)
        return '; '.join(parts) or 'nothing'

    @property
    def base(self) -> str:
        """Return the name of the variant that this one is compared with."""
        return BASE if self.same_data else FEWER_CLIPS

    @property
    def trains(self) -> bool:
        """Whether it needs a training of its own, not only another way to settle."""
        return not (self.settling or self.baseline)


def _plain(value):
    return ', '.join(map(str, value)) or 'none' if isinstance(value, tuple) else str(value)


LEARNING = (
    Variant(BASE),
    Variant('windows, states answered', training={'answers': 'states'}),
    Variant('windows, state head in training', training={'second_head': 0.3}),
    Variant('sequences', ('stream', {}), {'second_head': 0.0}),
    Variant('sequences, transition head in training', ('stream', {}), {'second_head': 0.3}),
    Variant(
        'sequences that never stand still',
        ('stream', {}),
        {'second_head': 0.0, 'still_share': 0.0},
    ),
    Variant('no explicit offset', training={'explicit_offset': False}),
    Variant('ReLU for SSN', ('cs3d', {'ssn': False})),
    Variant('no attention', ('cs3d', {'attention': False})),
    Variant('event rate normalised', ('cs3d', {'rate_norm': True})),
    Variant('frame step 16', training={'frame_step': 16}),
    Variant('frame step 64', training={'frame_step': 64}),
    Variant('events cleaned', training={'background_activity_ms': 10.0}),
    Variant(
        'no jitter', training={'augment': tuple(k for k in AUGMENTATIONS if k not in GEOMETRY)}
    ),
    Variant('no augmentation', training={'augment': ()}),
)
SETTLING = (
    Variant('slow integration', settling={'rate_hz': 3.0}),
    Variant('fast integration', settling={'rate_hz': 20.0}),
    Variant('timeout to neutral', settling={'hold_s': 4.0}),
    Variant('abstention', settling={'least_confidence': 0.6}),
    Variant('neutral baseline', baseline=True),
)


def ingredients(names) -> tuple:
    """Return a variant per ingredient that is left out, after the base on as few clips."""
    if not names:
        return ()
    return (Variant(FEWER_CLIPS, same_data=False),) + tuple(
        Variant('without ' + name, without=(name,), same_data=False) for name in names
    )


INGREDIENTS = tuple(Ingredients.__dataclass_fields__)

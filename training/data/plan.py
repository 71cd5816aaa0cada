"""What the clips of a data set show, decided before anything is drawn."""

from typing import NamedTuple

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.inference.emotion import EXPRESSIONS, NEUTRAL
from training.data.acting.performance import SEQUENCE_SHARE
from training.data.clips import SPLITS
from training.data.world import ACTED, CONDITIONS, Ingredients

SPLIT_PATTERN = ('train',) * 7 + ('val',) + ('test',) * 2  # of every ten clips
# The networks' classes twice as often as what lies between them; a fifth is neutral throughout.
CLASS_BLOCK = EXPRESSIONS[1:] * 2 + ACTED[len(EXPRESSIONS) :] + (NEUTRAL,) * 4
STANDARD_SHARE = 0.6  # of training and validation; the other conditions share the rest evenly
CLIPS_PER_IDENTITY = 3
HELD_OUT = 6  # one of so many skins, but at least one, in validation and as many in test


class ClipPlan(NamedTuple):
    """What a clip shows."""

    index: int
    seed: int
    split: str
    identity: str
    condition: str
    expressions: tuple  # empty: neutral throughout

    @property
    def label(self) -> str:
        """Return the first expression."""
        return self.expressions[0] if self.expressions else NEUTRAL


class SetPlan(NamedTuple):
    """
    All that decides the clips of a set.

    A clip depends on this and its number only: not on how many there are, nor on who makes it.
    """

    seed: int = 1
    width: int = 346
    height: int = 260
    without: tuple = ()  # ingredients of the world that are left out
    conditions: tuple = tuple(CONDITIONS)

    @property
    def ingredients(self) -> Ingredients:
        """Return the world's parts; ValueError if one to leave out is unknown."""
        return Ingredients().without(*self.without)

    def clip(self, index: int) -> ClipPlan:
        """Return the plan of a clip."""
        split = SPLIT_PATTERN[index % len(SPLIT_PATTERN)]
        within = SPLIT_PATTERN[: index % len(SPLIT_PATTERN)].count(split)
        place = index // len(SPLIT_PATTERN) * SPLIT_PATTERN.count(split) + within
        rng = np.random.default_rng([self.seed, 2, index])
        if split == 'test':  # in turn, so that each condition has all classes evenly
            turn, number = divmod(place, len(self.conditions))
            condition = self.conditions[number]
            label = self._label(split, turn, number)
        else:
            condition = self._draw_condition(rng)
            label = self._label(split, place, 0)
        shown = () if label == NEUTRAL else (label,)
        if shown and rng.random() < SEQUENCE_SHARE:
            shown += (str(rng.choice([e for e in EXPRESSIONS[1:] if e != label])),)
        # Neighbours share a person, so that a person is seen with several expressions.
        identity = '{}-{}-{:05d}'.format(split, self.seed, place // CLIPS_PER_IDENTITY)
        return ClipPlan(index, self.seed, split, identity, condition, shown)

    def _label(self, split, place, number):
        """Return the class at a place of a row in which every block holds all classes."""
        block, within = divmod(place, len(CLASS_BLOCK))
        row = [self.seed, 1, SPLITS.index(split), number, block]
        return CLASS_BLOCK[np.random.default_rng(row).permutation(len(CLASS_BLOCK))[within]]

    def _draw_condition(self, rng):
        others = [name for name in self.conditions if name != 'standard']
        drawn, other = rng.random(), rng.integers(max(1, len(others)))
        if 'standard' in self.conditions and (drawn < STANDARD_SHARE or not others):
            return 'standard'
        return others[other]


def identity_number(plan: ClipPlan) -> list:
    """Return what seeds the person of a clip."""
    return [plan.seed, 3, SPLITS.index(plan.split), int(plan.identity.rsplit('-', 1)[1])]


def split_skins(names: tuple) -> dict:
    """
    Return the skins of each split, disjoint; each has dark and light ones.

    Raises
    ------
    Cs3dError
        If there are too few.
    """
    dark = sorted(name for name in names if 'darkskinned' in name)
    light = sorted(name for name in names if 'darkskinned' not in name)
    out = {split: [] for split in SPLITS}
    # From both ends, as names are sorted by age and sex: no split is to have one kind only.
    for group, first, last in ((dark, 'test', 'val'), (light, 'val', 'test')):
        if len(group) < len(SPLITS):
            raise Cs3dError(
                'skins: three dark and three light ones are needed for splits that share none, '
                'got {}'.format(', '.join(names) or 'none')
            )
        count = max(1, len(group) // HELD_OUT)
        out[first] += group[:count]
        out[last] += group[-count:]
        out['train'] += group[count:-count]
    return {split: tuple(own) for split, own in out.items()}

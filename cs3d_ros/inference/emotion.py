"""
From a network's estimates to one settled emotion.

A camera of events sees changes only. A network without memory tells to which expression a face
*moves*, or that it does not change; the filter keeps a belief over the expressions that the face
may *wear*: a Markov jump process whose jumps are what the network saw, which otherwise stays, and
slowly forgets. A network with memory tells itself what the face wears; the belief then only
follows it smoothly. Either way an expression is named once it has led for a while, and neutral
where the belief is too weak to name anything.
"""

import math
from typing import NamedTuple, Optional, Sequence, Tuple

import numpy as np

NEUTRAL = 'neutral'
NS_PER_S = 1e9

# (valence, arousal), -1 to 1: Russell and Mehrabian, J. Research in Personality 11, 1977.
AFFECT = {
    NEUTRAL: (0.0, 0.0),
    'happy': (0.81, 0.51),
    'surprised': (0.40, 0.67),
    'angry': (-0.51, 0.59),
    'disgusted': (-0.60, 0.35),
    'sad': (-0.63, -0.27),
    'scared': (-0.64, 0.60),
}
EXPRESSIONS = tuple(AFFECT)


class Emotion(NamedTuple):
    """
    The settled answer at one time.

    ``valence`` and ``arousal`` (-1 to 1) are the probability-weighted means of the coordinates of
    the expressions: derived, not measured.
    """

    t_ns: int  # sensor time of the newest event period used
    expression: str
    confidence: float  # probability of that expression, 0 to 1
    valence: float
    arousal: float
    probabilities: Tuple[float, ...]  # belief over the bundle's classes, in their order


_POSITIVE = 'above 0 and finite', lambda value: 0 < value < math.inf
_PRIOR = 'between 0 and 1', lambda value: 0 < value < 1  # what is certain never changes
_RANGES = {
    'rate_hz': _POSITIVE,
    'change_prior': _PRIOR,
    'forget_s': _POSITIVE,
    'absent_s': _POSITIVE,
    'dwell_s': ('0 or above and finite', lambda value: 0 <= value < math.inf),
    'prior_neutral': _PRIOR,
    'least_confidence': ('from 0 to below 1', lambda value: 0 <= value < 1),
    'hold_s': _POSITIVE,
}  # of the fields of EmotionSettings: what each must be


class EmotionSettings(NamedTuple):
    """How estimates settle; a bundle brings those that were fitted for its network."""

    rate_hz: float = 6.0  # at which a sure estimate moves the belief
    change_prior: float = 0.2  # of a clip showing a change; networks learn from balanced clips
    forget_s: float = 20.0  # time constant back to the prior, while nothing is seen to change
    absent_s: float = 0.5  # the same without a face
    dwell_s: float = 0.15  # an expression is named when it has led this long
    prior_neutral: float = 0.7  # probability of neutral before anything was seen
    least_confidence: float = 0.0  # of an expression to be named; neutral is named below it
    hold_s: float = 60.0  # an expression named this long is let go: its end must have been missed
    name_unproven: bool = False  # name expressions, too, that were not shown to work on people

    def check(self):
        """Raise ValueError, which names the setting, if one is out of range."""
        for name, (words, is_right) in _RANGES.items():
            value = getattr(self, name)
            if not is_right(value):
                raise ValueError('{} must be {}, got {!r}'.format(name, words, value))


class EmotionFilter:
    """
    Belief over the expressions of one face.

    Parameters
    ----------
    classes : sequence of str
        The bundle's classes; those unknown to ``AFFECT`` count as (0, 0) in valence and arousal.
    unchanged : bool
        Whether an estimate ends with the probability that nothing changes.
    settings : EmotionSettings
    unproven : sequence of str
        Classes that stand in the probabilities, but are neither named nor counted in valence and
        arousal, unless ``settings.name_unproven``.

    Raises
    ------
    ValueError
        If no class is ``neutral``, an unproven one is none or neutral, or a setting is out of
        range.

    Examples
    --------
    >>> settle = EmotionFilter(('neutral', 'happy'), unchanged=True)
    >>> settle.push([0.0, 0.0, 1.0], 0).expression
    'neutral'
    >>> [settle.push([0.0, 1.0, 0.0], 100_000_000 * i).expression for i in (2, 4, 6)][-1]
    'happy'
    """

    def __init__(
        self,
        classes: Sequence[str],
        unchanged: bool,
        settings: EmotionSettings = EmotionSettings(),
        unproven: Sequence[str] = (),
    ):
        if NEUTRAL not in classes:
            raise ValueError('one class must be {!r}, got {}'.format(NEUTRAL, list(classes)))
        if not set(unproven) <= set(classes) - {NEUTRAL}:
            raise ValueError(
                'unproven must be classes other than {!r}, got {}'.format(NEUTRAL, list(unproven))
            )
        settings.check()
        self._classes = tuple(classes)
        self._unchanged = unchanged
        self._settings = settings
        self._neutral = self._classes.index(NEUTRAL)
        self._unnamed = set()
        if not settings.name_unproven:
            self._unnamed.update(self._classes.index(name) for name in unproven)
        self._affect = np.array([AFFECT.get(name, (0.0, 0.0)) for name in classes])
        self._affect[list(self._unnamed)] = 0.0
        others = max(1, len(classes) - 1)
        self._prior = np.full(len(classes), (1 - settings.prior_neutral) / others)
        self._prior[self._neutral] = settings.prior_neutral
        self.reset()

    def reset(self):
        """Believe the prior again."""
        self._belief = self._prior.copy()
        self._named = self._leader = self._neutral
        self._led_s = self._named_s = 0.0
        self._let_go = None  # class not to be named again before another one led
        self._last_ns = None

    def push(self, probabilities: Optional[Sequence[float]], t_ns: int) -> Emotion:
        """
        Take an estimate, or None where there is no face, and return what is believed now.

        Raises
        ------
        ValueError
            If the number of probabilities is wrong, or they are none.
        """
        elapsed_s = 0.0 if self._last_ns is None else max(0, t_ns - self._last_ns) / NS_PER_S
        self._last_ns = t_ns
        fade_s = self._settings.absent_s
        if probabilities is not None:
            # a network that tells states tells them anew each time: nothing to forget
            fade_s = self._settings.forget_s if self._unchanged else math.inf
            self._move(np.asarray(probabilities, np.float64), elapsed_s)
        self._belief = self._prior + (self._belief - self._prior) * np.exp(-elapsed_s / fade_s)
        self._name(elapsed_s, is_seen=probabilities is not None)
        valence, arousal = self._belief @ self._affect
        return Emotion(
            int(t_ns),
            self._classes[self._named],
            float(self._belief[self._named]),
            float(valence),
            float(arousal),
            tuple(self._belief.tolist()),
        )

    def _move(self, probabilities, elapsed_s):
        expected = len(self._classes) + self._unchanged
        if probabilities.shape != (expected,):
            raise ValueError(
                'expected {} probabilities, got shape {}'.format(expected, probabilities.shape)
            )
        if not (np.all(probabilities >= 0) and 0 < probabilities.sum() < np.inf):
            raise ValueError(
                'probabilities must be finite and not negative: {}'.format(probabilities)
            )
        probabilities = probabilities / probabilities.sum()
        if self._unchanged:
            # Bayes: from the even prior of the outputs in training to life's.
            share = self._settings.change_prior / len(self._classes)
            probabilities[:-1] *= share
            probabilities[-1] *= 1 - self._settings.change_prior
            probabilities /= probabilities.sum()
        toward = probabilities[: len(self._classes)]
        change = toward.sum()
        if change > 0:
            moved = 1 - np.exp(-self._settings.rate_hz * change * elapsed_s)
            self._belief += moved * (toward / change - self._belief)

    def _name(self, elapsed_s, is_seen):
        """Name the leading expression once it has led long enough, or at once without a face."""
        leader = self._nameable_leader()
        self._led_s = self._led_s + elapsed_s if leader == self._leader else 0.0
        self._leader = leader
        if is_seen and self._led_s < self._settings.dwell_s:
            leader = self._named
        self._named_s = self._named_s + elapsed_s if leader == self._named else 0.0
        self._named = leader
        if leader != self._neutral and self._named_s >= self._settings.hold_s:
            self._release()

    def _nameable_leader(self):
        """Return the class that leads, or neutral where that one is not to be named."""
        leader = int(np.argmax(self._belief))
        if leader != self._let_go:
            self._let_go = None
        if (
            leader in self._unnamed
            or leader == self._let_go
            or self._belief[leader] < self._settings.least_confidence
        ):
            return self._neutral
        return leader

    def _release(self):
        """Go back to neutral from an expression that was held too long."""
        if self._unchanged:
            self._belief = self._prior.copy()  # so that the same expression can come again
        else:
            self._let_go = self._named  # the network will go on telling it
        self._named = self._leader = self._neutral
        self._led_s = self._named_s = 0.0

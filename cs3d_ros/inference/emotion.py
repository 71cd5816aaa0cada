"""
From a network's estimates to one settled emotion.

A camera of events sees changes only, so a network tells to which expression a face *moves*. The
filter keeps a belief over the expressions a face may *wear*: a Markov jump process whose jumps
are what the network saw, which otherwise stays, and slowly forgets.
"""

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


class EmotionSettings(NamedTuple):
    """How fast estimates settle."""

    rate_hz: float = 6.0  # at which a sure estimate moves the belief
    change_prior: float = 0.2  # of a clip showing a change; networks learn from balanced clips
    forget_s: float = 20.0  # time constant back to the prior, while nothing is seen to change
    absent_s: float = 0.5  # the same without a face
    dwell_s: float = 0.15  # an expression is named when it has led this long
    prior_neutral: float = 0.7  # probability of neutral before anything was seen


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

    Raises
    ------
    ValueError
        If no class is ``neutral``, or a setting is out of range.

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
    ):
        if NEUTRAL not in classes:
            raise ValueError('one class must be {!r}, got {}'.format(NEUTRAL, list(classes)))
        if not (
            min(settings.rate_hz, settings.forget_s, settings.absent_s) > 0
            and settings.dwell_s >= 0
            and 0 < settings.change_prior < 1
            and 0 < settings.prior_neutral < 1
        ):
            raise ValueError(
                'rate and times must be positive, the priors between 0 and 1: {}'.format(settings)
            )
        self._classes = tuple(classes)
        self._unchanged = unchanged
        self._settings = settings
        self._affect = np.array([AFFECT.get(name, (0.0, 0.0)) for name in classes])
        others = max(1, len(classes) - 1)
        self._prior = np.full(len(classes), (1 - settings.prior_neutral) / others)
        self._prior[self._classes.index(NEUTRAL)] = settings.prior_neutral
        self.reset()

    def reset(self):
        """Believe the prior again."""
        self._belief = self._prior.copy()
        self._named = self._leader = self._classes.index(NEUTRAL)
        self._led_s = 0.0
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
            fade_s = self._settings.forget_s
            self._jump(np.asarray(probabilities, np.float64), elapsed_s)
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

    def _jump(self, probabilities, elapsed_s):
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
        leader = int(np.argmax(self._belief))
        self._led_s = self._led_s + elapsed_s if leader == self._leader else 0.0
        self._leader = leader
        if not is_seen or self._led_s >= self._settings.dwell_s:
            self._named = leader

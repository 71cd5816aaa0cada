"""What a face does in one clip: expressions over time, head, eyes, blinks, speech."""

from dataclasses import dataclass, field

import numpy as np

from training.data.expressions import Apex, draw_apex

FRAME_RATE_HZ = 60
# Seconds. Source: posed and spontaneous expressions, facts on KDEF-dyn (unfolding 1.03 s) and
# Schmidt et al., J. Nonverbal Behavior 30, 2006 (onsets of smiles .25 to .8 s).
ONSET_S, APEX_S, OFFSET_S = (0.25, 0.8), (0.5, 1.5), (0.3, 0.8)
REST_S = (0.25, 0.65)  # before the first onset and at least after the last offset
NEUTRAL_CLIP_S = (2.6, 3.4)
BLINKS_PER_S = 0.3  # people blink 15 to 20 times a minute
GAZE_SHIFTS_PER_S = 0.5
LID_FOLLOWS_DEG = 30.0  # gaze at which an eyeLook* shape is full
SEQUENCE_SHARE = 0.15  # of the expressive clips show a second expression straight after the first
NUISANCES = ('talk', 'nod', 'shake', 'lean', 'gaze', 'blinks', 'twist', 'lips', 'still')

# Habits of the head while an expression is held: yaw, pitch (down), roll in degrees, forward mm.
HEAD_HABITS = {
    'happy': (0.0, 1.0, 2.0, 0.0),
    'surprised': (0.0, -2.5, 0.0, -6.0),
    'angry': (0.0, 2.5, 0.0, 8.0),
    'disgusted': (4.0, -1.0, 1.0, -6.0),
    'sad': (0.0, 5.0, 2.0, 0.0),
    'scared': (1.0, -1.0, 0.0, -10.0),
}


@dataclass(frozen=True)
class Segment:
    """One expression on the timeline, s from the clip's start."""

    expression: str
    recipe: str
    onset_start_s: float
    apex_start_s: float
    offset_start_s: float
    offset_end_s: float


@dataclass
class Performance:
    """All that moves in a clip; F frames at FRAME_RATE_HZ."""

    weights: dict  # blendshape -> (F,) float32
    gaze: np.ndarray  # (F, 2) degrees: to the person's left, down
    pose: np.ndarray  # (F, 3) degrees: yaw, pitch, roll
    head_mm: np.ndarray  # (F, 3)
    body_mm: np.ndarray  # (F, 3)
    drift_px: np.ndarray  # (F, 2) of the background: a camera held by hand
    expression: list  # (F,) names: the target; 'neutral' from the start of an offset
    intensity: np.ndarray  # (F,) 0..1 of the expression shown or left
    segments: list
    nuisances: list = field(default_factory=list)

    def __len__(self):
        return len(self.pose)


def perform(expressions: tuple, rng: np.random.Generator) -> Performance:
    """
    Return a clip's performance.

    Parameters
    ----------
    expressions : tuple of str
        Shown one straight after the other; empty: a neutral clip with nuisances.
    rng : np.random.Generator
    """
    segments, duration = _timeline(expressions, rng)
    return act_out(segments, duration, _nuisances(bool(segments), rng), rng)


def act_out(
    segments: list, duration_s: float, nuisances: list, rng: np.random.Generator
) -> Performance:
    """
    Return the performance of a given timeline.

    Parameters
    ----------
    segments : list of Segment
        In order; their recipes are drawn.
    duration_s : float
    nuisances : list of str
        Out of NUISANCES.
    rng : np.random.Generator
    """
    t = np.arange(int(round(duration_s * FRAME_RATE_HZ))) / FRAME_RATE_HZ
    act = _rest(t, rng)
    for segment in segments:
        _show(act, t, segment, draw_apex(segment.expression, rng), rng)
    for name in nuisances:
        _NUISANCE[name](act, t, rng)
    moments = [s.onset_start_s for s in segments] + [s.offset_start_s for s in segments]
    moments = [m + rng.uniform(-0.05, 0.2) for m in moments if rng.random() < 0.22]
    _blink(act, t, moments + list(_poisson(BLINKS_PER_S, t[-1], rng)), rng)
    _look(act, t, _poisson(GAZE_SHIFTS_PER_S, t[-1], rng), rng.uniform(2.0, 8.0), rng)
    act.nuisances = nuisances
    _close(act)
    return act


def _timeline(expressions: tuple, rng: np.random.Generator) -> tuple:
    if not expressions:
        return [], float(rng.uniform(*NEUTRAL_CLIP_S))
    segments, start = [], float(rng.uniform(*REST_S))
    for k, name in enumerate(expressions):
        onset, apex, offset = (float(rng.uniform(*span)) for span in (ONSET_S, APEX_S, OFFSET_S))
        if len(expressions) > 1:
            apex = min(apex, 0.9)
        rise = onset if k == 0 else segments[-1].offset_end_s - segments[-1].offset_start_s
        segments.append(
            Segment(
                name, '', start, start + rise, start + rise + apex, start + rise + apex + offset
            )
        )
        start += rise + apex
    return segments, segments[-1].offset_end_s + float(rng.uniform(*REST_S))


def _rest(t: np.ndarray, rng: np.random.Generator) -> Performance:
    """Return a neutral face whose head drifts."""
    count = len(t)
    still = 0.1 if rng.random() < 0.4 else float(rng.uniform(0.2, 1.0))
    base = np.array(
        [
            np.clip(rng.normal(0, 8), -22, 22),
            np.clip(rng.normal(0, 5), -12, 12),
            np.clip(rng.normal(0, 3.5), -9, 9),
        ]
    )
    pose = base + still * np.stack([_wander(t, a, rng) for a in (2.2, 1.4, 0.9)], axis=-1)
    body = still * np.stack([_wander(t, a, rng) for a in (2.5, 1.5, 2.5)], axis=-1)
    head = body + still * np.stack([_wander(t, a, rng) for a in (1.0, 0.7, 1.5)], axis=-1)
    drift = np.zeros((count, 2))
    if rng.random() < 0.2:
        drift = np.stack([_wander(t, rng.uniform(0.3, 1.6), rng) for _ in range(2)], axis=-1)
    gaze = np.zeros((count, 2)) + rng.normal(0, 3, 2)
    act = Performance({}, gaze, pose, head, body, drift, ['neutral'] * count, np.zeros(count), [])
    for name in (
        'browInnerUp',
        'mouthFrown',
        'mouthSmile',
        'browDown',
        'mouthPress',
        'eyeSquint',
        'jawOpen',
    ):  # faces at rest differ
        level = abs(rng.normal(0, 0.05)) * (0.3 if name == 'jawOpen' else 1.0)
        for column in _sides(name):
            _add(act, column, level + 0.012 * _wander(t, 1.0, rng))
    return act


def _show(act: Performance, t: np.ndarray, segment: Segment, apex: Apex, rng: np.random.Generator):
    act.segments.append(
        Segment(
            segment.expression,
            apex.recipe,
            segment.onset_start_s,
            segment.apex_start_s,
            segment.offset_start_s,
            segment.offset_end_s,
        )
    )
    skew = rng.uniform(0.75, 1.4, 2)
    whole = _envelope(t, segment, 0.0, skew)
    fade = rng.uniform(-0.05, 0.15)  # an apex sags a little, or grows
    length = max(0.1, segment.offset_start_s - segment.apex_start_s)
    hold = 1 - fade * np.clip((t - segment.apex_start_s) / length, 0, 1)
    lags = {}
    for name, weight in apex.weights.items():
        unit = name.rsplit('_', 1)[0]
        lags.setdefault(unit, rng.normal(0.0, 0.035))
        lag = lags[unit] + rng.normal(0.0, 0.008)
        shown = _envelope(t, segment, lag, skew * rng.uniform(0.9, 1.1))
        _add(act, name, weight * shown * (hold + 0.02 * _wander(t, 1.0, rng)))
    act.gaze[:, 1] += apex.gaze_down_deg * whole
    _habit(act, t, segment, rng)
    # A second expression that takes over while the first leaves is the target from its onset on.
    begun = t >= segment.onset_start_s
    for k in np.flatnonzero(begun & (t < segment.offset_start_s)):
        act.expression[k] = segment.expression
    act.intensity = np.where(begun, whole, act.intensity)


def _habit(act: Performance, t: np.ndarray, segment: Segment, rng: np.random.Generator):
    """Move the head as people do who express: a pose held, a dip at onset or offset."""
    late = rng.uniform(-0.05, 0.15)
    held = _envelope(t, segment, late, np.ones(2)) * abs(rng.normal(0.0, 1.0))
    yaw, pitch, roll, forward = HEAD_HABITS[segment.expression]
    act.pose += held[:, None] * (
        np.array([yaw * rng.choice([-1, 1]), pitch, roll * rng.choice([-1, 1])])
        + rng.normal(0, 1.2, 3)
    )
    act.head_mm[:, 2] += held * (forward + rng.normal(0, 3.0))
    for moment in (segment.onset_start_s, segment.offset_start_s):
        if rng.random() < 0.4:
            width = rng.uniform(0.12, 0.28)
            dip = np.exp(-0.5 * ((t - moment - rng.uniform(0.0, 0.3)) / width) ** 2)
            act.pose[:, 1] += dip * rng.normal(2.0, 2.5)
            act.head_mm[:, 1] -= dip * rng.uniform(0.0, 3.0)


def _envelope(t: np.ndarray, segment: Segment, lag: float, skew: np.ndarray) -> np.ndarray:
    rise = (t - segment.onset_start_s - lag) / (segment.apex_start_s - segment.onset_start_s)
    fall = (t - segment.offset_start_s - lag) / (segment.offset_end_s - segment.offset_start_s)
    return _ease(rise, skew[0]) * (1 - _ease(fall, skew[1]))


def _ease(x: np.ndarray, skew: float) -> np.ndarray:
    x = np.clip(x, 0.0, 1.0) ** skew
    return x * x * (3 - 2 * x)


def _nuisances(expressive: bool, rng: np.random.Generator) -> list:
    if expressive:
        return (
            ['talk']
            if rng.random() < 0.1
            else ([str(rng.choice(('nod', 'gaze', 'lean')))] if rng.random() < 0.15 else [])
        )
    count = rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15])
    shares = np.array([0.28, 0.13, 0.09, 0.08, 0.1, 0.1, 0.08, 0.07, 0.07])
    return [str(n) for n in rng.choice(NUISANCES, count, replace=False, p=shares)]


def _talk(act, t, rng):
    """Speak: syllables of 3 to 6 Hz that open, round, spread and press the lips."""
    start = rng.uniform(0.0, 0.6)
    stop = t[-1] - rng.uniform(0.0, 0.8) if rng.random() < 0.6 else t[-1]
    moment, spoken = start, []
    while moment < stop:
        spoken.append((moment, rng.uniform(0.1, 0.26)))
        moment += rng.uniform(0.14, 0.34) + (rng.random() < 0.1) * rng.uniform(0.1, 0.4)
    loud = rng.uniform(0.5, 1.2) * (1 - 0.6 * act.intensity)
    for moment, width in spoken:
        bump = np.exp(-0.5 * ((t - moment) / (0.45 * width)) ** 2) * loud
        _add(act, 'jawOpen', bump * rng.uniform(0.03, 0.26))
        vowel = rng.choice(
            [
                'mouthFunnel',
                'mouthPucker',
                'mouthStretch',
                'mouthLowerDown',
                'mouthRollLower',
                'mouthUpperUp',
                'mouthPress',
            ]
        )
        depth = 0.55 if vowel in ('mouthFunnel', 'mouthPucker', 'mouthRollLower') else 0.3
        for column in _sides(vowel):
            _add(act, column, bump * rng.uniform(0.0, depth))
    act.pose[:, 1] += 0.8 * _wander(t, 1.0, rng) * loud
    act.pose[:, 0] += 0.8 * _wander(t, 1.0, rng) * loud


def _swing(t, rng, slow, fast):
    """Return a few cycles of a swing with soft ends, amplitude 1."""
    start, length = rng.uniform(0.1, 1.2), rng.uniform(0.7, 1.7)
    window = _ease((t - start) / 0.2, 1.0) * (1 - _ease((t - start - length) / 0.25, 1.0))
    return window * np.sin(2 * np.pi * rng.uniform(slow, fast) * (t - start))


def _nod(act, t, rng):
    act.pose[:, 1] += rng.uniform(2.5, 9.0) * _swing(t, rng, 1.2, 2.6)


def _shake(act, t, rng):
    act.pose[:, 0] += rng.uniform(3.0, 10.0) * _swing(t, rng, 1.0, 2.4)


def _lean(act, t, rng):
    start, length = rng.uniform(0.1, 1.2), rng.uniform(0.5, 1.4)
    way = _ease((t - start) / length, 1.0)
    move = np.array([rng.normal(0, 12), rng.normal(0, 6), rng.normal(0, 30)])
    act.head_mm += way[:, None] * move
    act.body_mm += way[:, None] * move
    act.pose += way[:, None] * np.array([rng.normal(0, 6), rng.normal(0, 4), rng.normal(0, 3)])


def _gaze(act, t, rng):
    _look(act, t, _poisson(1.8, t[-1], rng), rng.uniform(6.0, 15.0), rng)


def _blinks(act, t, rng):
    start = rng.uniform(0.2, 1.5)
    _blink(act, t, [start + 0.35 * k for k in range(rng.integers(2, 5))], rng)


def _twist(act, t, rng):
    start, length = rng.uniform(0.2, 1.4), rng.uniform(0.3, 0.9)
    bump = _ease((t - start) / 0.3, 1.0) * (1 - _ease((t - start - length) / 0.3, 1.0))
    for name in rng.choice(
        ['mouthLeft', 'mouthRight', 'mouthPucker', 'jawLeft', 'jawRight', 'cheekPuff'],
        rng.integers(1, 3),
        replace=False,
    ):
        for column in _sides(str(name)):
            _add(act, column, bump * rng.uniform(0.2, 0.7))


def _lips(act, t, rng):
    start, length = rng.uniform(0.2, 1.4), rng.uniform(0.2, 0.7)
    bump = _ease((t - start) / 0.22, 1.0) * (1 - _ease((t - start - length) / 0.25, 1.0))
    for name in ('mouthRollLower', 'mouthRollUpper', 'mouthPress'):
        for column in _sides(name):
            _add(act, column, bump * rng.uniform(0.1, 0.6))


def _still(act, t, rng):
    act.pose = act.pose.mean(axis=0) + 0.08 * (act.pose - act.pose.mean(axis=0))


_NUISANCE = {
    'talk': _talk,
    'nod': _nod,
    'shake': _shake,
    'lean': _lean,
    'gaze': _gaze,
    'blinks': _blinks,
    'twist': _twist,
    'lips': _lips,
    'still': _still,
}


def _blink(act, t, moments, rng):
    for moment in moments:
        close, shut = rng.uniform(0.06, 0.1), rng.uniform(0.02, 0.07)
        opening = rng.uniform(0.13, 0.24)
        depth = 1.05 if rng.random() < 0.85 else rng.uniform(0.4, 0.8)
        lid = _ease((t - moment) / close, 1.0) * (
            1 - _ease((t - moment - close - shut) / opening, 0.8)
        )
        for side in ('_L', '_R'):
            old = act.weights.get('eyeBlink' + side, np.zeros(len(t)))
            act.weights['eyeBlink' + side] = np.maximum(old, depth * lid)


def _look(act, t, moments, reach, rng):
    here = np.zeros(2)
    for moment in moments:
        there = rng.normal(0, 1, 2) * np.array([reach, 0.5 * reach])
        way = _ease((t - moment) / rng.uniform(0.03, 0.06), 1.0)
        act.gaze += way[:, None] * (there - here)
        here = there


def _close(act: Performance):
    """Let lids follow gaze and blinks override what else opens the eyes; bound all weights."""
    gaze = act.gaze = np.clip(act.gaze, (-25.0, -15.0), (25.0, 22.0))
    left, down = gaze[:, 0] / LID_FOLLOWS_DEG, gaze[:, 1] / LID_FOLLOWS_DEG
    for side, outward in (('_L', left), ('_R', -left)):
        _add(act, 'eyeLookOut' + side, np.maximum(outward, 0))
        _add(act, 'eyeLookIn' + side, np.maximum(-outward, 0))
        _add(act, 'eyeLookDown' + side, np.maximum(down, 0))
        _add(act, 'eyeLookUp' + side, np.maximum(-down, 0))
        lid = np.clip(act.weights.get('eyeBlink' + side, np.zeros(len(gaze))), 0, 1.05)
        for name in ('eyeWide', 'eyeLookDown', 'eyeLookUp', 'eyeSquint'):
            column = name + side
            if column in act.weights:
                act.weights[column] = act.weights[column] * (
                    1 - np.minimum(lid, 1) * (0.6 if name == 'eyeSquint' else 1.0)
                )
    for name, values in act.weights.items():
        limit = 0.6 if name == 'jawOpen' else 1.35
        act.weights[name] = np.clip(values, 0.0, limit).astype(np.float32)


def _sides(name: str) -> tuple:
    single = {
        'jawOpen',
        'jawLeft',
        'jawRight',
        'jawForward',
        'mouthFunnel',
        'mouthPucker',
        'mouthLeft',
        'mouthRight',
        'mouthRollLower',
        'mouthRollUpper',
        'mouthShrugLower',
        'mouthShrugUpper',
    }
    return (name,) if name in single else (name + '_L', name + '_R')


def _add(act: Performance, column: str, values: np.ndarray):
    act.weights[column] = act.weights.get(column, 0.0) + values


def _wander(t: np.ndarray, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth random motion, three sines of .1 to 1.2 Hz, of that deviation."""
    waves = [
        np.sin(2 * np.pi * (f * t + rng.random())) / (1 + 2 * f) for f in rng.uniform(0.1, 1.2, 3)
    ]
    return amplitude * np.sum(waves, axis=0)


def _poisson(rate: float, duration: float, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.0, duration, rng.poisson(rate * duration))

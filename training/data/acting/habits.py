"""What heads, eyes and lids do besides: dips and nods, blinks, looks around, breath."""

from dataclasses import replace

import numpy as np

from training.data.acting.action_units import COLUMN
from training.data.acting.curves import ease, moments, pulse, swing
from training.data.acting.timeline import envelope

BLINKS_PER_S = 0.3  # people blink 15 to 20 times a minute
GAZE_SHIFTS_PER_S = 0.5
BREATHS_HZ = (0.2, 0.33)  # 12 to 20 a minute
TIMED_BLINK_SHARE = 0.25  # of onsets and of offsets have a blink of their own
DIP_SHARE, NOD_SHARE = 0.4, 0.12  # of onsets and of offsets
LAUGH_HZ = (4.0, 5.5)  # pulses of a laugh, Bachorowski et al., J. Acoust. Soc. Am. 110, 2001
HEAD_S = 0.7  # at least, for a pose taken or left: a head weighs more than lips; chosen by eye
MOMENT_S = 0.02  # between a head that has risen and one that falls
CALM = 0.1  # what is left of all movement during a long hold

# The head while an expression is held: yaw aside, pitch (down), roll aside in degrees, forward mm.
HEAD_HABITS = {
    'happy': (0.0, 1.0, 2.0, 0.0),
    'surprised': (0.0, -2.5, 0.0, -6.0),
    'angry': (0.0, 2.5, 0.0, 8.0),
    'disgusted': (4.0, -1.0, 1.0, -6.0),
    'sad': (0.0, 5.0, 2.0, 0.0),
    'scared': (1.0, -1.0, 0.0, -10.0),
    'contempt': (1.0, -1.0, 1.0, -3.0),
    'embarrassed': (1.0, 1.0, 1.0, 0.0),
    'proud': (0.0, -1.0, 0.0, -2.0),
}


def move_head(act, t: np.ndarray, rng: np.random.Generator):
    """Move the head as people do who express: a pose held, dips and nods as they begin and end."""
    for segment, own in zip(act.segments, rng.spawn(len(act.segments))):
        held = envelope(t, _slowed(segment), (0.05, 1.0), (0.05, 1.0)) * abs(own.normal(0.0, 1.0))
        yaw, pitch, roll, forward = HEAD_HABITS[segment.expression]
        sides = own.choice([-1, 1], 2)
        turn = np.array([yaw * sides[0], pitch, roll * sides[1]]) + own.normal(0, 1.2, 3)
        faint = 0.2 if segment.micro else 1.0
        act.pose += faint * held[:, None] * turn
        act.head_mm[:, 2] += faint * held * (forward + own.normal(0, 3.0))
        for moment in (segment.onset_start_s, segment.offset_start_s):
            _dip(act, t, moment, faint, own)
        if 'laugh' in segment.recipe:
            length = segment.offset_start_s - segment.onset_start_s
            shake = swing(t, segment.onset_start_s + 0.2, length, own.uniform(*LAUGH_HZ))
            act.pose[:, 1] += own.uniform(0.3, 1.0) * shake
            act.body_mm[:, 1] += own.uniform(0.5, 2.0) * shake


def _slowed(segment):
    """Return a segment that rises and falls no faster than heads do."""
    risen = max(segment.apex_start_s, segment.onset_start_s + HEAD_S)
    return replace(
        segment,
        apex_start_s=min(risen, max(segment.apex_start_s, segment.offset_start_s - MOMENT_S)),
        offset_end_s=max(segment.offset_end_s, segment.offset_start_s + HEAD_S),
    )


def _dip(act, t, moment: float, faint: float, rng: np.random.Generator):
    dips, nods = rng.random(2) < (DIP_SHARE, NOD_SHARE)
    late, width = rng.uniform(0.0, 0.3), rng.uniform(0.12, 0.28)
    depth, lower = rng.normal(2.0, 2.5), rng.uniform(0.0, 3.0)
    size, rate, length = rng.uniform(1.5, 6.0), rng.uniform(1.4, 2.6), rng.uniform(0.4, 0.9)
    if dips:
        dip = faint * pulse(t, moment + late, width)
        act.pose[:, 1] += depth * dip
        act.head_mm[:, 1] -= lower * dip
    if nods:
        act.pose[:, 1] += faint * size * swing(t, moment + late, length, rate)


def blink(act, t: np.ndarray, starts, rng: np.random.Generator):
    """Shut and open both lids at each of these moments, s."""
    for start in starts:
        close, shut = rng.uniform(0.06, 0.1), rng.uniform(0.02, 0.07)
        opening = rng.uniform(0.13, 0.24)
        depth = 1.0 if rng.random() < 0.85 else rng.uniform(0.4, 0.8)
        lid = ease((t - start) / close) * (1 - ease((t - start - close - shut) / opening, 0.8))
        column = act.units[:, COLUMN[45]]
        np.maximum(column, depth * lid[:, None], out=column)


def blink_in_time(act, t: np.ndarray, rng: np.random.Generator):
    """Blink as expressions begin and end."""
    for segment, own in zip(act.segments, rng.spawn(len(act.segments))):
        for moment in (segment.onset_start_s, segment.offset_start_s):
            comes, late = own.random() < TIMED_BLINK_SHARE, own.uniform(-0.05, 0.2)
            blink(act, t, [moment + late] if comes else [], own)


def look_around(act, t: np.ndarray, rng: np.random.Generator):
    """Shift the gaze now and then."""
    look(act, t, moments(GAZE_SHIFTS_PER_S, t[-1], rng), rng.uniform(2.0, 8.0), rng)


def look(act, t: np.ndarray, starts, reach_deg: float, rng: np.random.Generator):
    """Turn the eyes to a new place at each of these moments, s: saccades of 30 to 60 ms."""
    here = np.zeros(2)
    for start in sorted(starts):
        there = rng.normal(0, 1, 2) * np.array([reach_deg, 0.5 * reach_deg])
        way = ease((t - start) / rng.uniform(0.03, 0.06))
        act.gaze += way[:, None] * (there - here)
        here = there


def breathe(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (F, 3) mm of the chest: up and forward, faster in than out."""
    phase = t * rng.uniform(*BREATHS_HZ) + rng.random()
    chest = np.sin(2 * np.pi * phase + 0.5 * np.sin(2 * np.pi * phase))
    return chest[:, None] * np.array([0.0, 1.0, 1.3]) * rng.uniform(0.3, 1.3)


def hold_still(act, t: np.ndarray):
    """Take nearly all movement of head, body and eyes out of long holds."""
    for segment in act.segments:
        if not segment.is_long:
            continue
        inside = (t > segment.apex_start_s + 0.2) & (t < segment.offset_start_s - 0.1)
        slow = np.where(inside, CALM, 1.0)[1:, None]
        for path in (act.pose, act.head_mm, act.body_mm, act.gaze):
            path[1:] = path[0] + np.cumsum(np.diff(path, axis=0) * slow, axis=0)

"""When a clip's expressions come and go."""

from dataclasses import dataclass

import numpy as np

from training.data.acting.curves import ease
from training.data.world import Condition, Ingredients

# Seconds. Sources: KDEF-dyn unfolds in 1.03 s (Calvo et al., Frontiers in Psychology 9, 2018);
# onsets of smiles .25 to .8 s (Schmidt et al., J. Nonverbal Behavior 30, 2006); ADFES: neutral
# for .5 s, then the onset, the apex held (van der Schalk et al., Emotion 11, 2011).
ONSET_S, APEX_S, OFFSET_S, REST_S = (0.25, 0.8), (0.4, 1.2), (0.3, 0.8), (0.25, 0.6)
# Surprise and fear are quick, sadness and pride slow. Sources: Hoffmann et al., Cognition and
# Emotion 24, 2010; Recio et al., Cognition and Emotion 27, 2013; pride: van der Schalk 2011.
PACE = {'surprised': 0.75, 'scared': 0.8, 'sad': 1.35, 'proud': 1.4}
LONG_HOLD_S, LONG_HOLD_SHARE = (3.0, 8.0), 0.08
NEUTRAL_CLIP_S = (2.0, 4.0)
STRAIGHT_SHARE = 0.5  # of neighbours: the second comes as the first goes
GAP_S = (0.2, 1.0)  # stillness between the others
SEQUENCE_S, SEQUENCE_APEX_S = 10.0, 0.9  # at most: sequences, and the apexes in them
# Source: CASME II takes expressions below 0.5 s in all or 0.26 s of onset (Yan et al., PLoS ONE
# 9, 2014, and J. Nonverbal Behavior 37, 2013).
MICRO_S, MICRO_RISE_S, MICRO_REST_S = (0.17, 0.48), 0.25, (0.5, 1.1)
CUT_IN_SHARE, CUT_CLIP_S = 0.12, 1.6  # of expressive clips; what is left of them at least
LEAST_STILL = 0.35  # to which rests and apexes shrink before all else does


@dataclass(frozen=True)
class Segment:
    """One expression on the timeline, s from the clip's start."""

    expression: str
    recipe: str
    onset_start_s: float  # below 0 where the clip starts in its midst
    apex_start_s: float
    offset_start_s: float
    offset_end_s: float
    intensity: float = 1.0
    micro: bool = False

    @property
    def is_long(self) -> bool:
        """Return whether the apex is a long hold."""
        return self.offset_start_s - self.apex_start_s >= LONG_HOLD_S[0]


def draw_timeline(
    expressions: tuple,
    rng: np.random.Generator,
    condition: Condition,
    ingredients: Ingredients,
    duration_s: float | None = None,
) -> tuple:
    """
    Return (list of Segment, duration in s).

    Parameters
    ----------
    expressions : tuple of str
        In order; empty: nothing is shown.
    rng : np.random.Generator
    condition : Condition
    ingredients : Ingredients
    duration_s : float, optional
        What the clip is fitted to: rests grow; rests, apexes, then all else shrink.
    """
    plan, hold, cut = rng.spawn(3)
    if not expressions:
        return [], float(duration_s or plan.uniform(*NEUTRAL_CLIP_S))
    count = len(expressions)
    spans = _micro_spans(count, plan) if condition.micro else _spans(expressions, plan)
    long, length = hold.random() < LONG_HOLD_SHARE, hold.uniform(*LONG_HOLD_S)
    free = count == 1 and not condition.micro and duration_s is None
    if long and free and ingredients.long_holds:
        spans['apex'][0] = length
    if duration_s is not None:
        _fit(spans, float(duration_s))
    elif count > 1 and _walk(expressions, spans, False)[1] > SEQUENCE_S:
        _fit(spans, SEQUENCE_S)
    segments, end = _walk(expressions, spans, condition.micro)
    inside, point = cut.random() < CUT_IN_SHARE, cut.uniform(0.25, 0.9)
    if inside and ingredients.cut_in and not condition.micro:
        first = segments[0]
        gone = first.onset_start_s + point * (first.offset_start_s - first.onset_start_s)
        gone = max(first.onset_start_s + 0.1, min(gone, end - CUT_CLIP_S))
        segments = [_moved(s, -gone) for s in segments]
        end = end if duration_s is not None else end - gone
    return segments, float(end)


def envelope(
    t: np.ndarray,
    segment: Segment,
    rise: tuple = (0.0, 1.0),
    fall: tuple = (0.0, 1.0),
    skew: tuple = (1.0, 1.0),
) -> np.ndarray:
    """
    Return (F,) in 0..1: nothing outside of the segment, 1 during its apex.

    Parameters
    ----------
    t : np.ndarray [shape=(F,), dtype=float]
        Seconds.
    segment : Segment
    rise, fall : tuple of float
        Which part of the onset and of the offset the movement takes.
    skew : tuple of float
        Above 1: the onset (the offset) begins more slowly than it ends.
    """
    onset = (t - segment.onset_start_s) / (segment.apex_start_s - segment.onset_start_s)
    offset = (t - segment.offset_start_s) / (segment.offset_end_s - segment.offset_start_s)
    up = ease((onset - rise[0]) / (rise[1] - rise[0]), skew[0])
    return up * (1.0 - ease((offset - fall[0]) / (fall[1] - fall[0]), skew[1]))


def _spans(expressions: tuple, rng: np.random.Generator) -> dict:
    count = len(expressions)
    pace = np.array([PACE.get(name, 1.0) for name in expressions])
    apex = rng.uniform(*APEX_S, count)
    straight = rng.random(count) < STRAIGHT_SHARE
    return {
        'rise': rng.uniform(*ONSET_S, count) * pace,
        'apex': apex if count == 1 else np.minimum(apex, SEQUENCE_APEX_S),
        'fall': rng.uniform(*OFFSET_S, count),
        'gap': np.where(straight, 0.0, rng.uniform(*GAP_S, count)),
        'rest': rng.uniform(*REST_S, 2),
    }


def _micro_spans(count: int, rng: np.random.Generator) -> dict:
    total = rng.uniform(*MICRO_S, count)
    rise = np.minimum(MICRO_RISE_S, total * rng.uniform(0.3, 0.5, count))
    apex = total * rng.uniform(0.05, 0.2, count)
    return {
        'rise': rise,
        'apex': apex,
        'fall': total - rise - apex,
        'gap': rng.uniform(*GAP_S, count),
        'rest': rng.uniform(*MICRO_REST_S, 2),
    }


def _fit(spans: dict, duration_s: float):
    """Stretch or shrink spans, in place, to a clip of that duration."""
    names = tuple('x' for _ in spans['rise'])
    over = duration_s - _walk(names, spans, False)[1]
    if over >= 0:
        spans['rest'] *= 1.0 + over / spans['rest'].sum()
        return
    still = spans['rest'].sum() + spans['apex'].sum() + spans['gap'][:-1].sum()
    factor = max(LEAST_STILL, 1.0 + over / still)
    for name in ('rest', 'apex', 'gap'):
        spans[name] *= factor
    rest = duration_s / _walk(names, spans, False)[1]
    for name in spans:
        spans[name] *= rest


def _walk(expressions: tuple, spans: dict, micro: bool) -> tuple:
    segments, start = [], float(spans['rest'][0])
    for k, name in enumerate(expressions):
        last = k + 1 == len(expressions)
        straight = not last and spans['gap'][k] == 0.0
        apex = start + float(spans['rise'][k])
        offset = apex + float(spans['apex'][k])
        end = offset + float(spans['rise'][k + 1] if straight else spans['fall'][k])
        segments.append(Segment(name, '', start, apex, offset, end, micro=micro))
        start = offset if straight else end + float(spans['gap'][k])
    return segments, end + float(spans['rest'][1])


def _moved(segment: Segment, by_s: float) -> Segment:
    times = ('onset_start_s', 'apex_start_s', 'offset_start_s', 'offset_end_s')
    return Segment(
        **{**segment.__dict__, **{name: getattr(segment, name) + by_s for name in times}}
    )

"""What a face does in one clip: expressions over time, head, eyes, blinks, speech, hands."""

from dataclasses import dataclass, field, replace

import numpy as np

from training.data.acting import habits
from training.data.acting.action_units import COLUMN, blendshape_weights, reconcile
from training.data.acting.curves import moments, wander
from training.data.acting.expressions import UPPER_FACE, Apex, draw_apex
from training.data.acting.nuisances import NUISANCES, choose_nuisances, swallow
from training.data.acting.timeline import Segment, draw_timeline, envelope
from training.data.world import CONDITIONS, Condition, Ingredients

FRAME_RATE_HZ = 60
SEQUENCE_SHARE = 0.15  # of the expressive clips show more than one expression
SWALLOWS_PER_S = 1 / 60
LID_FOLLOWS_DEG = 30.0  # gaze at which an eyeLook* shape is full
GAZE_LIMIT_DEG = ((-25.0, -15.0), (25.0, 22.0))  # left and down: what eyes do without the head
POSE_LIMIT = 1.9  # deviations
RESTING_UNITS = (1, 4, 7, 12, 15, 24)
LATE_SHARE = 0.2  # of expressions: one half of the face comes after the other
STREAMS = ('rest', 'apex', 'habits', 'nuisances', 'swallow', 'blinks', 'timed_blinks', 'gaze')


@dataclass
class Performance:
    """All that moves in a clip; F frames at FRAME_RATE_HZ."""

    units: np.ndarray  # (F, A, 2) levels in the order of ACTION_UNITS, the person's left first
    gaze: np.ndarray  # (F, 2) degrees: to the person's left, down
    pose: np.ndarray  # (F, 3) degrees: yaw, pitch, roll
    head_mm: np.ndarray  # (F, 3)
    body_mm: np.ndarray  # (F, 3)
    expression: list  # (F,) names: the target; 'neutral' from the start of an offset
    intensity: np.ndarray  # (F,) 0..1 of the expression shown or left
    weights: dict = field(default_factory=dict)  # blendshape -> (F,) float32
    segments: list = field(default_factory=list)
    nuisances: list = field(default_factory=list)
    hands: list = field(default_factory=list)  # of training.data.acting.hands.Hand

    def __len__(self):
        return len(self.pose)

    @property
    def action_units(self) -> np.ndarray:
        """Return float32 (F, A) levels 0..1: of the stronger side, as FACS scores them."""
        return self.units.max(axis=2).astype(np.float32)

    def add(self, number: int, values, side: int | None = None):
        """Add to the level of a unit, of one side (0: left) or both."""
        if side is None:
            self.units[:, COLUMN[number]] += np.asarray(values)[:, None]
        else:
            self.units[:, COLUMN[number], side] += values


def perform(
    expressions: tuple,
    rng: np.random.Generator,
    condition: Condition = CONDITIONS['standard'],
    ingredients: Ingredients = Ingredients(),
    duration_s: float | None = None,
) -> Performance:
    """
    Return a clip's performance.

    Parameters
    ----------
    expressions : tuple of str
        Out of `training.data.world.ACTED`, shown one after the other; none ('neutral' is none):
        a neutral clip with near misses.
    rng : np.random.Generator
        An ingredient that is left out changes nothing but what it names.
    condition : Condition
    ingredients : Ingredients
    duration_s : float, optional
        Without: 2 to 4 s for one expression, up to 10 s for several, more for long holds.
    """
    when, which, play = rng.spawn(3)
    expressions = tuple(name for name in expressions if name != 'neutral')
    segments, duration = draw_timeline(expressions, when, condition, ingredients, duration_s)
    nuisances = choose_nuisances(expressions, which, condition, ingredients)
    if any(segment.is_long for segment in segments):
        nuisances = []
    return act_out(segments, duration, nuisances, play, condition, ingredients)


def act_out(
    segments: list,
    duration_s: float,
    nuisances: list,
    rng: np.random.Generator,
    condition: Condition = CONDITIONS['standard'],
    ingredients: Ingredients = Ingredients(),
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
    condition : Condition
    ingredients : Ingredients
    """
    t = np.arange(int(round(duration_s * FRAME_RATE_HZ))) / FRAME_RATE_HZ
    draw = dict(zip(STREAMS, rng.spawn(len(STREAMS))))
    act = _rest(t, draw['rest'], condition)
    for segment, own in zip(segments, draw['apex'].spawn(len(segments))):
        apex = draw_apex(segment.expression, own, ingredients.free_recipes, segment.micro)
        _show(act, t, segment, apex, own)
    if ingredients.head_habits:
        habits.move_head(act, t, draw['habits'])
    act.nuisances = list(nuisances)
    for name, own in zip(NUISANCES, draw['nuisances'].spawn(len(NUISANCES))):
        if name in nuisances:
            NUISANCES[name](act, t, own)
    for moment in moments(SWALLOWS_PER_S, t[-1], draw['swallow']):
        swallow(act, t, draw['swallow'], moment)
    habits.blink(act, t, moments(habits.BLINKS_PER_S, t[-1], draw['blinks']), draw['blinks'])
    if ingredients.timed_blinks:
        habits.blink_in_time(act, t, draw['timed_blinks'])
    habits.look_around(act, t, draw['gaze'])
    habits.hold_still(act, t)
    _finish(act)
    return act


def _rest(t: np.ndarray, rng: np.random.Generator, condition: Condition) -> Performance:
    """Return a neutral face whose head drifts and whose chest breathes."""
    count = len(t)
    still = 0.1 if rng.random() < 0.4 else float(rng.uniform(0.2, 1.0))
    spread = np.array(condition.pose_deg)
    base = np.clip(rng.normal(0.0, spread), -POSE_LIMIT * spread, POSE_LIMIT * spread)
    if condition.micro:
        still = min(still, 0.15)  # CASME II: people told to keep their faces still
    pose = base + still * np.stack([wander(t, a, rng) for a in (2.2, 1.4, 0.9)], axis=-1)
    body = still * np.stack([wander(t, a, rng) for a in (2.5, 1.5, 2.5)], axis=-1)
    body += habits.breathe(t, rng)
    head = 0.8 * body + still * np.stack([wander(t, a, rng) for a in (1.0, 0.7, 1.5)], axis=-1)
    gaze = np.zeros((count, 2)) + rng.normal(0, 3, 2)
    act = Performance(
        np.zeros((count, len(COLUMN), 2)),
        gaze,
        pose,
        head,
        body,
        ['neutral'] * count,
        np.zeros(count),
    )
    for number in RESTING_UNITS:  # faces at rest differ
        level = abs(rng.normal(0, 0.05))
        for side in (0, 1):
            act.add(number, level * rng.uniform(0.8, 1.2) + 0.01 * wander(t, 1.0, rng), side)
    return act


def _show(act: Performance, t: np.ndarray, segment: Segment, apex: Apex, rng: np.random.Generator):
    """Add an expression: each unit in its own time within the segment."""
    act.segments.append(
        replace(segment, recipe=apex.recipe, intensity=apex.intensity, expression=apex.expression)
    )
    skew = rng.uniform(0.75, 1.4, 2)
    whole = envelope(t, segment, skew=tuple(skew))
    fade = rng.uniform(-0.05, 0.15)  # an apex sags a little, or grows
    length = max(0.1, segment.offset_start_s - segment.apex_start_s)
    hold = 1 - fade * np.clip((t - segment.apex_start_s) / length, 0, 1)
    late = rng.uniform(0.2, 0.45) * (rng.random() < LATE_SHARE)
    late_upper = rng.random() < 0.5
    upper = {COLUMN[n] for n in UPPER_FACE}
    for k, levels in enumerate(apex.levels):  # the same draws whatever the recipe
        lag = np.abs(rng.normal(0.0, 0.06, 2)) + late * ((k in upper) == late_upper)
        done, apart = rng.uniform(0.8, 1.0, 2), np.abs(rng.normal(0.0, 0.02, 2))
        bend, tremor = rng.uniform(0.9, 1.1, 2) * skew, 0.02 * wander(t, 1.0, rng)
        for side in np.flatnonzero(levels):
            begun = np.minimum(0.6, lag + apart[side])
            shown = envelope(t, segment, (begun[0], done[0]), (begun[1], done[1]), tuple(bend))
            act.units[:, k, side] += levels[side] * shown * (hold + tremor)
    act.gaze += apex.gaze_deg * whole[:, None]
    turn = envelope(t, segment, (0.0, 1.0), (0.15, 1.0))[:, None]
    act.pose += apex.head_deg * turn
    swell = apex.chest_mm * turn * np.array([0.0, 0.6, 0.8])
    act.body_mm += swell
    act.head_mm += 0.7 * swell
    # A second expression that takes over while the first leaves is the target from its onset on.
    since = t >= segment.onset_start_s
    for k in np.flatnonzero(since & (t < segment.offset_start_s)):
        act.expression[k] = segment.expression
    act.intensity = np.where(since, whole * min(1.0, apex.intensity), act.intensity)


def _finish(act: Performance):
    """Turn the gaze into units, make all units agree, draw them with blendshapes."""
    act.gaze = np.clip(act.gaze, *GAZE_LIMIT_DEG)
    left, down = (act.gaze / LID_FOLLOWS_DEG).T
    for number, value in ((61, left), (62, -left), (63, -down), (64, down)):
        act.add(number, np.maximum(value, 0.0))
    act.units = reconcile(act.units)
    act.weights = blendshape_weights(act.units)

"""Hands that come before the face: where the palm is."""

from dataclasses import dataclass

import numpy as np

from training.data.acting.curves import bump, ease, wander

AWAY_MM = (180.0, -650.0, 60.0)  # aside, up, forward: below any picture
REACH_S = (0.4, 0.75)  # reaching for the own face takes about half a second
# Places of the palm's centre when the fingers are at the mouth, an eye, and so on: aside (to the
# hand's own side), up, forward from the middle of the face. Eyes are at (31, 36, 86), the mouth
# at (0, -35, 115), the chin at (0, -76, 104).
MOUTH_MM, EYE_MM, CHIN_MM, CHEEK_MM, NOSE_MM = (
    (14.0, -48.0, 140.0),
    (52.0, -18.0, 128.0),
    (22.0, -118.0, 122.0),
    (88.0, -38.0, 92.0),
    (22.0, -62.0, 150.0),
)


@dataclass
class Hand:
    """A hand before the face; NaN while it is out of sight."""

    mm: np.ndarray  # (F, 3) of the palm's centre in head axes, from the middle of the face
    roll_deg: np.ndarray  # (F,) where the fingers point: 0 up, 90 to the person's left
    left: bool  # whether it is the person's left hand


def over_mouth(act, t: np.ndarray, rng: np.random.Generator):
    """Cover the mouth: in laughter, shyness or fright, or while yawning or coughing."""
    shown = act.segments[0] if act.segments else None
    begin = shown.apex_start_s - 0.3 if shown else rng.uniform(0.2, 1.0)
    stay = rng.uniform(0.5, 1.4)
    _reach(act, t, rng, MOUTH_MM, begin, stay, -62.0, shake_mm=(2.0, 2.0, 1.0))


def rub_eye(act, t: np.ndarray, rng: np.random.Generator):
    """Rub one eye, which is shut meanwhile."""
    begin, stay = rng.uniform(0.2, 0.9), rng.uniform(0.7, 1.5)
    left = _reach(act, t, rng, EYE_MM, begin, stay, -25.0, (3.5, 2.5, 0.0), rng.uniform(2.5, 4.0))
    side = 0 if left else 1
    lid = bump(t, begin + 0.25, 0.2, stay + 0.1, 0.25)
    act.add(43, 0.95 * lid, side)
    act.add(4, 0.3 * lid, side)
    act.add(6, 0.35 * lid, side)
    act.add(43, rng.uniform(0.0, 0.6) * lid, 1 - side)


def support_chin(act, t: np.ndarray, rng: np.random.Generator):
    """Rest the chin or the cheek on a hand, often from before the clip to its end."""
    place = CHIN_MM if rng.random() < 0.5 else CHEEK_MM
    begin = rng.uniform(0.2, 0.8) if rng.random() < 0.4 else -1.0
    stay = 2.0 * t[-1] if rng.random() < 0.7 else rng.uniform(1.0, 2.0)
    _reach(act, t, rng, place, begin, stay, 8.0, (0.6, 0.6, 0.6))


def scratch(act, t: np.ndarray, rng: np.random.Generator):
    """Scratch cheek or nose."""
    place = CHEEK_MM if rng.random() < 0.5 else NOSE_MM
    begin, stay = rng.uniform(0.2, 1.0), rng.uniform(0.5, 1.1)
    _reach(act, t, rng, place, begin, stay, -20.0, (2.0, 5.0, 1.0), rng.uniform(3.0, 5.0))


def pass_by(act, t: np.ndarray, rng: np.random.Generator):
    """Let a hand swing through before the face: a gesture, a wave."""
    middle, length = rng.uniform(0.3, max(0.4, t[-1] - 0.3)), rng.uniform(0.7, 1.3)
    left = bool(rng.integers(2))
    side = 1.0 if left else -1.0
    way = (t - middle) / length + 0.5
    top = np.array([rng.uniform(-40, 60), rng.uniform(-40, 60), rng.uniform(150, 220)])
    low, far = np.array(AWAY_MM), np.array([-260.0, -600.0, 120.0])
    u = ease(way)[:, None]
    path = (1 - u) ** 2 * low + 2 * u * (1 - u) * (2 * top - 0.5 * (low + far)) + u**2 * far
    roll = -side * (40.0 - 80.0 * u[:, 0]) + rng.normal(0, 15)
    _keep(act, path * [side, 1.0, 1.0], roll, (way >= 0.0) & (way <= 1.0), left)


def _reach(
    act,
    t: np.ndarray,
    rng: np.random.Generator,
    place_mm: tuple,
    begin_s: float,
    stay_s: float,
    lean_deg: float,
    shake_mm: tuple = (0.0, 0.0, 0.0),
    rate_hz: float = 0.0,
) -> bool:
    """Add a hand that comes from `begin_s` on, stays, goes; return whether it is the left."""
    left = bool(rng.integers(2))
    side = 1.0 if left else -1.0
    come, go = rng.uniform(*REACH_S, 2)
    near = bump(t, begin_s, come, stay_s, go)[:, None]
    place = np.array(place_mm) + rng.normal(0.0, (5.0, 5.0, 2.0))
    swing = np.sin(2 * np.pi * rate_hz * t) if rate_hz else wander(t, 1.0, rng)
    path = (1 - near) * np.array(AWAY_MM) + near * (place + swing[:, None] * np.array(shake_mm))
    # The hand comes in from the front, so that it never cuts through chin and cheek.
    path[:, 2] += 70.0 * (near * (1 - near) * 4)[:, 0]
    roll = side * (lean_deg + rng.normal(0, 8)) * near[:, 0]
    seen = (t >= begin_s) & (t <= begin_s + come + stay_s + go)
    _keep(act, path * [side, 1.0, 1.0], roll, seen, left)
    return left


def _keep(act, path: np.ndarray, roll: np.ndarray, seen: np.ndarray, left: bool):
    mm = np.where(seen[:, None], path, np.nan).astype(np.float32)
    act.hands.append(Hand(mm, np.where(seen, roll, np.nan).astype(np.float32), left))


HANDS = {
    'hand passes': pass_by,
    'hand over mouth': over_mouth,
    'rubs eye': rub_eye,
    'chin on hand': support_chin,
    'scratches': scratch,
}

"""Near misses: what moves a face and is no emotion."""

import numpy as np

from training.data.acting.curves import bump, ease, moments, pulse, swing, wander
from training.data.acting.habits import blink, look
from training.data.acting.hands import HANDS
from training.data.world import Condition, Ingredients

SYLLABLES_S = (0.14, 0.3)  # between two; people say 3 to 6 a second
CHEWS_HZ = (1.1, 1.9)
QUIET = 0.7  # how much a held expression keeps the mouth from playing


def _mouth(act) -> np.ndarray:
    """Return (F,) how free the mouth is: less while an expression is shown."""
    return 1.0 - QUIET * act.intensity


def talk(act, t, rng):
    """Speak, mostly to the clip's end."""
    stop = t[-1] - rng.uniform(0.0, 0.8) if rng.random() < 0.6 else t[-1] + 0.3
    _speak(act, t, rng, rng.uniform(0.0, 0.6), stop)


def talk_after(act, t, rng):
    """Speak from the end of the last expression on."""
    start = act.segments[-1].offset_start_s if act.segments else 0.3 * t[-1]
    _speak(act, t, rng, start + rng.uniform(0.0, 0.3), t[-1] + 0.3)


def _speak(act, t, rng, start: float, stop: float):
    """Say syllables: the jaw opens for vowels, lips round, spread or shut between."""
    free = _mouth(act) * ease((t - start) / 0.15) * rng.uniform(0.6, 1.2)
    moment = start
    while moment < stop:
        width = 0.45 * rng.uniform(0.1, 0.24)
        vowel = free * pulse(t, moment, width)
        shape, depth = int(rng.choice([18, 20, 22, 16, 25, 12])), rng.uniform(0.1, 0.6)
        act.add(26, vowel * rng.uniform(0.1, 0.75))
        act.add(25, vowel * rng.uniform(0.2, 0.7))
        act.add(shape, vowel * depth * (0.4 if shape == 12 else 1.0))
        step = rng.uniform(*SYLLABLES_S) + (rng.random() < 0.1) * rng.uniform(0.1, 0.4)
        closure = free * pulse(t, moment + 0.5 * step, 0.035)
        act.add(int(rng.choice([24, 28, 10])), closure * rng.uniform(0.0, 0.55))
        moment += step
    for axis in (0, 1):
        act.pose[:, axis] += 0.8 * wander(t, 1.0, rng) * free


def speak_with_brows(act, t, rng):
    """Speak, and stress words with raised brows."""
    talk(act, t, rng)
    for start in rng.uniform(0.2, max(0.3, t[-1] - 0.6), rng.integers(1, 4)):
        up = bump(t, start, rng.uniform(0.12, 0.25), rng.uniform(0.05, 0.6), 0.25)
        one = rng.random() < 0.25
        for number in (1, 2):
            act.add(number, up * rng.uniform(0.4, 0.9), int(rng.integers(2)) if one else None)


def yawn(act, t, rng):
    """Yawn: the jaw sinks slowly, the eyes shut at the widest, the head goes back."""
    length = min(float(rng.uniform(2.2, 3.6)), 0.92 * t[-1])
    start = rng.uniform(0.0, t[-1] - length)
    wide = bump(t, start, 0.45 * length, 0.2 * length, 0.3 * length) * _mouth(act)
    late = np.clip(1.6 * wide - 0.6, 0.0, 1.0)
    act.add(27, rng.uniform(0.8, 1.0) * wide)
    act.add(25, 0.3 * wide)
    act.add(43, rng.uniform(0.6, 1.0) * late)
    for number, level in ((4, 0.25), (6, 0.4), (7, 0.4), (1, 0.25)):
        act.add(number, rng.uniform(0.3, 1.0) * level * late)
    act.pose[:, 1] -= rng.uniform(2.0, 9.0) * wide


def squint(act, t, rng):
    """Squint, as against the light."""
    lid = bump(t, rng.uniform(0.1, 1.0), rng.uniform(0.15, 0.35), rng.uniform(0.5, 2.0), 0.35)
    for number, least, most in ((7, 0.6, 1.0), (6, 0.2, 0.6), (4, 0.2, 0.55), (9, 0.0, 0.2)):
        act.add(number, rng.uniform(least, most) * lid)


def cough(act, t, rng):
    """Cough two or three times: the head jerks, the eyes narrow, the lips part."""
    start = rng.uniform(0.2, 0.9)
    for k in range(int(rng.integers(2, 4))):
        burst = bump(t, start + k * rng.uniform(0.32, 0.42), 0.07, 0.04, 0.18)
        act.pose[:, 1] += rng.uniform(2.0, 6.0) * burst
        act.head_mm += burst[:, None] * [0.0, -2.0, rng.uniform(2.0, 6.0)]
        act.body_mm[:, 1] -= rng.uniform(1.0, 4.0) * burst
        for number, level in ((26, 0.7), (22, 0.3), (43, 0.6), (6, 0.4), (4, 0.25)):
            act.add(number, rng.uniform(0.6, 1.0) * level * burst)


def sneeze(act, t, rng):
    """Sneeze: brows rise and the mouth opens slowly, then all shuts with a jerk of the head."""
    start, wait = rng.uniform(0.1, 0.6), rng.uniform(0.5, 0.9)
    before = bump(t, start, wait, 0.05, 0.08)
    burst = bump(t, start + wait, 0.08, 0.1, 0.4)
    for number, level in ((1, 0.5), (26, 0.8), (43, 0.6), (10, 0.3), (9, 0.2)):
        act.add(number, rng.uniform(0.7, 1.0) * level * before)
    for number, level in ((43, 1.0), (9, 0.7), (4, 0.6), (6, 0.7), (17, 0.4), (20, 0.4)):
        act.add(number, rng.uniform(0.7, 1.0) * level * burst)
    act.pose[:, 1] += rng.uniform(6.0, 14.0) * burst - rng.uniform(2.0, 6.0) * before


def lick(act, t, rng):
    """Lick or wet the lips: they part, then tuck in one after the other."""
    start = rng.uniform(0.2, 1.4)
    act.add(25, 0.5 * bump(t, start, 0.15, 0.3, 0.2))
    act.add(26, rng.uniform(0.1, 0.35) * bump(t, start, 0.15, 0.2, 0.2))
    act.add(28, rng.uniform(0.5, 0.9) * bump(t, start + 0.3, 0.2, rng.uniform(0.05, 0.3), 0.25))
    act.add(30, rng.uniform(0.0, 0.3) * pulse(t, start + 0.3, 0.12), int(rng.integers(2)))


def swallow(act, t, rng, start: float | None = None):
    """Swallow: lips and jaw shut, the chin rises, the head gives a little."""
    start = rng.uniform(0.2, 1.4) if start is None else start
    gulp = bump(t, start, 0.2, 0.15, 0.3)
    act.add(24, rng.uniform(0.15, 0.4) * gulp)
    act.add(17, rng.uniform(0.15, 0.4) * gulp)
    act.pose[:, 1] += rng.uniform(0.3, 1.8) * gulp


def press_lips(act, t, rng):
    """Press or suck the lips."""
    tight = bump(t, rng.uniform(0.2, 1.4), 0.22, rng.uniform(0.2, 0.7), 0.25) * _mouth(act)
    act.add(int(rng.choice([23, 24, 28])), rng.uniform(0.3, 0.9) * tight)
    act.add(14, rng.uniform(0.0, 0.5) * tight)


def nod(act, t, rng):
    """Nod yes."""
    move = swing(t, rng.uniform(0.1, 1.2), rng.uniform(0.7, 1.7), rng.uniform(1.2, 2.6))
    act.pose[:, 1] += rng.uniform(2.5, 9.0) * move


def shake(act, t, rng):
    """Shake the head."""
    move = swing(t, rng.uniform(0.1, 1.2), rng.uniform(0.7, 1.7), rng.uniform(1.0, 2.4))
    act.pose[:, 0] += rng.uniform(3.0, 10.0) * move


def lean(act, t, rng):
    """Lean to another place and look from there."""
    way = ease((t - rng.uniform(0.1, 1.2)) / rng.uniform(0.5, 1.4))[:, None]
    move = np.array([rng.normal(0, 12), rng.normal(0, 6), rng.normal(0, 30)])
    act.head_mm += way * move
    act.body_mm += way * move
    act.pose += way * rng.normal(0.0, (6.0, 4.0, 3.0))


def glance(act, t, rng):
    """Look here and there, far."""
    look(act, t, moments(1.8, t[-1], rng), rng.uniform(6.0, 15.0), rng)


def flutter(act, t, rng):
    """Blink several times in a row."""
    start = rng.uniform(0.2, 1.5)
    blink(act, t, [start + 0.35 * k for k in range(int(rng.integers(2, 5)))], rng)


def keep_still(act, t, rng):
    """Hardly move the head."""
    for path in (act.pose, act.head_mm, act.body_mm):
        path[:] = path.mean(axis=0) + 0.08 * (path - path.mean(axis=0))


def push_sideways(act, t, rng):
    """Push the mouth to one side."""
    side = int(rng.integers(2))
    pushed = bump(t, rng.uniform(0.1, 1.4), rng.uniform(0.15, 0.35), rng.uniform(0.2, 0.9), 0.3)
    pushed = pushed * _mouth(act)
    act.add(30, rng.uniform(0.5, 1.0) * pushed, side)
    act.add(18, rng.uniform(0.0, 0.6) * pushed)
    act.add(14, rng.uniform(0.0, 0.5) * pushed, side)


def pucker(act, t, rng):
    """Pucker the lips, or puff the cheeks with them."""
    shut = bump(t, rng.uniform(0.1, 1.4), rng.uniform(0.15, 0.35), rng.uniform(0.2, 0.9), 0.3)
    shut = shut * _mouth(act)
    act.add(int(rng.choice([18, 22])), rng.uniform(0.6, 1.0) * shut)
    act.add(34, rng.uniform(0.3, 0.9) * (rng.random() < 0.3) * shut)
    act.add(17, rng.uniform(0.0, 0.3) * shut)


def chew(act, t, rng):
    """Chew with shut lips: the jaw goes round."""
    rate, phase = rng.uniform(*CHEWS_HZ), rng.random()
    inside = bump(t, rng.uniform(-0.5, 0.5), 0.25, rng.uniform(1.2, 4.0), 0.3) * _mouth(act)
    turn = 2 * np.pi * (rate * t + phase)
    act.add(26, rng.uniform(0.35, 0.7) * inside * 0.5 * (1 - np.cos(turn)))
    act.add(8, ease(2.5 * inside))
    aside, favourite = rng.uniform(0.1, 0.35) * inside, int(rng.integers(2))
    act.add(30, aside * np.maximum(np.sin(turn), 0.0), favourite)
    act.add(30, 0.5 * aside * np.maximum(-np.sin(turn), 0.0), 1 - favourite)
    act.add(34, rng.uniform(0.0, 0.4) * inside * (0.6 + 0.4 * np.sin(turn)), favourite)
    act.add(24, rng.uniform(0.05, 0.25) * inside * 0.5 * (1 + np.cos(turn)))


# Shares among neutral clips, then among expressive ones.
_PLAIN = {
    'talk': (talk, 0.18, 0.08),
    'speak with brows': (speak_with_brows, 0.1, 0.0),
    'yawn': (yawn, 0.07, 0.0),
    'squint': (squint, 0.08, 0.0),
    'cough': (cough, 0.05, 0.0),
    'sneeze': (sneeze, 0.04, 0.0),
    'lick lips': (lick, 0.06, 0.01),
    'swallow': (swallow, 0.03, 0.01),
    'press lips': (press_lips, 0.06, 0.01),
    'nod': (nod, 0.09, 0.04),
    'shake': (shake, 0.07, 0.02),
    'lean': (lean, 0.06, 0.03),
    'glance': (glance, 0.06, 0.04),
    'flutter': (flutter, 0.05, 0.0),
    'still': (keep_still, 0.0, 0.06),
}
_PLAY = {
    'mouth sideways': (push_sideways, 0.08, 0.03),
    'pucker': (pucker, 0.08, 0.03),
    'chew': (chew, 0.1, 0.03),
    'talk after': (talk_after, 0.0, 0.08),
}
_HAND_SHARES = {
    'hand passes': (0.05, 0.03),
    'hand over mouth': (0.02, 0.03),
    'rubs eye': (0.05, 0.0),
    'chin on hand': (0.04, 0.03),
    'scratches': (0.05, 0.01),
}
NUISANCES = {name: function for name, (function, _, _) in {**_PLAIN, **_PLAY}.items()}
NUISANCES.update(HANDS)
MOUTH_PLAY = tuple(_PLAY)
MICRO_NUISANCES = ('swallow', 'press lips', 'glance', 'flutter', 'squint')
HIDE_BEHIND_HANDS = {'happy', 'embarrassed', 'surprised', 'scared'}  # Keltner 1995: face touch
OCCLUDED_SHARE = 0.5  # of clips with the condition occlusion have a hand before the face


def choose_nuisances(
    expressions: tuple, rng: np.random.Generator, condition: Condition, ingredients: Ingredients
) -> list:
    """Return names out of NUISANCES: at least one for a neutral clip, few beside expressions."""
    plain, play, hands = rng.spawn(3)
    if condition.micro:  # people who keep their faces still
        return [] if expressions else [str(plain.choice(MICRO_NUISANCES))]
    kind = 1 if expressions else 0
    chosen = _pick(_PLAIN, kind, plain, 1.0 if kind == 0 else None)
    if kind == 0:
        for share in (0.5, 0.15):
            chosen += [n for n in _pick(_PLAIN, kind, plain, share) if n not in chosen]
    played = _pick(_PLAY, kind, play, None)
    shares = {name: (None,) + both for name, both in _HAND_SHARES.items()}
    if not HIDE_BEHIND_HANDS.intersection(expressions):
        shares['hand over mouth'] = (None, 0.02, 0.0)
    shown = _pick(shares, kind, hands, OCCLUDED_SHARE if condition.occlusion else None)
    return chosen + played * ingredients.mouth_play + shown * ingredients.hands


def _pick(shares: dict, kind: int, rng: np.random.Generator, chance: float | None) -> list:
    """Return one name or none; without a chance, the shares themselves say how often."""
    weights = np.array([row[1 + kind] for row in shares.values()])
    point, name = rng.random(), str(rng.choice(list(shares), p=weights / weights.sum()))
    return [name] if point < (weights.sum() if chance is None else chance) else []

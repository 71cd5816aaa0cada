"""One person's one way to show an expression: recipes, varied."""

from typing import NamedTuple

import numpy as np

from training.data.acting.action_units import COLUMN
from training.data.acting.recipes import BLENDS, RECIPES, Recipe

BLEND_SHARE, BLEND_LEVEL = 0.12, (0.25, 0.45)
UPPER_FACE = (1, 2, 4, 5, 6, 7, 9)
MICRO_UNITS = 3  # at most, of a micro-expression: most in CASME II show one or two
INTENSITY = (0.88, 0.17, 0.45, 1.1)  # mean, deviation, least, most: FACS C to E
MICRO_INTENSITY = (0.15, 0.45)  # traces: FACS A to B


class Apex(NamedTuple):
    """One person's one way to show an expression; levels within 0..1."""

    expression: str
    recipe: str
    intensity: float
    levels: np.ndarray  # (A, 2), the person's left side first
    gaze_deg: np.ndarray  # (2,) to the person's left, down
    head_deg: np.ndarray  # (3,) yaw, pitch, roll
    chest_mm: float


def draw_apex(
    expression: str, rng: np.random.Generator, free_recipes: bool = True, micro: bool = False
) -> Apex:
    """
    Return a varied expression.

    Parameters
    ----------
    expression : str
        One of `training.data.world.ACTED`.
    rng : np.random.Generator
        What is drawn of it does not depend on the other arguments.
    free_recipes : bool
        Whether to draw of the recipes that no textbook has, too.
    micro : bool
        Few units, barely moved.

    Raises
    ------
    ValueError
        If no recipe shows that expression.
    """
    choice, other, size, people = rng.spawn(4)
    way = _choose(expression, choice, free_recipes)
    mean, deviation, least, most = INTENSITY
    intensity = float(np.clip(size.normal(mean, deviation), least, most))
    faint = float(size.uniform(*MICRO_INTENSITY))
    levels = _people(way, people)
    if micro:
        few = _few(levels, way, people) * faint
        return Apex(expression, way.name + ', micro', faint, few, np.zeros(2), np.zeros(3), 0.0)
    name = way.name + _blend(levels, expression, other)
    side = float(people.choice([-1.0, 1.0]))
    turn = np.array([side, 1.0, side]) * people.uniform(0.6, 1.3)
    return Apex(
        expression,
        name,
        intensity,
        np.clip(levels * intensity, 0.0, 1.0),
        np.array(way.gaze_deg) * [side, 1.0] * people.uniform(0.5, 1.3),
        np.array(way.head_deg) * turn * intensity,
        way.chest_mm * intensity * float(people.uniform(0.6, 1.3)),
    )


def _choose(expression: str, rng: np.random.Generator, free_recipes: bool) -> Recipe:
    ways = [r for r in RECIPES if r.expression == expression]
    if not ways:
        raise ValueError('there is no recipe for {!r}'.format(expression))
    way = ways[int(rng.choice(len(ways), p=[w.share for w in ways]))]
    if not way.free or free_recipes:
        return way
    book = [w for w in ways if not w.free]
    shares = np.array([w.share for w in book])
    return book[int(rng.choice(len(book), p=shares / shares.sum()))]


def _blend(levels: np.ndarray, expression: str, rng: np.random.Generator) -> str:
    """Mix a little of one half of another face in, in place, for some; return its name."""
    comes, upper, level = rng.random(), rng.random() < 0.6, rng.uniform(*BLEND_LEVEL)
    if comes >= BLEND_SHARE or expression not in BLENDS:
        return ''
    mate = _choose(str(rng.choice(BLENDS[expression])), rng, False)
    rows = [COLUMN[n] for n in mate.units if (n in UPPER_FACE) == upper]
    levels[rows] = np.maximum(levels[rows], level * _levels(mate, 0)[rows])
    return '; some {}'.format(mate.expression)


def _levels(way: Recipe, weak_side: int) -> np.ndarray:
    levels = np.zeros((len(COLUMN), 2))
    for number, level in way.units.items():
        levels[COLUMN[number]] = level
        if number in way.one_sided:
            levels[COLUMN[number], weak_side] = 0.0
    return levels


def _people(way: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Return a recipe's levels, varied; the same draws whatever the recipe."""
    levels = _levels(way, int(rng.integers(2)))
    count = len(levels)
    crooked = 0.28 if rng.random() < 0.08 else 0.07
    lean = rng.normal(0.0, crooked)  # one side of the face is the stronger one
    gain = np.clip(rng.normal(1.0, 0.16, count), 0.55, 1.45)
    out = rng.random(count) < 0.05  # people leave single units out, yet not those that define it
    out[[COLUMN[n] for n in list(way.units)[:2]]] = False
    gain[out] *= 0.3
    sides = np.clip(rng.normal(1.0, 0.06, (count, 2)), 0.8, 1.2) * [1 + lean, 1 - lean]
    return levels * gain[:, None] * sides


def _few(levels: np.ndarray, way: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Return levels of the one, two or three first units of a recipe."""
    kept = list(way.units)[: int(rng.integers(1, MICRO_UNITS + 1))]
    few = np.zeros_like(levels)
    rows = [COLUMN[n] for n in kept]
    few[rows] = levels[rows]
    return few

"""The seven basic expressions as recipes of blendshapes."""

from typing import NamedTuple

import numpy as np

MAX_WEIGHT = 1.35  # browDown needs more than 1 to read as anger; the mesh stays clean up to here
JAW_LIMIT = 0.6  # jawOpen is 42 mm at weight 1


class Recipe(NamedTuple):
    """Apex weights of one way to show an expression; names without side set both."""

    expression: str
    name: str
    share: float  # how often this way is drawn within its expression
    weights: dict
    gaze_down_deg: float = 0.0


# Source: EMFACS and FACS (Ekman, Friesen, Hager, Facial Action Coding System, 2002, prototypes
# and major variants of table 10-1), Du, Tao, Martinez, PNAS 111, 2014 (which units people use).
# Units to ARKit names: 1 browInnerUp, 2 browOuterUp, 4 browDown, 5 eyeWide, 6 cheekSquint,
# 7 eyeSquint, 9 noseSneer, 10 mouthUpperUp, 12 mouthSmile, 14 mouthDimple, 15 mouthFrown,
# 16 mouthLowerDown, 17 mouthShrugLower, 20 mouthStretch, 22 mouthFunnel, 23/24 mouthPress,
# 25/26/27 jawOpen. mouthClose is a corrective, never an expression of its own.
RECIPES = (
    Recipe('neutral', 'rest', 1.0, {}),
    Recipe(
        'happy',
        'smile, 6+12+25',
        0.4,
        {
            'mouthSmile': 0.9,
            'cheekSquint': 0.7,
            'mouthUpperUp': 0.3,
            'mouthLowerDown': 0.25,
            'jawOpen': 0.1,
            'eyeSquint': 0.25,
        },
    ),
    Recipe(
        'happy',
        'closed smile, 6+12+14',
        0.25,
        {'mouthSmile': 0.85, 'cheekSquint': 0.5, 'mouthDimple': 0.3, 'eyeSquint': 0.2},
    ),
    Recipe(
        'happy',
        'laugh, 6+12+26',
        0.2,
        {
            'mouthSmile': 1.0,
            'cheekSquint': 0.9,
            'mouthUpperUp': 0.5,
            'mouthLowerDown': 0.4,
            'jawOpen': 0.3,
            'eyeSquint': 0.45,
        },
    ),
    Recipe(
        'happy',
        'smile with raised brows, 1+2+12',
        0.15,
        {
            'mouthSmile': 0.9,
            'cheekSquint': 0.4,
            'mouthUpperUp': 0.3,
            'mouthLowerDown': 0.2,
            'jawOpen': 0.15,
            'browInnerUp': 0.35,
            'browOuterUp': 0.4,
        },
    ),
    Recipe(
        'surprised',
        '1+2+5+26',
        0.55,
        {'browInnerUp': 0.9, 'browOuterUp': 0.95, 'eyeWide': 0.9, 'jawOpen': 0.48},
    ),
    Recipe(
        'surprised',
        'rounded mouth, 1+2+5+22+26',
        0.2,
        {
            'browInnerUp': 0.9,
            'browOuterUp': 0.9,
            'eyeWide': 0.8,
            'jawOpen': 0.38,
            'mouthFunnel': 0.4,
        },
    ),
    Recipe(
        'surprised',
        'brows first, 1+2+5+25',
        0.25,
        {'browInnerUp': 1.0, 'browOuterUp': 1.0, 'eyeWide': 0.8, 'jawOpen': 0.15},
    ),
    Recipe(
        'angry',
        'pressed lips, 4+5+7+23',
        0.5,
        {
            'browDown': 1.3,
            'eyeWide': 0.3,
            'eyeSquint': 0.7,
            'mouthPress': 0.85,
            'noseSneer': 0.25,
            'mouthShrugLower': 0.35,
            'mouthFrown': 0.2,
        },
    ),
    Recipe(
        'angry',
        'bared teeth, 4+5+7+10+25',
        0.25,
        {
            'browDown': 1.3,
            'eyeWide': 0.35,
            'eyeSquint': 0.6,
            'mouthUpperUp': 0.35,
            'mouthLowerDown': 0.65,
            'jawOpen': 0.15,
            'mouthStretch': 0.3,
            'noseSneer': 0.3,
        },
    ),
    Recipe(
        'angry',
        'tight lips, jaw out, 4+7+17+24',
        0.25,
        {
            'browDown': 1.25,
            'eyeSquint': 0.6,
            'mouthRollLower': 0.5,
            'mouthRollUpper': 0.4,
            'mouthShrugLower': 0.5,
            'jawForward': 0.4,
            'mouthPress': 0.4,
        },
    ),
    Recipe(
        'disgusted',
        '9+10+4',
        0.5,
        {
            'noseSneer': 1.0,
            'mouthUpperUp': 0.75,
            'browDown': 0.45,
            'mouthFrown': 0.35,
            'mouthShrugLower': 0.35,
            'eyeSquint': 0.5,
            'cheekSquint': 0.3,
        },
    ),
    Recipe(
        'disgusted',
        '10+17, lips shut',
        0.25,
        {
            'noseSneer': 0.8,
            'mouthUpperUp': 0.55,
            'mouthShrugLower': 0.75,
            'mouthFrown': 0.5,
            'browDown': 0.4,
            'eyeSquint': 0.4,
        },
    ),
    Recipe(
        'disgusted',
        '9+16+25, mouth open',
        0.25,
        {
            'noseSneer': 1.0,
            'mouthUpperUp': 0.8,
            'mouthLowerDown': 0.35,
            'jawOpen': 0.2,
            'browDown': 0.35,
            'eyeSquint': 0.6,
            'mouthFrown': 0.3,
        },
    ),
    Recipe(
        'sad',
        '1+4+15+17',
        0.5,
        {
            'browInnerUp': 0.95,
            'browDown': 0.3,
            'mouthFrown': 0.9,
            'mouthShrugLower': 0.5,
            'eyeLookDown': 0.3,
        },
        12.0,
    ),
    Recipe(
        'sad',
        'crying, 1+4+6+7+15+20',
        0.25,
        {
            'browInnerUp': 0.8,
            'browDown': 0.6,
            'cheekSquint': 0.6,
            'eyeSquint': 0.7,
            'mouthUpperUp': 0.2,
            'mouthFrown': 0.8,
            'mouthStretch': 0.45,
            'mouthShrugLower': 0.3,
        },
    ),
    Recipe(
        'sad',
        'pout, 1+15+17',
        0.25,
        {
            'browInnerUp': 0.7,
            'mouthFrown': 0.8,
            'mouthShrugLower': 0.85,
            'eyeLookDown': 0.25,
            'mouthPucker': 0.15,
        },
        10.0,
    ),
    Recipe(
        'scared',
        '1+2+4+5+20+26',
        0.5,
        {
            'browInnerUp': 1.0,
            'browOuterUp': 0.6,
            'browDown': 0.4,
            'eyeWide': 1.0,
            'mouthStretch': 0.9,
            'jawOpen': 0.22,
            'mouthLowerDown': 0.3,
        },
    ),
    Recipe(
        'scared',
        'stretched lips, 1+4+5+20+25',
        0.3,
        {
            'browInnerUp': 1.0,
            'browDown': 0.5,
            'browOuterUp': 0.3,
            'eyeWide': 0.9,
            'mouthStretch': 1.1,
            'mouthLowerDown': 0.55,
            'jawOpen': 0.06,
        },
    ),
    Recipe(
        'scared',
        'open mouth, 1+2+4+5+7+27',
        0.2,
        {
            'browInnerUp': 1.0,
            'browOuterUp': 0.5,
            'browDown': 0.4,
            'eyeWide': 1.0,
            'eyeSquint': 0.2,
            'mouthStretch': 0.6,
            'jawOpen': 0.42,
            'mouthLowerDown': 0.3,
        },
    ),
)

SIDES = {
    'browDown',
    'browInnerUp',
    'browOuterUp',
    'cheekSquint',
    'eyeLookDown',
    'eyeSquint',
    'eyeWide',
    'mouthDimple',
    'mouthFrown',
    'mouthLowerDown',
    'mouthPress',
    'mouthSmile',
    'mouthStretch',
    'mouthUpperUp',
    'noseSneer',
    'eyeBlink',
    'eyeLookUp',
    'eyeLookIn',
    'eyeLookOut',
    'cheekPuff',
}


class Apex(NamedTuple):
    """One person's one way to show an expression: weights with sides, all within the limits."""

    expression: str
    recipe: str
    intensity: float
    weights: dict
    gaze_down_deg: float


def draw_apex(expression: str, rng: np.random.Generator) -> Apex:
    """
    Return a varied expression.

    Parameters
    ----------
    expression : str
        One of `EXPRESSIONS` of cs3d_ros.inference.emotion.
    rng : np.random.Generator

    Raises
    ------
    ValueError
        If no recipe shows that expression.
    """
    ways = [recipe for recipe in RECIPES if recipe.expression == expression]
    if not ways:
        raise ValueError('there is no recipe for {!r}'.format(expression))
    shares = np.array([way.share for way in ways])
    way = ways[rng.choice(len(ways), p=shares / shares.sum())]
    intensity = float(np.clip(rng.normal(0.9, 0.17), 0.5, 1.15))
    lean = rng.normal(0.0, 0.07)  # one side of the face is the stronger one
    weights = {}
    for name, weight in way.weights.items():
        weight = weight * intensity * float(np.clip(rng.normal(1.0, 0.18), 0.5, 1.5))
        if rng.random() < 0.06:
            weight *= 0.3  # people leave single units out
        sides = (('_L', 1 + lean), ('_R', 1 - lean)) if name in SIDES else (('', 1.0),)
        for side, gain in sides:
            gain *= float(np.clip(rng.normal(1.0, 0.06), 0.8, 1.2)) if side else 1.0
            limit = JAW_LIMIT if name == 'jawOpen' else MAX_WEIGHT
            weights[name + side] = float(np.clip(weight * gain, 0.0, limit))
    return Apex(
        expression, way.name, intensity, weights, way.gaze_down_deg * float(rng.uniform(0.0, 1.3))
    )

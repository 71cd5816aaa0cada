"""FACS action units, and the blendshapes of the morphable face that draw them."""

import numpy as np

# FACS number -> (name, blendshape weights at level 1, FACS' intensity E). A blendshape without
# _L or _R follows each side's own level. Units that act on the head (51 to 58) are the pose.
# Sources: Ekman, Friesen, Hager, Facial Action Coding System, 2002 (numbers, names, what they
# move); ICT-FaceKit's shapes are ARKit's; levels were chosen by looking at rendered faces.
ACTION_UNITS = {
    1: ('inner brow raiser', {'browInnerUp': 1.0}),
    2: ('outer brow raiser', {'browOuterUp': 1.0}),
    4: ('brow lowerer', {'browDown': 1.3, 'browInnerUp': -0.45}),
    5: ('upper lid raiser', {'eyeWide': 1.0}),
    6: ('cheek raiser', {'cheekSquint': 1.0, 'eyeSquint': 0.15}),
    7: ('lid tightener', {'eyeSquint': 1.0}),
    8: ('lips toward each other', {'mouthClose': 1.0}),
    9: ('nose wrinkler', {'noseSneer': 1.0, 'mouthUpperUp': 0.1, 'browDown': 0.15}),
    10: ('upper lip raiser', {'mouthUpperUp': 0.9, 'noseSneer': 0.15}),
    12: ('lip corner puller', {'mouthSmile': 1.0}),
    14: ('dimpler', {'mouthDimple': 1.0}),
    15: ('lip corner depressor', {'mouthFrown': 1.0}),
    16: ('lower lip depressor', {'mouthLowerDown': 0.8}),
    17: ('chin raiser', {'mouthShrugLower': 0.95}),
    18: ('lip pucker', {'mouthPucker': 1.0}),
    20: ('lip stretcher', {'mouthStretch': 1.1}),
    22: ('lip funneler', {'mouthFunnel': 0.8}),
    23: (
        'lip tightener',
        {'mouthPress': 0.55, 'mouthRollLower': 0.3, 'mouthRollUpper': 0.3},
    ),
    24: ('lip pressor', {'mouthPress': 1.0, 'mouthRollLower': 0.15, 'mouthShrugLower': 0.15}),
    25: ('lips part', {'mouthLowerDown': 0.35, 'mouthUpperUp': 0.3}),
    26: ('jaw drop', {'jawOpen': 0.35}),
    27: ('mouth stretch', {'jawOpen': 0.6}),
    28: ('lip suck', {'mouthRollLower': 0.9, 'mouthRollUpper': 0.8}),
    29: ('jaw thrust', {'jawForward': 0.8}),
    30: ('jaw sideways', {'jawSideways': 0.6, 'mouthSideways': 0.6}),
    34: ('cheek puff', {'cheekPuff': 0.8}),
    43: ('eyes closed', {'eyeBlink': 1.05}),
    45: ('blink', {'eyeBlink': 1.05}),
    61: ('eyes turn left', {'eyeLookLeft': 1.0}),
    62: ('eyes turn right', {'eyeLookRight': 1.0}),
    63: ('eyes up', {'eyeLookUp': 1.0}),
    64: ('eyes down', {'eyeLookDown': 1.0}),
}
COLUMN = {number: k for k, number in enumerate(ACTION_UNITS)}
# The mesh stays clean within these. browDown needs more than 1 to read as anger, and browInnerUp
# less than 0, since browDown hardly tilts the brows.
MIN_WEIGHT, MAX_WEIGHT = -0.5, 1.35
JAW_LIMIT = 0.6  # jawOpen is 42 mm at weight 1

# Blendshapes whose name is not that of the unit's side: of the person's left, right.
_NAMED = {
    'jawSideways': ('jawLeft', 'jawRight'),
    'mouthSideways': ('mouthLeft', 'mouthRight'),
    'eyeLookLeft': ('eyeLookOut_L', 'eyeLookIn_R'),
    'eyeLookRight': ('eyeLookIn_L', 'eyeLookOut_R'),
}
# Blendshapes of the whole mouth: they take the mean of both sides.
_WHOLE = {
    'jawForward',
    'jawOpen',
    'mouthClose',
    'mouthFunnel',
    'mouthPucker',
    'mouthRollLower',
    'mouthRollUpper',
    'mouthShrugLower',
}
_COVERED = 0.95  # of the eye: lids that are as far shut hide whether they would be wide


def blendshapes_of(name: str) -> tuple:
    """Return the blendshapes (left, right) behind a name of ACTION_UNITS."""
    if name in _WHOLE:
        return name, name
    return _NAMED.get(name, (name + '_L', name + '_R'))


def blendshape_weights(units: np.ndarray) -> dict:
    """
    Return the weight of each blendshape that units set: name -> float32 (F,).

    Parameters
    ----------
    units : np.ndarray [shape=(F, A, 2), dtype=float]
        Levels 0..1 in the order of ACTION_UNITS, the person's left side first.
    """
    weights = {}
    for (_, shapes), levels in zip(ACTION_UNITS.values(), np.moveaxis(units, 1, 0)):
        if not levels.any():
            continue
        for name, weight in shapes.items():
            for side, column in enumerate(blendshapes_of(name)):
                share = 0.5 if name in _WHOLE else 1.0
                weights[column] = weights.get(column, 0.0) + share * weight * levels[:, side]
    if 'mouthClose' in weights:  # a corrective: it shuts the lips of an open jaw, no more
        weights['mouthClose'] = weights['mouthClose'] * weights.get('jawOpen', 0.0)
    for name, values in weights.items():
        limit = JAW_LIMIT if name == 'jawOpen' else MAX_WEIGHT
        weights[name] = np.clip(values, MIN_WEIGHT, limit).astype(np.float32)
    return weights


def reconcile(units: np.ndarray) -> np.ndarray:
    """
    Return levels within 0..1 that one face can show at once, a new array.

    Shut lids are neither wide nor turned by the gaze; spread lips round less, open ones press
    and tuck in less; a jaw that hangs hangs once.
    """
    units = np.clip(units, 0.0, 1.0)

    def of(*numbers):
        return np.max([units[:, COLUMN[n]] for n in numbers], axis=0)

    def damp(numbers, by):
        for n in numbers:
            units[:, COLUMN[n]] *= 1.0 - by

    units[:, COLUMN[45]] = np.minimum(units[:, COLUMN[45]], 1.0 - units[:, COLUMN[43]])
    shut = np.minimum(1.0, of(43, 45) / _COVERED)
    damp((5, 61, 62, 63, 64), shut)
    damp((7,), 0.6 * shut)
    damp((18, 22), 0.75 * of(12, 20))
    damp((23, 24, 28), 0.8 * of(16, 25, 26, 27))
    damp((17,), 0.7 * of(27))
    damp((25, 16), np.minimum(1.0, of(8)))
    jaw = 0.35 * units[:, COLUMN[26]] + JAW_LIMIT * units[:, COLUMN[27]]
    damp((26, 27), 1.0 - np.minimum(1.0, JAW_LIMIT / np.maximum(jaw, 1e-9)))
    return units

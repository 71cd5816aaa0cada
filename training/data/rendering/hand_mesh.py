"""A plain hand with fingers, a forearm and a sleeve: what passes in front of faces."""

import numpy as np

from training.data.rendering.sheets import CLOTH_PATCH, HAND_PATCH

POSTURES = ('flat', 'loose', 'fist', 'point')
# Bend of the fingers per joint in radians, index to little finger, then the thumb.
_BEND = {
    'flat': (0.06, 0.06, 0.06, 0.08, 0.12),
    'loose': (0.28, 0.34, 0.4, 0.46, 0.25),
    'fist': (1.35, 1.4, 1.4, 1.4, 0.6),
    'point': (0.08, 1.35, 1.4, 1.4, 0.7),
}
# Knuckle x and y from the palm's centre, length and radius in mm, spread in radians: chosen by
# eye for an adult's hand beside the face.
_FINGERS = (
    (-29.0, 42.0, 74.0, 8.6, -0.12),
    (-10.0, 47.0, 82.0, 8.8, -0.03),
    (9.0, 45.0, 76.0, 8.4, 0.05),
    (26.0, 37.0, 61.0, 7.6, 0.15),
)
_THUMB = (-27.0, -20.0, 72.0, 10.5, -0.72)
_SIDES, _RINGS = 8, 9
_ARM_SIDES = 12
# Half width, half thickness and y of the rings of palm and forearm, then of the sleeve.
_PALM = (
    (38.0, 8.0, 49.0), (41.0, 12.0, 38.0), (42.0, 14.0, 15.0), (38.0, 15.0, -15.0),
    (30.0, 16.0, -40.0), (27.0, 18.0, -55.0), (29.0, 21.0, -90.0), (33.0, 25.0, -130.0),
)  # fmt: skip
_SLEEVE = ((31.0, 25.0, -84.0), (37.0, 30.0, -90.0), (42.0, 36.0, -170.0), (50.0, 45.0, -300.0))


def hand(posture: str, left: bool) -> np.ndarray:
    """
    Return the vertices of a hand seen from its back, float32 (n, 3) mm.

    The palm's centre is the origin, fingers point up (+y), the palm looks away from the viewer.

    Parameters
    ----------
    posture : str
        Out of POSTURES.
    left : bool
        The person's left hand.
    """
    bends = _BEND[posture]
    tubes = [_ellipses(_PALM), _ellipses(_SLEEVE)]
    tubes += [_finger(f, bend) for f, bend in zip(_FINGERS + (_THUMB,), bends)]
    points = np.concatenate(tubes).astype(np.float32)
    if left:  # built as a right hand: seen from its back, the thumb is at the viewer's left
        points[:, 0] *= -1.0
    return points


def _ellipses(rings: tuple) -> np.ndarray:
    angle = np.linspace(0.0, 2 * np.pi, _ARM_SIDES, endpoint=False)
    return np.concatenate(
        [
            np.stack(
                [wide * np.cos(angle), np.full(_ARM_SIDES, y), thick * np.sin(angle)], axis=-1
            )
            for wide, thick, y in rings
        ]
    )


def _finger(finger: tuple, bend: float) -> np.ndarray:
    x, y, length, radius, spread = finger
    along = np.linspace(0.0, 1.0, _RINGS)
    joints = np.interp(along, (0.0, 0.1, 0.45, 0.55, 0.8, 1.0), (0.0, 1.0, 1.0, 2.0, 2.9, 3.0))
    angle = bend * joints
    step = length / (_RINGS - 1)
    up = np.concatenate([[0.0], np.cumsum(np.cos(angle[:-1]) * step)])
    away = np.concatenate([[0.0], np.cumsum(np.sin(angle[:-1]) * step)])
    # The tip is round: the last rings shrink to a point.
    thick = radius * np.interp(along, (0.0, 0.7, 0.88, 1.0), (1.05, 0.9, 0.8, 0.05))
    around = np.linspace(0.0, 2 * np.pi, _SIDES, endpoint=False)
    points = []
    for u, a, r, t in zip(up, away, thick, angle):
        ring = np.stack(
            [
                r * np.cos(around),
                u + r * np.sin(around) * np.sin(t),
                -a + r * np.sin(around) * np.cos(t),
            ],
            axis=-1,
        )
        points.append(ring)
    points = np.concatenate(points)
    c, s = np.cos(spread), np.sin(spread)
    return np.stack(
        [x + c * points[:, 0] + s * points[:, 1], y - s * points[:, 0] + c * points[:, 1],
         points[:, 2]], axis=-1
    )  # fmt: skip


def _tube_triangles(rings: int, sides: int) -> np.ndarray:
    index = np.arange(rings * sides).reshape(rings, sides)
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)
    return np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )


def _tube_uv(rings: int, sides: int, patch: tuple) -> np.ndarray:
    x, y, side = patch
    row, column = np.divmod(np.arange(rings * sides), sides)
    return np.stack(
        [x + 2 + np.abs(2 * column / sides - 1) * (side - 4), y + 2 + row / rings * (side - 4)],
        axis=-1,
    )


def _topology() -> tuple:
    triangles, uv, first = [], [], 0
    tubes = [(len(_PALM), _ARM_SIDES, HAND_PATCH), (len(_SLEEVE), _ARM_SIDES, CLOTH_PATCH)]
    for rings, sides, patch in tubes + [(_RINGS, _SIDES, HAND_PATCH)] * 5:
        triangles.append(_tube_triangles(rings, sides) + first)
        uv.append(_tube_uv(rings, sides, patch))
        first += rings * sides
    return np.concatenate(triangles), np.concatenate(uv)


HAND_TRIANGLES, HAND_UV = _topology()

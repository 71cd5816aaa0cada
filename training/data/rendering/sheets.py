"""What is drawn besides the morphable face: chest, long hair, a cap's peak; and the atlas."""

import numpy as np

HAIRLINE_MM = (106.0, 85.0, 0.9)  # y and z of the plane's forehead edge, its fall to the nape
EAR_X_MM = 73.0
TORSO_GRID = (11, 21)
CURTAIN_GRID = (13, 25)
VISOR_GRID = (5, 15)
LENS_POINTS = 24  # around the rim of one lens; a last one in its middle

# Rectangles of the atlas (x, y, side), texels; the skin fills the first 512 columns.
ATLAS_SHAPE = (512, 1024)
SKIN_TEXELS = 512
EYE_PATCH = (516, 4, 248)
CLOTH_PATCH = (516, 260, 248)
HAIR_PATCH = (772, 4, 248)
HAND_PATCH = (772, 284, 200)
SOCKET_PATCH, GUMS_PATCH, TEETH_PATCH = (772, 260, 16), (796, 260, 16), (820, 260, 16)
LASH_PATCH, LENS_PATCH, VISOR_PATCH = (844, 260, 16), (868, 260, 16), (980, 284, 40)
EYE_PATCH_RADIUS = 2.6  # limbus radii from its centre to its edge
PATCH_OF = {
    'mouth_socket': SOCKET_PATCH,
    'eye_socket_left': SOCKET_PATCH,
    'eye_socket_right': SOCKET_PATCH,
    'gums_tongue': GUMS_PATCH,
    'teeth': TEETH_PATCH,
    'eyelashes_left': LASH_PATCH,
    'eyelashes_right': LASH_PATCH,
}

TWO_SIDED, CASTER = 1, 2  # bits of FaceModel.flags

# Materials: where two of them meet, the picture has an edge.
NOTHING, SKIN, EYE, MOUTH, TEETH, CLOTH, HAIR, HAND = range(8)
MATERIAL_OF = {
    'face': SKIN,
    'head_neck': SKIN,
    'mouth_socket': MOUTH,
    'eye_socket_left': MOUTH,
    'eye_socket_right': MOUTH,
    'gums_tongue': MOUTH,
    'teeth': TEETH,
    'sclera_left': EYE,
    'iris_left': EYE,
    'sclera_right': EYE,
    'iris_right': EYE,
    'eyelashes_left': HAIR,
    'eyelashes_right': HAIR,
}


def smoothstep(value: np.ndarray) -> np.ndarray:
    """Return 0 below 0, 1 above 1, and a smooth way between."""
    value = np.clip(value, 0.0, 1.0)
    return (value * value * (3 - 2 * value)).astype(np.float32)


def hairline_distance(points: np.ndarray) -> np.ndarray:
    """Return how far (mm) points of the neutral head lie above the hairline's plane."""
    top, front, slope = HAIRLINE_MM
    temple = 0.0035 * np.minimum(np.abs(points[..., 0]), 60.0) ** 2  # the corners recede
    return points[..., 1] - (top - slope * (front - points[..., 2])) + temple * 0.6


def is_ear(points: np.ndarray) -> np.ndarray:
    """Return which points of the neutral head belong to the ears."""
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    return (x > EAR_X_MM) & (y < 44.0) & (z > -22.0)


def scalp(skin: np.ndarray) -> np.ndarray:
    """Return how thick the hair is at each vertex, 0..1; it thins out towards the ears."""
    x, y, z = np.abs(skin[:, 0]), skin[:, 1], skin[:, 2]
    off_ears = np.maximum.reduce([(y - 48.0) / 50.0, (78.0 - x) / 16.0, (-20.0 - z) / 30.0])
    return smoothstep(hairline_distance(skin) / 42.0) * smoothstep(off_ears)


def all_sheets() -> tuple:
    """Return (name, vertices (n, 3), triangles, uv (n, 2), flags, material) of each sheet."""
    return (
        ('torso', _torso(), grid_triangles(*TORSO_GRID), grid_uv(TORSO_GRID, CLOTH_PATCH), 0,
         CLOTH),
        ('curtain', _curtain(), grid_triangles(*CURTAIN_GRID),
         grid_uv(CURTAIN_GRID, HAIR_PATCH), 0, HAIR),
        ('visor', _visor(), grid_triangles(*VISOR_GRID), grid_uv(VISOR_GRID, VISOR_PATCH),
         CASTER, CLOTH),
        ('lenses', np.zeros((2 * (LENS_POINTS + 1), 3)), _lens_triangles(),
         np.full((2 * (LENS_POINTS + 1), 2), np.array(LENS_PATCH[:2]) + 8.0), 0, HAIR),
    )  # fmt: skip


def grid_triangles(rows: int, columns: int) -> np.ndarray:
    """Return the triangles of a grid of vertices, row by row."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    return np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )


def grid_uv(grid: tuple, patch: tuple) -> np.ndarray:
    """Return texture coordinates that spread a grid over a patch."""
    x, y, side = patch
    row, column = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    return np.stack(
        [
            x + 2 + column / (grid[1] - 1) * (side - 4),
            y + 2 + row / (grid[0] - 1) * (side - 4),
        ],
        axis=-1,
    )


def _torso() -> np.ndarray:
    """Return a plain chest with shoulders: the mesh ends at the collar bones."""
    rows, columns = TORSO_GRID
    u = np.linspace(-1.0, 1.0, columns)
    x = 215.0 * u
    top = -112.0 - 0.2 * np.abs(x) - 70.0 * np.maximum(0.0, (np.abs(x) - 150.0) / 65.0) ** 2
    front = 68.0 - 70.0 * u**2
    bend = 60.0  # radius of the shoulder's roundness, mm
    points = []
    for row in range(rows):
        angle = np.pi / 2 * min(1.0, row / 5.0)
        fall = max(0.0, (row - 5.0) / (rows - 6.0))
        y = top - bend * (1 - np.cos(angle)) - 1200.0 * fall
        z = front - bend * (1 - np.sin(angle)) - 10.0 * fall
        points.append(np.stack([x, y, z], axis=-1))
    return np.concatenate(points)


def _curtain() -> np.ndarray:
    """Return long hair: half a bell behind the ears, from the crown to the shoulders."""
    rows, columns = CURTAIN_GRID
    angle = np.linspace(np.radians(54.0), np.radians(306.0), columns)  # 0 looks to the viewer
    points = []
    for y in np.linspace(112.0, -165.0, rows):
        swell = np.sqrt(max(0.05, 1.0 - (max(0.0, y - 20.0) / 125.0) ** 2))
        wide = 103.0 * swell + 16.0 * max(0.0, -y / 165.0)
        points.append(
            np.stack(
                [wide * np.sin(angle), np.full(columns, y), -8.0 + 88.0 * swell * np.cos(angle)],
                axis=-1,
            )
        )
    return np.concatenate(points)


def _visor() -> np.ndarray:
    """Return the peak of a cap, from the forehead outwards."""
    rows, columns = VISOR_GRID
    angle = np.linspace(-1.05, 1.05, columns)
    points = []
    for reach in np.linspace(0.0, 1.0, rows):
        out = reach * 62.0 * np.cos(0.9 * angle)
        points.append(
            np.stack(
                [
                    79.0 * np.sin(angle),
                    100.0 - 0.32 * out - 12.0 * (1 - np.cos(angle)),
                    14.0 + 79.0 * np.cos(angle) + out,
                ],
                axis=-1,
            )
        )
    return np.concatenate(points)


def _lens_triangles() -> np.ndarray:
    rim = np.arange(LENS_POINTS)
    one = np.stack([rim, (rim + 1) % LENS_POINTS, np.full(LENS_POINTS, LENS_POINTS)], axis=-1)
    return np.concatenate([one, one + LENS_POINTS + 1])

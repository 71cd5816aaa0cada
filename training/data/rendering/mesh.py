"""Which parts of the morphable face are worth drawing, and how finely."""

import numpy as np

from training.data.assets import Assets
from training.data.rendering import sheets
from training.data.rendering.kernels import vertex_normals
from training.data.rendering.sheets import CASTER, TWO_SIDED

INNER_FRONT_MM = 60.0  # teeth and gums behind this are never seen
BACK_NORMAL = -0.8  # skin that looks back further is not seen at poses up to 53 degrees
# Cells in which vertices are merged where nobody looks closely.
CELL_MM = {
    'teeth': 1.8,
    'gums_tongue': 6.0,
    'mouth_socket': 10.0,
    'eye_socket_left': 9.0,
    'eye_socket_right': 9.0,
    'sclera_left': 2.8,
    'sclera_right': 2.8,
}
EAR_CELL_MM, NECK_CELL_MM, HIDDEN_CELL_MM = 5.0, 12.0, 6.0
MOUTH_PARTS = ('mouth_socket', 'gums_tongue', 'teeth')
LASH_PARTS = ('eyelashes_left', 'eyelashes_right')
SCLERA_PARTS = ('sclera_left', 'sclera_right')


def visible(assets: Assets, part: dict) -> tuple:
    """Return the triangles worth drawing, their flags and parts; lashes apart."""
    normals = np.zeros_like(assets.neutral)
    whole = np.array([[0, len(assets.neutral), 0, len(assets.triangles)]])
    vertex_normals(assets.neutral, assets.triangles, whole, normals)
    triangles, own = assets.triangles, assets.triangle_part
    skin = np.isin(own, [part['face'], part['head_neck']])
    uv_u = assets.skin_uv[np.minimum(triangles, len(assets.skin_uv) - 1), 0]
    seam = np.ptp(uv_u, axis=1) > 0.3
    facing = normals[triangles, 2].max(axis=1)
    inside = np.isin(own, [part[n] for n in MOUTH_PARTS])
    keep_inside = inside & (
        (own == part['mouth_socket'])  # closed at the back, or one sees through
        | ((assets.neutral[triangles, 2].max(axis=1) > INNER_FRONT_MM) & (facing > -0.2))
    )
    sockets = np.isin(own, [part['eye_socket_left'], part['eye_socket_right']])
    # The iris parts lie inside the closed sclera and are never seen: they are painted on it.
    sclera = np.isin(own, [part[n] for n in SCLERA_PARTS]) & (facing > -0.3)
    keep = (skin & ~seam & (facing > BACK_NORMAL)) | keep_inside | sockets | sclera
    flags = np.zeros(len(triangles), np.uint8)
    flags[skin] |= CASTER
    flags[sockets | (own == part['mouth_socket'])] |= TWO_SIDED
    return triangles[keep], flags[keep], own[keep]


def merged(assets: Assets, part: dict) -> np.ndarray:
    """Return for each vertex the one that stands for all in its cell; itself where none does."""
    same = np.arange(len(assets.neutral))
    jaw = assets.expressions[assets.expression_names.index('jawOpen')]
    skin = np.arange(len(assets.neutral)) < len(assets.skin_uv)
    rim = rims(assets.triangles)  # the sockets close on lips and lids there
    regions = [(np.flatnonzero((assets.vertex_part == part[n]) & ~rim), c)
               for n, c in CELL_MM.items()]  # fmt: skip
    x, y, z = np.abs(assets.neutral[:, 0]), assets.neutral[:, 1], assets.neutral[:, 2]
    behind_lips = (x < 18.0) & (np.abs(y + 34.0) < 8.0) & (z < 104.0)
    for where, cell in (
        (sheets.is_ear(assets.neutral), EAR_CELL_MM),
        (y < -100.0, NECK_CELL_MM),
        (behind_lips, HIDDEN_CELL_MM),
    ):
        regions.append((np.flatnonzero(skin & where), cell))
    for index, cell in regions:
        # Neighbours at rest that the jaw draws apart are no neighbours.
        keys = np.concatenate([assets.neutral[index] / cell, jaw[index] / 8.0], axis=1)
        keys = np.floor(keys).astype(int)
        _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        same[index] = index[first[group.ravel()]]
    same[assets.landmarks] = assets.landmarks
    return same


def rims(triangles: np.ndarray) -> np.ndarray:
    """Return which vertices lie on an edge of one triangle only."""
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, count = np.unique(edges, axis=0, return_counts=True)
    rim = np.zeros(triangles.max() + 1, bool)
    rim[edges[count == 1]] = True
    return rim


def ordered(assets: Assets, part: dict, triangles: np.ndarray) -> np.ndarray:
    """Return the vertices to keep: head, then lashes, then the inside of the mouth."""
    lashes = np.isin(assets.vertex_part, [part[n] for n in LASH_PARTS])
    used = np.unique(np.concatenate(
        [triangles.ravel(), np.arange(len(assets.skin_uv)), np.flatnonzero(lashes)]
    ))  # fmt: skip
    inside = np.isin(assets.vertex_part[used], [part[n] for n in MOUTH_PARTS])
    return used[np.argsort(lashes[used] + 2 * inside, kind='stable')]

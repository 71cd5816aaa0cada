"""Heads: the topology that all people share, and the shape of one person."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from training.data.assets import Assets

IDENTITY_SIGMA = 0.7  # sigma 1 on all modes gives caricatures; 0.6 to 0.8 looks ordinary
MIN_DISPLACEMENT_MM = 0.02  # a blendshape leaves the vertices below it alone
INNER_FRONT_MM = 60.0  # teeth and gums behind this are never seen
BACK_NORMAL = -0.55  # skin that looks back further is never seen at the poses drawn
HAIRLINE_MM = (106.0, 85.0, 0.9)  # y and z of the plane's forehead edge, its fall towards the nape
EAR_X_MM = 74.0
TORSO_GRID = (17, 31)
CURTAIN_GRID = (13, 25)
NECK_MM = (-150.0, -82.0)  # the head turns above the second, the shoulders stay below the first

# Rectangles of the atlas (x, y, side), texels; the skin fills the first 512 columns.
ATLAS_SHAPE = (512, 1024)
SKIN_TEXELS = 512
EYE_PATCH = (516, 4, 248)
CLOTH_PATCH = (516, 260, 248)
HAIR_PATCH = (772, 4, 248)
SOCKET_PATCH, GUMS_PATCH, TEETH_PATCH = (772, 260, 16), (796, 260, 16), (820, 260, 16)
EYE_PATCH_RADIUS = 2.6  # limbus radii from its centre to its edge

TWO_SIDED, MOUTH, CASTER = 1, 2, 4  # bits of FaceModel.flags


@dataclass(frozen=True)
class Blendshapes:
    """Sparse displacements: shape k moves index[start[k]:start[k+1]] by delta."""

    names: tuple
    start: np.ndarray  # (K + 1,) int32
    index: np.ndarray  # (n,) int32
    delta: np.ndarray  # (n, 3) float32, mm

    def weights(self, values: dict) -> np.ndarray:
        """Return float32 (K,) weights; a name without _L or _R sets both sides."""
        weights = np.zeros(len(self.names), np.float32)
        for name, value in values.items():
            for k in self.columns(name):
                weights[k] = value
        return weights

    def columns(self, name: str) -> tuple:
        """Return the indices of the shapes of that name, both sides if it names none."""
        found = tuple(
            k for k, own in enumerate(self.names) if own in (name, name + '_L', name + '_R')
        )
        if not found:
            raise ValueError('there is no blendshape {!r}'.format(name))
        return found


class FaceModel:
    """
    What all people share: triangles, texture coordinates, blendshapes, skin weights.

    Vertices are those of the morphable face that can be seen, then a torso, then a curtain of
    long hair.
    """

    def __init__(self, assets: Assets):
        self.assets = assets
        part = {name: k for k, name in enumerate(assets.part_names)}
        triangles, flags = _visible(assets, part)
        used = np.unique(
            np.concatenate([triangles.ravel(), assets.landmarks, np.arange(len(assets.skin_uv))])
        )
        packed = np.full(len(assets.neutral), -1, np.int32)
        packed[used] = np.arange(len(used))
        self._used = used
        self.neutral = assets.neutral[used]
        vertex_part = assets.vertex_part[used]
        self.skin_count = len(assets.skin_uv)
        self.landmarks = packed[assets.landmarks]
        self.lip_gap = tuple(int(packed[v]) for v in assets.lip_gap)
        self.eyes = tuple(
            np.flatnonzero(vertex_part == part[name]).astype(np.int32)
            for name in ('sclera_left', 'sclera_right')
        )
        self.mouth_inside = np.flatnonzero(
            np.isin(vertex_part, [part['mouth_socket'], part['gums_tongue'], part['teeth']])
        ).astype(np.int32)
        self.teeth = vertex_part[self.mouth_inside] == part['teeth']
        self.shapes = _sparse(assets, used)
        head_count = len(used)
        torso, torso_triangles = _torso(head_count)
        curtain, curtain_triangles = _curtain(head_count + len(torso))
        self.torso, self.curtain = (
            np.arange(head_count, head_count + len(torso)),
            np.arange(head_count + len(torso), head_count + len(torso) + len(curtain)),
        )
        self.neutral = np.concatenate([self.neutral, torso, curtain]).astype(np.float32)
        self.triangles = np.concatenate(
            [packed[triangles], torso_triangles, curtain_triangles]
        ).astype(np.int32)
        self.flags = np.concatenate(
            [flags, np.full(len(torso_triangles) + len(curtain_triangles), TWO_SIDED, np.uint8)]
        )
        self.curtain_triangles = len(curtain_triangles)  # the last ones: short hair drops them
        self.uv = self._texture_coordinates(vertex_part, part)
        self.follow = _smoothstep((self.neutral[:, 1] - NECK_MM[0]) / (NECK_MM[1] - NECK_MM[0]))
        self.follow[self.torso] = 0.0
        self.scalp = _scalp(self.neutral[: self.skin_count])

    def _texture_coordinates(self, vertex_part: np.ndarray, part: dict) -> np.ndarray:
        uv = np.empty((len(self.neutral), 2), np.float32)
        uv[: self.skin_count] = self.assets.skin_uv * SKIN_TEXELS - 0.5
        centre = {
            'mouth_socket': SOCKET_PATCH,
            'eye_socket_left': SOCKET_PATCH,
            'eye_socket_right': SOCKET_PATCH,
            'gums_tongue': GUMS_PATCH,
            'teeth': TEETH_PATCH,
        }
        for name, (x, y, side) in centre.items():
            uv[: len(vertex_part)][vertex_part == part[name]] = x + side / 2, y + side / 2
        for eye in self.eyes:
            disc = self.assets.eye_disc[self._used[eye]]
            radius = np.maximum(np.linalg.norm(disc, axis=1, keepdims=True), 1e-6)
            disc = disc * np.minimum(1.0, 0.97 * EYE_PATCH_RADIUS / radius)
            x, y, side = EYE_PATCH
            uv[eye] = np.array([x, y]) + (disc / EYE_PATCH_RADIUS * 0.5 + 0.5) * side
        for own, patch, grid in (
            (self.torso, CLOTH_PATCH, TORSO_GRID),
            (self.curtain, HAIR_PATCH, CURTAIN_GRID),
        ):
            x, y, side = patch
            row, column = np.divmod(np.arange(len(own)), grid[1])
            uv[own, 0] = x + 2 + column / (grid[1] - 1) * (side - 4)
            uv[own, 1] = y + 2 + row / (grid[0] - 1) * (side - 4)
        return uv


@dataclass(frozen=True)
class HeadShape:
    """One person's head at rest, centred on the middle of eyes and mouth."""

    vertices: np.ndarray  # (N, 3) float32, mm
    eye_centres: np.ndarray  # (2, 3) float32, person's left first


def head_shape(model: FaceModel, coefficients: np.ndarray, hair_mm: float) -> HeadShape:
    """
    Return the head of an identity.

    Parameters
    ----------
    model : FaceModel
    coefficients : np.ndarray [shape=(100,), dtype=float]
        Identity modes in standard deviations.
    hair_mm : float
        Thickness of the hair on the scalp.
    """
    assets, count = model.assets, len(model._used)
    moved = np.tensordot(
        coefficients.astype(np.float32) * np.float32(assets.step_mm),
        assets.identities[:, :, model._used].astype(np.float32),
        1,
    ).T
    vertices = model.neutral.copy()
    anchor = model.landmarks[27:68]  # nose, eyes and mouth
    shift = moved[anchor].mean(axis=0)
    vertices[:count] += moved - shift
    bust = np.flatnonzero(model.neutral[: model.skin_count, 1] < NECK_MM[0])
    vertices[model.torso] += moved[bust].mean(axis=0) - shift
    normals = np.zeros_like(vertices)
    vertex_normals(vertices, model.triangles, normals)
    vertices[: model.skin_count] += normals[: model.skin_count] * (model.scalp * hair_mm)[:, None]
    centres = np.array([(vertices[eye].min(0) + vertices[eye].max(0)) / 2 for eye in model.eyes])
    return HeadShape(vertices, centres.astype(np.float32))


@njit(fastmath=True, cache=True)
def vertex_normals(vertices, triangles, normals):
    """Write unit normals, the area-weighted mean of the triangles around each vertex."""
    normals[:] = 0.0
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        vx = vertices[c, 0] - vertices[a, 0]
        vy = vertices[c, 1] - vertices[a, 1]
        vz = vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(normals.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + 1e-9
        for k in range(3):
            normals[v, k] /= length


def _visible(assets: Assets, part: dict) -> tuple:
    """Return the triangles worth drawing and their flags."""
    normals = np.zeros_like(assets.neutral)
    vertex_normals(assets.neutral, assets.triangles, normals)
    triangles, own = assets.triangles, assets.triangle_part
    skin = np.isin(own, [part['face'], part['head_neck']])
    uv_u = assets.skin_uv[np.minimum(triangles, len(assets.skin_uv) - 1), 0]
    seam = np.ptp(uv_u, axis=1) > 0.3
    keep_skin = skin & ~seam & (normals[triangles, 2].max(axis=1) > BACK_NORMAL)
    inside = np.isin(own, [part['mouth_socket'], part['gums_tongue'], part['teeth']])
    keep_inside = inside & (
        (own == part['mouth_socket'])  # closed at the back, or one sees through
        | (assets.neutral[triangles, 2].max(axis=1) > INNER_FRONT_MM)
    )
    sockets = np.isin(own, [part['eye_socket_left'], part['eye_socket_right']])
    sclera = np.isin(own, [part['sclera_left'], part['sclera_right']])
    keep_sclera = sclera & (normals[triangles, 2].max(axis=1) > -0.1)
    keep = keep_skin | keep_inside | sockets | keep_sclera
    flags = np.zeros(len(triangles), np.uint8)
    flags[skin] |= CASTER
    flags[inside] |= MOUTH
    flags[sockets | (own == part['mouth_socket'])] |= TWO_SIDED
    return triangles[keep], flags[keep]


def _sparse(assets: Assets, used: np.ndarray) -> Blendshapes:
    moved = assets.expressions[:, used]
    start, index, delta = [0], [], []
    for shape in moved:
        rows = np.flatnonzero(np.abs(shape).max(axis=1) > MIN_DISPLACEMENT_MM)
        index.append(rows)
        delta.append(shape[rows])
        start.append(start[-1] + len(rows))
    return Blendshapes(
        assets.expression_names,
        np.array(start, np.int32),
        np.concatenate(index).astype(np.int32),
        np.ascontiguousarray(np.concatenate(delta), dtype=np.float32),
    )


def hairline_distance(points: np.ndarray) -> np.ndarray:
    """Return how far (mm) points of the neutral head lie above the hairline's plane."""
    top, front, slope = HAIRLINE_MM
    temple = 0.0035 * np.minimum(np.abs(points[..., 0]), 60.0) ** 2  # the corners recede
    return points[..., 1] - (top - slope * (front - points[..., 2])) + temple * 0.6


def _scalp(skin: np.ndarray) -> np.ndarray:
    ear = (np.abs(skin[:, 0]) > EAR_X_MM) & (skin[:, 1] < 75.0)
    return np.where(ear, 0.0, _smoothstep(hairline_distance(skin) / 42.0)).astype(np.float32)


def _grid_triangles(rows: int, columns: int, first: int) -> np.ndarray:
    index = first + np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    return np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )


def _torso(first: int) -> tuple:
    """Return a plain chest with shoulders: the mesh ends at the collar bones."""
    rows, columns = TORSO_GRID
    u = np.linspace(-1.0, 1.0, columns)
    x = 215.0 * u
    top = -112.0 - 0.2 * np.abs(x) - 70.0 * np.maximum(0.0, (np.abs(x) - 150.0) / 65.0) ** 2
    front = 68.0 - 70.0 * u**2
    bend = 60.0  # radius of the shoulder's roundness, mm
    points = []
    for row in range(rows):
        angle = np.pi / 2 * min(1.0, row / 6.0)
        fall = max(0.0, (row - 6.0) / (rows - 7.0))
        points.append(
            np.stack(
                [
                    x,
                    top - bend * (1 - np.cos(angle)) - 480.0 * fall,
                    front - bend * (1 - np.sin(angle)) - 10.0 * fall,
                ],
                axis=-1,
            )
        )
    return np.concatenate(points), _grid_triangles(rows, columns, first)


def _curtain(first: int) -> tuple:
    """Return long hair: half a bell behind the ears, from the crown to the shoulders."""
    rows, columns = CURTAIN_GRID
    angle = np.linspace(np.radians(62.0), np.radians(298.0), columns)  # 0 looks to the viewer
    height = np.linspace(112.0, -165.0, rows)
    points = []
    for y in height:
        swell = np.sqrt(max(0.05, 1.0 - (max(0.0, y - 20.0) / 125.0) ** 2))
        wide = 96.0 * swell + 10.0 * max(0.0, -y / 165.0)
        points.append(
            np.stack(
                [wide * np.sin(angle), np.full(columns, y), -8.0 + 88.0 * swell * np.cos(angle)],
                axis=-1,
            )
        )
    return np.concatenate(points), _grid_triangles(rows, columns, first)


def _smoothstep(value: np.ndarray) -> np.ndarray:
    value = np.clip(value, 0.0, 1.0)
    return (value * value * (3 - 2 * value)).astype(np.float32)

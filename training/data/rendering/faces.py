"""Heads: the topology that all people share, and the shape of one person."""

from dataclasses import dataclass

import numpy as np

from training.data.assets import Assets
from training.data.rendering import mesh, sheets
from training.data.rendering.hand_mesh import HAND_TRIANGLES, HAND_UV, hand
from training.data.rendering.kernels import vertex_normals
from training.data.rendering.sheets import CASTER, SKIN_TEXELS, TWO_SIDED

IDENTITY_SIGMA = 0.7  # sigma 1 on all modes gives caricatures; 0.6 to 0.8 looks ordinary
MIN_DISPLACEMENT_MM = 0.02  # a blendshape leaves the vertices below it alone
NECK_MM = (-150.0, -82.0)  # the head turns above the second, the shoulders stay below the first
LASH_MM = (16.6, 5.0)  # from the eyeball's centre to the lashes' roots; from there to their tips
LOWER_LASHES = 0.3  # of the upper ones' opacity: they are few


@dataclass(frozen=True)
class Blendshapes:
    """Sparse displacements: shape k moves index[start[k]:start[k+1]] by delta."""

    names: tuple
    start: np.ndarray  # (K + 1,) int32
    index: np.ndarray  # (n,) int32, rising within a shape
    delta: np.ndarray  # (n, 3) float32, mm

    def weights(self, values: dict) -> np.ndarray:
        """
        Return weights of all shapes, float32 (..., K).

        Parameters
        ----------
        values : dict
            {name: weight or curve}, all of one shape; a name without _L or _R sets both sides.
        """
        shape = np.shape(next(iter(values.values()), 0.0))
        weights = np.zeros(shape + (len(self.names),), np.float32)
        for name, value in values.items():
            for k in self.columns(name):
                weights[..., k] = value
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

    Vertices and triangles come in blocks, drawn or left out as a whole: `blocks` tells (first
    vertex, end, first triangle, end) of each.
    """

    def __init__(self, assets: Assets):
        self.assets = assets
        self.skin_count = len(assets.skin_uv)
        part = {name: k for k, name in enumerate(assets.part_names)}
        triangles, flags, own_part = mesh.visible(assets, part)
        same = mesh.merged(assets, part)
        triangles = same[triangles]
        whole = (triangles != np.roll(triangles, 1, axis=1)).all(axis=1)
        triangles, flags, own_part = triangles[whole], flags[whole], own_part[whole]
        used = mesh.ordered(assets, part, triangles)
        packed = np.full(len(assets.neutral), -1, np.int32)
        packed[used] = np.arange(len(used))
        self._used = used
        self.landmarks = packed[assets.landmarks]
        self.lip_gap = packed[list(assets.lip_gap)]
        self._own = assets.vertex_part[used]
        self.eyes = tuple(np.flatnonzero(self._own == part[n]).astype(np.int32)
                          for n in mesh.SCLERA_PARTS)  # fmt: skip
        self._gather(part, triangles, flags, own_part, packed)
        self.teeth = self._own[slice(*self.blocks['mouth'][:2])] == part['teeth']
        self.shapes = _sparse(assets, used)
        points = used[np.concatenate([self.landmarks, self.lip_gap])]
        self.point_deltas = assets.expressions[:, points].reshape(len(assets.expressions), -1)
        self.follow = sheets.smoothstep(
            (self.neutral[:, 1] - NECK_MM[0]) / (NECK_MM[1] - NECK_MM[0])
        )
        self.follow[slice(*self.blocks['torso'][:2])] = 0.0
        for name in ('hand_left', 'hand_right'):
            self.follow[slice(*self.blocks[name][:2])] = 1.0
        self.scalp = sheets.scalp(self.neutral[: self.skin_count])

    def _gather(self, part: dict, triangles, flags, own_part, packed):
        """Join the blocks of the mesh with what is built here."""
        assets, kind = self.assets, np.array(
            [sheets.MATERIAL_OF[n] for n in self.assets.part_names], np.uint8
        )  # fmt: skip
        mesh_uv, mesh_alpha = self._texture_coordinates(part)
        of_mouth = np.isin(own_part, [part[n] for n in mesh.MOUTH_PARTS])
        lash = np.isin(assets.triangle_part, [part[n] for n in mesh.LASH_PARTS])
        kinds = kind[own_part]
        count = [np.isin(self._own, [part[n] for n in names]).sum()
                 for names in (mesh.LASH_PARTS, mesh.MOUTH_PARTS)]  # fmt: skip
        head = len(self._used) - sum(count)
        chunks = [
            ('head', head, packed[triangles[~of_mouth]], flags[~of_mouth], kinds[~of_mouth]),
            ('lashes', count[0], packed[assets.triangles[lash]], TWO_SIDED, sheets.HAIR),
            ('mouth', count[1], packed[triangles[of_mouth]], flags[of_mouth], kinds[of_mouth]),
        ]
        points, uv = [assets.neutral[self._used]], [mesh_uv]
        first = len(self._used)
        for name, own, faces, own_uv, flag, material in (
            *sheets.all_sheets(),
            ('hand_left', hand('loose', True), HAND_TRIANGLES, HAND_UV, CASTER, sheets.HAND),
            ('hand_right', hand('loose', False), HAND_TRIANGLES, HAND_UV, CASTER, sheets.HAND),
        ):
            chunks.append((name, len(own), faces + first, flag | TWO_SIDED, material))
            points.append(own)
            uv.append(own_uv)
            first += len(own)
        self.neutral = np.concatenate(points).astype(np.float32)
        self.uv = np.concatenate(uv).astype(np.float32)
        self.alpha = np.ones(len(self.neutral), np.float32)
        self.alpha[: len(self._used)] = mesh_alpha
        self.blocks, vertex, face = {}, 0, 0
        for name, own, faces, _, _ in chunks:
            self.blocks[name] = (vertex, vertex + own, face, face + len(faces))
            vertex, face = vertex + own, face + len(faces)
        self.triangles = np.concatenate([c[2] for c in chunks]).astype(np.int32)
        self.flags, self.material = (
            np.concatenate([np.broadcast_to(c[k], len(c[2])) for c in chunks]).astype(np.uint8)
            for k in (3, 4)
        )

    def _texture_coordinates(self, part: dict) -> tuple:
        """Return (uv (n, 2), alpha (n,)) of the mesh; lashes fade towards their tips."""
        own = self._own
        uv, alpha = np.empty((len(own), 2), np.float32), np.ones(len(own), np.float32)
        uv[: self.skin_count] = self.assets.skin_uv * SKIN_TEXELS - 0.5
        for name, (x, y, side) in sheets.PATCH_OF.items():
            uv[own == part[name]] = x + side / 2, y + side / 2
        for eye, lashes in zip(self.eyes, mesh.LASH_PARTS):
            disc = self.assets.eye_disc[self._used[eye]]
            radius = np.maximum(np.linalg.norm(disc, axis=1, keepdims=True), 1e-6)
            disc = disc * np.minimum(1.0, 0.97 * sheets.EYE_PATCH_RADIUS / radius)
            x, y, side = sheets.EYE_PATCH
            uv[eye] = np.array([x, y]) + (disc / sheets.EYE_PATCH_RADIUS * 0.5 + 0.5) * side
            ball = self.assets.neutral[self._used[eye]]
            lash = own == part[lashes]
            lid = self.assets.neutral[self._used[lash], 1] < ball[:, 1].mean()
            away = np.linalg.norm(
                self.assets.neutral[self._used[lash]] - (ball.min(0) + ball.max(0)) / 2, axis=1
            )
            alpha[lash] = 1.0 - np.clip((away - LASH_MM[0]) / LASH_MM[1], 0.0, 1.0)
            alpha[lash] *= np.where(lid, LOWER_LASHES, 1.0)
        return uv, alpha


@dataclass(frozen=True)
class HeadShape:
    """One person's head at rest, centred on the middle of eyes and mouth."""

    vertices: np.ndarray  # (N, 3) float32, mm
    points: np.ndarray  # (70, 3) float32: landmarks and lip gap of the bare face
    eye_centres: np.ndarray  # (2, 3) float32, person's left first
    normals: np.ndarray  # (skin_count, 3) float32


def head_shape(model: FaceModel, coefficients: np.ndarray, thickness: np.ndarray) -> HeadShape:
    """
    Return the head of an identity.

    Parameters
    ----------
    model : FaceModel
    coefficients : np.ndarray [shape=(100,), dtype=float]
        Identity modes in standard deviations.
    thickness : np.ndarray [shape=(skin_count,), dtype=float]
        Of what lies on the skin (hair, a scarf), mm.
    """
    assets, count, skin = model.assets, len(model._used), model.skin_count
    # No BLAS: its sums, and with them every clip, depend on how many threads it has.
    moved = np.einsum(
        'k,kcv->vc',
        coefficients.astype(np.float32) * np.float32(assets.step_mm),
        assets.identities[:, :, model._used].astype(np.float32),
    )
    vertices = model.neutral.copy()
    shift = moved[model.landmarks[27:68]].mean(axis=0)  # nose, eyes and mouth
    vertices[:count] += moved - shift
    bust = np.flatnonzero(model.neutral[:skin, 1] < NECK_MM[0])
    vertices[slice(*model.blocks['torso'][:2])] += moved[bust].mean(axis=0) - shift
    crown = np.flatnonzero(model.neutral[:skin, 1] > 100.0)
    for name in ('curtain', 'visor'):
        vertices[slice(*model.blocks[name][:2])] += moved[crown].mean(axis=0) - shift
    points = vertices[np.concatenate([model.landmarks, model.lip_gap])]
    normals = np.zeros_like(vertices)
    vertex_normals(vertices, model.triangles, np.array([model.blocks['head']]), normals)
    vertices[:skin] += normals[:skin] * thickness.astype(np.float32)[:, None]
    centres = np.array([(vertices[eye].min(0) + vertices[eye].max(0)) / 2 for eye in model.eyes])
    return HeadShape(vertices, points, centres.astype(np.float32), normals[:skin].copy())


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

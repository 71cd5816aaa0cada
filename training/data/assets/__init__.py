"""
The morphable face and its skins, read from outside the repository.

``python -m training.data.assets pack`` puts them into the user's cache, once.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from training.data.assets.asset_files import (
    GET_FACE,
    GET_SKINS,
    MESH_FILE,
    SKIN_PARTS,
    SKINS_FOLDER,
    AssetsError,
    assets_folder,
)
from training.data.assets.face_maps import eye_disc, face_maps

DISPLAY_GAMMA = 2.2  # the skins are stored gamma-encoded; light is what the sensor sees
INNER_LIPS = (5517, 5533)  # vertices of the OBJ files, at the middle of the upper and lower lip


@dataclass(frozen=True)
class Assets:
    """
    Arrays of the morphable face, and the pictures its skin is made of.

    Lengths in mm; x to the person's left, y up, z towards the viewer. Texture coordinates are
    `crop coordinates`: x right, y down, 0..1. Without a folder of skins they are painted
    (training.data.assets.procedural_skin); their names begin with `procedural`.
    """

    folder: Path
    neutral: np.ndarray  # (V, 3) float32
    expression_names: tuple  # 57 names of the blendshapes
    expressions: np.ndarray  # (57, V, 3) float32, displacement at weight 1
    identities: np.ndarray  # (100, 3, V) int16, displacement at one sigma in steps
    step_mm: float  # unit of `identities`
    triangles: np.ndarray  # (T, 3) int32
    triangle_part: np.ndarray  # (T,) uint8, index into part_names
    vertex_part: np.ndarray  # (V,) uint8
    part_names: tuple
    landmarks: np.ndarray  # (68,) int32, Multi-PIE order
    skin_uv: np.ndarray  # (11248, 2) float32, of the first vertices: face, head and neck
    eye_disc: np.ndarray  # (V, 2) float32, iris plane in limbus radii, 0 off the eyeballs
    lip_gap: tuple  # two vertices, one on each inner lip

    @cached_property
    def skins(self) -> tuple:
        """Names of the skins, sorted."""
        return self._names('skins')

    @cached_property
    def brows(self) -> tuple:
        """Names of the brows, sorted."""
        return self._names('brows')

    @cached_property
    def irises(self) -> tuple:
        """Names of the irises, sorted."""
        return self._names('irises')

    def skin(self, name: str) -> np.ndarray:
        """Return the linear luminance (512, 512) float32, 0..1, of a skin."""
        if self._paintbox:
            return self._paintbox.skin(name)
        return self._picture('skins', name) ** DISPLAY_GAMMA

    def brow(self, name: str) -> np.ndarray:
        """Return the coverage (512, 512) float32, 0..1, of a pair of brows on the skin."""
        return self._paintbox.brow(name) if self._paintbox else self._picture('brows', name)

    def iris(self, name: str) -> np.ndarray:
        """Return the linear luminance (128, 128) float32; limbus radius 53.3 px."""
        if self._paintbox:
            return self._paintbox.iris(name)
        return self._picture('irises', name) ** DISPLAY_GAMMA

    @cached_property
    def _paintbox(self):
        """What paints where there are no pictures; None where there are."""
        if (self.folder / SKINS_FOLDER).is_dir():
            return None
        # Not at the top: its textures come with heads, which are made of Assets.
        from training.data.assets.procedural_skin import Paintbox

        return Paintbox(self.neutral, self.triangles, self.skin_uv, self.landmarks)

    def _names(self, kind: str) -> tuple:
        if self._paintbox:
            return self._paintbox.names[kind]
        folder, pattern = SKIN_PARTS[kind]
        names = tuple(sorted(path.stem for path in (self.folder / folder).glob(pattern)))
        if not names:
            raise AssetsError(
                '{}: no {} there; {}, or remove {} to have them painted'.format(
                    self.folder / folder, pattern, GET_SKINS, self.folder / SKINS_FOLDER
                )
            )
        return names

    def _picture(self, kind: str, name: str) -> np.ndarray:
        path = self.folder / SKIN_PARTS[kind][0] / (name + '.png')
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise AssetsError('{}: no readable picture there; {}'.format(path, GET_SKINS))
        return picture.astype(np.float32) / 255.0


def load_assets(folder: str | Path | None = None) -> Assets:
    """
    Return the morphable face and the names of its skins.

    Parameters
    ----------
    folder : str or Path, optional
        Holds ict_facekit/ and perhaps skins/; without it $CS3D_ASSETS, ../shared/data and the
        user's cache are looked at, in this order.

    Raises
    ------
    AssetsError
        If a file is missing or broken; the message names the file and the cure.
    """
    folder = assets_folder(folder)
    mesh = _read_mesh(folder / MESH_FILE)
    neutral, step = mesh['neutral_mm'], float(mesh['q_step_mm'])
    part_names = tuple(str(n) for n in mesh['part_names'])
    eyes = np.isin(
        mesh['vert_part'], [part_names.index(n) for n in ('sclera_left', 'sclera_right')]
    )
    disc = np.zeros((len(neutral), 2), np.float32)
    disc[eyes] = eye_disc(neutral[eyes])
    assets = Assets(
        folder=folder,
        neutral=neutral,
        expression_names=tuple(str(n) for n in mesh['expr_names']),
        expressions=np.ascontiguousarray(mesh['expr_q'].transpose(0, 2, 1), dtype=np.float32)
        * np.float32(step),
        identities=mesh['id_q'],
        step_mm=step,
        triangles=mesh['tri'].astype(np.int32),
        triangle_part=mesh['tri_part'],
        vertex_part=mesh['vert_part'],
        part_names=part_names,
        landmarks=mesh['landmarks68'].astype(np.int32),
        skin_uv=face_maps()['skin_uv'],
        eye_disc=disc,
        lip_gap=tuple(int(v) for v in np.searchsorted(mesh['orig_index'], INNER_LIPS)),
    )
    for kind in SKIN_PARTS:  # what is missing is named now, not in the middle of the work
        assets._names(kind)
    return assets


def _read_mesh(path: Path) -> dict:
    try:
        with np.load(path) as mesh:
            return {name: mesh[name] for name in mesh.files}
    except Exception as reason:  # zipfile, zlib and NumPy each have their own
        raise AssetsError('{}: cannot be read: {}; {}'.format(path, reason, GET_FACE)) from reason

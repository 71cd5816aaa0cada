"""The morphable face and its skins, read from outside the repository."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from cs3d_ros import Cs3dError

DEFAULT_FOLDER = Path(__file__).resolve().parents[3] / 'shared' / 'data'
ENVIRONMENT = 'CS3D_ASSETS'
DISPLAY_GAMMA = 2.2  # the skins are stored gamma-encoded; light is what the sensor sees
MESH_FILE = 'ict_facekit/ict_face_light.npz'
MAPS_FILE = 'skins/ict_maps.npz'
PARTS = (
    ('skins/skins', '*_diffuse*_grey.png'),
    ('skins/brows', 'eyebrow*_alpha.png'),
    ('skins/irises', '*_eye_grey.png'),
)


class AssetsError(Cs3dError):
    """A file of the morphable face or its skins is missing."""


@dataclass(frozen=True)
class Assets:
    """
    Arrays of the morphable face, and the pictures its skin is made of.

    Lengths in mm; x to the person's left, y up, z towards the viewer. Texture coordinates are
    `crop coordinates`: x right, y down, 0..1.
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
        return self._names(*PARTS[0])

    @cached_property
    def brows(self) -> tuple:
        """Names of the brows, sorted."""
        return self._names(*PARTS[1])

    @cached_property
    def irises(self) -> tuple:
        """Names of the irises, sorted."""
        return self._names(*PARTS[2])

    def skin(self, name: str) -> np.ndarray:
        """Return the linear luminance (512, 512) float32, 0..1, of a skin."""
        return self._picture(PARTS[0][0], name) ** DISPLAY_GAMMA

    def brow(self, name: str) -> np.ndarray:
        """Return the coverage (512, 512) float32, 0..1, of a pair of brows on the skin."""
        return self._picture(PARTS[1][0], name)

    def iris(self, name: str) -> np.ndarray:
        """Return the linear luminance (128, 128) float32; limbus radius 53.3 px."""
        return self._picture(PARTS[2][0], name) ** DISPLAY_GAMMA

    def _names(self, folder: str, pattern: str) -> tuple:
        return tuple(sorted(path.stem for path in (self.folder / folder).glob(pattern)))

    def _picture(self, folder: str, name: str) -> np.ndarray:
        path = self.folder / folder / (name + '.png')
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise AssetsError('{}: no readable picture there; {}'.format(path, _cure()))
        return picture.astype(np.float32) / 255.0


def assets_folder(folder: str | Path | None = None) -> Path:
    """Return the folder to read: the argument, else $CS3D_ASSETS, else ../shared/data."""
    return Path(folder or os.environ.get(ENVIRONMENT) or DEFAULT_FOLDER)


def load_assets(folder: str | Path | None = None) -> Assets:
    """
    Return the morphable face and the names of its skins.

    Raises
    ------
    AssetsError
        If a file is missing; the message names the file and the cure.
    """
    folder = assets_folder(folder)
    for name in (MESH_FILE, MAPS_FILE):
        if not (folder / name).is_file():
            raise AssetsError('{}: not found; {}'.format(folder / name, _cure()))
    mesh = np.load(folder / MESH_FILE)
    maps = np.load(folder / MAPS_FILE)
    neutral = mesh['neutral_mm']
    step = float(mesh['q_step_mm'])
    packed = np.full(int(mesh['orig_index'].max()) + 1, -1)
    packed[mesh['orig_index']] = np.arange(len(neutral))
    disc = np.zeros((len(neutral), 2), np.float32)
    disc[packed[maps['sclera_vertex']]] = maps['sclera_disc']
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
        part_names=tuple(str(n) for n in mesh['part_names']),
        landmarks=mesh['landmarks68'].astype(np.int32),
        skin_uv=maps['uv_ext'][:11248],
        eye_disc=disc,
        lip_gap=(int(packed[5517]), int(packed[5533])),
    )
    for names, (part, pattern) in zip((assets.skins, assets.brows, assets.irises), PARTS):
        if not names:
            raise AssetsError('{}: no {} there; {}'.format(folder / part, pattern, _cure()))
    return assets


def _cure() -> str:
    return (
        'name the folder that holds ict_facekit/ and skins/ by --assets or ${}; both are '
        'third-party data and not part of this repository'.format(ENVIRONMENT)
    )

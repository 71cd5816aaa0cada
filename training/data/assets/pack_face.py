"""ICT-FaceKit's 158 OBJ files, packed into one file of 7 MB that loads in a tenth of a second."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cs3d_ros.files import whole_file
from training.data.assets.asset_files import GET_FACE, LICENCE_FILE, MESH_FILE, AssetsError

MODEL_FOLDER = 'FaceXModel'
NEUTRAL = 'generic_neutral_mesh'
INDEX_FILE = 'vertex_indices.json'
EXTRA_EXPRESSIONS = ('PupilDilate_L', 'PupilDilate_R', 'cheekRaiser_L', 'cheekRaiser_R')
IDENTITIES = 100
MM_PER_UNIT = 10.0  # the OBJ files are in cm
STEP_MM = 0.0025  # of the packed displacements: a fixed step compresses better than a float16
# The parts of the mesh, first and last vertex: the tables of ICT-FaceKit's README.
PARTS = {
    'face': (0, 9408),
    'head_neck': (9409, 11247),
    'mouth_socket': (11248, 13293),
    'eye_socket_left': (13294, 13677),
    'eye_socket_right': (13678, 14061),
    'gums_tongue': (14062, 17038),
    'teeth': (17039, 21450),
    'sclera_left': (21451, 22220),
    'iris_left': (22221, 23020),
    'sclera_right': (23021, 23790),
    'iris_right': (23791, 24590),
    'eyelashes_left': (25351, 26034),
    'eyelashes_right': (26035, 26718),
}
MOLARS = ((17039, 17606), (18679, 19813), (20884, 21450))  # never seen: left out
FACE_VERTICES = 9409  # the part over which id_rms_mm is taken
NARROW_FACE_VERTICES = 6706  # 'narrow face area' of ICT-FaceKit's README
VERTICES, TEXTURE_VERTICES, POLYGONS = 26719, 28911, 26384  # of every OBJ file


def pack_face(clone: Path, out: Path, progress: Callable = lambda done, total: None) -> Path:
    """
    Write ict_facekit/ict_face_light.npz and its licence into a folder; return the first.

    Parameters
    ----------
    clone : Path
        Of ICT-FaceKit, or its folder FaceXModel.
    out : Path
        Folder of the assets.
    progress : callable
        Is given (files read, files in all).

    Raises
    ------
    AssetsError
        If a file is missing, cut short or of another mesh, or `out` cannot be written.
    """
    models, licence = _locate(clone)
    arrays = read_face(models, progress)
    path = out / MESH_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = licence.read_bytes()
    except OSError as reason:
        raise AssetsError('{}: cannot be made: {}'.format(path.parent, reason)) from reason
    with whole_file(str(out / LICENCE_FILE), 'wb', AssetsError) as file:
        file.write(text)
    with whole_file(str(path), 'wb', AssetsError) as file:
        np.savez_compressed(file, **arrays)
    return path


def read_face(models: Path, progress: Callable = lambda done, total: None) -> dict:
    """Return the arrays of the packed face, read from the folder of the OBJ files."""
    indices = _indices(models)
    expressions = tuple(indices['expressions']) + EXTRA_EXPRESSIONS
    identities = tuple('identity{:03d}'.format(k) for k in range(IDENTITIES))
    _refuse_gaps(models, (NEUTRAL, *expressions, *identities))
    total = 1 + len(expressions) + len(identities)
    lines = _lines(models / (NEUTRAL + '.obj'))
    neutral = _vertices(lines, models / (NEUTRAL + '.obj'))
    arrays = _topology(lines, indices, models / (NEUTRAL + '.obj'))
    kept = arrays['orig_index'].astype(int)
    arrays['neutral_mm'] = (neutral[kept] * MM_PER_UNIT).astype(np.float32)
    moved = np.empty((total - 1, 3, len(kept)), np.int16)
    rms = []
    progress(1, total)
    for k, name in enumerate(expressions + identities):
        path = models / (name + '.obj')
        delta = (_vertices(_lines(path), path) - neutral) * MM_PER_UNIT
        moved[k] = np.rint(delta[kept] / STEP_MM).T
        rms.append(np.sqrt((delta[:FACE_VERTICES] ** 2).sum(axis=1).mean()))
        progress(k + 2, total)
    return dict(
        arrays,
        expr_names=np.array(expressions),
        expr_q=moved[: len(expressions)],
        id_q=moved[len(expressions) :],
        q_step_mm=np.float32(STEP_MM),
        id_rms_mm=np.array(rms[len(expressions) :], np.float32),
    )


def _locate(clone: Path) -> tuple:
    """Return the folder of the OBJ files and the licence of a clone."""
    models = clone / MODEL_FOLDER if (clone / MODEL_FOLDER).is_dir() else clone
    if not (models / INDEX_FILE).is_file():
        raise AssetsError(
            '{}: no clone of ICT-FaceKit, which has {}/{}; {}'.format(
                clone, MODEL_FOLDER, INDEX_FILE, GET_FACE
            )
        )
    licence = models.resolve().parent / 'LICENSE'
    if not licence.is_file():
        raise AssetsError(
            '{}: not found, and the packed face must not go without it; {}'.format(
                licence, GET_FACE
            )
        )
    return models, licence


def _indices(models: Path) -> dict:
    path = models / INDEX_FILE
    try:
        indices = json.loads(path.read_text())
        for name in ('expressions', 'idx_to_landmark_verts', 'idx_to_rigid_verts'):
            indices[name] = list(indices[name])
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise AssetsError('{}: not readable: {!r}; {}'.format(path, reason, GET_FACE)) from reason
    return indices


def _refuse_gaps(models: Path, names: tuple):
    missing = [name for name in names if not (models / (name + '.obj')).is_file()]
    if missing:
        raise AssetsError(
            '{}: {} of {} OBJ files are missing, the first is {}.obj; {}'.format(
                models, len(missing), len(names), missing[0], GET_FACE
            )
        )


def _lines(path: Path) -> list:
    try:
        return path.read_bytes().split(b'\n')
    except OSError as reason:
        raise AssetsError('{}: cannot be read: {}'.format(path, reason)) from reason


def _vertices(lines: list, path: Path) -> np.ndarray:
    """Return the vertices (26719, 3) float64 of an OBJ file, in its own units."""
    text = b' '.join(line[2:] for line in lines if line[:2] == b'v ')
    try:
        values = np.array(text.split(), dtype=np.float64)
    except ValueError as reason:
        raise AssetsError('{}: {}; {}'.format(path, reason, GET_FACE)) from reason
    if values.size != 3 * VERTICES or not np.isfinite(values).all():
        raise _broken(path, '{} coordinates of vertices'.format(values.size), 3 * VERTICES)
    return values.reshape(-1, 3)


def _broken(path: Path, found: str, due: int) -> AssetsError:
    return AssetsError(
        '{}: {} where {} are due, is it cut short? {}'.format(path, found, due, GET_FACE)
    )


def _topology(lines: list, indices: dict, path: Path) -> dict:
    """Return what all shapes share, of the vertices that are kept."""
    part = np.full(VERTICES, -1)
    for k, (first, last) in enumerate(PARTS.values()):
        part[first : last + 1] = k
    for first, last in MOLARS:
        part[first : last + 1] = -1
    kept = np.flatnonzero(part >= 0)
    packed = np.full(VERTICES, -1)
    packed[kept] = np.arange(len(kept))
    corners, texture_corners, face_part = _triangles(lines, part, path)
    seen = (packed[corners] >= 0).all(axis=1)
    texture = np.array([line[3:].split() for line in lines if line[:3] == b'vt '], np.float32)
    if len(texture) != TEXTURE_VERTICES:
        raise _broken(path, '{} texture vertices'.format(len(texture)), TEXTURE_VERTICES)
    used, texture_corners = np.unique(texture_corners[seen], return_inverse=True)
    rigid = np.zeros(VERTICES, bool)
    rigid[indices['idx_to_rigid_verts']] = True
    return {
        'orig_index': kept.astype(np.uint16),
        'tri': packed[corners[seen]].astype(np.uint16),
        'tri_part': face_part[seen].astype(np.uint8),
        'part_names': np.array(tuple(PARTS)),
        'vert_part': part[kept].astype(np.uint8),
        'uv': texture[used],
        'tri_uv': texture_corners.reshape(-1, 3).astype(np.uint16),
        'landmarks68': packed[indices['idx_to_landmark_verts']].astype(np.uint16),
        'narrow_face': kept < NARROW_FACE_VERTICES,
        'rigid': rigid[kept],
    }


def _triangles(lines: list, part: np.ndarray, path: Path) -> tuple:
    """Return (T, 3) vertices and texture coordinates of the triangles, and their parts."""
    polygons = [
        [corner.split(b'/')[:2] for corner in line[2:].split()]
        for line in lines
        if line[:2] == b'f '
    ]
    if len(polygons) != POLYGONS:
        raise _broken(path, '{} faces'.format(len(polygons)), POLYGONS)
    fans = [(face[0], face[k], face[k + 1]) for face in polygons for k in range(1, len(face) - 1)]
    corners = np.array(fans, dtype=np.int64) - 1  # OBJ counts from 1
    # Where skin and socket share an edge, a face belongs with its first vertex.
    return corners[..., 0], corners[..., 1], part[corners[:, 0, 0]]

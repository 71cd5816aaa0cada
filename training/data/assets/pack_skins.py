"""MakeHuman's skins, brows and irises, laid out for the morphable face."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from training.data.assets.asset_files import GET_SKINS, SKIN_PARTS, SKINS_FOLDER, AssetsError
from training.data.assets.face_maps import SKIN_TEXELS, face_maps, pull_push

LAYOUTS = ('base', 'makehuman/data', 'data', '.')  # of makehuman-assets, of MakeHuman's program
# The community's skins have licences of their own: only what MakeHuman bundles is taken.
BUNDLED_SKIN = re.compile(r'(young|middleage|old)_(light|dark)skinned_(fe)?male_diffuse\d?$')
BUNDLED_IRISES = (
    *('blue', 'bluegreen', 'brownlight', 'deepblue', 'green', 'grey', 'ice', 'lightblue'),
)
LUMA = np.array([0.0722, 0.7152, 0.2126])  # blue, green, red: Rec. 709
SAMPLES = 4  # per texel and axis
LFS_POINTER = b'version https://git-lfs'
ORIGIN = (
    'Skins, brows and irises of MakeHuman (makehumancommunity/makehuman-assets), CC0 1.0, in '
    'grey and laid out for the ICT face model by `python -m training.data.assets pack`.\n'
)
IRIS_TEXELS, IRIS_EDGE = 128, 1.2  # side of the picture; its half side in limbus radii


def pack_skins(clone: Path, out: Path, progress: Callable = lambda done, total: None) -> Path:
    """
    Write skins/ into a folder of assets and return its path; an older one is replaced.

    Parameters
    ----------
    clone : Path
        Of makehuman-assets or of makehuman; its large files (Git LFS) must be there.
    out : Path
    progress : callable
        Is given (pictures written, pictures in all).

    Raises
    ------
    AssetsError
        If a kind of picture is missing or not readable, or `out` cannot be written.
    """
    jobs = _jobs(clone)
    aside = out / (SKINS_FOLDER + '.part')
    try:
        shutil.rmtree(aside, ignore_errors=True)
        for folder, _ in SKIN_PARTS.values():
            (out / folder.replace(SKINS_FOLDER, aside.name, 1)).mkdir(parents=True)
        for done, (source, name, make) in enumerate(jobs, 1):
            _write(aside / name, make(source))
            progress(done, len(jobs))
        (aside / 'LICENSE').write_text(ORIGIN)
        shutil.rmtree(out / SKINS_FOLDER, ignore_errors=True)
        aside.rename(out / SKINS_FOLDER)
    except OSError as reason:
        raise AssetsError('{}: cannot be written: {}'.format(aside, reason)) from reason
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return out / SKINS_FOLDER


def lay_out_skin(picture: np.ndarray) -> np.ndarray:
    """
    Return the head of a MakeHuman skin as a (512, 512) grey picture, float32.

    Parameters
    ----------
    picture : np.ndarray [shape=(S, S, 3), dtype=uint8]
        The skin of a whole body, blue, green, red.
    """
    size = len(picture)
    island = np.zeros((size, size), np.uint8)
    maps = face_maps()
    outlines = np.split(maps['island'], np.cumsum(maps['island_count'])[:-1].astype(int))
    for k, outline in enumerate(outlines):  # the head, then holes of mouth and eyes
        corners = np.stack([outline[:, 0], 1 - outline[:, 1]], axis=-1) * size - 0.5
        cv2.fillPoly(island, [np.rint(16 * corners).astype(np.int32)], int(k == 0), shift=4)
    island = island.astype(np.float32)
    grey = (picture @ LUMA.astype(np.float32)) * island
    x, y = _body_texels(size)
    coverage, head = (_pooled(_looked_up(layer, x, y)) for layer in (island, grey))
    inside = (coverage > 0.5).astype(np.float32)
    return pull_push(inside * head / np.maximum(coverage, 0.5), inside)


def lay_out_brows(picture: np.ndarray, number: int) -> np.ndarray:
    """Return the coverage (512, 512), 0..255, of MakeHuman's brows of a number, 1 to 12."""
    maps = face_maps()
    out = np.zeros((SKIN_TEXELS, SKIN_TEXELS), np.float32)
    cut = int(maps['brow_cut'][number - 1])
    for side in (0, 1):  # the person's right brow, at the image's left, is below the other
        alpha = picture[..., 3].astype(np.float32)
        alpha[slice(0, cut) if side == 0 else slice(cut, None)] = 0.0
        x0, y0, x1, y1 = (int(v) for v in maps['brow_box'][number - 1, side])
        x, y = np.meshgrid(_fine(x1 - x0) * 2 - 1, _fine(y1 - y0) * 2 - 1)
        terms = [x**i * y**j for i in range(4) for j in range(4 - i)]
        place = np.stack(terms, axis=-1) @ maps['brow_warp'][number - 1, side]
        out[y0:y1, x0:x1] = _pooled(_looked_up(alpha, place[..., 0], place[..., 1]))
    return out


def lay_out_iris(picture: np.ndarray) -> np.ndarray:
    """Return the iris of a MakeHuman eye, (128, 128) float32, 0..255."""
    maps = face_maps()
    arm = (_fine(IRIS_TEXELS) * 2 - 1) * float(maps['iris_radius']) * IRIS_EDGE
    x, y = np.meshgrid(maps['iris_centre'][0] + arm, maps['iris_centre'][1] + arm)
    return _pooled(_looked_up(picture[..., :3] @ LUMA.astype(np.float32), x, y))


def _jobs(clone: Path) -> list:
    """Return what is to be made: (picture, name below skins/, function that makes it)."""
    root = next((clone / p for p in LAYOUTS if (clone / p / 'skins').is_dir()), None)
    if root is None:
        raise AssetsError(
            '{}: no clone of makehuman-assets, which has base/skins; {}'.format(clone, GET_SKINS)
        )
    textures = sorted((root / 'skins' / 'textures').glob('*.png'))
    skins = [path for path in textures if BUNDLED_SKIN.match(path.stem)]
    brows = [
        root / 'eyebrows' / name / (name + '.png')
        for name in ('eyebrow{:03d}'.format(k) for k in range(1, 13))
    ]
    irises = [root / 'eyes' / 'materials' / (name + '_eye.png') for name in BUNDLED_IRISES]
    missing = [path for path in brows + irises if not path.is_file()]
    if missing or not skins:
        first = missing[0] if missing else root / 'skins' / 'textures' / 'young_*_diffuse.png'
        raise AssetsError(
            '{} of the skins, brows and irises not found, the first is {}; {}'.format(
                len(missing) + (not skins), first, GET_SKINS
            )
        )
    return (
        [(p, 'skins/{}_grey.png'.format(p.stem), _skin) for p in skins]
        + [(p, 'brows/{}_alpha.png'.format(p.stem), _brows) for p in brows]
        + [(p, 'irises/{}_grey.png'.format(p.stem), _iris) for p in irises]
    )


def _skin(path: Path) -> np.ndarray:
    return lay_out_skin(_read(path, cv2.IMREAD_COLOR, (2048, 2048, 3)))


def _brows(path: Path) -> np.ndarray:
    return lay_out_brows(_read(path, cv2.IMREAD_UNCHANGED, (512, 512, 4)), int(path.stem[-3:]))


def _iris(path: Path) -> np.ndarray:
    return lay_out_iris(_read(path, cv2.IMREAD_COLOR, (1024, 1024, 3)))


def _read(path: Path, mode: int, shape: tuple) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError as reason:
        raise AssetsError('{}: cannot be read: {}'.format(path, reason)) from reason
    if data.startswith(LFS_POINTER):
        raise AssetsError(
            '{}: only a pointer of Git LFS, the picture is not there; run `git lfs pull` in '
            'that clone'.format(path)
        )
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), mode) if data else None
    if picture is None or picture.shape != shape:
        raise AssetsError(
            '{}: a picture of {} was expected, {} found; {}'.format(
                path, shape, 'none' if picture is None else picture.shape, GET_SKINS
            )
        )
    return picture


def _write(path: Path, picture: np.ndarray):
    _, data = cv2.imencode('.png', np.rint(np.clip(picture, 0, 255)).astype(np.uint8))
    path.write_bytes(data.tobytes())


def _body_texels(size: int) -> tuple:
    """Return where on MakeHuman's body picture the fine samples of a head lie, texels."""
    maps = face_maps()
    u = np.interp(_fine(SKIN_TEXELS), maps['warp_cy'], maps['warp_u'])
    aside = _fine(SKIN_TEXELS) - 0.5
    v = maps['warp_mid'] + np.sign(aside) * np.interp(
        np.abs(aside), maps['warp_dcx'], maps['warp_dv']
    )
    return tuple(np.meshgrid((1 - v) * size, u * size))[::-1]


def _fine(texels: int) -> np.ndarray:
    """Return the places 0..1 of the fine samples along a side of that many texels."""
    return (np.arange(texels * SAMPLES) + 0.5) / (texels * SAMPLES)


def _looked_up(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a picture at places in pixels, counted from its corner."""
    x, y = (np.asarray(v - 0.5, np.float32) for v in (x, y))
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR)


def _pooled(fine: np.ndarray) -> np.ndarray:
    height, width = (n // SAMPLES for n in fine.shape)
    return fine.reshape(height, SAMPLES, width, SAMPLES).mean(axis=(1, 3))

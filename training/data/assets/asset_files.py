"""Where the morphable face and its skins lie on disk, and how a user gets them."""

import os
from pathlib import Path

from cs3d_ros import Cs3dError

BESIDE_REPOSITORY = Path(__file__).resolve().parents[4] / 'shared' / 'data'
ENVIRONMENT = 'CS3D_ASSETS'
MESH_FILE = 'ict_facekit/ict_face_light.npz'
LICENCE_FILE = 'ict_facekit/LICENSE'
SKINS_FOLDER = 'skins'
SKIN_PARTS = {  # what a folder of skins holds: (folder, pattern of its pictures)
    'skins': ('skins/skins', '*_diffuse*_grey.png'),
    'brows': ('skins/brows', 'eyebrow*_alpha.png'),
    'irises': ('skins/irises', '*_eye_grey.png'),
}

PACK = 'python -m training.data.assets pack'
GET_FACE = (
    'get it by `git clone https://github.com/ICT-VGL/ICT-FaceKit` and '
    '`{} --ict-facekit ICT-FaceKit`'.format(PACK)
)
GET_SKINS = (
    'get them by `git lfs install`, `git clone '
    'https://github.com/makehumancommunity/makehuman-assets` and '
    '`{} --makehuman makehuman-assets`'.format(PACK)
)


class AssetsError(Cs3dError):
    """A file of the morphable face or its skins is missing or cannot be read or written."""


def cache_folder() -> Path:
    """Return where `pack` puts the face of this user: below $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'cs3d_ros'


def assets_folder(folder: str | Path | None = None) -> Path:
    """
    Return the folder that holds the face.

    It is the argument, else $CS3D_ASSETS, else the first of ../shared/data and the user's cache
    that has one.

    Raises
    ------
    AssetsError
        If it holds none; the message names the folders looked at and the command that gets it.
    """
    named = folder or os.environ.get(ENVIRONMENT)
    folders = [Path(named)] if named else [BESIDE_REPOSITORY, cache_folder()]
    for place in folders:
        if (place / MESH_FILE).is_file():
            return place
    raise AssetsError(
        '{}: not found in {}; {}, or name its folder by --assets or ${}'.format(
            MESH_FILE, ' nor in '.join(map(str, folders)), GET_FACE, ENVIRONMENT
        )
    )

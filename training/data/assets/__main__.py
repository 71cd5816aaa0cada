"""``python -m training.data.assets pack``: the face and its skins, from clones into the cache."""

import argparse
import sys
from pathlib import Path

from rich.progress import Progress

from cs3d_ros import Cs3dError
from training.data.assets.asset_files import (
    ENVIRONMENT,
    GET_FACE,
    GET_SKINS,
    MESH_FILE,
    cache_folder,
)
from training.data.assets.pack_face import pack_face
from training.data.assets.pack_skins import pack_skins


def pack(options: argparse.Namespace) -> Path:
    """Write what the clones hold into a folder of assets; return the folder."""
    out = Path(options.out) if options.out else cache_folder()
    with Progress() as progress:

        def run(make, clone: str, what: str):
            bar = progress.add_task(what, total=None)
            make(Path(clone), out, lambda n, of: progress.update(bar, completed=n, total=of))

        if options.ict_facekit:
            run(pack_face, options.ict_facekit, 'the face')
        if options.makehuman:
            run(pack_skins, options.makehuman, 'its skins')
    return out


def main(arguments: list | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog='python -m training.data.assets', description=__doc__)
    command = parser.add_subparsers(dest='command', required=True).add_parser(
        'pack', help='put the face and its skins where load_assets finds them'
    )
    command.add_argument('--ict-facekit', metavar='CLONE', help='of ICT-VGL/ICT-FaceKit')
    command.add_argument(
        '--makehuman', metavar='CLONE', help='of makehumancommunity/makehuman-assets'
    )
    command.add_argument('-o', '--out', metavar='FOLDER', help='instead of the cache')
    options = parser.parse_args(arguments)
    if not options.ict_facekit and not options.makehuman:
        parser.error('nothing to pack: {}; {}'.format(GET_FACE, GET_SKINS))
    try:
        out = pack(options)
    except Cs3dError as error:
        print(error, file=sys.stderr)
        return 1
    if not (out / MESH_FILE).is_file():
        print('{}: the face itself is still missing: {}'.format(out, GET_FACE))
    elif options.out:
        print('{}: packed; name it by --assets or ${}'.format(out, ENVIRONMENT))
    else:
        print('{}: packed'.format(out))
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""``cs3d build-engine``: a bundle to an engine of TensorRT for this machine; engine options."""

import sys

from cs3d_ros import Cs3dError
from cs3d_ros.inference import BACKENDS, PRECISIONS, SHIPPED_BUNDLE, open_tensorrt


def add(commands) -> None:
    """Add the command to the subparsers."""
    build = commands.add_parser(
        'build-engine', help='bundle to an engine of TensorRT for this machine, into the cache'
    )
    build.add_argument(
        'bundle',
        nargs='?',
        default=SHIPPED_BUNDLE,
        metavar='BUNDLE',
        help='ONNX file; the one that the package ships by default',
    )
    _add_tensorrt_options(build)
    build.set_defaults(action=_build)


def add_engine_options(parser) -> None:
    """Add the options that choose an engine; their names are those of ``open_engine``."""
    group = parser.add_argument_group('engine', 'what runs the network')
    group.add_argument(
        '--backend',
        choices=BACKENDS,
        default=BACKENDS[0],
        help='auto: TensorRT if it works here, else ONNX Runtime (default: %(default)s)',
    )
    _add_tensorrt_options(group)


def _add_tensorrt_options(parser):
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help='what TensorRT computes in (default: %(default)s)',
    )
    parser.add_argument(
        '--engine-cache',
        default='',
        metavar='FOLDER',
        help='where engines are kept; $XDG_CACHE_HOME/cs3d_ros/engines by default',
    )


def tell(text: str) -> None:
    """Say on stderr what takes long, or what was chosen."""
    print('cs3d: {}'.format(text), file=sys.stderr, flush=True)


def _build(args):
    engine = open_tensorrt(args.bundle, args.precision, args.engine_cache, tell)
    if engine.fault:
        raise Cs3dError(engine.fault)
    print(engine.reason)

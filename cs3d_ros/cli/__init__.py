"""
The ``cs3d`` command: one module for each group of its commands.

A module has ``add``, which adds parsers whose ``action`` is what they do.
"""

import argparse
import contextlib
import importlib
import importlib.util
import signal
import sys
from typing import List, Optional

from cs3d_ros import Cs3dError, __version__
from cs3d_ros.cli import bench, engines, power, recognition, recordings, simulation
from cs3d_ros.cli.streams import open_closed_streams, settle_output
from cs3d_ros.events.recordings import READABLE

_ROS_COMMANDS = {'up': 'cs3d_ros.nodes.bringup', 'demo': 'cs3d_ros.nodes.demo'}


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command; return its exit status."""
    open_closed_streams()
    argv = sys.argv[1:] if argv is None else list(argv)
    own = argv[: argv.index('--')] if '--' in argv else argv  # behind it stands another's
    is_whole = '--traceback' in own
    argv = [word for word in own if word != '--traceback'] + argv[len(own) :]
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has left
        return 0
    except Exception as error:  # the edge of the program
        if is_whole:
            raise
        print('cs3d: ' + _told(error), file=sys.stderr)
        return 1
    finally:
        settle_output()


def _run(argv: List[str]) -> int:
    """Do what is asked for, and have its output go out while errors of that can be told."""
    try:
        # ROS is imported for these alone, and their options are theirs
        if argv and argv[0] in _ROS_COMMANDS:
            status = _run_ros(argv[0], argv[1:])
        else:
            args = _parser().parse_args(argv)
            with _sigterm_raises():
                status = args.action(args)
    except SystemExit:  # of SIGTERM, or of the parser, which may have printed its help
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return status or 0


@contextlib.contextmanager
def _sigterm_raises():
    """Let SIGTERM end the block as an error does, so that nothing half written remains."""

    def end(number, _):
        signal.signal(number, signal.SIG_IGN)  # timeout sends it twice
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _told(error: Exception) -> str:
    """Return what goes wrong in one line."""
    if isinstance(error, (Cs3dError, OSError)):
        return str(error)
    return 'unexpected {}: {} (--traceback shows where: please report it)'.format(
        type(error).__name__, error
    )


def _run_ros(command: str, argv: List[str]) -> int:
    if importlib.util.find_spec('rclpy') is None:
        raise Cs3dError(
            'cs3d {} needs ROS 2: source a distribution, or use the .venv that make demo sets '
            'up'.format(command)
        )
    return importlib.import_module(_ROS_COMMANDS[command]).main(argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='cs3d',
        description='See from events alone what a face expresses.',
        epilog='Recordings: {}.'.format(READABLE),
    )
    parser.add_argument('--version', action='version', version=__version__)
    parser.add_argument(
        '--traceback', action='store_true', help='show where an error arose, not one line'
    )
    commands = parser.add_subparsers(metavar='COMMAND', dest='command')
    commands.required = True  # as a keyword it needs Python 3.7
    for module in (recognition, recordings, simulation, engines, bench, power):
        module.add(commands)
    commands.add_parser('up', add_help=False, help='start the ROS 2 nodes without ros2 launch')
    commands.add_parser('demo', add_help=False, help='play a face over DDS and watch the graph')
    return parser

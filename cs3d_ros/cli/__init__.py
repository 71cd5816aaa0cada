"""
The ``cs3d`` command: one module for each group of its commands.

A module has ``add``, which adds parsers whose ``action`` is what they do.
"""

import argparse
import importlib
import importlib.util
import os
import sys
from typing import List, Optional

from cs3d_ros import Cs3dError, __version__
from cs3d_ros.cli import bench, engines, power, recognition, recordings, simulation
from cs3d_ros.events.recordings import READABLE

_ROS_COMMANDS = {'up': 'cs3d_ros.nodes.bringup', 'demo': 'cs3d_ros.nodes.demo'}


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command; return its exit status."""
    _open_closed_streams()
    argv = sys.argv[1:] if argv is None else list(argv)
    own = argv[: argv.index('--')] if '--' in argv else argv  # behind it stands another's
    is_whole = '--traceback' in own
    argv = [word for word in own if word != '--traceback'] + argv[len(own) :]
    # ROS is imported for these alone, and their options are theirs
    if argv and argv[0] in _ROS_COMMANDS:
        return _guarded(lambda: _run_ros(argv[0], argv[1:]), is_whole)
    args = _parser().parse_args(argv)
    return _guarded(lambda: args.action(args), is_whole)


def _open_closed_streams() -> None:
    """Give words somewhere to go: what is meant for a closed stream, print sends to the other."""
    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:  # the shell's 2>&-
            setattr(sys, name, open(os.devnull, 'w'))


def _guarded(action, is_whole: bool) -> int:
    """Run an action; say in one line, or in whole, what goes wrong."""
    try:
        return action() or 0
    except Cs3dError as error:
        if is_whole:
            raise
        print('cs3d: {}'.format(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader has left; without this the interpreter would complain while it closes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the edge of the program
        if is_whole:
            raise
        print(
            'cs3d: unexpected {}: {} (--traceback shows where: please report it)'.format(
                type(error).__name__, error
            ),
            file=sys.stderr,
        )
        return 1


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

"""The command line of training.experiments."""

import argparse
from pathlib import Path

from cs3d_ros import Cs3dError
from cs3d_ros.simulator import PRESETS
from training.experiments.real import CONDITIONS, run_real


def say(line):
    """Print a line at once."""
    print(line, flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    p = argparse.ArgumentParser(prog='python -m training.experiments')
    commands = p.add_subparsers(dest='command', required=True)
    real = commands.add_parser('real', help='the robot before videos of real people')
    real.add_argument('bundle', type=Path)
    real.add_argument('--videos', type=Path, required=True, metavar='FOLDER')
    real.add_argument('-o', '--out', type=Path, required=True, metavar='DIR')
    real.add_argument('--presets', nargs='+', choices=list(PRESETS), default=CONDITIONS)
    real.add_argument(
        '--background-activity',
        type=float,
        default=0.0,
        metavar='MS',
        help='leave out events without a neighbour within so long, as `cs3d run` does',
    )
    real.set_defaults(
        action=lambda a: run_real(a.bundle, a.videos, a.out, a.presets, a.background_activity, say)
    )
    return p


def main(arguments=None):
    """Run a command."""
    options = parser().parse_args(arguments)
    try:
        options.action(options)
    except Cs3dError as error:
        raise SystemExit('error: {}'.format(error)) from error


if __name__ == '__main__':
    main()

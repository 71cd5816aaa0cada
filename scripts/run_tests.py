#!/usr/bin/env python3
"""
Run every test: the ROS-free ones on Python 3.6 and 3.8, then all of them in `.venv`.

The last lines are pytest's own, of the run that failed or of the last one.
"""

import argparse
import os
import subprocess
import sys

import bootstrap
from machine import BootstrapError, clean_environment, find_distribution
from pins import ROOT
from stamped import say

# Two at a time, since many wait for nodes; more would need memory for PyTorch in each. A module
# stays together, since its tests share what takes long to make.
PARALLEL = ['-n', str(min(2, os.cpu_count() or 1)), '--dist', 'loadfile']
WITHOUT_ROS = ['--ignore=test/nodes', '--ignore=test/training']


def main(arguments):
    """Return the exit status of the first run that fails, 0 where none does."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split('\n')[0])
    parser.add_argument(
        '--no-training', action='store_true', help='leave PyTorch and its tests out'
    )
    parser.add_argument('pytest', nargs='*', help='handed to pytest, after --')
    options = parser.parse_args(arguments)
    distribution, _ = find_distribution(bootstrap.VENV)
    sections = ['test', 'oracles'] + ([] if options.no_training else ['training', 'corpora'])
    with bootstrap.lock():
        venv = bootstrap.make_venv(sections)
        environment = bootstrap.environment_of(venv, distribution)
        floor = bootstrap.make_floor()
    for old in floor:
        say('{}: the ROS-free tests'.format(old.name))
        status = run_pytest(old.python, WITHOUT_ROS + options.pytest, clean_environment())
        if status:
            return status
    chosen = list(options.pytest)
    if options.no_training:
        say('TRAINING=0: the training tests are left out')
        chosen.append('--ignore=test/training')
    say('{}: all tests'.format(venv.name))
    return run_pytest(venv.python, chosen, environment)


def run_pytest(python, arguments, environment):
    """Return pytest's exit status."""
    # threads of several processes on the same cores wait for each other: thrice as long
    environment = dict(environment, OMP_NUM_THREADS='1')
    command = [python, '-m', 'pytest', 'test'] + PARALLEL + arguments
    return subprocess.call(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except BootstrapError as error:
        sys.exit('[cs3d] ' + str(error))
    except KeyboardInterrupt:
        sys.exit('[cs3d] interrupted')

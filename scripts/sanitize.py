#!/usr/bin/env python3
"""
Run the tests of the compiled kernels under AddressSanitizer and UndefinedBehaviorSanitizer.

A copy of the tree is built with both, twice: as it is, and with the code for processors without
SSE2. An access out of bounds, or undefined arithmetic, ends the run with a report.
"""

import os
import shutil
import subprocess
import sys

import bootstrap
from machine import BootstrapError, answer, find_distribution
from pins import ROOT
from stamped import say

FOLDER = os.path.join(ROOT, 'build', 'sanitize')
COPIED = ('cs3d_ros', 'test', 'setup.py', 'setup.cfg', 'pyproject.toml', 'README.md')
TESTS = ('events', 'simulator')
FLAGS = '-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g'
VARIANTS = {'as it is': '', 'without SSE2': ' -DCS3D_PORTABLE'}
BUILT = ('*.so', '*.c', '__pycache__')


def main():
    """Return the exit status of the first run that fails, 0 where none does."""
    distribution, _ = find_distribution(bootstrap.VENV)
    with bootstrap.lock():
        venv = bootstrap.make_venv(['test', 'oracles'])
        environment = bootstrap.environment_of(venv, distribution)
    # The C++ library as well: the sanitizer looks for its exceptions as the process starts.
    libraries = [
        answer(['gcc', '-print-file-name=' + name]) or ''
        for name in ('libasan.so', 'libstdc++.so')
    ]
    if not all(os.path.isabs(path) for path in libraries):
        raise BootstrapError('gcc has no AddressSanitizer here: sudo apt install g++')
    for name, define in VARIANTS.items():
        tree = copy_tree()
        say('kernels with sanitizers, {}'.format(name))
        build = dict(environment, CFLAGS=FLAGS + define)
        subprocess.check_call(
            [venv.python, 'setup.py', '-q', 'build_ext', '--inplace'], cwd=tree, env=build
        )
        status = subprocess.call(
            [venv.python, '-m', 'pytest', '-q', '-p', 'no:cacheprovider']
            + ['test/' + folder for folder in TESTS],
            cwd=tree,
            stdin=subprocess.DEVNULL,
            env=dict(
                environment,
                LD_PRELOAD=' '.join(libraries),
                # Python itself leaks by design; large allocations must fail, not end the run.
                ASAN_OPTIONS='detect_leaks=0:allocator_may_return_null=1',
            ),
        )
        if status:
            return status
    shutil.rmtree(FOLDER)
    return 0


def copy_tree():
    """Return a fresh copy of what the tests need, the shared data where they look for it."""
    tree = os.path.join(FOLDER, 'tree')
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(tree)
    for name in COPIED:
        source, target = os.path.join(ROOT, name), os.path.join(tree, name)
        if os.path.isdir(source):
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*BUILT))
        else:
            shutil.copy(source, target)
    shared = os.path.join(os.path.dirname(ROOT), 'shared')
    if os.path.isdir(shared):
        os.symlink(shared, os.path.join(FOLDER, 'shared'))
    return tree


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (BootstrapError, subprocess.CalledProcessError) as error:
        sys.exit('[cs3d] {}'.format(error))
    except KeyboardInterrupt:
        sys.exit('[cs3d] interrupted')

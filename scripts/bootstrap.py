#!/usr/bin/env python3
"""
Make `.venv` ready for a make target, or find that it is.

    bootstrap.py venv [SECTION ...]      with these sections of requirements.txt besides the basis
    bootstrap.py run COMMAND [ARG ...]   run a command in it
    bootstrap.py floor                   make .venv-3.6, .venv-3.8; print their Pythons
    bootstrap.py print SECTION ...       print the pins of sections; with run-numpy1, for NumPy 1

ROS 2 is the distribution that is sourced, else Jazzy from PyPI. Downloads come from pip alone.
Standard library, and syntax that an old Python parses, so that it can say what is missing.
"""

import contextlib
import fcntl
import os
import sys

from machine import (
    HIGHEST,
    LOWEST,
    BootstrapError,
    answer,
    clean_environment,
    find_distribution,
    find_python,
    require_packages,
)
from pins import NUMPY1, ROOT, pins
from stamped import StampedVenv, digest_of, say

from interfaces import build_interfaces, rewrite_cmake_paths

VENV = os.path.join(ROOT, '.venv')
FLOOR = ('3.6', '3.8')  # JetPack 4 and JetPack 5


def make_venv(sections):
    """Return the environment with ROS, messages, the package, and the pins of these sections."""
    distribution, why_not = find_distribution(VENV)
    if why_not:
        say(why_not + ': taking ROS 2 from PyPI')
    if not distribution:
        forget_distribution()
    if not distribution and not LOWEST <= sys.version_info[:2] <= HIGHEST:
        restart_with_other_python()
    venv = StampedVenv(VENV, sys.executable, distribution)
    # The compilers are asked for before the first download.
    if not venv.read_stamp('package'):
        require_packages(build_messages=True)
    venv.create()
    is_numpy1 = bool(distribution) and numpy_of(venv).startswith('1.')
    numpy1 = [NUMPY1] if is_numpy1 else []
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if distribution else []
    if not distribution:
        basis = pins(['ros', 'run', 'hdf5', 'build'])
        if venv.install('ros', basis):
            rewrite_cmake_paths(venv)
    else:
        basis = pins(['run', 'hdf5', 'build'] + numpy1)
        venv.install('run', basis)
    for section in sections:
        venv.install(section, pins([section] + numpy1))
    build_interfaces(venv, prefixes, digest_of([distribution] + basis))
    venv.install_package()
    return venv


def forget_distribution():
    """Keep what a sourced distribution put on the path of other Pythons out of ours."""
    for name in ('PYTHONPATH', 'AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH'):
        os.environ.pop(name, None)


def numpy_of(venv):
    """Return the version of NumPy that the distribution brings."""
    ask = 'import numpy; print(numpy.__version__)'
    return answer([venv.base, '-c', ask], dict(os.environ)) or ''


def restart_with_other_python():
    """Replace this process by one of a Python that ROS 2 comes for, or say that there is none."""
    for minor in range(HIGHEST[1], LOWEST[1] - 1, -1):
        python = find_python('3.{}'.format(minor))
        if python:
            say('this is Python {}.{}, taking {}'.format(*sys.version_info[:2], python))
            os.execv(python, [python] + sys.argv)
    raise BootstrapError(
        'this is Python {}.{}, ROS 2 from PyPI needs 3.10 to 3.13: sudo apt install python3 '
        'python3-venv python3-dev (Debian 12 or 13, Ubuntu 22.04 or 24.04), or name another by '
        'make PYTHON=/path/to/python3.12'.format(*sys.version_info[:2])
    )


def make_floor():
    """Return the ROS-free environments of the oldest Pythons that are found here."""
    forget_distribution()
    made = []
    for version in FLOOR:
        base = find_python(version)
        if base is None:
            say('Python {} is not here: the ROS-free tests are not run on it'.format(version))
            continue
        venv = StampedVenv(VENV + '-' + version, base)
        venv.create()
        venv.install('pip', pins(['pip']))
        venv.install('test', pins(['run', 'hdf5', 'build', 'test']))
        venv.build_kernels()
        made.append(venv)
    return made


def environment_of(venv, distribution):
    """Return the environment in which commands find the venv's ROS packages and programs."""
    environment = clean_environment()

    def lead(name, *values):
        kept = environment.get(name, '').split(os.pathsep)
        kept = [value for value in kept if value and value not in values]
        environment[name] = os.pathsep.join([*values, *kept])

    lead('PATH', os.path.join(venv.path, 'bin'))
    lead('AMENT_PREFIX_PATH', venv.path)
    environment['VIRTUAL_ENV'] = venv.path
    if distribution:
        # The wheels see to this themselves.
        lead('LD_LIBRARY_PATH', os.path.join(venv.path, 'lib'))
    return environment


def main(arguments):
    """Do what the command line asks; return the exit status."""
    command, rest = (arguments[0] if arguments else ''), arguments[1:]
    if command == 'print':
        print('\n'.join(pins(rest)))
    elif command == 'venv':
        with lock():
            make_venv(rest)
    elif command == 'floor':
        with lock():
            made = make_floor()
        print('\n'.join(venv.python for venv in made))
    elif command == 'run' and rest:
        distribution, _ = find_distribution(VENV)
        if not distribution:
            forget_distribution()
        environment = environment_of(StampedVenv(VENV, sys.executable), distribution)
        os.environ['PATH'] = environment['PATH']
        os.execvpe(rest[0], rest, environment)
    else:
        print(__doc__.strip())
        return 2
    return 0


@contextlib.contextmanager
def lock():
    """Let one make at a time change the environments; the root folder itself carries the lock."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('another make is at work here, waiting for it')
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except (BootstrapError, ValueError) as error:
        sys.exit('[cs3d] ' + str(error))
    except KeyboardInterrupt:
        sys.exit('[cs3d] interrupted; make takes it up again')

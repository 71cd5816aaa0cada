"""
What this machine has: Pythons, compilers, a ROS distribution. Standard library, any Python.

Nothing here changes anything.
"""

import glob
import os
import shutil
import subprocess
import sys
import sysconfig

LOWEST, HIGHEST = (3, 10), (3, 13)  # the Pythons for which PyPI has ROS 2 Jazzy


class BootstrapError(Exception):
    """What is missing, and the command that gets it."""


def clean_environment():
    """
    Return the environment without what the ROS wheels of another venv left in it.

    A Python with those wheels sets both variables and restarts itself; a child in another venv
    would then look for its libraries in the wrong one.
    """
    environment = dict(os.environ)
    if environment.pop('_ROS_WHEELS_BOOTSTRAP_COMPLETE', None):
        environment.pop('LD_LIBRARY_PATH', None)
    environment.pop('PYTHONHOME', None)
    environment.pop('VIRTUAL_ENV', None)
    return environment


def answer(command, environment=None):
    """Return what a command prints, or None where it does not run or fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment() if environment is None else environment,
            universal_newlines=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def find_python(version):
    """Return an interpreter of a version like '3.8' that runs, or None."""
    ask = 'import sys; print("%d.%d" % sys.version_info[:2], sys.executable)'
    pyenv = os.environ.get('PYENV_ROOT', os.path.expanduser('~/.pyenv'))
    pattern = os.path.join(pyenv, 'versions', version + '.*', 'bin', 'python' + version)
    # A shim of pyenv lies on the PATH and still refuses to run unless its version is chosen.
    candidates = [shutil.which('python' + version), '/usr/bin/python' + version]
    candidates += sorted(glob.glob(pattern), reverse=True)
    for candidate in filter(None, candidates):
        said = answer([candidate, '-c', ask])
        if said and said.split(' ', 1)[0] == version:
            return said.split(' ', 1)[1]
    return None


def find_distribution(venv):
    """
    Return the sourced ROS distribution that this Python can use, or '', and why not.

    Parameters
    ----------
    venv : str
        Our own environment; an rclpy in there is no distribution.

    """
    name = os.environ.get('ROS_DISTRO', '')
    if not name or not os.environ.get('AMENT_PREFIX_PATH'):
        return '', ''
    found = answer([sys.executable, '-c', 'import rclpy; print(rclpy.__file__)'], dict(os.environ))
    if found and not found.startswith(venv + os.sep):
        return name, ''
    return '', 'ROS {} is sourced, but {} does not import its rclpy'.format(name, sys.executable)


def missing_packages(build_messages):
    """Return the Debian packages without which the work ahead cannot be done."""
    version = sys.version_info[:2]
    from_debian = sys.base_prefix == '/usr' and os.path.realpath(
        '/usr/bin/python3'
    ) == os.path.realpath(sys.executable)
    python = 'python3' if from_debian else 'python%d.%d' % version
    header = os.path.join(sysconfig.get_path('include'), 'Python.h')
    checks = [
        (answer([sys.executable, '-c', 'import ensurepip, venv']) is not None, python + '-venv'),
        (os.path.exists(header), python + '-dev'),
        (shutil.which('gcc') or shutil.which('cc'), 'gcc'),
    ]
    if build_messages:
        checks += [
            (shutil.which('g++') or shutil.which('c++'), 'g++'),
            (shutil.which('cmake'), 'cmake'),
            (shutil.which('make'), 'make'),
        ]
    return [package for found, package in checks if not found]


def require_packages(build_messages):
    """Raise BootstrapError with the one command that installs what is missing."""
    missing = missing_packages(build_messages)
    if missing:
        raise BootstrapError(
            'this machine lacks {0}: sudo apt install {0}'.format(' '.join(missing))
        )

"""
The message packages of `interfaces/`, built where the real ones are absent. Standard library.

Without colcon: each package is a CMake project that installs into the virtual environment.
"""

import contextlib
import glob
import json
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

from machine import answer, clean_environment
from pins import ROOT
from stamped import digest_files, digest_of, say

INTERFACES = os.path.join(ROOT, 'interfaces')
INDEX = 'share/ament_index/resource_index/packages'


def find_installed(package, prefixes):
    """Return the first ament prefix that holds a package, or None."""
    for prefix in filter(None, prefixes):
        if os.path.exists(os.path.join(prefix, INDEX, package)):
            return prefix
    return None


def plan(venv, packages, prefixes):
    """
    Return ({package: prefix that has the real one}, [packages to build]).

    Parameters
    ----------
    venv : StampedVenv
        What we build into. A package in there that we did not build is a real one.
    packages : list of str
        Names below `interfaces/`.
    prefixes : list of str
        The sourced ament prefixes, first found wins.

    """
    real, absent = {}, []
    for package in packages:
        ours = os.path.exists(_manifest(venv, package))
        places = [p for p in prefixes if os.path.realpath(p) != os.path.realpath(venv.path)]
        found = find_installed(package, places if ours else [*places, venv.path])
        if found:
            real[package] = found
        else:
            absent.append(package)
    return real, absent


def build_interfaces(venv, prefixes, generators):
    """
    Build every message package that no prefix holds, take away our build of one that does.

    Parameters
    ----------
    venv : StampedVenv
        What to build into.
    prefixes : list of str
        The sourced ament prefixes.
    generators : str
        A digest of what generates messages: a change makes all of them anew.

    """
    packages = sorted(os.listdir(INTERFACES))
    packages = [p for p in packages if os.path.exists(os.path.join(INTERFACES, p, 'package.xml'))]
    real, absent = plan(venv, packages, prefixes)
    for package, prefix in real.items():
        if os.path.exists(_manifest(venv, package)):
            say('{}: {} has it now, taking our own away'.format(package, prefix))
            remove(venv, package)
    digests = {package: digest_of([generators, _digest(package)]) for package in absent}
    stale = [p for p in absent if venv.read_stamp('messages-' + p) != digests[p]]
    if not stale:
        return
    begun = time.monotonic()
    say('building messages: {} ...'.format(', '.join(stale)))
    python_path = answer(
        [venv.python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))']
    )
    # cmake configures on one core, so packages run side by side.
    with venv.step('messages', ''), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda p: _build(venv, p, prefixes, python_path), stale))
    for package in stale:
        with venv.step('messages-' + package, digests[package]):
            pass
    say('messages built ({:.0f} s)'.format(time.monotonic() - begun))


def remove(venv, package):
    """Take our build of a package out of the environment."""
    with open(_manifest(venv, package)) as file:
        paths = json.load(file)
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
        # Folders of the package's own name are its own: include/, share/, site-packages/.
        folder, found, _ = path.partition(os.sep + package + os.sep)
        if found:
            shutil.rmtree(os.path.join(folder, package), ignore_errors=True)
    for path in (_manifest(venv, package), os.path.join(venv.state, 'messages-' + package)):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def rewrite_cmake_paths(venv):
    """
    Point the CMake files of the ROS wheels at this machine's headers.

    They name the machine that built the wheels (/opt/python/cp3xx/include, its NumPy), and CMake
    refuses a target whose include folder does not exist.
    """
    ask = (
        'import numpy, sysconfig; print(sysconfig.get_path("include")); print(numpy.get_include())'
    )
    include, numpy_include = answer([venv.python, '-c', ask]).splitlines()
    for path in glob.glob(os.path.join(venv.path, 'share', '*', 'cmake', '*.cmake')):
        with open(path, encoding='utf-8') as file:
            old = file.read()
        new = re.sub(r'/opt/[^;"\s]*/numpy/_?core/include', numpy_include, old)
        new = re.sub(r'/opt/python/[^;"\s]*/include/python3\.\d+', include, new)
        if new != old:
            with open(path, 'w', encoding='utf-8') as file:
                file.write(new)


def _build(venv, package, prefixes, python_path):
    build = os.path.join(venv.state, 'build', package)
    shutil.rmtree(build, ignore_errors=True)
    search = os.pathsep.join([venv.path, *prefixes])
    environment = clean_environment()
    environment['PATH'] = os.path.join(venv.path, 'bin') + os.pathsep + environment['PATH']
    environment['AMENT_PREFIX_PATH'] = environment['CMAKE_PREFIX_PATH'] = search
    options = {
        'CMAKE_BUILD_TYPE': 'Release',
        'CMAKE_INSTALL_PREFIX': venv.path,
        'Python3_EXECUTABLE': venv.python,
        # Debian's Python would say local/lib/.../dist-packages, where no venv looks.
        'PYTHON_INSTALL_DIR': os.path.relpath(python_path, venv.path),
        'BUILD_TESTING': 'OFF',
    }
    configure = ['cmake', '-S', os.path.join(INTERFACES, package), '-B', build]
    configure += ['-D{}={}'.format(*option) for option in options.items()]
    complaint = 'the messages of {} do not build'.format(package)
    venv.run(configure, complaint, environment)
    venv.run(['cmake', '--build', build], complaint, environment)
    venv.run(['cmake', '--install', build], complaint, environment)
    with open(os.path.join(build, 'install_manifest.txt')) as file:
        paths = file.read().split('\n')
    with open(_manifest(venv, package), 'w') as file:
        json.dump([path for path in paths if path], file)
    shutil.rmtree(build, ignore_errors=True)


def _manifest(venv, package):
    return os.path.join(venv.state, 'installed-{}.json'.format(package))


def _digest(package):
    files = glob.glob(os.path.join(INTERFACES, package, '**'), recursive=True)
    shared = os.path.join(INTERFACES, 'prefer_installed.cmake')
    return digest_files(sorted(path for path in files if os.path.isfile(path)) + [shared])

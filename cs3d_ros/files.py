"""Files that are there whole or not at all."""

import contextlib
import io
import os
from typing import Optional, Type

from cs3d_ros import Cs3dError


@contextlib.contextmanager
def whole_file(path: Optional[str], mode: str = 'w', error: Type[Cs3dError] = Cs3dError):
    """
    Open a file to write that is there only if the block ends well; None for no path.

    It is written as :func:`written_aside` says. An OSError of the file becomes ``error``, with its
    name; those of what else the block does remain.

    Examples
    --------
    >>> with whole_file('lines.txt') as file:  # doctest: +SKIP
    ...     print('all of it', file=file)
    """
    if path is None:
        yield None
        return
    with written_aside(path, error) as aside:
        raw = _Blamed(aside, path, error)
        with io.BufferedWriter(raw) as binary:
            if 'b' in mode:
                yield binary
                return
            with io.TextIOWrapper(binary) as text:
                yield text


@contextlib.contextmanager
def written_aside(path: str, error: Type[Cs3dError] = Cs3dError):
    """
    Yield where to write what becomes ``path`` if the block ends well, and stays what it was else.

    A link stays, and what it leads to is written. What is no file, such as a pipe or a device, is
    written directly.

    Raises
    ------
    Cs3dError
        As ``error``, if it cannot be renamed.
    """
    if _is_no_file(path):
        yield path
        return
    target = os.path.realpath(path)
    aside = '{}.{}.part'.format(target, os.getpid())
    try:
        yield aside
        with _blamed(path, error):
            if os.path.exists(aside):
                os.replace(aside, target)
    finally:
        if os.path.exists(aside):
            os.remove(aside)


def check_apart(source: str, *targets: Optional[str]) -> None:
    """Raise Cs3dError if the file that is read is one of those to write; None is none."""
    for target in filter(None, targets):
        if os.path.realpath(target) == os.path.realpath(source):
            raise Cs3dError('{} is what is read: write to another file'.format(target))


def check_writable(path: str, error: Type[Cs3dError] = Cs3dError) -> None:
    """Raise ``error`` if a file could not be written: it is better told before the work."""
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path):
        reason = 'it is a folder'
    elif _is_no_file(path) or os.access(folder, os.W_OK):
        return
    elif os.path.isdir(folder):
        reason = 'nothing may be written to ' + folder
    else:
        reason = 'there is no folder ' + folder
    raise error('{} cannot be written: {}'.format(path, reason))


def _is_no_file(path):
    return os.path.exists(path) and not os.path.isfile(path)


@contextlib.contextmanager
def _blamed(path, error):
    """Blame the path for an OSError."""
    try:
        yield
    except OSError as reason:
        raise error('{} cannot be written: {}'.format(path, reason.strerror or reason)) from reason


class _Blamed(io.FileIO):
    """A file to write whose own errors name it, and no other's."""

    def __init__(self, aside, path, error):
        self._blame = lambda: _blamed(path, error)
        with self._blame():
            super().__init__(aside, 'w')

    def write(self, data):
        with self._blame():
            return super().write(data)

    def close(self):
        with self._blame():
            super().close()

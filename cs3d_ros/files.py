"""Files that are there whole or not at all."""

import contextlib
import os
from typing import Optional, Type

from cs3d_ros import Cs3dError


@contextlib.contextmanager
def whole_file(path: Optional[str], mode: str = 'w', error: Type[Cs3dError] = Cs3dError):
    """
    Open a file to write that is there only if the block ends well; None for no path.

    It is written aside and renamed; an OSError becomes ``error``, with the file's name.

    Examples
    --------
    >>> with whole_file('lines.txt') as file:  # doctest: +SKIP
    ...     print('all of it', file=file)
    """
    if path is None:
        yield None
        return
    aside = '{}.{}.part'.format(path, os.getpid())
    try:
        with open(aside, mode) as file:
            yield file
        os.replace(aside, path)
    except OSError as reason:
        raise error('{} cannot be written: {}'.format(path, reason)) from reason
    finally:
        if os.path.exists(aside):
            os.remove(aside)

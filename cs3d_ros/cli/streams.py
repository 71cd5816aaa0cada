"""The streams of the command, which may be closed, full, or without a reader."""

import os
import sys


def open_closed_streams() -> None:
    """Give words somewhere to go: what is meant for a closed stream, print sends to the other."""
    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:  # the shell's 2>&-
            setattr(sys, name, open(os.devnull, 'w'))


def settle_output() -> None:
    """Print what waits, and nothing any more where that fails: the interpreter would complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

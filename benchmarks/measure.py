"""Time work, and print what was measured with what it was measured on."""

import platform
import statistics
import time
from typing import Callable, List, NamedTuple

import numpy as np

from cs3d_ros.inference.machines import machine_name


class Timing(NamedTuple):
    """CPU seconds of one run of some work."""

    median_s: float
    lowest_s: float
    highest_s: float


def time_work(work: Callable[[], object], repeats: int = 7) -> Timing:
    """Return the CPU time of this process for some work, after one run that is not counted."""
    work()
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        seconds.append(time.process_time() - begin)
    return Timing(statistics.median(seconds), min(seconds), max(seconds))


def machine() -> str:
    """Return one line that tells processor and versions."""
    return '{}, Python {}, NumPy {}'.format(
        machine_name(), platform.python_version(), np.__version__
    )


def print_rates(title: str, unit: str, amount: float, rows: List) -> None:
    """
    Print a table of rates and of their ratio to the first row.

    Parameters
    ----------
    title, unit : str
        What was done, and what is counted, per second.
    amount : float
        How much of the unit one run does.
    rows : list of (str, Timing, amount or None)
        Name and time of each contestant; an amount of its own where it did less.
    """
    print('\n## {}\n'.format(title))
    print('| | {}, median (range) | ratio |'.format(unit))
    print('|---|---|---|')
    first = None
    for name, timing, own_amount in rows:
        done = own_amount or amount
        rate = done / timing.median_s
        first = first or rate
        print(
            '| {} | {:.3g} ({:.3g} to {:.3g}) | {:.3g} |'.format(
                name, rate, done / timing.highest_s, done / timing.lowest_s, rate / first
            )
        )

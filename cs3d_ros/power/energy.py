"""What a piece of work of this process costs in joules."""

import time
from typing import Any, Callable, NamedTuple, Optional, Tuple

from cs3d_ros.power.conditions import read_conditions
from cs3d_ros.power.finding import find_sources, no_meter
from cs3d_ros.power.idle import Idle, measure_idle, total_unknown
from cs3d_ros.power.meter import SAMPLE_S, PowerMeter, measure_while
from cs3d_ros.power.sources import PowerError


class RunEnergy(NamedTuple):
    """What one run of a callable costs, measured over many."""

    joules: float  # of one run, above idle
    busy_w: float  # what the machine drew meanwhile, idle included
    idle_w: float  # what it draws without
    runs: int
    seconds: float  # of all runs
    basis: Tuple[str, ...]  # the rails that were summed, as ``rapl/package-0``
    idle: Idle  # of where and when idle_w is


def open_meter(root: str = '/') -> PowerMeter:
    """
    Return a meter over all sources of this machine, or of another tree, as `find_sources`.

    Raises
    ------
    PowerError
        If none of them measures; it says how to get one.
    """
    sources = find_sources(root)
    meter = PowerMeter(sources)
    if not meter.is_measuring:
        raise PowerError(no_meter(sources))
    return meter


def measure(
    run: Callable[[], Any],
    seconds: float = 30.0,
    idle: Optional[Idle] = None,
    meter: Optional[PowerMeter] = None,
    sample_s: float = SAMPLE_S,
    root: str = '/',
) -> RunEnergy:
    """
    Return what one run of a callable costs above idle, from runs back to back.

    The integral of power minus idle power over the time of all runs, over their number.

    Parameters
    ----------
    run : callable
        Called without arguments, again and again, in this thread; a result is not looked at.
    seconds : float
        For how long; 30 s and more tell well with meters that answer 10 to 50 times a second.
    idle : Idle, optional
        From `load_idle` or `measure_idle`. By default it is measured first, for a third of the
        time, in which this process sleeps.
    meter : PowerMeter, optional
        From `open_meter`, which is the default.
    sample_s : float
        Time between two readings.
    root : str
        Folder that holds the ``sys`` of the meter.

    Raises
    ------
    PowerError
        If nothing measures, or not all the time, or the idle power is of other conditions; it
        says why, and the cure.

    Examples
    --------
    >>> energy = measure(lambda: engine.run(frame, state), seconds=30.0)  # doctest: +SKIP
    >>> '{:.1f} mJ by {}'.format(1e3 * energy.joules, ' + '.join(energy.basis))  # doctest: +SKIP
    '31.4 mJ by ina3221/POM_5V_IN'
    """
    meter = open_meter(root) if meter is None else meter
    idle = measure_idle(seconds / 3.0, meter, root, sample_s) if idle is None else idle
    misfit = idle.misfit(meter.basis, read_conditions(root))
    if misfit:
        raise PowerError(misfit)
    runs, window = measure_while(lambda: _repeat(run, seconds), meter, sample_s)
    above_j = idle.energy_above(window)
    if above_j is None:
        raise PowerError(total_unknown(meter))
    return RunEnergy(
        joules=above_j / runs,
        busy_w=window.energy_j / window.seconds,
        idle_w=idle.watts,
        runs=runs,
        seconds=window.seconds,
        basis=meter.basis,
        idle=idle,
    )


def _repeat(run: Callable[[], Any], seconds: float) -> int:
    runs, end_s = 0, time.monotonic() + seconds
    while True:
        run()
        runs += 1
        if time.monotonic() >= end_s:
            return runs

"""
What the machine draws when it does nothing: measured once, kept with its conditions.

Energy above idle needs it. It is kept by ``cs3d power --idle 30`` in ``$XDG_STATE_HOME`` (or
``~/.local/state``) and holds for the machine, the rails and the power mode that it was measured
with, and for no other.
"""

import json
import math
import os
import shlex
import time
from typing import Dict, NamedTuple, Optional, Tuple

from cs3d_ros.files import check_writable, whole_file
from cs3d_ros.power.conditions import Conditions, conditions_of, read_conditions
from cs3d_ros.power.meter import SAMPLE_S, TOTAL, PowerMeter, PowerWindow, measure_while
from cs3d_ros.power.sources import PowerError

IDLE_CURE = 'run cs3d power --idle 30 while the machine does nothing else'


class Idle(NamedTuple):
    """What the machine drew while idle, and under which conditions."""

    watts: float  # average of TOTAL
    stddev: float  # of its readings, W
    seconds: float
    readings: int
    date: str  # UTC, ISO 8601
    basis: Tuple[str, ...]  # the rails that make up TOTAL
    rails: Dict[str, float]  # average of every rail, W
    conditions: Conditions

    def misfit(self, basis: Tuple[str, ...], conditions: Conditions) -> Optional[str]:
        """Return why it does not hold for these rails and conditions; None if it does."""
        difference = self.conditions.difference(conditions)
        if self.basis != basis:
            difference = 'rails {} there, {} now'.format(
                ' + '.join(self.basis), ' + '.join(basis) or 'none'
            )
        if difference is None:
            return None
        return 'the idle power of {} was measured under other conditions ({}): {}'.format(
            self.date, difference, IDLE_CURE
        )

    def energy_above(self, window: PowerWindow) -> Optional[float]:
        """
        Return what a window took beyond idling, J; None where its energy is not known.

        Negative where the machine drew less than when it was idle.
        """
        if window.energy_j is None:
            return None
        return window.energy_j - self.watts * window.seconds


def measure_idle(
    seconds: float, meter: PowerMeter, root: str = '/', sample_s: float = SAMPLE_S
) -> Idle:
    """
    Return what the machine draws while this process sleeps.

    Raises
    ------
    PowerError
        If `TOTAL` was not known all the time.
    """
    _, window = measure_while(lambda: time.sleep(seconds), meter, sample_s)
    if window.energy_j is None:
        raise PowerError(total_unknown(meter))
    total = window.rails[TOTAL]
    return Idle(
        watts=window.energy_j / window.seconds,
        stddev=total.stddev,
        seconds=window.seconds,
        readings=total.count,
        date=time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
        basis=meter.basis,
        rails={rail: statistics.average for rail, statistics in sorted(window.rails.items())},
        conditions=read_conditions(root),
    )


def total_unknown(meter: PowerMeter) -> str:
    """Return why `TOTAL` was not known through a window."""
    return 'what the machine drew is not known for the whole time: {}'.format(
        '; '.join(meter.complaints()) or 'it was too short, or readings came too seldom'
    )


def default_path() -> str:
    """Return where the idle power is kept: below ``$XDG_STATE_HOME`` or ``~/.local/state``."""
    state = os.environ.get('XDG_STATE_HOME') or os.path.join('~', '.local', 'state')
    return os.path.join(os.path.expanduser(state), 'cs3d', 'idle.json')


def prepare_idle(path: str) -> None:
    """Make the folder for `store_idle`; raises PowerError where that could not write."""
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    except OSError as error:
        raise PowerError('{} cannot be written: {}'.format(path, error)) from error
    check_writable(path, PowerError)


def store_idle(idle: Idle, path: str) -> None:
    """Write it whole or not at all; raises PowerError where that cannot be."""
    prepare_idle(path)
    values = idle._asdict()
    values['conditions'] = dict(idle.conditions._asdict())
    with whole_file(path, error=PowerError) as file:
        json.dump(values, file, indent=2)
        file.write('\n')


def load_idle(path: str) -> Idle:
    """
    Return the idle power that was kept.

    Raises
    ------
    PowerError
        If there is none, or the file is not what `store_idle` writes.
    """
    try:
        with open(path) as file:
            values = json.load(file)
        idle = Idle(
            watts=float(values['watts']),
            stddev=float(values['stddev']),
            seconds=float(values['seconds']),
            readings=int(values['readings']),
            date=str(values['date']),
            basis=tuple(str(rail) for rail in values['basis']),
            rails={str(rail): float(watts) for rail, watts in values['rails'].items()},
            conditions=conditions_of(values['conditions']),
        )
    except FileNotFoundError:
        raise PowerError('no idle power is stored in {}: {}'.format(path, _cure(path))) from None
    except OSError as error:
        raise PowerError('{} cannot be read: {}'.format(path, error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PowerError(
            '{} is no idle power that was stored ({!r}): {}'.format(path, error, _cure(path))
        ) from error
    if not (math.isfinite(idle.watts) and idle.watts >= 0.0):
        raise PowerError(
            '{} tells an idle power of {} W: {}'.format(path, idle.watts, _cure(path))
        )
    return idle


def _cure(path: str) -> str:
    where = '' if path == default_path() else ' --idle-file ' + shlex.quote(path)
    return IDLE_CURE.replace('--idle 30', '--idle 30' + where)

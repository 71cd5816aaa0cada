"""How hot the machine is, and whether it slows itself down for it."""

import glob
import os
import re
from typing import Dict, List, Tuple

from cs3d_ros.power.sources import add_rail, read_int, read_label

# Always 100 degrees on a Jetson Nano, whatever the temperature.
_NO_SENSORS = ('PMIC-Die',)
_COLDEST_C, _HOTTEST_C = -40.0, 150.0  # silicon; zones that are off tell -256 and the like

# Cooling devices that act by slowing down: alerts of JetPack 5 and 6, tegra's balanced throttling
# of JetPack 4, clocks and ACPI's processors elsewhere. Fans are none of them, nor is 'TCC Offset',
# whose state is a setting.
_SLOWING = re.compile(r'.*-alert$|.*(balanced|heavy)|(thermal-)?cpufreq|Processor$')
# Of graphics clocks the state also shows what the power mode allows.
_CAPPING = re.compile(r'(thermal-)?devfreq')


def temperatures(root: str = '/') -> Dict[str, float]:
    """Return degrees Celsius by thermal zone; those that are off or tell nonsense are not in."""
    found = {}  # type: Dict[str, float]
    for zone in sorted(glob.glob(os.path.join(root, 'sys/class/thermal/thermal_zone*'))):
        kind = read_label(os.path.join(zone, 'type')) or os.path.basename(zone)
        try:
            celsius = read_int(os.path.join(zone, 'temp')) * 1e-3
        except (OSError, ValueError):
            continue
        if kind not in _NO_SENSORS and _COLDEST_C <= celsius <= _HOTTEST_C:
            add_rail(found, kind, celsius)
    return found


class Throttling:
    """
    Watches what tells that the machine is slowed down, by heat or by its supply.

    Parameters
    ----------
    root : str
        Folder that holds ``sys``.
    """

    def __init__(self, root: str = '/'):
        self._root = root
        self._events = self._read_events()
        self._highest = self._read_clocks()

    def push(self) -> List[str]:
        """Return what slows the machine down now, or did since the last call; none is good."""
        before, self._events = self._events, self._read_events()
        found = [name for name, count in self._events.items() if count > before[name]]
        found += [
            '{} at {}'.format(kind, state)
            for kind, state in self._read_cooling(_SLOWING)
            if state > 0
        ]
        for name, clock in self._read_clocks().items():
            # a cap that was always there is a power mode
            highest = self._highest[name] = max(clock, self._highest.get(name, clock))
            if clock < highest:
                found.append('{} at {} after {}'.format(name, clock, highest))
        return found

    def _read_cooling(self, kinds) -> List[Tuple[str, int]]:
        found = []
        for device in self._below('sys/class/thermal/cooling_device*'):
            kind = read_label(os.path.join(device, 'type'))
            if kinds.match(kind):
                found += [(kind, state) for state in _numbers([os.path.join(device, 'cur_state')])]
        return found

    def _read_clocks(self) -> Dict[str, int]:
        """Return the highest clocks that are allowed, by name; those of graphics as steps down."""
        clocks = {kind + ' step': -state for kind, state in self._read_cooling(_CAPPING)}
        for policy in self._below('sys/devices/system/cpu/cpufreq/policy*'):
            for khz in _numbers([os.path.join(policy, 'scaling_max_freq')]):
                clocks[os.path.basename(policy) + ' MHz'] = khz // 1000
        return clocks

    def _read_events(self) -> Dict[str, int]:
        """Return the counters that the kernel moves whenever it throttles, by what it means."""
        heat = 'sys/devices/system/cpu/cpu*/thermal_throttle/{}_throttle_count'  # Intel
        supply = 'sys/class/hwmon/hwmon*/oc*_event_cnt'  # Jetson Orin, driver soctherm_oc
        return {
            'processor too hot': sum(
                _numbers(self._below(heat.format('core')) + self._below(heat.format('package')))
            ),
            'over-current or low voltage': sum(_numbers(self._below(supply))),
        }

    def _below(self, pattern: str) -> List[str]:
        return sorted(glob.glob(os.path.join(self._root, pattern)))


def _numbers(paths: List[str]) -> List[int]:
    found = []
    for path in paths:
        try:
            found.append(read_int(path))
        except (OSError, ValueError):
            continue
    return found

"""The energy counters of Intel's and AMD's processors."""

import glob
import os
from typing import Dict, Optional

from cs3d_ros.power.sources import PowerSource, add_rail, read_count, read_label


class RaplSource(PowerSource):
    """
    Zones of the running average power limit: energy counters turned to power.

    The first `read` has no earlier counter to compare with and answers nothing. A counter may
    wrap once between two readings; where at `most_w` it may have wrapped more often, the reading
    is refused.

    Source: Linux kernel documentation, ``power/powercap/powercap.rst``.
    """

    name = 'rapl'

    def __init__(self, zones: Dict[str, str]):
        # Packages and their DRAM add up. Cores are part of a package; psys holds packages again.
        parts = [
            rail
            for rail in zones
            if '/' not in rail and not rail.startswith('psys') or rail.endswith('/dram')
        ]
        super().__init__(zones, summed=parts or None)
        self._counters = {rail: os.path.join(zone, 'energy_uj') for rail, zone in zones.items()}
        self._ranges = {
            rail: os.path.join(zone, 'max_energy_range_uj') for rail, zone in zones.items()
        }
        self._last = {}  # type: Dict[str, Tuple[float, int]]
        self._drop_forbidden({rail: (path,) for rail, path in self._counters.items()})

    def _watts(self, rail: str, now_s: float) -> Optional[float]:
        # A reading that fails keeps the last one: the next tells of the time since then.
        energy_uj = read_count(self._counters[rail])
        last_s, last_uj = self._last.get(rail, (now_s, energy_uj))
        self._last[rail] = (now_s, energy_uj)
        if now_s <= last_s:
            return None
        range_uj = read_count(self._ranges[rail])
        used_uj = energy_uj - last_uj
        if used_uj < 0:
            used_uj += range_uj
        if used_uj + range_uj <= self.most_w * 1e6 * (now_s - last_s):
            raise ValueError(
                '{} was read {:.0f} s after the last time and may have wrapped unseen: it must '
                'be read more often'.format(self._counters[rail], now_s - last_s)
            )
        return used_uj * 1e-6 / (now_s - last_s)


def find_rapl(root: str) -> Optional[RaplSource]:
    """Return the source over all zones below ``root``, None where there is none."""
    zones = {}  # type: Dict[str, str]
    # not intel-rapl-mmio, which counts package 0 a second time
    for zone in sorted(glob.glob(os.path.join(root, 'sys/class/powercap/intel-rapl:*'))):
        if os.path.exists(os.path.join(zone, 'energy_uj')):
            add_rail(zones, _zone_name(zone), zone)
    return RaplSource(zones) if zones else None


def _zone_name(zone: str) -> str:
    """Return ``package-0`` for a package and ``package-0/core`` for a zone within it."""
    name = read_label(os.path.join(zone, 'name')) or os.path.basename(zone)
    parent, _, _ = zone.rpartition(':')
    return '{}/{}'.format(_zone_name(parent), name) if ':' in os.path.basename(parent) else name

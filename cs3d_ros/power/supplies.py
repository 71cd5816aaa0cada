"""Batteries and USB inputs under ``/sys/class/power_supply``."""

import glob
import os
from typing import Dict, Optional

from cs3d_ros.power.sources import (
    SUPPLY,
    FileRail,
    PowerSource,
    read_int,
    read_label,
    read_text,
)

BATTERY = 'Battery'
# USB inputs whose driver measures. Of others, UCSI and the kernel's type C port manager above
# all, current_now is what was agreed with the charger, or what goes into the battery.
METERED_USB = ('axp20x-usb',)


class SupplySource(PowerSource):
    """
    What comes out of batteries and in through USB: all that the machine draws.

    A battery tells it only while it discharges, and only if nothing else supplies the machine;
    while one charges, what comes in is not what is drawn.

    Source: Linux kernel documentation, ``ABI/testing/sysfs-class-power``.

    Parameters
    ----------
    folder : str
        ``/sys/class/power_supply``.
    rails : dict of str to FileRail
        Batteries, and inputs with a meter, by their names there.
    unmetered : dict of str to str
        Batteries and inputs without one, and the file that tells whether they supply.
    """

    name = 'supply'
    covers = SUPPLY
    most_w = 2000.0  # a robot's battery; USB ends at 240 W

    def __init__(self, folder: str, rails: Dict[str, FileRail], unmetered: Dict[str, str]):
        super().__init__(rails)
        self._folder = folder
        self._files = rails
        self._unmetered = unmetered
        self._states = {}  # type: Dict[str, str]
        self._drop_forbidden({name: rail.paths for name, rail in rails.items()})

    def read(self, now_s: float) -> Dict[str, float]:
        self._states = {}
        return super().read(now_s)

    def total(self, watts: Dict[str, float]) -> Optional[float]:
        is_whole = self.rails == self.summed and not self.missing and self.silence() is None
        return sum(watts.values()) if is_whole else None

    def silence(self) -> Optional[str]:
        for rail, state in self._states.items():
            if state == 'Charging':
                return '{} is charging: only a battery that discharges tells what is drawn'.format(
                    rail
                )
        for name, file in self._unmetered.items():
            if _is_supplying(read_label(os.path.join(self._folder, name, file))):
                return '{} supplies the machine and has no meter'.format(name)
        if not any(_is_supplying(state) for state in self._states.values()):
            return 'none of {} supplies the machine'.format(', '.join(self.rails))
        return None

    def _watts(self, rail: str, now_s: float) -> Optional[float]:
        file = 'online' if rail in METERED_USB else 'status'
        self._states[rail] = read_text(os.path.join(self._folder, rail, file))
        if not _is_supplying(self._states[rail]):
            return None
        product = self._files[rail].unit_w
        for path in self._files[rail].paths:
            product *= abs(read_int(path))  # drivers do not agree on the sign of discharging
        if not product:  # as firmware has it until it has measured for the first time
            raise ValueError('{} supplies the machine with 0 W, which cannot be'.format(rail))
        return product


def find_supplies(root: str) -> Optional[SupplySource]:
    """Return the source over batteries and inputs below ``root``; None without a meter."""
    folder = os.path.join(root, 'sys/class/power_supply')
    rails = {}  # type: Dict[str, FileRail]
    unmetered = {}  # type: Dict[str, str]
    for path in sorted(glob.glob(os.path.join(folder, '*'))):
        name = os.path.basename(path)
        is_battery = read_label(os.path.join(path, 'type')) == BATTERY
        if read_label(os.path.join(path, 'scope')) == 'Device':
            continue  # of a mouse or a headset
        rail = _rail(path)
        if rail and (is_battery or name in METERED_USB):
            rails[name] = rail
        else:
            unmetered[name] = 'status' if is_battery else 'online'
    return SupplySource(folder, rails, unmetered) if rails else None


def _rail(path: str) -> Optional[FileRail]:
    power, volt, ampere = (
        os.path.join(path, name) for name in ('power_now', 'voltage_now', 'current_now')
    )
    if os.path.exists(power):
        return FileRail((power,), 1e-6)  # uW
    if os.path.exists(volt) and os.path.exists(ampere):
        return FileRail((volt, ampere), 1e-12)  # uV, uA
    return None


def _is_supplying(state: str) -> bool:
    return state in ('Discharging', '1', '2')  # on line with fixed or programmable voltage

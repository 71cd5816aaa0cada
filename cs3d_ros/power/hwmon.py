"""
Meters under ``/sys/class/hwmon`` of which it is known what they measure.

Only chips that are named here are read: a ``power1_input`` may as well be the light that an
optical transceiver sends (driver ``sfp``), or a limit.
"""

import glob
import os
import re
from typing import Dict, Iterable, List, Tuple

from cs3d_ros.power.sources import (
    MACHINE,
    WIRED,
    FileRail,
    FileSource,
    PowerSource,
    add_rail,
    read_label,
)


class AcpiMeterSource(FileSource):
    """
    The power meter that the firmware of a server offers for the whole machine.

    Source: ACPI specification 6.5, section 10.4; kernel driver ``acpi_power_meter``.
    """

    name = 'acpi'
    covers = MACHINE
    most_w = 20000.0  # above the largest server


class AmdGpuSource(FileSource):
    """
    AMD's graphics, one rail per device.

    Of a processor with graphics on its die the driver tells the power of the whole package, which
    RAPL counts as well.

    Source: Linux kernel documentation, ``gpu/amdgpu/thermal.rst``, hwmon interfaces.
    """

    name = 'amdgpu'
    most_w = 3000.0  # several times the largest card's limit


class Ina2xxSource(FileSource):
    """
    INA219, INA226 and their like, in a supply line or on a board: rails by label or address.

    Source: Linux kernel documentation, ``hwmon/ina2xx.rst``.
    """

    name = 'ina2xx'
    covers = WIRED


def find_hwmon(root: str, has_rapl: bool) -> List[PowerSource]:
    """
    Return the sources that are there.

    Parameters
    ----------
    root : str
        Folder that holds ``sys``.
    has_rapl : bool
        Whether processors are counted by RAPL, graphics on their die included.
    """
    chips = [
        (read_label(os.path.join(device, 'name')), device)
        for device in sorted(glob.glob(os.path.join(root, 'sys/class/hwmon/hwmon*')))
    ]
    sources = []  # type: List[PowerSource]
    meters = _rails(chips, r'power_meter$')
    if meters:
        sources.append(AcpiMeterSource(meters))
    graphics = _rails(chips, r'amdgpu$')
    if graphics:
        counted = [rail for rail, file in graphics.items() if has_rapl and _is_on_die(file)]
        sources.append(AmdGpuSource(graphics, set(graphics) - set(counted)))
    wired = _rails(chips, r'ina2\d\d')
    if wired:
        sources.append(Ina2xxSource(wired))
    return sources


def _rails(chips: Iterable[Tuple[str, str]], pattern: str) -> Dict[str, FileRail]:
    rails = {}  # type: Dict[str, FileRail]
    for name, device in chips:
        if not re.match(pattern, name):
            continue
        for kind in ('power1_average', 'power1_input'):  # a driver has one of them, or both
            path = os.path.join(device, kind)
            if os.path.exists(path):
                label = read_label(os.path.join(device, 'label')) or _address(name, device)
                add_rail(rails, label, FileRail((path,), 1e-6))  # uW
                break
    return rails


def _address(name: str, device: str) -> str:
    """Return chip and bus address, which stay the same, unlike the number of the hwmon."""
    parent = os.path.realpath(os.path.join(device, 'device'))
    return '{} {}'.format(name, os.path.basename(parent)) if os.path.exists(parent) else name


def _is_on_die(rail: FileRail) -> bool:
    # only these have a north bridge of their own, whose voltage the driver tells
    labels = glob.glob(os.path.join(os.path.dirname(rail.paths[0]), 'in*_label'))
    return any(read_label(label) == 'vddnb' for label in labels)

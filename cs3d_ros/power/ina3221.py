"""The INA3221 chips of Jetsons, as JetPack 4 (iio) and JetPack 5 and 6 (hwmon) show them."""

import glob
import os
from typing import Dict, Optional

from cs3d_ros.power.sources import BOARD, MACHINE, FileRail, FileSource, add_rail, read_label

# Rails that feed the whole module, of which the others are parts: the Nano's POM_5V_IN and the
# VDD_IN of TX1, TX2, Xavier NX, Orin NX and Orin Nano. AGX modules have none.
BOARD_INPUTS = ('POM_5V_IN', 'VDD_IN')


class Ina3221Source(FileSource):
    """
    Rails of all INA3221 chips, by the labels that the board's maker gave them.

    Source: Texas Instruments INA3221 data sheet (shunt LSB 40 uV, bus LSB 8 mV); the kernel
    drivers ``ina3221x`` (JetPack 4, iio) and ``ina3221`` (JetPack 5 and 6, hwmon).
    """

    name = 'ina3221'

    def __init__(self, rails: Dict[str, FileRail]):
        inputs = [rail for rail in BOARD_INPUTS if rail in rails]
        super().__init__(rails, inputs[:1] or None)
        self.covers = MACHINE if inputs else BOARD


def find_ina3221(root: str) -> Optional[Ina3221Source]:
    """Return the source over all chips below ``root``, None where there is none."""
    rails = {}  # type: Dict[str, FileRail]
    chips = glob.glob(os.path.join(root, 'sys/bus/i2c/drivers/ina3221*/*-*'))
    chips += [
        os.path.dirname(name)
        for name in glob.glob(os.path.join(root, 'sys/bus/i2c/devices/*/name'))
        if 'ina3221' in read_label(name)
    ]
    for chip in sorted({os.path.realpath(chip) for chip in chips}):
        for device in sorted(glob.glob(os.path.join(chip, 'iio:device*'))):
            _add_iio(rails, device)
        for device in sorted(glob.glob(os.path.join(chip, 'hwmon/hwmon*'))):
            _add_hwmon(rails, device)
    return Ina3221Source(rails) if rails else None


def _add_iio(rails: Dict[str, FileRail], device: str) -> None:
    for label in sorted(glob.glob(os.path.join(device, 'rail_name_*'))):
        power = os.path.join(device, 'in_power{}_input'.format(label.rsplit('_', 1)[1]))
        if _is_rail(read_label(label)) and os.path.exists(power):
            add_rail(rails, read_label(label), FileRail((power,), 1e-3))  # mW


def _add_hwmon(rails: Dict[str, FileRail], device: str) -> None:
    for label in sorted(glob.glob(os.path.join(device, 'in*_label'))):
        index = os.path.basename(label)[len('in') : -len('_label')]
        # in1_input is a VOLTAGE: only with the current beside it it makes a power
        volt = os.path.join(device, 'in{}_input'.format(index))
        ampere = os.path.join(device, 'curr{}_input'.format(index))
        if _is_rail(read_label(label)) and os.path.exists(volt) and os.path.exists(ampere):
            add_rail(rails, read_label(label), FileRail((volt, ampere), 1e-6))  # mV, mA


def _is_rail(label: str) -> bool:
    # Unconnected channels are labelled NC; in7 sums shunt VOLTAGES, which is no power.
    return bool(label) and 'NC' not in label.split('_') and 'sum of shunt' not in label.lower()

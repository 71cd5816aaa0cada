"""What a machine's power depends on, besides its work: model, power mode, clocks."""

import glob
import os
import platform
import re
from typing import Dict, NamedTuple, Optional

from cs3d_ros.power.sources import read_label

_MODELS = (
    'sys/firmware/devicetree/base/model',  # Jetsons and other boards
    'sys/class/dmi/id/product_name',  # PCs and servers
)
# Of Jetsons: 57000000.gpu, but 17000000.ga10b, .gv11b and .gp10b on some releases.
_GRAPHICS = re.compile(r'gpu|\.g\w\d\db')


class Conditions(NamedTuple):
    """
    Under what a power was measured; '' where it cannot be read.

    An idle power holds for the same conditions only.
    """

    machine: str  # model of the board or computer
    nvpmodel: str  # number of the Jetson's power mode
    cpus: str  # those that are on line, as 0-3: a power mode switches some off
    governor: str  # of the processor's clocks; several where they differ
    clocks: str  # 'pinned' as by jetson_clocks, 'free' where they may change

    def difference(self, other: 'Conditions') -> Optional[str]:
        """Return the first thing that differs, in words; None if nothing does."""
        for name, own, its in zip(self._fields, self, other):
            if own != its:
                return '{} {!r} there, {!r} now'.format(name, own, its)
        return None


def read_conditions(root: str = '/') -> Conditions:
    """Return the conditions of this machine now; ``root`` holds ``sys`` and ``var``."""
    models = [read_label(os.path.join(root, path)) for path in _MODELS]
    policies = glob.glob(os.path.join(root, 'sys/devices/system/cpu/cpufreq/policy*'))
    governors = {read_label(os.path.join(policy, 'scaling_governor')) for policy in policies}
    return Conditions(
        machine=next((model for model in models if model), platform.machine()),
        nvpmodel=_power_mode(root),
        cpus=read_label(os.path.join(root, 'sys/devices/system/cpu/online')),
        governor=' '.join(sorted(governors - {''})),
        clocks=_clocks(root, policies),
    )


def _power_mode(root: str) -> str:
    # as nvpmodel keeps it: 'pmode:0002', on some releases with 'fmode:quiet' behind it
    words = read_label(os.path.join(root, 'var/lib/nvpmodel/status')).split()
    modes = [word[len('pmode:') :] for word in words if word.startswith('pmode:')]
    return str(int(modes[0])) if modes and modes[0].isdigit() else ''


def _clocks(root: str, policies) -> str:
    bounds = [_bounds(policy, 'scaling_min_freq', 'scaling_max_freq') for policy in policies]
    bounds += [
        _bounds(device, 'min_freq', 'max_freq')
        for device in glob.glob(os.path.join(root, 'sys/class/devfreq/*'))
        if _GRAPHICS.search(os.path.basename(device))
    ]
    known = [pair for pair in bounds if '' not in pair]
    if not known:
        return ''
    return 'pinned' if all(low == high for low, high in known) else 'free'


def _bounds(folder: str, low: str, high: str):
    return read_label(os.path.join(folder, low)), read_label(os.path.join(folder, high))


def conditions_of(values: Dict[str, str]) -> Conditions:
    """Return conditions as a file keeps them; what is not there is ''."""
    return Conditions(*(str(values.get(name, '')) for name in Conditions._fields))

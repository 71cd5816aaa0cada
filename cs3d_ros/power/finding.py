"""Every meter of a machine, and what to say where there is none."""

import os
from typing import List

from cs3d_ros.power.hwmon import find_hwmon
from cs3d_ros.power.ina3221 import find_ina3221
from cs3d_ros.power.nvml import find_nvml
from cs3d_ros.power.rapl import find_rapl
from cs3d_ros.power.sources import PowerSource, problems_of
from cs3d_ros.power.supplies import find_supplies

_WAYS = (
    'Jetsons have one (INA3221), Intel and AMD processors count joules (RAPL), laptops tell what '
    'their battery gives, NVIDIA cards need pip install nvidia-ml-py; any other machine takes an '
    'INA219 or INA226 in its supply line, with the driver ina2xx of the kernel'
)


def find_sources(root: str = '/') -> List[PowerSource]:
    """
    Return every meter of this machine, the unusable ones with their `problem`.

    Parameters
    ----------
    root : str
        Folder that holds ``sys``; another one than ``/``, as of a host whose tree a container
        sees elsewhere, leaves NVML out, which knows no such root.
    """
    rapl = find_rapl(root)
    sources = [find_ina3221(root), rapl]
    sources += find_hwmon(root, has_rapl=rapl is not None and bool(rapl.rails))
    sources.append(find_supplies(root))
    if os.path.abspath(root) == '/':
        sources.append(find_nvml())
    return [source for source in sources if source is not None]


def no_meter(sources: List[PowerSource]) -> str:
    """Return the words where none of the sources measures: what is wrong, how to get one."""
    return 'this machine has no power meter that can be read: {}'.format(
        '; '.join(problems_of(sources) + [_WAYS])
    )

"""
Watts from the machine's own meters, and joules above idle.

Kinds of meters, found by themselves, read without root where the system allows it, never guessed:

- INA3221 on Jetsons, rails by their own labels;
- RAPL on Intel and AMD: an energy counter that wraps;
- NVML on NVIDIA's desktop and server cards, where ``pynvml`` is importable; ``amdgpu`` on AMD's;
- batteries that discharge, a USB input with a meter, a server's meter (ACPI);
- INA219, INA226 and their like, with the kernel's driver.

A source that is there but cannot be read keeps its place in the list and says why in
``problem``; what has no meter gets no number, and what makes no sense is counted, not passed on.

>>> meter = PowerMeter(find_sources())
>>> meter.sample()  # some times a second
>>> window = meter.take()
>>> window.rails.get(TOTAL)  # None where nothing measures

What one call of a function costs above idle, in J: ``measure(function).joules``.
"""

from cs3d_ros.power.conditions import Conditions, read_conditions
from cs3d_ros.power.energy import RunEnergy, measure, open_meter
from cs3d_ros.power.finding import find_sources, no_meter
from cs3d_ros.power.hwmon import AcpiMeterSource, AmdGpuSource, Ina2xxSource
from cs3d_ros.power.idle import (
    IDLE_CURE,
    Idle,
    default_path,
    load_idle,
    measure_idle,
    prepare_idle,
    store_idle,
    total_unknown,
)
from cs3d_ros.power.ina3221 import Ina3221Source
from cs3d_ros.power.meter import (
    SAMPLE_S,
    TOTAL,
    PowerMeter,
    PowerWindow,
    RailStatistics,
    measure_while,
)
from cs3d_ros.power.nvml import NvmlSource
from cs3d_ros.power.rapl import RaplSource
from cs3d_ros.power.sources import FileRail, PowerError, PowerSource, problems_of
from cs3d_ros.power.supplies import SupplySource
from cs3d_ros.power.thermal import Throttling, temperatures

__all__ = [
    'IDLE_CURE',
    'SAMPLE_S',
    'TOTAL',
    'AcpiMeterSource',
    'AmdGpuSource',
    'Conditions',
    'FileRail',
    'Idle',
    'Ina2xxSource',
    'Ina3221Source',
    'NvmlSource',
    'PowerError',
    'PowerMeter',
    'PowerSource',
    'PowerWindow',
    'RailStatistics',
    'RaplSource',
    'RunEnergy',
    'SupplySource',
    'Throttling',
    'default_path',
    'find_sources',
    'load_idle',
    'measure',
    'measure_idle',
    'measure_while',
    'no_meter',
    'open_meter',
    'prepare_idle',
    'problems_of',
    'read_conditions',
    'store_idle',
    'temperatures',
    'total_unknown',
]

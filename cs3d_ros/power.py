"""
Watts from the machine's own meters, and joules over a window.

Three kinds of meters, read without root where the system allows it and never guessed:

- INA3221 on Jetsons: JetPack 4 shows it as an iio device (``in_power0_input``, mW), JetPack 5
  and 6 as hwmon (``in1_input`` mV times ``curr1_input`` mA);
- RAPL on Intel and AMD: an energy counter (``energy_uj``) that wraps;
- NVML on desktop and server GPUs, where ``pynvml`` is importable.

A source that is there but cannot be read keeps its place in the list and says why in
``problem``; what has no meter gets no number.

>>> meter = PowerMeter(find_sources())
>>> meter.sample()  # some times a second
>>> window = meter.take()
>>> window.rails.get(TOTAL)  # None where nothing measures
"""

import glob
import math
import os
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

TOTAL = 'total'  # name of the sum over all sources in a PowerWindow

# Rails that feed the whole module: with one of them the others are parts of it (facts of the
# Nano's POM_5V_IN and of Xavier NX, TX2 and Orin Nano's VDD_IN).
_BOARD_INPUTS = ('POM_5V_IN', 'VDD_IN')


class PowerSource:
    """
    One kind of meter: names of its rails and their power now.

    Attributes
    ----------
    name : str
        ``ina3221``, ``rapl`` or ``nvml``.
    rails : tuple of str
        What `read` may answer for; empty when the source is not usable.
    problem : str or None
        Why the source is not usable, with the cure.
    """

    name = ''

    def __init__(self, rails: Tuple[str, ...] = (), problem: Optional[str] = None):
        self.rails = rails
        self.problem = problem

    def read(self) -> Dict[str, float]:
        """Return the power of each rail, W; a rail without a valid reading is left out."""
        return {}

    def total(self, watts: Dict[str, float]) -> Optional[float]:
        """Return what the source as a whole draws, W, or None if a needed rail is missing."""
        return _sum_of(watts, self.rails)


class Ina3221Source(PowerSource):
    """
    Rails of all INA3221 chips of a Jetson.

    Source: Texas Instruments INA3221 data sheet (shunt LSB 40 uV, bus LSB 8 mV); the kernel
    drivers ``ina3221x`` (JetPack 4, iio) and ``ina3221`` (JetPack 5 and 6, hwmon).
    """

    name = 'ina3221'

    def __init__(self, readers: Dict[str, Callable[[], float]]):
        super().__init__(tuple(sorted(readers)))
        self._readers = readers

    def read(self) -> Dict[str, float]:
        watts = {}
        for rail in self.rails:
            try:
                watts[rail] = self._readers[rail]()
            except (OSError, ValueError):
                continue  # a rail may answer EAGAIN while its channel converts
        return watts

    def total(self, watts: Dict[str, float]) -> Optional[float]:
        for rail in _BOARD_INPUTS:
            if rail in self.rails:
                return watts.get(rail)
        return _sum_of(watts, self.rails)


class RaplSource(PowerSource):
    """
    Zones of the running average power limit: energy counters turned to power.

    The first `read` has no earlier counter to compare with and answers nothing.

    Source: Linux kernel documentation, ``power/powercap/powercap.rst``.
    """

    name = 'rapl'

    def __init__(self, zones: Dict[str, str], clock: Callable[[], float] = time.monotonic):
        super().__init__(tuple(sorted(zones)))
        self._zones = zones
        self._clock = clock
        self._range_uj = {
            rail: _read_int(os.path.join(zone, 'max_energy_range_uj'))
            for rail, zone in zones.items()
        }
        self._last = {}  # type: Dict[str, Tuple[float, int]]

    def read(self) -> Dict[str, float]:
        watts = {}
        for rail in self.rails:
            try:
                energy_uj = _read_int(os.path.join(self._zones[rail], 'energy_uj'))
            except (OSError, ValueError):
                self._last.pop(rail, None)
                continue
            now_s = self._clock()
            last_s, last_uj = self._last.get(rail, (now_s, energy_uj))
            self._last[rail] = (now_s, energy_uj)
            if now_s <= last_s:
                continue
            used_uj = energy_uj - last_uj
            if used_uj < 0:  # the counter wrapped; twice within a read cannot be seen
                used_uj += self._range_uj[rail]
            watts[rail] = used_uj * 1e-6 / (now_s - last_s)
        return watts

    def total(self, watts: Dict[str, float]) -> Optional[float]:
        # Packages and their DRAM add up. Cores are part of a package; psys holds packages again.
        parts = [
            rail
            for rail in self.rails
            if '/' not in rail and not rail.startswith('psys') or rail.endswith('/dram')
        ]
        return _sum_of(watts, parts or self.rails)


class NvmlSource(PowerSource):
    """GPUs that NVIDIA's management library knows: board power, one rail per GPU."""

    name = 'nvml'

    def __init__(self, nvml):
        nvml.nvmlInit()
        self._nvml = nvml
        self._handles = {}
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            nvml.nvmlDeviceGetPowerUsage(handle)  # refuses here where it is not supported
            self._handles['gpu{}'.format(index)] = handle
        super().__init__(tuple(sorted(self._handles)))

    def read(self) -> Dict[str, float]:
        watts = {}
        for rail, handle in self._handles.items():
            try:
                watts[rail] = self._nvml.nvmlDeviceGetPowerUsage(handle) * 1e-3  # mW
            except self._nvml.NVMLError:
                continue
        return watts


def find_sources(root: str = '/') -> List[PowerSource]:
    """
    Return every meter of this machine, the unusable ones with their `problem`.

    Parameters
    ----------
    root : str
        Folder that holds ``sys``; another one than ``/`` serves tests, and leaves NVML out,
        which knows no such root.
    """
    sources = [_find_ina3221(root), _find_rapl(root)]
    if os.path.abspath(root) == '/':
        sources.append(_find_nvml())
    return [source for source in sources if source is not None]


class RailStatistics(NamedTuple):
    """Power of one rail over a window, W; the spread is that of the samples themselves."""

    average: float
    minimum: float
    maximum: float
    stddev: float
    count: int


class PowerWindow(NamedTuple):
    """Statistics per rail (``source/rail``, and `TOTAL`) from `start_s` to `stop_s`."""

    start_s: float  # of the meter's clock
    stop_s: float
    rails: Dict[str, RailStatistics]
    energy_j: Optional[float]  # of TOTAL; None unless measured through the whole window


class PowerMeter:
    """
    Samples of all usable sources, gathered into windows.

    Parameters
    ----------
    sources : list of PowerSource
        From `find_sources`; those with a problem are left out.
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, sources: List[PowerSource], clock: Callable[[], float] = time.monotonic):
        self.sources = [source for source in sources if source.rails]
        self._clock = clock
        self._samples = {}  # type: Dict[str, List[float]]
        self._energy_j = 0.0  # of TOTAL since the meter was made
        self._gaps = 0  # samples since then at which TOTAL was not known
        self._window_begin = (0.0, 0)
        self._start_s = self._last_s = clock()

    @property
    def is_measuring(self) -> bool:
        """Whether there is any meter at all."""
        return bool(self.sources)

    def sample(self) -> None:
        """Read every rail once."""
        now_s = self._clock()
        totals = []
        for source in self.sources:
            watts = source.read()
            for rail, value in watts.items():
                self._samples.setdefault('{}/{}'.format(source.name, rail), []).append(value)
            totals.append(source.total(watts))
        if totals and None not in totals:
            self._samples.setdefault(TOTAL, []).append(sum(totals))
            self._energy_j += sum(totals) * (now_s - self._last_s)
        else:
            self._gaps += 1
        self._last_s = now_s

    def take(self) -> PowerWindow:
        """Return the window since the last call and begin the next one."""
        rails = {rail: _statistics(values) for rail, values in self._samples.items()}
        energy_j = self.energy_since(self._window_begin) if TOTAL in rails else None
        window = PowerWindow(self._start_s, self._last_s, rails, energy_j)
        self._samples = {}
        self._window_begin = self.mark()
        self._start_s = self._last_s
        return window

    def mark(self) -> Tuple[float, int]:
        """Return a mark of the last sample, for `energy_since`."""
        return self._energy_j, self._gaps

    def energy_since(self, mark: Tuple[float, int]) -> Optional[float]:
        """Return the energy of TOTAL since a mark, J; None if it was unknown in between."""
        energy_j, gaps = mark
        return self._energy_j - energy_j if self._gaps == gaps else None


class EnergyPerInference:
    """
    What one inference costs, from the counts that a running engine reports now and then.

    It is all that the machine draws, idle included, over the inferences of the same time.
    """

    def __init__(self, meter: PowerMeter):
        self._meter = meter
        self._last = None  # type: Optional[Tuple[int, Tuple[float, int]]]

    def push(self, inferences: int) -> Optional[float]:
        """
        Return J per inference since the last report, or None where it cannot be known.

        Parameters
        ----------
        inferences : int
            How many the engine has done since it began; less than before means it began anew.
        """
        last, self._last = self._last, (inferences, self._meter.mark())
        if last is None or inferences <= last[0]:
            return None
        energy_j = self._meter.energy_since(last[1])
        return energy_j / (inferences - last[0]) if energy_j else None


def _find_ina3221(root: str) -> Optional[PowerSource]:
    readers = {}
    chips = glob.glob(os.path.join(root, 'sys/bus/i2c/drivers/ina3221*/*-*'))
    chips += [
        os.path.dirname(name)
        for name in glob.glob(os.path.join(root, 'sys/bus/i2c/devices/*/name'))
        if 'ina3221' in _read_text(name, '')
    ]
    for chip in sorted({os.path.realpath(chip) for chip in chips}):
        for device in sorted(glob.glob(os.path.join(chip, 'iio:device*'))):
            readers.update(_iio_rails(device))
        for device in sorted(glob.glob(os.path.join(chip, 'hwmon/hwmon*'))):
            readers.update(_hwmon_rails(device))
    return Ina3221Source(readers) if readers else None


def _iio_rails(device: str) -> Dict[str, Callable[[], float]]:
    readers = {}
    for name_file in glob.glob(os.path.join(device, 'rail_name_*')):
        rail = _read_text(name_file, '')
        power = os.path.join(device, 'in_power{}_input'.format(name_file.rsplit('_', 1)[1]))
        if _is_rail(rail) and os.path.exists(power):
            readers[rail] = lambda path=power: _read_int(path) * 1e-3  # mW
    return readers


def _hwmon_rails(device: str) -> Dict[str, Callable[[], float]]:
    readers = {}
    for label_file in glob.glob(os.path.join(device, 'in*_label')):
        rail = _read_text(label_file, '')
        millivolt = label_file[: -len('_label')] + '_input'
        index = os.path.basename(label_file)[len('in') : -len('_label')]
        milliampere = os.path.join(device, 'curr{}_input'.format(index))
        if _is_rail(rail) and os.path.exists(millivolt) and os.path.exists(milliampere):
            readers[rail] = lambda volt=millivolt, ampere=milliampere: (
                _read_int(volt) * _read_int(ampere) * 1e-6
            )
    return readers


def _is_rail(name: str) -> bool:
    # Unconnected channels are labelled NC; in7 sums shunt VOLTAGES, which is no power.
    return bool(name) and 'NC' not in name.split('_') and 'sum of shunt' not in name.lower()


def _find_rapl(root: str) -> Optional[PowerSource]:
    zones = {}
    for zone in sorted(glob.glob(os.path.join(root, 'sys/class/powercap/intel-rapl:*'))):
        if os.path.exists(os.path.join(zone, 'energy_uj')):
            zones[_zone_name(zone)] = zone
    if not zones:
        return None
    try:
        for zone in zones.values():
            _read_int(os.path.join(zone, 'energy_uj'))
        return RaplSource(zones)
    except PermissionError as error:
        return _unusable(
            RaplSource,
            'reading {} is not permitted; an administrator can allow it: chmod a+r {}'.format(
                error.filename, error.filename
            ),
        )
    except (OSError, ValueError) as error:
        return _unusable(RaplSource, 'cannot read the energy counters: {}'.format(error))


def _zone_name(zone: str) -> str:
    """Return ``package-0`` for a package and ``package-0/core`` for a zone within it."""
    name = _read_text(os.path.join(zone, 'name'), os.path.basename(zone))
    prefix, sep, number = zone.rpartition(':')
    if sep and ':' in os.path.basename(prefix):
        return '{}/{}'.format(_zone_name(prefix), name)
    return name


def _find_nvml() -> Optional[PowerSource]:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        return NvmlSource(pynvml)
    except pynvml.NVMLError as error:
        return _unusable(NvmlSource, 'NVML does not answer: {}'.format(error))


def _unusable(kind, problem: str) -> PowerSource:
    source = PowerSource(problem=problem)
    source.name = kind.name
    return source


def _statistics(values: List[float]) -> RailStatistics:
    average = sum(values) / len(values)
    variance = sum((value - average) ** 2 for value in values) / len(values)
    return RailStatistics(average, min(values), max(values), math.sqrt(variance), len(values))


def _sum_of(watts: Dict[str, float], rails) -> Optional[float]:
    if any(rail not in watts for rail in rails):
        return None
    return sum(watts[rail] for rail in rails)


def _read_text(path: str, default: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return default


def _read_int(path: str) -> int:
    with open(path) as file:
        return int(file.read())

"""
Readings of all sources, gathered into windows: statistics per rail, energy of `TOTAL`.

`TOTAL` is never a sum over meters that see the same watt twice. It is, of these, the first that
the machine has when the meter begins, and stays that:

1. a meter of all that the machine draws: a Jetson's input rail, the firmware's meter;
2. batteries and USB inputs, if they tell at that moment what the machine draws;
3. all rails of a Jetson that has no input rail;
4. its parts: processors with their DRAM, graphics cards;
5. whatever INA219, INA226 and the like are wired to.
"""

import math
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from cs3d_ros.power.sources import BOARD, MACHINE, PART, SUPPLY, WIRED, PowerSource, problems_of

TOTAL = 'total'  # name of what the machine draws, in a PowerWindow

SAMPLE_S = 0.05  # 20 Hz: the chips convert in some ms, the kernel counts RAPL each ms
SHORTEST_S = 0.005  # the kernel moves its counters each ms: closer readings are all or nothing
LONGEST_GAP_S = 1.0  # a reading that is missing for longer leaves the energy unknown


class RailStatistics(NamedTuple):
    """
    Power of one rail over a window, W.

    Each reading counts for the time since the one before, so that average times duration is
    energy however uneven the readings come.
    """

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
    energy_j: Optional[float]  # of TOTAL; None unless known through the whole window

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.stop_s - self.start_s


class PowerMeter:
    """
    Readings of all usable sources, gathered into windows.

    Parameters
    ----------
    sources : list of PowerSource
        From `find_sources`; those without rails are left out.
    clock : callable
        Seconds, never going back.

    Attributes
    ----------
    problems : list of str
        What of the sources is not usable, with the cures.
    basis : tuple of str
        The rails that make up `TOTAL`, as in a PowerWindow; empty where nothing measures.
    """

    def __init__(self, sources: List[PowerSource], clock: Callable[[], float] = time.monotonic):
        self.sources = [source for source in sources if source.rails]
        self.problems = problems_of(sources)
        self._clock = clock
        now_s = clock()
        readings = {id(source): source.read(now_s) for source in self.sources}  # counters begin
        self._summed = _choose(self.sources, readings)
        self.basis = tuple(
            _full_name(source, rail) for source in self._summed for rail in source.summed
        )
        self._running = {}  # type: Dict[str, _Running]
        self._start_s = self._last_s = self._known_s = now_s
        self._energy_j, self._is_known = 0.0, True

    @property
    def is_measuring(self) -> bool:
        """Whether there is any meter at all."""
        return bool(self.sources)

    @property
    def seconds(self) -> float:
        """How long the window is that began at the last `take`."""
        return self._last_s - self._start_s

    def sample(self) -> None:
        """Read every rail once, unless that was done just now."""
        now_s = self._clock()
        since_s = now_s - self._last_s
        if since_s < SHORTEST_S:
            return
        totals = []
        for source in self.sources:
            watts = source.read(now_s)
            for rail, value in watts.items():
                self._keep(_full_name(source, rail), value, since_s)
            if source in self._summed:
                totals.append(source.total(watts))
        if totals and None not in totals:
            unknown_s = now_s - max(self._known_s, self._start_s)
            self._keep(TOTAL, sum(totals), unknown_s)
            self._is_known &= unknown_s <= LONGEST_GAP_S
            self._energy_j += sum(totals) * unknown_s
            self._known_s = now_s
        self._last_s = now_s

    def take(self) -> PowerWindow:
        """Return the window since the last call and begin the next one."""
        rails = {rail: running.statistics() for rail, running in self._running.items()}
        is_known = self._is_known and TOTAL in rails and self._known_s == self._last_s
        window = PowerWindow(
            self._start_s, self._last_s, rails, self._energy_j if is_known else None
        )
        self._running = {}
        self._energy_j, self._is_known = 0.0, True
        self._start_s = self._last_s
        return window

    def complaints(self) -> List[str]:
        """Return why rails gave nothing at the last reading, and why TOTAL is not known."""
        found = [
            '{} gives no reading: {}'.format(_full_name(source, rail), reason)
            for source in self.sources
            for rail, reason in sorted(source.missing.items())
        ]
        silences = [source.silence() for source in self._summed]
        return found + ['no total: ' + silence for silence in silences if silence]

    def refused(self) -> Dict[str, int]:
        """Return how many readings of each rail failed, or made no sense, where any did."""
        return {
            _full_name(source, rail): fault.count
            for source in self.sources
            for rail, fault in sorted(source.faults.items())
        }

    def _keep(self, name: str, value: float, since_s: float) -> None:
        self._running.setdefault(name, _Running()).push(value, since_s)


def measure_while(
    work: Callable[[], Any], meter: PowerMeter, sample_s: float = SAMPLE_S
) -> Tuple[Any, PowerWindow]:
    """
    Return what some work returns, and the window of its time.

    Parameters
    ----------
    work : callable
        Runs in the calling thread; the meter is read in another one.
    meter : PowerMeter
        What it gathered before is dropped.
    sample_s : float
        Time between two readings.
    """
    ended = threading.Event()

    def read():
        while not ended.wait(sample_s):
            meter.sample()

    meter.sample()  # from where counters count
    meter.take()
    reader = threading.Thread(target=read, name='power', daemon=True)
    reader.start()
    try:
        result = work()
    finally:
        ended.set()
        reader.join()
    time.sleep(SHORTEST_S)  # lest this reading is one with the last, and misses the work's end
    meter.sample()
    return result, meter.take()


def _choose(sources: List[PowerSource], readings: Dict[int, Dict[str, float]]):
    """Return the sources whose totals add up to TOTAL."""

    def of(covers):
        return [source for source in sources if source.covers == covers]

    answering = [source for source in of(SUPPLY) if source.total(readings[id(source)]) is not None]
    choices = of(MACHINE)[:1], answering, of(BOARD), of(PART), of(WIRED), of(SUPPLY)
    return next((choice for choice in choices if choice), [])


def _full_name(source: PowerSource, rail: str) -> str:
    return '{}/{}'.format(source.name, rail)


class _Running:
    """Statistics that need no memory of the readings: a window may last for hours."""

    def __init__(self):
        self._count, self._seconds, self._average, self._spread = 0, 0.0, 0.0, 0.0
        self._minimum, self._maximum = math.inf, -math.inf

    def push(self, value: float, seconds: float) -> None:
        # West, Communications of the ACM 22 (1979), 532: weighted mean and variance in one pass
        self._count += 1
        self._seconds += seconds
        off = value - self._average
        self._average += off * seconds / self._seconds
        self._spread += seconds * off * (value - self._average)
        self._minimum, self._maximum = min(self._minimum, value), max(self._maximum, value)

    def statistics(self) -> RailStatistics:
        stddev = math.sqrt(max(0.0, self._spread) / self._seconds)
        return RailStatistics(self._average, self._minimum, self._maximum, stddev, self._count)

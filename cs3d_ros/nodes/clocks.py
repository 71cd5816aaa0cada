"""
The two places where the sensor's clock meets the host's; no ROS in here.

Everywhere else time is the sensor's.
"""

import time
from typing import Callable, Optional

TICK_S = 0.02  # how often silence is looked for: a good half of the usual period

BUCKET_NS = 5_000_000_000  # of sensor time over which the quickest arrival is looked for
LARGEST_SLEW = 1e-3  # of the stamps' pace; quartz clocks differ by 100 ppm at most
LARGEST_DRIFT_NS = 1_000_000_000  # a greater distance is no drift, nor a late start
SAME_NS = 20_000_000  # arrivals that differ by less keep the host's pace
LONGEST_GAP_NS = 10_000_000_000  # of sensor time, after which the host's clock is asked too


class ClockMap:
    """
    Sensor time to ROS time: an offset from the first arrival that follows slow drift.

    An arrival is late by its way to here, never early. So the smallest distance of arrival and
    sensor time in ten seconds or so is what two clocks that drift apart really differ by, and
    the offset moves there at LARGEST_SLEW at most: jitter and stalls do not show, stamps never
    leap nor step back, and for the first ten seconds they differ as sensor times do, exactly.

    A distance beyond LARGEST_DRIFT_NS that stays is a clock that was set, the host's or the
    sensor's: the offset is taken anew, in one step that `steps` counts. One that grows or shrinks
    on is a recording played at another rate: the sensor's pace is kept, since it is what all
    later stages count in, and `pace` tells of it.

    Attributes
    ----------
    resets : int
        Times the sensor's clock began anew.
    steps : int
        Times either clock was set.
    pace : float
        Seconds of ROS time per second of sensor time; 1 unless they run at different rates.

    Examples
    --------
    >>> clock = ClockMap()
    >>> clock.meet(5_000, 1_700_000_000_000_000_000)
    >>> clock.to_ros(6_000)
    1700000000000001000
    """

    def __init__(self):
        self.resets = self.steps = 0
        self.reset()

    def reset(self) -> None:
        """Forget the offset: the sensor's clock began anew."""
        self.pace = 1.0
        self._before = self._line = None  # type: Optional[_Line]
        self._last = None  # type: Optional[Tuple[int, int]]
        self._quickest = []  # of the last whole buckets: (distance, sensor time)

    def meet(self, sensor_ns: int, ros_ns: int) -> None:
        """Take the time of the newest event of a message, and when that arrived."""
        sensor_ns, distance_ns = int(sensor_ns), int(ros_ns) - int(sensor_ns)
        if self._is_another_clock(sensor_ns, distance_ns):
            self.reset()
            self.resets += 1
        self._last = sensor_ns, distance_ns
        if self._line is None:
            self._start(sensor_ns, distance_ns)
        elif sensor_ns >= self._line.start_ns + BUCKET_NS:
            self._close_bucket(sensor_ns)
            self._bucket = distance_ns, sensor_ns
        else:
            self._bucket = min(self._bucket, (distance_ns, sensor_ns))

    def _is_another_clock(self, sensor_ns: int, distance_ns: int) -> bool:
        if self._last is None:
            return False
        gap_ns = sensor_ns - self._last[0]
        # A long silence is one for both clocks.
        is_leap = gap_ns > LONGEST_GAP_NS and self._last[1] - distance_ns > LARGEST_DRIFT_NS
        return gap_ns < 0 or is_leap

    def _start(self, sensor_ns: int, distance_ns: int) -> None:
        self._before = self._line = _Line(sensor_ns, distance_ns, 0.0)
        self._bucket = distance_ns, sensor_ns
        self._quickest = []

    def _close_bucket(self, sensor_ns: int) -> None:
        """Begin a line that leads to the smallest distance of the last two buckets."""
        self._quickest = self._quickest[-1:] + [self._bucket]
        offset_ns = self._line.offset(sensor_ns)
        self._before, self._line = self._line, _Line(sensor_ns, offset_ns, 0.0)
        if len(self._quickest) < 2:
            return
        (old_ns, old_at), (new_ns, new_at) = self._quickest
        error_ns = min(old_ns, new_ns) - offset_ns
        if abs(error_ns) <= LARGEST_DRIFT_NS:
            slew = max(-LARGEST_SLEW, min(LARGEST_SLEW, error_ns / BUCKET_NS))
            self._line = _Line(sensor_ns, offset_ns, slew)
            self.pace = 1.0
        elif abs(new_ns - old_ns) <= SAME_NS:
            self.steps += 1
            self.pace = 1.0
            self._start(sensor_ns, offset_ns + error_ns)
        else:
            self.pace = 1.0 + (new_ns - old_ns) / (new_at - old_at)

    def to_ros(self, sensor_ns: int) -> int:
        """Return the ROS time of a sensor time, ns; only after `meet`."""
        if self._line is None:
            raise ValueError('no message has arrived yet: call meet first')
        sensor_ns = int(sensor_ns)
        line = self._line if sensor_ns >= self._line.start_ns else self._before
        return sensor_ns + line.offset(sensor_ns)

    def to_sensor(self, ros_ns: int) -> int:
        """Return the sensor time of a ROS time, ns, to a nanosecond; only after `meet`."""
        sensor_ns = int(ros_ns)
        for _ in range(4):  # the first leaves 5 ms, each other a thousandth of what is left
            sensor_ns += int(ros_ns) - self.to_ros(sensor_ns)
        return sensor_ns


class _Line:
    """The offset from one sensor time on; it ends level, and is level before its start."""

    __slots__ = ('start_ns', '_offset_ns', '_slew')

    def __init__(self, start_ns: int, offset_ns: int, slew: float):
        self.start_ns = start_ns
        self._offset_ns = offset_ns
        self._slew = slew

    def offset(self, sensor_ns: int) -> int:
        elapsed_ns = min(max(0, sensor_ns - self.start_ns), BUCKET_NS)
        return self._offset_ns + int(self._slew * elapsed_ns)


class Silence:
    """
    How far sensor time has gone on while no events came, by the host's clock.

    A tick counts at most twice its length: a process that was itself held up must not take the
    events that wait for it for silence.

    Parameters
    ----------
    clock : callable
        Steady seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._last_ns = None  # type: Optional[int]
        self._silent_s = 0.0
        self._tick_s = clock()

    def end(self, sensor_ns: int) -> None:
        """Take the time of the newest event, which came just now."""
        self._last_ns = sensor_ns
        self._silent_s = 0.0

    def tick(self, idle_s: float) -> Optional[int]:
        """
        Return the sensor time up to which no event will come any more, ns.

        Parameters
        ----------
        idle_s : float
            How late an event may arrive, s; 0 means any time.

        Returns
        -------
        int or None
            None while events come, or before the first one.
        """
        now_s = self._clock()
        self._silent_s += min(now_s - self._tick_s, 2 * TICK_S)
        self._tick_s = now_s
        if self._last_ns is None or not idle_s or self._silent_s <= idle_s:
            return None
        return self._last_ns + int((self._silent_s - idle_s) * 1e9)

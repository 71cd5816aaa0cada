"""
The two places where the sensor's clock meets the host's; no ROS in here.

Everywhere else time is the sensor's.
"""

import time
from typing import Callable, Optional

TICK_S = 0.02  # how often silence is looked for: a good half of the usual period


class ClockMap:
    """
    Sensor time to ROS time: one offset, taken when the first events arrive.

    The newest event of the first message counts as having happened when it arrived, so the map
    is late by the way from the camera to here, some milliseconds. It is not followed up: stamps
    then differ as the sensor's times do, without the jitter of arrivals.

    Examples
    --------
    >>> clock = ClockMap()
    >>> clock.meet(5_000, 1_700_000_000_000_000_000)
    >>> clock.to_ros(6_000)
    1700000000000001000
    """

    def __init__(self):
        self._offset_ns = None  # type: Optional[int]

    def meet(self, sensor_ns: int, ros_ns: int) -> None:
        """Take the offset from a sensor time that is now, unless there is one already."""
        if self._offset_ns is None:
            self._offset_ns = int(ros_ns) - int(sensor_ns)

    def to_ros(self, sensor_ns: int) -> int:
        """Return the ROS time of a sensor time, ns; only after `meet`."""
        if self._offset_ns is None:
            raise ValueError('no message has arrived yet: call meet first')
        return int(sensor_ns) + self._offset_ns

    def to_sensor(self, ros_ns: int) -> int:
        """Return the sensor time of a ROS time, ns; only after `meet`."""
        return int(ros_ns) - self.to_ros(0)

    def reset(self) -> None:
        """Forget the offset: the sensor's clock began anew."""
        self._offset_ns = None


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

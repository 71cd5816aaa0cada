"""A recording as a camera would send it: read ahead, cut into messages, paced; no ROS in here."""

import collections
import threading
import time
from typing import Callable, Iterable, Iterator, Optional, Tuple

from cs3d_ros.events import EventBatch
from cs3d_ros.events.periods import LONGEST_GAP_NS
from cs3d_ros.simulator import open_source

MAX_EVENTS = 20_000  # per message: 320 kB, below the 512 KiB that Fast DDS passes by default
AHEAD_EVENTS = 2_000_000  # that wait to be sent, 26 MB: two seconds of a lively scene
AHEAD_BATCHES = 1000  # that wait, where events are few: ten seconds by default, below 1 MB


def played(path: str, bin_ns: int, loop: bool) -> Iterator[Tuple[EventBatch, float]]:
    """
    Yield the batches of a recording or video, and the share of it that is read by then.

    Parameters
    ----------
    path : str
    bin_ns : int
        Sensor time of a batch.
    loop : bool
        Begin again at the end, with event times that go on.
    """
    offset_ns = 0
    with open_source(path) as recording:
        while True:
            start_ns = end_ns = None
            for batch in recording.batches(bin_ns):
                start_ns = int(batch.t[0]) if start_ns is None else start_ns
                end_ns = int(batch.t[-1])
                yield _shifted(batch, offset_ns) if offset_ns else batch, recording.progress
            if not loop or start_ns is None:
                return
            # A whole number of batches, so that the cuts stay where they were.
            offset_ns += (end_ns // bin_ns - start_ns // bin_ns + 1) * bin_ns


def _shifted(batch: EventBatch, offset_ns: int) -> EventBatch:
    return EventBatch.trusted(
        batch.x, batch.y, batch.t + offset_ns, batch.p, batch.width, batch.height
    )


class ReadAhead:
    """
    The pairs of `played`, fetched by a thread while earlier ones are sent; ``with`` ends it.

    Files are read in gulps, and a loop opens them again: without this, what is due would wait. No
    more than AHEAD_BATCHES wait.

    Parameters
    ----------
    pairs : iterable
        What it raises comes out of the iteration, at its place.
    most : int
        Events that may wait.
    """

    def __init__(self, pairs: Iterable[Tuple[EventBatch, float]], most: int = AHEAD_EVENTS):
        self._pairs, self._most = pairs, most
        self._waiting, self._events = collections.deque(), 0
        self._change = threading.Condition()
        self._is_closed = self._is_done = False
        self._error = None
        self._thread = threading.Thread(target=self._read, name='reader', daemon=True)

    def __enter__(self) -> 'ReadAhead':
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        with self._change:
            self._is_closed = True
            self._change.notify_all()
        self._thread.join()

    def __iter__(self) -> Iterator[Tuple[EventBatch, float]]:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._is_done)
                if not self._waiting:
                    break
                pair = self._waiting.popleft()
                self._events -= len(pair[0])
                self._change.notify_all()
            yield pair
        if self._error is not None:
            raise self._error

    def _has_room(self) -> bool:
        return self._events < self._most and len(self._waiting) < AHEAD_BATCHES

    def _read(self) -> None:
        try:
            for pair in self._pairs:
                with self._change:
                    self._change.wait_for(lambda: self._is_closed or self._has_room())
                    if self._is_closed:
                        return
                    self._waiting.append(pair)
                    self._events += len(pair[0])
                    self._change.notify_all()
        except Exception as error:  # the edge of the thread
            self._error = error
        finally:
            with self._change:
                self._is_done = True
                self._change.notify_all()


def split(batch: EventBatch, bin_ns: int) -> Iterator[Tuple[EventBatch, int]]:
    """Yield what fits a message and when it is due, so that many do not come in one burst."""
    for first in range(0, len(batch), MAX_EVENTS):
        part = batch[first : first + MAX_EVENTS]
        last_ns = int(part.t[-1])
        is_last = first + MAX_EVENTS >= len(batch)
        yield part, (last_ns // bin_ns + 1) * bin_ns if is_last else last_ns


class Pace:
    """
    Steady time of sensor times; the first one is due at once, a change of rate holds on.

    What is late is caught up with at twice the pace: a best-effort subscriber would lose a burst.
    What lies further ahead than LONGEST_GAP_NS is due after that: all stages take it for a clock
    that leapt.

    Parameters
    ----------
    stop : threading.Event
        Ends every wait.
    on_leap : callable, optional
        Called with the first gap that is cut short, s, before it is waited for.

    Attributes
    ----------
    late_s : float
        How much too late the last one was.
    """

    def __init__(self, stop: threading.Event, on_leap: Optional[Callable[[float], None]] = None):
        self._stop, self._on_leap = stop, on_leap
        self._last = None  # sensor time, when it was due, and when it came
        self._stand = 0.0, 0.0, 0.0, 1.0  # position, when it was due, gap to the next, rate
        self.late_s = 0.0

    @property
    def position_s(self) -> float:
        """Sensor time played since the first; goes on while the next one is waited for."""
        position_s, due_s, gap_s, rate = self._stand
        return position_s + min(gap_s, max(0.0, time.monotonic() - due_s) * rate)

    def wait_until(self, sensor_ns: int, rate: float) -> None:
        """Return when this sensor time is due, or `stop` is set."""
        if self._last is None:
            now_s = time.monotonic()
            self._last = (sensor_ns, now_s, now_s)
            return
        last_ns, last_due_s, last_s = self._last
        gap_ns = sensor_ns - last_ns
        if gap_ns > LONGEST_GAP_NS and self._on_leap:
            self._on_leap(gap_ns * 1e-9)
            self._on_leap = None
        gap_s = min(gap_ns, LONGEST_GAP_NS) * 1e-9
        due_s = last_due_s + gap_s / rate
        earliest_s = max(due_s, last_s + 0.5 * gap_s / rate)
        position_s = self._stand[0]
        self._stand = position_s, last_due_s, gap_s, rate
        self._stop.wait(max(0.0, earliest_s - time.monotonic()))
        now_s = time.monotonic()
        self._last = (sensor_ns, due_s, now_s)
        self._stand = position_s + gap_s, due_s, 0.0, rate
        self.late_s = now_s - due_s

"""Periods of sensor time, and where a stream crosses from one to the next."""

from typing import List, NamedTuple, Optional

from cs3d_ros.events.batch import EventBatch

LONGEST_GAP_NS = 10_000_000_000  # without events; beyond it the clock jumped or the camera slept
LATE_NS = 1_000_000_000  # events older than this mean a new clock, younger ones come too late


def period_index(t_ns: int, period_ns: int) -> int:
    """Return the number of the period [index * period_ns, (index + 1) * period_ns) of a time."""
    return int(t_ns) // period_ns


class Cut(NamedTuple):
    """Events of a batch that fall into one period, and what happens before they do."""

    ends_ns: range  # of the periods that close
    restart: bool  # then the clock went back or leapt ahead: forget what is still open
    start_ns: Optional[int]  # of the one that is open now; None before the first event
    late: int  # events dropped, as their period was closed already
    first: int  # of the events in the open period: [first, last) of the batch
    last: int


class PeriodCutter:
    """
    Where a stream of events crosses from one period to the next, however it is cut.

    Periods are aligned to absolute sensor time, and those without events exist. More than
    ``LONGEST_GAP_NS`` without an event after a period closes that one alone and begins anew, so no
    batch closes more periods than fit that gap. A clock that goes back by more than ``LATE_NS``
    begins anew, too, and the open period never ends.

    Examples
    --------
    >>> import numpy as np
    >>> batch = EventBatch(np.zeros(3, np.uint16), np.zeros(3, np.uint16),
    ...                    np.array([5, 12, 31]), np.zeros(3, np.uint8), 1, 1)
    >>> for cut in PeriodCutter(10).push(batch):
    ...     print(list(cut.ends_ns), batch.t[cut.first : cut.last])
    [] [5]
    [10] [12]
    [20, 30] [31]
    """

    def __init__(self, period_ns: int):
        if period_ns < 1:
            raise ValueError('a period must be positive, got {} ns'.format(period_ns))
        self._period_ns = int(period_ns)
        self.reset()

    def reset(self):
        """Forget the stream; the next events open a period of their own."""
        self.start_ns = None  # of the open period

    def push(self, batch: EventBatch) -> List[Cut]:
        """Return where to cut events that follow the earlier ones in time."""
        cuts = []
        t = batch.t
        last = 0
        while last < len(t):
            ends_ns, restart = self._open(int(t[last]))
            first = last
            if t[first] < self.start_ns:
                first += int(t[first:].searchsorted(self.start_ns))
            late, last = first - last, len(t)
            if t[-1] >= self.start_ns + self._period_ns:
                last = first + int(t[first:].searchsorted(self.start_ns + self._period_ns))
            cuts.append(Cut(ends_ns, restart, self.start_ns, late, first, last))
        return cuts

    def advance(self, t_ns: int) -> Cut:
        """Return the periods that end by ``t_ns``, as no event before it will come."""
        if self.start_ns is None or t_ns < self.start_ns + self._period_ns:
            return Cut(range(0), False, self.start_ns, 0, 0, 0)
        ends_ns, restart = self._open(int(t_ns))
        return Cut(ends_ns, restart, self.start_ns, 0, 0, 0)

    def _open(self, t_ns):
        """Make the period of a time the open one; return (ends of those closed, restart)."""
        open_ns = self.start_ns
        self.start_ns = period_index(t_ns, self._period_ns) * self._period_ns
        if open_ns is None:
            return range(0), False
        end_ns = open_ns + self._period_ns
        if t_ns < open_ns - LATE_NS:
            return range(0), True
        if t_ns - end_ns > LONGEST_GAP_NS:
            return range(end_ns, end_ns + 1), True
        self.start_ns = max(open_ns, self.start_ns)
        return range(end_ns, self.start_ns + 1, self._period_ns), False

"""
Filters: batches of events in, the events worth keeping out.

Every filter is one stage: ``push(batch)`` returns a batch, ``reset()`` forgets the stream, and
``counts`` tells what became of the events. Filters remember across batches, so a stream cut
elsewhere gives the same events. Where a batch begins before the last one ended, the clock was set
anew: the filter forgets the stream by itself and counts a restart.
"""

from typing import NamedTuple

import numpy as np

from cs3d_ros.events import _filters
from cs3d_ros.events.batch import COLUMN_TYPES, EventBatch

LONGEST_REACH_NS = 2_000_000_000  # ns; times in the maps are 32 bits


class FilterCounts(NamedTuple):
    """What became of the events since a filter was made."""

    events: int = 0  # received
    kept: int = 0
    restarts: int = 0  # times the clock went back, and the filter began anew

    @property
    def dropped(self) -> int:
        """Events decided against; a rate limiter may still hold some that it has received."""
        return self.events - self.kept


class _Filter:
    """What all filters share: they mark events, one by one, and keep the marked."""

    def __init__(self, width: int, height: int, settings):
        EventBatch.empty(width, height)  # refuses what is no sensor
        self.width, self.height = width, height
        self.settings = settings
        self.counts = FilterCounts()
        self.reset()

    def reset(self):
        """Forget the stream; the next events start a new one."""
        self._last_ns = None
        self._forget()

    def push(self, batch: EventBatch) -> EventBatch:
        """
        Take events that follow the earlier ones in time; return those to keep.

        Raises
        ------
        ValueError
            If the batch is of another sensor size.
        """
        if batch.width != self.width or batch.height != self.height:
            raise ValueError(
                'filter is for a sensor of {} x {}, got events of {} x {}: make a new one'.format(
                    self.width, self.height, batch.width, batch.height
                )
            )
        if not len(batch):
            return batch
        restarts = self._follow(batch.t)
        kept = self._select(batch)
        events, before, restarted = self.counts
        self.counts = FilterCounts(events + len(batch), before + len(kept), restarted + restarts)
        return kept

    def _follow(self, t):
        """Begin anew if time went back; return whether it did."""
        first_ns = int(t[0])
        restarts = self._last_ns is not None and first_ns < self._last_ns
        if restarts:
            self.reset()
        if self._last_ns is None:
            self._begin(first_ns)
        self._last_ns = int(t[-1])
        return restarts

    def _begin(self, t_ns):
        self._base_ns = t_ns

    def _select(self, batch):
        keep = np.empty(len(batch), np.uint8)
        return _marked(batch, keep, self._mark(batch, keep))


def _marked(batch, keep, count):
    """Return the events of a batch that a kernel has marked."""
    if count == len(batch):
        return batch
    columns = batch.x, batch.y, batch.t, batch.p
    # one more than is kept: the loop writes an event before it knows whether to keep it
    out = [np.empty(count + 1, dtype) for dtype in COLUMN_TYPES.values()]
    _filters.copy_marked(keep, *columns, *out)
    return EventBatch.trusted(*[column[:count] for column in out], batch.width, batch.height)


def _check_reach(name, value_ns):
    if not 0 < value_ns <= LONGEST_REACH_NS:
        raise ValueError('{} must be 1 to {} ns, got {}'.format(name, LONGEST_REACH_NS, value_ns))


class BackgroundActivitySettings(NamedTuple):
    """How near in time an event needs a neighbour."""

    # Facial movement is slow: at 10 ms 65-73 % of the events of faces survive, at 5 ms 47-60 %,
    # while of pure sensor noise 6 % and 3 % do.
    tau_ns: int = 10_000_000


class BackgroundActivityFilter(_Filter):
    """
    Drop events without company: noise comes alone, edges move over neighbours.

    An event survives if one of the 8 pixels around its own fired at most ``tau_ns`` earlier, of
    whatever polarity; one of the same time counts if it came before in the stream. Every event,
    kept or not, is company for later ones.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    settings : BackgroundActivitySettings

    Examples
    --------
    >>> cleaner = BackgroundActivityFilter(346, 260)
    >>> len(cleaner.push(EventBatch.empty(346, 260)))
    0

    Source
    ------
    T. Delbruck, "Frame-free dynamic digital vision", 2008.
    """

    def __init__(
        self,
        width: int,
        height: int,
        settings: BackgroundActivitySettings = BackgroundActivitySettings(),
    ):
        _check_reach('tau_ns', settings.tau_ns)
        self._times = np.empty((height + 2, width + 2), np.uint32)
        super().__init__(width, height, settings)

    def _forget(self):
        self._times[:] = 0

    def _mark(self, batch, keep):
        count, self._base_ns = _filters.mark_supported(
            batch.x, batch.y, batch.t, self._times, self._base_ns, self.settings.tau_ns + 1, keep
        )
        return count

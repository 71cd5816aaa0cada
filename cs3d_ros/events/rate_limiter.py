"""A bound on the rate of events: what exceeds it is thinned out, fairly over the sensor."""

from typing import NamedTuple

import numpy as np

from cs3d_ros.events import _filters, _frames
from cs3d_ros.events.batch import EventBatch, join
from cs3d_ros.events.filters import NS_PER_S, Filter, take_marked
from cs3d_ros.events.periods import PeriodCutter

HELD_EVENTS = 1 << 20  # 14 MB; at the default slice 200 M events/s, more than a cable carries


class RateSettings(NamedTuple):
    """How many events may pass, and how finely they are shared out."""

    rate_hz: float = 5_000_000.0  # events per second of sensor time
    slice_ns: int = 5_000_000  # over which the rate is held, and by which events come later
    cell_px: int = 16  # side of the squares that get equal shares


class RateLimiter(Filter):
    """
    Thin out what exceeds a rate, so that busy regions pay and quiet ones keep all they have.

    Of a slice of sensor time with more events than may pass, every cell of the sensor gets an
    equal share; what a cell does not use goes to the others. A cell keeps its share evenly spread
    over its events. A slice is decided when it is over, so its events come out with a later one,
    with :meth:`advance` or with :meth:`flush`. No more than ``HELD_EVENTS`` or what may pass
    are held; the events of a slice beyond that are dropped.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    settings : RateSettings

    Examples
    --------
    >>> limiter = RateLimiter(346, 260, RateSettings(rate_hz=1e6))
    >>> len(limiter.push(EventBatch.empty(346, 260)))
    0
    """

    def __init__(self, width: int, height: int, settings: RateSettings = RateSettings()):
        if not (settings.rate_hz > 0 and settings.slice_ns > 0 and settings.cell_px > 0):
            raise ValueError('rate, slice and cell must be positive: {}'.format(settings))
        self._budget = max(1, int(settings.rate_hz * settings.slice_ns / NS_PER_S))
        self._cutter = PeriodCutter(settings.slice_ns)
        self._cells = -(-height // settings.cell_px), -(-width // settings.cell_px)
        super().__init__(width, height, settings)

    def _forget(self):
        self._cutter.reset()
        self._held = []
        self._room = max(HELD_EVENTS, self._budget)

    def advance(self, t_ns: int) -> EventBatch:
        """Return the events of a slice that has ended, as no event before a time will come."""
        cut = self._cutter.advance(t_ns)
        return self._count(self._decide() if cut.ends_ns or cut.restart else [])

    def flush(self) -> EventBatch:
        """End the stream: return what is held of it, and begin anew."""
        kept = self._count(self._decide())
        self.reset()
        return kept

    def _count(self, parts):
        kept = self._join(parts)
        self._kept += len(kept)
        return kept

    def _select(self, batch):
        decided = []
        for cut in self._cutter.push(batch):
            if cut.ends_ns or cut.restart:
                decided += self._decide()
            part = batch[cut.first : min(cut.last, cut.first + self._room)]
            self._room -= len(part)
            self._held.append(part)
        return self._join(decided)

    def _decide(self):
        """Return the events to keep of the slice that is over, as a list of one batch or none."""
        if not self._held:
            return []
        batch = self._join(self._held)
        self._held = []
        self._room = max(HELD_EVENTS, self._budget)
        if len(batch) <= self._budget:
            return [batch]
        counts = np.zeros(self._cells, np.int32)
        cell_px = self.settings.cell_px
        _frames.count_in_cells(batch.x, batch.y, cell_px, counts)
        counts = counts.ravel()
        keep = np.empty(len(batch), np.uint8)
        shares = fair_shares(counts, self._budget)
        marked = _filters.mark_shares(
            batch.x, batch.y, cell_px, self._cells[1], counts, shares, np.zeros_like(counts), keep
        )
        return [take_marked(batch, keep, marked)]

    def _join(self, parts):
        return join(parts) if parts else EventBatch.empty(self.width, self.height)


def fair_shares(counts: np.ndarray, budget: int) -> np.ndarray:
    """
    Return how many of each cell's events may pass, when the cells take one in turn.

    Parameters
    ----------
    counts : np.ndarray [shape=(n,), dtype=int32]
        Events that each cell has; their sum exceeds the budget.
    budget : int
        Sum of the shares.
    """
    ordered = np.sort(counts).astype(np.int64)
    spent = np.concatenate([[0], np.cumsum(ordered)])  # by the cells that get all they have
    left = len(ordered) - np.arange(len(ordered))
    # the first cell that cannot get all it has, when it and all larger ones get the same
    short = int(np.argmax(spent[:-1] + ordered * left > budget))
    level, rest = divmod(budget - int(spent[short]), int(left[short]))
    shares = np.minimum(counts, level).astype(np.int32)
    shares[np.nonzero(counts > level)[0][:rest]] += 1
    return shares

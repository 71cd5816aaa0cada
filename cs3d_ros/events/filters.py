"""
Filters: batches of events in, the events worth keeping out.

Every filter is one stage: ``push(batch)`` returns a batch, ``reset()`` forgets the stream, and
``counts`` tells what became of the events. Filters remember across batches, so a stream cut
elsewhere gives the same events. Where a batch begins before the last one ended, the clock was set
anew: the filter forgets the stream by itself and counts a restart.
"""

from typing import List, NamedTuple, Tuple

import numpy as np

from cs3d_ros.events import _filters
from cs3d_ros.events.batch import EventBatch, check_sensor, check_size, empty_columns
from cs3d_ros.events.periods import PeriodCutter

LONGEST_REACH_NS = 2_000_000_000  # of a map of times, whose cells are 32 bits
FASTEST_LIGHT_HZ = 1000  # lamps flicker at twice the mains; pixels hardly follow beyond
NS_PER_S = 1_000_000_000


class FilterCounts(NamedTuple):
    """What became of the events since a filter was made."""

    events: int = 0  # received
    kept: int = 0
    restarts: int = 0  # times the clock went back, and the filter began anew

    @property
    def dropped(self) -> int:
        """Events decided against; a rate limiter may still hold some that it has received."""
        return self.events - self.kept


class Filter:
    """What all filters share: they mark events, one by one, and keep the marked."""

    def __init__(self, width: int, height: int, settings):
        check_size(width, height)
        self.width, self.height = width, height
        self.settings = settings
        self._events = self._kept = self._restarts = 0
        self.reset()

    @property
    def counts(self) -> FilterCounts:
        """What became of the events so far."""
        return FilterCounts(self._events, self._kept, self._restarts)

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
        check_sensor(batch, self.width, self.height, type(self).__name__)
        if not len(batch):
            return batch
        self._follow(batch.t)
        kept = self._select(batch)
        self._events += len(batch)
        self._kept += len(kept)
        return kept

    def _follow(self, t):
        """Begin anew if time went back."""
        first_ns = int(t[0])
        if self._last_ns is not None and first_ns < self._last_ns:
            self.reset()
            self._restarts += 1
        if self._last_ns is None:
            self._begin(first_ns)
        self._last_ns = int(t[-1])

    def _begin(self, t_ns):
        self._base_ns = t_ns

    def _select(self, batch):
        keep = np.empty(len(batch), np.uint8)
        return take_marked(batch, keep, self._mark(batch, keep))


def take_marked(batch: EventBatch, keep: np.ndarray, count: int) -> EventBatch:
    """Return the events of a batch that a kernel has marked."""
    if count == len(batch):
        return batch
    columns = batch.x, batch.y, batch.t, batch.p
    # more than is kept: the kernel writes eight events before it knows which of them to keep
    out = empty_columns(count + 8)
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


class BackgroundActivityFilter(Filter):
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


class RefractorySettings(NamedTuple):
    """How long a pixel rests."""

    period_ns: int = 1_000_000  # bursts of one pixel at one edge are closer, edges are not


class RefractoryFilter(Filter):
    """
    Drop events that come less than ``period_ns`` after the last kept one of their pixel.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    settings : RefractorySettings

    Examples
    --------
    >>> RefractoryFilter(346, 260).counts.kept
    0
    """

    def __init__(
        self, width: int, height: int, settings: RefractorySettings = RefractorySettings()
    ):
        _check_reach('period_ns', settings.period_ns)
        self._times = np.empty((height + 2, width + 2), np.uint32)
        super().__init__(width, height, settings)

    def _forget(self):
        self._times[:] = 0

    def _mark(self, batch, keep):
        count, self._base_ns = _filters.mark_rested(
            batch.x, batch.y, batch.t, self._times, self._base_ns, self.settings.period_ns, keep
        )
        return count


class HotPixelSettings(NamedTuple):
    """What makes a pixel hot."""

    window_ns: int = 1_000_000_000  # of sensor time, after which the pixels are judged anew
    least_hz: float = 50.0  # a slower pixel does no harm that background activity leaves
    least_events: int = 20  # in a window; fewer come about by chance
    ratio: float = 5.0  # to the busiest of the 8 neighbours


class HotPixel(NamedTuple):
    """A pixel that fires by itself."""

    x: int
    y: int
    rate_hz: float


class HotPixelFilter(Filter):
    """
    Drop the events of pixels that fire by themselves; learned from the stream, and unlearned.

    A pixel is hot through one window if in the one before it fired ``least_hz`` or more, and
    more than ``ratio`` times as often as any of its 8 neighbours; two side by side are hot if that
    is so of them together. Edges run over rows of pixels, so three in contact are held for one. A
    window without any event teaches nothing. The first window passes whole.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    settings : HotPixelSettings

    Examples
    --------
    >>> HotPixelFilter(346, 260).report()
    []
    """

    def __init__(self, width: int, height: int, settings: HotPixelSettings = HotPixelSettings()):
        if not (settings.window_ns > 0 and settings.least_events > 0 and settings.ratio >= 1):
            raise ValueError(
                'window and least events must be positive, ratio 1 or more: {}'.format(settings)
            )
        self._cutter = PeriodCutter(settings.window_ns)
        self._hot = np.empty((height, width), np.uint8)
        self._counts = np.empty((height + 4, width + 4), np.uint32)
        super().__init__(width, height, settings)

    def _forget(self):
        self._cutter.reset()
        self._counts[:] = 0
        self._hot[:] = 0
        self._rates_hz = []

    def _mark(self, batch, keep):
        marked = 0
        for cut in self._cutter.push(batch):
            if cut.restart:  # what was hot stays so: a camera falls asleep within a window
                self._counts[:] = 0
            elif cut.ends_ns:
                self._judge()
            marked += _filters.mark_cool(
                batch.x, batch.y, cut.first, cut.last, self._counts, self._hot, keep
            )
        return marked

    def _judge(self):
        window_s = self.settings.window_ns / NS_PER_S
        least = max(int(np.ceil(self.settings.least_hz * window_s)), self.settings.least_events)
        _filters.find_hot(self._counts, least, self.settings.ratio, self._hot)
        self._rates_hz = self._counts[2:-2, 2:-2][self._hot != 0] / window_s
        self._counts[:] = 0

    def report(self) -> List[HotPixel]:
        """Return the pixels that are held for hot at present, the busiest first."""
        rows, columns = np.nonzero(self._hot)
        pixels = zip(columns.tolist(), rows.tolist(), np.asarray(self._rates_hz).tolist())
        return sorted((HotPixel(*pixel) for pixel in pixels), key=lambda pixel: -pixel.rate_hz)


class FlickerSettings(NamedTuple):
    """What light flickers like."""

    lights_hz: Tuple[float, float] = (100.0, 120.0)  # twice the mains of 50 and of 60 Hz
    tolerance: float = 0.1  # share of its cycle; at 0.08 a DAVIS346 lets a fifth of a lamp through
    cycles: int = 3  # in a row that make it flicker, 1 to 127


class FlickerFilter(Filter):
    """
    Drop the events of pixels that see a lamp on the mains, or something lit by it.

    Such a pixel turns from OFF to ON once a cycle of the light. One that did so ``cycles`` times
    in a row is dropped, until it misses a cycle; an edge that passes turns a pixel once.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    settings : FlickerSettings

    Examples
    --------
    >>> FlickerFilter(346, 260).settings.lights_hz
    (100.0, 120.0)
    """

    def __init__(self, width: int, height: int, settings: FlickerSettings = FlickerSettings()):
        slow, fast = sorted(settings.lights_hz)
        if not (
            1 <= slow <= fast <= FASTEST_LIGHT_HZ
            and 0 < settings.tolerance < 0.5
            and 0 < settings.cycles < 128
        ):
            raise ValueError(
                'lights must be 1 Hz or more and {} at most, tolerance below 0.5, cycles 1 to '
                '127: {}'.format(FASTEST_LIGHT_HZ, settings)
            )
        near = 1 - settings.tolerance, 1 + settings.tolerance
        self._bands = np.array(
            [round(NS_PER_S / light_hz * share) for light_hz in (fast, slow) for share in near],
            np.uint32,
        )
        self._reach_ns = int(self._bands.max()) + 1
        self._times = np.empty((height + 2, width + 2), np.uint32)
        self._streaks = np.empty_like(self._times, np.uint8)
        super().__init__(width, height, settings)

    def _forget(self):
        self._times[:] = 0
        self._streaks[:] = 0

    def _mark(self, batch, keep):
        count, self._base_ns = _filters.mark_steady(
            batch.x,
            batch.y,
            batch.t,
            batch.p,
            self._times,
            self._streaks,
            self._base_ns,
            self._reach_ns,
            self._bands,
            self.settings.cycles,
            keep,
        )
        return count

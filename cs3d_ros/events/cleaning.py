"""The filters one after the other, as the chain uses them: settings, order, what each dropped."""

from typing import List, NamedTuple

from cs3d_ros.events.batch import EventBatch
from cs3d_ros.events.filters import (
    BackgroundActivityFilter,
    BackgroundActivitySettings,
    FlickerFilter,
    FlickerSettings,
    HotPixel,
    HotPixelFilter,
    RefractoryFilter,
    RefractorySettings,
)
from cs3d_ros.events.rate_limiter import RateLimiter, RateSettings


class CleaningSettings(NamedTuple):
    """Which filters events go through; 0 and False leave one out, and by default all are."""

    hot_pixels: bool = False
    flicker_hz: float = 0.0  # of the lamps, twice the mains: 100 or 120
    refractory_ns: int = 0
    background_activity_ns: int = 0
    rate_hz: float = 0.0  # most events per second


class CleaningCounts(NamedTuple):
    """Events dropped, by the filter that did."""

    hot_pixels: int = 0
    flicker: int = 0
    refractory: int = 0
    background_activity: int = 0
    rate: int = 0


class Cleaner:
    """
    Events in, those worth keeping out; without a filter the very same batch.

    A limit of the rate holds back the events of a slice until it is over, so some come out with
    later ones, and the last with :meth:`flush`.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    settings : CleaningSettings
    slice_ns : int
        Sensor time over which the rate is held.

    Raises
    ------
    ValueError
        If a setting is out of a filter's range.

    Examples
    --------
    >>> cleaner = Cleaner(346, 260, CleaningSettings(background_activity_ns=5_000_000))
    >>> len(cleaner.push(EventBatch.empty(346, 260)))
    0
    >>> cleaner.counts.background_activity
    0
    """

    def __init__(
        self,
        width: int,
        height: int,
        settings: CleaningSettings = CleaningSettings(),
        slice_ns: int = RateSettings().slice_ns,
    ):
        size = width, height
        self._empty = EventBatch.empty(width, height)
        self._stages = {}
        # Hot pixels first: they would be company to their neighbours, and are known by the rate
        # at which they really fire. Flicker before the rest of a pixel, which hides the turns
        # that it is known by. Background activity after both, so that neither a hot pixel nor a
        # lamp saves noise around it. The limit last, to be spent on what is worth keeping.
        if settings.hot_pixels:
            self._stages['hot_pixels'] = HotPixelFilter(*size)
        if settings.flicker_hz:
            lights_hz = settings.flicker_hz, settings.flicker_hz
            self._stages['flicker'] = FlickerFilter(*size, FlickerSettings(lights_hz))
        if settings.refractory_ns:
            rest = RefractorySettings(settings.refractory_ns)
            self._stages['refractory'] = RefractoryFilter(*size, rest)
        if settings.background_activity_ns:
            reach = BackgroundActivitySettings(settings.background_activity_ns)
            self._stages['background_activity'] = BackgroundActivityFilter(*size, reach)
        if settings.rate_hz:
            limit = RateSettings(settings.rate_hz, slice_ns)
            self._stages['rate'] = RateLimiter(*size, limit)

    def push(self, batch: EventBatch) -> EventBatch:
        """Take events that follow the earlier ones in time; return those that are settled."""
        for stage in self._stages.values():
            batch = stage.push(batch)
        return batch

    def flush(self) -> EventBatch:
        """End a slice of the rate: return what is held of it."""
        return self._stages['rate'].flush() if 'rate' in self._stages else self._empty

    def reset(self):
        """Forget the stream, and what is held of it; the next events start a new one."""
        for stage in self._stages.values():
            stage.reset()

    @property
    def counts(self) -> CleaningCounts:
        """Events dropped since this was made; those held back are among them until they come."""
        return CleaningCounts(
            **{name: stage.counts.dropped for name, stage in self._stages.items()}
        )

    def report(self) -> List[HotPixel]:
        """Return the pixels that are held for hot at present, the busiest first."""
        return self._stages['hot_pixels'].report() if 'hot_pixels' in self._stages else []

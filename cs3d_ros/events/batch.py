"""Events as columns: the one type that every part of the chain hands on."""

from typing import Iterable, List

import numpy as np

from cs3d_ros.events import _kernels

COLUMN_TYPES = {
    name: np.dtype(kind) for name, kind in zip('xytp', ('uint16', 'uint16', 'int64', 'uint8'))
}
MAX_SIDE = 1 << 16  # coordinates are uint16
NO_TIME = np.iinfo(np.int64).min  # before any event

_FAULTS = {
    1: 'event {i} at ({x}, {y}) lies outside the sensor of {w} x {h}',
    2: 'time goes back at event {i} (t = {t} ns): sort the events by time',
    3: 'polarity of event {i} is {p}: 1 means ON, 0 means OFF',
}


def check_size(width: int, height: int) -> None:
    """Raise a ValueError where no sensor has such a size."""
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(
            'a sensor has 1 to {} columns and rows, got {} x {}'.format(MAX_SIDE, width, height)
        )


def empty_columns(count: int):
    """Return arrays for x, y, t and p of so many events, for a kernel to fill."""
    return [np.empty(count, kind) for kind in COLUMN_TYPES.values()]


class EventBatch:
    """
    Events of one sensor in the order of their times; immutable, slices are views.

    Parameters
    ----------
    x, y : np.ndarray [shape=(n,), dtype=uint16]
        Pixel column and row; (0, 0) is the top left pixel.
    t : np.ndarray [shape=(n,), dtype=int64]
        Sensor time in ns, never decreasing.
    p : np.ndarray [shape=(n,), dtype=uint8]
        Polarity: 1 = ON (brighter), 0 = OFF (darker).
    width, height : int
        Size of the sensor in pixels, 1 to 65536.

    Raises
    ------
    ValueError
        If a column has another dtype or length, or an event breaks a rule above.
    """

    __slots__ = ('x', 'y', 't', 'p', 'width', 'height')

    def __init__(
        self, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray, width: int, height: int
    ):
        check_size(width, height)
        columns = {'x': x, 'y': y, 't': t, 'p': p}
        for name, column in columns.items():
            if not isinstance(column, np.ndarray) or column.dtype != COLUMN_TYPES[name]:
                raise ValueError(
                    '{} must be an array of {}, got {}'.format(
                        name, COLUMN_TYPES[name], getattr(column, 'dtype', type(column))
                    )
                )
            if column.shape != (len(t),):
                raise ValueError(
                    '{} must have shape ({},), got {}'.format(name, len(t), column.shape)
                )
        columns = {name: np.ascontiguousarray(column) for name, column in columns.items()}
        kind, i = _kernels.first_fault(
            columns['x'], columns['y'], columns['t'], columns['p'], width, height
        )
        if kind:
            raise ValueError(
                _FAULTS[kind].format(i=i, x=x[i], y=y[i], t=t[i], p=p[i], w=width, h=height)
            )
        self._fill(columns, width, height)

    def _fill(self, columns, width, height):
        for name, column in columns.items():
            view = column.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        object.__setattr__(self, 'width', int(width))
        object.__setattr__(self, 'height', int(height))

    @classmethod
    def trusted(
        cls, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray, width: int, height: int
    ) -> 'EventBatch':
        """
        Return a batch of columns that a kernel has already checked, without a second look.

        The columns are not copied and become read-only.
        """
        batch = cls.__new__(cls)
        _set_x(batch, x)
        _set_y(batch, y)
        _set_t(batch, t)
        _set_p(batch, p)
        _set_width(batch, int(width))
        _set_height(batch, int(height))
        for column in (x, y, t, p):
            column.setflags(write=False)
        return batch

    @classmethod
    def empty(cls, width: int, height: int) -> 'EventBatch':
        """Return a batch without events."""
        return cls(*empty_columns(0), width, height)

    def __setattr__(self, name, value):
        raise AttributeError('an EventBatch is immutable: make a new one')

    def __reduce__(self):
        return EventBatch, (self.x, self.y, self.t, self.p, self.width, self.height)

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, key: slice) -> 'EventBatch':
        if not isinstance(key, slice) or key.step not in (None, 1):
            raise TypeError('an EventBatch is cut by slices of step 1, got {!r}'.format(key))
        return EventBatch.trusted(
            self.x[key], self.y[key], self.t[key], self.p[key], self.width, self.height
        )

    def __eq__(self, other) -> bool:
        if not isinstance(other, EventBatch):
            return NotImplemented
        return (self.width, self.height) == (other.width, other.height) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in COLUMN_TYPES
        )

    __hash__ = None

    def __repr__(self) -> str:
        span = ', t {}..{} ns'.format(self.t[0], self.t[-1]) if len(self) else ''
        return 'EventBatch({} events, {} x {}{})'.format(len(self), self.width, self.height, span)

    def between(self, start_ns: int, end_ns: int) -> 'EventBatch':
        """Return the events with ``start_ns <= t < end_ns``, as views."""
        first, last = np.searchsorted(self.t, (start_ns, end_ns))
        return self[first : max(first, last)]

    @property
    def on_count(self) -> int:
        """Number of ON events."""
        return int(np.count_nonzero(self.p))


# A batch is made for every message and slice, and this way costs a third of object.__setattr__.
_set_x, _set_y, _set_t, _set_p, _set_width, _set_height = (
    getattr(EventBatch, name).__set__ for name in EventBatch.__slots__
)


def check_sensor(batch: EventBatch, width: int, height: int, stage: str) -> None:
    """Raise a ValueError if a batch is not of the sensor that a stage was made for."""
    if batch.width != width or batch.height != height:
        raise ValueError(
            '{0} is of a sensor of {1} x {2}, got events of {3} x {4}: make a new {0}'.format(
                stage, width, height, batch.width, batch.height
            )
        )


def concatenate(batches: Iterable[EventBatch]) -> EventBatch:
    """
    Return one batch with the events of all, which must follow each other in time.

    Raises
    ------
    ValueError
        If there is no batch, the sensor sizes differ, or time goes back between two batches.

    Examples
    --------
    >>> halves = [EventBatch.empty(4, 3), EventBatch.empty(4, 3)]
    >>> len(concatenate(halves))
    0
    """
    batches = list(batches)
    if not batches:
        raise ValueError('nothing to concatenate: pass at least one batch')
    sizes = {(batch.width, batch.height) for batch in batches}
    if len(sizes) > 1:
        raise ValueError('batches of different sensors cannot be joined: {}'.format(sorted(sizes)))
    columns = [np.concatenate([getattr(batch, name) for batch in batches]) for name in 'xytp']
    return EventBatch(*columns, *sizes.pop())


def join(batches: List[EventBatch]) -> EventBatch:
    """Return one batch, without the second look of `concatenate`: these follow each other."""
    if len(batches) == 1:
        return batches[0]
    columns = [np.concatenate([getattr(batch, name) for batch in batches]) for name in 'xytp']
    return EventBatch.trusted(*columns, batches[0].width, batches[0].height)


def keep_valid(
    x: np.ndarray,
    y: np.ndarray,
    t: np.ndarray,
    p: np.ndarray,
    width: int,
    height: int,
    last_ns: int,
):
    """
    Return a batch of those events that lie inside the sensor and do not go back in time.

    Returns
    -------
    batch, outside, backwards : EventBatch, int, int
        The events kept, and how many were dropped for which reason; ``last_ns`` is the time that
        the first event must reach.
    """
    columns = [
        np.ascontiguousarray(column, COLUMN_TYPES[name])
        for name, column in zip('xytp', (x, y, t, p))
    ]
    out = empty_columns(len(t))
    kept, outside, backwards = _kernels.keep_valid(*columns, width, height, last_ns, *out)
    return (
        EventBatch.trusted(*(column[:kept] for column in out), width, height),
        outside,
        backwards,
    )

"""Where on the sensor something moves: what faces are looked for in."""

import numpy as np

from cs3d_ros.events import EventBatch, count_in_cells

GRID_ROWS = 64  # cells over the height of the sensor: the eyes of a small face fill one
MEMORIES_S = (0.5, 0.1)  # time constants with which events are forgotten: of late, just now
LEAST_RATE_HZ = 0.02  # events per pixel and second below which nothing moves
SMALLEST_MEAN = 1e-3  # events per cell, below which a map counts as empty


class ActivityMap:
    """
    Events per square cell of a sensor, of late and just now.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.

    Attributes
    ----------
    cell : int
        Side of a cell in pixels.
    """

    def __init__(self, width: int, height: int):
        self.cell = max(1, round(height / GRID_ROWS))
        self._pixels = width * height
        self._counts = np.zeros((-(-height // self.cell), -(-width // self.cell)), np.int32)
        self.reset()

    def reset(self):
        """Forget all events."""
        self._counts[:] = 0
        self._maps = np.zeros((len(MEMORIES_S),) + self._counts.shape, np.float32)

    def add(self, batch: EventBatch):
        """Count the events of the present period."""
        count_in_cells(batch, self.cell, self._counts)

    def close(self, elapsed_s: float) -> bool:
        """
        End a period of so many seconds; tell whether anything moved in it.

        Where nothing did, nothing is forgotten: a face that keeps still is where it was.
        """
        is_moving = int(self._counts.sum()) > LEAST_RATE_HZ * self._pixels * elapsed_s
        if is_moving:
            for activity, memory_s in zip(self._maps, MEMORIES_S):
                activity *= np.exp(-elapsed_s / memory_s)
                activity += self._counts
        self._counts[:] = 0
        return is_moving

    @property
    def counts(self) -> np.ndarray:
        """Events per cell, weighted by age; (2, rows, columns) float32, of late and just now."""
        return self._maps.copy()


def image_of(counts: np.ndarray) -> np.ndarray:
    """
    Return what the network of the finder reads, float32 of the shape of the counts.

    It is log(1 + c / mean of c) of each map, as faces look alike in much and in little light.

    Parameters
    ----------
    counts : np.ndarray [shape=(2, rows, columns), dtype=float32]
    """
    means = counts.mean((1, 2), keepdims=True)
    return np.log1p(counts / np.maximum(means, SMALLEST_MEAN)).astype(np.float32)

"""How long a network takes on this machine, on frames as sparse as event frames are."""

import time
from typing import Callable, NamedTuple

import numpy as np

EVENTS_PER_CELL = 0.15  # hit cells of a period: 14 % rendered, 24 % real, on 56 x 56 cells
STEP = 32  # grey levels per event
WARM_UP = 3  # runs that are not counted: caches fill, clocks rise
LEAST_RUNS = 20  # however long they take


class Timing(NamedTuple):
    """Times of single runs, one after the other."""

    runs: int
    median_s: float
    mean_s: float
    low_s: float  # 5 % of the runs were quicker
    high_s: float  # 5 % were slower
    worst_s: float


def event_like(shape, seed: int = 0, events_per_cell: float = EVENTS_PER_CELL) -> np.ndarray:
    """Return (frame - 128) / 128 float32 of random events, as sparse as event frames are."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(events_per_cell, shape) * rng.choice([-1, 1], shape)
    return (np.clip(128 + STEP * counts, 0, 255) - 128).astype(np.float32) / 128


def repeated(engine) -> Callable[[], None]:
    """Return a callable that runs an engine once; a stream's memory goes on."""
    frames, state = event_like(engine.bundle.input_shape), ()

    def run():
        nonlocal state
        state = engine.run(frames, state)[1]

    return run


def time_runs(run: Callable[[], None], seconds: float) -> Timing:
    """
    Return the times of a callable that is repeated for some seconds.

    Examples
    --------
    >>> time_runs(repeated(open_engine(SHIPPED_BUNDLE)), 2.0).median_s  # doctest: +SKIP
    0.0061
    """
    for _ in range(WARM_UP):
        run()
    taken, end_s = [], time.perf_counter() + seconds
    while len(taken) < LEAST_RUNS or time.perf_counter() < end_s:
        began_s = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began_s)
    low_s, median_s, high_s = np.percentile(taken, (5, 50, 95)).tolist()
    mean_s = sum(taken) / len(taken)
    return Timing(len(taken), median_s, mean_s, low_s, high_s, max(taken))

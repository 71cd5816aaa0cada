"""Events and a video made up for node tests."""

import numpy as np

from cs3d_ros.events import EventBatch

SENSOR = 64, 48
PERIOD_NS = 33_333_333
START_NS = 10**12 // PERIOD_NS * PERIOD_NS
CLIP_FRAMES, CLIP_FPS = 13, 8.0  # slow, so that a busy machine keeps up


def moving_events(seed, periods, rate=200):
    """Return events of random places over some periods, ON and OFF in turns of fifteen periods."""
    random = np.random.default_rng(seed)
    count = periods * rate
    t = np.sort(random.integers(0, periods * PERIOD_NS, count)).astype(np.int64) + START_NS
    p = ((t // PERIOD_NS) // 15 % 2 == random.integers(0, 4, count) // 3).astype(np.uint8)
    x = random.integers(0, SENSOR[0], count).astype(np.uint16)
    y = random.integers(0, SENSOR[1], count).astype(np.uint16)
    return EventBatch(x, y, t, p, *SENSOR)

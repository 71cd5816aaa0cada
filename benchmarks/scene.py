"""The stream of events that filters and frames are measured on."""

import numpy as np

from cs3d_ros.events import EventBatch

WIDTH, HEIGHT = 346, 260  # px, DAVIS346
RATE_HZ = 1_000_000  # events per second
NOISE_SHARE = 0.15  # of the events, spread evenly over sensor and time
DISCS = 14
SPEED_PX_S = 120.0  # an edge rests on a pixel for 8 ms


def moving_scene(count: int, seed: int = 0) -> EventBatch:
    """
    Return ``count`` events of discs that drift across a noisy DAVIS346, in whole microseconds.

    An event of the scene lies on the rim of a disc, where the rim moves across its own tangent: ON
    in front, OFF behind, a pixel thick. Discs leave at one side and come in at the other.
    """
    rng = np.random.default_rng(seed)
    t_us = np.sort(rng.integers(0, max(1, count * 1_000_000 // RATE_HZ), count))
    start = rng.uniform(0, 1, (2, DISCS)) * [[WIDTH], [HEIGHT]]
    heading = rng.uniform(0, 2 * np.pi, DISCS)
    radius = rng.uniform(12, 45, DISCS)
    disc = rng.choice(DISCS, count, p=radius / radius.sum())
    front = rng.integers(0, 2, count)
    # arcsin of an even variable: the density of events falls as the cosine towards the flanks
    angle = np.arcsin(rng.uniform(-1, 1, count)) + heading[disc] + np.pi * (1 - front)
    reach = radius[disc] + rng.uniform(-0.5, 0.5, count)
    way = SPEED_PX_S * t_us * 1e-6
    x = start[0][disc] + way * np.cos(heading[disc]) + reach * np.cos(angle)
    y = start[1][disc] + way * np.sin(heading[disc]) + reach * np.sin(angle)
    noise = rng.uniform(0, 1, count) < NOISE_SHARE
    x[noise] = rng.uniform(0, WIDTH, np.count_nonzero(noise))
    y[noise] = rng.uniform(0, HEIGHT, np.count_nonzero(noise))
    return EventBatch(
        np.floor(x % WIDTH).astype(np.uint16) % WIDTH,
        np.floor(y % HEIGHT).astype(np.uint16) % HEIGHT,
        t_us * 1000,
        np.where(noise, rng.integers(0, 2, count), front).astype(np.uint8),
        WIDTH,
        HEIGHT,
    )

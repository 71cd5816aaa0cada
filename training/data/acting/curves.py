"""Shapes of movements over time; t in s, (F,)."""

import numpy as np


def ease(x: np.ndarray, skew: float = 1.0) -> np.ndarray:
    """Return x of 0..1 with soft ends, 0 before and 1 after; skew above 1 begins slowly."""
    x = np.clip(x, 0.0, 1.0) ** skew
    return x * x * (3 - 2 * x)


def bump(t: np.ndarray, start: float, rise: float, hold: float, fall: float) -> np.ndarray:
    """Return a movement there and back that starts at `start`, 0..1."""
    return ease((t - start) / rise) * (1.0 - ease((t - start - rise - hold) / fall))


def pulse(t: np.ndarray, middle: float, width: float) -> np.ndarray:
    """Return a bell of that deviation, top 1."""
    return np.exp(-0.5 * ((t - middle) / width) ** 2)


def swing(t: np.ndarray, start: float, length: float, rate_hz: float) -> np.ndarray:
    """Return a sine that swells and fades, -1..1."""
    window = ease((t - start) / 0.2) * (1.0 - ease((t - start - length) / 0.25))
    return window * np.sin(2 * np.pi * rate_hz * (t - start))


def wander(t: np.ndarray, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth random motion, three sines of .1 to 1.2 Hz, of about that deviation."""
    waves = [
        np.sin(2 * np.pi * (f * t + rng.random())) / (1 + 2 * f) for f in rng.uniform(0.1, 1.2, 3)
    ]
    return amplitude * np.sum(waves, axis=0)


def moments(rate_hz: float, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """Return random moments within the clip, s, not sorted."""
    return rng.uniform(0.0, duration_s, rng.poisson(rate_hz * duration_s))

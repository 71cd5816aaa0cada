"""A slow obvious twin of the pixel model, and a way to run the model itself."""

import math

import numpy as np

from cs3d_ros.simulator import PixelModel, PixelSettings

SAMPLES = 400  # of an interval between two frames


def level_of(dn):
    """Return ln(DN), a line below 20 DN."""
    return math.log(dn) if dn > 20 else dn * math.log(20) / 20


def time_constant_ns(dn, settings):
    """Return that of a pixel in light of ``dn``, or None without low pass."""
    if not settings.cutoff_hz:
        return None
    return 1e9 / (2 * math.pi * settings.cutoff_hz * (dn * settings.light + 20) / 275)


def low_passed(level0, level1, before, span, tau):
    """Return the low-passed level as a function of the offset from a frame to the next."""
    slope = (level1 - level0) / span
    if tau is None:
        return lambda t: level0 + slope * t
    lag = before - level0 + slope * tau
    return lambda t: level0 + slope * (t - tau) + lag * math.exp(-t / tau)


def first_true(is_there, low, high):
    """Return where a condition becomes true that is false at ``low`` and true at ``high``."""
    for _ in range(80):
        middle = (low + high) / 2
        if is_there(middle):
            high = middle
        else:
            low = middle
    return high


def peaks(curve, times):
    """Return the times, and where the curve turns round between them."""
    found = list(times)
    for a, b, c in zip(times, times[1:], times[2:]):
        for sign in (1, -1):
            if sign * curve(b) >= sign * max(sign * curve(a), sign * curve(c)):
                low, high = a, c
                for _ in range(100):
                    one, two = low + (high - low) / 3, high - (high - low) / 3
                    if sign * curve(one) < sign * curve(two):
                        low = one
                    else:
                        high = two
                found.append((low + high) / 2)
    return sorted(found)


def contrast_of(seen, reference, leak, start):
    """Return how far a level is above a reference that sinks from ``start`` on."""
    return lambda at: seen(at) - reference + leak * (at - start)


def outside_of(contrast, settings):
    """Return whether a contrast has reached a threshold, as a function of time."""
    return lambda at: not -settings.off_threshold < contrast(at) < settings.on_threshold


def pixel_events(dns, times_ns, settings, sunk=0.0):
    """
    Return [(t_ns, p), ...] of one pixel without noise; thresholds are the nominal ones.

    ``sunk`` is how far below the level the reference begins.
    """
    events = []
    reference = level_of(dns[0]) - sunk
    before = level_of(dns[0])
    release = times_ns[0]
    for t0, dn0, t1, dn1 in zip(times_ns, dns, times_ns[1:], dns[1:]):
        span, mean, late = t1 - t0, (dn0 + dn1) / 2, (dn0 + 2 * dn1) / 3
        seen = low_passed(
            level_of(dn0), level_of(dn1), before, span, time_constant_ns(late, settings)
        )
        leak_hz = settings.leak_rate_hz + settings.leak_light_hz * mean * settings.light / 255
        leak = settings.on_threshold * leak_hz * 1e-9
        grid = peaks(seen, [span * i / SAMPLES for i in range(SAMPLES + 1)])
        t = 0.0
        while True:
            if release - t0 > t:  # blind: the reference goes with the level
                until = min(release - t0, span)
                reference += seen(until) - seen(t)
                t = until
            contrast = contrast_of(seen, reference, leak, t)
            is_fired = outside_of(contrast, settings)
            fired = next((at for at in grid if at > t and is_fired(at)), None)
            if fired is None:
                reference -= leak * (span - t)
                break
            last = max([t] + [at for at in grid if at < fired])
            start, t = t, first_true(is_fired, last, fired)
            is_on = contrast(fired) > 0
            reference += settings.on_threshold if is_on else -settings.off_threshold
            reference -= leak * (t - start)
            events.append((t0 + t, int(is_on)))
            release = t0 + t + settings.refractory_us * 1e3
        before = seen(span)
    return events


def levels_of(frame):
    """Return level_of() of each pixel."""
    frame = np.asarray(frame, float)
    return np.where(frame > 20, np.log(np.maximum(frame, 20)), frame * math.log(20) / 20)


def dn_of(levels):
    """Return the DN that have these levels."""
    return np.where(levels > math.log(20), np.exp(levels), levels * 20 / math.log(20))


def v2e_low_pass(frames, interval_s, cutoff_hz):
    """
    Yield the levels behind v2e's low pass, of which each frame makes one step, at most 1.

    Source: Hu, Liu, Delbruck 2021, section 4.3, and the authors' code for the bound.
    """
    filtered = None
    for frame in frames:
        levels = levels_of(frame)
        step = (np.asarray(frame, float) + 20) / 275 * interval_s * 2 * math.pi * cutoff_hz
        step = np.minimum(step, 1.0)
        filtered = levels if filtered is None else (1 - step) * filtered + step * levels
        yield filtered


def watch(frames, times_ns, settings=PixelSettings(), seed=0):
    """Return the columns (x, y, t, p) of all events that the model makes of frames."""
    height, width = np.shape(frames[0])
    pixels = PixelModel(width, height, settings, seed)
    batches = [pixels.push(np.asarray(frame), int(t)) for frame, t in zip(frames, times_ns)]
    return tuple(np.concatenate([getattr(b, name) for b in batches]) for name in 'xytp')

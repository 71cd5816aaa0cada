"""What the preprocessing node says of itself once a second, from its counts; no ROS in here."""

import time
from typing import Callable, Dict, NamedTuple, Sequence, Tuple

from cs3d_ros.events import CleaningCounts, HotPixel

# In the order in which they are said, each with its cure.
TROUBLES = (
    ('messages_lost', 'messages lost on the way: raise queue_depth, or use config/fastdds.xml'),
    ('out_of_bounds', "events lie outside the sensor: is the driver's size right?"),
    ('time_reversed', 'events are older than their predecessors: is more than one camera on?'),
    ('late', 'events came after their period was closed: raise idle_ms'),
    ('clock_steps', 'times a clock was set while events came: stamps leapt, let NTP slew it'),
)
DROPPED = ('out_of_bounds', 'time_reversed', 'late')  # events, by reason
HOT_PIXELS_NAMED = 5  # of those that are reported, the busiest


class Topic(NamedTuple):
    """How the topic of events is found, apart from its messages."""

    name: str
    publishers: int
    complaint: str = ''  # of the types on it
    fault: str = ''  # of the last malformed message


class Interval:
    """
    Counts that have grown since the last report, and how busy that kept us.

    Parameters
    ----------
    clock : callable
        Steady seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._last, self._last_busy_s, self._begin_s = {}, 0.0, clock()

    def close(self, counts: Dict[str, int], busy_s: float) -> Tuple[Dict, Dict]:
        """Return all values to report, and by name what is new of the counts."""
        now_s = self._clock()
        elapsed_s = max(1e-3, now_s - self._begin_s)
        new = {name: count - self._last.get(name, 0) for name, count in counts.items()}
        values = dict(
            counts,
            dropped=sum(counts.get(name, 0) for name in DROPPED),
            events_per_s=new.get('events', 0) / elapsed_s,
            load=(busy_s - self._last_busy_s) / elapsed_s,
        )
        self._last, self._last_busy_s, self._begin_s = dict(counts), busy_s, now_s
        return values, new


def cleaning_values(dropped: CleaningCounts) -> Dict[str, int]:
    """
    Return events that cleaning dropped, by the name that each count has on /diagnostics.

    Examples
    --------
    >>> cleaning_values(CleaningCounts(flicker=3))['cleaned_flicker']
    3
    """
    return {'cleaned_' + name: count for name, count in dropped._asdict().items()}


def hot_pixel_words(pixels: Sequence[HotPixel]) -> str:
    """
    Return how many pixels are hot, and which the busiest are.

    Examples
    --------
    >>> hot_pixel_words([HotPixel(12, 5, 400.0)])
    '1: (12, 5) 400 Hz'
    """
    named = [
        '({}, {}) {:.0f} Hz'.format(pixel.x, pixel.y, pixel.rate_hz)
        for pixel in pixels[:HOT_PIXELS_NAMED]
    ]
    if len(pixels) > len(named):
        named.append('...')
    return str(len(pixels)) + (': ' + ', '.join(named) if named else '')


def verdict(new: Dict[str, int], topic: Topic) -> Tuple[bool, str]:
    """
    Return whether it is a warning, and the words.

    Examples
    --------
    >>> verdict({'messages': 0}, Topic('/events', 1))
    (False, 'no events arrive on /events')
    """
    if topic.fault:
        return True, topic.fault
    if topic.complaint:
        return True, topic.complaint
    if topic.publishers > 1:
        words = '{} publishers on {}: one camera per graph, give each its own namespace'
        return True, words.format(topic.publishers, topic.name)
    for name, words in TROUBLES:
        if new.get(name):
            return True, '{} {}'.format(new[name], words)
    if not topic.publishers:
        words = 'nobody publishes {}: start the camera driver or remap the topic'
        return True, words.format(topic.name)
    if not new.get('messages'):
        return False, 'no events arrive on {}'.format(topic.name)
    return False, 'face tracked' if new.get('face_frames') else 'no face'

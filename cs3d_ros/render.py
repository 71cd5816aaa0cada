"""A recording as a video, an animation, or one picture."""

import collections
import os
from typing import Callable, Iterator, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from cs3d_ros.draw import BACKGROUND, OFF_COLOUR, ON_COLOUR, DrawError, VideoWriter
from cs3d_ros.events import CountFrames, EventFrames, Recording, TimeSurfaces, period_index
from cs3d_ros.files import check_writable, whole_file

KINDS = {'counts': CountFrames, 'events': EventFrames, 'surface': TimeSurfaces}
SUFFIXES = ('.mp4', '.gif', '.png')
NS_PER_S = 1e9
LEAST_WIDTH = 640  # px; smaller sensors are enlarged, else video blurs the colours of events
MEMORY_NS = 250_000_000  # five times what a time surface takes to fade to 37 %


class RenderSettings(NamedTuple):
    """What is shown, and how fast."""

    kind: str = 'counts'
    fps: float = 30.0  # pictures per second of the video
    speed: float = 1.0  # seconds of sensor time per second of the video
    start_s: float = 0.0  # from the first event on
    end_s: Optional[float] = None  # likewise; to the last event by default

    @property
    def period_ns(self) -> int:
        """Sensor time that one picture shows."""
        return max(1, round(NS_PER_S * self.speed / self.fps))


def render(
    recording: Recording,
    path: str,
    settings: RenderSettings = RenderSettings(),
    progress: Callable[[float], None] = lambda share: None,
) -> int:
    """
    Write a recording as pictures to .mp4 or .gif, or the busiest of them to .png; return how many.

    Parameters
    ----------
    recording : Recording
    path : str
        Written aside and renamed.
    settings : RenderSettings
    progress : callable
        Called with the share of the recording that is done, 0 to 1.

    Raises
    ------
    DrawError
        If the file cannot be written, a setting is impossible, or there are no events to show.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise DrawError('{} must end in one of {}'.format(path, ', '.join(SUFFIXES)))
    _check(settings)
    check_writable(path, DrawError)
    start_ns = recording.start_ns + round(settings.start_s * NS_PER_S)
    end_ns = None
    if settings.end_s is not None:
        end_ns = recording.start_ns + round(settings.end_s * NS_PER_S)

    count = 0
    if suffix == '.png':
        window = _busiest(recording, settings.period_ns, start_ns, end_ns, progress)
        if window:
            before_ns = MEMORY_NS if settings.kind == 'surface' else 0
            begin_ns = max(start_ns, window[0] - before_ns)
            pictures = _pictures(
                recording, settings, begin_ns, min(end_ns or window[1], window[1])
            )
            png = cv2.imencode('.png', collections.deque(pictures, maxlen=1).pop())[1]
            with whole_file(path, 'wb', DrawError) as file:
                file.write(png.tobytes())
            count = 1
    else:
        with VideoWriter(path, settings.fps) as video:
            for image in _pictures(recording, settings, start_ns, end_ns):
                video.write(image)
                progress(recording.progress)
                count += 1
    if not count:
        raise DrawError(
            '{} has no events from {} s to {}: nothing was written'.format(
                recording.path,
                settings.start_s,
                'its end' if end_ns is None else '{} s'.format(settings.end_s),
            )
        )
    return count


def _check(settings):
    if settings.kind not in KINDS:
        raise DrawError('kind must be one of {}, got {}'.format(sorted(KINDS), settings.kind))
    if not (settings.fps > 0 and settings.speed > 0):
        raise DrawError('pictures per second and speed must be above 0')
    if settings.start_s < 0 or (settings.end_s is not None and settings.end_s <= settings.start_s):
        raise DrawError('the start must be 0 s or later, and the end after it')


def _busiest(recording, period_ns, start_ns, end_ns, progress) -> Optional[Tuple[int, int]]:
    """Return [start, end) of the period with the most events; None where there are none."""
    counts = collections.Counter()
    for batch in recording.batches(period_ns, start_ns=start_ns, end_ns=end_ns):
        counts[period_index(batch.t[0], period_ns)] += len(batch)
        progress(recording.progress)
    if not counts:
        return None
    index = max(sorted(counts), key=counts.get)
    return index * period_ns, (index + 1) * period_ns


def _pictures(recording, settings, start_ns, end_ns) -> Iterator[np.ndarray]:
    """Yield a picture of all periods that hold events or lie between them."""
    frames = KINDS[settings.kind](recording.width, recording.height, settings.period_ns)
    last_ns = None
    for batch in recording.batches(start_ns=start_ns, end_ns=end_ns):
        last_ns = int(batch.t[-1])
        for frame in frames.push(batch):
            yield _picture(frame.image)
    if last_ns is not None:
        for frame in frames.advance(last_ns + settings.period_ns):
            yield _picture(frame.image)


def _picture(image: np.ndarray) -> np.ndarray:
    """Return a frame of any kind as BGR, enlarged, and with even sides, as video wants them."""
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    else:
        # a single event is plain to see, more of them are brighter
        strength = 1 - 0.35**image if image.dtype.kind == 'u' else image
        off, on = strength[..., np.newaxis].astype(np.float32)
        ground = np.array(BACKGROUND, np.float32)
        image = ground + off * (OFF_COLOUR - ground) + on * (ON_COLOUR - ground)
        image = np.clip(image, 0, 255).astype(np.uint8)
    scale = -(-LEAST_WIDTH // image.shape[1])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    odd = [side % 2 for side in image.shape[:2]]
    return cv2.copyMakeBorder(image, 0, odd[0], 0, odd[1], cv2.BORDER_REPLICATE)

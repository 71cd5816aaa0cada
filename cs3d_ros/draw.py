"""Pictures of events, faces and emotions over time; all images are BGR, uint8."""

import contextlib
import os
import subprocess
import tempfile
from typing import List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events import EventBatch
from cs3d_ros.face import Box
from cs3d_ros.files import check_writable, whole_file, written_aside
from cs3d_ros.inference import Emotion

BACKGROUND = (32, 28, 26)
ON_COLOUR, OFF_COLOUR = (250, 206, 135), (70, 110, 235)  # BGR: light blue, orange
INK, FAINT, ACCENT = (235, 235, 235), (140, 140, 140), (110, 210, 120)
FONT = cv2.FONT_HERSHEY_SIMPLEX
NS_PER_S = 1e9
FASTEST_GIF_HZ = 100  # a .gif counts time in hundredths of a second


class DrawError(Cs3dError):
    """A picture or video that cannot be written."""


class EventCanvas:
    """
    Picture of the events since the last one was taken.

    Examples
    --------
    >>> canvas = EventCanvas(346, 260)
    >>> canvas.add(EventBatch.empty(346, 260))
    >>> canvas.take().shape
    (260, 346, 3)
    """

    def __init__(self, width: int, height: int):
        self._image = np.empty((height, width, 3), np.uint8)
        self._image[:] = BACKGROUND

    def add(self, batch: EventBatch):
        """Paint events, the newest of a pixel on top."""
        colours = np.array([OFF_COLOUR, ON_COLOUR], np.uint8)
        self._image[batch.y, batch.x] = colours[batch.p]

    def take(self) -> np.ndarray:
        """Return the picture (height, width, 3) and begin an empty one."""
        image = self._image.copy()
        self._image[:] = BACKGROUND
        return image


def draw_face(image: np.ndarray, box: Optional[Box], text: str = '') -> np.ndarray:
    """Return the picture with a face box and a line of text."""
    image = image.copy()
    if box is not None:
        corner = int(box.x), int(box.y)
        cv2.rectangle(
            image,
            corner,
            (int(box.x + box.width), int(box.y + box.height)),
            ACCENT,
            1,
            cv2.LINE_AA,
        )
    if text:
        cv2.putText(image, text, (6, 16), FONT, 0.45, INK, 1, cv2.LINE_AA)
    return image


def draw_bars(
    classes: Sequence[str], emotion: Optional[Emotion], size: Tuple[int, int]
) -> np.ndarray:
    """Return a picture of (width, height) with a bar per expression, the named one bright."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[:] = BACKGROUND
    row_height = height / len(classes)
    label_width = 96
    for i, name in enumerate(classes):
        value = emotion.probabilities[i] if emotion else 0.0
        colour = ACCENT if emotion and name == emotion.expression else FAINT
        top, bottom = int((i + 0.25) * row_height), int((i + 0.75) * row_height)
        cv2.putText(image, name, (6, (top + bottom) // 2 + 5), FONT, 0.45, colour, 1, cv2.LINE_AA)
        right = label_width + int(value * (width - label_width - 8))
        cv2.rectangle(image, (label_width, top), (width - 8, bottom), (60, 56, 52), -1)
        cv2.rectangle(image, (label_width, top), (right, bottom), colour, -1)
    return image


def draw_panel(
    events: np.ndarray,
    box: Optional[Box],
    face: Optional[np.ndarray],
    classes: Sequence[str],
    emotion: Optional[Emotion],
    text: str = '',
) -> np.ndarray:
    """
    Return events, face square and emotion bars side by side, (360, 1080, 3).

    Parameters
    ----------
    events : np.ndarray [shape=(height, width, 3), dtype=uint8]
        Picture of the whole sensor.
    box : Box, optional
        The face in it, in sensor pixels.
    face : np.ndarray [shape=(size, size), dtype=uint8], optional
        Event frame of the face square.
    classes : sequence of str
    emotion : Emotion, optional
    text : str
        A line in the corner of the picture.
    """
    height, left_width, right_width = 360, 480, 240
    image = np.empty((height, left_width + height + right_width, 3), np.uint8)
    image[:] = BACKGROUND
    events = draw_face(events, box)
    scale = min(left_width / events.shape[1], height / events.shape[0])
    fitted = cv2.resize(
        events,
        (max(1, round(events.shape[1] * scale)), max(1, round(events.shape[0] * scale))),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST,
    )
    top, left = (height - fitted.shape[0]) // 2, (left_width - fitted.shape[1]) // 2
    image[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    if text:
        cv2.putText(image, text, (8, 20), FONT, 0.5, INK, 1, cv2.LINE_AA)
    middle = image[:, left_width : left_width + height]
    if face is None:
        cv2.putText(
            middle, 'no face', (height // 2 - 34, height // 2), FONT, 0.6, FAINT, 1, cv2.LINE_AA
        )
    else:
        middle[:] = cv2.cvtColor(
            cv2.resize(face, (height, height), interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2BGR
        )
    image[:, left_width + height :] = draw_bars(classes, emotion, (right_width, height))
    return image


class TimelineRow(NamedTuple):
    """What a timeline shows of one moment."""

    t_s: float
    emotion: Emotion
    has_face: bool
    event_rate_hz: float


def draw_timeline(
    path: str,
    rows: Sequence[TimelineRow],
    classes: Sequence[str],
    truth: Sequence[Tuple[float, float, str]] = (),
    title: str = '',
):
    """
    Write a PNG of the belief in each expression over time, above the event rate.

    Parameters
    ----------
    path : str
        The file, written aside and renamed.
    rows : sequence of TimelineRow
        In the order of their times.
    classes : sequence of str
        Names of the probabilities.
    truth : sequence of (start_s, end_s, expression)
        What the face really expressed, where that is known.
    title : str

    Raises
    ------
    DrawError
        If there is nothing to draw or to draw with, or the file cannot be written.
    """
    if not rows:
        raise DrawError('no estimate to draw in {}: did the recording show a face?'.format(path))
    figure = _new_figure()
    times = np.array([row.t_s for row in rows])
    belief = np.array([row.emotion.probabilities for row in rows])
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={'height_ratios': [4, 1]})
    colours = dict(zip(classes, _class_colours(len(classes))))
    for i, name in enumerate(classes):
        top.plot(times, belief[:, i], label=_plain(name), color=colours[name], linewidth=2)
    absent = np.array([not row.has_face for row in rows])
    top.fill_between(times, 0, 1.12, where=absent, color='0.85', step='mid', linewidth=0)
    for start, end, name in truth:
        top.plot(
            [start, end],
            [1.06, 1.06],
            color=colours.get(name, '0.5'),
            linewidth=8,
            solid_capstyle='butt',
        )
        top.text((start + end) / 2, 1.06, _plain(name), ha='center', va='center', fontsize=8)
    top.set_ylim(0, 1.12)
    top.set_ylabel('probability')
    top.set_title(_plain(title))
    top.legend(
        loc='center left',
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        title='grey: no face' if absent.any() else None,
    )
    bottom.fill_between(times, [row.event_rate_hz / 1e6 for row in rows], color='0.6')
    bottom.set_ylabel('M events/s')
    bottom.set_xlabel('time, s')
    bottom.set_ylim(bottom=0)
    bottom.set_xlim(times[0], times[-1] if times[-1] > times[0] else times[0] + 1)
    with whole_file(path, 'wb', DrawError) as file:
        figure.savefig(file, dpi=110, bbox_inches='tight', format='png')


def check_timeline(path: str) -> None:
    """Raise DrawError if no timeline could be drawn there: it is better told before the work."""
    check_writable(path, DrawError)
    _new_figure()


def _new_figure():
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DrawError('timelines need matplotlib: pip install matplotlib') from error
    figure = Figure(figsize=(10, 5.2))
    FigureCanvasAgg(figure)
    return figure


def _plain(text: str) -> str:
    """Return text that matplotlib takes for no formula, without what no font can show."""
    return text.encode(errors='replace').decode().replace('$', r'\$')


def _class_colours(count: int) -> List[str]:
    """Return a grey for neutral, which is named first, and distinct hues for the rest."""
    hues = ['#2a9d4a', '#f0a202', '#d62839', '#7a4fbf', '#1f77b4', '#e377c2', '#8c564b', '#17becf']
    return ['#777777'] + [hues[i % len(hues)] for i in range(count - 1)]


_ENCODERS = {
    # of quality that hides nothing; yuv420p is what every player takes
    '.mp4': ['-c:v', 'libx264', '-crf', '20', '-pix_fmt', 'yuv420p', '-f', 'mp4'],
    '.gif': [
        '-filter_complex',
        # a palette per picture: one for all would hold them all in memory until the end
        'split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1:dither=none',
        '-f',
        'gif',
    ],
}


class VideoWriter:
    """
    Video of BGR pictures of one size; ``with`` closes it, and only then it is there.

    Parameters
    ----------
    path : str
        Ends in .mp4 (H.264) or .gif; written aside and renamed.
    fps : float
        At most 100 for .gif.

    Raises
    ------
    DrawError
        If imageio-ffmpeg is absent, ffmpeg refuses, or there are too many pictures per second.
    """

    def __init__(self, path: str, fps: float):
        self._path = str(path)
        self._suffix = os.path.splitext(self._path)[1].lower()
        if self._suffix == '.gif' and fps > FASTEST_GIF_HZ:
            raise DrawError(
                'a .gif has {} pictures per second at most, got {:g}: take fewer, or .mp4'.format(
                    FASTEST_GIF_HZ, fps
                )
            )
        self._fps = fps
        self._encoder = None

    def __enter__(self) -> 'VideoWriter':
        self._stack = contextlib.ExitStack()
        self._aside = self._stack.enter_context(written_aside(self._path, DrawError))
        self._words = self._stack.enter_context(tempfile.TemporaryFile())
        self._stack.push(self._finish)
        return self

    def __exit__(self, *reason):
        return self._stack.__exit__(*reason)

    def write(self, image: np.ndarray):
        """Append a picture (height, width, 3); the first one sets the size, both sides even."""
        if self._encoder is None:
            self._encoder = self._start(image.shape[1], image.shape[0])
        try:
            self._encoder.stdin.write(np.ascontiguousarray(image))
        except OSError as error:
            raise self._error(self._end() or error) from error

    def _start(self, width, height):
        try:
            from imageio_ffmpeg import get_ffmpeg_exe
        except ImportError as error:
            raise DrawError(
                'writing video needs imageio-ffmpeg: pip install imageio-ffmpeg'
            ) from error
        raw = '-f rawvideo -pix_fmt bgr24 -s {}x{} -r {}'.format(width, height, float(self._fps))
        encoder = _ENCODERS[self._suffix]
        return subprocess.Popen(
            # without -xerror older ones end well though the disk was full
            [get_ffmpeg_exe(), '-y', '-xerror', '-v', 'error', *raw.split(), '-i', '-', *encoder]
            # a name may begin as an option or a protocol does, but no absolute path
            + [os.path.abspath(self._aside)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
            start_new_session=True,  # Ctrl-C is ours to answer
        )

    def _finish(self, kind, *_):
        """End ffmpeg, at once where the pictures broke off."""
        if self._encoder is None:
            return
        if kind:
            self._encoder.kill()
        complaint = self._end()
        if complaint and not kind:
            raise self._error(complaint)

    def _end(self) -> str:
        """Wait for ffmpeg; return what it complains of, nothing if all went well."""
        with contextlib.suppress(OSError):  # it has ended already, and says why
            self._encoder.stdin.close()
        status = self._encoder.wait()
        self._words.seek(0)
        words = self._words.readline().decode(errors='replace').strip()
        if not status:
            return ''
        # behind the name and address of the part of ffmpeg that complains
        return words.split('] ')[-1] or 'ffmpeg ended with status {}'.format(status)

    def _error(self, reason):
        return DrawError('{} cannot be written: {}'.format(self._path, reason))

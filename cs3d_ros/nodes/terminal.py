"""The demo's live view: bars on a terminal, a line a second elsewhere."""

import contextlib
import sys
import time
from typing import Iterator, List

from cs3d_ros.inference import Emotion
from cs3d_ros.nodes.observer import PERIOD_NS, Observer
from cs3d_ros.power import TOTAL

BAR_WIDTH = 36
LINE_EVERY_S = 1.0
SHOWN_LATENCIES = 15


@contextlib.contextmanager
def open_view() -> Iterator:
    """Yield an object with ``show(observer)``."""
    if not sys.stdout.isatty():
        yield _Lines()
        return
    from rich.live import Live

    with Live(refresh_per_second=10) as live:
        yield _Bars(live)


class _Lines:
    def __init__(self):
        self._next_s = 0.0

    def show(self, observer: Observer) -> None:
        if time.monotonic() < self._next_s or not observer.moments:
            return
        self._next_s = time.monotonic() + LINE_EVERY_S
        emotion = observer.emotions[-1] if observer.emotions else None
        said = (
            '{} {:.0f} %'.format(emotion.expression, 100 * emotion.confidence) if emotion else ''
        )
        print(
            '{:6.2f} s  {:<8}  {:<16}  {}'.format(
                _position_s(observer), _face(observer), said, ', '.join(_facts(observer))
            ),
            flush=True,
        )


class _Bars:
    def __init__(self, live):
        self._live = live

    def show(self, observer: Observer) -> None:
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        emotion = observer.emotions[-1] if observer.emotions else None
        rows = [self._row(observer, index, emotion) for index in range(len(observer.classes))]
        state = Text(
            '{}   {:.2f} s'.format(_face(observer), _position_s(observer)),
            'green' if _face(observer) == 'face' else 'yellow',
        )
        facts = Text('   '.join(_facts(observer)), 'dim')
        self._live.update(
            Panel(Group(state, Text(), *rows, Text(), facts), title='/emotion', width=78)
        )

    @staticmethod
    def _row(observer: Observer, index: int, emotion: Emotion):
        from rich.text import Text

        value = emotion.probabilities[index] if emotion else 0.0
        name = observer.classes[index]
        is_named = bool(emotion) and emotion.expression == name
        filled = round(value * BAR_WIDTH)
        row = Text('{:>11} '.format(name), 'bold green' if is_named else '')
        row.append('█' * filled, 'green' if is_named else 'blue')
        row.append('░' * (BAR_WIDTH - filled), 'dim')
        row.append(' {:3.0f} %'.format(100 * value))
        return row


def _position_s(observer: Observer) -> float:
    return len(observer.moments) * PERIOD_NS * 1e-9


def _face(observer: Observer) -> str:
    words = observer.statuses.get('preprocessing', (0, '', {}))[1]
    if not observer.moments:
        return words or 'starting'
    # What came half a second ago has had the time to be answered.
    recent = observer.moments[-15:]
    return (
        'face'
        if any(observer.at(moment.end_ns)[0] is not None for moment in recent)
        else 'no face'
    )


def _facts(observer: Observer) -> List[str]:
    facts = ['{:.2f} M events/s'.format(observer.event_rate_hz() * 1e-6)]
    progress = observer.statuses.get('player', (0, '', {}))[2].get('progress')
    if progress is not None:
        facts.append('{:.0f} % played'.format(100 * float(progress)))
    if observer.latencies_ms:
        last = observer.latencies_ms[-SHOWN_LATENCIES:]
        facts.append('latency {:.0f} ms'.format(sum(last) / len(last)))
    engine = observer.statuses.get('inference', (0, '', {}))[2]
    if 'ms_per_inference' in engine:
        facts.append('{} ms per inference'.format(engine['ms_per_inference']))
    watts = observer.watts.get(TOTAL)
    dropped = observer.statuses.get('webcam', (0, '', {}))[2].get('frames_dropped', '0')
    if dropped != '0':
        facts.append('{} frames dropped'.format(dropped))
    facts.append('{:.2f} W'.format(watts[-1]) if watts else 'no power meter')
    return facts

"""
Plays a recording, or a video by way of the simulator, as an event camera would send it.

Out: ``events`` (dv_ros2_msgs/EventArray or event_camera_msgs/EventPacket, by parameter; reliable,
so that reliable and best-effort subscribers both match), event times as recorded,
``header.stamp`` the ROS time of sending.
"""

import threading
import time
from typing import Iterator, Tuple

from cs3d_ros import Cs3dError
from cs3d_ros.events import ENCODERS, EventBatch, RecordingError
from cs3d_ros.nodes import messages, topics
from cs3d_ros.nodes.lifecycle import ManagedNode, run
from cs3d_ros.simulator import open_source

MAX_EVENTS = 20_000  # per message: 320 kB, below the 512 KiB that Fast DDS passes by default
QUEUE_DEPTH = 1000  # messages: ten seconds that a reliable subscriber may be behind
# A subscriber that this side has matched may still be about to match this side, and what it is
# sent meanwhile is lost to a best-effort one.
SETTLE_S = 0.5


class Player(ManagedNode):
    """The node; one thread reads and sends, in step with the steady clock."""

    def __init__(self, **options):
        super().__init__('player', **options)
        self._publisher = self._encode = None
        self._sent = 0  # messages since the start of the process
        self._thread = None
        self._stop = threading.Event()
        self._state = 'not started'
        self._counts = {'messages': 0, 'events': 0, 'position_s': 0.0, 'late_ms': 0.0}

    def configure(self) -> None:
        path = self.settings['path']
        if not path:
            raise RecordingError('parameter path is empty: name a recording or a video to play')
        with open_source(path):
            pass
        type_name, self._encode = ENCODERS[self.settings['message_type']]
        try:
            kind = topics.message_class(type_name)
        except ImportError as error:
            raise Cs3dError(
                'parameter message_type needs {}: build its package and source it ({})'.format(
                    type_name, error
                )
            ) from error
        # A managed publisher is enabled only after activate(), when the thread is already sending.
        self._publisher = self.output(kind, 'events', QUEUE_DEPTH, managed=False)

    def activate(self) -> None:
        self._stop.clear()
        self._counts = dict.fromkeys(self._counts, 0)
        self._thread = threading.Thread(target=self._play, name='player', daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def cleanup(self) -> None:
        if self._publisher is not None:
            self.destroy_publisher(self._publisher)
            self._publisher = None

    def report(self):
        level = messages.ERROR if self._state.startswith('stopped') else messages.OK
        return level, self._state, dict(self._counts)

    def _play(self) -> None:
        try:
            self._wait_for_subscribers()
            if not self._stop.is_set():
                self.get_logger().info('playing {}'.format(self.settings['path']))
                self._state = 'playing'
                self._send_all()
            self._state = 'deactivated' if self._stop.is_set() else 'at the end'
        except Cs3dError as error:
            self._state = 'stopped: {}'.format(error)
        except Exception as error:  # the edge of the thread
            self._state = 'stopped, unexpected: {!r}'.format(error)
        if not self._stop.is_set():
            self.get_logger().info(self._state)
            self.publish_diagnostics()

    def _wait_for_subscribers(self) -> None:
        needed = self.settings['wait_for']
        self._state = 'waiting for {} subscriber(s) of {}'.format(
            needed, self._publisher.topic_name
        )
        while not self._stop.is_set() and self._publisher.get_subscription_count() < needed:
            self._stop.wait(0.02)
        if needed:
            self._stop.wait(SETTLE_S)

    def _send_all(self) -> None:
        clock = _Pace(self._stop)
        is_packet = self.settings['message_type'] == 'event_packet'
        for batch in self._batches():
            for part, due_ns in _parts(batch, self._message_ns()):
                clock.wait_until(due_ns, self.settings['rate'])
                if self._stop.is_set():
                    return
                # An EventArray has no number to tell.
                number = {'seq': self._sent} if is_packet else {}
                self._publisher.publish(
                    self._encode(part, self.now_ns(), self.settings['frame_id'], **number)
                )
                self._sent += 1
                self._counts['messages'] += 1
                self._counts['events'] += len(part)
            self._counts['position_s'] = clock.position_s
            self._counts['late_ms'] = max(self._counts['late_ms'], clock.late_s * 1e3)

    def _batches(self) -> Iterator[EventBatch]:
        offset_ns, bin_ns = 0, self._message_ns()
        with open_source(self.settings['path']) as recording:
            while True:
                start_ns = end_ns = None
                for batch in recording.batches(bin_ns):
                    start_ns = int(batch.t[0]) if start_ns is None else start_ns
                    end_ns = int(batch.t[-1])
                    yield _shifted(batch, offset_ns) if offset_ns else batch
                if not self.settings['loop'] or start_ns is None:
                    return
                # A whole number of messages, so that the cuts stay where they were.
                offset_ns += (end_ns // bin_ns - start_ns // bin_ns + 1) * bin_ns

    def _message_ns(self) -> int:
        return int(self.settings['message_ms'] * 1e6)


class _Pace:
    """
    Steady time of sensor times; the first one is due at once, a change of rate holds on.

    What is late is caught up with at twice the pace: a best-effort subscriber would lose a burst.
    """

    def __init__(self, stop: threading.Event):
        self._stop = stop
        self._last = None  # sensor time, when it was due, and when it came
        self.position_s = 0.0  # sensor time since the first
        self.late_s = 0.0  # how much too late the last one was

    def wait_until(self, sensor_ns: int, rate: float) -> None:
        if self._last is None:
            now_s = time.monotonic()
            self._last = (sensor_ns, now_s, now_s)
            return
        last_ns, last_due_s, last_s = self._last
        gap_s = (sensor_ns - last_ns) * 1e-9
        due_s = last_due_s + gap_s / rate
        earliest_s = max(due_s, last_s + 0.5 * gap_s / rate)
        self._stop.wait(max(0.0, earliest_s - time.monotonic()))
        now_s = time.monotonic()
        self._last = (sensor_ns, due_s, now_s)
        self.position_s += gap_s
        self.late_s = now_s - due_s


def _parts(batch: EventBatch, bin_ns: int) -> Iterator[Tuple[EventBatch, int]]:
    """Yield what fits a message and when it is due, so that many do not come in one burst."""
    for first in range(0, len(batch), MAX_EVENTS):
        part = batch[first : first + MAX_EVENTS]
        last_ns = int(part.t[-1])
        is_last = first + MAX_EVENTS >= len(batch)
        yield part, (last_ns // bin_ns + 1) * bin_ns if is_last else last_ns


def _shifted(batch: EventBatch, offset_ns: int) -> EventBatch:
    return EventBatch.trusted(
        batch.x, batch.y, batch.t + offset_ns, batch.p, batch.width, batch.height
    )


def main(args=None) -> int:
    """Run the player."""
    return run(Player, args)


if __name__ == '__main__':
    main()

"""
Plays a recording, or a video by way of the simulator, as an event camera would send it.

Out: ``events`` (dv_ros2_msgs/EventArray or event_camera_msgs/EventPacket, by parameter; reliable,
so that reliable and best-effort subscribers both match), event times as recorded,
``header.stamp`` the ROS time of sending.
"""

import threading

from cs3d_ros import Cs3dError
from cs3d_ros.events import ENCODERS, EventBatch, RecordingError
from cs3d_ros.nodes import messages, playback, topics
from cs3d_ros.nodes.lifecycle import ManagedNode, run
from cs3d_ros.simulator import open_source

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
        self._pace = playback.Pace(self._stop)
        self._counts = {'messages': 0, 'events': 0, 'progress': 0.0, 'late_ms': 0.0}

    def configure(self) -> None:
        path = self.settings['path']
        if not path:
            raise RecordingError('parameter path is empty: name a recording or a video to play')
        type_name, self._encode = ENCODERS[self.settings['message_type']]
        try:
            kind = topics.message_class(type_name)
        except ImportError as error:
            raise Cs3dError(
                'parameter message_type needs {}: build its package and source it ({})'.format(
                    type_name, error
                )
            ) from error
        with open_source(path) as recording:
            # Whether the type has room for such a sensor shows here.
            self._message(EventBatch.empty(recording.width, recording.height))
        # A managed publisher is enabled only after activate(), when the thread is already sending.
        self._publisher = self.output(kind, 'events', QUEUE_DEPTH, managed=False)

    def activate(self) -> None:
        self._stop.clear()
        self._pace = playback.Pace(self._stop)
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
        return level, self._state, dict(self._counts, position_s=self._pace.position_s)

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
        bin_ns = int(self.settings['message_ms'] * 1e6)
        counts = self._counts
        pairs = playback.played(self.settings['path'], bin_ns, self.settings['loop'])
        with playback.ReadAhead(pairs) as reader:
            for batch, counts['progress'] in reader:
                for part, due_ns in playback.split(batch, bin_ns):
                    self._pace.wait_until(due_ns, self.settings['rate'])
                    if self._stop.is_set():
                        return
                    self._publisher.publish(self._message(part))
                    self._sent += 1
                    counts['messages'] += 1
                    counts['events'] += len(part)
                    counts['late_ms'] = max(counts['late_ms'], self._pace.late_s * 1e3)
        counts['progress'] = 1.0

    def _message(self, part: EventBatch) -> bytes:
        kind = self.settings['message_type']
        number = {'seq': self._sent} if kind == 'event_packet' else {}  # the other has none
        try:
            return self._encode(part, self.now_ns(), self.settings['frame_id'], **number)
        except ValueError as error:
            raise RecordingError(
                '{} does not fit message_type {}: {}: set message_type to {}'.format(
                    self.settings['path'], kind, error, ' or '.join(set(ENCODERS) - {kind})
                )
            ) from error


def main(args=None) -> int:
    """Run the player."""
    return run(Player, args)


if __name__ == '__main__':
    main()

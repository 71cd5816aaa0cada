"""What player and webcam share: events of a source sent as a driver would, in step with time."""

import threading
from typing import Iterator, Tuple

from cs3d_ros import Cs3dError
from cs3d_ros.events import ENCODERS, EventBatch
from cs3d_ros.nodes import messages, playback, topics
from cs3d_ros.nodes.lifecycle import ManagedNode

QUEUE_DEPTH = 1000  # messages: ten seconds that a reliable subscriber may be behind
# A subscriber that this side has matched may still be about to match this side, and what it is
# sent meanwhile is lost to a best-effort one.
SETTLE_S = 0.5


class EventSender(ManagedNode):
    """
    A node that publishes ``events``; one thread makes them, one sends, by the steady clock.

    A child fills `size`, `pairs` and `source`. Its table has ``message_type``, ``message_ms``
    and ``frame_id``.

    Each activation has a publisher of its own: its times and numbers begin anew, and who listens
    shall take it for another stream.
    """

    def __init__(self, kind: str, **options):
        super().__init__(kind, **options)
        self._publisher = self._encode = None
        self._thread = None
        self._words = 'not started'
        self._has_failed = False
        self.stop = threading.Event()
        self.pace = playback.Pace(self.stop)
        self.counts = {'messages': 0}

    # For the children to fill.

    @property
    def source(self) -> str:
        """What is sent, in words."""
        raise NotImplementedError

    def size(self) -> Tuple[int, int]:
        """Return width and height of the sensor; raise Cs3dError if the source does not open."""
        raise NotImplementedError

    def pairs(self, bin_ns: int) -> Iterator[Tuple[EventBatch, float]]:
        """Yield batches of a bin of sensor time at most, and the share of the source by then."""
        raise NotImplementedError

    # The same for all.

    def configure(self) -> None:
        type_name, self._encode = ENCODERS[self.settings['message_type']]
        try:
            self._type = topics.message_class(type_name)
        except ImportError as error:
            raise Cs3dError(
                'parameter message_type needs {}: build its package and source it ({})'.format(
                    type_name, error
                )
            ) from error
        # Whether the type has room for such a sensor shows here.
        self._message(EventBatch.empty(*self.size()))
        self._advertise()  # early, so that it is known by the time of the first message

    def _advertise(self) -> None:
        # A managed publisher is enabled only after activate(), when the thread is already sending.
        self._publisher = self.output(self._type, 'events', QUEUE_DEPTH, managed=False)

    def activate(self) -> None:
        if self._publisher is None:
            self._advertise()
        self.stop.clear()
        self.pace = playback.Pace(self.stop, self._tell_of_leap)
        self.counts = {'messages': 0, 'events': 0, 'progress': 0.0, 'late_ms': 0.0}
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name=self._kind, daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        self.stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.cleanup()

    def cleanup(self) -> None:
        if self._publisher is not None:
            self.destroy_publisher(self._publisher)
            self._publisher = None

    def report(self):
        level = messages.ERROR if self._has_failed else messages.OK
        return level, self._words, dict(self.counts, position_s=self.pace.position_s)

    def _run(self) -> None:
        try:
            self._wait_for_subscribers(self.settings.get('wait_for', 0))
            if not self.stop.is_set():
                self._words = 'playing'
                self.get_logger().info('playing {}'.format(self.source))
                self._send_all()
            self._words = 'deactivated' if self.stop.is_set() else 'at the end'
        except Cs3dError as error:
            self._has_failed, self._words = True, 'stopped: {}'.format(error)
        except Exception as error:  # the edge of the thread
            self._has_failed, self._words = True, 'stopped, unexpected: {!r}'.format(error)
        if not self.stop.is_set():
            self.get_logger().info(self._words)
            self.publish_diagnostics()

    def _wait_for_subscribers(self, needed: int) -> None:
        self._words = 'waiting for {} subscriber(s) of {}'.format(
            needed, self._publisher.topic_name
        )
        while not self.stop.is_set() and self._publisher.get_subscription_count() < needed:
            self.stop.wait(0.02)
        if needed:
            self.stop.wait(SETTLE_S)

    def _tell_of_leap(self, gap_s: float) -> None:
        self.get_logger().warn(
            '{}: nothing for {:.4g} s, as if its clock were set: {:.0f} s of it are played, and '
            'of each such gap'.format(self.source, gap_s, playback.LONGEST_GAP_NS * 1e-9)
        )

    def _send_all(self) -> None:
        bin_ns = int(self.settings['message_ms'] * 1e6)
        counts = self.counts
        with playback.ReadAhead(self.pairs(bin_ns)) as reader:
            for batch, counts['progress'] in reader:
                for part, due_ns in playback.split(batch, bin_ns):
                    self.pace.wait_until(due_ns, self.settings.get('rate', 1.0))
                    if self.stop.is_set():
                        return
                    self._publisher.publish(self._message(part))
                    counts['messages'] += 1
                    counts['events'] += len(part)
                    counts['late_ms'] = max(counts['late_ms'], self.pace.late_s * 1e3)
        counts['progress'] = 1.0

    def _message(self, part: EventBatch) -> bytes:
        kind = self.settings['message_type']
        # Only packets have numbers.
        number = {'seq': self.counts['messages']} if kind == 'event_packet' else {}
        try:
            return self._encode(part, self.now_ns(), self.settings['frame_id'], **number)
        except ValueError as error:
            raise Cs3dError(
                '{} does not fit message_type {}: {}: set message_type to {}'.format(
                    self.source, kind, error, ' or '.join(set(ENCODERS) - {kind})
                )
            ) from error

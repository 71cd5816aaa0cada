"""What comes on a topic of events, message by message: decoded, timed, counted; no ROS in here."""

import operator
from typing import Dict, List, Optional

from cs3d_ros.events import EventBatch, EventCounts, MessageError, open_decoder
from cs3d_ros.nodes.clocks import ClockMap

STAMP_NS = 1_000_000_000  # a header's stamp further from the events is not of their clock


class EventStream:
    """
    Driver messages in, batches out; the counts go on when another type begins.

    Attributes
    ----------
    type_name : str
        What the messages are; empty before the first `begin`.
    clock : ClockMap
        Sensor time to ROS time.

    Examples
    --------
    >>> stream = EventStream()
    >>> stream.begin('dv_ros2_msgs/msg/EventArray')
    >>> stream.push(encode_event_array(EventBatch.empty(346, 260)), 0)
    >>> stream.counts()['messages']
    1
    """

    def __init__(self):
        self.type_name = ''
        self.clock = ClockMap()
        self._decoder = None
        self._past = EventCounts()  # of the decoders before
        self._lost = self._type_changes = 0
        self._fault = ''
        self._notices = []  # type: List[str]
        self._is_header_judged = False

    def begin(self, type_name: str) -> None:
        """Take what follows as a stream of its own, with a decoder and a clock of its own."""
        if self.type_name and type_name != self.type_name:
            self._type_changes += 1
        self._past = self._decoded()
        self._decoder = open_decoder(type_name)
        self.type_name = type_name
        self.clock.reset()
        self._is_header_judged = False

    @property
    def frame_id(self) -> str:
        """Of the last message."""
        return self._decoder.frame_id if self._decoder else ''

    @property
    def messages(self) -> int:
        """Messages that came, whole or not."""
        return self._decoded().messages

    def push(
        self, data: bytes, arrival_ns: int, missing: Optional[int] = 0
    ) -> Optional[EventBatch]:
        """
        Return the events of a message, None without any; `clock` knows their time then.

        Parameters
        ----------
        data : bytes
        arrival_ns : int
            When it came, ROS time.
        missing : int, optional
            Messages that were published before it and did not come. Where the driver numbers
            its messages too, one that is lost may show in both numbers and counts once. None
            where the numbers of several drivers mix, by which nothing can be counted.
        """
        before, batch = self._decoder.counts, None
        try:
            batch = self._decoder.push(data)
        except MessageError as error:
            self._fault = str(error)
        counts = self._decoder.counts
        if missing is not None:
            self._lost += max(missing, counts.lost - before.lost)
        if counts.clock_resets > before.clock_resets:
            self.clock.reset()
        if batch is None or not len(batch):
            return None
        self._meet(int(batch.t[-1]), arrival_ns, counts.clock_resets > before.clock_resets)
        return batch

    def _meet(self, last_ns: int, arrival_ns: int, is_reset: bool) -> None:
        clock = self.clock
        resets, steps, pace = clock.resets, clock.steps, clock.pace
        clock.meet(last_ns, arrival_ns)
        if is_reset or clock.resets > resets:
            self._note('the clock of the events began anew: mapped to ROS time anew')
        if clock.steps > steps:
            self._note('the clock of the events, or of the host, was set: mapped anew')
        if clock.pace != 1.0 and pace == 1.0:
            self._note(
                'a second of the events takes {:.3g} s, as if a recording were played at another '
                'rate: stamps keep the pace of the events'.format(clock.pace)
            )
        if not self._is_header_judged:
            self._is_header_judged = True
            self._judge_header(last_ns)

    def _judge_header(self, last_ns: int) -> None:
        if abs(self._decoder.stamp_ns - last_ns) > STAMP_NS:
            self._note(
                'header.stamp is not of the clock of the events: their own times count, and when '
                'they arrive'
            )
        if not self.frame_id:
            self._note(
                'header.frame_id is empty, and so it is of what is made of the events: set it in '
                'the driver'
            )

    def _note(self, notice: str) -> None:
        if notice not in self._notices:
            self._notices.append(notice)

    def counts(self) -> Dict[str, int]:
        """Return what was counted since the start, whatever the types were."""
        counts = self._decoded()._asdict()
        del counts['lost']  # is part of messages_lost
        return dict(
            counts,
            messages_lost=self._lost,
            clock_resets=counts['clock_resets'] + self.clock.resets,
            clock_steps=self.clock.steps,
            type_changes=self._type_changes,
        )

    def take_fault(self) -> str:
        """Return, once, why the last malformed message was refused."""
        fault, self._fault = self._fault, ''
        return fault

    def take_notices(self) -> List[str]:
        """Return, once, what has changed and is worth a line in the log; nothing twice."""
        notices, self._notices = self._notices, []
        return notices

    def _decoded(self) -> EventCounts:
        if self._decoder is None:
            return self._past
        return EventCounts(*map(operator.add, self._past, self._decoder.counts))

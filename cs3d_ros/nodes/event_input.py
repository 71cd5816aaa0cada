"""
The subscription of events, which takes the message type that the publishers have.

Drivers differ in their type, and one may follow another while we run. So the graph is looked at
ten times a second: what type is there, and is it still the same publisher?
"""

import time
from typing import Callable, Iterable, List, Optional, Sequence, Set

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from cs3d_ros.events import DECODERS, EventBatch
from cs3d_ros.nodes import messages, topics
from cs3d_ros.nodes.event_stream import EventStream

LOOK_S = 0.1  # between two looks at the graph, which take some 30 us each
SAY_S = 1.0  # between two times that notices are said, each of them once then


def installed_types(names: Iterable[str] = tuple(DECODERS)) -> List[str]:
    """Return those message types of events whose packages are installed."""
    found = []
    for name in names:
        try:
            topics.message_class(name)
        except ImportError:
            continue
        found.append(name)
    return found


def choose_type(present: str, offered: Sequence[str], usable: Sequence[str]) -> str:
    """
    Return the type to subscribe: the present one as long as it is offered, or nothing better is.

    Parameters
    ----------
    present : str
        What is subscribed; empty before the first.
    offered : sequence of str
        The type of each publisher.
    usable : sequence of str
        Types that can be subscribed and decoded.

    Examples
    --------
    >>> choose_type('a/msg/A', ['b/msg/B'], ['a/msg/A', 'b/msg/B'])
    'b/msg/B'
    """
    candidates = [name for name in offered if name in usable]
    if not candidates or present in candidates:
        return present
    return candidates[0]


def type_complaint(topic: str, present: str, offered: Sequence[str], usable: Sequence[str]) -> str:
    """Return what is wrong with the types on a topic, and the cure; nothing if all is well."""
    for name in sorted(set(offered) - {present}):
        if name not in DECODERS:
            return '{} carries {}, which holds no events ({} do): remap the topic'.format(
                topic, name, ', '.join(usable)
            )
        if name not in usable:
            return '{} carries {}, but {} is not installed: build it, and source it here'.format(
                topic, name, name.split('/')[0]
            )
        if present in offered:
            return '{} carries {} beside {}, which is kept: end one, or remap its topic'.format(
                topic, name, present
            )
    return ''


class EventInput:
    """
    Best-effort subscription, which every driver's publisher matches, of whatever type there is.

    Nothing is subscribed before somebody publishes. When another type follows, what still waits
    of the one before is heard first.

    Parameters
    ----------
    node : Node
    topic : str
    on_events : callable
        Takes each batch; none is empty.
    depth : int
        Messages that may wait.
    on_new_stream : callable, optional
        Called when what comes next has nothing to do with what came.

    Attributes
    ----------
    topic : str
        Its full name.
    stream : EventStream
        Decodes, maps time, counts.
    publishers : int
        How many there were at the last look, of any type.
    complaint : str
        What is wrong with their types, or with ROS time, before which nothing is heard.
    busy_s : float
        Time spent on messages, `on_events` included.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        on_events: Callable[[EventBatch], None],
        depth: int,
        on_new_stream: Optional[Callable[[], None]] = None,
    ):
        self.topic = node.resolve_topic_name(topic)
        self.stream = EventStream()
        self.publishers = 0
        self.complaint = ''
        self.busy_s = 0.0
        self._node, self._name, self._depth = node, topic, depth
        self._on_events, self._on_new_stream = on_events, on_new_stream
        self._usable = installed_types()
        self._subscription = None
        self._loss = messages.LossCount()
        self._ids = set()  # of the publishers that were there last
        self._heard = 0  # messages until the last look
        self._said_s = -SAY_S  # when notices were said last
        # Not on the node's clock, as simulated time may stand still.
        self._timer = node.create_timer(
            LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._look()

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        self._unsubscribe()

    def _look(self) -> None:
        infos = self._node.get_publishers_info_by_topic(self._name)
        offered = [info.topic_type for info in infos]
        self.publishers = len(infos)
        is_another = self._meet_publishers({tuple(info.endpoint_gid) for info in infos})
        present, failure = self.stream.type_name, ''
        wanted = choose_type(present, offered, self._usable)
        heard, self._heard = self._heard, self.stream.messages
        if wanted != present or (wanted and self._subscription is None):
            if heard == self._heard:
                failure = self._subscribe(wanted)
        elif is_another and present:
            self._begin(present)
        self._complain(
            failure or type_complaint(self.topic, self.stream.type_name, offered, self._usable)
        )
        self._say_notices()

    def _complain(self, complaint: str) -> None:
        if not complaint and not self._now_ns():
            cure = 'publish /clock, or set use_sim_time to false'
            complaint = '{} waits for ROS time: {}'.format(self.topic, cure)
        if complaint and complaint != self.complaint:
            self._node.get_logger().warn(complaint)
        self.complaint = complaint

    def _say_notices(self) -> None:
        # Not as they come: two cameras on one topic change everything with every message.
        now_s = time.monotonic()
        if now_s < self._said_s + SAY_S:
            return
        for notice in self.stream.take_notices():
            self._said_s = now_s
            self._node.get_logger().info('{}: {}'.format(self.topic, notice))

    def _meet_publishers(self, ids: Set) -> bool:
        """Return whether none of those that were there is any more, and others have come."""
        before, self._ids = self._ids, ids or self._ids
        if ids != before:
            self._loss.forget()  # each publisher has numbers of its own
        return bool(ids) and bool(before) and not ids & before

    def _subscribe(self, type_name: str) -> str:
        """Subscribe as a type; return why that failed, or nothing."""
        # One process cannot have a topic as two types, so the old end goes first.
        self._unsubscribe()
        try:
            self._subscription = topics.subscribe(
                self._node,
                topics.message_class(type_name),
                self._name,
                self._on_message,
                self._depth,
                best_effort=True,
                raw=True,
            )
        except RuntimeError as error:  # RCLError is one
            return topics.in_use(self.topic, type_name, error)
        self._begin(type_name)
        return ''

    def _begin(self, type_name: str) -> None:
        """Take what comes for another camera's: its clock, and its state, are not the last's."""
        before = self.stream.type_name
        self._node.get_logger().info(
            '{} comes as {}{}'.format(
                self.topic, type_name, ', from another publisher: began anew' if before else ''
            )
        )
        self.stream.begin(type_name)
        self._loss.forget()
        if before and self._on_new_stream:
            self._on_new_stream()

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _now_ns(self) -> int:
        """Return ROS time, 0 as long as simulated time has not begun."""
        return self._node.get_clock().now().nanoseconds

    def _missing(self, info) -> Optional[int]:
        """Return how many messages were lost before this one, None where numbers do not tell."""
        missing = self._loss.push(info)
        if missing and self.publishers < 2:  # another one may be younger than the last look
            self.publishers = len(self._node.get_publishers_info_by_topic(self._name))
        return missing if self.publishers < 2 else None

    def _on_message(self, data: bytes, info) -> None:
        begin_s = time.monotonic()
        arrival_ns = self._now_ns()
        if not arrival_ns:
            return  # what is mapped to no time would be stamped with 1970
        batch = self.stream.push(data, arrival_ns, self._missing(info))
        if batch is not None:
            self._on_events(batch)
        self.busy_s += time.monotonic() - begin_s

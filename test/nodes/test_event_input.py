"""The topic of events as drivers of either type come, go, lose and mix on it; over real DDS."""

import os
import signal
import time

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from moving import PERIOD_NS, SENSOR, moving_events
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import String

from cs3d_ros.events import ENCODERS, EventBatch, open_recording, write_recording
from cs3d_ros.nodes import bringup, messages, topics
from cs3d_ros.nodes.demo import write_film
from cs3d_ros.nodes.observer import Observer
from cs3d_ros.nodes.preprocessing import Preprocessing

KINDS = sorted(ENCODERS)
ROI = [0.0, 0.0, 48.0, 48.0]
RELIABLE = QoSProfile(depth=1000)


def other(kind):
    return KINDS[1 - KINDS.index(kind)]


class Driver:
    """A camera driver of one message type; each message holds three periods of events."""

    def __init__(self, peer, kind, topic='events', qos=RELIABLE):
        type_name, self._encode = ENCODERS[kind]
        self._is_numbered = kind == 'event_packet'
        self._peer = peer
        self._publisher = peer.node.create_publisher(topics.message_class(type_name), topic, qos)
        self._next = 0
        self._due_s = 0.0
        self.sent = 0

    def meet(self):
        self._peer.wait_match(self._publisher)

    def send(self, size=SENSOR, skip=0, cut=None, stamp_ns=0):
        batch = moving_events(self._next, 3)
        t = batch.t + self._next * 3 * PERIOD_NS
        batch = EventBatch(batch.x, batch.y, t, batch.p, *size)
        number = {'seq': self._next + skip} if self._is_numbered else {}
        data = self._encode(batch, stamp_ns, 'camera', **number)
        self._publisher.publish(data[:cut])
        self._next += 1 + skip
        self.sent += 1
        return len(batch)

    def send_paced(self, size=SENSOR):
        """Send, but no faster than a camera would: a flood is lost in part."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + 3e-9 * PERIOD_NS
            self.send(size)
        return True

    def restart(self):
        self._next = 0

    def leap(self):
        """Set the clock ahead by an hour and more."""
        self._next += 50_000

    def end(self):
        self._peer.node.destroy_publisher(self._publisher)


@pytest.fixture
def preprocess(peer, start, bundle):
    def begin(**settings):
        return start(
            preprocessing=dict({'bundle': bundle, 'roi': ROI, 'idle_ms': 0.0}, **settings)
        )

    return begin


def last(peer, name):
    return int(peer.statuses.get('preprocessing', [(0, '', {})])[-1][2].get(name, 0))


def make_heard(peer, driver):
    """Wait until a driver is heard: its first messages may come before both sides have matched."""
    driver.meet()
    before = last(peer, 'events')
    peer.wait(lambda: driver.send_paced() and last(peer, 'events') > before, 'the driver heard')


@pytest.mark.parametrize('comes_first', ['driver', 'node'])
@pytest.mark.parametrize('kind', KINDS)
def test_type_of_the_driver_is_found(peer, preprocess, kind, comes_first):
    driver = Driver(peer, kind) if comes_first == 'driver' else None
    preprocess()
    if driver is None:
        peer.wait_status('preprocessing', 'nobody publishes', type='none')
        driver = Driver(peer, kind)
    make_heard(peer, driver)
    peer.wait_status('preprocessing', type=ENCODERS[kind][0], type_changes=0)


@pytest.mark.parametrize('kind', KINDS)
def test_another_type_that_follows_is_taken(peer, preprocess, kind):
    images = peer.listen(Image, 'face/image')
    graph = preprocess()
    peer.wait_publishers('face/image')
    first = Driver(peer, kind)
    make_heard(peer, first)
    first.end()
    # Wait for the end to be known: this process cannot have a topic as two types either.
    peer.wait_status('preprocessing', 'nobody publishes')
    images.clear()
    second = Driver(peer, other(kind))
    make_heard(peer, second)
    peer.wait_status('preprocessing', type=ENCODERS[other(kind)][0], type_changes=1)
    peer.wait(lambda: images, 'images of the second')
    now_ns = peer.node.get_clock().now().nanoseconds
    assert abs(now_ns - messages.time_ns(images[0].header.stamp)) < 5e9
    graph.check()


@pytest.mark.parametrize('kind', KINDS)
def test_driver_that_follows_another_begins_anew(peer, preprocess, kind, capfd):
    """A restarted camera counts its time from elsewhere, which times alone may not show."""
    images = peer.listen(Image, 'face/image')
    preprocess()
    peer.wait_publishers('face/image')
    first = Driver(peer, kind)
    make_heard(peer, first)
    first.end()
    peer.wait_status('preprocessing', 'nobody publishes')
    capfd.readouterr()
    images.clear()
    second = Driver(peer, kind)
    make_heard(peer, second)
    # Its very first may come before the graph tells whose they are.
    peer.wait(lambda: second.send_paced() and images, 'images of the second')
    peer.wait_status('preprocessing', type_changes=0, messages_lost=0)
    assert 'from another publisher: began anew' in capfd.readouterr().err


@pytest.mark.parametrize('kind', KINDS)
def test_player_that_is_activated_again_begins_anew(peer, start, preprocess, kind, tmp_path):
    """In a recording this short, times that begin anew look late, or like a turn of EVT3's."""
    path, events = str(tmp_path / 'short.npz'), moving_events(5, 6)
    write_recording(path, [events], *SENSOR)
    preprocess()
    start(player={'path': path, 'message_type': kind})
    for life in (1, 2):
        peer.wait_status('player', 'at the end')
        zeros = dict.fromkeys(('time_reversed', 'clock_resets', 'messages_lost'), 0)
        peer.wait_status('preprocessing', events=life * len(events), **zeros)
        assert peer.change('player', Transition.TRANSITION_DEACTIVATE)
        assert peer.change('player', Transition.TRANSITION_ACTIVATE)


def test_two_types_at_once_keep_the_first_and_are_told(peer, start, preprocess, recording):
    preprocess()
    driver = Driver(peer, 'event_array')
    make_heard(peer, driver)
    # The other type comes from another process, as one cannot publish a topic as both.
    start(player={'path': recording, 'message_type': 'event_packet', 'loop': True})
    peer.wait_status('preprocessing', 'beside dv_ros2_msgs/msg/EventArray, which is kept', level=1)
    before = last(peer, 'events')
    driver.send()
    peer.wait(lambda: last(peer, 'events') > before, 'events of the first')
    assert last(peer, 'type_changes') == 0
    driver.end()
    peer.wait_status('preprocessing', type_changes=1)
    peer.wait_status('player', 'playing')
    before = last(peer, 'events')
    peer.wait(lambda: last(peer, 'events') > before, 'events of the second')


@pytest.mark.parametrize('kind', KINDS)
def test_two_cameras_on_a_topic_lose_nothing_and_fill_no_log(peer, preprocess, kind, capfd):
    """Their sizes, their clocks and their numbers differ, and change with every message."""
    preprocess()
    first = Driver(peer, kind)
    make_heard(peer, first)
    for _ in range(60):
        first.send()
    second = Driver(peer, kind)
    make_heard(peer, second)
    before = last(peer, 'messages')
    for _ in range(40):
        first.send()
        second.send((100, 90))
    peer.wait(lambda: last(peer, 'messages') >= before + 80, 'all of both')
    peer.wait_status('preprocessing', '2 publishers on', messages_lost=0)
    assert len(capfd.readouterr().err.splitlines()) < 30


def test_events_before_simulated_time_begins_are_not_stamped(peer, preprocess, capfd):
    images = peer.listen(Image, 'face/image')
    preprocess(use_sim_time=True)
    peer.wait_publishers('face/image')
    driver = Driver(peer, 'event_array')
    driver.meet()
    words = 'waits for ROS time: publish /clock, or set use_sim_time to false'
    peer.wait(lambda: driver.send_paced() and driver.sent > 20, 'messages before the time')
    peer.wait_status('preprocessing', words, level=1, messages=0)
    clock = peer.node.create_publisher(Clock, '/clock', 10)
    start_ns = 1_700_000_000 * 10**9

    def tick():
        clock.publish(Clock(clock=messages.time_message(start_ns)))
        return driver.send_paced() and images

    peer.wait(tick, 'images')
    assert abs(messages.time_ns(images[0].header.stamp) - start_ns) < 10**9
    assert capfd.readouterr().err.count(words) == 1
    peer.node.destroy_publisher(clock)


def test_foreign_type_is_named(peer, preprocess):
    graph = preprocess()
    peer.node.create_publisher(String, 'events', 10)
    peer.wait_status('preprocessing', 'carries std_msgs/msg/String, which holds no', level=1)
    graph.check()


@pytest.mark.parametrize('kind', KINDS)
def test_what_a_held_up_node_misses_is_counted_exactly(peer, preprocess, kind):
    graph = preprocess(queue_depth=100, diagnostics_s=1.0)  # a second is long enough to drain
    driver = Driver(peer, kind, qos=QoSProfile(depth=10))
    make_heard(peer, driver)
    peer.wait_status('preprocessing', 'no events arrive')  # all that was sent has come
    first_heard = driver.sent - last(peer, 'messages')
    process = graph.processes['preprocessing']
    os.kill(process.pid, signal.SIGSTOP)
    try:
        for _ in range(2000):
            driver.send()
    finally:
        os.kill(process.pid, signal.SIGCONT)

    # What is lost shows with the next that comes.
    peer.wait(lambda: driver.send() and last(peer, 'messages_lost'), 'the loss to be counted')
    peer.wait_status('preprocessing', 'no events arrive')
    told = last(peer, 'messages') + last(peer, 'messages_lost')
    assert told == driver.sent - first_heard
    said = [words for _, words, _ in peer.statuses['preprocessing']]
    assert any('messages lost on the way' in words for words in said)


def test_gap_in_the_numbers_of_a_driver_is_lost(peer, preprocess):
    preprocess()
    driver = Driver(peer, 'event_packet')
    make_heard(peer, driver)
    driver.send(skip=5)
    driver.send()
    peer.wait_status('preprocessing', messages_lost=5)


def test_driver_that_numbers_anew_is_mapped_anew(peer, preprocess, capfd):
    images = peer.listen(Image, 'face/image')
    preprocess()
    peer.wait_publishers('face/image')
    driver = Driver(peer, 'event_packet')
    make_heard(peer, driver)
    peer.wait(lambda: driver.send_paced() and images, 'images before the reset')
    driver.restart()
    peer.wait(lambda: driver.send_paced() and last(peer, 'clock_resets'), 'the reset')
    images.clear()
    peer.wait(lambda: driver.send_paced() and images, 'images after the reset')
    peer.wait_status('preprocessing', clock_resets=1, messages_lost=0)
    now_ns = peer.node.get_clock().now().nanoseconds
    assert abs(now_ns - messages.time_ns(images[-1].header.stamp)) < 5e9
    said, words = [], 'began anew: mapped to ROS time anew'
    peer.wait(lambda: said.append(capfd.readouterr().err) or words in ''.join(said), 'the notice')


def test_stamps_go_on_where_the_clock_of_the_driver_leaps(peer, preprocess):
    images = peer.listen(Image, 'face/image')
    preprocess()
    peer.wait_publishers('face/image')
    driver = Driver(peer, 'event_array')
    make_heard(peer, driver)
    peer.wait(lambda: driver.send_paced() and images, 'images before the leap')
    driver.leap()
    peer.wait(lambda: driver.send_paced() and last(peer, 'clock_resets'), 'the leap')
    count = len(images)
    peer.wait(lambda: driver.send_paced() and len(images) > count, 'images after the leap')
    stamps_ns = [messages.time_ns(image.header.stamp) for image in images]
    assert max(np.abs(np.diff(stamps_ns))) < 60e9


@pytest.mark.parametrize('kind', KINDS)
def test_malformed_message_of_either_type_is_survived(peer, preprocess, kind):
    graph = preprocess()
    driver = Driver(peer, kind)
    make_heard(peer, driver)
    driver.send(cut=60)
    name = topics.message_class(ENCODERS[kind][0]).__name__
    peer.wait_status('preprocessing', name + ' ends inside its', level=1)
    before = last(peer, 'events')
    driver.send()
    peer.wait(lambda: last(peer, 'events') > before, 'events after the fault')
    graph.check()


@pytest.mark.parametrize('kind', KINDS)
def test_size_that_changes_is_followed_by_either_type(peer, preprocess, kind):
    images = peer.listen(Image, 'face/image')
    graph = preprocess()
    peer.wait_publishers('face/image')
    driver = Driver(peer, kind)
    make_heard(peer, driver)
    driver.send((100, 90))
    peer.wait_status('preprocessing', sensor_changes=1)
    frames = last(peer, 'frames')
    count = len(images)
    peer.wait(lambda: driver.send((100, 90)) and len(images) > count, 'images of the new size')
    peer.wait(lambda: last(peer, 'frames') > frames, 'counts that go on')
    graph.check()


@pytest.mark.parametrize('kind', KINDS)
def test_publisher_that_cannot_match_is_named_with_the_cure(peer, preprocess, capfd, kind):
    """Also where the type, and with it the subscription, has changed before."""
    override = 'qos_overrides./{}/events.subscription.reliability'.format(peer.namespace)
    preprocess(**{override: 'reliable'})
    first = Driver(peer, other(kind))
    make_heard(peer, first)
    first.end()
    peer.wait_status('preprocessing', 'nobody publishes')
    Driver(peer, kind, qos=QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT))
    said = []

    def warned():
        said.append(capfd.readouterr().err)
        return 'does not match by its QoS RELIABILITY' in ''.join(said)

    peer.wait(warned, 'the warning')
    assert 'give it reliability RELIABLE' in ''.join(said)


def test_type_may_change_while_the_node_is_not_active(peer, preprocess):
    preprocess()
    first = Driver(peer, 'event_array')
    make_heard(peer, first)
    assert peer.change('preprocessing', Transition.TRANSITION_DEACTIVATE)
    first.end()
    second = Driver(peer, 'event_packet')
    assert peer.change('preprocessing', Transition.TRANSITION_ACTIVATE)
    peer.wait_status('preprocessing', messages=0)
    make_heard(peer, second)
    peer.wait_status('preprocessing', type=ENCODERS['event_packet'][0], type_changes=0)


@pytest.mark.parametrize('kind', KINDS)
def test_type_is_found_on_a_remapped_topic(peer, bundle, kind):
    driver = Driver(peer, kind, 'camera/raw')
    nodes = {'preprocessing': {'bundle': bundle, 'roi': ROI}}
    with bringup.Graph(nodes, peer.namespace, {'events': 'camera/raw'}):
        make_heard(peer, driver)
        driver.end()
        peer.wait_status('preprocessing', 'nobody publishes /{}/camera/raw'.format(peer.namespace))


@pytest.mark.parametrize('kind', KINDS)
def test_observer_watches_either_type(peer, start, recording, kind):
    with open_recording(recording) as source:
        expected = sum(len(batch) for batch in source.batches())
    observer = Observer(namespace=peer.namespace)
    try:
        with peer.spinning(observer):
            start(player={'path': recording, 'message_type': kind, 'rate': 4.0})
            peer.wait(lambda: observer.counts['events'] == expected, 'every event')
            peer.wait(lambda: observer.is_over, 'the end')
        assert len(observer.moments) > 80
    finally:
        observer.destroy_node()


@pytest.mark.parametrize('kind', KINDS)
def test_observer_follows_a_size_that_changes(peer, kind, tmp_path):
    observer = Observer(namespace=peer.namespace)

    def show(driver, size):
        count = len(observer.moments) + 5
        peer.wait(lambda: driver.send_paced(size) and len(observer.moments) > count, 'pictures')

    try:
        with peer.spinning(observer):
            driver = Driver(peer, kind)
            driver.meet()
            for size in (SENSOR, (100, 90)):
                show(driver, size)
        observer.finish()
        sizes = [moment.picture().shape[1::-1] for moment in observer.moments]
        assert sizes == sorted(sizes)
        assert set(sizes) == {SENSOR, (100, 90)}
        assert sum(moment.events for moment in observer.moments) == observer.counts['events']
        write_film(str(tmp_path / 'film.mp4'), observer)
        assert (tmp_path / 'film.mp4').stat().st_size > 1000
    finally:
        observer.destroy_node()


def test_process_that_has_the_topic_as_another_type_is_told_and_lives(
    peer, start, bundle, recording
):
    """DDS refuses a second type in one process, so the node waits for the first to go."""
    image_publisher = peer.node.create_publisher(Image, 'events', 10)
    node = Preprocessing(
        namespace=peer.namespace, parameter_overrides=[Parameter('bundle', value=bundle)]
    )
    try:
        with peer.spinning(node):
            node.start()
            start(player={'path': recording, 'wait_for': 0, 'loop': True})
            peer.wait_status('preprocessing', 'if another node of this process has it', level=1)
            peer.node.destroy_publisher(image_publisher)
            peer.wait_status('preprocessing', type=ENCODERS['event_array'][0])
    finally:
        node.close()
        node.destroy_node()

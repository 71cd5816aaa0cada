import time

import numpy as np
import pytest
from dv_ros2_msgs.msg import EventArray
from moving import PERIOD_NS, SENSOR, START_NS, moving_events
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from tiny_onnx import CLASSES, METADATA, write_tiny_bundle

from cs3d_ros.events import EventBatch, encode_event_array
from cs3d_ros.nodes import messages
from cs3d_ros.nodes.inference import Inference

ROI = [0.0, 0.0, 48.0, 48.0]
GOOD = encode_event_array(moving_events(7, 3))


@pytest.fixture
def say(peer, start, bundle):
    """Return a function that sends bytes to a preprocessing node, which is up to hear them."""
    graph = start(preprocessing={'bundle': bundle, 'roi': ROI, 'idle_ms': 0.0})
    publisher = peer.node.create_publisher(EventArray, 'events', QoSProfile(depth=1000))
    peer.wait_match(publisher)

    def say_bytes(data):
        # The node may be about to match: say it until something was heard.
        peer.wait(
            lambda: (
                publisher.publish(data)
                or peer.statuses.get('preprocessing', [(0, '', {})])[-1][2].get('messages', '0')
                != '0'
            )
        )
        graph.check()

    say_bytes.publish = publisher.publish
    return say_bytes


def counts(peer):
    return peer.statuses['preprocessing'][-1][2]


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\0\1',
        GOOD[:40],
        GOOD[:-1],
        b'\0\x07' + GOOD[2:],
        np.random.default_rng(8).bytes(500),
        GOOD[:24] + b'\xff\xff\xff\xff' + GOOD[28:],
    ],
    ids=['empty', 'stub', 'cut', 'one short', 'foreign', 'noise', 'absurd count'],
)
def test_malformed_bytes_are_counted_and_survived(peer, say, data):
    say(GOOD)
    if len(data) > 3:  # Fast DDS itself refuses what has no encapsulation
        say.publish(data)
        peer.wait(lambda: int(counts(peer)['malformed']) >= 1, 'malformed to be counted')
    heard = int(counts(peer)['events'])
    say.publish(GOOD)
    peer.wait(lambda: int(counts(peer)['events']) > heard, 'events after the fault')


def test_malformed_bytes_are_explained(peer, say):
    say(GOOD)
    say.publish(GOOD[:40])
    peer.wait_status('preprocessing', 'EventArray ends inside its', level=1)


def test_events_outside_the_sensor_are_counted(peer, say):
    batch = moving_events(9, 3)
    wide = EventBatch.trusted(batch.x + np.uint16(60), batch.y, batch.t, batch.p, *SENSOR)
    say(encode_event_array(wide))
    peer.wait(lambda: int(counts(peer)['out_of_bounds']) > 0, 'out_of_bounds')


def test_time_running_backwards_is_counted(peer, say):
    batch = moving_events(10, 3)
    say(encode_event_array(batch))
    say.publish(encode_event_array(batch))
    peer.wait(lambda: int(counts(peer)['time_reversed']) > 0, 'time_reversed')


def test_clock_reset_maps_time_anew(peer, say):
    images = peer.listen(Image, 'face/image')
    peer.wait_publishers('face/image')
    batch = moving_events(11, 6)
    say(encode_event_array(batch))
    peer.wait(lambda: images, 'images')
    early = EventBatch(batch.x, batch.y, batch.t - START_NS, batch.p, *SENSOR)
    images.clear()
    say.publish(encode_event_array(early))
    peer.wait(lambda: images, 'images after the reset')
    peer.wait(lambda: counts(peer)['clock_resets'] == '1', 'clock_resets')
    now_ns = peer.node.get_clock().now().nanoseconds
    assert abs(now_ns - messages.time_ns(images[-1].header.stamp)) < 5e9


def test_new_sensor_size_is_followed(peer, say):
    images = peer.listen(Image, 'face/image')
    peer.wait_publishers('face/image')
    batch = moving_events(12, 3)
    say(encode_event_array(batch))
    larger = EventBatch(batch.x, batch.y, batch.t + 10 * PERIOD_NS, batch.p, 100, 90)
    say.publish(encode_event_array(larger))
    peer.wait(lambda: counts(peer)['sensor_changes'] == '1', 'sensor_changes')
    count = len(images)
    later = EventBatch(batch.x, batch.y, batch.t + 20 * PERIOD_NS, batch.p, 100, 90)
    say.publish(encode_event_array(later))
    peer.wait(lambda: len(images) > count, 'images of the new sensor')


@pytest.mark.parametrize('node', ['preprocessing', 'inference'])
@pytest.mark.parametrize(
    'content, words',
    [(None, 'is not there'), (b'', 'is empty'), (b'no model', 'does not load as an ONNX model')],
    ids=['missing', 'empty', 'foreign'],
)
def test_bad_bundle_is_said_and_survived(peer, start, tmp_path, node, content, words):
    path = tmp_path / 'bad.onnx'
    if content is not None:
        path.write_bytes(content)
    graph = start(**{node: {'bundle': str(path)}})
    peer.wait_status(node, words, level=2)
    peer.wait_status(node, words, level=2)
    graph.check()


@pytest.mark.parametrize(
    'outputs, classes, words',
    [
        (5, CLASSES, 'metadata promises output probabilities'),
        (3, ['happy', 'sad'], 'neutral among them'),
        (8, CLASSES[1:] + CLASSES[1:2], 'two or more different names'),
    ],
    ids=['too few outputs', 'no neutral', 'a class twice'],
)
def test_contradicting_bundle_is_said_and_survived(peer, start, tmp_path, outputs, classes, words):
    metadata = dict(METADATA, classes=classes)
    path = write_tiny_bundle(tmp_path / 'a.onnx', outputs=outputs, metadata=metadata)
    graph = start(inference={'bundle': path})
    peer.wait_status('inference', words, level=2)
    graph.check()


def test_box_without_area_is_refused(peer, start, bundle):
    start(preprocessing={'bundle': bundle, 'roi': [5.0, 5.0, 0.0, 10.0]})
    peer.wait_status('preprocessing', 'parameter roi is x, y, width, height', level=2)


def test_foreign_images_are_counted_and_survived(peer, start, bundle):
    graph = start(inference={'bundle': bundle})
    publisher = peer.node.create_publisher(Image, 'face/image', 10)
    peer.wait_match(publisher)
    foreign = messages.image_message(np.zeros((10, 10), np.uint8), 0, '')
    peer.wait(
        lambda: (
            publisher.publish(foreign)
            or peer.statuses.get('inference', [(0, '', {})])[-1][2].get('malformed', '0') != '0'
        )
    )
    peer.wait_status('inference', 'face/image must be mono8 of 112 x 112', level=1)
    graph.check()


def test_backlog_is_dropped_and_counted(peer, start, bundle):
    graph = start(inference={'bundle': bundle, 'queue_frames': 1})
    publisher = peer.node.create_publisher(Image, 'face/image', QoSProfile(depth=1000))
    peer.wait_match(publisher)
    image = np.random.default_rng(1).integers(0, 256, (112, 112)).astype(np.uint8)
    stamps = iter(range(0, 10**15, PERIOD_NS))

    def burst():
        for _ in range(50):
            publisher.publish(messages.image_message(image, next(stamps), ''))
        return int(peer.statuses.get('inference', [(0, '', {})])[-1][2].get('dropped', 0)) > 0

    peer.wait(lambda: 'inference' in peer.statuses)
    peer.wait(burst, 'dropped images')
    peer.wait(lambda: any('images missed' in words for _, words, _ in peer.statuses['inference']))
    values = peer.statuses['inference'][-1][2]
    assert int(values['images']) > int(values['dropped'])
    graph.check()


def test_backlog_does_not_hold_up_the_end(peer, bundle, monkeypatch):
    settings = {'bundle': bundle, 'backend': 'onnxruntime', 'queue_frames': 1000}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    node = Inference(namespace=peer.namespace, parameter_overrides=overrides)
    answered = []
    monkeypatch.setattr(node, '_answer', lambda *work: answered.append(time.sleep(0.05)))
    publisher = peer.node.create_publisher(Image, 'face/image', QoSProfile(depth=1000))
    image = messages.image_message(np.zeros((112, 112), np.uint8), 0, '')
    try:
        with peer.spinning(node):
            node.start()
            peer.wait_match(publisher)
            for _ in range(100):
                publisher.publish(image)
            peer.wait(lambda: node.report()[2]['images'] == 100, 'images that wait')
            node.trigger_deactivate()
        assert len(answered) + node.report()[2]['dropped'] == 100
        assert len(answered) < 100
    finally:
        node.close()
        node.destroy_node()


def test_subscriber_of_other_qos_is_told_the_cure(peer, start, bundle, capfd):
    start(inference={'bundle': bundle})
    peer.wait_publishers('emotion')
    from hri_msgs.msg import Expression

    late = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.listen(Expression, 'emotion', qos=late)
    said = []

    def heard():
        said.append(capfd.readouterr().err)
        return 'does not match by its QoS' in ''.join(said)

    peer.wait(heard, 'the warning')
    assert 'durability VOLATILE' in ''.join(said)

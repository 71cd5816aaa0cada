"""Our bytes of EventPacket against those of rclpy's own serializer, the judge of what travels."""

import numpy as np
import pytest
from event_camera_msgs.msg import EventPacket
from naive import random_batch
from rclpy.serialization import deserialize_message, serialize_message

from cs3d_ros.events import EventBatch, EventPacketDecoder, encode_event_packet, encode_evt3


def whole_us(count):
    batch = random_batch(count, count)
    return EventBatch(batch.x, batch.y, batch.t // 1000 * 1000, batch.p, 346, 260)


def to_message(batch, frame_id):
    message = EventPacket(height=260, width=346, seq=2**40 + 1, time_base=0, encoding='evt3')
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = 5, 7
    message.events = np.frombuffer(encode_evt3(batch), np.uint8)
    return message


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'camera'])
@pytest.mark.parametrize('count', [0, 1, 2, 3, 50])
def test_bytes_of_rclpy_decode(count, frame_id):
    batch = whole_us(count)
    decoder = EventPacketDecoder()
    assert decoder.push(serialize_message(to_message(batch, frame_id))) == batch
    assert (decoder.frame_id, decoder.stamp_ns) == (frame_id, 5_000_000_007)


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'camera'])
@pytest.mark.parametrize('count', [0, 1, 2, 3, 50])
def test_rclpy_reads_our_bytes(count, frame_id):
    batch = whole_us(count)
    data = encode_event_packet(batch, 5_000_000_007, frame_id, 2**40 + 1)
    assert deserialize_message(data, EventPacket) == to_message(batch, frame_id)

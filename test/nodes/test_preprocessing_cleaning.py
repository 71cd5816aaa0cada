import numpy as np
import pytest
from dv_ros2_msgs.msg import EventArray
from moving import PERIOD_NS, SENSOR, START_NS, moving_events
from rclpy.qos import QoSProfile

from cs3d_ros.events import Cleaner, CleaningSettings, EventBatch, encode_event_array

ROI = [0.0, 0.0, 48.0, 48.0]
TAU_MS = 2.0


@pytest.fixture
def say(peer, start, bundle):
    """Return a function that sends batches to a node that cleans them."""
    start(
        preprocessing={
            'bundle': bundle,
            'roi': ROI,
            'idle_ms': 0.0,
            'hot_pixels': True,
            'background_activity_ms': TAU_MS,
        }
    )
    publisher = peer.node.create_publisher(EventArray, 'events', QoSProfile(depth=1000))
    peer.wait_match(publisher)

    def say_batch(batch):
        publisher.publish(encode_event_array(batch))

    return say_batch


def dropped(batch):
    """Return what background activity drops of a batch up to the start of its last period."""
    closed = batch.between(0, int(batch.t[-1]) // PERIOD_NS * PERIOD_NS)
    settings = CleaningSettings(background_activity_ns=round(TAU_MS * 1e6))
    return len(closed) - len(Cleaner(closed.width, closed.height, settings).push(closed))


def test_what_was_cleaned_stands_on_diagnostics_and_goes_on_with_another_sensor(peer, say):
    batch = moving_events(1, 9)
    say(batch)
    first = dropped(batch)
    assert first > 100
    peer.wait_status('preprocessing', cleaned_background_activity=first, cleaned_flicker=0)
    larger = EventBatch(batch.x, batch.y, batch.t + 10 * PERIOD_NS, batch.p, 100, 90)
    say(larger)
    peer.wait_status(
        'preprocessing', cleaned_background_activity=first + dropped(larger), sensor_changes=1
    )


def test_learned_hot_pixels_stand_on_diagnostics(peer, say):
    count = 1100
    say(
        EventBatch(
            np.full(count, 12, np.uint16),
            np.full(count, 5, np.uint16),
            START_NS // 10**9 * 10**9 + np.arange(count) * 2_000_000,
            np.ones(count, np.uint8),
            *SENSOR,
        )
    )
    peer.wait_status('preprocessing', hot_pixels='1: (12, 5) 500 Hz')


def test_flicker_of_less_than_a_hertz_is_refused(peer, start, bundle):
    start(preprocessing={'bundle': bundle, 'flicker_hz': 0.5})
    peer.wait_status('preprocessing', 'lights must be 1 Hz or more', level=2)

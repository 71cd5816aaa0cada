import numpy as np
import pytest
from dv_ros2_msgs.msg import EventArray
from moving import PERIOD_NS, SENSOR, moving_events
from rclpy.qos import QoSProfile, ReliabilityPolicy

from cs3d_ros.events import EventArrayDecoder, concatenate, open_recording, write_recording
from cs3d_ros.simulator import open_source

BEST_EFFORT = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)


class Ear:
    """What was heard on events, decoded as it came."""

    def __init__(self, peer, qos=BEST_EFFORT):
        self.decoder = EventArrayDecoder()
        self.batches, self.sizes = [], []
        peer.listen(EventArray, 'events', self._hear, qos, raw=True)

    def _hear(self, data):
        self.sizes.append(len(data))
        self.batches.append(self.decoder.push(data))

    def __len__(self):
        return self.decoder.counts.events

    def events(self):
        return concatenate(self.batches)


def whole(path):
    with open_source(path) as recording:
        return concatenate(recording.batches())


@pytest.mark.parametrize('qos', [BEST_EFFORT, QoSProfile(depth=1000)])
def test_every_event_arrives_as_recorded(peer, start, recording, qos):
    ear = Ear(peer, qos)
    start(player={'path': recording, 'rate': 2})
    events = whole(recording)
    peer.wait_status('player', 'at the end', events=len(events))
    peer.wait(lambda: len(ear) == len(events), 'every event')
    assert ear.events() == events
    assert ear.decoder.frame_id == 'event_camera'


def test_messages_keep_the_pace_of_the_recording(peer, start, recording):
    times = []
    peer.listen(EventArray, 'events', lambda _: times.append(peer.node.get_clock().now()))
    start(player={'path': recording})
    peer.wait_status('player', 'at the end')
    with open_recording(recording) as events:
        recorded_s = events.duration_ns * 1e-9
    assert (times[-1] - times[0]).nanoseconds * 1e-9 == pytest.approx(recorded_s, abs=0.25)


def test_many_events_at_once_become_several_messages(peer, start, tmp_path):
    path = str(tmp_path / 'dense.npz')
    write_recording(path, [moving_events(4, 3, rate=30_000)], *SENSOR)
    ear = Ear(peer)
    start(player={'path': path, 'message_ms': 100})
    peer.wait(lambda: len(ear) == len(whole(path)), 'every event')
    assert ear.events() == whole(path)
    assert max(ear.sizes) < 330_000


def test_loop_goes_on_in_time(peer, start, tmp_path):
    path = str(tmp_path / 'short.npz')
    events = moving_events(5, 6)
    write_recording(path, [events], *SENSOR)
    ear = Ear(peer)
    start(player={'path': path, 'loop': True})
    peer.wait(lambda: len(ear) >= 3 * len(events), 'three rounds')
    played = ear.events()
    assert ear.decoder.counts.clock_resets == ear.decoder.counts.time_reversed == 0
    rounds = [played[i * len(events) : (i + 1) * len(events)] for i in range(3)]
    assert all(np.array_equal(r.x, events.x) for r in rounds)
    gap_ns = int(rounds[1].t[0] - rounds[0].t[-1])
    assert 0 <= gap_ns < PERIOD_NS
    assert np.array_equal(np.diff(rounds[2].t), np.diff(events.t))


def test_video_is_played_as_a_camera_would_see_it(peer, start, shared_data):
    path = str(shared_data / 'videos' / 'neutral_to_smile.mp4')
    ear = Ear(peer)
    start(player={'path': path})
    events = whole(path)
    peer.wait(lambda: len(ear) == len(events), 'every event')
    assert ear.events() == events


def test_player_waits_for_as_many_subscribers_as_told(peer, start, recording):
    peer.listen(EventArray, 'events', raw=True)
    start(player={'path': recording, 'wait_for': 2})
    peer.wait_status('player', 'waiting for 2 subscriber(s)', messages=0)
    peer.listen(EventArray, 'events', raw=True)
    peer.wait_status('player', 'playing')


@pytest.mark.parametrize(
    'name, content, words',
    [
        (None, None, 'parameter path is empty'),
        ('missing.npz', None, 'is not there'),
        ('empty.npz', b'', 'npz'),
        ('video.mp4', b'no video at all', 'does not open as a video'),
    ],
)
def test_what_cannot_be_played_is_said_and_survived(peer, start, tmp_path, name, content, words):
    path = tmp_path / (name or '')
    if content is not None:
        path.write_bytes(content)
    graph = start(player={'path': str(path) if name else ''})
    peer.wait_status('player', words, level=2)
    peer.wait_status('player', words, level=2)  # a second later, still there to say it
    graph.check()

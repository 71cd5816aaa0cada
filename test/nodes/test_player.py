import numpy as np
import pytest
from dv_ros2_msgs.msg import EventArray
from event_camera_msgs.msg import EventPacket
from moving import PERIOD_NS, SENSOR, moving_events
from peer import BEST_EFFORT, Ear
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile

from cs3d_ros.events import ENCODERS, EventBatch, concatenate, open_recording, write_recording
from cs3d_ros.nodes import parameters
from cs3d_ros.nodes.player import Player
from cs3d_ros.simulator import open_source


def whole(path):
    with open_source(path) as recording:
        return concatenate(recording.batches())


@pytest.mark.parametrize('qos', [BEST_EFFORT, QoSProfile(depth=1000)])
def test_every_event_arrives_as_recorded(peer, start, recording, qos):
    ear = Ear(peer, qos=qos)
    start(player={'path': recording, 'rate': 2})
    events = whole(recording)
    peer.wait_status('player', 'at the end', events=len(events))
    peer.wait(lambda: len(ear) == len(events), 'every event')
    assert ear.events() == events
    assert ear.decoder.frame_id == 'event_camera'


def test_packets_bring_every_event_in_whole_microseconds(peer, start, recording):
    ear = Ear(peer, 'event_packet')
    start(player={'path': recording, 'rate': 2, 'message_type': 'event_packet'})
    expected = whole(recording)
    peer.wait(lambda: len(ear) == len(expected), 'every event')
    heard, t_us = ear.events(), expected.t // 1000
    for column in 'xyp':
        assert np.array_equal(getattr(heard, column), getattr(expected, column)), column
    # EVT3 counts from an unknown begin
    assert np.array_equal(heard.t - heard.t[0], (t_us - t_us[0]) * 1000)
    assert (ear.decoder.counts.lost, ear.decoder.frame_id) == (0, 'event_camera')


def test_packets_count_on_while_the_recording_begins_again(peer, start, tmp_path):
    path = str(tmp_path / 'short.npz')
    write_recording(path, [moving_events(5, 6)], *SENSOR)
    heard = peer.listen(EventPacket, 'events', qos=BEST_EFFORT)
    start(player={'path': path, 'loop': True, 'message_type': 'event_packet'})
    peer.wait(lambda: len(heard) > 60, 'three rounds')
    assert [message.seq for message in heard] == list(range(len(heard)))


def test_sensor_too_large_for_packets_is_told_the_cure(peer, start, tmp_path):
    path = str(tmp_path / 'large.npz')
    events = moving_events(5, 1)
    columns = events.x, events.y, events.t, events.p
    write_recording(path, [EventBatch(*columns, 3000, 48)], 3000, 48)
    start(player={'path': path, 'message_type': 'event_packet'})
    words = 'the sensor is 3000 x 48: set message_type to event_array'
    peer.wait_status('player', words, level=2)


def test_message_types_are_those_that_can_be_encoded():
    table = {parameter.name: parameter for parameter in parameters.TABLES['player']}
    assert sorted(table['message_type'].choices) == sorted(ENCODERS)


def test_subscriber_that_wants_the_past_is_told_the_cure(peer, start, recording, capfd):
    start(player={'path': recording})
    late = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.listen(EventArray, 'events', qos=late)
    said = []
    peer.wait(
        lambda: said.append(capfd.readouterr().err) or 'durability VOLATILE' in ''.join(said),
        'the warning',
    )


def test_topic_that_this_process_has_as_another_type_is_told_and_survived(peer, recording):
    peer.listen(EventArray, 'events', raw=True)
    settings = {'path': recording, 'message_type': 'event_packet'}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    player = Player(namespace=peer.namespace, parameter_overrides=overrides)
    try:
        with peer.spinning(player):
            player.start()
            peer.wait_status('player', 'events cannot be had as EventPacket', level=2)
            peer.wait_status('player', 'events cannot be had as EventPacket', level=2)
    finally:
        player.close()
        player.destroy_node()


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


def test_clock_that_leaps_ahead_in_a_recording_is_told(peer, start, tmp_path, capfd):
    path, events = str(tmp_path / 'leap.npz'), moving_events(5, 3)
    later = EventBatch(events.x, events.y, events.t + 3600 * 10**9, events.p, *SENSOR)
    write_recording(path, [events, later], *SENSOR)
    start(player={'path': path, 'rate': 100.0, 'wait_for': 0})
    peer.wait_status('player', 'at the end', events=2 * len(events))
    assert 'leap.npz: nothing for 3600 s, as if its clock were set: 10 s' in capfd.readouterr().err


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

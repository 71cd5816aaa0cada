"""The webcam node over DDS, with files in place of a camera."""

import cv2
import numpy as np
import pytest
from dv_ros2_msgs.msg import EventArray
from lifecycle_msgs.msg import Transition
from moving import CLIP_FRAMES
from peer import Ear
from rclpy.parameter import Parameter

from cs3d_ros.events import concatenate
from cs3d_ros.nodes import bringup, webcam
from cs3d_ros.simulator import PRESETS, FrameSource, VideoError, VideoInfo, simulate_video


def heard(peer, start, message_type='event_array', until_ns=0, **settings):
    """Return the events that came until one of a time, the first of which may be missed."""
    ear = Ear(peer, message_type)
    start(webcam=dict(settings, message_type=message_type, autostart=False))
    # the clip is short: it begins once DDS, however busy the machine, has found the publisher
    assert peer.change('webcam', Transition.TRANSITION_CONFIGURE)
    peer.wait_publishers('events', 1)
    assert peer.change('webcam', Transition.TRANSITION_ACTIVATE)
    values = peer.wait_status('webcam', 'at the end')
    peer.wait(lambda: len(ear) and ear.batches[-1].t[-1] >= until_ns, 'the last event')
    return ear.events(), values


def test_events_are_those_of_the_simulator(peer, start, clip):
    expected = concatenate(simulate_video(clip, settings=PRESETS['davis346']))
    events, values = heard(
        peer, start, until_ns=int(expected.t[-1]), source=clip, preset='davis346'
    )
    assert (values['frames'], values['frames_dropped']) == (str(CLIP_FRAMES), '0')
    assert values['events'] == str(len(expected))
    assert len(events) > len(expected) / 4
    assert events == expected[len(expected) - len(events) :]


def test_events_come_in_pieces_of_their_frame_and_in_its_time(peer, start, clip):
    came_s, spans_s = [], []

    def hear(message):
        came_s.append(peer.node.get_clock().now().nanoseconds * 1e-9)
        ends = (message.events[0].ts, message.events[-1].ts)
        spans_s.append([ts.sec + ts.nanosec * 1e-9 for ts in ends])

    peer.listen(EventArray, 'events', hear)
    start(webcam={'source': clip})
    peer.wait_status('webcam', 'at the end')
    assert len(came_s) > 4  # the first may be missed
    assert max(last - first for first, last in spans_s) <= 0.0101  # message_ms, not a frame's 125
    assert came_s[-1] - came_s[0] > 0.5 * (spans_s[-1][1] - spans_s[0][0])


def test_packets_are_sent_if_asked_for(peer, start, clip):
    events, values = heard(peer, start, 'event_packet', source=clip)
    assert len(events) and (events.width, events.height) == (128, 96)


def test_sensor_has_the_width_asked_for_and_the_shape_of_the_picture(peer, start, clip):
    events, _ = heard(peer, start, source=clip, width=64)
    assert (events.width, events.height) == (64, 48)


def test_folder_of_images_needs_its_rate(peer, start, tmp_path):
    for index in range(10):
        picture = np.full((48, 64), 60 + 15 * index, np.uint8)
        assert cv2.imwrite(str(tmp_path / '{}.png'.format(index)), picture)
    start(webcam={'source': str(tmp_path)})
    peer.wait_status('webcam', 'give their rate', level=2)
    assert peer.set_parameters('webcam', fps=20.0).successful
    assert peer.change('webcam', Transition.TRANSITION_CONFIGURE)
    assert peer.change('webcam', Transition.TRANSITION_ACTIVATE)
    assert int(peer.wait_status('webcam', 'at the end')['events']) > 48 * 64


def test_machine_that_is_too_slow_drops_frames_and_says_so(peer, start, tmp_path):
    path = str(tmp_path / 'wild.avi')
    clouds = np.random.default_rng(0).integers(40, 200, (60, 100)).astype(np.uint8)
    clouds = cv2.resize(clouds, (1000, 600), interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 60.0, (800, 600))
    for index in range(120):
        part = np.ascontiguousarray(clouds[:, index : index + 800])
        writer.write(cv2.cvtColor(part, cv2.COLOR_GRAY2BGR))
    writer.release()
    start(webcam={'source': path, 'width': 800, 'upsample': 16})
    peer.wait_status('webcam', 'frames were dropped since the last report: lower width', level=1)
    values = peer.wait_status('webcam', 'at the end')
    assert int(values['frames_dropped']) > 30
    assert values['frames'] == '120'


def test_camera_that_is_not_there_is_said_and_survived(peer, start):
    graph = start(webcam={'source': '97'})
    peer.wait_status('webcam', 'camera 97 does not open, and this machine has', level=2)
    peer.wait_status('webcam', 'camera 97 does not open', level=2)
    graph.check()


class Unplugged(FrameSource):
    """A camera that is pulled out after a few frames."""

    name = 'camera 0'
    info = VideoInfo(32, 24, 0.0, 0)

    def _frames(self):
        for index in range(5):
            yield np.full((24, 32), 50 + 40 * index, np.uint8), index * 20_000_000
        raise VideoError('camera 0 sends nothing any more after 5 frames')


def test_camera_that_vanishes_is_said_and_survived(peer, monkeypatch):
    monkeypatch.setattr(webcam, 'open_frames', lambda *_: Unplugged())
    node = webcam.Webcam(
        namespace=peer.namespace, parameter_overrides=[Parameter('diagnostics_s', value=0.1)]
    )
    try:
        with peer.spinning(node):
            node.start()
            words = 'stopped: camera 0 sends nothing any more after 5 frames'
            values = peer.wait_status('webcam', words, level=2)
            peer.wait_status('webcam', words, level=2)
    finally:
        node.close()
        node.destroy_node()
    assert (values['frames'], int(values['events']) > 0) == ('5', True)


def test_deactivated_webcam_begins_anew(peer, start, clip):
    start(webcam={'source': clip})
    for _ in range(2):
        peer.wait_status('webcam', 'playing')
        assert peer.change('webcam', Transition.TRANSITION_DEACTIVATE)
        assert peer.change('webcam', Transition.TRANSITION_ACTIVATE)
    assert peer.wait_status('webcam', 'at the end')['frames'] == str(CLIP_FRAMES)


@pytest.mark.parametrize(
    'given, source', [('0', '0'), ('/dev/video1', '/dev/video1'), ('a.mp4', None)]
)
def test_bringup_hands_the_camera_on(given, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nodes = bringup.nodes_for(None, None, webcam=given)
    assert nodes['webcam'] == {'source': source or str(tmp_path / given)}
    assert 'player' not in nodes

import numpy as np
import pytest
from hri_msgs.msg import Expression, NormalizedRegionOfInterest2D
from moving import PERIOD_NS, SENSOR, moving_events
from peer import Peer
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification

from cs3d_ros.events import EventBatch, write_recording
from cs3d_ros.face import Box
from cs3d_ros.inference import OnnxRuntimeEngine
from cs3d_ros.nodes import bringup, messages
from cs3d_ros.pipeline import recognize
from cs3d_ros.simulator import open_source

ROI = [8.0, 4.0, 40.0, 40.0]
PATIENCE_MS = 2000.0  # so that a busy machine is not taken for a silent camera


def stamps_ns(heard):
    return np.array([messages.time_ns(message.header.stamp) for message in heard])


class Heard:
    """What the graph published while a recording was played, and what recognize() says of it."""

    def __init__(self, peer, start, path, bundle, roi=None):
        self.images = peer.listen(Image, 'face/image')
        self.boxes = peer.listen(NormalizedRegionOfInterest2D, 'face/roi')
        self.emotions = peer.listen(Expression, 'emotion')
        self.distributions = peer.listen(Classification, 'emotion/distribution')
        with open_source(path) as recording:
            answers = list(
                recognize(recording, OnnxRuntimeEngine(bundle), Box(*roi) if roi else None)
            )
        self.frames = [frame for frame, _ in answers if frame.image is not None]
        self.answers = [e for frame, e in answers if frame.image is not None and e is not None]
        settings = {'bundle': bundle, 'idle_ms': PATIENCE_MS}
        if roi:
            settings['roi'] = roi
        nodes = {
            'preprocessing': settings,
            'inference': {'bundle': bundle, 'queue_frames': 1000},
        }
        start(**nodes)
        # The peer must be there before the first image: only then all of them can be compared.
        for topic in ('face/image', 'face/roi', 'emotion', 'emotion/distribution'):
            peer.wait_publishers(topic)
        peer.wait_status('inference', 'no face images')
        start(player={'path': path})
        peer.wait_status('player', 'at the end')
        peer.wait(lambda: len(self.images) >= len(self.frames), 'all images')
        peer.wait(lambda: len(self.boxes) >= len(self.frames), 'all boxes')
        peer.wait(lambda: len(self.distributions) >= len(self.answers), 'all answers')
        peer.wait(lambda: len(self.emotions) >= len(self.answers), 'all answers')


def assert_equal(heard, size):
    count = len(heard.frames)
    images = np.array([messages.image_array(message, 112) for message in heard.images[:count]])
    assert np.array_equal(images, np.array([frame.image for frame in heard.frames]))
    expected_ns = np.array([frame.t_ns for frame in heard.frames])
    assert np.array_equal(np.diff(stamps_ns(heard.images[:count])), np.diff(expected_ns))
    expected_boxes = [
        messages.roi_message(frame.track, size[0], size[1], 0, '') for frame in heard.frames
    ]
    sides = [
        [(b.xmin, b.ymin, b.xmax, b.ymax) for b in boxes]
        for boxes in (heard.boxes[:count], expected_boxes)
    ]
    assert np.allclose(*sides, rtol=0, atol=1e-6)  # float32 on the wire

    count = len(heard.answers)
    assert [m.expression for m in heard.emotions[:count]] == [a.expression for a in heard.answers]
    scores = [[r.score for r in message.results] for message in heard.distributions[:count]]
    assert np.allclose(scores, [a.probabilities for a in heard.answers], rtol=0, atol=1e-9)
    offset_ns = stamps_ns(heard.images[:1])[0] - expected_ns[0]
    answered_ns = np.array([a.t_ns for a in heard.answers])
    assert np.array_equal(stamps_ns(heard.emotions[:count]) - offset_ns, answered_ns)
    assert np.array_equal(stamps_ns(heard.distributions[:count]) - offset_ns, answered_ns)


def test_graph_says_what_the_chain_says(peer, start, recording, bundle):
    heard = Heard(peer, start, recording, bundle, ROI)
    assert len({answer.expression for answer in heard.answers}) > 1
    assert_equal(heard, SENSOR)


def test_graph_agrees_on_a_real_smile(peer, start, shared_data, bundle):
    path = str(shared_data / 'videos' / 'neutral_to_smile.mp4')
    with open_source(path) as source:
        size = source.width, source.height
    heard = Heard(peer, start, path, bundle)
    assert len(heard.frames) > 40
    assert_equal(heard, size)


def test_real_recording_without_a_face_gives_no_face(peer, start, shared_data, bundle):
    images = peer.listen(Image, 'face/image')
    start(preprocessing={'bundle': bundle})
    peer.wait_publishers('face/image')
    start(player={'path': str(shared_data / 'recordings' / 'davis346_bench.aedat4')})
    peer.wait_status('player', 'at the end', events=117667)
    values = peer.wait_status('preprocessing', events=117667)
    assert (values['face_frames'], values['messages_lost'], images) == ('0', '0', [])


def test_still_camera_still_gives_frames(peer, start, recording, bundle):
    images = peer.listen(Image, 'face/image')
    start(
        preprocessing={'bundle': bundle, 'roi': ROI, 'idle_ms': 100.0},
        player={'path': recording, 'rate': 4.0},
    )
    peer.wait_status('player', 'at the end')
    count = len(images)
    peer.wait(lambda: len(images) > count + 30, 'frames of stillness')
    assert set(images[-1].data) == {128}


def test_long_silence_that_ends_loses_no_frame(peer, start, tmp_path, bundle):
    """All periods of the silence come at once, as the node is told to wait for events."""
    events = moving_events(15, 9)
    later = EventBatch(
        events.x, events.y, events.t + 9_000_000_000, events.p, events.width, events.height
    )
    path = str(tmp_path / 'silent.npz')
    write_recording(path, [events, later], *SENSOR)
    images = peer.listen(Image, 'face/image')
    start(
        preprocessing={'bundle': bundle, 'roi': ROI, 'idle_ms': 0.0},
        inference={'bundle': bundle, 'queue_frames': 1000},
    )
    peer.wait_publishers('face/image')
    peer.wait_status('inference', 'no face images')
    start(player={'path': path, 'rate': 3.0})
    periods = (int(later.t[-1]) // PERIOD_NS) - (int(events.t[0]) // PERIOD_NS)
    peer.wait(lambda: len(images) >= periods, 'all images')
    assert set(np.diff(stamps_ns(images))) == {PERIOD_NS}
    peer.wait_status('inference', images=periods, images_lost=0, dropped=0)


def test_overlay_is_drawn_for_whoever_looks(peer, start, recording, bundle):
    start(preprocessing={'bundle': bundle, 'roi': ROI}, player={'path': recording, 'loop': True})
    peer.wait_status('preprocessing', 'face tracked')
    pictures = peer.listen(Image, 'face/overlay')
    peer.wait(lambda: len(pictures) > 3, 'pictures')
    picture = pictures[-1]
    assert (picture.encoding, picture.width, picture.height) == ('bgr8', *SENSOR)
    assert picture.header.frame_id == 'event_camera'


@pytest.mark.parametrize('namespace', ['', 'robot/head'])
def test_graph_lives_in_any_namespace(start, recording, bundle, namespace):
    peer = Peer(namespace)
    nodes = bringup.nodes_for(recording, bundle, power=True)
    nodes['preprocessing']['roi'] = ROI
    try:
        emotions = peer.listen(Expression, '/{}/emotion'.format(namespace).replace('//', '/'))
        with bringup.Graph(nodes, namespace):
            peer.wait(lambda: emotions, '/emotion')
    finally:
        peer.close()

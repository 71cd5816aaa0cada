import numpy as np
import pytest
from sensor_msgs.msg import Image

from cs3d_ros.events import MessageError
from cs3d_ros.face import Box, FaceTrack
from cs3d_ros.inference import Emotion
from cs3d_ros.nodes import messages
from cs3d_ros.power import RailStatistics

NOW_NS = 1_700_000_000_123_456_789


@pytest.mark.parametrize('ns', [0, 1, NOW_NS, -1, -1_500_000_000])
def test_stamps_keep_every_nanosecond(ns):
    assert messages.time_ns(messages.time_message(ns)) == ns


def test_image_comes_back_whole():
    image = np.random.default_rng(1).integers(0, 256, (112, 112)).astype(np.uint8)
    message = messages.image_message(image, NOW_NS, 'camera')
    assert (message.encoding, message.step, message.header.frame_id) == ('mono8', 112, 'camera')
    assert np.array_equal(messages.image_array(message, 112), image)


def test_rows_of_an_image_may_be_padded():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)[:, :3]
    padded = np.arange(12, dtype=np.uint8).tobytes()[:-1]
    message = Image(height=3, width=3, encoding='mono8', step=4, data=padded)
    assert np.array_equal(messages.image_array(message, 3), image)


@pytest.mark.parametrize(
    'change',
    [
        {'encoding': 'bgr8'},
        {'width': 100},
        {'height': 0},
        {'step': 1},
        {'data': b'\0' * 100},
        {'step': 2**32 - 1},
    ],
)
def test_foreign_image_is_refused(change):
    message = messages.image_message(np.zeros((112, 112), np.uint8), 0, '')
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(MessageError):
        messages.image_array(message, 112)


def test_picture_in_colour_is_bgr8():
    message = messages.image_message(np.zeros((2, 3, 3), np.uint8), 0, '')
    assert (message.encoding, message.step, len(message.data)) == ('bgr8', 9, 18)


def test_roi_is_cut_at_the_border_of_the_sensor():
    track = FaceTrack(1, Box(-10.0, 20.0, 60.0, 200.0), 0.75, 0)
    roi = messages.roi_message(track, 100, 200, NOW_NS, 'camera')
    assert (roi.xmin, roi.ymin, roi.xmax, roi.ymax, roi.c) == pytest.approx(
        (0.0, 0.1, 0.5, 1.0, 0.75)
    )


def test_emotion_becomes_expression_and_distribution():
    emotion = Emotion(NOW_NS, 'happy', 0.75, 0.5, -0.25, (0.25, 0.75))
    expression = messages.expression_message(emotion, 'camera')
    assert (expression.expression, expression.confidence) == ('happy', 0.75)
    assert (expression.valence, expression.arousal) == (0.5, -0.25)
    distribution = messages.distribution_message(emotion, ('neutral', 'happy'), 'camera')
    assert [(r.class_id, r.score) for r in distribution.results] == [
        ('neutral', 0.25),
        ('happy', 0.75),
    ]
    assert expression.header == distribution.header
    assert messages.time_ns(expression.header.stamp) == NOW_NS


def test_statistics_leave_out_what_is_no_number():
    statistics = RailStatistics(1.0, 0.5, 2.0, float('nan'), 3)
    message = messages.statistics_message('/power', 'rapl/a', 'W', statistics, 0, NOW_NS)
    assert [(p.data_type, p.data) for p in message.statistics] == [
        (1, 1.0), (2, 0.5), (3, 2.0), (5, 3.0),
    ]  # fmt: skip


def test_diagnostics_are_found_by_the_node_that_said_them():
    message = messages.diagnostic_message('/a/b', messages.WARN, 'words', {'n': 3, 'f': 1 / 3}, 0)
    assert messages.diagnostic_values(message, '/a/b') == [{'n': '3', 'f': '0.3333'}]
    assert messages.diagnostic_values(message, '/b') == []

import sys

import cv2
import numpy as np
import pytest
from naive import random_batch

from cs3d_ros.draw import (
    BACKGROUND,
    OFF_COLOUR,
    ON_COLOUR,
    DrawError,
    EventCanvas,
    TimelineRow,
    VideoWriter,
    draw_bars,
    draw_panel,
    draw_timeline,
)
from cs3d_ros.events import EventBatch
from cs3d_ros.face import Box
from cs3d_ros.inference import EXPRESSIONS, Emotion

HAPPY = Emotion(0, 'happy', 0.8, 0.6, 0.4, (0.1, 0.8, 0.1, 0.0, 0.0, 0.0, 0.0))


def test_events_are_painted_where_they_are():
    canvas = EventCanvas(4, 3)
    canvas.add(
        EventBatch(
            np.array([1, 2], np.uint16),
            np.array([0, 2], np.uint16),
            np.array([0, 1], np.int64),
            np.array([1, 0], np.uint8),
            4,
            3,
        )
    )
    image = canvas.take()
    assert tuple(image[0, 1]) == ON_COLOUR
    assert tuple(image[2, 2]) == OFF_COLOUR
    assert (canvas.take() == BACKGROUND).all()


def test_longer_bar_for_the_likelier_expression():
    image = draw_bars(EXPRESSIONS, HAPPY, (240, 350))
    bright = (image[:, 100:] > 100).any(axis=2).sum(axis=1)
    rows = bright.reshape(7, 50).max(axis=1)
    assert rows.argmax() == 1


@pytest.mark.parametrize(
    'size', [(346, 260), (640, 360), (1280, 720), (20, 300), (1, 1000), (2000, 1)]
)
def test_panel_has_one_size_for_every_sensor(size):
    canvas = EventCanvas(*size)
    canvas.add(random_batch(1, 1000, *size))
    panel = draw_panel(
        canvas.take(),
        Box(1, 2, 10, 10),
        np.full((112, 112), 128, np.uint8),
        EXPRESSIONS,
        HAPPY,
        'text',
    )
    assert panel.shape == (360, 1080, 3)
    assert draw_panel(canvas.take(), None, None, EXPRESSIONS, None).shape == (360, 1080, 3)


def test_timeline_shows_truth_and_belief(tmp_path):
    rows = [TimelineRow(i / 10, HAPPY, i > 3, 1e5) for i in range(20)]
    draw_timeline(tmp_path / 'a.png', rows, EXPRESSIONS, [(0.5, 1.0, 'happy')], 'title')
    assert cv2.imread(str(tmp_path / 'a.png')).std() > 10


@pytest.mark.parametrize('name', ['a$b_$.npz', '$^$', '\udcff.npz'])
def test_timeline_takes_any_name(tmp_path, name):
    classes = (name,) + EXPRESSIONS[1:]
    rows = [TimelineRow(i / 10, HAPPY, True, 1e5) for i in range(3)]
    draw_timeline(tmp_path / 'a.png', rows, classes, [(0.0, 0.1, name)], name)
    assert (tmp_path / 'a.png').exists()


def test_timeline_of_nothing_is_an_error(tmp_path):
    with pytest.raises(DrawError, match='no estimate'):
        draw_timeline(tmp_path / 'a.png', [], EXPRESSIONS)


def test_timeline_without_matplotlib_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    rows = [TimelineRow(0.0, HAPPY, True, 0.0)]
    with pytest.raises(DrawError, match='pip install matplotlib'):
        draw_timeline(tmp_path / 'a.png', rows, EXPRESSIONS)


def test_timeline_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(DrawError, match='cannot be written'):
        draw_timeline(
            tmp_path / 'nowhere' / 'a.png', [TimelineRow(0, HAPPY, True, 1)], EXPRESSIONS
        )


def test_video_is_read_again(tmp_path):
    with VideoWriter(tmp_path / 'a.mp4', 30) as video:
        for i in range(10):
            video.write(np.full((36, 64, 3), 20 * i, np.uint8))
    capture = cv2.VideoCapture(str(tmp_path / 'a.mp4'))
    frames = [capture.read()[1] for _ in range(10)]
    assert [round(float(frame.mean()) / 20) for frame in frames] == list(range(10))


def test_broken_off_video_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / 'a.mp4', 30) as video:
        video.write(np.zeros((36, 64, 3), np.uint8))
        raise RuntimeError('the source broke')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', ['2024-05-01T12:30:00.mp4', '-x.mp4', '-y.gif'])
def test_name_of_a_video_is_never_a_protocol_or_an_option(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with VideoWriter(name, 30) as video:
        video.write(np.zeros((36, 64, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize('name', ['a.mp4', 'a.gif'])
def test_video_on_a_full_disk_is_an_error(tmp_path, name):
    (tmp_path / name).symlink_to('/dev/full')
    with pytest.raises(DrawError, match='cannot be written: .*No space left on device$'):
        with VideoWriter(tmp_path / name, 30) as video:
            video.write(np.zeros((36, 64, 3), np.uint8))


def test_video_that_ffmpeg_gives_up_leaves_the_older_one(tmp_path):
    (tmp_path / 'a.mp4').write_text('old')
    with pytest.raises(DrawError, match='cannot be written'):
        with VideoWriter(tmp_path / 'a.mp4', 30) as video:
            video.write(np.zeros((35, 63, 3), np.uint8))  # H.264 wants even sides
    assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']
    assert (tmp_path / 'a.mp4').read_text() == 'old'


def test_video_into_a_folder_that_is_missing_is_one_line(tmp_path, capfd):
    with pytest.raises(DrawError, match='^[^\n]*: No such file or directory$'):
        with VideoWriter(tmp_path / 'nowhere' / 'a.mp4', 30) as video:
            video.write(np.zeros((36, 64, 3), np.uint8))
    assert capfd.readouterr().err == ''

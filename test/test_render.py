import cv2
import numpy as np
import pytest
from naive import random_batch

from cs3d_ros.cli import main
from cs3d_ros.draw import BACKGROUND, OFF_COLOUR, ON_COLOUR, DrawError
from cs3d_ros.events import EventBatch, open_recording, write_recording
from cs3d_ros.render import RenderSettings, render


def two_dots():
    """Return ON events left and OFF events right, of which there are more late than early."""
    t = np.sort(np.concatenate([np.arange(0, 500, 10), np.arange(400, 440)])) * 1_000_000
    on = np.arange(len(t)) % 2
    x = np.where(on, 20, 60).astype(np.uint16)
    return EventBatch(x, np.full(len(t), 10, np.uint16), t, on.astype(np.uint8), 80, 40)


@pytest.fixture
def dots(tmp_path):
    path = str(tmp_path / 'dots.npz')
    write_recording(path, [two_dots()], 80, 40)
    return path


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    images = []
    while True:
        found, image = capture.read()
        if not found:
            return images
        images.append(image)


def is_like(pixel, colour, tolerance=60):
    return np.abs(pixel.astype(int) - colour).max() < tolerance


@pytest.mark.parametrize('suffix', ['.mp4', '.gif'])
def test_video_shows_on_and_off_events_where_they_are(dots, tmp_path, suffix):
    path = str(tmp_path / ('out' + suffix))
    assert main(['render', dots, '-o', path, '--fps', '10']) == 0
    images = read_video(path)
    assert len(images) == 5
    assert images[0].shape == (320, 640, 3)  # eight times as large
    assert is_like(images[0][84, 164], ON_COLOUR)
    assert is_like(images[0][84, 484], OFF_COLOUR)
    assert is_like(images[0][250, 320], BACKGROUND)


def test_speed_sets_the_sensor_time_of_a_picture(dots, tmp_path):
    path = str(tmp_path / 'slow.mp4')
    with open_recording(dots) as recording:
        count = render(recording, path, RenderSettings(fps=10.0, speed=0.1))
    assert count == len(read_video(path)) == 50


def test_start_and_end_leave_out_the_rest(dots, tmp_path):
    path = str(tmp_path / 'part.mp4')
    with open_recording(dots) as recording:
        assert render(recording, path, RenderSettings(fps=10.0, start_s=0.1, end_s=0.3)) == 2


def test_picture_may_show_longer_than_the_longest_silence(tmp_path):
    source, path = str(tmp_path / 'in.npz'), str(tmp_path / 'out.mp4')
    write_recording(source, [random_batch(1, 500, 80, 40, span_ns=200 * 10**9)], 80, 40)
    with open_recording(source) as recording:
        assert render(recording, path, RenderSettings(speed=600.0)) in (10, 11)


@pytest.mark.parametrize('kind', ['counts', 'events', 'surface'])
def test_picture_is_of_the_busiest_period(tmp_path, kind):
    batch = two_dots()
    late = batch.t >= 400_000_000
    # the dots stand a row lower where there are many
    y = np.where(late, 30, 10).astype(np.uint16)
    source, path = str(tmp_path / 'in.npz'), str(tmp_path / 'out.png')
    write_recording(source, [EventBatch(batch.x, y, batch.t, batch.p, 80, 40)], 80, 40)
    assert main(['render', source, '-o', path, '--kind', kind, '--fps', '10']) == 0
    image = cv2.imread(path)
    ground = image[0, 0].astype(int)
    seen = np.abs(image[4::8, 4::8] - ground).max(axis=2) > 30
    assert {tuple(place) for place in np.argwhere(seen)} >= {(30, 20), (30, 60)}
    assert seen[30].sum() == 2


@pytest.mark.parametrize('kind', ['counts', 'surface'])
def test_picture_shows_nothing_from_outside_start_and_end(tmp_path, kind):
    t = np.array([0, 10, 20, 30]) * 1_000_000
    x, still = np.array([10, 30, 50, 70], np.uint16), np.full(4, 10, np.uint16)
    batch = EventBatch(x, still, t, np.ones(4, np.uint8), 80, 40)
    source, path = str(tmp_path / 'in.npz'), str(tmp_path / 'out.png')
    write_recording(source, [batch], 80, 40)
    part = ['--start', '0.005', '--end', '0.025', '--fps', '20']
    assert main(['render', source, '-o', path, '--kind', kind] + part) == 0
    row = cv2.imread(path)[84, 4::8].astype(int)
    assert np.nonzero(np.abs(row - row[0]).max(axis=1) > 10)[0].tolist() == [30, 50]


def test_sides_of_a_video_are_even(tmp_path):
    source, path = str(tmp_path / 'in.npz'), str(tmp_path / 'out.mp4')
    write_recording(source, [random_batch(1, 500, 641, 31)], 641, 31)
    assert main(['render', source, '-o', path]) == 0
    assert read_video(path)[0].shape == (32, 642, 3)


@pytest.mark.parametrize(
    'options, complaint',
    [
        (['-o', 'out.avi'], 'must end in one of .mp4, .gif, .png'),
        (['-o', 'out.mp4', '--start', '7'], 'has no events from 7.0 s to its end'),
        (['-o', 'out.png', '--start', '7'], 'has no events from 7.0 s to its end'),
        (['-o', 'out.mp4', '--fps', '0'], 'must be above 0'),
        (['-o', 'out.gif', '--fps', '101'], '100 pictures per second at most'),
        (['-o', 'out.mp4', '--start', '2', '--end', '1'], 'the end after it'),
        (['-o', 'nowhere/out.png'], 'cannot be written'),
    ],
)
def test_what_cannot_be_rendered_is_said_in_one_line(
    dots, tmp_path, monkeypatch, capsys, options, complaint
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(['render', dots] + options) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count('\n') == 1
    assert sorted(tmp_path.iterdir()) == before


def test_unknown_kind_is_refused(dots, tmp_path):
    with open_recording(dots) as recording, pytest.raises(DrawError, match='kind must be one of'):
        render(recording, str(tmp_path / 'out.png'), RenderSettings(kind='sketch'))


def test_real_street_becomes_an_animation(shared_data, tmp_path):
    source = shared_data / 'recordings' / 'davis346_slice_zstd.aedat4'
    path = str(tmp_path / 'street.gif')
    assert main(['render', str(source), '-o', path, '--speed', '0.5']) == 0
    images = read_video(path)
    assert 15 <= len(images) <= 18
    assert all((image.max(axis=2) > 120).sum() > 200 for image in images[1:-1])

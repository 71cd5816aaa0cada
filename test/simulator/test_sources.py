import re
import subprocess
import time

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from cs3d_ros.simulator import (
    Camera,
    ImageFolder,
    Video,
    VideoError,
    camera_index,
    open_frames,
    sources,
)

# FFmpeg's option had another name up to 5.0; static builds write n9.0 or 4.2.2-static
MAJOR = int(re.search('[0-9]+', imageio_ffmpeg.get_ffmpeg_version()).group())
VARIABLE = ('-vsync' if MAJOR < 6 else '-fps_mode', 'vfr')
SLOWER = "setpts='if(lt(N,10),N,10+(N-10)*3)/25/TB'"  # a third of the rate after 10 frames


def encode(path, filters='null', rate=25, codec='mpeg4', options=()):
    """Write a second of a test picture by FFmpeg, with what a filter makes of its times."""
    source = 'testsrc=size=96x64:rate={}:duration=1'.format(rate)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-loglevel', 'error', '-y', '-f', 'lavfi', '-i']
    command += [source, '-vf', filters, *VARIABLE, '-c:v', codec, *options, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def images(folder, pictures, suffix='.png'):
    """Write pictures as a folder of images."""
    folder.mkdir()
    for index, picture in enumerate(pictures):
        assert cv2.imwrite(str(folder / 'frame{}{}'.format(index, suffix)), picture)
    return folder


def grey(value, dtype=np.uint8, shape=(24, 32)):
    return np.full(shape, value, dtype)


def times(source):
    with source as frames:
        return [t_ns for _, t_ns in frames]


def values(source):
    with source as frames:
        return [float(frame[3, 4]) for frame, _ in frames]


# Video files.


def test_name_of_a_video_is_never_a_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / '2024-05-01T12:30:00.mp4')
    assert len(times(Video('2024-05-01T12:30:00.mp4'))) == 25


@pytest.mark.parametrize('suffix', ['.mkv', '.mp4', '.avi'])
def test_constant_rate_gives_exact_times(tmp_path, suffix):
    path = encode(tmp_path / ('a' + suffix), rate='30000/1001')
    assert times(Video(path)) == [round(i * 1001e9 / 30000) for i in range(30)]


@pytest.mark.parametrize('suffix, codec', [('.mkv', 'mpeg4'), ('.webm', 'libvpx')])
def test_variable_rate_gives_the_times_of_the_container(tmp_path, suffix, codec):
    heard = times(Video(encode(tmp_path / ('a' + suffix), SLOWER, codec=codec)))
    steps = [i if i < 10 else 10 + (i - 10) * 3 for i in range(25)]
    assert heard == [step * 40_000_000 for step in steps]


def test_average_rate_that_no_frame_keeps_misleads_nobody(tmp_path):
    path = encode(tmp_path / 'a.mp4', SLOWER)
    with Video(path) as video:
        assert video.info.fps < 15
        heard = [t_ns for _, t_ns in video]
    assert heard[:10] == [i * 40_000_000 for i in range(10)]
    assert heard[10:13] == [(10 + 3 * i) * 40_000_000 for i in range(3)]


def test_reordered_frames_come_in_the_order_of_their_times(tmp_path):
    heard = times(Video(encode(tmp_path / 'a.mp4', SLOWER, codec='libx264', options=('-bf', '3'))))
    steps = [i if i < 10 else 10 + (i - 10) * 3 for i in range(25)]
    assert len(heard) >= 23  # some versions of OpenCV lose what the decoder holds at the end
    assert heard == [step * 40_000_000 for step in steps[: len(heard)]]


def test_times_that_step_back_are_refused_with_the_cure(tmp_path):
    # two takes, the second of which begins anew at 0
    parts = [encode(tmp_path / name, codec='mpeg1video') for name in ('a.mpg', 'b.mpg')]
    joined = tmp_path / 'joined.mpg'
    joined.write_bytes(b''.join(part.read_bytes() for part in parts))
    try:
        heard = times(Video(joined))
    except VideoError as error:
        assert 'times that do not increase' in str(error)
        assert 'ffmpeg -i IN' in str(error)
    else:  # FFmpeg of some versions mends them
        assert (np.diff(heard) > 0).all()


def test_video_without_frames_is_refused(tmp_path):
    path = encode(tmp_path / 'a.avi')
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(VideoError, match='does not open as a video'):
        Video(path)


def test_size_that_changes_is_refused_with_the_frame(monkeypatch, tmp_path):
    path = encode(tmp_path / 'a.avi')
    with Video(path) as video:
        pictures = [(frame, t_ns) for frame, t_ns in video]
        pictures[7] = pictures[7][0][:-2], pictures[7][1]
        monkeypatch.setattr(video, '_frames', lambda: iter(pictures))
        with pytest.raises(VideoError, match='from 96 x 64 to 96 x 62 at frame 7: split'):
            list(video)


def test_times_of_a_source_must_increase(monkeypatch, tmp_path):
    with Video(encode(tmp_path / 'a.avi')) as video:
        pictures = [(frame, min(t_ns, 120_000_000)) for frame, t_ns in video]
        monkeypatch.setattr(video, '_frames', lambda: iter(pictures))
        with pytest.raises(VideoError, match='120.000 ms after 120.000 ms at frame 4'):
            list(video)


# Folders of images.


def test_images_come_in_the_order_of_their_numbers(tmp_path):
    folder = images(tmp_path / 'a', [grey(10 * i) for i in range(12)])
    assert values(ImageFolder(folder, 20)) == [10.0 * i for i in range(12)]
    assert times(ImageFolder(folder, 20)) == [i * 50_000_000 for i in range(12)]


def test_files_that_are_no_images_are_left_alone(tmp_path):
    folder = images(tmp_path / 'a', [grey(1), grey(2)])
    (folder / 'notes.txt').write_text('not a picture')
    (folder / '.frame0.png').write_text('what some systems leave')
    assert values(ImageFolder(folder, 20)) == [1.0, 2.0]


def test_sixteen_bits_are_scaled_to_dn(tmp_path):
    folder = images(tmp_path / 'a', [grey(v, np.uint16) for v in (0, 257, 65535)])
    assert values(ImageFolder(folder, 20)) == pytest.approx([0.0, 1.0, 255.0], abs=1e-4)


def test_sixteen_bits_keep_steps_below_a_dn(tmp_path):
    folder = images(tmp_path / 'a', [grey(v, np.uint16) for v in (1000, 1001)])
    first, second = values(ImageFolder(folder, 20))
    assert second - first == pytest.approx(1 / 257, rel=1e-2)


def test_one_is_white_in_float_images(tmp_path):
    pictures = [grey(v, np.float32) for v in (0.0, 0.5, 1.0, 2.0)]
    folder = images(tmp_path / 'a', pictures, '.tiff')
    assert values(ImageFolder(folder, 20)) == pytest.approx([0.0, 127.5, 255.0, 510.0])


@pytest.mark.parametrize('channels', [3, 4])
@pytest.mark.parametrize('dtype, white', [(np.uint8, 255), (np.uint16, 65535)])
def test_colours_become_grey(tmp_path, channels, dtype, white):
    picture = np.full((24, 32, channels), white, dtype)
    folder = images(tmp_path / 'a', [picture, picture])
    assert values(ImageFolder(folder, 20)) == pytest.approx([255.0, 255.0], abs=0.01)


@pytest.mark.parametrize(
    'value, words',
    [
        (np.nan, 'holds NaN or infinity: replace'),
        (np.inf, 'holds NaN or infinity'),
        (213.0, '0 is black and 1 is white, divide by the white'),
        (-0.5, '0 is black and 1 is white'),
    ],
)
def test_float_image_that_holds_no_intensities_is_named(tmp_path, value, words):
    bad = grey(0.5, np.float32)
    bad[5, 5] = value
    folder = images(tmp_path / 'a', [grey(0.5, np.float32), bad], '.tiff')
    with pytest.raises(VideoError, match=words) as error:
        values(ImageFolder(folder, 20))
    assert 'frame1.tiff' in str(error.value)


def test_signed_image_is_refused(tmp_path):
    folder = images(tmp_path / 'a', [grey(1, np.int16)] * 2, '.tiff')
    with pytest.raises(VideoError, match='holds int16 values: 8 or 16 bits without sign'):
        ImageFolder(folder, 20)


def test_damaged_image_is_named(tmp_path):
    folder = images(tmp_path / 'a', [grey(1), grey(2)])
    (folder / 'frame1.png').write_bytes(b'no picture')
    with pytest.raises(VideoError, match='frame1.png does not open as an image'):
        values(ImageFolder(folder, 20))


def test_image_of_another_size_is_refused(tmp_path):
    folder = images(tmp_path / 'a', [grey(1), grey(2), grey(3, shape=(24, 33))])
    with pytest.raises(VideoError, match='from 32 x 24 to 33 x 24 at frame 2'):
        values(ImageFolder(folder, 20))


def test_one_image_makes_no_video(tmp_path):
    with pytest.raises(VideoError, match='at least two'):
        values(ImageFolder(images(tmp_path / 'a', [grey(1)]), 20))


def test_empty_folder_is_told_what_belongs_there(tmp_path):
    with pytest.raises(VideoError, match='holds no images: name a folder of .png'):
        ImageFolder(tmp_path, 20)


def test_folder_without_a_rate_is_told_to_give_it(tmp_path):
    folder = images(tmp_path / 'a', [grey(1), grey(2)])
    with pytest.raises(VideoError, match='give their rate, --fps HZ'):
        open_frames(folder)


@pytest.mark.parametrize('fps', [0.0, -5.0, float('nan'), float('inf'), 1e6])
def test_rate_that_is_none_is_refused(tmp_path, fps):
    folder = images(tmp_path / 'a', [grey(1), grey(2)])
    with pytest.raises(VideoError, match='--fps must be 0.1 to 100000 Hz'):
        ImageFolder(folder, fps)


# Cameras, and which source is which.


def test_camera_that_is_not_there_is_told():
    with pytest.raises(VideoError, match='camera 97 does not open, and this machine has'):
        Camera(97)


class Webcam:
    """As OpenCV gives a camera of 100 fps that is pulled out after six frames."""

    def __init__(self, index, frames=6):
        self._left, self._frame, self.is_released = frames, None, False

    def grab(self):
        time.sleep(0.01)
        self._left -= 1
        self._frame = np.full((24, 32, 3), 200, np.uint8) if self._left >= 0 else None
        return self._frame is not None

    def retrieve(self):
        return self._frame is not None, self._frame

    def read(self):
        self.grab()
        return self.retrieve()

    def release(self):
        self.is_released = True


def test_camera_tells_when_its_frames_came_and_that_it_vanished(monkeypatch):
    monkeypatch.setattr(cv2, 'VideoCapture', Webcam)
    monkeypatch.setattr(sources, 'glob', lambda _: ['/dev/video0', '/dev/video1'])
    heard = []
    words = 'camera 0 sends nothing any more after 5 frames: is it still plugged in'
    with open_frames('0') as camera, pytest.raises(VideoError, match=words):
        for pair in camera:
            heard.append(pair)
    times_ns = [t_ns for _, t_ns in heard]
    assert camera.info[:2] == (32, 24)
    assert (times_ns[0], heard[0][0].shape) == (0, (24, 32))
    assert np.diff(times_ns).min() >= 9_000_000


def test_camera_that_is_taken_is_told_and_those_that_are_there(monkeypatch):
    monkeypatch.setattr(cv2, 'VideoCapture', lambda index: Webcam(index, frames=0))
    monkeypatch.setattr(sources, 'glob', lambda _: ['/dev/video0', '/dev/video1'])
    with pytest.raises(VideoError, match='has /dev/video0, /dev/video1: is it plugged in, free'):
        Camera(1)


@pytest.mark.parametrize(
    'source, index', [('0', 0), ('12', 12), ('/dev/video3', 3), ('face.mp4', None), ('', None)]
)
def test_number_names_a_camera(source, index):
    assert camera_index(source) == index


def test_folder_named_as_a_number_is_a_folder(tmp_path, monkeypatch):
    images(tmp_path / '7', [grey(1), grey(2)])
    monkeypatch.chdir(tmp_path)
    assert values(open_frames('7', 20)) == [1.0, 2.0]


def test_rate_of_a_video_file_is_its_own(tmp_path):
    with pytest.raises(VideoError, match='tells its times'):
        open_frames(encode(tmp_path / 'a.avi'), 20)

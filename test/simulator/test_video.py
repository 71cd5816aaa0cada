import cv2
import numpy as np
import pytest

from cs3d_ros.events import RecordingError, concatenate
from cs3d_ros.simulator import Video, VideoError, open_source, simulate_video


def write_video(path, frames, fps=25.0):
    """Write grey frames (T, H, W) uint8 without loss worth speaking of."""
    size = frames.shape[2], frames.shape[1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), fps, size)
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def moving_bar(count=6, width=64, height=48):
    frames = np.full((count, height, width), 60, np.uint8)
    for i in range(count):
        frames[i, :, 8 * i : 8 * i + 8] = 200
    return frames


def test_frames_come_with_their_times(tmp_path):
    with Video(write_video(tmp_path / 'a.avi', moving_bar(), fps=20.0)) as video:
        assert (video.info.width, video.info.height, video.info.fps) == (64, 48, 20.0)
        assert [t for _, t in video] == [i * 50_000_000 for i in range(6)]


def test_bright_bar_fires_on_where_it_comes_and_off_where_it_leaves(tmp_path):
    batch = next(iter(simulate_video(write_video(tmp_path / 'a.avi', moving_bar()))))
    assert 8 <= np.median(batch.x[batch.p == 1]) < 16
    assert 0 <= np.median(batch.x[batch.p == 0]) < 8


def test_sensor_takes_the_size_asked_for(tmp_path):
    batch = next(iter(simulate_video(write_video(tmp_path / 'a.avi', moving_bar()), (32, 24))))
    assert (batch.width, batch.height) == (32, 24)
    assert len(batch)


def test_video_opens_as_a_recording(tmp_path):
    path = write_video(tmp_path / 'a.avi', moving_bar())
    with open_source(path) as recording:
        assert (recording.kind, recording.width, recording.height) == ('video', 64, 48)
        assert concatenate(recording.batches()) == concatenate(simulate_video(path))


def test_recording_opens_as_itself(shared_data):
    assert open_source(shared_data / 'recordings' / 'davis346_bench.aedat4').kind == 'aedat4'


def test_folder_of_images_is_told_what_makes_events_of_it(tmp_path):
    for index in range(2):
        cv2.imwrite(str(tmp_path / '{}.png'.format(index)), moving_bar()[index])
    with pytest.raises(VideoError, match='cs3d simulate .* --fps HZ -o FILE'):
        open_source(tmp_path)


def test_folder_without_images_is_no_bag_either(tmp_path):
    with pytest.raises(RecordingError, match='holds no file of a bag'):
        open_source(tmp_path)


def test_missing_video_is_named(tmp_path):
    with pytest.raises(VideoError, match='is not there'):
        Video(tmp_path / 'nothing.mp4')
    with pytest.raises(RecordingError, match='is not there'):
        open_source(tmp_path / 'nothing.mp4')


def test_text_is_no_video(tmp_path):
    (tmp_path / 'a.mp4').write_text('not a video')
    with pytest.raises(VideoError, match='does not open as a video'):
        Video(tmp_path / 'a.mp4')


def test_one_frame_makes_no_events(tmp_path):
    path = write_video(tmp_path / 'a.avi', moving_bar(1))
    with pytest.raises(VideoError, match='at least two'):
        list(simulate_video(path))


def test_truncated_video_gives_what_is_whole(tmp_path):
    path = write_video(tmp_path / 'a.avi', moving_bar(40))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    try:
        count = sum(1 for _ in simulate_video(path))
    except VideoError:
        return
    assert 0 < count < 39

import itertools
import json
import os
import re
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from naive import random_batch

from cs3d_ros import Cs3dError
from cs3d_ros.cli import main, simulation
from cs3d_ros.events import (
    Cleaner,
    CleaningSettings,
    concatenate,
    encode_evt3,
    open_recording,
    write_recording,
)
from cs3d_ros.inference import EXPRESSIONS, SHIPPED_BUNDLE
from cs3d_ros.simulator import (
    AUTO,
    OFF,
    PRESETS,
    FrameSource,
    PixelSettings,
    VideoInfo,
    simulate_video,
)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / 'noise.npz'
    write_recording(path, [random_batch(1, 20_000, span_ns=10**9)], 346, 260)
    return str(path)


def test_info_counts_what_the_recording_holds(recording, capsys):
    batch = random_batch(1, 20_000, span_ns=10**9)
    assert main(['info', '--json', recording]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts['type'], facts['width'], facts['height']) == ('npz', 346, 260)
    assert (facts['on'], facts['off']) == (batch.on_count, len(batch) - batch.on_count)
    assert facts['duration_s'] == pytest.approx((batch.t[-1] - batch.t[0]) * 1e-9)


def test_info_for_people_says_the_same(recording, capsys):
    assert main(['info', recording]) == 0
    assert '346' in capsys.readouterr().out


def test_run_writes_a_line_per_estimate(recording, tmp_path, capsys):
    lines_file, timeline = tmp_path / 'out.jsonl', tmp_path / 'out.png'
    assert (
        main(
            [
                'run',
                recording,
                '--jsonl',
                str(lines_file),
                '-o',
                str(timeline),
                '--roi',
                '100',
                '60',
                '120',
                '140',
            ]
        )
        == 0
    )
    lines = [json.loads(line) for line in lines_file.read_text().splitlines()]
    assert len(lines) == 15
    for line in lines:
        assert set(line) == {
            't',
            'expression',
            'confidence',
            'valence',
            'arousal',
            'probabilities',
            'face',
        }
        assert line['face'] == [100, 60, 120, 140]
        assert list(line['probabilities']) == list(EXPRESSIONS)
        assert sum(line['probabilities'].values()) == pytest.approx(1, abs=1e-4)
        assert line['confidence'] == line['probabilities'][line['expression']]
    assert [line['t'] for line in lines] == sorted(line['t'] for line in lines)
    assert timeline.read_bytes().startswith(b'\x89PNG')
    assert 'neutral' in capsys.readouterr().out


def test_run_tells_how_much_was_cleaned(recording, capsys):
    options = ['--background-activity', '5', '--hot-pixels', '--flicker', '100']
    assert main(['run', recording] + options) == 0
    settings = CleaningSettings(True, 100.0, background_activity_ns=5_000_000)
    kept = Cleaner(346, 260, settings).push(random_batch(1, 20_000, span_ns=10**9))
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == 'cleaning dropped {:,} of 20,000 events'.format(20_000 - len(kept))


def test_run_says_nothing_of_cleaning_without_any(recording, capsys):
    assert main(['run', recording]) == 0
    assert 'cleaning' not in capsys.readouterr().out


@pytest.fixture
def two_sessions(tmp_path):
    batch = random_batch(1, 20_000, span_ns=2 * 10**9)
    (tmp_path / 'bag').mkdir()
    for number in range(2):
        write_recording(tmp_path / 'bag' / 'bag_{}.db3'.format(number), [batch], 346, 260)
    return str(tmp_path / 'bag')


def test_info_counts_clocks_that_began_anew(two_sessions, capsys):
    assert main(['info', '--json', two_sessions]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts['events'], facts['dropped'], facts['clock_resets']) == (40_000, 0, 1)


def test_commands_tell_of_a_clock_that_began_anew(two_sessions, tmp_path, capsys):
    assert main(['render', two_sessions, '-o', str(tmp_path / 'a.mp4')]) == 0
    assert ' pictures of counts, clock resets: 1\n' in capsys.readouterr().out
    assert main(['convert', two_sessions, str(tmp_path / 'a.npz')]) == 0
    assert '40000 events of 346 x 260 pixels, clock resets: 1\n' in capsys.readouterr().out
    assert main(['run', two_sessions]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == two_sessions + ': clock resets: 1'


def test_run_tells_what_a_damaged_recording_lost(recording, tmp_path, capsys):
    path = tmp_path / 'a.raw'
    events = encode_evt3(random_batch(1, 20_000, span_ns=10**9))
    path.write_bytes(b'% evt 3.0\n% geometry 346x200\n% end\n' + events[:-1])
    assert main(['run', str(path)]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert re.match(r'.*a.raw: events dropped: [45],\d{3}, cut off at its end$', said)
    assert main(['run', recording]) == 0
    assert 'events dropped' not in capsys.readouterr().out


@pytest.mark.parametrize(
    'option',
    [
        ['--background-activity', '-1'],
        ['--background-activity', '1e9'],
        ['--flicker', '0.5'],
        ['--flicker', '1001'],
    ],
)
def test_run_refuses_impossible_cleaning(recording, capsys, option):
    assert main(['run', recording] + option) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count('\n')) == ('', 1)
    assert 'cleaning cannot be set so' in said.err


@pytest.mark.parametrize('word', ['nan', 'inf', '1e12'])
@pytest.mark.parametrize(
    'words',
    [
        ['render', '{}', '-o', 'a.gif', '--fps'],
        ['render', '{}', '-o', 'a.gif', '--speed'],
        ['render', '{}', '-o', 'a.gif', '--start'],
        ['render', '{}', '-o', 'a.gif', '--end'],
        ['convert', '{}', 'a.npz', '--start'],
        ['convert', '{}', 'a.npz', '--end'],
        ['run', '{}', '--background-activity'],
        ['run', '{}', '--flicker'],
        ['run', '{}', '--roi', '0', '0', '9'],
        ['simulate', '{}', '-o', 'a.npz', '--fps'],
        ['simulate', '{}', '-o', 'a.npz', '--on-threshold'],
    ],
)
def test_what_is_no_number_is_refused(recording, words, word, capsys):
    with pytest.raises(SystemExit):
        main([each.format(recording) for each in words] + [word])
    assert 'a number from -1e+09 to 1e+09 is expected, got ' + word in capsys.readouterr().err


@pytest.mark.parametrize(
    'words', [['--fps', '1e-9', '--speed', '1e9'], ['--start', '1e9'], ['--fps', '1e9']]
)
def test_numbers_of_any_size_are_no_crash(recording, tmp_path, words, capsys):
    main(['render', recording, '-o', str(tmp_path / 'a.png')] + words)
    assert 'unexpected' not in capsys.readouterr().err


def test_run_names_what_is_unproven_on_people_only_if_asked_to(capsys):
    demo = os.path.join(os.path.dirname(SHIPPED_BUNDLE), 'demo_face.aedat4')

    def named(*options):
        assert main(['run', demo, *options]) == 0
        return {line.split()[2] for line in capsys.readouterr().out.splitlines()} - {'no'}

    assert named() == {'neutral', 'happy'}
    assert named('--name-unproven') == {'neutral', 'happy', 'surprised', 'disgusted'}


def test_run_keeps_no_rows_without_a_timeline(recording, monkeypatch):
    monkeypatch.setattr('cs3d_ros.cli.recognition.TimelineRow', None)
    assert main(['run', recording]) == 0


def test_run_says_where_no_face_is(recording, tmp_path, capsys):
    assert main(['run', recording, '--jsonl', str(tmp_path / 'out.jsonl')]) == 0
    lines = [json.loads(line) for line in (tmp_path / 'out.jsonl').read_text().splitlines()]
    assert lines
    assert all(line['face'] is None for line in lines)
    assert 'no face' in capsys.readouterr().out


@pytest.fixture
def video(tmp_path):
    """Return the path of a video of a disc that moves 4 pixels from frame to frame."""
    path = str(tmp_path / 'disc.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 25.0, (96, 64))
    for index in range(6):
        writer.write(disc(index))
    writer.release()
    return path


def disc(index):
    picture = np.full((64, 96, 3), 60, np.uint8)
    return cv2.circle(picture, (24 + 4 * index, 32), 14, (200, 200, 200), -1)


def simulated(tmp_path, source, *options):
    """Return the events that ``cs3d simulate`` makes."""
    out = str(tmp_path / 'events.npz')
    assert main(['simulate', str(source), '-o', out, *options]) == 0
    with open_recording(out) as recording:
        return concatenate(recording.batches())


def test_video_becomes_a_recording(tmp_path, video):
    events = simulated(tmp_path, video)
    assert events == concatenate(simulate_video(video))
    assert (events.width, events.height, int(events.t[-1]) // 40_000_000) == (96, 64, 4)


def test_sensor_takes_the_size_asked_for(tmp_path, video):
    events = simulated(tmp_path, video, '--size', '48x32')
    assert (events.width, events.height) == (48, 32)


def test_folder_of_images_becomes_a_recording(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / '{}.png'.format(index)), disc(index))
    events = simulated(tmp_path, folder, '--fps', '50')
    assert events == concatenate(simulate_video(folder, fps=50))
    assert 40_000_000 < events.t[-1] <= 60_000_000


def test_every_setting_of_the_pixel_has_its_option(tmp_path, video):
    options, values = [], {}
    for index, (name, value) in enumerate(PRESETS['noisy']._asdict().items()):
        values[name] = True if value is False else value + 0.01 * (index + 1)
        options.append('--' + name.replace('_', '-'))
        options += [] if value is False else [str(values[name])]
    settings = PixelSettings(**values)
    events = simulated(tmp_path, video, *options, '--seed', '3')
    assert events == concatenate(simulate_video(video, None, settings, 3))


def test_preset_gives_what_no_option_does(tmp_path, video):
    events = simulated(tmp_path, video, '--preset', 'davis346', '--on-threshold', '0.3')
    settings = PRESETS['davis346']._replace(on_threshold=0.3)
    assert events == concatenate(simulate_video(video, None, settings))


@pytest.mark.parametrize('word, factor', [('auto', AUTO), ('off', OFF), ('3', 3)])
def test_upsampling_can_be_chosen(tmp_path, video, word, factor):
    events = simulated(tmp_path, video, '--upsample', word)
    assert events == concatenate(simulate_video(video, upsample=factor))


class Endless(FrameSource):
    """A camera before which a disc moves, and someone who presses Ctrl-C after six frames."""

    name, info = 'camera 0', VideoInfo(96, 64, 0.0, 0)

    def _frames(self):
        for index in itertools.count():
            yield disc(index)[:, :, 0], index * 33_000_000
            if index == 5:
                os.kill(os.getpid(), signal.SIGINT)


def test_what_a_camera_saw_is_kept_at_ctrl_c(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, 'open_frames', lambda *_: Endless())
    before = signal.getsignal(signal.SIGINT)
    events = simulated(tmp_path, '0')
    assert 4 * 33_000_000 < events.t[-1] < 8 * 33_000_000
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize('word', ['', '0', '-1', 'none', '1.5', '1001'])
def test_upsampling_that_is_none_is_refused(word):
    with pytest.raises(SystemExit):
        main(['simulate', 'a.mp4', '-o', 'a.npz', '--upsample', word])


@pytest.mark.parametrize(
    'argv, words',
    [
        (['info', 'nothing.npz'], 'nothing.npz is not there'),
        (['run', 'nothing.npz'], 'nothing.npz is not there'),
        (['simulate', 'nothing.mp4', '-o', 'a.npz'], 'nothing.mp4 is not there'),
        (['simulate', '97', '-o', 'a.npz'], 'camera 97 does not open'),
        (['simulate', '/', '-o', 'a.npz'], '/ holds no images'),
    ],
)
def test_error_is_one_line_that_names_the_cure(argv, words, capsys):
    assert main(argv) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count('\n') == 1


def test_bundle_that_is_not_there_is_named(recording, capsys):
    assert main(['run', recording, '--bundle', 'nothing.onnx']) == 1
    assert 'nothing.onnx' in capsys.readouterr().err


def test_run_says_what_runs_the_network_and_why(recording, capsys):
    assert main(['run', recording, '--backend', 'onnxruntime']) == 0
    said = capsys.readouterr()
    assert re.match(r'cs3d: ONNX Runtime [\d.]+ on the CPU, as asked\n', said.err)
    assert 'ONNX Runtime' not in said.out


@pytest.mark.parametrize('command', [['build-engine'], ['run', '--backend', 'tensorrt']])
def test_tensorrt_that_is_not_there_is_told_with_the_cure(recording, capsys, monkeypatch, command):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    assert main(command + [recording] * (command[0] == 'run')) == 1
    said = capsys.readouterr().err
    assert 'TensorRT does not load, JetPack brings it, elsewhere pip install tensorrt' in said
    assert said.count('\n') == 1


def test_roi_without_area_is_refused(recording, capsys):
    assert main(['run', recording, '--roi', '0', '0', '0', '5']) == 1
    assert '--roi needs' in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--jsonl', '-o'])
@pytest.mark.parametrize('target', ['/nowhere/out', '/'])
def test_run_tells_what_cannot_be_written_before_it_begins(recording, option, target, capsys):
    assert main(['run', recording, option, target]) == 1
    said = capsys.readouterr()
    assert '{} cannot be written: '.format(target) in said.err
    assert (said.out, said.err.count('\n')) == ('', 1)


def test_run_tells_that_it_cannot_draw_before_it_begins(recording, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    assert main(['run', recording, '-o', str(tmp_path / 'a.png')]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count('\n')) == ('', 1)
    assert 'pip install matplotlib' in said.err


def test_threshold_without_sense_is_refused(video, tmp_path, capsys):
    out = tmp_path / 'a.npz'
    assert main(['simulate', video, '-o', str(out), '--on-threshold', '0']) == 1
    assert 'thresholds' in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize('size', ['346', '0x5', 'axb', '346x'])
def test_size_that_is_none_is_refused(size):
    with pytest.raises(SystemExit):
        main(['simulate', 'a.mp4', '-o', 'a.npz', '--size', size])


def test_importing_the_chain_imports_no_ros():
    code = (
        'import sys, cs3d_ros.cli, cs3d_ros.power; '
        'sys.exit(any(name.split(".")[0] in ("rclpy", "torch", "numba") '
        'for name in sys.modules))'
    )
    assert subprocess.call([sys.executable, '-c', code]) == 0


@pytest.mark.parametrize('name', ['b.aedat4', 'b.npz', 'b.db3', 'bag'])
def test_convert_keeps_every_event(recording, tmp_path, capsys, name):
    target = str(tmp_path / name)
    assert main(['convert', recording, target]) == 0
    assert '20000 events of 346 x 260' in capsys.readouterr().out
    with open_recording(recording) as before, open_recording(target) as after:
        before, after = concatenate(before.batches()), concatenate(after.batches())
    unit_ns = 1000 if name == 'b.aedat4' else 1
    assert after.t.tolist() == (before.t // unit_ns * unit_ns).tolist()
    assert (after.x == before.x).all() and (after.y == before.y).all()
    assert (after.p == before.p).all()


def test_convert_takes_a_part(recording, tmp_path):
    target = str(tmp_path / 'part.npz')
    assert main(['convert', recording, target, '--start', '0.25', '--end', '0.5']) == 0
    with open_recording(recording) as whole, open_recording(target) as part:
        start_ns = whole.start_ns
        expected = concatenate(whole.batches()).between(
            start_ns + 250_000_000, start_ns + 500_000_000
        )
        assert concatenate(part.batches()) == expected


@pytest.mark.parametrize(
    'words',
    [
        ['convert', '{}', '{}', '--end', '0.5'],
        ['render', '{}', '-o', '{}'],
        ['run', '{}', '--jsonl', '{}'],
        ['run', '{}', '-o', '{}'],
    ],
)
def test_what_is_read_is_never_written_over(recording, tmp_path, capsys, words):
    with open(recording, 'rb') as file:
        before = file.read()
    link = tmp_path / 'link.npz'
    link.symlink_to(recording)
    words = ' '.join(words).format(recording, link).split()
    assert main(words) == 1
    assert 'link.npz is what is read: write to another file' in capsys.readouterr().err
    with open(recording, 'rb') as file:
        assert file.read() == before


def test_convert_of_an_empty_part_writes_nothing(recording, tmp_path, capsys):
    target = tmp_path / 'part.npz'
    assert main(['convert', recording, str(target), '--start', '50']) == 1
    assert 'would hold no events' in capsys.readouterr().err
    assert not target.exists()


def test_info_of_a_foreign_file_says_what_it_looks_like(tmp_path, capsys):
    path = tmp_path / 'old.bag'
    path.write_bytes(b'#ROSBAG V2.0\n' + bytes(100))
    assert main(['info', str(path)]) == 1
    said = capsys.readouterr().err
    assert 'a bag of ROS 1' in said and said.count('\n') == 1


def test_traceback_shows_all_of_an_error():
    with pytest.raises(Cs3dError, match='is not there'):
        main(['info', 'nowhere.npz', '--traceback'])


def test_unexpected_error_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr('cs3d_ros.cli.recordings.open_source', lambda path: 1 / 0)
    assert main(['info', 'a.npz']) == 1
    said = capsys.readouterr().err
    assert 'unexpected ZeroDivisionError' in said and said.count('\n') == 1

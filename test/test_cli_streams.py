"""What the command does with its streams and with signals, as shells and services use them."""

import os
import pathlib
import subprocess
import sys
import time

import pytest
from naive import random_batch

from cs3d_ros.events import write_recording

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / 'noise.npz'
    write_recording(path, [random_batch(1, 2000, span_ns=10**8)], 346, 260)
    return str(path)


def start(*words, shell='"$@"', **options):
    """Return the command started by a line of a shell, in which it is ``"$@"``."""
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONUNBUFFERED'}
    return subprocess.Popen(
        ['bash', '-c', shell, 'bash', sys.executable, '-m', 'cs3d_ros.cli', *map(str, words)],
        env=dict(environment, PYTHONPATH=str(ROOT)),
        universal_newlines=True,
        **options,
    )


def outcome(*words, shell='"$@"'):
    """Return status, output and errors of a line of a shell."""
    process = start(*words, shell=shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_output_reaches_its_file_while_a_terminal_shows_the_bar(recording, tmp_path):
    terminal, end = os.openpty()
    with open(str(tmp_path / 'out'), 'w') as out:
        process = start('run', recording, stdout=out, stderr=end)
    os.close(end)
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:  # how Linux tells that the other end was closed
        pass
    os.close(terminal)
    assert process.wait(timeout=60) == 0
    assert 'no face' in (tmp_path / 'out').read_text()


@pytest.mark.parametrize('closed', ['>&-', '2>&-', '>&- 2>&-'])
def test_closed_streams_take_nothing_from_the_work(recording, tmp_path, closed):
    target = tmp_path / 'out.npz'
    status, out, err = outcome('convert', recording, target, shell='"$@" ' + closed)
    assert (status, err, target.exists()) == (0, '', True)
    assert ('2000 events' in out) == (closed == '2>&-')


@pytest.mark.parametrize('words', [['info', '{}'], ['convert', '{}', '{}.npz'], ['--help']])
@pytest.mark.parametrize(
    'shell, status, error',
    [
        # the reader has left before anything is printed
        ('exec 3> >(true); wait $!; "$@" >&3', 0, ''),
        ('"$@" > /dev/full', 1, 'cs3d: [Errno 28] No space left on device\n'),
    ],
)
def test_output_that_nobody_takes_makes_no_noise(recording, words, shell, status, error):
    words = [word.format(recording) for word in words]
    assert outcome(*words, shell=shell) == (status, '', error)


def test_reader_that_left_does_not_cost_the_file(recording, tmp_path):
    lines = tmp_path / 'out.jsonl'
    words = ['run', recording, '--jsonl', lines]
    status, out, err = outcome(*words, shell='set -o pipefail; "$@" | true')
    assert (status, out, err.count('\n')) == (0, '', 1)
    assert lines.read_text().count('\n') > 0


@pytest.mark.parametrize(
    'words',
    [
        ['render', '{}', '-o', '{}/out.mp4', '--speed', '0.001'],
        ['run', '{}', '--jsonl', '{}/out.jsonl'],
    ],
)
def test_sigterm_leaves_nothing_half_written(tmp_path, words):
    source, folder = tmp_path / 'long.npz', tmp_path / 'out'
    write_recording(source, [random_batch(1, 200_000, span_ns=10**12)], 346, 260)
    folder.mkdir()
    words = ' '.join(words).format(source, folder).split()
    process = start(*words, shell='exec "$@"', stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    limit_s = time.monotonic() + 60
    while not list(folder.iterdir()) and time.monotonic() < limit_s:
        time.sleep(0.01)
    begun = list(folder.iterdir())
    process.terminate()
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert begun
    assert (process.returncode, list(folder.iterdir())) == (143, [])
    assert 'Traceback' not in err


def test_errors_do_not_end_in_the_output_where_there_is_nowhere_to_tell_them():
    assert outcome('info', 'nowhere.npz', shell='"$@" 2>&-') == (1, '', '')

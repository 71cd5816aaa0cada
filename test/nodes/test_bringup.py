import os
import re
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from rcl_interfaces.srv import GetParameters

from cs3d_ros.nodes import bringup, demo


def run_cs3d(*arguments):
    """Return a running ``cs3d`` with its output in pipes."""
    return subprocess.Popen(
        [sys.executable, '-m', 'cs3d_ros.cli', *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        start_new_session=True,
    )


def children_of(pid):
    with open('/proc/{0}/task/{0}/children'.format(pid)) as file:
        return [int(word) for word in file.read().split()]


def is_alive(pid):
    try:
        with open('/proc/{}/stat'.format(pid)) as file:
            return file.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


@pytest.fixture
def up(peer, bundle, recording):
    """Return a running ``cs3d up`` in the peer's namespace, all nodes of which are there."""
    process = run_cs3d(
        'up', '--recording', recording, '--loop', '--bundle', bundle, '--namespace', peer.namespace
    )
    peer.wait(lambda: len(peer.statuses) == 4, 'four nodes')
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_every_node(up, number):
    nodes = children_of(up.pid)
    up.send_signal(number)
    assert up.wait(30) == 0
    assert len(nodes) == 4
    assert not any(map(is_alive, nodes))


def test_death_of_a_node_ends_all_and_is_said(up):
    nodes = children_of(up.pid)
    os.kill(nodes[1], signal.SIGKILL)
    output = up.communicate(timeout=30)[0]
    assert up.returncode == 1
    assert 'node inference ended with exit status -9' in output
    assert not any(map(is_alive, nodes))


def test_node_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(bringup, 'END_S', 0.2)
    deaf = 'import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; '
    graph = bringup.Graph({})
    graph.processes['deaf'] = subprocess.Popen(
        [sys.executable, '-c', deaf + 'print("deaf", flush=True); time.sleep(600)'],
        stdout=subprocess.PIPE,
    )
    assert graph.processes['deaf'].stdout.readline() == b'deaf\n'
    graph.end()
    assert graph.processes['deaf'].poll() == -signal.SIGKILL


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['up', '--params', 'missing.yaml'], 'missing.yaml is not there'),
        (['up', '--video', 'x', '--rate', '1000'], 'parameter rate must lie in 0.01 to 100 x'),
        (['demo', '--recording', 'missing.npz'], 'missing.npz is not there'),
        (['demo', '--webcam', '97'], 'camera 97 does not open'),
    ],
)
def test_mistaken_options_start_nothing(arguments, words):
    process = run_cs3d(*arguments)
    assert words in process.communicate(timeout=30)[0]
    assert process.returncode == 1


def test_values_reach_the_command_line_as_yaml():
    command = bringup.node_command(
        'player',
        {'path': '12: "é😀"', 'loop': True},
        '/a/',
        {'events': '/camera/events'},
        'p.yaml',
    )
    assert command[4:6] == ['--params-file', 'p.yaml']
    assert 'path:="12: \\"é😀\\""' in command
    assert 'loop:=true' in command
    assert command[-4:] == ['-r', '__ns:=/a', '-r', 'events:=/camera/events']


def test_path_of_any_characters_reaches_the_node(peer, start, tmp_path):
    path = str(tmp_path / '12: "é😀" #.npz')
    start(player={'path': path})
    peer.wait_status('player', path + ' is not there', level=2)


def test_params_file_counts_where_no_option_is_given(peer, recording, bundle, tmp_path):
    params = tmp_path / 'mine.yaml'
    params.write_text('/**/player:\n  ros__parameters: {rate: 5.0, loop: true, wait_for: 9}\n')
    arguments = ['up', '--recording', recording, '--bundle', bundle, '--no-power']
    process = run_cs3d(*arguments, '--params', str(params), '--namespace', peer.namespace)
    try:
        names = ['rate', 'loop', 'wait_for']
        values = peer.call(GetParameters, 'player/get_parameters', names=names).values
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    rate, loop, wait_for = values
    assert (rate.double_value, loop.bool_value, wait_for.integer_value) == (5.0, True, 9)


@pytest.mark.parametrize('rate, idle', [(None, {}), (2.0, {}), (0.5, {'idle_ms': 0.0})])
def test_slow_player_comes_with_a_chain_that_waits_for_events(rate, idle):
    nodes = bringup.nodes_for('face.npz', None, rate=rate)
    assert nodes['preprocessing'] == idle
    assert nodes['player'].get('rate') == rate


def test_foreign_profile_is_left_alone(monkeypatch):
    for name in bringup.PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert set(bringup.profile()) == set(bringup.PROFILE_VARIABLES)
    monkeypatch.setenv(bringup.PROFILE_VARIABLES[1], 'mine.xml')
    assert bringup.profile() == {}


def test_demo_leaves_film_and_timeline(tmp_path, recording, bundle):
    out = tmp_path / 'out'
    process = run_cs3d('demo', '--recording', recording, '--bundle', bundle, '--out', str(out))
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert 'moving.npz: ' in output
    assert '0 messages lost' in output
    assert (out / 'timeline.png').read_bytes().startswith(b'\x89PNG')
    assert (out / 'demo.mp4').read_bytes()[4:8] == b'ftyp'


def test_demo_of_the_shipped_face_names_what_it_shows(tmp_path):
    process = run_cs3d('demo', '--out', str(tmp_path / 'out'))
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert '3 of 3 expressions were named while shown: happy, surprised, disgusted' in output


def test_demo_sees_a_webcam(tmp_path, clip, bundle):
    out = str(tmp_path / 'out')
    process = run_cs3d('demo', '--webcam', clip, '--bundle', bundle, '--out', out)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert 'disc.avi: 1.' in output
    assert {'demo.mp4', 'timeline.png'} <= set(os.listdir(out))


def test_demo_of_a_webcam_ends_by_ctrl_c_with_all_that_was_seen(tmp_path, bundle):
    path, out = str(tmp_path / 'long.avi'), str(tmp_path / 'out')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 15.0, (64, 48))
    for index in range(15 * 60):
        writer.write(np.full((48, 64, 3), 60 + 100 * (index % 2), np.uint8))
    writer.release()
    process = run_cs3d('demo', '--webcam', path, '--bundle', bundle, '--out', out)
    while not re.match(' +[1-9][0-9.]+ s ', process.stdout.readline()):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    assert {'demo.mp4', 'timeline.png'} <= set(os.listdir(out))


def test_demo_plays_what_tells_no_duration(tmp_path, shared_data, bundle):
    path, out = str(shared_data / 'recordings' / 'imx636_evt3.raw'), str(tmp_path / 'out')
    process = run_cs3d('demo', '--recording', path, '--bundle', bundle, '--out', out)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert '72,760 events' in output
    assert {'demo.mp4', 'timeline.png'} <= set(os.listdir(out))


class StandIn:
    """A graph that says where its player is, each time it is looked at."""

    def __init__(self, positions):
        self.statuses, self.heard_s, self.is_over = {'player': (0, 'playing', {})}, {}, False
        self._positions = iter(positions)

    @property
    def position(self):
        position = next(self._positions, None)
        self.is_over = position is None
        return position

    def spin_once(self, timeout_sec):
        time.sleep(0.01)

    def check(self):
        pass

    def show(self, observer):
        pass


def test_demo_goes_on_as_long_as_the_player_does(monkeypatch):
    monkeypatch.setattr(demo, 'START_S', 0.2)
    monkeypatch.setattr(demo, 'LINGER_S', 0.0)
    graph = StandIn(range(50))
    demo._spin(graph, graph, graph, graph)
    assert graph.is_over


def test_demo_ends_when_the_player_stands_still(monkeypatch):
    monkeypatch.setattr(demo, 'START_S', 0.2)
    graph = StandIn([7] * 1000)
    with pytest.raises(bringup.BringupError, match='stands still for 0 s: player: playing'):
        demo._spin(graph, graph, graph, graph)


def test_demo_says_what_is_wrong_with_a_bundle(tmp_path, recording):
    bad = tmp_path / 'bad.onnx'
    bad.write_bytes(b'no model')
    process = run_cs3d(
        'demo', '--recording', recording, '--bundle', str(bad), '--out', str(tmp_path / 'out')
    )
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert 'bad.onnx does not load as an ONNX model' in output


def test_demo_takes_a_domain_that_nobody_uses():
    assert demo.free_domain() != int(os.environ['ROS_DOMAIN_ID'])


def test_truth_beside_a_recording_is_read(tmp_path):
    (tmp_path / 'face.json').write_text(
        '{"segments": [{"expression": "happy", "onset_start_ns": 500000000, '
        '"apex_start_ns": 1, "offset_start_ns": 2, "offset_end_ns": 2500000000}]}'
    )
    assert demo.read_truth(str(tmp_path / 'face.npz')) == [(0.5, 2.5, 'happy')]
    assert demo.read_truth(str(tmp_path / 'other.npz')) == []

"""
Nodes and launch file on the oldest Pythons, where there is no ROS: on stand-ins for Humble.

A Jetson Nano has Python 3.6 and a Humble that was built for it. What the nodes do over real DDS
is tested in test/nodes.
"""

import json
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
from power.power_trees import nano_tree

from cs3d_ros.events import concatenate, open_recording, write_recording

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / 'cs3d_ros' / 'models' / 'demo_face.aedat4'
FILES = sorted(
    str(path.relative_to(ROOT))
    for folder in ('cs3d_ros/nodes', 'launch')
    for path in (ROOT / folder).glob('*.py')
)


def seen(*arguments):
    """Return what a process on stand-ins for ROS has seen."""
    command = [sys.executable, str(ROOT / 'test' / 'stub_graph.py')] + list(map(str, arguments))
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope='module')
def imported():
    return seen('imports')


@pytest.mark.parametrize('path', FILES)
def test_file_imports(imported, path):
    assert imported[path] == ''


def launched(*arguments):
    return seen('launch', 'video:=face.mp4', 'fastdds_profile:=false', *arguments)


def test_launch_file_starts_what_it_declares():
    told = launched('power:=false')
    assert told['declared'] == told['arguments']
    assert list(told['nodes']) == ['preprocessing', 'inference', 'player']


def test_launch_file_gives_what_was_given_on_top_of_the_params_file():
    nodes = launched('params_file:=mine.yaml')['nodes']
    assert (nodes['power'], nodes['player']) == (['mine.yaml'], ['mine.yaml', ['path']])
    nodes = launched('loop:=false', 'rate:=0.5', 'autostart:=false')['nodes']
    assert nodes['power'] == [['autostart']]
    assert nodes['preprocessing'] == [['autostart', 'idle_ms']]
    assert nodes['player'] == [['autostart', 'loop', 'path', 'rate']]


@pytest.fixture(scope='module')
def heard(tmp_path_factory):
    """Return what was heard of a graph that played the first seconds of the demo's face."""
    folder = tmp_path_factory.mktemp('chain')
    with open_recording(str(DEMO)) as recording:
        part = concatenate(recording.batches(end_ns=recording.start_ns + 5_000_000_000))
    write_recording(str(folder / 'part.npz'), [part], part.width, part.height)
    nano_tree(folder / 'nano')
    told = seen('chain', folder / 'part.npz', video(folder / 'disc.avi'), folder / 'nano')
    return dict(told, expected_events=len(part))


def video(path):
    """Write a video of a disc that moves, and return its path."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25.0, (96, 64))
    for index in range(6):
        picture = np.full((64, 96, 3), 60, np.uint8)
        writer.write(cv2.circle(picture, (24 + 4 * index, 32), 14, (200, 200, 200), -1))
    writer.release()
    return path


def test_events_become_faces(heard):
    assert heard['events'] == heard['expected_events']
    assert 90 < heard['frames'] <= 150  # of 30 a second, once the face is found


def test_faces_become_emotions(heard):
    inference = heard['told']['inference']
    assert heard['emotions'] == heard['frames'] // 2  # the bundle answers every second frame
    assert 'happy' in heard['expressions']
    assert (inference[2]['dropped'], inference[2]['engine_errors']) == (0, 0)


def test_webcam_makes_events(heard):
    assert heard['webcam'] > 1000


def test_meters_of_a_nano_become_watts(heard):
    assert heard['told']['power'][2]['ina3221/POM_5V_IN W'] == pytest.approx(4.2)


def test_every_node_reports(heard):
    assert heard['nodes'] == ['inference', 'player', 'power', 'preprocessing']


def test_nodes_leave_nothing_behind(heard):
    assert heard['left'] == ['/diagnostics']  # which ends with the node itself

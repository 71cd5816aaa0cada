"""Real nodes in processes of their own over real DDS, on the domain of this test run."""

import itertools
import os
import pathlib
import sys

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from cs3d_ros.events import write_recording  # noqa: E402
from cs3d_ros.nodes import bringup  # noqa: E402

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / 'inference'), str(TESTS / 'power')]
from moving import (  # noqa: E402
    CLIP_FPS,
    CLIP_FRAMES,
    PERIOD_NS,
    SENSOR,
    START_NS,
    moving_events,
)
from peer import PROMPT, Peer  # noqa: E402
from tiny_onnx import write_tiny_bundle  # noqa: E402

# No test takes the GPU that happens to be there.
HERMETIC = {'inference': {'backend': 'onnxruntime'}}

_numbers = itertools.count()


@pytest.fixture(scope='session', autouse=True)
def ros():
    """Open ROS in this process, with the profile that the nodes have."""
    os.environ.update(bringup.ros_environment())
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def peer(ros):
    """Return a Peer in a namespace that no other test uses."""
    peer = Peer('test{}'.format(next(_numbers)))
    yield peer
    peer.close()


@pytest.fixture
def start(peer):
    """Return a function that starts nodes in the peer's namespace; they end with the test."""
    graphs = []

    def start_nodes(params_file=None, **nodes):
        nodes = {
            node: dict(PROMPT, **dict(HERMETIC.get(node, {}), **settings))
            for node, settings in nodes.items()
        }
        graph = bringup.Graph(nodes, peer.namespace, params_file=params_file)
        graphs.append(graph)
        return graph.__enter__()

    yield start_nodes
    for graph in graphs:
        graph.end()


@pytest.fixture(scope='session')
def bundle(tmp_path_factory):
    """Return the path of a tiny bundle whose answers follow the brightness of its clip."""
    gain = np.zeros(8)
    gain[1], gain[2], gain[7] = 20000.0, -20000.0, 0.0
    bias = np.zeros(8)
    bias[7] = 1.0
    return write_tiny_bundle(tmp_path_factory.mktemp('bundle') / 'tiny.onnx', gain=gain, bias=bias)


@pytest.fixture(scope='session')
def recording(tmp_path_factory):
    """Return the path of three seconds of events with a second of silence in their midst."""
    events = moving_events(1, 90)
    middle = START_NS + 40 * PERIOD_NS + 1234
    parts = [events.between(0, middle), events.between(middle + 10**9, 2**62)]
    path = tmp_path_factory.mktemp('recording') / 'moving.npz'
    write_recording(str(path), parts, *SENSOR)
    return str(path)


@pytest.fixture(scope='session')
def clip(tmp_path_factory):
    """Return the path of a video of a disc that swings for a second and a half."""
    path = str(tmp_path_factory.mktemp('clip') / 'disc.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), CLIP_FPS, (128, 96))
    for index in range(CLIP_FRAMES):
        picture = np.full((96, 128, 3), 60, np.uint8)
        x = round(64 + 30 * np.sin(0.4 * index))
        writer.write(cv2.circle(picture, (x, 48), 20, (200, 200, 200), -1))
    writer.release()
    return path

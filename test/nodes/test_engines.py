"""The inference node where there is a GPU: fakes in the process of the node itself."""

import os
import pathlib
import signal

import numpy as np
import pytest
from moving import PERIOD_NS
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from cs3d_ros.nodes import messages

FAKES = pathlib.Path(__file__).resolve().parents[1] / 'inference'

# In place of TensorRT: what is particular to a test stands in CS3D_TEST.
TENSORRT = """
import os, sys, time
sys.path.insert(0, {!r})
from fake_cuda import FakeCudart, install
from fake_tensorrt import make_tensorrt
cuda = FakeCudart()
trt = make_tensorrt('8.2', cuda)
exec(os.environ.get('CS3D_TEST', ''))
sys.modules.update(install(cuda), tensorrt=trt)
"""


@pytest.fixture
def settings(bundle, tmp_path):
    return {'bundle': bundle, 'backend': 'auto', 'engine_cache': str(tmp_path / 'engines')}


@pytest.fixture
def with_tensorrt(monkeypatch, tmp_path):
    """Return a function that says what is particular about the TensorRT of the nodes' machine."""
    (tmp_path / 'tensorrt.py').write_text(TENSORRT.format(str(FAKES)))
    paths = [str(tmp_path), os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(filter(None, paths)))
    return lambda particular: monkeypatch.setenv('CS3D_TEST', particular)


# A build that goes on until a file is there, and is told of ten times a second.
SLOW = (
    'from cs3d_ros.inference import tensorrt_build; tensorrt_build.TELL_EVERY_S = 0.1\n'
    'def build():\n    while not os.path.exists({!r}):\n        time.sleep(0.01)\n'
    'trt.on_build = build'
)


def test_engine_is_built_at_the_first_start_and_told(
    peer, start, settings, tmp_path, with_tensorrt
):
    with_tensorrt(SLOW.format(str(tmp_path / 'go')))
    start(inference=settings)
    peer.wait_status('inference', 'building the engine for ', level=0)
    (tmp_path / 'go').write_text('')
    values = peer.wait_status('inference', backend='tensorrt', level=0)
    assert values['backend_reason'].startswith('TensorRT 8.2.1.8 in fp16 on NVIDIA Tegra X1, ')
    assert settings['engine_cache'] in values['backend_reason']


def test_onnx_runtime_in_place_of_a_tensorrt_that_fails_is_a_warning(
    peer, start, settings, with_tensorrt
):
    with_tensorrt('cuda.room = 1000')
    graph = start(inference=settings)
    values = peer.wait_status('inference', 'ONNX Runtime runs, as TensorRT fails: ', level=1)
    assert values['backend'] == 'onnxruntime'
    graph.check()


def test_tensorrt_that_is_wanted_and_fails_refuses_to_configure(
    peer, start, settings, with_tensorrt
):
    with_tensorrt('cuda.room = 1000')
    graph = start(inference=dict(settings, backend='tensorrt'))
    peer.wait_status('inference', 'out of memory: close other programs', level=2)
    graph.check()


def test_device_that_disappears_is_told_with_the_cure(
    peer, start, settings, tmp_path, with_tensorrt
):
    gone = tmp_path / 'gone'
    with_tensorrt(
        'FakeCudart.is_lost = property(lambda self: os.path.exists({!r}), '
        'lambda self, value: None)'.format(str(gone))
    )
    graph = start(inference=settings)
    publisher = peer.node.create_publisher(Image, 'face/image', QoSProfile(depth=1000))
    peer.wait_match(publisher)
    peer.wait_status('inference', backend='tensorrt')
    gone.write_text('')
    image = np.random.default_rng(1).integers(0, 256, (112, 112)).astype(np.uint8)
    stamps = iter(range(0, 10**15, PERIOD_NS))

    def is_told():
        publisher.publish(messages.image_message(image, next(stamps), ''))
        return any('start this program again' in said[1] for said in peer.statuses['inference'])

    peer.wait(is_told, 'the fault')
    assert int(peer.statuses['inference'][-1][2]['engine_errors']) > 0
    graph.check()


def test_node_that_builds_ends_at_once_when_told_to(
    peer, start, settings, tmp_path, with_tensorrt
):
    with_tensorrt(SLOW.format(str(tmp_path / 'never')))
    graph = start(inference=settings)
    peer.wait_status('inference', 'building the engine for ')
    process = graph.processes['inference']
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0

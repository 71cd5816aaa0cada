import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), 'scripts'))

import house_rules


def test_every_import_keeps_the_walls():
    assert house_rules.find_violations() == []


def test_no_file_in_git_is_too_large():
    assert house_rules.find_large_files() == []


@pytest.mark.parametrize(
    'path, name',
    [
        ('cs3d_ros/events/batch.py', 'rclpy.node'),
        ('cs3d_ros/pipeline.py', 'sensor_msgs.msg.Image'),
        ('cs3d_ros/cli/__init__.py', 'launch.LaunchDescription'),
        ('cs3d_ros/nodes/parameters.py', 'rclpy.node'),
        ('cs3d_ros/nodes/verdicts.py', 'diagnostic_msgs.msg'),
        ('cs3d_ros/inference/engine.py', 'torch'),
        ('cs3d_ros/face/finder.py', 'numba.njit'),
        ('training/train.py', 'rclpy'),
        ('cs3d_ros/events/batch.py', 'cs3d_ros.face.track'),
        ('cs3d_ros/face/finder.py', 'cs3d_ros.inference'),
        ('cs3d_ros/simulator/pixel.py', 'cs3d_ros.face'),
        ('cs3d_ros/inference/emotion.py', 'cs3d_ros.pipeline'),
        ('cs3d_ros/pipeline.py', 'cs3d_ros.nodes.player'),
        ('cs3d_ros/cli/__init__.py', 'cs3d_ros.nodes.bringup'),
        ('cs3d_ros/face/finder.py', 'cs3d_ros.events._kernels'),
        ('training/export.py', 'cs3d_ros.nodes.messages'),
    ],
)
def test_forbidden_import_is_named(path, name):
    assert house_rules.complain(path, name) is not None


@pytest.mark.parametrize(
    'path, name, lazy',
    [
        ('cs3d_ros/nodes/player.py', 'rclpy.node', False),
        ('launch/fer.launch.py', 'launch_ros.actions', False),
        ('cs3d_ros/events/batch.py', 'cs3d_ros.Cs3dError', False),
        ('cs3d_ros/events/messages.py', 'cs3d_ros.events._kernels', False),
        ('cs3d_ros/inference/emotion.py', 'cs3d_ros.events.EventBatch', False),
        ('cs3d_ros/nodes/inference.py', 'cs3d_ros.pipeline.Recognizer', False),
        ('cs3d_ros/cli/__init__.py', 'cs3d_ros.nodes.bringup', True),
        ('training/train.py', 'torch.nn', False),
        ('training/data/clips.py', 'cs3d_ros.events.frames', False),
    ],
)
def test_allowed_import_passes(path, name, lazy):
    assert house_rules.complain(path, name, lazy) is None


def test_imports_are_found_wherever_they_stand(tmp_path):
    folder = tmp_path / 'cs3d_ros' / 'events'
    folder.mkdir(parents=True)
    (folder / 'a.py').write_text('def f():\n    import torch\n')
    (folder / 'b.py').write_text('from ..face import track\n')
    (folder / '_kernels.pyx').write_text('from cs3d_ros.face import track\n')

    found = house_rules.find_violations(str(tmp_path))

    assert sorted(line.split(' ')[0] for line in found) == [
        'cs3d_ros/events/_kernels.pyx:1:',
        'cs3d_ros/events/a.py:2:',
        'cs3d_ros/events/b.py:1:',
    ]

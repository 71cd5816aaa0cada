"""The launch file; its run needs `launch`, which a ROS distribution brings and PyPI does not."""

import ast
import importlib.util
import pathlib

import pytest

from cs3d_ros.nodes import bringup

PATH = pathlib.Path(__file__).resolve().parents[2] / 'launch' / 'fer.launch.py'


def declared():
    """Return name, default and text of the arguments, read without running the file."""
    tree = ast.parse(PATH.read_text())
    assignments = [node for node in tree.body if isinstance(node, ast.Assign)]
    values = {node.targets[0].id: node.value for node in assignments}
    return ast.literal_eval(values['ARGUMENTS'])


def test_every_argument_explains_itself():
    assert all(text and name.islower() for name, _, text in declared())


@pytest.mark.parametrize(
    'option', ['recording', 'video', 'webcam', 'rate', 'loop', 'bundle', 'events', 'namespace']
)
def test_launch_and_cs3d_up_take_the_same(option):
    assert option in [name for name, _, _ in declared()]
    assert hasattr(bringup.parse([]), option)


@pytest.fixture
def module():
    pytest.importorskip('launch_ros')
    spec = importlib.util.spec_from_file_location('fer_launch', str(PATH))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nodes_of(module, **given):
    from launch_ros.actions import Node

    from launch import LaunchContext

    context = LaunchContext()
    for name, default, _ in module.ARGUMENTS:
        context.launch_configurations[name] = given.get(name, default)
    actions = module.start_nodes(context)
    return [action.node_executable for action in actions if isinstance(action, Node)]


def test_arguments_are_declared(module):
    arguments = module.generate_launch_description().get_launch_arguments()
    assert [a.name for a in arguments] == [name for name, _, _ in declared()]


def test_player_comes_with_something_to_play(module):
    assert nodes_of(module) == ['preprocessing', 'inference', 'power']
    assert 'player' in nodes_of(module, video='face.mp4')


def test_webcam_comes_with_a_camera_to_see(module):
    assert 'webcam' in nodes_of(module, webcam='0')


def test_power_can_be_left_out(module):
    assert nodes_of(module, power='false') == ['preprocessing', 'inference']


def test_argument_that_is_no_boolean_is_named(module):
    with pytest.raises(ValueError, match='power must be true or false'):
        nodes_of(module, power='maybe')

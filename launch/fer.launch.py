"""
Events in, /emotion out: the whole graph, and a player where there is something to play.

    ros2 launch cs3d_ros fer.launch.py events:=/event_camera/events
    ros2 launch cs3d_ros fer.launch.py video:=face.mp4
    ros2 launch cs3d_ros fer.launch.py webcam:=0

`cs3d up` starts the same nodes with the same parameters where `launch` is not installed.
"""

from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from cs3d_ros.nodes import bringup
from launch import LaunchDescription

ARGUMENTS = (
    ('recording', '', 'event recording, of any format, to play as a camera'),
    ('video', '', 'video to play as a camera would see it'),
    ('webcam', '', 'number of a camera, to see live as an event camera would'),
    ('rate', '', 'speed of playing (1.0); below 1 idle_ms of preprocessing is 0, too'),
    ('loop', '', 'true: play again and again (false)'),
    ('bundle', '', 'ONNX network; the one that the package ships by default'),
    ('events', 'events', 'topic of the events'),
    ('namespace', '', 'of all nodes and topics'),
    ('params_file', '', 'parameters of the nodes, as config/cs3d.yaml; arguments go before'),
    ('power', 'true', 'with the power node'),
    ('autostart', '', 'false leaves the life cycle of all nodes to a manager (true)'),
    ('fastdds_profile', 'true', 'config/fastdds.xml, unless the environment names another'),
)


def generate_launch_description():
    """Return the declared arguments, and the nodes that they make."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in ARGUMENTS
    ]
    return LaunchDescription(declared + [OpaqueFunction(function=start_nodes)])


def start_nodes(context):
    """Return the actions for the arguments as given."""
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    nodes = bringup.nodes_for(
        given['recording'] or given['video'],
        given['bundle'],
        is_true(given, 'power'),
        float(given['rate']) if given['rate'] else None,
        is_true(given, 'loop') if given['loop'] else None,
        given['webcam'],
    )
    actions = []
    if is_true(given, 'fastdds_profile'):
        actions += [
            SetEnvironmentVariable(name, value) for name, value in bringup.profile().items()
        ]
    for name, values in nodes.items():
        if given['autostart']:
            values['autostart'] = is_true(given, 'autostart')
        # launch reads strings as YAML, of which a camera's number or a path may be another type
        values = {
            key: ParameterValue(value, value_type=str) if isinstance(value, str) else value
            for key, value in values.items()
        }
        actions.append(
            Node(
                package='cs3d_ros',
                executable=name,
                name=name,
                namespace=given['namespace'],
                parameters=[each for each in (given['params_file'], values) if each],
                remappings=[('events', given['events'])],
                output='screen',
                on_exit=Shutdown(reason='node {} ended'.format(name)),
            )
        )
    return actions


def is_true(given, name):
    """Return a boolean argument; ValueError names it if it is none."""
    value = given[name].lower()
    if value not in ('true', 'false'):
        raise ValueError('{} must be true or false, got {}'.format(name, given[name]))
    return value == 'true'

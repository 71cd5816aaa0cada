import signal

import pytest
from dv_ros2_msgs.msg import EventArray
from hri_msgs.msg import Expression
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState
from moving import moving_events
from rcl_interfaces.srv import DescribeParameters, ListParameters
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from cs3d_ros.events import encode_event_array
from cs3d_ros.nodes import parameters
from cs3d_ros.nodes.parameter import START

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
ROI = [0.0, 0.0, 48.0, 48.0]
NODES = sorted(parameters.TABLES)


@pytest.fixture
def change(peer):
    return peer.change


@pytest.fixture
def state(peer):
    return lambda node: peer.call(GetState, node + '/get_state').current_state.label


@pytest.fixture
def set_parameter(peer):
    return lambda node, name, value: peer.set_parameters(node, **{name: value})


def settings_of(node, bundle, recording, clip):
    settings = {'autostart': False}
    if node in ('preprocessing', 'inference'):
        settings['bundle'] = bundle
    if node == 'player':
        settings['path'] = recording
    if node == 'webcam':
        settings['source'] = clip
    return settings


@pytest.mark.parametrize('node', NODES)
def test_whole_life_can_be_lived_twice(start, change, state, bundle, recording, clip, node):
    graph = start(**{node: settings_of(node, bundle, recording, clip)})
    assert state(node) == 'unconfigured'
    for _ in range(2):
        steps = []
        for transition in (CONFIGURE, ACTIVATE, DEACTIVATE, ACTIVATE, DEACTIVATE, CLEANUP):
            assert change(node, transition)
            steps.append(state(node))
        assert steps == ['inactive', 'active', 'inactive', 'active', 'inactive', 'unconfigured']
    graph.check()


@pytest.mark.parametrize('node', NODES)
def test_node_ends_in_time_and_in_peace(peer, start, bundle, recording, clip, node):
    graph = start(**{node: dict(settings_of(node, bundle, recording, clip), autostart=True)})
    peer.wait(lambda: any(status[1] != 'not active' for status in peer.statuses.get(node, ())))
    process = graph.processes[node]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_second_life_works_like_the_first(peer, start, change, bundle):
    """Events to /emotion, in the same processes after all was freed and made again."""
    nodes = {
        'preprocessing': {'bundle': bundle, 'roi': ROI, 'autostart': False},
        'inference': {'bundle': bundle, 'autostart': False},
    }
    start(**nodes)
    emotions = peer.listen(Expression, 'emotion')
    publisher = peer.node.create_publisher(EventArray, 'events', QoSProfile(depth=1000))
    events = moving_events(6, 10)
    for _ in range(2):
        for transition in (CONFIGURE, ACTIVATE):
            assert all(change(node, transition) for node in nodes)
        peer.wait_match(publisher)
        peer.wait_publishers('emotion')
        emotions.clear()
        peer.wait(lambda: publisher.publish(encode_event_array(events)) or emotions, '/emotion')
        for transition in (DEACTIVATE, CLEANUP):
            assert all(change(node, transition) for node in nodes)


def test_inactive_node_publishes_nothing(peer, start, change, bundle):
    start(preprocessing={'bundle': bundle, 'roi': ROI})
    images = peer.listen(Image, 'face/image')
    publisher = peer.node.create_publisher(EventArray, 'events', QoSProfile(depth=1000))
    peer.wait_match(publisher)
    assert change('preprocessing', DEACTIVATE)
    peer.wait(lambda: not publisher.get_subscription_count(), 'the subscription to end')
    peer.wait_status('preprocessing', 'not active')
    assert images == []


def test_transition_that_the_state_does_not_allow_is_refused(start, change, state, bundle):
    graph = start(inference={'bundle': bundle})
    assert not change('inference', CLEANUP)
    assert not change('inference', ACTIVATE)
    assert state('inference') == 'active'
    graph.check()


@pytest.mark.parametrize('node', NODES)
def test_declared_parameters_are_those_of_the_table(peer, start, node):
    start(**{node: {'autostart': False}})
    listed = peer.call(ListParameters, node + '/list_parameters').result.names
    assert set(parameters.defaults(node)) <= set(listed)
    names = sorted(parameters.defaults(node))
    described = peer.call(DescribeParameters, node + '/describe_parameters', names=names)
    by_name = {parameter.name: parameter for parameter in parameters.TABLES[node]}
    for name, descriptor in zip(names, described.descriptors):
        ranges = list(descriptor.floating_point_range) + list(descriptor.integer_range)
        bounds = [(r.from_value, r.to_value) for r in ranges]
        parameter = by_name[name]
        is_scalar = not isinstance(parameter.default, list)
        has_range = parameter.lowest is not None and is_scalar
        assert descriptor.description == parameter.text
        assert bounds == ([(parameter.lowest, parameter.highest)] if has_range else [])
        assert descriptor.read_only == (parameter.when == START)


def test_unknown_parameter_is_refused_by_name(peer, start, state, tmp_path, bundle):
    params = tmp_path / 'mine.yaml'
    params.write_text('/**/inference:\n  ros__parameters:\n    bundel: x\n    threads: 1\n')
    graph = start(params_file=str(params), inference={'bundle': bundle})
    peer.wait_status('inference', "no parameter 'bundel': did you mean 'bundle'?", level=2)
    assert state('inference') == 'unconfigured'
    graph.check()


def test_params_file_reaches_nodes_in_a_namespace(peer, start, tmp_path, recording):
    params = tmp_path / 'mine.yaml'
    params.write_text('/**/player:\n  ros__parameters:\n    wait_for: 7\n')
    start(params_file=str(params), player={'path': recording})
    peer.wait_status('player', 'waiting for 7 subscriber(s)')


def test_shipped_params_file_is_accepted(peer, start, recording):
    from cs3d_ros.nodes.bringup import shared_file

    start(params_file=shared_file('cs3d.yaml'), player={'path': recording})
    peer.wait_status('player', 'waiting for 1 subscriber(s)')


def test_refused_value_can_be_cured_while_the_node_runs(
    peer, start, change, set_parameter, tmp_path, bundle
):
    params = tmp_path / 'mine.yaml'
    params.write_text('/**/inference:\n  ros__parameters:\n    threads: many\n')
    start(params_file=str(params), inference={'bundle': bundle})
    peer.wait_status('inference', "threads expects an int, got 'many'", level=2)
    assert set_parameter('inference', 'threads', 1).successful
    assert change('inference', CONFIGURE)
    assert change('inference', ACTIVATE)


def test_parameter_of_an_active_node_is_refused_with_the_reason(
    start, state, set_parameter, bundle
):
    start(inference={'bundle': bundle})
    assert state('inference') == 'active'
    result = set_parameter('inference', 'threads', 1)
    assert not result.successful
    assert 'deactivate it first' in result.reason


def test_parameter_that_may_always_change_does(peer, start, set_parameter, recording):
    start(player={'path': recording, 'loop': True})
    peer.wait_status('player', 'waiting')
    assert set_parameter('player', 'rate', 3.0).successful
    result = set_parameter('player', 'rate', 1000.0)
    assert not result.successful
    assert result.reason


def test_change_between_two_lives_takes_effect(
    peer, start, change, set_parameter, bundle, tmp_path
):
    start(inference={'bundle': bundle})
    peer.wait_status('inference', 'no face images')
    assert change('inference', DEACTIVATE)
    assert set_parameter('inference', 'bundle', str(tmp_path / 'missing.onnx')).successful
    assert not change('inference', ACTIVATE)
    peer.wait_status('inference', 'missing.onnx is not there', level=2)
    assert set_parameter('inference', 'bundle', bundle).successful
    assert change('inference', ACTIVATE)
    peer.wait_status('inference', 'no face images')

"""The stand-ins for ROS of test/ros_stubs.py hold nothing that the real one lacks."""

import importlib
import inspect

import pytest
import rclpy_stubs
import ros_stubs

LATER_NAMES = {'rclpy.qos_event': 'rclpy.event_handler'}  # Humble's name: that of Iron and later
STUBBED = {
    (module, name): value
    for module, names in ros_stubs.stubbed().items()
    for name, value in names.items()
}
MESSAGES = ros_stubs.message_classes()


def real(module, name):
    """Return the real thing."""
    if module.startswith('launch'):
        pytest.importorskip('launch_ros')
    try:
        return getattr(importlib.import_module(LATER_NAMES.get(module, module)), name)
    except ImportError:
        return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize('module, name', sorted(STUBBED))
def test_name_is_there(module, name):
    assert real(module, name)


@pytest.mark.parametrize('name', sorted(MESSAGES))
def test_message_has_the_fields(name):
    package, short = name.split('/')
    own, other = MESSAGES[name], real(package + '.msg', short)
    assert list(own.DEFAULTS) == list(other.get_fields_and_field_types())
    for constant in set(vars(own)) - set(vars(ros_stubs.Message)) - set(own.DEFAULTS):
        if constant.isupper() and constant != 'TYPE_NAME':
            assert getattr(own, constant) == getattr(other, constant)


CLASSES = [
    ('rclpy.node', 'Node'),
    ('rclpy.lifecycle', 'LifecycleNode'),
    ('rclpy.clock', 'Clock'),
    ('rclpy.qos', 'QoSProfile'),
    ('rclpy.qos_event', 'PublisherEventCallbacks'),
    ('rclpy.qos_event', 'SubscriptionEventCallbacks'),
    ('rclpy.executors', 'SingleThreadedExecutor'),
]
METHODS = [
    (module, name, method)
    for module, name in CLASSES
    for method in vars(STUBBED[module, name])
    if method == '__init__' or not method.startswith('_')
]


@pytest.mark.parametrize('module, name, method', METHODS)
def test_method_takes_what_the_real_one_takes(module, name, method):
    own = inspect.signature(getattr(STUBBED[module, name], method)).parameters
    other = inspect.signature(getattr(real(module, name), method)).parameters
    takes_any = any(each.kind == each.VAR_KEYWORD for each in other.values())
    open_kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = {each.name for each in own.values() if each.kind not in open_kinds}
    assert takes_any or named <= set(other)


def test_stubs_refuse_what_nobody_has():
    with pytest.raises(AssertionError, match='Time has no nanoseconds'):
        MESSAGES['builtin_interfaces/Time'](nanoseconds=1)
    with pytest.raises(AttributeError):
        MESSAGES['builtin_interfaces/Time']().nanoseconds = 1
    assert not hasattr(rclpy_stubs.Node('a'), 'create_service')

"""Topics of our nodes: message classes by name, and ends whose QoS mismatches are said."""

import importlib
from typing import Callable

from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks


def message_class(type_name: str) -> type:
    """
    Return the class of a message type, named as the graph names it.

    Raises
    ------
    ImportError
        If its package is not installed, or has no such message.

    Examples
    --------
    >>> message_class('std_msgs/msg/Header').__name__
    'Header'
    """
    package, space, name = type_name.split('/')
    module = importlib.import_module('{}.{}'.format(package, space))
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise ImportError('{} has no message {}'.format(package, name)) from error


def subscribe(
    node: Node,
    kind: type,
    topic: str,
    callback: Callable,
    depth: int,
    best_effort: bool = False,
    raw: bool = False,
):
    """
    Return a subscription; a publisher that cannot match it is named in the log.

    The parameter ``qos_overrides./TOPIC.subscription.reliability`` chooses otherwise.
    """
    reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
    return node.create_subscription(
        kind,
        topic,
        callback,
        QoSProfile(depth=depth, reliability=reliability),
        raw=raw,
        event_callbacks=SubscriptionEventCallbacks(
            incompatible_qos=lambda event: _warn_of_qos(node, topic, event, 'publisher')
        ),
        qos_overriding_options=QoSOverridingOptions((QoSPolicyKind.RELIABILITY,)),
    )


def publisher_callbacks(node: Node, topic: str) -> PublisherEventCallbacks:
    """Return the callbacks of a publisher; a subscriber that cannot match it is then named."""
    return PublisherEventCallbacks(
        incompatible_qos=lambda event: _warn_of_qos(node, topic, event, 'subscriber')
    )


def in_use(topic: str, type_name: str, error: Exception) -> str:
    """Return why a topic cannot be had as a type, and the cure."""
    return (
        '{} cannot be had as {}: if another node of this process has it as another type, '
        'deactivate and clean that up first ({})'.format(topic, type_name, error)
    )


def _warn_of_qos(node: Node, topic: str, event, other: str) -> None:
    try:
        policy = qos_policy_name_from_kind(QoSPolicyKind(event.last_policy_kind))
    except ValueError:
        policy = 'policy {}'.format(event.last_policy_kind)
    node.get_logger().warn(
        'a {} of {} does not match by its QoS {}, so no data passes: give it reliability '
        'RELIABLE and durability VOLATILE'.format(other, node.resolve_topic_name(topic), policy)
    )

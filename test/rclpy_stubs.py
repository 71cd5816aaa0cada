"""
A stand-in for rclpy of Humble: nodes of one process that hear each other at once.

What a node publishes reaches the callbacks of the subscriptions of its topic within the call, in
the publisher's thread. Timers do not run by themselves: a test fires them.
"""

import collections
import enum
import inspect
import itertools
import threading
import time

TOPICS = collections.defaultdict(list)  # name: subscriptions
PUBLISHERS = collections.defaultdict(list)  # name: publishers
LOCK = threading.RLock()  # one executor's worth of order: callbacks come one at a time
_numbers = itertools.count(1)


class ClockType(enum.Enum):
    """Those that our nodes ask for."""

    ROS_TIME = 1
    STEADY_TIME = 3


Now = collections.namedtuple('Now', 'nanoseconds')


class Clock:
    """The host's clock."""

    def __init__(self, *, clock_type=ClockType.ROS_TIME):
        self.clock_type = clock_type

    def now(self):
        """Return the time, ns."""
        return Now(int(time.time() * 1e9))


class ReliabilityPolicy(enum.Enum):
    """Those that our nodes ask for."""

    RELIABLE = 1
    BEST_EFFORT = 2


class QoSPolicyKind(enum.IntEnum):
    """Those that our nodes know."""

    DURABILITY = 2
    RELIABILITY = 16


class QoSProfile:
    """What was asked for."""

    def __init__(self, *, depth, reliability=ReliabilityPolicy.RELIABLE):
        self.depth, self.reliability = depth, reliability


class QoSOverridingOptions:
    """What may be overridden."""

    def __init__(self, policy_kinds):
        self.policy_kinds = tuple(policy_kinds)


class PublisherEventCallbacks:
    """What is called of a publisher."""

    def __init__(self, *, incompatible_qos=None):
        self.incompatible_qos = incompatible_qos


class SubscriptionEventCallbacks(PublisherEventCallbacks):
    """What is called of a subscription."""


class Subscription:
    """Hears a topic; ``raw`` takes bytes alone."""

    def __init__(self, kind, topic, callback, raw):
        self.kind, self.topic, self.callback, self.raw = kind, topic, callback, raw
        self.wants_info = len(inspect.signature(callback).parameters) > 1
        TOPICS[topic].append(self)

    def hear(self, message, number):
        """Call back."""
        if isinstance(message, bytes) != self.raw:
            raise AssertionError('{} hears {!r}'.format(self.topic, type(message)))
        info = {'publication_sequence_number': number}
        self.callback(*([message, info] if self.wants_info else [message]))


class Publisher:
    """Sends to the subscriptions of its topic; a managed one only while it is active."""

    def __init__(self, kind, topic, is_managed=False):
        self.kind, self.topic_name, self.is_active = kind, topic, not is_managed
        self.endpoint_gid = [next(_numbers)] * 16
        self._sent = 0
        PUBLISHERS[topic].append(self)

    def publish(self, message):
        """Send; bytes stand for a message that is serialized."""
        if not isinstance(message, (bytes, self.kind)):
            raise AssertionError('{} is no {}'.format(type(message), self.kind.__name__))
        if not self.is_active:
            return
        with LOCK:
            self._sent += 1
            for subscription in list(TOPICS[self.topic_name]):
                subscription.hear(message, self._sent)

    def get_subscription_count(self):
        """Return how many hear it."""
        return len(TOPICS[self.topic_name])


class Timer:
    """Fires when a test says so."""

    def __init__(self, period_s, callback):
        self.period_s, self.callback = period_s, callback

    def fire(self):
        """Call back, as if the time had come."""
        with LOCK:
            self.callback()


class Logger:
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def info(self, text, throttle_duration_sec=0.0):
        """Keep a line."""
        self.lines.append(text)

    warn = error = info


Parameter = collections.namedtuple('Parameter', 'name value')
PublisherInfo = collections.namedtuple('PublisherInfo', 'topic_type endpoint_gid')


class Context:
    """Of a process that nobody ends."""

    def ok(self):
        """Return that it goes on."""
        return True


class Node:
    """A node of this process."""

    def __init__(self, node_name, *, namespace='', parameter_overrides=(), context=None):
        self._name, self._namespace = node_name, '/' + namespace.strip('/')
        self._parameter_overrides = {each.name: each for each in parameter_overrides}
        self._logger, self._clock = Logger(), Clock()
        self.declared, self.timers, self.services = {}, [], []
        self.context = context or Context()

    def get_name(self):
        """Return the name without namespace."""
        return self._name

    def get_namespace(self):
        """Return the namespace, / if there is none."""
        return self._namespace

    def get_fully_qualified_name(self):
        """Return namespace and name."""
        return self.resolve_topic_name(self._name)

    def resolve_topic_name(self, topic):
        """Return the topic's full name."""
        return topic if topic.startswith('/') else self._namespace.rstrip('/') + '/' + topic

    def get_logger(self):
        """Return what keeps what it says."""
        return self._logger

    def get_clock(self):
        """Return its clock."""
        return self._clock

    def declare_parameter(self, name, value, descriptor, ignore_override=False):
        """Take a parameter, once."""
        if name in self.declared:
            raise AssertionError('{} is declared twice'.format(name))
        self.declared[name] = value, descriptor

    def add_on_set_parameters_callback(self, callback):
        """Keep what judges new values."""
        self.judge = callback

    def create_publisher(self, msg_type, topic, qos_profile, *, event_callbacks=None):
        """Return a publisher."""
        return Publisher(msg_type, self.resolve_topic_name(topic))

    def create_subscription(
        self,
        msg_type,
        topic,
        callback,
        qos_profile,
        *,
        event_callbacks=None,
        qos_overriding_options=None,
        raw=False,
    ):
        """Return a subscription."""
        return Subscription(msg_type, self.resolve_topic_name(topic), callback, raw)

    def create_timer(self, timer_period_sec, callback, clock=None):
        """Return a timer that a test fires."""
        self.timers.append(Timer(timer_period_sec, callback))
        return self.timers[-1]

    def get_publishers_info_by_topic(self, topic_name):
        """Return the publishers of a topic."""
        return [
            PublisherInfo(each.kind.TYPE_NAME, each.endpoint_gid)
            for each in PUBLISHERS[self.resolve_topic_name(topic_name)]
        ]

    def destroy_timer(self, timer):
        """Forget a timer, which must be there."""
        self.timers.remove(timer)

    def destroy_subscription(self, subscription):
        """Forget a subscription, which must be there."""
        TOPICS[subscription.topic].remove(subscription)

    def destroy_publisher(self, publisher):
        """Forget a publisher, which must be there."""
        PUBLISHERS[publisher.topic_name].remove(publisher)

    def destroy_node(self):
        """Forget the timers; what else is left is the node's own fault."""
        self.timers = []


class TransitionCallbackReturn(enum.Enum):
    """What a transition says of itself."""

    SUCCESS = 97
    FAILURE = 98
    ERROR = 99


LifecycleState = collections.namedtuple('LifecycleState', 'label state_id')


class LifecycleNode(Node):
    """A node with a life: its managed publishers send while it is active."""

    def __init__(self, node_name, **options):
        super().__init__(node_name, **options)
        self._managed = []

    def create_lifecycle_publisher(self, msg_type, topic, qos_profile, *, event_callbacks=None):
        """Return a publisher that is silent until the node is active."""
        self._managed.append(Publisher(msg_type, self.resolve_topic_name(topic), True))
        return self._managed[-1]

    def destroy_lifecycle_publisher(self, publisher):
        """Forget a managed publisher, which must be there."""
        self._managed.remove(publisher)
        self.destroy_publisher(publisher)

    def _enable(self, is_active):
        for publisher in self._managed:
            publisher.is_active = is_active
        return TransitionCallbackReturn.SUCCESS

    def on_configure(self, state):
        """Do nothing."""
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state):
        """Let managed publishers send."""
        return self._enable(True)

    def on_deactivate(self, state):
        """Let managed publishers send no more."""
        return self._enable(False)

    on_cleanup = on_shutdown = on_error = on_configure

    def _trigger(self, name):
        return getattr(self, 'on_' + name)(LifecycleState(name, 0))

    def trigger_configure(self):
        """Go through a transition."""
        return self._trigger('configure')

    def trigger_activate(self):
        """Go through a transition."""
        return self._trigger('activate')

    def trigger_deactivate(self):
        """Go through a transition."""
        return self._trigger('deactivate')

    def trigger_cleanup(self):
        """Go through a transition."""
        return self._trigger('cleanup')


def _nothing(*_, **__):
    return None


class SingleThreadedExecutor:
    """Spins nothing."""

    add_node = spin_once = _nothing


MODULES = {
    'rclpy': {
        'init': _nothing,
        'spin': _nothing,
        'ok': lambda: True,
        'try_shutdown': _nothing,
        'shutdown': _nothing,
    },
    'rclpy.clock': {'Clock': Clock, 'ClockType': ClockType},
    'rclpy.exceptions': {'ROSInterruptException': type('ROSInterruptException', (Exception,), {})},
    'rclpy.executors': {
        'ExternalShutdownException': type('ExternalShutdownException', (Exception,), {}),
        'SingleThreadedExecutor': SingleThreadedExecutor,
    },
    'rclpy.lifecycle': {
        'LifecycleNode': LifecycleNode,
        'LifecycleState': LifecycleState,
        'TransitionCallbackReturn': TransitionCallbackReturn,
    },
    'rclpy.logging': {'LoggingSeverity': enum.Enum('LoggingSeverity', 'INFO WARN ERROR FATAL')},
    'rclpy.node': {'Node': Node},
    'rclpy.qos': {
        'QoSPolicyKind': QoSPolicyKind,
        'QoSProfile': QoSProfile,
        'ReliabilityPolicy': ReliabilityPolicy,
        'qos_policy_name_from_kind': lambda policy_kind: policy_kind.name,
    },
    # Humble's; later distributions name it rclpy.event_handler
    'rclpy.qos_event': {
        'PublisherEventCallbacks': PublisherEventCallbacks,
        'SubscriptionEventCallbacks': SubscriptionEventCallbacks,
    },
    'rclpy.qos_overriding_options': {'QoSOverridingOptions': QoSOverridingOptions},
}

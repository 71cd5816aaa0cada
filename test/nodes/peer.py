"""What the tests of nodes have in their own process: a node that hears and says what they want."""

import contextlib
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy

from cs3d_ros.events import ENCODERS, concatenate, open_decoder
from cs3d_ros.nodes import topics

# Discovery, a node's start on a busy machine: far more than ever seen, and no test waits for it.
LIMIT_S = 40.0

BEST_EFFORT = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)

# A second is long for tests, which learn from the nodes' reports what has come.
PROMPT = {'diagnostics_s': 0.1}


class Peer:
    """A plain node in the test's own process that hears and says what a test wants."""

    def __init__(self, namespace):
        self.namespace = namespace
        self.node = rclpy.create_node('peer', namespace=namespace)
        self._executor = rclpy.executors.SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._clients = {}
        self.statuses = {}  # node name: every (level, words, values) it said
        self.listen(DiagnosticArray, '/diagnostics', self._on_diagnostics, 100)

    def listen(self, kind, topic, callback=None, qos=1000, raw=False):
        """Return the list that fills with the messages of a topic."""
        heard = []
        self.node.create_subscription(kind, topic, callback or heard.append, qos, raw=raw)
        return heard

    def _on_diagnostics(self, message):
        for status in message.status:
            space, _, name = status.name.rpartition('/')
            if space == '/' + self.namespace:
                values = {pair.key: pair.value for pair in status.values}
                self.statuses.setdefault(name, []).append(
                    (status.level[0], status.message, values)
                )

    def wait(self, condition, what='', limit_s=LIMIT_S):
        """Spin until the condition holds, and return what it returned."""
        deadline_s = time.monotonic() + limit_s
        while True:
            result = condition()
            if result:
                return result
            assert time.monotonic() < deadline_s, 'waited {:.0f} s for {}; heard {}'.format(
                limit_s, what or condition, {k: v[-1] for k, v in self.statuses.items()}
            )
            self._executor.spin_once(timeout_sec=0.05)

    def wait_status(self, node, words='', level=None, **values):
        """Return the values of the first status from now on that says this."""
        begin = len(self.statuses.get(node, ()))

        def said():
            for status in self.statuses.get(node, ())[max(0, begin - 1) :]:
                has_values = all(status[2].get(key) == str(values[key]) for key in values)
                if words in status[1] and has_values and level in (None, status[0]):
                    return status
            return None

        return self.wait(said, '{} to say {!r} {}'.format(node, words, values))[2]

    @contextlib.contextmanager
    def spinning(self, node):
        """Spin another node of this process beside this one."""
        self._executor.add_node(node)
        try:
            yield
        finally:
            self._executor.remove_node(node)

    def wait_match(self, publisher, count=1):
        """Wait until a publisher of this peer has its subscribers."""
        self.wait(lambda: publisher.get_subscription_count() >= count, 'subscribers')

    def wait_publishers(self, topic, count=1):
        """Wait until this peer knows the publishers of a topic."""
        self.wait(lambda: self.node.count_publishers(topic) >= count, 'publishers of ' + topic)

    def change(self, node, transition):
        """Return whether a node made a transition of its life cycle."""
        request = Transition(id=transition)
        return self.call(ChangeState, node + '/change_state', transition=request).success

    def set_parameters(self, node, **values):
        """Return the first refusal of parameters, or else the last result."""
        changes = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        results = self.call(SetParameters, node + '/set_parameters', parameters=changes).results
        return next((result for result in results if not result.successful), results[-1])

    def call(self, kind, service, **fields):
        """Return the answer of a service."""
        # Kept: a service may lose its answer to a client that it has yet to match.
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        client = self._clients[service]
        self.wait(client.service_is_ready, service)
        future = client.call_async(kind.Request(**fields))
        self.wait(future.done, 'an answer of ' + service)
        return future.result()

    def close(self):
        self._executor.shutdown()
        self.node.destroy_node()


class Ear:
    """What a peer heard on events, decoded as it came."""

    def __init__(self, peer, message_type='event_array', qos=BEST_EFFORT):
        type_name = ENCODERS[message_type][0]
        self.decoder = open_decoder(type_name)
        self.batches, self.sizes = [], []
        self._node = peer.node
        self._subscription = peer.node.create_subscription(
            topics.message_class(type_name), 'events', self._hear, qos, raw=True
        )

    def close(self):
        self._node.destroy_subscription(self._subscription)

    def _hear(self, data):
        self.sizes.append(len(data))
        self.batches.append(self.decoder.push(data))

    def __len__(self):
        return self.decoder.counts.events

    def events(self):
        return concatenate(self.batches)

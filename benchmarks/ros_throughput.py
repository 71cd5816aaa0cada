"""
Events over DDS: what passes at the most, and what the graph takes of a million a second.

    python -m benchmarks.ros_throughput [SECONDS]

Ten million events a second go from a player to `preprocessing`, in messages of 20,000. A million
go through the graph, and beside it to a subscriber of message objects.

Player and subscribers are processes of their own. The peer is what a common rclpy subscriber
does: the same QoS, a callback that gets an EventArray object and makes columns of it.
"""

import os
import sys
import tempfile
import time
from typing import Dict, List, NamedTuple

import numpy as np

from benchmarks.measure import machine
from benchmarks.scene import HEIGHT, RATE_HZ, WIDTH, moving_scene
from cs3d_ros.events import ENCODERS, EventBatch, write_recording

RATE = 1_000_000  # events/s
SECONDS = 30
WIRE_RATE = 10_000_000  # events/s
LOOP_S = 3  # of the scene, which is repeated
PER_PACKET = 20_000  # events
BACKLOG_S = 20.0  # that a slow subscriber has, after the last message, to work off what waits
ROI = [100.0, 60.0, 140.0, 140.0]
CLOCK_TICKS = os.sysconf('SC_CLK_TCK')


class Result(NamedTuple):
    """What came of the events that the player sent."""

    name: str
    sent: int
    received: int
    messages_lost: int
    cores: float  # CPU time of all its processes over the time of playing
    player_late_ms: float


def write_dense_recording(path: str, seconds: int, rate: int = RATE) -> None:
    """Write the benchmarks' scene, over and over, so fast that it has this rate."""
    scene = moving_scene(rate * min(seconds, LOOP_S))
    t = scene.t * RATE_HZ // rate

    def batches():
        for start_s in range(0, seconds, LOOP_S):
            shifted = EventBatch.trusted(
                scene.x, scene.y, t + start_s * 10**9, scene.p, WIDTH, HEIGHT
            )
            for first in range(0, len(scene), PER_PACKET):
                yield shifted[first : first + PER_PACKET]

    write_recording(path, batches(), WIDTH, HEIGHT)


def cpu_s(pids: List[int]) -> float:
    """Return the CPU time that processes have used so far."""
    total = 0
    for pid in pids:
        with open('/proc/{}/stat'.format(pid)) as file:
            fields = file.read().rsplit(')', 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / CLOCK_TICKS


def run_graph(path: str, seconds: int) -> Dict:
    """Play into preprocessing and inference; return the result and what /emotion did."""
    import rclpy

    from cs3d_ros.nodes import bringup

    nodes = {'preprocessing': {'roi': ROI}, 'inference': {}}
    watcher = _Watcher(rclpy)
    with bringup.Graph(nodes) as graph:
        watcher.wait(lambda: watcher.values('inference'), 60)
        with bringup.Graph({'player': {'path': path}}):
            pids = [process.pid for process in graph.processes.values()]
            begin = _play(watcher, pids, seconds)
            done = cpu_s(pids) - begin
            watcher.wait(lambda: watcher.fresh('preprocessing'), 10)
            seen, said = watcher.values('preprocessing'), watcher.values('inference')
            player = watcher.values('player')
    result = Result(
        'cs3d_ros graph, raw bytes',
        int(player['events']),
        int(seen['events']),
        int(seen['messages_lost']),
        done / seconds,
        float(player['late_ms']),
    )
    latencies = watcher.close()
    return {'result': result, 'latencies_ms': latencies, 'seen': seen, 'said': said}


def run_wire(path: str, message_type: str, seconds: int) -> Dict:
    """Play a dense recording into preprocessing; return what came, and what both took."""
    import rclpy

    from cs3d_ros.nodes import bringup

    watcher = _Watcher(rclpy)
    player = {'path': path, 'message_type': message_type}
    with bringup.Graph({'preprocessing': {'roi': ROI}}) as receiver:
        watcher.wait(lambda: watcher.values('preprocessing'), 60)
        with bringup.Graph({'player': player}) as sender:
            graphs = {'preprocessing': receiver, 'player': sender}
            watcher.wait(lambda: watcher.says('player', 'playing'), 60)
            begin = {name: cpu_of(graph) for name, graph in graphs.items()}
            watcher.wait(lambda: watcher.says('player', 'at the end'), 3 * seconds + 60)
            cores = {
                name: (cpu_of(graph) - begin[name]) / seconds for name, graph in graphs.items()
            }
            watcher.wait(lambda: watcher.fresh('preprocessing'), 10)
            result = {'sent': watcher.values('player'), 'seen': watcher.values('preprocessing')}
    watcher.close()
    return dict(result, cores=cores)


def cpu_of(graph) -> float:
    """Return the CPU time that a graph's processes have used so far."""
    return cpu_s([process.pid for process in graph.processes.values()])


def run_peer(path: str, seconds: int) -> Result:
    """Play into a subscriber of message objects."""
    import subprocess

    import rclpy

    from cs3d_ros.nodes import bringup

    watcher = _Watcher(rclpy)
    peer = subprocess.Popen(
        [sys.executable, '-m', 'benchmarks.ros_throughput', '--peer'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        env=bringup.ros_environment(),
    )
    try:
        with bringup.Graph({'player': {'path': path}}):
            begin = _play(watcher, [peer.pid], seconds)
            done = cpu_s([peer.pid]) - begin
            player = watcher.values('player')
            events, lost = (int(word) for word in peer.communicate('', 60)[0].split()[-2:])
    finally:
        peer.kill()
        watcher.close()
    return Result(
        'rclpy message objects',
        int(player['events']),
        events,
        lost,
        done / seconds,
        float(player['late_ms']),
    )


def _play(watcher, pids, seconds) -> float:
    """Wait until the player has played; return the subscribers' CPU time before it."""
    watcher.wait(lambda: watcher.says('player', 'playing'), 60)
    begin = cpu_s(pids)
    watcher.wait(lambda: watcher.says('player', 'at the end'), 3 * seconds + 60)
    return begin


class _Watcher:
    """Hears /diagnostics and /emotion."""

    def __init__(self, rclpy):
        from diagnostic_msgs.msg import DiagnosticArray
        from hri_msgs.msg import Expression

        from cs3d_ros.nodes import bringup

        os.environ.update(bringup.profile())
        rclpy.init()
        self._rclpy = rclpy
        self._node = rclpy.create_node('watcher')
        self._statuses, self._heard_s, self._latencies_ms = {}, {}, []
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_status, 100)
        self._node.create_subscription(Expression, 'emotion', self._on_emotion, 100)

    def _on_status(self, message):
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self._statuses[status.name.strip('/')] = status.message, values
            self._heard_s[status.name.strip('/')] = time.monotonic()

    def _on_emotion(self, message):
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        if not self.says('player', 'at the end'):
            now_ns = self._node.get_clock().now().nanoseconds
            self._latencies_ms.append((now_ns - stamp_ns) * 1e-6)

    def says(self, node, words):
        return self._statuses.get(node, ('', {}))[0] == words

    def values(self, node):
        return self._statuses.get(node, ('', {}))[1]

    def fresh(self, node):
        return (
            self._heard_s[node] > self._heard_s['player']
            or time.monotonic() - self._heard_s[node] < 0.2
        )

    def wait(self, condition, limit_s):
        deadline_s = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline_s:
                sys.exit('gave up waiting; heard {}'.format(self._statuses))
            self._rclpy.spin_once(self._node, timeout_sec=0.05)

    def close(self):
        self._node.destroy_node()
        self._rclpy.shutdown()
        return self._latencies_ms


def be_peer() -> None:
    """Subscribe to message objects until stdin closes; print events and messages lost."""
    import threading

    import rclpy
    from dv_ros2_msgs.msg import EventArray
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    rclpy.init()
    node = rclpy.create_node('peer')
    count, sequences = [0], []

    def on_events(message, info):
        columns = np.array(
            [(e.x, e.y, e.ts.sec * 10**9 + e.ts.nanosec, e.polarity) for e in message.events],
            np.int64,
        )
        count[0] += len(columns)
        sequences.append(info['publication_sequence_number'])

    qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
    node.create_subscription(EventArray, 'events', on_events, qos)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    deadline_s, quiet = None, 0
    while deadline_s is None or (time.monotonic() < deadline_s and quiet < 20):
        before = len(sequences)
        rclpy.spin_once(node, timeout_sec=0.05)
        if over.is_set():
            deadline_s = deadline_s or time.monotonic() + BACKLOG_S
            quiet = quiet + 1 if len(sequences) == before else 0
    missed = sequences[-1] - sequences[0] + 1 - len(sequences) if sequences else 0
    print(count[0], missed)


def print_wire(results: Dict[str, Dict], seconds: int) -> None:
    """Print the table of what passes at the most."""
    print('\n## {:.0f} M events/s over DDS for {} s\n'.format(WIRE_RATE / 1e6, seconds))
    print('| message type | sent | decoded | lost | late | receiver, cores | player, cores |')
    print('|---|---|---|---|---|---|---|')
    for name, result in results.items():
        sent, seen, cores = result['sent'], result['seen'], result['cores']
        print(
            '| {} | {:,} | {:,} | {} | {} | {:.2f} | {:.2f} |'.format(
                name,
                int(sent['events']),
                int(seen['events']),
                seen['messages_lost'],
                seen['late'],
                cores['preprocessing'],
                cores['player'],
            )
        )


def print_results(results: List[Result], graph: Dict, seconds: int) -> None:
    """Print the table, and what /emotion did."""
    print('\n## {:.0f} M events/s over DDS for {} s\n'.format(RATE / 1e6, seconds))
    print('| subscriber | sent | received | not received | cores busy | player late, at most |')
    print('|---|---|---|---|---|---|')
    for result in results:
        missing = result.sent - result.received
        print(
            '| {} | {:,} | {:,} | {:,} ({:.1%}) | {:.2f} | {:.0f} ms |'.format(
                result.name,
                result.sent,
                result.received,
                missing,
                missing / result.sent,
                result.cores,
                result.player_late_ms,
            )
        )
    latencies = graph['latencies_ms']
    print(
        '\n/emotion: {:.1f} Hz; from the end of a period to its answer: median {:.0f} ms, 99 % '
        'below {:.0f} ms, highest {:.0f} ms; {} images dropped, {} events late'.format(
            len(latencies) / seconds,
            *np.percentile(latencies, (50, 99, 100)),
            graph['said']['dropped'],
            graph['seen']['late'],
        )
    )


def main(seconds: int = SECONDS) -> None:
    """Print the table."""
    from cs3d_ros.nodes.demo import free_domain

    os.environ['ROS_DOMAIN_ID'] = str(free_domain())
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    with tempfile.TemporaryDirectory() as folder:
        os.environ['ROS_LOG_DIR'] = folder
        path = os.path.join(folder, 'dense.aedat4')
        write_dense_recording(path, seconds, WIRE_RATE)
        print_wire({name: run_wire(path, name, seconds) for name in ENCODERS}, seconds)
        write_dense_recording(path, seconds)
        graph = run_graph(path, seconds)
        peer = run_peer(path, seconds)
    print_results([graph['result'], peer], graph, seconds)


if __name__ == '__main__':
    if '--peer' in sys.argv:
        be_peer()
    else:
        print(machine())
        main(*(int(word) for word in sys.argv[1:2]))

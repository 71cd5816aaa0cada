"""All nodes in one process and one executor, as a robot with little memory runs them."""

import rclpy
from hri_msgs.msg import Expression
from rclpy.parameter import Parameter

from cs3d_ros.nodes.inference import Inference
from cs3d_ros.nodes.player import Player
from cs3d_ros.nodes.preprocessing import Preprocessing


def test_graph_lives_in_one_process(peer, recording, bundle):
    emotions = peer.listen(Expression, 'emotion')
    values = {
        Preprocessing: {'bundle': bundle, 'roi': [8.0, 4.0, 40.0, 40.0]},
        Inference: {'bundle': bundle},
        Player: {'path': recording, 'loop': True},
    }
    executor = rclpy.executors.SingleThreadedExecutor()
    nodes = []
    try:
        for kind, settings in values.items():
            overrides = [Parameter(name, value=value) for name, value in settings.items()]
            nodes.append(kind(namespace=peer.namespace, parameter_overrides=overrides))
            executor.add_node(nodes[-1])
            nodes[-1].start()
        peer.wait(lambda: executor.spin_once(timeout_sec=0.01) or emotions, '/emotion')
    finally:
        for node in nodes:
            node.close()
            node.destroy_node()
        executor.shutdown()

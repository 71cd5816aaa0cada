"""
What runs in a process of its own, on stand-ins for ROS, and prints what it saw as JSON.

    stub_graph.py imports                    each file of nodes/ and launch/: what its import says
    stub_graph.py chain RECORDING VIDEO ROOT the whole graph at work, its meters below ROOT
    stub_graph.py launch NAME:=VALUE ...     what the launch file starts
"""

import importlib
import importlib.util
import json
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMIT_S = 120.0  # far more than ever seen, and no test waits for it

sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import rclpy_stubs  # noqa: E402
import ros_stubs  # noqa: E402


def import_all():
    """Return what the import of every file says, by its path; empty if nothing."""
    said = {}
    for path in sorted(ROOT.glob('cs3d_ros/nodes/*.py')) + sorted(ROOT.glob('launch/*.py')):
        name = str(path.relative_to(ROOT))
        try:
            if name.startswith('launch'):
                load(path)
            else:
                importlib.import_module(name[: -len('.py')].replace('/', '.'))
            said[name] = ''
        except Exception as error:  # whatever it is, the test shows it
            said[name] = repr(error)
    return said


def load(path):
    """Return the module of a file that is in no package."""
    spec = importlib.util.spec_from_file_location('loaded', str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_chain(recording, video, root):
    """Return what an observer heard of the graph, and how each node did."""
    from cs3d_ros.nodes.inference import Inference
    from cs3d_ros.nodes.observer import Observer
    from cs3d_ros.nodes.player import Player
    from cs3d_ros.nodes.power import Power
    from cs3d_ros.nodes.preprocessing import Preprocessing

    nodes = {
        'power': live(Power, window_s=0.5, root=root),
        # the whole recording at once: what waits for the network is not dropped
        'inference': live(Inference, queue_frames=1000, name_unproven=True),
    }
    player = live(Player, path=recording, rate=100.0, wait_for=2, activate=False)
    nodes['preprocessing'] = live(Preprocessing, idle_ms=0.0)
    observer = Observer(namespace='robot')
    player.trigger_activate()
    wait(lambda: player.report()[1] == 'at the end', player)
    player.trigger_deactivate()
    wait(nodes['inference']._work.empty, nodes['inference'])
    nodes['inference'].trigger_deactivate()  # once the last is answered
    nodes['inference'].trigger_activate()
    told = {}
    for name, node in dict(nodes, player=player).items():
        for timer in list(node.timers):
            timer.fire()
        if node.is_active:
            told[name] = [plain(part) for part in node.report()]
    heard = {
        'events': observer.counts['events'],
        'frames': len(observer._faces),
        'expressions': sorted({emotion.expression for emotion in observer.emotions}),
        'emotions': len(observer.emotions),
        'nodes': sorted(observer.statuses),
        'webcam': see(video),
        'told': told,
    }
    for node in dict(nodes, player=player).values():
        if node.is_active:
            node.trigger_deactivate()
        node.trigger_cleanup()
        node.close()
    heard['left'] = sorted(topic for topic, own in rclpy_stubs.PUBLISHERS.items() if own)
    return heard


def see(video):
    """Return how many events a webcam sees in a video that stands for it."""
    from cs3d_ros.nodes.webcam import Webcam

    node = live(Webcam, namespace='eye', source=video)
    wait(lambda: node.report()[1] == 'at the end', node)
    seen = node.counts['events']
    node.trigger_deactivate()
    node.trigger_cleanup()
    return seen


def live(kind, activate=True, namespace='robot', **parameters):
    """Return a node that is configured, and active if wanted."""
    node = kind(
        namespace=namespace,
        parameter_overrides=[rclpy_stubs.Parameter(*pair) for pair in parameters.items()],
    )
    steps = [node.trigger_configure] + [node.trigger_activate] * activate
    for step in steps:
        answer = step()
        assert answer == rclpy_stubs.TransitionCallbackReturn.SUCCESS, node.get_logger().lines
    return node


def wait(condition, node):
    """Wait until a condition holds."""
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, node.report()
        time.sleep(0.02)


def plain(value):
    """Return what JSON can hold."""
    return value[0] if isinstance(value, bytes) else json.loads(json.dumps(value, default=str))


def launch(*given):
    """Return what the launch file declares, and the nodes that it starts with name:=value."""
    module = load(ROOT / 'launch' / 'fer.launch.py')
    declared = module.generate_launch_description().entities

    class Context:
        launch_configurations = {name: default for name, default, _ in module.ARGUMENTS}

    Context.launch_configurations.update(argument.split(':=') for argument in given)
    actions = module.start_nodes(Context)
    return {
        'declared': [action.values[0] for action in declared if action.named.get('default_value')],
        'arguments': [name for name, default, _ in module.ARGUMENTS if default],
        'nodes': {
            action.named['executable']: [
                sorted(each) if isinstance(each, dict) else each
                for each in action.named['parameters']
            ]
            for action in actions
        },
    }


if __name__ == '__main__':
    ros_stubs.install()
    actions = {'imports': import_all, 'chain': run_chain, 'launch': launch}
    print(json.dumps(actions[sys.argv[1]](*sys.argv[2:])))

"""
Starts the nodes of `launch/fer.launch.py` where `launch` is not installed: ``cs3d up``.

Each node is a process of its own, with the same parameters as by the launch file. All of them are
ended when one of them ends, on SIGINT, and on SIGTERM.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Sequence

import cs3d_ros
from cs3d_ros import Cs3dError
from cs3d_ros.events.recordings import READABLE
from cs3d_ros.nodes import parameters
from cs3d_ros.simulator import camera_index

END_S = 5.0  # that a node has to end by itself; then it is terminated, then killed
WEBCAM_HELP = 'camera of this number, 0 and up, as an event camera would see it, live'
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


class BringupError(Cs3dError):
    """A node that could not be started, or ended by itself."""


def shared_file(name: str) -> str:
    """
    Return the path of a file of ``config/``, in the sources or installed.

    Raises
    ------
    BringupError
        If it is nowhere.
    """
    folder = os.path.dirname(os.path.dirname(os.path.abspath(cs3d_ros.__file__)))
    candidates = [os.path.join(folder, 'config', name)]
    while folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
        candidates.append(os.path.join(folder, 'share', 'cs3d_ros', 'config', name))
    for path in candidates:
        if os.path.isfile(path):
            return path
    raise BringupError('{} is not installed: install cs3d_ros again'.format(name))


def profile() -> Dict[str, str]:
    """Return the variables that name our Fast DDS profile; none where another one is named."""
    if any(name in os.environ for name in PROFILE_VARIABLES):
        return {}
    return dict.fromkeys(PROFILE_VARIABLES, shared_file('fastdds.xml'))


def ros_environment() -> Dict[str, str]:
    """Return this process's environment with our Fast DDS profile, unless it names another."""
    return dict(os.environ, **profile())


class Graph:
    """
    Node processes that live and end together; ``with`` ends them.

    Parameters
    ----------
    nodes : dict
        Name of each node, a key of `parameters.TABLES`, to the parameters it is given.
    namespace : str
        Of all nodes.
    remappings : dict
        Topic names, old to new.
    params_file : str, optional
        YAML file for all nodes; what `nodes` gives goes before it.
    environment : dict, optional
        Of the processes; `ros_environment` by default.
    log : str, optional
        File that takes what the processes say; their own terminal by default.
    """

    def __init__(
        self,
        nodes: Dict[str, Dict[str, Any]],
        namespace: str = '',
        remappings: Optional[Dict[str, str]] = None,
        params_file: Optional[str] = None,
        environment: Optional[Dict[str, str]] = None,
        log: Optional[str] = None,
    ):
        self._commands = {}
        for node, values in nodes.items():
            refusals = parameters.check_values(node, values)[1]
            if refusals:
                raise BringupError('; '.join(refusals.values()))
            self._commands[node] = node_command(
                node, values, namespace, remappings or {}, params_file
            )
        self._environment = environment or ros_environment()
        self._log = log
        self.processes = {}  # type: Dict[str, subprocess.Popen]

    def __enter__(self) -> 'Graph':
        log = None
        try:
            log = open(self._log, 'wb') if self._log else None
            for node, command in self._commands.items():
                # A session of its own: Ctrl-C reaches it by way of end(), once and in order.
                self.processes[node] = subprocess.Popen(
                    command,
                    env=self._environment,
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        except OSError as error:
            self.end()
            raise BringupError('the nodes do not start: {}'.format(error)) from error
        finally:
            if log:
                log.close()  # each process has its own handle
        return self

    def __exit__(self, *_) -> None:
        self.end()

    def check(self) -> None:
        """Raise BringupError if a node has ended."""
        for node, process in self.processes.items():
            if process.poll() is not None:
                raise BringupError(
                    'node {} ended with exit status {}: its last words stand {}'.format(
                        node, process.returncode, 'in ' + self._log if self._log else 'above'
                    )
                )

    def end(self) -> None:
        """End every process, within some seconds."""
        for ending, limit_s in (
            (signal.SIGINT, END_S),
            (signal.SIGTERM, END_S),
            (signal.SIGKILL, END_S),
        ):
            alive = [process for process in self.processes.values() if process.poll() is None]
            for process in alive:
                process.send_signal(ending)
            deadline_s = time.monotonic() + limit_s
            for process in alive:
                try:
                    process.wait(max(0.0, deadline_s - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue


def node_command(
    node: str,
    values: Dict[str, Any],
    namespace: str = '',
    remappings: Optional[Dict[str, str]] = None,
    params_file: Optional[str] = None,
) -> List[str]:
    """
    Return the command line of one node.

    Examples
    --------
    >>> node_command('power', {'window_s': 2.0})[1:]
    ['-m', 'cs3d_ros.nodes.power', '--ros-args', '-p', 'window_s:=2.0']
    """
    command = [sys.executable, '-m', 'cs3d_ros.nodes.' + node, '--ros-args']
    if params_file:
        command += ['--params-file', params_file]
    for name, value in values.items():
        # ROS reads values as YAML, and JSON is YAML: a path stays a string whatever it looks like.
        # But for JSON's escapes beyond 16 bits: YAML refuses halves of a character.
        command += ['-p', '{}:={}'.format(name, json.dumps(value, ensure_ascii=False))]
    if namespace.strip('/'):
        command += ['-r', '__ns:=/' + namespace.strip('/')]
    for old, new in (remappings or {}).items():
        command += ['-r', '{}:={}'.format(old, new)]
    return command


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run ``cs3d up``; return the exit status."""
    args = parse(argv)
    if args.params and not os.path.isfile(args.params):
        raise BringupError('{} is not there: is the path of --params right?'.format(args.params))
    nodes = nodes_for(
        args.recording or args.video,
        args.bundle,
        not args.no_power,
        args.rate,
        args.loop,
        args.webcam,
    )
    remappings = {'events': args.events} if args.events else {}
    stop = threading.Event()
    previous = [
        (number, signal.signal(number, lambda *_: stop.set()))
        for number in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        with Graph(nodes, args.namespace, remappings, args.params) as graph:
            print('{}: Ctrl-C ends them'.format(', '.join(nodes)), flush=True)
            while not stop.wait(0.2):
                graph.check()
    finally:
        for number, handler in previous:
            signal.signal(number, handler)
    return 0


def nodes_for(
    source: Optional[str],
    bundle: Optional[str],
    power: bool = True,
    rate: Optional[float] = None,
    loop: Optional[bool] = None,
    webcam: Optional[str] = None,
) -> Dict[str, Dict[str, Any]]:
    """
    Return the nodes of a whole graph and what they are given beyond the defaults.

    Parameters
    ----------
    source : str, optional
        Recording or video; with one there is a player.
    bundle : str, optional
        Network; the shipped one by default.
    power : bool
        Whether there is a power node.
    rate, loop
        Of the player; None leaves them to the parameters file, or their defaults.
    webcam : str, optional
        Number of a camera, or a video file or folder of images that stands for one, to see live.
    """
    bundles = {'bundle': os.path.abspath(bundle)} if bundle else {}
    nodes = {'preprocessing': dict(bundles), 'inference': dict(bundles)}
    if power:
        nodes['power'] = {}
    if source:
        given = {'path': os.path.abspath(source), 'rate': rate, 'loop': loop}
        nodes['player'] = {name: value for name, value in given.items() if value is not None}
        # silence of the host's clock is not that of the slowed sensor
        if rate is not None and rate < 1:
            nodes['preprocessing']['idle_ms'] = 0.0
    if webcam:
        is_file = camera_index(webcam) is None
        nodes['webcam'] = {'source': os.path.abspath(webcam) if is_file else webcam}
    return nodes


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    """Return the options of ``cs3d up``."""
    parser = argparse.ArgumentParser(
        prog='cs3d up', description='Start the ROS 2 nodes: events in, /emotion out.'
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        '--recording', metavar='FILE', help='play it ({}) as a camera'.format(READABLE)
    )
    source.add_argument('--video', metavar='FILE', help='play the events that a camera would see')
    source.add_argument('--webcam', metavar='N', help=WEBCAM_HELP)
    parser.add_argument(
        '--rate',
        type=float,
        help='speed of playing (1); below 1 idle_ms of preprocessing is 0, too',
    )
    parser.add_argument('--loop', action='store_true', default=None, help='play again and again')
    parser.add_argument('--bundle', metavar='ONNX', help='network; the shipped one by default')
    parser.add_argument('--events', metavar='TOPIC', help='topic of the events (events)')
    parser.add_argument('--namespace', default='', help='of all nodes and topics')
    parser.add_argument(
        '--params', metavar='YAML', help='parameters, as config/cs3d.yaml; options go before'
    )
    parser.add_argument('--no-power', action='store_true', help='without the power node')
    return parser.parse_args(argv)


if __name__ == '__main__':
    sys.exit(main())

"""
``cs3d demo``: a face is played over DDS, and the graph's answers are shown and kept.

Player, preprocessing, inference and power run as processes of their own, on a ROS domain that
nobody uses; this process only watches their topics.
"""

import argparse
import json
import os
import random
import signal
import socket
import sys
import time
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity

import cs3d_ros
from cs3d_ros import Cs3dError
from cs3d_ros.draw import TimelineRow, VideoWriter, draw_panel, draw_timeline
from cs3d_ros.events.recordings import READABLE
from cs3d_ros.inference import Emotion
from cs3d_ros.nodes import bringup
from cs3d_ros.nodes.observer import PERIOD_NS, Observer
from cs3d_ros.nodes.terminal import open_view
from cs3d_ros.power import TOTAL
from cs3d_ros.simulator import camera_index, open_frames, open_source

SHIPPED = os.path.join(os.path.dirname(os.path.abspath(cs3d_ros.__file__)), 'models', 'demo_face')
LINGER_S = 1.0  # after the last event: still periods become frames a quarter of a second late
START_S = 30.0  # for four processes to start and find each other; then, to say anything new
REFRESH_S = 0.1
LIVE_S = 600.0  # of a camera: what is seen is kept for the film, 1 MB a second
HIGHEST_DOMAIN = 101  # above it, ports fall among those that Linux hands out to anyone


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run ``cs3d demo``; return the exit status."""
    args = _parser().parse_args(argv)
    source = args.webcam or args.recording or args.video or SHIPPED + '.aedat4'
    # What is wrong with it is said before anything starts.
    with open_frames(source) if args.webcam else open_source(source):
        pass
    try:
        os.makedirs(args.out, exist_ok=True)
    except OSError as error:
        raise Cs3dError('--out {} cannot be made: {}'.format(args.out, error)) from error
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ['ROS_DOMAIN_ID'] = str(free_domain())
    os.environ.setdefault('ROS_LOG_DIR', os.path.join(os.path.abspath(args.out), 'log'))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.update(bringup.ros_environment())
    observer = watch(source, args.bundle, os.path.join(args.out, 'nodes.log'), bool(args.webcam))
    truth = [] if args.webcam else read_truth(source, observer.start_ns)
    title = os.path.basename(os.path.abspath(source))
    if camera_index(source) is not None:
        title = 'camera {}'.format(camera_index(source))
    timeline = os.path.join(args.out, 'timeline.png')
    draw_timeline(timeline, timeline_rows(observer), observer.classes, truth, title)
    film = os.path.join(args.out, 'demo.mp4')
    write_film(film, observer)
    print('\n'.join(summary(observer, title, truth) + [film, timeline]))
    return 0


def watch(source: str, bundle: Optional[str], log: str, is_live: bool = False) -> Observer:
    """
    Play a source through the graph; return what was to be seen, once it is at its end.

    A live one ends by Ctrl-C as well, and after ten minutes.
    """
    if is_live:
        nodes = bringup.nodes_for(None, bundle, webcam=source)
    else:
        nodes = bringup.nodes_for(source, bundle)
        nodes['player']['wait_for'] = 2  # preprocessing, and we
    if source == SHIPPED + '.aedat4':
        # a rendered face, as those that taught the network: on it, all expressions are proven
        nodes['inference']['name_unproven'] = True
    rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    try:
        observer = Observer()
        observer.get_logger().set_level(LoggingSeverity.WARN)  # the view is for what is seen
        executor = SingleThreadedExecutor()
        executor.add_node(observer)
        with bringup.Graph(
            nodes, environment=dict(os.environ), log=log
        ) as graph, open_view() as view:
            try:
                _spin(executor, observer, graph, view, LIVE_S if is_live else float('inf'))
            except KeyboardInterrupt:
                if not (is_live and observer.moments):
                    raise
        observer.finish()
        observer.destroy_node()
    finally:
        rclpy.try_shutdown()
    return observer


def _spin(executor, observer: Observer, graph, view, longest_s: float = float('inf')) -> None:
    shown_s = ended_s = 0.0
    position, moved_s = None, time.monotonic()
    end_s = moved_s + longest_s
    while not ended_s or not _has_settled(observer, ended_s):
        executor.spin_once(timeout_sec=0.05)
        now_s = time.monotonic()
        if now_s - shown_s >= REFRESH_S:
            shown_s = now_s
            graph.check()
            _check_statuses(observer)
            view.show(observer)
        if not ended_s and (observer.is_over or now_s > end_s):
            ended_s = now_s
        # How long it will take is not known of every recording: as long as it goes on.
        before, position = position, observer.position
        moved_s = now_s if position != before else moved_s
        if not ended_s and now_s - moved_s > START_S:
            raise bringup.BringupError(
                'the source stands still for {:.0f} s: {}'.format(START_S, _words(observer))
            )


def _has_settled(observer: Observer, ended_s: float) -> bool:
    """Whether the last periods were answered, and counted on /diagnostics."""
    told_s = min(observer.heard_s.get(node, 0.0) for node in ('preprocessing', 'inference'))
    elapsed_s = time.monotonic() - ended_s
    return elapsed_s > LINGER_S and (told_s > ended_s + 0.5 * LINGER_S or elapsed_s > 3 * LINGER_S)


def _check_statuses(observer: Observer) -> None:
    for node, (level, words, _) in observer.statuses.items():
        if level >= 2:
            raise Cs3dError('{}: {}'.format(node, words))


def _words(observer: Observer) -> str:
    return (
        '; '.join(
            '{}: {}'.format(node, words)
            for node, (_, words, _) in sorted(observer.statuses.items())
        )
        or 'all silent'
    )


def read_truth(source: str, start_ns: int = 0) -> List[Tuple[float, float, str]]:
    """
    Return (start_s, end_s, expression) from the JSON file beside a recording, if there.

    Parameters
    ----------
    source : str
        The recording.
    start_ns : int
        Sensor time that the seconds count from.
    """
    path = os.path.splitext(source)[0] + '.json'
    if not os.path.isfile(path):
        return []
    try:
        with open(path) as file:
            segments = json.load(file)['segments']
        return [
            (
                (segment['onset_start_ns'] - start_ns) * 1e-9,
                (segment['offset_end_ns'] - start_ns) * 1e-9,
                segment['expression'],
            )
            for segment in segments
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise Cs3dError('{} is no truth of a recording: {!r}'.format(path, error)) from error


def timeline_rows(observer: Observer) -> List[TimelineRow]:
    """Return a row per period: what was believed at its end, and whether a face was there."""
    unknown = Emotion(0, '', 0.0, 0.0, 0.0, (float('nan'),) * len(observer.classes))
    rows = []
    for moment in observer.moments:
        face, _, emotion = observer.at(moment.end_ns)
        rows.append(
            TimelineRow(
                (moment.end_ns - observer.start_ns) * 1e-9,
                emotion or unknown,
                face is not None,
                moment.events * 1e9 / PERIOD_NS,
            )
        )
    return rows


def write_film(path: str, observer: Observer) -> None:
    """Write events, face square and bars side by side as H.264."""
    with VideoWriter(path, 1e9 / PERIOD_NS) as film:
        for moment in observer.moments:
            face, box, emotion = observer.at(moment.end_ns)
            text = '{:5.2f} s'.format((moment.end_ns - observer.start_ns) * 1e-9)
            film.write(draw_panel(moment.picture(), box, face, observer.classes, emotion, text))


def summary(observer: Observer, title: str, truth: Sequence) -> List[str]:
    """Return the lines that sum up a run."""
    moments = observer.moments
    duration_s = len(moments) * PERIOD_NS * 1e-9
    with_face = sum(observer.at(moment.end_ns)[0] is not None for moment in moments)
    engine = observer.statuses.get('inference', (0, '', {}))[2]
    events = observer.statuses.get('preprocessing', (0, '', {}))[2]
    lines = [
        '',
        '{}: {:.1f} s, {:,} events ({:.2f} M/s), {} messages lost'.format(
            title,
            duration_s,
            observer.counts['events'],
            observer.counts['events'] * 1e-6 / max(duration_s, 1e-9),
            events.get('messages_lost', '?'),
        ),
        'face in {} of {} periods; {} answers, {} runs of the network, {} skipped as still'.format(
            with_face,
            len(moments),
            len(observer.emotions),
            engine.get('inferences', '?'),
            engine.get('skipped', '?'),
        ),
        'said:  ' + _story(_named(observer)),
    ]
    if truth:
        lines.append('truth: ' + _story([(start, name) for start, _, name in truth]))
        found = [name for start, end, name in truth if _was_named(observer, start, end, name)]
        lines.append(
            '{} of {} expressions were named while shown{}'.format(
                len(found), len(truth), ': ' + ', '.join(found) if found else ''
            )
        )
    if observer.latencies_ms:
        lines.append(
            'latency from the end of a period to its answer here: median {:.0f} ms, '
            '95 % below {:.0f} ms'.format(*np.percentile(observer.latencies_ms, (50, 95)))
        )
    lines.append(_power_line(observer))
    return lines


def _named(observer: Observer) -> List[Tuple[float, str]]:
    """Return when which expression was first named."""
    named = []
    for emotion, t_ns in observer.timed_emotions():
        if not named or named[-1][1] != emotion.expression:
            named.append(((t_ns - observer.start_ns) * 1e-9, emotion.expression))
    return named


def _was_named(observer: Observer, start_s: float, end_s: float, name: str) -> bool:
    return any(
        emotion.expression == name and start_s <= (t_ns - observer.start_ns) * 1e-9 < end_s
        for emotion, t_ns in observer.timed_emotions()
    )


def _story(changes: Sequence[Tuple[float, str]]) -> str:
    return ', '.join('{:.1f} s {}'.format(*change) for change in changes) or 'nothing'


def _power_line(observer: Observer) -> str:
    watts: Dict[str, List[float]] = observer.watts
    if TOTAL not in watts:
        return 'power: {}'.format(observer.statuses.get('power', (0, 'not measured', {}))[1])
    line = 'power: {:.2f} W on average'.format(np.mean(watts[TOTAL]))
    if 'energy_per_inference' in watts:
        line += ', {:.3g} J per inference above idle'.format(
            np.mean(watts['energy_per_inference'])
        )
    return line


def free_domain() -> int:
    """Return a ROS domain whose discovery port nobody on this machine listens to."""
    domains = list(range(1, HIGHEST_DOMAIN + 1))
    random.shuffle(domains)
    for domain in domains:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', 7400 + 250 * domain))  # RTPS 2.5, 9.6.2.3: PB + DG * domain
                return domain
            except OSError:
                continue
    raise bringup.BringupError('every ROS domain is in use: end what runs')


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='cs3d demo', description='Play a face over DDS and watch the graph answer.'
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        '--recording', metavar='FILE', help='event recording ({})'.format(READABLE)
    )
    source.add_argument('--video', metavar='FILE', help='video of a face')
    source.add_argument('--webcam', metavar='N', help=bringup.WEBCAM_HELP + '; Ctrl-C ends it')
    parser.add_argument('--bundle', metavar='ONNX', help='network; the shipped one by default')
    parser.add_argument('--out', default='demo_out', metavar='FOLDER', help='(%(default)s)')
    return parser


if __name__ == '__main__':
    sys.exit(main())

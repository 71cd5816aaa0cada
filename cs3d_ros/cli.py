"""The ``cs3d`` command."""

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import sys
from typing import List, Optional

from cs3d_ros import Cs3dError, __version__
from cs3d_ros.draw import TimelineRow, draw_timeline
from cs3d_ros.events import Cleaner, CleaningSettings, write_recording
from cs3d_ros.events.recordings import READABLE, WRITABLE
from cs3d_ros.face import Box
from cs3d_ros.files import whole_file
from cs3d_ros.inference import SHIPPED_BUNDLE, open_engine
from cs3d_ros.pipeline import recognize
from cs3d_ros.render import KINDS, RenderSettings, render
from cs3d_ros.simulator import PixelSettings, Video, open_source, simulate_video

NS_PER_S = 1e9
PRINT_EVERY_S = 0.5
INFO_BATCH = 1 << 18  # events: large enough for few steps, small enough for the cache
_ROS_COMMANDS = {'up': 'cs3d_ros.nodes.bringup', 'demo': 'cs3d_ros.nodes.demo'}


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command; return its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    is_whole = '--traceback' in argv
    argv = [word for word in argv if word != '--traceback']
    # ROS is imported for these alone, and their options are theirs
    if argv and argv[0] in _ROS_COMMANDS:
        return _guarded(lambda: _run_ros(argv[0], argv[1:]), is_whole)
    args = _parser().parse_args(argv)
    return _guarded(lambda: args.action(args), is_whole)


def _guarded(action, is_whole: bool) -> int:
    """Run an action; say in one line, or in whole, what goes wrong."""
    try:
        return action() or 0
    except Cs3dError as error:
        if is_whole:
            raise
        print('cs3d: {}'.format(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader has left; without this the interpreter would complain while it closes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the edge of the program
        if is_whole:
            raise
        print(
            'cs3d: unexpected {}: {} (--traceback shows where: please report it)'.format(
                type(error).__name__, error
            ),
            file=sys.stderr,
        )
        return 1


def _run_ros(command: str, argv: List[str]) -> int:
    if importlib.util.find_spec('rclpy') is None:
        raise Cs3dError(
            'cs3d {} needs ROS 2: source a distribution, or use the .venv that make demo sets '
            'up'.format(command)
        )
    return importlib.import_module(_ROS_COMMANDS[command]).main(argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='cs3d',
        description='See from events alone what a face expresses.',
        epilog='Recordings: {}.'.format(READABLE),
    )
    parser.add_argument('--version', action='version', version=__version__)
    parser.add_argument(
        '--traceback', action='store_true', help='show where an error arose, not one line'
    )
    commands = parser.add_subparsers(metavar='COMMAND', dest='command')
    commands.required = True  # as a keyword it needs Python 3.7

    run = commands.add_parser('run', help='recording or video to emotions over time')
    run.add_argument('recording', help='event recording, or a video to make events of')
    run.add_argument('-o', '--output', metavar='PNG', help='draw a timeline')
    run.add_argument('--jsonl', metavar='FILE', help='write a line of JSON per estimate')
    run.add_argument(
        '--bundle',
        default=SHIPPED_BUNDLE,
        metavar='ONNX',
        help='network to use; the one that the package ships by default',
    )
    run.add_argument(
        '--roi',
        type=float,
        nargs=4,
        metavar=('X', 'Y', 'WIDTH', 'HEIGHT'),
        help='box of the face in sensor pixels, instead of looking for it',
    )
    cleaning = run.add_argument_group('cleaning', 'events to leave out; none by default')
    cleaning.add_argument(
        '--background-activity',
        type=float,
        default=0.0,
        metavar='MS',
        help='those that no neighbouring pixel preceded within this time: noise',
    )
    cleaning.add_argument(
        '--hot-pixels', action='store_true', help='those of pixels that fire by themselves'
    )
    cleaning.add_argument(
        '--flicker',
        type=float,
        default=0.0,
        metavar='HZ',
        help='those of lamps of this rate, which is twice the mains: 100 or 120',
    )
    run.set_defaults(action=_run)

    info = commands.add_parser('info', help='what a recording or video holds')
    info.add_argument('file')
    info.add_argument('--json', action='store_true', help='print one JSON object')
    info.set_defaults(action=_info)

    convert = commands.add_parser(
        'convert',
        help='recording of one format to another',
        description='Write the events of a recording, or of a video, to another format.',
        epilog='Reads {}.'.format(READABLE),
    )
    convert.add_argument('input', help='event recording, or a video to make events of')
    convert.add_argument('output', help='{}, or a new folder for a bag of ROS 2'.format(WRITABLE))
    convert.add_argument('--start', type=float, default=0.0, metavar='S', help='where to begin')
    convert.add_argument('--end', type=float, metavar='S', help='where to end')
    convert.set_defaults(action=_convert)

    simulate = commands.add_parser('simulate', help='video to events')
    simulate.add_argument('video')
    simulate.add_argument(
        '-o',
        '--output',
        required=True,
        metavar='FILE',
        help='recording to write ({}, or a folder)'.format(WRITABLE),
    )
    simulate.add_argument(
        '--size',
        type=_size,
        metavar='WIDTHxHEIGHT',
        help="sensor size; the video's own by default",
    )
    simulate.add_argument(
        '--on-threshold',
        type=float,
        default=PixelSettings().on_threshold,
        help='log intensity per ON event (default: %(default)s)',
    )
    simulate.add_argument(
        '--off-threshold',
        type=float,
        default=PixelSettings().off_threshold,
        help='log intensity per OFF event (default: %(default)s)',
    )
    simulate.set_defaults(action=_simulate)

    _add_render(commands)
    commands.add_parser('up', add_help=False, help='start the ROS 2 nodes without ros2 launch')
    commands.add_parser('demo', add_help=False, help='play a face over DDS and watch the graph')
    return parser


def _add_render(commands):
    defaults = RenderSettings()
    parser = commands.add_parser('render', help='recording or video to a video of its events')
    parser.add_argument('recording', help='event recording, or a video to make events of')
    parser.add_argument(
        '-o',
        '--output',
        required=True,
        metavar='FILE',
        help='.mp4, .gif, or .png for the busiest picture alone',
    )
    parser.add_argument(
        '--kind',
        choices=sorted(KINDS),
        default=defaults.kind,
        help='counts: ON blue, OFF orange; events: grey, as the network reads them; surface: '
        'events that fade (default: %(default)s)',
    )
    for name, unit, text in (
        ('fps', 'HZ', 'pictures per second'),
        ('speed', 'X', '0.1 is slow motion'),
        ('start', 'S', 'where to begin'),
        ('end', 'S', 'where to end'),
    ):
        default = getattr(defaults, name if name in defaults._fields else name + '_s')
        shown = '' if default is None else ' (default: %(default)s)'
        parser.add_argument(
            '--' + name, type=float, default=default, metavar=unit, help=text + shown
        )
    parser.set_defaults(action=_render)


def _size(text: str):
    width, _, height = text.partition('x')
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError('expected WIDTHxHEIGHT such as 346x260, got ' + text)
    return int(width), int(height)


def _run(args):
    engine = open_engine(args.bundle)
    classes = engine.bundle.classes
    if args.roi and not (args.roi[2] > 0 and args.roi[3] > 0):
        raise Cs3dError('--roi needs a width and a height above 0, got {}'.format(args.roi))
    cleaning = _cleaning(args)
    rows = []
    last_print = None
    events = cleaned = 0
    roi = Box(*args.roi) if args.roi else None
    with open_source(args.recording) as recording, whole_file(
        args.jsonl
    ) as jsonl, _progress() as progress:
        for frame, emotion in recognize(recording, engine, roi, cleaning=cleaning):
            events, cleaned = events + frame.events + frame.cleaned, cleaned + frame.cleaned
            t_s = (frame.t_ns - recording.start_ns) / NS_PER_S
            progress(recording.progress)
            if emotion is None:
                continue
            rows.append(
                TimelineRow(
                    t_s,
                    emotion,
                    frame.track is not None,
                    frame.events * NS_PER_S / engine.bundle.period_ns,
                )
            )
            if jsonl:
                jsonl.write(json.dumps(_estimate(t_s, frame, emotion, classes)) + '\n')
            state = emotion.expression, frame.track is not None
            if last_print is None or state != last_print[0] or t_s >= last_print[1]:
                print(_line(t_s, frame, emotion), flush=True)
                last_print = state, t_s + PRINT_EVERY_S
    if cleaning != CleaningSettings():
        print('cleaning dropped {:,} of {:,} events'.format(cleaned, events))
    if args.output:
        draw_timeline(args.output, rows, classes, title=os.path.basename(args.recording))


def _cleaning(args) -> CleaningSettings:
    try:
        settings = CleaningSettings(
            hot_pixels=args.hot_pixels,
            flicker_hz=args.flicker,
            background_activity_ns=round(args.background_activity * 1e6),
        )
        Cleaner(1, 1, settings)  # says what is out of range before the recording is read
    except (ValueError, OverflowError) as error:  # NaN and infinity have no whole number
        raise Cs3dError('cleaning cannot be set so: {}'.format(error)) from error
    return settings


def _estimate(t_s, frame, emotion, classes):
    return {
        't': round(t_s, 6),
        'expression': emotion.expression,
        'confidence': round(emotion.confidence, 6),
        'valence': round(emotion.valence, 6),
        'arousal': round(emotion.arousal, 6),
        'probabilities': {
            name: round(value, 6) for name, value in zip(classes, emotion.probabilities)
        },
        'face': [round(float(side), 2) for side in frame.track.box] if frame.track else None,
    }


def _line(t_s, frame, emotion):
    if frame.track is None:
        return '{:7.2f} s  no face'.format(t_s)
    bar = '#' * round(20 * emotion.confidence)
    return '{:7.2f} s  {:<10} {:3.0f} %  {:<20}  valence {:+.2f}  arousal {:+.2f}'.format(
        t_s, emotion.expression, 100 * emotion.confidence, bar, emotion.valence, emotion.arousal
    )


def _info(args):
    on = count = 0
    first_ns = last_ns = None
    with open_source(args.file) as recording, _progress() as progress:
        for batch in recording.batches(count=INFO_BATCH):
            count += len(batch)
            on += batch.on_count
            first_ns = int(batch.t[0]) if first_ns is None else first_ns
            last_ns = int(batch.t[-1])
            progress(recording.progress)
    if not count:
        raise Cs3dError('{} holds no events'.format(args.file))
    duration_s = (last_ns - first_ns) / NS_PER_S
    facts = {
        'file': recording.path,
        'type': recording.kind,
        'width': recording.width,
        'height': recording.height,
        'start_s': first_ns / NS_PER_S,
        'duration_s': duration_s,
        'events': count,
        'on': on,
        'off': count - on,
        'events_per_s': round(count / duration_s) if duration_s else count,
        'dropped': recording.out_of_bounds + recording.time_reversed,
        'malformed': recording.malformed,
        'is_cut': recording.is_cut,
    }
    if args.json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        print('{:<14}{}'.format(name, value))


def _convert(args):
    if args.start < 0 or (args.end is not None and args.end <= args.start):
        raise Cs3dError('--start must be 0 s or later, and --end after it')
    with open_source(args.input) as recording, _progress() as progress:
        start_ns, end_ns = (
            None if not at_s else recording.start_ns + round(at_s * NS_PER_S)
            for at_s in (args.start, args.end)
        )

        def batches():
            for batch in recording.batches(start_ns=start_ns, end_ns=end_ns):
                progress(recording.progress)
                yield batch

        count = write_recording(args.output, batches(), recording.width, recording.height)
    dropped = recording.out_of_bounds + recording.time_reversed
    print(
        '{}: {} events of {} x {} pixels{}'.format(
            args.output,
            count,
            recording.width,
            recording.height,
            ', {} dropped'.format(dropped) if dropped else '',
        )
    )


def _render(args):
    settings = RenderSettings(args.kind, args.fps, args.speed, args.start, args.end)
    with open_source(args.recording) as recording, _progress() as progress:
        count = render(recording, args.output, settings, progress)
    print('{}: {} pictures of {}'.format(args.output, count, args.kind))


def _simulate(args):
    settings = PixelSettings(args.on_threshold, args.off_threshold)
    with Video(args.video) as video:
        info = video.info
    width, height = args.size or (info.width, info.height)
    end_s = max(info.frame_count / info.fps, 1e-3)
    with _progress() as progress:

        def batches():
            try:
                for batch in simulate_video(args.video, (width, height), settings):
                    if len(batch):
                        progress(int(batch.t[-1]) / NS_PER_S / end_s)
                    yield batch
            except ValueError as error:  # thresholds and size come from the user
                raise Cs3dError(str(error)) from error

        count = write_recording(args.output, batches(), width, height)
    print('{}: {} events of {} x {} pixels'.format(args.output, count, width, height))


@contextlib.contextmanager
def _progress():
    """Show a bar on a terminal; yields the function to call with the share that is done."""
    if not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        BarColumn(),
        TextColumn('{task.percentage:>3.0f} %'),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task('', total=1.0)
        yield lambda share: progress.update(task, completed=min(share, 1.0))


if __name__ == '__main__':
    sys.exit(main())

"""``cs3d run``: a recording or video to emotions over time."""

import json
import os

from cs3d_ros import Cs3dError
from cs3d_ros.cli.engines import add_engine_options, tell
from cs3d_ros.cli.options import number
from cs3d_ros.cli.progress import progress_bar
from cs3d_ros.cli.recordings import losses
from cs3d_ros.cli.streams import settle_output
from cs3d_ros.draw import TimelineRow, check_timeline, draw_timeline
from cs3d_ros.events import Cleaner, CleaningSettings
from cs3d_ros.face import Box
from cs3d_ros.files import check_apart, check_writable, whole_file
from cs3d_ros.inference import SHIPPED_BUNDLE, open_engine
from cs3d_ros.pipeline import recognize
from cs3d_ros.simulator import open_source

NS_PER_S = 1e9
PRINT_EVERY_S = 0.5


def add(commands) -> None:
    """Add the command to the subparsers."""
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
        type=number,
        nargs=4,
        metavar=('X', 'Y', 'WIDTH', 'HEIGHT'),
        help='box of the face in sensor pixels, instead of looking for it',
    )
    run.add_argument(
        '--name-unproven',
        action='store_true',
        help='name expressions, too, that the card of the bundle calls unproven on real people',
    )
    add_engine_options(run)
    cleaning = run.add_argument_group('cleaning', 'events to leave out; none by default')
    cleaning.add_argument(
        '--background-activity',
        type=number,
        default=0.0,
        metavar='MS',
        help='those that no neighbouring pixel preceded within this time: noise',
    )
    cleaning.add_argument(
        '--hot-pixels', action='store_true', help='those of pixels that fire by themselves'
    )
    cleaning.add_argument(
        '--flicker',
        type=number,
        default=0.0,
        metavar='HZ',
        help='those of lamps of this rate, which is twice the mains: 100 or 120',
    )
    run.set_defaults(action=_run)


def _run(args):
    if args.roi and not (args.roi[2] > 0 and args.roi[3] > 0):
        raise Cs3dError('--roi needs a width and a height above 0, got {}'.format(args.roi))
    check_apart(args.recording, args.jsonl, args.output)
    if args.jsonl:
        check_writable(args.jsonl)
    if args.output:
        check_timeline(args.output)
    cleaning = _cleaning(args)
    engine = open_engine(
        args.bundle,
        backend=args.backend,
        precision=args.precision,
        cache=args.engine_cache,
        tell=tell,
    )
    classes = engine.bundle.classes
    rows = []
    last_print = None
    events = cleaned = 0
    roi = Box(*args.roi) if args.roi else None
    settings = engine.bundle.settling._replace(name_unproven=args.name_unproven)
    with open_source(args.recording) as recording, whole_file(
        args.jsonl
    ) as jsonl, progress_bar() as progress:
        for text in filter(None, (engine.reason, engine.fault)):
            tell(text)
        for frame, emotion in recognize(recording, engine, roi, settings, cleaning):
            events, cleaned = events + frame.events + frame.cleaned, cleaned + frame.cleaned
            t_s = (frame.t_ns - recording.start_ns) / NS_PER_S
            progress(recording.progress)
            if emotion is None:
                continue
            if args.output:
                rate_hz = frame.events * NS_PER_S / engine.bundle.period_ns
                rows.append(TimelineRow(t_s, emotion, frame.track is not None, rate_hz))
            if jsonl:
                jsonl.write(json.dumps(_estimate(t_s, frame, emotion, classes)) + '\n')
            state = emotion.expression, frame.track is not None
            if last_print is None or state != last_print[0] or t_s >= last_print[1]:
                _print(_line(t_s, frame, emotion), args.jsonl or args.output)
                last_print = state, t_s + PRINT_EVERY_S
    if cleaning != CleaningSettings():
        print('cleaning dropped {:,} of {:,} events'.format(cleaned, events))
    if losses(recording):
        print('{}: {}'.format(recording.path, losses(recording)))
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
    except ValueError as error:
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


def _print(line, has_files):
    try:
        print(line, flush=True)
    except BrokenPipeError:  # the reader has left, but may want the files
        if not has_files:
            raise
        settle_output()


def _line(t_s, frame, emotion):
    if frame.track is None:
        return '{:7.2f} s  no face'.format(t_s)
    bar = '#' * round(20 * emotion.confidence)
    return '{:7.2f} s  {:<10} {:3.0f} %  {:<20}  valence {:+.2f}  arousal {:+.2f}'.format(
        t_s, emotion.expression, 100 * emotion.confidence, bar, emotion.valence, emotion.arousal
    )

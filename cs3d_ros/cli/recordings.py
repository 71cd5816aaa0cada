"""``cs3d info``, ``convert`` and ``render``: what is done with a recording or video as it is."""

import json

from cs3d_ros import Cs3dError
from cs3d_ros.cli.options import number
from cs3d_ros.cli.progress import progress_bar
from cs3d_ros.events import write_recording
from cs3d_ros.events.recordings import READABLE, WRITABLE
from cs3d_ros.files import check_apart
from cs3d_ros.render import KINDS, RenderSettings, render
from cs3d_ros.simulator import open_source

NS_PER_S = 1e9
INFO_BATCH = 1 << 18  # events: large enough for few steps, small enough for the cache


def add(commands) -> None:
    """Add the commands to the subparsers."""
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
    convert.add_argument('--start', type=number, default=0.0, metavar='S', help='where to begin')
    convert.add_argument('--end', type=number, metavar='S', help='where to end')
    convert.set_defaults(action=_convert)

    _add_render(commands)


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
            '--' + name, type=number, default=default, metavar=unit, help=text + shown
        )
    parser.set_defaults(action=_render)


def _info(args):
    on = count = 0
    first_ns = last_ns = None
    with open_source(args.file) as recording, progress_bar() as progress:
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
        'clock_resets': recording.clock_resets,
        'is_cut': recording.is_cut,
    }
    if args.json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        print('{:<14}{}'.format(name, value))


def losses(recording) -> str:
    """Return in words what the last pass over a recording did not hand on as it is; or nothing."""
    counts = (
        ('events dropped', recording.out_of_bounds + recording.time_reversed),
        ('malformed messages', recording.malformed),
        ('clock resets', recording.clock_resets),
    )
    told = ['{}: {:,}'.format(*each) for each in counts if each[1]]
    return ', '.join(told + ['cut off at its end'] * recording.is_cut)


def _convert(args):
    if args.start < 0 or (args.end is not None and args.end <= args.start):
        raise Cs3dError('--start must be 0 s or later, and --end after it')
    check_apart(args.input, args.output)
    with open_source(args.input) as recording, progress_bar() as progress:
        start_ns, end_ns = (
            None if not at_s else recording.start_ns + round(at_s * NS_PER_S)
            for at_s in (args.start, args.end)
        )

        def batches():
            for batch in recording.batches(start_ns=start_ns, end_ns=end_ns):
                progress(recording.progress)
                yield batch

        count = write_recording(args.output, batches(), recording.width, recording.height)
    told = '{}: {} events of {} x {} pixels'.format(
        args.output, count, recording.width, recording.height
    )
    print(', '.join(filter(None, (told, losses(recording)))))


def _render(args):
    check_apart(args.recording, args.output)
    settings = RenderSettings(args.kind, args.fps, args.speed, args.start, args.end)
    with open_source(args.recording) as recording, progress_bar() as progress:
        count = render(recording, args.output, settings, progress)
    told = '{}: {} pictures of {}'.format(args.output, count, args.kind)
    print(', '.join(filter(None, (told, losses(recording)))))

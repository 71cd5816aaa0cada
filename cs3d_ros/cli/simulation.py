"""``cs3d simulate``: a video, a folder of images or a camera to events."""

import argparse
import contextlib
import signal

from cs3d_ros import Cs3dError
from cs3d_ros.cli.options import number
from cs3d_ros.cli.progress import progress_bar
from cs3d_ros.events import write_recording
from cs3d_ros.events.recordings import WRITABLE
from cs3d_ros.simulator import (
    AUTO,
    OFF,
    PRESETS,
    SETTING_HELP,
    PixelSettings,
    camera_index,
    open_frames,
    simulate_frames,
)


def add(commands) -> None:
    """Add the command to the subparsers."""
    parser = commands.add_parser(
        'simulate',
        help='video, images or camera to events',
        description='Write what an event camera would have seen.',
    )
    parser.add_argument(
        'source',
        metavar='VIDEO',
        help='video file, folder of images, or number of a camera (until Ctrl-C)',
    )
    parser.add_argument(
        '-o',
        '--output',
        required=True,
        metavar='FILE',
        help='recording to write ({}, or a folder)'.format(WRITABLE),
    )
    parser.add_argument(
        '--size',
        type=_size,
        metavar='WIDTHxHEIGHT',
        help="of the sensor, to which frames are scaled; the video's own by default",
    )
    parser.add_argument('--fps', type=number, metavar='HZ', help='rate of a folder of images')
    parser.add_argument(
        '--upsample',
        type=_factor,
        default=AUTO,
        metavar='auto|off|N',
        help='frames to make of each by optical flow; auto, the default, makes as many as the '
        'motion needs where a video is slower than 100 fps',
    )
    parser.add_argument('--seed', type=int, default=0, help='of mismatch and noise (%(default)s)')
    parser.add_argument(
        '--preset', choices=list(PRESETS), default='ideal', help='sensor (default: %(default)s)'
    )
    pixel = parser.add_argument_group('pixel', 'in place of what the preset says')
    for name, (unit, text) in SETTING_HELP.items():
        _add_setting(pixel, name, unit, text)
    parser.set_defaults(action=_simulate)


def _add_setting(group, name, unit, text):
    option = '--' + name.replace('_', '-')
    text = text.replace('%', '%%')  # which argparse would fill in
    if isinstance(getattr(PixelSettings(), name), bool):
        group.add_argument(option, action='store_const', const=True, help=text)
    else:
        metavar = unit.upper() or 'X'
        group.add_argument(option, type=number, metavar=metavar, help=text)


def _size(text: str):
    width, _, height = text.partition('x')
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError('expected WIDTHxHEIGHT such as 346x260, got ' + text)
    return int(width), int(height)


def _factor(text: str) -> int:
    if text in ('auto', 'off'):
        return AUTO if text == 'auto' else OFF
    if not (text.isdigit() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError('expected auto, off or 1 to 1000, got ' + text)
    return int(text)


def _simulate(args):
    given = {name: getattr(args, name) for name in SETTING_HELP}
    given = {name: value for name, value in given.items() if value is not None}
    settings = PRESETS[args.preset]._replace(**given)
    with open_frames(args.source, args.fps) as frames, progress_bar() as progress, _interrupt(
        args.source
    ) as is_interrupted:
        width, height = args.size or frames.info[:2]

        def batches():
            try:
                for batch in simulate_frames(
                    frames, (width, height), settings, args.seed, args.upsample
                ):
                    if len(batch) and frames.info.end_ns:
                        progress(int(batch.t[-1]) / frames.info.end_ns)
                    yield batch
                    if is_interrupted():
                        return
            except ValueError as error:  # settings and size come from the user
                raise Cs3dError(str(error)) from error

        count = write_recording(args.output, batches(), width, height)
    print('{}: {} events of {} x {} pixels'.format(args.output, count, width, height))


@contextlib.contextmanager
def _interrupt(source):
    """Yield whether Ctrl-C was pressed; a camera has no other end, and what it saw is kept."""
    if camera_index(source) is None:
        yield lambda: False
        return
    pressed = []
    previous = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        print('Ctrl-C ends the recording', flush=True)
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, previous)

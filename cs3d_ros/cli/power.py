"""``cs3d power``: watts now, joules of a command, the idle power to compare with."""

import argparse
import math
import signal
import subprocess
import sys
import time

from cs3d_ros import Cs3dError
from cs3d_ros.power import (
    SAMPLE_S,
    TOTAL,
    PowerError,
    default_path,
    load_idle,
    measure_idle,
    measure_while,
    open_meter,
    prepare_idle,
    read_conditions,
    store_idle,
    total_unknown,
)

LINE_S = 1.0  # time that a line of watts stands for


def add(commands) -> None:
    """Add the command to the subparsers."""
    parser = commands.add_parser(
        'power',
        help='watts of this machine, joules of a command',
        usage='cs3d power [--seconds N] [--idle N] [--idle-file FILE] [--root DIR] [-- COMMAND]',
        description='Print the watts of every rail and their total, each second until Ctrl-C; or '
        'run a command, print to stderr what joules it took, and end with its exit status.',
    )
    parser.add_argument('--seconds', type=_seconds, metavar='N', help='end after so many')
    parser.add_argument(
        '--idle',
        type=_seconds,
        metavar='N',
        help='measure for N seconds what the machine draws when it does nothing, 30 is well, and '
        'keep it: what is drawn above it is the cost of work',
    )
    parser.add_argument(
        '--idle-file', metavar='FILE', help='where that is kept (default: {})'.format(_shown())
    )
    parser.add_argument(
        '--root', default='/', metavar='DIR', help='folder that holds the sys tree (default: /)'
    )
    parser.add_argument('words', nargs='...', metavar='COMMAND')
    parser.set_defaults(action=_power)


def _shown() -> str:
    return default_path().replace('%', '%%')  # argparse would format it


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError('seconds above 0 are expected, got {}'.format(text))
    return value


def _power(args) -> int:
    command = args.words[1:] if args.words[:1] == ['--'] else args.words
    if bool(command) + bool(args.idle) + bool(args.seconds) > 1:
        raise Cs3dError('--seconds, --idle and a command exclude one another: give one of them')
    meter = open_meter(args.root)
    for problem in meter.problems:
        _say('not usable: ' + problem)
    path = args.idle_file or default_path()
    if args.idle:
        return _keep_idle(meter, args.idle, args.root, path)
    if command:
        return _run(meter, command, args.root, path)
    return _watch(meter, args.seconds)


def _keep_idle(meter, seconds: float, root: str, path: str) -> int:
    prepare_idle(path)
    _say('measuring for {:g} s what the machine draws idle: leave it alone'.format(seconds))
    idle = measure_idle(seconds, meter, root)
    store_idle(idle, path)
    print(
        '{:.3f} W by {}, {:.3f} W standard deviation of {} readings in {:.1f} s'.format(
            idle.watts, ' + '.join(idle.basis), idle.stddev, idle.readings, idle.seconds
        )
    )
    known = [pair for pair in zip(idle.conditions._fields, idle.conditions) if pair[1]]
    print('kept in {} for {}'.format(path, ', '.join('{} {}'.format(*pair) for pair in known)))
    return 0


def _run(meter, command, root: str, path: str) -> int:
    # Ctrl-C is for the command, which gets it from the terminal; then its joules are told.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status, window = measure_while(lambda: _call(command), meter)
    except OSError as error:
        raise Cs3dError('{} cannot be run: {}'.format(command[0], error)) from error
    finally:
        signal.signal(signal.SIGINT, before)
    if window.energy_j is None:
        _say('joules: ' + total_unknown(meter))
    else:
        _say(_sum(meter, window.seconds, window.energy_j))
        _say(_above_idle(meter, window, root, path))
    return status if status >= 0 else 128 - status  # as shells tell a signal


def _call(command) -> int:
    """Return the status of a command, which is told of a SIGTERM in our place."""
    started, asked = [], []

    def pass_on(number, _):
        asked.append(number)
        for process in started:
            process.send_signal(number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        with subprocess.Popen(command) as process:
            started.append(process)
            for number in asked[:1]:  # it came while the command was about to start
                process.send_signal(number)
            return process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


def _sum(meter, took_s: float, energy_j: float) -> str:
    return '{:.2f} s, {:.4g} J, {:.3f} W on average by {}'.format(
        took_s, energy_j, energy_j / took_s, ' + '.join(meter.basis)
    )


def _above_idle(meter, window, root: str, path: str) -> str:
    try:
        idle = load_idle(path)
    except PowerError as error:
        return 'above idle: not known, {}'.format(error)
    misfit = idle.misfit(meter.basis, read_conditions(root))
    if misfit:
        return 'above idle: not known, {}'.format(misfit)
    return 'above idle: {:.4g} J, where idle is {:.3f} W ({})'.format(
        idle.energy_above(window), idle.watts, idle.date
    )


def _watch(meter, seconds) -> int:
    took_s, energy_j, said = 0.0, 0.0, set()

    def add(window):
        nonlocal took_s, energy_j
        took_s += window.seconds
        energy_j += math.nan if window.energy_j is None else window.energy_j

    names = [TOTAL] + ['{}/{}'.format(s.name, rail) for s in meter.sources for rail in s.rails]
    print('  '.join(['      s'] + ['{:>10}'.format(name) for name in names]))
    try:
        for window in _windows(meter, seconds):
            add(window)
            cells = [_cell(name, window) for name in names]
            print('  '.join(['{:7.1f}'.format(took_s)] + cells))
            sys.stdout.flush()
            for complaint in set(meter.complaints()) - said:
                said.add(complaint)
                _say(complaint)
    except KeyboardInterrupt:
        meter.sample()
        if meter.seconds:  # since the last line
            add(meter.take())
    if not took_s or math.isnan(energy_j):
        _say('joules: ' + total_unknown(meter))
        return 1
    print(_sum(meter, took_s, energy_j))
    return 0


def _windows(meter, seconds):
    """Yield windows of a second, the last one shorter."""
    meter.take()
    end_s = time.monotonic() + (math.inf if seconds is None else seconds)
    while time.monotonic() < end_s:
        time.sleep(min(SAMPLE_S, max(0.0, end_s - time.monotonic())))
        meter.sample()
        if meter.seconds >= LINE_S:
            yield meter.take()
    if meter.seconds:
        yield meter.take()


def _cell(name: str, window) -> str:
    text = '{:.3f} W'.format(window.rails[name].average) if name in window.rails else '-'
    return text.rjust(max(10, len(name)))


def _say(text: str) -> None:
    print('cs3d: ' + text, file=sys.stderr)

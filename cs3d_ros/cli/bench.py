"""``cs3d bench``: what a bundle takes on this machine, and what it should take on another."""

import os
import platform

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.cli.engines import add_engine_options, tell
from cs3d_ros.inference import SHIPPED_BUNDLE, open_engine
from cs3d_ros.inference.engine import DEFAULT_THREADS
from cs3d_ros.inference.machines import HERE, MACHINES, machine_name
from cs3d_ros.inference.peaks import measure_here
from cs3d_ros.inference.roofline import counted_operators, predict
from cs3d_ros.inference.timing import repeated, time_runs
from cs3d_ros.power import PowerError, measure

SECONDS = 5.0
HEADER = '{:<28}{:>10}{:>12}{:>10}{:>12}{:>14}'
ROW = '{:<28}{:>10.2f}{:>12.2f}{:>10.2f}{:>12.2f}{:>14}'


def add(commands) -> None:
    """Add the command to the subparsers."""
    parser = commands.add_parser(
        'bench',
        help='time and energy of a bundle on this machine, or predicted for another',
        description='Measure a bundle on frames as sparse as event frames, run back to back.',
    )
    parser.add_argument(
        'bundle',
        nargs='?',
        default=SHIPPED_BUNDLE,
        metavar='BUNDLE',
        help='ONNX file; the one that the package ships by default',
    )
    parser.add_argument(
        '--seconds',
        type=float,
        default=SECONDS,
        metavar='N',
        help='of running, and as long again with --power (default: %(default)g)',
    )
    parser.add_argument(
        '--threads',
        type=int,
        default=DEFAULT_THREADS,
        metavar='N',
        help='of the engine (default: %(default)s)',
    )
    parser.add_argument(
        '--power',
        action='store_true',
        help='joules per inference above idle; the machine should do nothing else',
    )
    parser.add_argument(
        '--roofline',
        nargs='+',
        default=(),
        choices=[HERE, *MACHINES],
        metavar='MACHINE',
        help='predict from published peaks what it takes at best on these: {}; {} is this '
        'processor, whose peaks are measured'.format(', '.join(MACHINES), HERE),
    )
    add_engine_options(parser)
    parser.set_defaults(action=_bench)


def _bench(args):
    for name in ('seconds', 'threads'):
        if not 0 < getattr(args, name) < float('inf'):
            raise Cs3dError('--{} must be above 0, got {}'.format(name, getattr(args, name)))
    engine = open_engine(
        args.bundle, args.threads, args.backend, args.precision, args.engine_cache, tell
    )
    if engine.fault:
        tell(engine.fault)
    if args.roofline:
        counted_operators(engine.bundle)  # says what is missing before time is spent
    run = repeated(engine)
    print(_described(engine.bundle))
    print(_machine(engine, args.threads))
    timing = time_runs(run, args.seconds)
    print(
        'measured here: {:.2f} ms, median of {} runs; mean {:.2f}, 90 % of them {:.2f} to {:.2f}, '
        'worst {:.2f} ms'.format(
            1e3 * timing.median_s,
            timing.runs,
            *(1e3 * s for s in (timing.mean_s, timing.low_s, timing.high_s, timing.worst_s)),
        )
    )
    if args.power:
        print(_energy(run, args.seconds))
    if args.roofline:
        _print_roofline(engine.bundle, args, timing.median_s)


def _described(bundle):
    reads = (
        'a frame' if bundle.kind == 'stream' else 'a clip of {} frames'.format(bundle.clip_frames)
    )
    text = '{}: {} of {} x {} pixels'.format(
        os.path.basename(bundle.path), reads, bundle.size, bundle.size
    )
    if not bundle.operators:
        return text
    return '{}; {:.1f} M multiply-adds, {:.1f} M values moved by {} operators'.format(
        text,
        sum(operator.macs for operator in bundle.operators) / 1e6,
        sum(operator.values for operator in bundle.operators) / 1e6,
        len(bundle.operators),
    )


def _machine(engine, threads):
    return '{}, {} cores; Python {}, NumPy {}; {}, {} thread{}'.format(
        machine_name(),
        os.cpu_count(),
        platform.python_version(),
        np.__version__,
        engine.reason,
        threads,
        's' * (threads > 1),
    )


def _energy(run, seconds):
    try:
        energy = measure(run, seconds)
    except PowerError as error:
        return 'energy: not measured, {}'.format(error)
    return 'energy: {:.2f} mJ an inference above idle, {:.2f} W beside {:.2f} W, by {}'.format(
        1e3 * energy.joules, energy.busy_w, energy.idle_w, ' + '.join(energy.basis)
    )


def _print_roofline(bundle, args, measured_s):
    print('\npredicted at the peaks, which no machine reaches; not measured:')
    print(HEADER.format('', 'ms', 'arithmetic', 'memory', 'launches', 'mJ at budget'))
    for name in dict.fromkeys(args.roofline):
        machine = measure_here(args.threads) if name == HERE else MACHINES[name]
        found = predict(counted_operators(bundle), machine)
        energy = '-' if found.energy_j is None else '{:.1f}'.format(1e3 * found.energy_j)
        parts = (found.time_s, found.compute_s, found.memory_s, found.launch_s)
        title = HERE if name == HERE else machine.title
        print(ROW.format(title, *(1e3 * seconds for seconds in parts), energy))
        if name == HERE:
            print(
                '  {:.0f} GFLOP/s, {:.0f} GB/s, {:.2f} us an operator; measured here is {:.1f} '
                'times that'.format(
                    machine.flops / 1e9,
                    machine.bytes_per_s / 1e9,
                    1e6 * machine.launch_s,
                    measured_s / found.time_s,
                )
            )

"""
Commands that show what the networks are worth: ``python -m training.experiments COMMAND --help``.

Each may be stopped: finished trainings are kept, the same command does the rest.
"""

import argparse
import os
from pathlib import Path

from cs3d_ros import Cs3dError
from cs3d_ros.simulator import PRESETS
from training.experiments import real
from training.experiments.scale import Scale
from training.settings import PRECISIONS

DOCUMENT = Path('docs/results.md')
PARTS = ('ladder', 'costs', 'sensitivity', 'light')  # of `paper`, in the order of their worth
LONGER = 'longer'  # one more, for who can let the whole ladder learn for a short while only


def say(line):
    """Print a line at once."""
    print(line, flush=True)


def paper(options):
    """Train, measure, and write the document of what is there."""
    from training.experiments.document import write_document

    if options.parts:
        _run_parts(options)
    write_document(options.out, options.document)
    say('{} is written'.format(options.document))


def _run_parts(options):
    from training.experiments.grey import Grey
    from training.experiments.paper import Paper

    scale = scale_of(options)
    made = Paper(options.data, options.out, scale, options.workers, say)
    for part in options.parts:
        if part == 'light' and options.grey_clips:
            grey = Grey(options.data[0], options.out, scale, options.grey_clips, options.workers)
            made.light(grey)
        elif part == 'ladder':
            made.ladder(options.networks)
        else:
            getattr(made, part)()


def cross(options):
    """Train on each of two sets, test on both."""
    from training.experiments.paper import cross as train_and_test
    from training.experiments.paper import folder_name

    sets = {folder.name: folder for folder in (options.a, options.b)}
    if len(set(map(folder_name, sets))) < 2:
        raise Cs3dError(
            'A and B must have names that differ in letters or digits, got {!r} and {!r}: rename '
            'one of the folders'.format(options.a.name, options.b.name)
        )
    train_and_test(sets, options.out, scale_of(options), options.workers, say)


def folds(options):
    """Test every person of a small corpus once."""
    from training.experiments.folds import cross_validate

    scale = scale_of(options)
    cross_validate(options.data, options.out, scale, options.folds, options.workers, say)


def ablate(options):
    """Compare the variants."""
    from training.experiments.ablate import Ablation
    from training.experiments.variants import INGREDIENTS, LEARNING, SETTLING, ingredients

    known = LEARNING + SETTLING + ingredients(INGREDIENTS)
    left_out = INGREDIENTS if options.without == ['all'] else options.without
    usual = [variant.name for variant in LEARNING + SETTLING + ingredients(left_out)]
    names = options.variants or usual
    unknown = [name for name in names if name not in {variant.name for variant in known}]
    if unknown:
        raise Cs3dError(
            'there is no variant {}: choose of {}'.format(
                ', '.join(map(repr, unknown)), ', '.join(repr(variant.name) for variant in known)
            )
        )
    ablation = Ablation(options.data, options.out, scale_of(options), options.videos, say)
    ablation.run(known, options.clips, options.workers, names)


def watch(options):
    """Let a bundle watch real people."""
    real.run_real(
        options.bundle,
        options.videos,
        options.out,
        options.presets,
        options.background_activity,
        say,
    )


def scale_of(options) -> Scale:
    """Return how large the experiment is to be."""
    return Scale(**{name: getattr(options, name) for name in Scale._fields})


def _seeds(text):
    seeds = tuple(int(word) for word in text.split(','))
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError('seeds must differ, got {}'.format(text))
    return seeds


def _at_least(least, kind=int):
    """Return what reads a number that must not be smaller."""

    def read(text):
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError('{} is less than {:g}'.format(text, least))
        return value

    read.__name__ = kind.__name__  # argparse names it where a text is no number
    return read


def _add_scale(parser):
    s = Scale()
    group = parser.add_argument_group('scale', 'the same for all trainings')
    group.add_argument(
        '--width', type=_at_least(1 / 64, float), default=s.width, help='of all networks'
    )
    group.add_argument('--size', type=_at_least(16), default=s.size, help='of their frames, px')
    group.add_argument('--seeds', type=_seeds, default=s.seeds, metavar='1,2,3')
    group.add_argument('--epochs', type=_at_least(1), default=s.epochs)
    group.add_argument('--examples-per-epoch', type=_at_least(1), default=s.examples_per_epoch)
    group.add_argument('--batch', type=_at_least(1), default=s.batch, help='windows')
    group.add_argument(
        '--minutes',
        type=_at_least(0, float),
        default=s.minutes,
        help='at most, of each training; 0: no limit',
    )
    group.add_argument('--threads', type=_at_least(1), default=s.threads)
    group.add_argument('--loaders', type=_at_least(1), default=s.loaders)
    group.add_argument('--precision', choices=sorted(PRECISIONS), default=s.precision)


def _add_cutting(parser):
    parser.add_argument(
        '--variations',
        type=_at_least(0),
        default=0,
        metavar='N',
        help='sequences that a training clip is cut into once; 0: cut anew all the time',
    )
    parser.add_argument(
        '--workers', type=_at_least(1), default=os.cpu_count(), help='processes that draw and cut'
    )


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    p = argparse.ArgumentParser(
        prog='python -m training.experiments',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = p.add_subparsers(dest='command', required=True)

    c = commands.add_parser('paper', help='the ladder, its peers, their costs; docs/results.md')
    c.add_argument('data', type=Path, nargs='+', help='folders made by training.synthesize')
    c.add_argument('--out', type=Path, required=True, help='of trainings and results')
    c.add_argument(
        '--parts',
        nargs='*',
        choices=(*PARTS, LONGER),
        default=PARTS,
        help='all but longer by default; none: document only',
    )
    c.add_argument('--networks', nargs='+', metavar='NAME', help='rows of the ladder; all')
    c.add_argument('--document', type=Path, default=DOCUMENT)
    c.add_argument(
        '--grey-clips',
        type=_at_least(0),
        default=0,
        metavar='N',
        help='scenes drawn again for the grey camera, 1000 or more; 0: events alone',
    )
    _add_cutting(c)
    _add_scale(c)
    c.set_defaults(action=paper)

    c = commands.add_parser('cross', help='train on one set, test on another, both ways')
    c.add_argument('a', type=Path)
    c.add_argument('b', type=Path)
    c.add_argument('--out', type=Path, required=True)
    _add_cutting(c)
    _add_scale(c)
    c.set_defaults(action=cross)

    c = commands.add_parser('folds', help='every person of a small corpus is tested once')
    c.add_argument('data', type=Path, nargs='+')
    c.add_argument('--out', type=Path, required=True)
    c.add_argument('--folds', type=_at_least(3), default=5)
    _add_cutting(c)
    _add_scale(c)
    c.set_defaults(action=folds)

    c = commands.add_parser('ablate', help='what each ingredient brings')
    c.add_argument('data', type=Path)
    c.add_argument('--out', type=Path, required=True)
    c.add_argument('--videos', type=Path, help='of real people, with labels and boxes')
    c.add_argument('--variants', nargs='+', metavar='NAME', help='all by default')
    c.add_argument(
        '--without',
        nargs='+',
        default=(),
        metavar='INGREDIENT',
        help='parts of the rendered world to leave out, one at a time; all: each of them',
    )
    c.add_argument(
        '--clips', type=_at_least(1), default=700, help='of the sets without an ingredient'
    )
    _add_cutting(c)
    _add_scale(c)
    c.set_defaults(action=ablate)

    c = commands.add_parser('real', help="the robot's chain before videos of real people")
    c.add_argument('bundle', type=Path)
    c.add_argument('--videos', type=Path, required=True, metavar='FOLDER')
    c.add_argument('-o', '--out', type=Path, required=True, metavar='DIR')
    c.add_argument('--presets', nargs='+', choices=list(PRESETS), default=real.CONDITIONS)
    c.add_argument(
        '--background-activity',
        type=_at_least(0, float),
        default=0.0,
        metavar='MS',
        help='leave out events without a neighbour within so long, as `cs3d run` does',
    )
    c.set_defaults(action=watch)
    return p


def main(arguments=None):
    """Run a command."""
    options = parser().parse_args(arguments)
    try:
        options.action(options)
    except (Cs3dError, OSError) as error:
        raise SystemExit('error: {}'.format(error)) from error
    except KeyboardInterrupt:
        raise SystemExit('stopped; the same command does the rest') from None


if __name__ == '__main__':
    main()

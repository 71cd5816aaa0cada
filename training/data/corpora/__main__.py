"""
Turn a real corpus into the data set: videos through the simulator, event recordings as they are.

    python -m training.data.corpora CORPUS ROOT --out DIR

What does not fit is listed in DIR/misfits.csv. A command that was stopped goes on where it was.
Any folder goes through `manifest`: ROOT/manifest.csv lists its clips.
"""

import argparse
import os
import sys

from cs3d_ros import Cs3dError
from training.data.corpora.layouts import LAYOUTS
from training.data.corpora.manifest import COLUMNS
from training.data.corpora.work import make
from training.data.world import CONDITIONS

# Those that are a matter of the sensor; the others are a matter of what was filmed.
SENSOR_CONDITIONS = tuple(
    name for name in CONDITIONS if name in ('standard', 'noise') or name.startswith('low_light')
)


def main(arguments: list | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m training.data.corpora',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='columns of a manifest: ' + ','.join(COLUMNS),
    )
    parser.add_argument('corpus', choices=sorted(LAYOUTS))
    parser.add_argument('root', metavar='ROOT', help='folder that the corpus was unpacked into')
    parser.add_argument('--out', metavar='DIR', required=True, help='folder of the data set')
    parser.add_argument('--seed', type=int, default=1, help='of splits and sensors')
    parser.add_argument(
        '--condition',
        choices=SENSOR_CONDITIONS,
        default='standard',
        help='how good the sensor and the light are that videos are watched with',
    )
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument('--manifest', help='the list of clips, unless it is ROOT/manifest.csv')
    options = parser.parse_args(arguments)
    try:
        make(options)
    except Cs3dError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('stopped; the same command goes on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())

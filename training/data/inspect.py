"""
Look at a data set: ``python -m training.data.inspect DIR -o montage.png``.

The picture has a row per expression: per clip all events of the onset, then one frame amid it.
Printed per expression: clips, and how many events fall into the face during the onset.
"""

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events import FrameSettings, SquareAccumulator
from cs3d_ros.events.recordings import open_recording
from cs3d_ros.face import box_of_landmarks, face_square
from cs3d_ros.inference.emotion import EXPRESSIONS

PERIOD_NS = FrameSettings().period_ns
NEUTRAL_NS = (1_000_000_000, 1_500_000_000)  # looked at where nothing begins
WHOLE_STEP = 16  # grey levels per event in the sum over an onset


def expression_of(clip: dict) -> str:
    """Return the first expression that a clip shows."""
    return clip['segments'][0]['expression'] if clip['segments'] else EXPRESSIONS[0]


def onset_frames(folder: Path, clip: dict) -> tuple:
    """Return (sum of the onset, frame amid it, events of the face per s and px of its square)."""
    segments = clip['segments']
    begin, end = NEUTRAL_NS
    if segments:
        begin, end = segments[0]['onset_start_ns'], segments[0]['apex_start_ns']
    middle = (begin + end) // 2
    path = folder / clip['file']
    with np.load(path) as arrays:
        row = int(np.searchsorted(arrays['truth_t_ns'], middle))
        square = face_square(box_of_landmarks(arrays['truth_landmarks'][row]))
    whole = SquareAccumulator(FrameSettings(step=WHOLE_STEP))
    amid = SquareAccumulator(FrameSettings())
    count = 0
    with open_recording(str(path)) as recording:
        for batch in recording.batches():
            count += whole.add(batch.between(begin, end), square)
            amid.add(batch.between(middle, middle + PERIOD_NS), square)
    return whole.take(), amid.take(), count / ((end - begin) * 1e-9) / square.side**2


def montage(folder: Path, columns: int) -> tuple:
    """Return (picture uint8, lines of text about each expression)."""
    clips = json.loads((folder / 'manifest.json').read_text())['clips']
    rows, lines = [], []
    for name in EXPRESSIONS:
        own = [c for c in clips if expression_of(c) == name]
        seen = [onset_frames(folder, c) for c in own[:columns]]
        blank = np.full((112, 112), 128, np.uint8)
        tiles = [frame for whole, amid, _ in seen for frame in (whole, amid)]
        rows.append(np.concatenate(tiles + [blank] * (2 * columns - len(tiles)), axis=1))
        rates = [
            '{:.2f}'.format(rate)
            for rate in np.percentile([r for *_, r in seen] or [0.0], (5, 50, 95))
        ]
        lines.append(
            '{:10} {:5} clips, events per s and px: {}'.format(name, len(own), ' '.join(rates))
        )
    return np.concatenate(rows), lines


def main(arguments: list | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog='python -m training.data.inspect', description=__doc__)
    parser.add_argument('folder', type=Path, metavar='DIR')
    parser.add_argument('-o', '--output', required=True, help='.png')
    parser.add_argument('--columns', type=int, default=6, help='clips per expression')
    options = parser.parse_args(arguments)
    try:
        picture, lines = montage(options.folder, options.columns)
    except (Cs3dError, OSError, KeyError, ValueError) as error:
        print(
            '{}: no data set of training.synthesize: {}'.format(options.folder, error),
            file=sys.stderr,
        )
        return 1
    cv2.imwrite(options.output, picture)
    print('\n'.join(lines))
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""
Look at a data set: ``python -m training.data.inspect DIR``.

Writes into DIR, or the folder that -o names: ``montage.png``, what the event camera saw of onsets
of every class; ``statistics.png``; ``card.md``, the numbers behind it.
"""

import argparse
import os
import sys
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from cs3d_ros import Cs3dError
from cs3d_ros.draw import BACKGROUND, FONT, INK, OFF_COLOUR, ON_COLOUR
from cs3d_ros.events import FrameSettings, SquareAccumulator
from cs3d_ros.face import Box, face_square
from training.data.card import draw_statistics, measure, write_card
from training.data.clips import ClipSet, DataError, RecordedClip, write_whole
from training.data.world import ACTED

STEPS = 6  # pictures along an onset
PEOPLE = 2  # rows of a class
SIDE = 112  # px of a picture, as networks see it
LABEL_PX, GAP_PX = 118, 4
NEUTRAL_NS = (300_000_000, 1_100_000_000)  # looked at where nothing begins
COUNT_STEP = 4  # grey levels per event: up to 31 events of one sign are told apart
BRIGHTEST = 0.97  # share of the hit cells that are not yet at full colour


def onset_of(entry: dict) -> tuple | None:
    """Return (start, end) ns of the first onset of a clip that is all there; None without."""
    if entry['label'] == ACTED[0]:
        return NEUTRAL_NS
    for segment in entry['segments'][:1]:
        if segment['onset_start_ns'] >= 0 and segment['apex_start_ns'] < entry['duration_s'] * 1e9:
            return segment['onset_start_ns'], segment['apex_start_ns']
    return None


def choose(entries: list[dict], label: str, count: int) -> list[int]:
    """Return clips to look at, of several people if it can be; standard and quiet ones first."""
    own = [k for k, e in enumerate(entries) if e['label'] == label and onset_of(e)]
    own.sort(key=lambda k: (entries[k]['condition'] != 'standard', len(entries[k]['nuisances'])))
    first_of = {}
    for k in own:
        first_of.setdefault(entries[k]['identity'], k)
    chosen = list(first_of.values())[:count]
    return chosen + [k for k in own if k not in chosen][: count - len(chosen)]


def strip(clip: RecordedClip) -> list[np.ndarray]:
    """Return pictures (SIDE, SIDE, 3) of a face along an onset, and one of all of it."""
    edges = np.linspace(*onset_of(clip.entry), STEPS + 1).astype(np.int64)
    counts = []
    for start_ns, end_ns in list(zip(edges[:-1], edges[1:])) + [(edges[0], edges[-1])]:
        square = _square(clip, end_ns)
        # no finer than the sensor's pixels, whose rows would else stand apart
        size = int(max(16, min(SIDE, square.side)))
        frame = SquareAccumulator(FrameSettings(size=size, step=COUNT_STEP))
        frame.add(clip.events.between(int(start_ns), int(end_ns)), square)
        count = (frame.take().astype(np.float32) - 128) / COUNT_STEP
        counts.append(cv2.resize(count, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))
    return [_coloured(part, counts[:-1]) for part in counts[:-1]] + [
        _coloured(counts[-1], counts[-1:])
    ]


def _square(clip, t_ns):
    boxes = clip.truth.box
    known = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    if not len(known):  # a source that tells no boxes
        side = min(clip.events.width, clip.events.height)
        return face_square(Box(0.0, 0.0, side, side), 1.0)
    nearest = known[np.abs(clip.truth.t_ns[known] - t_ns).argmin()]
    return face_square(Box(*(float(v) for v in boxes[nearest])))


def _coloured(counts, alike):
    """Return the picture of signed counts; full colour where most of pictures `alike` end."""
    sizes = np.abs(np.stack(alike))
    hit = sizes[sizes > 0]
    full = max(1.0, float(np.quantile(hit, BRIGHTEST))) if len(hit) else 1.0
    share = np.clip(np.abs(counts) / full, 0, 1)[:, :, None] ** 0.6  # faint edges stay visible
    colours = np.where((counts > 0)[:, :, None], ON_COLOUR, OFF_COLOUR)
    return (BACKGROUND + share * (colours - np.array(BACKGROUND))).astype(np.uint8)


def montage(clips: ClipSet) -> np.ndarray:
    """Return the picture of all classes that the set has: rows are people, time runs right."""
    rows = []
    for label in ACTED:
        for place, index in enumerate(choose(clips.entries, label, PEOPLE)):
            tiles = [_label(clips.entries[index], label if place == 0 else '')]
            for tile in strip(clips[index]):
                tiles += [np.full((SIDE, GAP_PX, 3), BACKGROUND, np.uint8), tile]
            rows.append(np.concatenate(tiles, axis=1))
            rows.append(np.full((GAP_PX, rows[-1].shape[1], 3), BACKGROUND, np.uint8))
    if not rows:
        raise DataError('{}: no clip shows an onset from its start on'.format(clips.folder))
    return np.concatenate(rows)


def _label(entry, name):
    picture = np.full((SIDE, LABEL_PX, 3), BACKGROUND, np.uint8)
    recipe = entry['segments'][0]['recipe'] if entry['segments'] else ', '.join(entry['nuisances'])
    lines = [(name, 0.5)] + [(part, 0.32) for part in _wrapped(str(recipe), 20)]
    for k, (text, size) in enumerate(lines[:6]):
        place = 4, 24 + 16 * k
        cv2.putText(picture, text, place, FONT, size, INK, 1, cv2.LINE_AA)
    return picture


def _wrapped(text, width):
    lines = ['']
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append('')
        lines[-1] += word + ' '
    return lines


def save_picture(path: Path, picture: np.ndarray):
    """Write a PNG that is there whole or not at all."""
    write_whole(path, cv2.imencode('.png', picture)[1].tobytes())


def main(arguments: list | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m training.data.inspect',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('folder', type=Path, metavar='DIR')
    parser.add_argument('-o', '--output', type=Path, metavar='FOLDER', help='instead of DIR')
    options = parser.parse_args(arguments)
    out = options.output or options.folder
    try:
        clips = ClipSet(options.folder)
        os.makedirs(out, exist_ok=True)
        save_picture(out / 'montage.png', montage(clips))
        rows = [measure(clips[k]) for k in track(range(len(clips)), 'measuring', transient=True)]
        draw_statistics(out / 'statistics.png', rows)
        write_card(out / 'card.md', clips, rows)
    except (Cs3dError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print('{}: montage.png, statistics.png and card.md of {} clips'.format(out, len(clips)))
    return 0


if __name__ == '__main__':
    sys.exit(main())

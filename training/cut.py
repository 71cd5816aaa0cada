"""Cut once, learn often: ``python -m training.cut DATA --out CUTS``, then ``train --cuts CUTS``.

To cut an example out of events takes longer than a GPU takes to learn from it. Here every training
clip is cut into a few varied sequences, every other clip as a whole, and kept as frames. A window
is 16 frames of such a sequence. What networks see then varies less than what is cut anew.

``CUTS`` holds, per shard of the data, the frames of all its cuts (``.frames``, uint8, mapped into
memory, so that several trainings share them) and what they are of (``.npz``); and ``cuts.json``,
the settings that all were cut by.
"""

import argparse
import io
import json
import os
import zipfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events import still_frame
from training.augment import cropped_anew, draw_variation
from training.data.clips import SPLITS, ClipSet, DataError, read_entries, write_whole
from training.dataset import BUSIEST_OF, BUSY, TRIES, Clip, Examples, balanced
from training.sequences import Sequence, SequenceSet
from training.settings import TrainSettings, add_arguments, picked
from training.targets import CLIP_FRAMES, LABELS, UNCHANGED, worn_at

MANIFEST = 'cuts.json'
# What a training and its cuts must agree in.
DECIDING = ('frame_step', 'background_activity_ms', 'sequence_frames', 'still_share', 'augment')
LEAST_FRAMES = 4  # of a window that begins before its sequence does, as DataSet.draw has it
OF_SEQUENCE = Sequence._fields[1:]  # all but the clip


class Cut(NamedTuple):
    """A sequence and its frames."""

    sequence: Sequence
    blank: int  # leading frames that nothing was seen in
    frames: np.ndarray  # (T, size, size) uint8


class Shard(ClipSet):
    """The clips of one shard."""

    def __init__(self, path: Path):
        self._path = path
        super().__init__(path.parent)

    def take_in(self) -> int:
        """Read the shard once; return the number of new clips."""
        if self.entries:
            return 0
        self.entries = read_entries(self._path)
        self._places = [(self._path, number) for number in range(len(self.entries))]
        return len(self.entries)


class LastClip:
    """A shelf of one clip, for one set that is gone through clip by clip."""

    def __init__(self):
        self._number, self._events = None, None

    def read(self, clips, index: int, start_ns: int, end_ns: int):
        """Return the events of a clip within a range of time."""
        if self._number != index:
            self._number, self._events = index, clips[index].events
        return self._events.between(start_ns, end_ns)


class ShardSequences(SequenceSet):
    """One split of a shard; it need not show every expression."""

    SHELF = LastClip

    def _check(self, where):
        pass

    def varied(self, clip, count: int, rng: np.random.Generator):
        """Yield varied cuts around a clip's moves in turn, from anywhere if there are none."""
        moves = moves_of(clip) or [None]
        for number in range(count):
            variation = draw_variation(rng, self.kinds)
            anchor_ns = moves[number % len(moves)]
            sequence = self.sequence_around(clip, anchor_ns, rng, variation.pace)
            yield Cut(sequence, variation.blank, self.cut(sequence, variation, rng))


def moves_of(clip: Clip) -> list[float]:
    """Return the times of a clip's moves to expressions that have a name."""
    return [t.switch_ns for t in clip.transitions if t.target is not None]


def cut_shard(path: Path, out: Path, settings: TrainSettings, size: int, variations: int):
    """
    Cut the clips of a shard and write them; DataError if they cannot be read or kept.

    Parameters
    ----------
    path : Path
        Of the shard.
    out : Path
        Folder that exists.
    settings : TrainSettings
    size : int
        Of a frame, px.
    variations : int
        Sequences per training clip.
    """
    rows, frames = [], [np.empty((0, size, size), np.uint8)]
    shard = Shard(path)
    for split in SPLITS:
        data = ShardSequences.of(shard, split, settings, size)
        for clip in data.clips:
            whole = data.whole(clip)
            if split == 'train':
                rng = np.random.default_rng([settings.seed, *clip.key.encode()])
                cuts = list(data.varied(clip, variations, rng))
            else:
                cuts = [Cut(whole, 0, data.cut(whole))] if whole.recorded else []
            rows += [(clip.key, cut.blank, *cut.sequence[1:]) for cut in cuts]
            frames += [cut.frames for cut in cuts]
    table = io.BytesIO()
    np.savez(table, **dict(zip(('key', 'blank', *OF_SEQUENCE), map(np.array, zip(*rows)))))
    write_whole(out / (path.stem + '.frames'), np.concatenate(frames).tobytes())
    write_whole(out / (path.stem + '.npz'), table.getvalue())  # last: now the shard is cut


def deciding(settings: TrainSettings, size: int) -> dict:
    """Return what decides how frames of a training look, in JSON's types."""
    return {'size': size, **{name: settings.as_dict()[name] for name in DECIDING}}


def read_cuts(folder: Path, settings: TrainSettings, size: int) -> dict:
    """
    Return the cuts of a folder as lists by the key of their clip: (row, frames) pairs.

    Raises
    ------
    DataError
        If the folder holds none, or they were cut by other settings than a training asks for.
    """
    cure = 'cut them by python -m training.cut'
    try:
        found = json.loads((folder / MANIFEST).read_text())['settings']
    except (OSError, ValueError, KeyError) as error:
        raise DataError('{} holds no cuts ({}): {}'.format(folder, error, cure)) from error
    wanted = deciding(settings, size)
    differs = [name for name in wanted if found.get(name) != wanted[name]]
    if differs:
        raise DataError(
            '{} was cut with another {}: cut anew, or leave out --cuts'.format(
                folder, ', '.join(differs)
            )
        )
    cuts = {}
    for path in sorted(folder.glob('*.npz')):
        try:
            _read_part(path, size, cuts)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError('{} is no whole part ({}): {}'.format(path, error, cure)) from error
    return cuts


def _read_part(path, size, cuts):
    with np.load(path) as table:
        columns = {name: table[name] for name in ('key', 'blank', *OF_SEQUENCE)}
    lengths = columns['recorded'] + columns['pause']
    stored = path.with_suffix('.frames')
    frames = np.memmap(stored, np.uint8, 'r').reshape(-1, size, size)
    if len(frames) != lengths.sum():
        raise ValueError('{} frames, {} expected'.format(len(frames), lengths.sum()))
    ends = np.cumsum(lengths)
    rows = zip(*(columns[name].tolist() for name in ('key', 'blank', *OF_SEQUENCE)))
    for (key, blank, *sequence), end, length in zip(rows, ends, lengths):
        cuts.setdefault(key, []).append((blank, sequence, frames[end - length : end]))


class CutSequences(SequenceSet):
    """
    The clips of one split, as sequences that were cut before.

    Parameters
    ----------
    cuts : dict
        As read_cuts returns them; the other parameters are those of SequenceSet.

    Raises
    ------
    DataError
        As SequenceSet does, and if a clip was not cut.
    """

    def __init__(self, *args, cuts: dict, **kwargs):
        self._cuts, self._targets = cuts, {}
        super().__init__(*args, **kwargs)

    def _check(self, where):
        super()._check(where)
        missing = sum(clip.key not in self._cuts for clip in self.clips)
        if missing:
            raise DataError(
                '{}: {} of {} clips were not cut: run training.cut again, it cuts what is '
                'missing'.format(where, missing, len(self.clips))
            )

    def take_in(self) -> int:
        """Take in the clips of the folders once: those that come later were not cut."""
        return 0 if self.clips else super().take_in()

    def _cuts_of(self, clip):
        return [
            Cut(Sequence(clip, *sequence), blank, frames)
            for blank, sequence, frames in self._cuts[clip.key]
        ]

    def cut(self, sequence, *varied) -> np.ndarray:
        """Return the frames (T, size, size) uint8 of a sequence, those kept if it was cut."""
        kept = self._cuts_of(sequence.clip)[0]
        is_kept = not varied and kept.sequence == sequence
        return kept.frames if is_kept else super().cut(sequence, *varied)

    def batch(self, size: int, rng: np.random.Generator) -> Examples:
        """Return sequences, balanced over what they are drawn for; cut ones are cropped anew."""
        side = self.settings.size
        frames = np.empty((size, self.frames, side, side), np.uint8)
        rows = []
        for i, label in enumerate(balanced(size, rng)):
            cut = self._drawn(int(label), rng)
            frames[i] = self._varied_again(cut.frames, rng)
            rows.append(self._targets_of(cut))
        return Examples(frames, *(np.stack(column) for column in zip(*rows)))

    def _drawn(self, label, rng) -> Cut:
        """Return a cut that was made for a label."""
        clip, anchor_ns = self._anchor(label, rng)
        cuts = self._cuts_of(clip)
        if anchor_ns is not None:
            moves = moves_of(clip)
            cuts = cuts[moves.index(anchor_ns) :: len(moves)] or cuts
        return cuts[rng.integers(len(cuts))]

    def _targets_of(self, cut):
        """Return the targets of a cut, as Sequence.targets does; each is found out once."""
        key = (cut.sequence.clip.key, cut.blank, *cut.sequence[1:])
        if key not in self._targets:
            self._targets[key] = cut.sequence.targets(
                self.settings.period_ns, self.doubt_weight, cut.blank
            )
        return self._targets[key]

    def _varied_again(self, frames, rng):
        mirror = 'mirror' in self.kinds and rng.random() < 0.5
        if 'crop' in self.kinds:
            return cropped_anew(frames, mirror, rng)
        return frames[:, :, ::-1] if mirror else frames


class CutWindows(CutSequences):
    """The clips of one split, as windows of sequences that were cut before."""

    def cut(self, window, *varied) -> np.ndarray:
        """Return the frames (16, size, size) uint8 of a window of a clip that was cut whole."""
        whole = self._cuts_of(window.clip)[0]
        end = round((window.end_ns - whole.sequence.start_ns) / self.settings.period_ns)
        return self._frames_before(whole.frames, end)

    def _frames_before(self, frames, end):
        """Return the 16 frames before one, still ones where there are none."""
        shown = frames[max(0, end - CLIP_FRAMES) : end]
        still = np.broadcast_to(
            still_frame(self.settings.size), (CLIP_FRAMES - len(shown), *frames.shape[1:])
        )
        return np.concatenate([still, shown])

    def batch(self, size: int, rng: np.random.Generator) -> Examples:
        """Return windows as DataSet.batch does, out of sequences that were cut before."""
        labels, frames, worn = balanced(size, rng), [], []
        for label in labels:
            tries = BUSIEST_OF if label == UNCHANGED and rng.random() < BUSY else 1
            drawn = [self._window(int(label), rng) for _ in range(tries)]
            cut, end, window = max(drawn, key=lambda found: _activity(found[2]))
            frames.append(self._varied_again(window, rng))
            worn.append(self._worn(cut, end))
        targets, weights = (np.stack(column) for column in zip(*worn))
        clear = np.ones((size, 1), np.float32)
        return Examples(np.stack(frames), targets, weights, labels[:, None], clear)

    def _window(self, label, rng):
        """Return a cut of a label, the end of a window of it that shows the label, its frames."""
        for _ in range(TRIES):
            cut = self._drawn(label, rng)
            *_, changing, clear = self._targets_of(cut)
            ends = 1 + np.flatnonzero((changing == label) & (clear > 0))
            ends = ends[ends >= LEAST_FRAMES]
            if len(ends):
                end = int(rng.choice(ends))
                return cut, end, self._frames_before(cut.frames, end)
        raise DataError('no window of the cuts shows {}: cut more clips'.format(LABELS[label]))

    def _worn(self, cut, end):
        period_ns = self.settings.period_ns
        transitions = cut.sequence.transitions(period_ns)
        seen_from_ns = max(
            cut.sequence.seen_from_ns(period_ns, cut.blank), (end - CLIP_FRAMES) * period_ns
        )
        return worn_at(transitions, [end * period_ns], seen_from_ns)


def _activity(frames):
    return np.count_nonzero(frames != 128)


def open_cuts(folders, split: str, settings: TrainSettings, size: int) -> CutSequences:
    """Return a split as a training asks for it, as it was cut before; DataError if it was not."""
    kind = CutWindows if settings.learns == 'windows' else CutSequences
    cuts = read_cuts(Path(settings.cuts), settings, size)
    return kind.of(folders, split, settings, size, cuts=cuts)


def cut_all(
    data: Path, out: Path, settings: TrainSettings, size: int, variations: int, workers: int, say
):
    """Cut the shards of a set that were not cut yet; DataError if that cannot be done."""
    shards = sorted(Path(data).glob('*.h5'))
    if not shards:
        raise DataError(
            '{} holds no shards (.h5): make them by python -m training.synthesize or '
            'training.data.corpora'.format(data)
        )
    wanted = {'settings': deciding(settings, size), 'variations': variations}
    manifest = out / MANIFEST
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not manifest.exists():
            write_whole(manifest, (json.dumps(wanted, indent=1) + '\n').encode())
        found = json.loads(manifest.read_text())
    except (OSError, ValueError) as error:
        raise DataError('{} cannot be used: {}'.format(manifest, error)) from error
    if found != wanted:
        raise DataError('{} holds cuts of other settings: name another folder'.format(out))
    left = [shard for shard in shards if not (out / (shard.stem + '.npz')).exists()]
    # spawned, as threads of the libraries do not outlive a fork
    with ProcessPoolExecutor(workers, get_context('spawn')) as pool:
        tasks = [pool.submit(cut_shard, shard, out, settings, size, variations) for shard in left]
        for done, task in enumerate(as_completed(tasks), 1):
            task.result()
            say('cut {} of {} shards'.format(done, len(left)))


def main(argv=None):
    """Run the command."""
    p = argparse.ArgumentParser(
        prog='python -m training.cut',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('data', type=Path, help='folder made by training.synthesize')
    p.add_argument('--out', type=Path, required=True, help='folder of cuts; what is there is kept')
    p.add_argument('--variations', type=int, default=8, help='sequences per training clip')
    p.add_argument('--size', type=int, default=112, help='of a frame, px')
    p.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    others = [f.name for f in fields(TrainSettings) if f.name not in DECIDING]
    add_arguments(p, TrainSettings, others)
    args = p.parse_args(argv)
    if min(args.variations, args.workers, args.size) < 1:
        p.error('--variations, --size and --workers must be 1 or more')
    try:
        settings = TrainSettings(**picked(args, TrainSettings, others))
    except ValueError as error:
        p.error(str(error))
    numbers = args.size, args.variations, args.workers
    try:
        cut_all(args.data, args.out, settings, *numbers, say=lambda line: print(line, flush=True))
    except Cs3dError as error:
        raise SystemExit('error: {}'.format(error)) from error


if __name__ == '__main__':
    main()

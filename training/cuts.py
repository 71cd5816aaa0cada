"""Sets whose examples were cut before, by ``python -m training.cut``, opened for trainings.

Per shard of the data, a folder holds the frames of all its cuts (``.frames``, uint8, mapped into
memory, so that several trainings share them) and what they are of (``.npz``, with the digests of
the shard and of its clips); and ``cuts.json``, the settings that all were cut by.
"""

import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cs3d_ros.events import still_frame
from training.augment import cropped_anew
from training.batches import Examples
from training.data.clips import DataError
from training.dataset import BUSIEST_OF, BUSY, TRIES, balanced
from training.sequences import Sequence, SequenceSet
from training.settings import TrainSettings
from training.targets import CLIP_FRAMES, LABELS, UNCHANGED, worn_at
from training.windows import Clip

MANIFEST = 'cuts.json'
# What a training and its cuts must agree in.
DECIDING = ('frame_step', 'background_activity_ms', 'sequence_frames', 'still_share', 'augment')
LEAST_FRAMES = 4  # of a window that begins before its sequence does, as DataSet.draw has it
# What is kept of a cut: its clip's digest, its blank frames, and what else Sequence holds.
COLUMNS = {
    'clip': 'U12',
    'blank': np.int64,
    'start_ns': np.float64,
    'recorded': np.int64,
    'pause_at': np.int64,
    'pause': np.int64,
    'pace': np.float64,
}
assert list(COLUMNS)[2:] == list(Sequence._fields[1:])


class Cut(NamedTuple):
    """A sequence and its frames."""

    sequence: Sequence
    blank: int  # leading frames that nothing was seen in
    frames: np.ndarray  # (T, size, size) uint8


def deciding(settings: TrainSettings, size: int) -> dict:
    """Return what decides how frames of a training look, in JSON's types."""
    return {'size': size, **{name: settings.as_dict()[name] for name in DECIDING}}


def read_cuts(folder: Path, settings: TrainSettings, size: int) -> dict:
    """
    Return the cuts of a folder by the digest of their clip.

    Returns
    -------
    dict
        Lists of (blank, the fields of Sequence behind its clip, frames (T, size, size) uint8).

    Raises
    ------
    DataError
        If the folder holds none, one is damaged or of an older version, or they were cut by other
        settings than a training asks for.
    """
    try:
        found = json.loads((folder / MANIFEST).read_text())['settings']
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            '{} holds no cuts ({}): cut them by python -m training.cut'.format(folder, error)
        ) from error
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
        _read_part(path, size, cuts)
    return cuts


def _read_part(path, size, cuts):
    table, kept = table_of(path), path.with_suffix('.frames')
    lengths = table['recorded'] + table['pause']
    try:
        found, wanted = kept.stat().st_size, int(lengths.sum()) * size**2
        if found != wanted:
            raise ValueError('{} has {} bytes, {} expected'.format(kept.name, found, wanted))
        frames = _mapped(kept, wanted).reshape(-1, size, size)
    except (OSError, ValueError, RuntimeError) as error:  # the last is torch's
        raise _broken(path, error) from error
    rows = zip(*(table[name].tolist() for name in COLUMNS))
    for (clip, blank, *sequence), end, length in zip(rows, np.cumsum(lengths), lengths):
        cuts.setdefault(clip, []).append((blank, sequence, frames[end - length : end]))


def _mapped(path, size):
    """Return a file's bytes, of which there may be none, mapped into memory."""
    if not size:
        return np.empty(0, np.uint8)
    # numpy's map would keep a descriptor, and a set has more shards than a process may have
    mapped = torch.from_file(str(path), size=size, dtype=torch.uint8).numpy()
    mapped.flags.writeable = False
    return mapped


def table_of(path: Path) -> dict:
    """Return the arrays of a part (.npz) by name, those of COLUMNS; DataError if it is none."""
    try:
        with np.load(path) as file:
            table = dict(file)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise _broken(path, error) from error
    if not {'shard', *COLUMNS} <= set(table):
        raise DataError(
            '{} is of an older version, which did not note what it cut: delete the folder or name '
            'another, and cut anew'.format(path)
        )
    return table


def _broken(path, error):
    part = path.with_suffix('.npz')
    return DataError(
        '{} is no whole part ({}): delete it and run training.cut again'.format(part, error)
    )


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
        missing = sum(clip.digest not in self._cuts for clip in self.clips)
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
            for blank, sequence, frames in self._cuts[clip.digest]
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
        for i, label in enumerate(balanced(size, rng, self.shown)):
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
        key = cut.sequence, cut.blank
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
        labels, frames, worn = balanced(size, rng, self.shown), [], []
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


def keep_open(open_data):
    """Return what opens splits as ``open_data`` does; of sets that were cut, each only once."""
    known = {}

    def opened(folders, split, settings, size):
        if not settings.cuts:  # such sets may still grow, and hold their events in memory
            return open_data(folders, split, settings, size)
        alike = settings.cuts, settings.learns, settings.doubt_weight, deciding(settings, size)
        key = json.dumps([*map(str, folders), split, *alike])
        if key not in known:
            known[key] = open_data(folders, split, settings, size)
        return known[key]

    return opened


def moves_of(clip: Clip) -> list[float]:
    """Return the times of a clip's moves to expressions that have a name."""
    return [t.switch_ns for t in clip.transitions if t.target is not None]

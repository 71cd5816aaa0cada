"""Cut once, learn often: ``python -m training.cut DATA --out CUTS``, then ``train --cuts CUTS``.

To cut an example out of events takes longer than a GPU takes to learn from it. Here every training
clip is cut into a few varied sequences, every other clip as a whole, and kept as frames. A window
is 16 frames of such a sequence. What networks see then varies less than what is cut anew.

What ``CUTS`` holds stands in ``training.cuts``, which opens it.
"""

import argparse
import io
import json
import os
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from cs3d_ros import Cs3dError
from training.augment import draw_variation
from training.cuts import COLUMNS, DECIDING, MANIFEST, Cut, deciding, moves_of, table_of
from training.data.clips import SPLITS, ClipSet, DataError, read_entries, write_whole
from training.fingerprint import clips_digest
from training.sequences import SequenceSet
from training.settings import TrainSettings, add_arguments, picked


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
            rows += [(clip.digest, cut.blank, *cut.sequence[1:]) for cut in cuts]
            frames += [cut.frames for cut in cuts]
    table, columns = io.BytesIO(), zip(*rows) if rows else [[]] * len(COLUMNS)
    typed = {name: np.array(c, COLUMNS[name]) for name, c in zip(COLUMNS, columns)}
    np.savez(table, shard=clips_digest(shard), **typed)
    write_whole(out / (path.stem + '.frames'), np.concatenate(frames).data)
    write_whole(out / (path.stem + '.npz'), table.getvalue())  # last: now the shard is cut


def cut_all(
    data: Path, out: Path, settings: TrainSettings, size: int, variations: int, workers: int, say
):
    """
    Cut the shards of a set that were not cut yet.

    Raises
    ------
    DataError
        If there are none, ``out`` holds cuts of other settings or of another set, or clips cannot
        be read or frames kept.
    """
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
    left = [shard for shard in shards if not _is_cut(shard, out / (shard.stem + '.npz'))]
    # spawned, as threads of the libraries do not outlive a fork; Ctrl-C ends them without a word
    ended_by = signal.signal, (signal.SIGINT, signal.SIG_DFL)
    with ProcessPoolExecutor(workers, get_context('spawn'), *ended_by) as pool:
        tasks = [pool.submit(cut_shard, shard, out, settings, size, variations) for shard in left]
        try:
            for done, task in enumerate(as_completed(tasks), 1):
                task.result()
                say('cut {} of {} shards'.format(done, len(left)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _is_cut(shard, part):
    """Tell whether a part is there; DataError if it was cut of another shard of that name."""
    if not part.exists():
        return False
    if table_of(part)['shard'] != clips_digest(Shard(shard)):
        raise DataError('{} was not cut of this {}: name another folder'.format(part, shard))
    return True


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
    except KeyboardInterrupt:
        raise SystemExit('stopped; the same command does the rest') from None


if __name__ == '__main__':
    main()

"""Converts a corpus shard by shard, in several processes, and tells how far it is."""

import argparse
import collections
import itertools
import multiprocessing.connection
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.data.clips import read_entries, write_shard
from training.data.corpora.convert import convert, is_recording
from training.data.corpora.facemesh import FaceMesh
from training.data.corpora.layouts import LAYOUTS
from training.data.corpora.manifest import COLUMNS, read_manifest
from training.data.corpora.plan import REPORT, Journal, Shard, plan_shards
from training.data.corpora.samples import CorpusError, Misfit, MisfitError


def make(options: argparse.Namespace) -> Journal:
    """Convert all that is not there yet; return the journal."""
    root, out = Path(options.root), Path(options.out)
    if not root.is_dir():
        raise CorpusError('{} is no folder: ROOT is where the corpus was unpacked'.format(root))
    if options.corpus == 'manifest':
        found = read_manifest(root, options.manifest and Path(options.manifest))
    else:
        found = LAYOUTS[options.corpus](root)
    if not found.samples:
        first = found.misfits[0] if found.misfits else None
        raise CorpusError(
            '{}: none of {} entries fits{}. Any other layout goes through a manifest with the '
            'columns {}'.format(
                root,
                len(found.misfits),
                ', the first since ' + ': '.join(first) if first else '',
                ','.join(COLUMNS),
            )
        )
    if not all(is_recording(sample) for sample in found.samples):
        FaceMesh()  # names what is missing, before workers start
    out.mkdir(parents=True, exist_ok=True)
    kept = options.corpus, options.condition, options.seed
    journal = Journal(out, *kept, found)
    journal.write()
    shards = plan_shards(found, out, *kept)
    _fill(shards, journal, options.workers)
    _summarise(shards, journal, out)
    return journal


def _fill(shards, journal, workers):
    """Write the shards that are missing, with progress and an ETA."""
    left = [shard for shard in shards if not journal.is_done(shard)]
    columns = (
        TextColumn('clips'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('ETA'),
        TimeRemainingColumn(),
    )
    total = sum(len(shard.samples) for shard in shards)
    with Progress(*columns) as progress:
        done = total - sum(len(shard.samples) for shard in left)
        bar = progress.add_task('', total=total, completed=done)
        for shard, misfits in _filled(left, workers):
            journal.enter(shard, misfits)
            progress.update(bar, advance=len(shard.samples))


def _filled(shards, workers):
    if workers <= 1:
        _start_worker()
        for shard in shards:
            yield shard, fill_shard(shard)
        return
    # Spawned, not forked: OpenCV holds threads.
    context = multiprocessing.get_context('spawn')
    pool = ProcessPoolExecutor(workers, context, _start_worker, (True,))
    try:
        running = {pool.submit(fill_shard, shard): shard for shard in shards}
        for future in as_completed(running):
            yield running[future], future.result()
    except BrokenProcessPool as error:
        raise CorpusError(
            'a worker was killed, as when memory runs out: try fewer --workers; finished shards '
            'are kept'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_worker = {}


def _start_worker(is_child=False):
    if is_child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
        threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _worker['mesh'] = None


def _end_with_parent():
    """End this process when the parent is killed: it would wait for work for ever."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def fill_shard(shard: Shard) -> list[Misfit]:
    """Write the clips of a shard that fit, one by one; return those that do not."""
    misfits = []
    clips = _convert_each(shard, misfits)
    first = next(clips, None)
    if first is not None:
        write_shard(shard.path, itertools.chain([first], clips))
    return misfits


def _convert_each(shard, misfits):
    for sample, place in zip(shard.samples, shard.places):
        if _worker['mesh'] is None and not is_recording(sample):
            _worker['mesh'] = FaceMesh()
        try:
            yield convert(sample, place, _worker['mesh'])
        except MisfitError as error:
            misfits.append(Misfit(sample.name, str(error)))


def _summarise(shards, journal, out):
    """Print what there is, by split and label, and what did not fit."""
    entries = [e for shard in shards if shard.path.is_file() for e in read_entries(shard.path)]
    counts = collections.Counter((entry['split'], entry['label']) for entry in entries)
    for split in ('train', 'val', 'test'):
        subjects = {entry['identity'] for entry in entries if entry['split'] == split}
        shown = ', '.join(
            '{} {}'.format(label, count)
            for (of, label), count in sorted(counts.items())
            if of == split
        )
        print('{:5} {:4} subjects: {}'.format(split, len(subjects), shown or 'no clips'))
    misfits = journal.misfits
    print('{} clips in {}; {} files did not fit'.format(len(entries), out, len(misfits)), end='')
    print(', listed in {}, the first:'.format(out / REPORT) if misfits else '')
    for misfit in misfits[:10]:
        print('  {}: {}'.format(*misfit))

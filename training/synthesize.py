"""
Make a data set of event recordings of acting faces: ``python -m training.synthesize --out DIR``.

A clip depends on the seed, the settings and its number only: not on the workers, nor on how many
clips are asked for. What is already there is kept, so the same command resumes. Workers need this
package and the assets, but no common folder: shards are written by this command.
"""

import argparse
import contextlib
import json
import logging
import os
import re
import sys
import time
from pathlib import Path

import distributed
from distributed.comm.addressing import parse_address, parse_host_port
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cs3d_ros import Cs3dError, __version__
from training.data.assets import load_assets
from training.data.clips import SCHEMA, DataError, read_entries, write_whole
from training.data.plan import SetPlan, split_skins
from training.data.studio import LICENCES, Shard, make_shard, world_version
from training.data.world import CONDITIONS

CLIPS_PER_SHARD = 10  # of about 1.5 MB; what a kill loses of each worker
SUBMITTED_PER_WORKER = 2  # shards at once, so that none waits for its next
SCHEDULER_TIMEOUT_S = 10.0
WORKERS_TIMEOUT_S = 120.0
SAY_EVERY_S = 30.0  # where there is no terminal


def left_to_make(out: Path, clips: int) -> list[Shard]:
    """Return the shards that are missing, or hold fewer clips than are asked for now."""
    left = []
    for number, first in enumerate(range(0, clips, CLIPS_PER_SHARD)):
        shard = Shard(number, first, min(first + CLIPS_PER_SHARD, clips))
        path = out / shard.name
        if not path.exists() or len(read_entries(path)) < shard.end - shard.first:
            left.append(shard)
    return left


def synthesize(plan: SetPlan, out: Path, clips: int, cluster, assets_folder=None):
    """
    Make the clips of a set that are not there yet.

    Parameters
    ----------
    plan : SetPlan
    out : Path
    clips : int
    cluster : context manager
        Enters as a distributed.Client; only entered if there is something to make.
    assets_folder : str, optional

    Raises
    ------
    Cs3dError
        If the folder holds another set, assets or workers are missing, or nothing can be written.
        Finished shards stay.
    """
    skins = split_skins(load_assets(assets_folder).skins)  # names what is missing in time
    version = world_version()
    _claim(out, plan, skins, version)
    left = left_to_make(out, clips)
    missing = sum(shard.end - shard.first for shard in left)
    if not left:
        return
    with _Report(clips, clips - missing) as report, cluster as client:
        for shard, content in _made(client, left, plan, assets_folder, version):
            write_whole(out / shard.name, content)
            report.add(shard.end - shard.first, len(content))


def _made(client, shards, plan, assets_folder, version):
    """Yield (shard, content) as they are finished; only a few are under way at a time."""
    waiting, shard_of = iter(shards), {}
    done = distributed.as_completed()

    def submit():
        shard = next(waiting, None)
        if shard is not None:
            # a key of its own for each call: the cluster may remember one from a broken run
            future = client.submit(make_shard, plan, shard, assets_folder, version, pure=False)
            shard_of[future] = shard
            done.add(future)

    for _ in range(SUBMITTED_PER_WORKER * len(client.scheduler_info(n_workers=-1)['workers'])):
        submit()
    for future in done:
        shard = shard_of.pop(future)
        content = _result(future, shard)
        future.release()
        submit()
        yield shard, content


def _result(future, shard):
    try:
        return future.result()
    except Cs3dError:
        raise
    except distributed.scheduler.KilledWorker as error:
        raise Cs3dError(
            '{}: the workers that made it died one after the other; have they memory enough, 1 GB '
            'each? Finished shards are kept ({})'.format(shard.name, error)
        ) from error
    except Exception as error:  # a worker's edge: whatever broke there
        raise Cs3dError(
            '{} cannot be made: {}: {}; do the workers have this package, with the same '
            'Python?'.format(shard.name, type(error).__name__, error)
        ) from error


@contextlib.contextmanager
def local_workers(count: int):
    """Yield a client of worker processes on this machine, one thread each; ends them."""
    cluster = distributed.LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        host='127.0.0.1',
        dashboard_address='127.0.0.1:0',  # any free port: without, it would claim 8787
        memory_limit=0,  # no worker is ended for it
        silence_logs=logging.CRITICAL,  # errors come back to us and are told once
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


@contextlib.contextmanager
def remote_workers(address: str):
    """Yield a client of a scheduler's workers; Cs3dError if there are none in time."""
    try:
        parse_host_port(parse_address(address)[1])  # Client hangs on a port that is no number
        client = distributed.Client(address, timeout=SCHEDULER_TIMEOUT_S)
    except (OSError, ValueError, TypeError) as error:
        raise Cs3dError(
            'no scheduler answers at {} within {:.0f} s: is `dask scheduler` running there, and '
            'the address like tcp://host:8786? ({})'.format(address, SCHEDULER_TIMEOUT_S, error)
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_TIMEOUT_S)
        except TimeoutError as error:
            raise Cs3dError(
                'the scheduler at {} has no workers: start some by `dask worker {}`'.format(
                    address, address
                )
            ) from error
        yield client


class _Report:
    """Progress on a terminal, or a line now and then where there is none."""

    def __init__(self, total, done):
        columns = TextColumn('clips'), BarColumn(), MofNCompleteColumn()
        self._progress = Progress(*columns, TextColumn('{task.fields[note]}'))
        self._bar = self._progress.add_task('', total=total, completed=done, note='')
        self._total, self._before, self._done = total, done, done
        self._began = self._said = time.monotonic()
        self._bytes = 0

    def __enter__(self):
        if self._progress.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_):
        self._progress.stop()

    def add(self, clips, size):
        self._done += clips
        self._bytes += size
        now = time.monotonic()
        rate = (self._done - self._before) / (now - self._began)
        note = '{:.2f} clips/s, {:.1f} MB, ETA {}'.format(
            rate, self._bytes * 1e-6, _clock((self._total - self._done) / rate)
        )
        self._progress.update(self._bar, completed=self._done, note=note)
        if self._progress.console.is_terminal:
            return
        if now - self._said > SAY_EVERY_S or self._done >= self._total:
            print('{}/{} clips, {}'.format(self._done, self._total, note), flush=True)
            self._said = now


def _clock(seconds):
    return '{}:{:02d}:{:02d}'.format(*(int(seconds) // k % m for k, m in _CLOCK))


_CLOCK = (3600, 1 << 30), (60, 60), (1, 60)


def _claim(out, plan, skins, version):
    """Write down what the folder's set is made of; refuse a folder of another one."""
    wanted = {
        'schema': SCHEMA,
        'seed': plan.seed,
        'size': [plan.width, plan.height],
        'without': sorted(plan.without),
        'conditions': list(plan.conditions),
        'skins': {split: list(own) for split, own in skins.items()},
        'world': version,
    }
    path = out / 'set.json'
    if path.exists():
        found = _read_claim(path)
        for key, value in wanted.items():
            if found.get(key) != value:
                raise DataError(
                    '{} is of another set ({} {}, now {}): take what made it, or another '
                    'folder'.format(path, key, found.get(key), value)
                )
        return
    if any(out.glob('*.h5')):
        raise DataError('{} holds shards but no set.json: take another folder'.format(out))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError('{} cannot be made: {}'.format(out, error)) from error
    about = {**wanted, 'version': __version__, 'licences': LICENCES}
    write_whole(path, (json.dumps(about, indent=1) + '\n').encode())


def _read_claim(path):
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            '{} does not tell what set this is ({}): take another folder'.format(path, error)
        ) from error


def _size(text):
    found = re.fullmatch(r'(\d+)x(\d+)', text)
    if not found or not all(64 <= int(side) <= 2048 for side in found.groups()):
        raise argparse.ArgumentTypeError(
            'WIDTHxHEIGHT of 64 to 2048 pixels, as 346x260, not {!r}'.format(text)
        )
    return tuple(int(side) for side in found.groups())


def _count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError('a whole number above 0, not {!r}'.format(text))
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    p = argparse.ArgumentParser(prog='python -m training.synthesize', description=__doc__)
    p.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the set')
    p.add_argument('--clips', type=_count, required=True, metavar='N')
    p.add_argument('--seed', type=int, default=1, metavar='S')
    p.add_argument('--size', type=_size, default=(346, 260), metavar='WxH', help='of the sensor')
    p.add_argument(
        '--without',
        nargs='+',
        default=[],
        metavar='INGREDIENT',
        help='parts of the world to leave out (training/data/world.py)',
    )
    p.add_argument(
        '--conditions',
        nargs='+',
        choices=list(CONDITIONS),
        default=list(CONDITIONS),
        metavar='NAME',
        help='out of {}; all by default'.format(', '.join(CONDITIONS)),
    )
    workers = p.add_mutually_exclusive_group()
    workers.add_argument(
        '--workers', type=_count, default=os.cpu_count(), metavar='W', help='local processes'
    )
    workers.add_argument('--scheduler', metavar='ADDRESS', help='of a dask cluster to use instead')
    p.add_argument('--assets', metavar='FOLDER', help='of the face and its skins, on the workers')
    return p


def main(arguments: list | None = None) -> int:
    """Run the command; return its exit status."""
    options = parser().parse_args(arguments)
    # kept in the world's order: the order of words on a command line is to change nothing
    conditions = tuple(name for name in CONDITIONS if name in options.conditions)
    plan = SetPlan(options.seed, *options.size, tuple(sorted(options.without)), conditions)
    cluster = (
        remote_workers(options.scheduler) if options.scheduler else local_workers(options.workers)
    )
    try:
        _check(plan)
        synthesize(plan, options.out, options.clips, cluster, options.assets)
    except Cs3dError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('stopped; the same command goes on from here', file=sys.stderr)
        return 130
    return 0


def _check(plan):
    if plan.seed < 0:
        raise Cs3dError('--seed must not be negative, got {}'.format(plan.seed))
    try:
        plan.ingredients  # noqa: B018
    except ValueError as error:
        raise Cs3dError('--without: {}'.format(error)) from error


if __name__ == '__main__':
    sys.exit(main())

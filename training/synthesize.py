"""
Make a data set of event recordings of acting faces: ``python -m training.synthesize --out DIR``.

A clip depends on the seed and its number only: not on the number of workers, nor on how many
clips are asked for. What is already there is kept.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cs3d_ros import Cs3dError
from cs3d_ros.inference.emotion import EXPRESSIONS
from training.data.assets import load_assets
from training.data.faces import FaceModel
from training.data.looks import Look, draw_look
from training.data.performance import SEQUENCE_SHARE, Performance, perform
from training.data.scene import Stage, record

SCHEMA = 1
SPLIT_PATTERN = ('train',) * 8 + ('val', 'test')  # of every ten clips
BLOCK = EXPRESSIONS[1:] * 2 + (EXPRESSIONS[0],) * 3  # 20 % are neutral throughout
CLIPS_PER_IDENTITY = 3
# Skins that training never sees, each split one dark and one light.
HELD_OUT_SKINS = {
    'val': ('old_darkskinned_male_diffuse_grey', 'young_lightskinned_male_diffuse3_grey'),
    'test': (
        'middleage_darkskinned_female_diffuse_grey',
        'young_lightskinned_female_diffuse3_grey',
    ),
}
MANIFEST_EVERY_S = 15.0

LICENCES = {
    'morphable face': 'ICT-FaceKit, MIT, Copyright (c) 2020 USC Institute for Creative '
    'Technologies',
    'skins, brows, irises': 'MakeHuman, CC0 1.0',
}


class ClipPlan(NamedTuple):
    """What a clip shows, decided before anything is drawn."""

    index: int
    seed: int
    split: str
    identity: str
    expressions: tuple  # empty: neutral throughout

    @property
    def file(self) -> str:
        """Return the clip's path inside the data set."""
        return 'clips/{:05d}.npz'.format(self.index)


def plan_clip(seed: int, index: int) -> ClipPlan:
    """Return the plan of a clip; classes are balanced in every fifteen clips of a split."""
    split = SPLIT_PATTERN[index % len(SPLIT_PATTERN)]
    code = ('train', 'val', 'test').index(split)
    per_ten = SPLIT_PATTERN.count(split)
    place = index // 10 * per_ten + SPLIT_PATTERN[: index % 10].count(split)
    block, within = divmod(place, len(BLOCK))
    order = np.random.default_rng([seed, 1, code, block]).permutation(len(BLOCK))
    first = BLOCK[order[within]]
    rng = np.random.default_rng([seed, 2, index])
    shown = () if first == 'neutral' else (first,)
    if shown and rng.random() < SEQUENCE_SHARE:
        shown += (str(rng.choice([e for e in EXPRESSIONS[1:] if e != first])),)
    # Neighbours in a block share a person, so that a person is seen with several expressions.
    identity = '{}-{}-{:05d}'.format(split, seed, place // CLIPS_PER_IDENTITY)
    return ClipPlan(index, seed, split, identity, shown)


def split_skins(names: tuple) -> dict:
    """Return the skins of each split, disjoint; one skin is never seen by two splits."""
    out = {split: tuple(n for n in held if n in names) for split, held in HELD_OUT_SKINS.items()}
    held = {n for own in out.values() for n in own}
    out['train'] = tuple(n for n in names if n not in held)
    if not all(out.values()):
        raise Cs3dError(
            'skins: {} of them leave a split empty, all of {} are needed'.format(
                len(names), sorted(sum(HELD_OUT_SKINS.values(), ()))
            )
        )
    return out


class Studio:
    """Makes clips; one per process."""

    def __init__(self, assets_folder=None, width: int = 256, height: int = 256):
        self.model = FaceModel(load_assets(assets_folder))
        self.stage = Stage(self.model, width, height)
        self._skins = split_skins(self.model.assets.skins)

    def look(self, plan: ClipPlan) -> Look:
        """Return the person of a plan."""
        number = int(plan.identity.rsplit('-', 1)[1])
        code = ('train', 'val', 'test').index(plan.split)
        rng = np.random.default_rng([plan.seed, 3, code, number])
        return draw_look(plan.identity, self._skins[plan.split], self.model, rng)

    def performance(self, plan: ClipPlan) -> Performance:
        """Return what happens in a plan's clip."""
        return perform(plan.expressions, np.random.default_rng([plan.seed, 4, plan.index]))

    def entry(self, plan: ClipPlan) -> dict:
        """Return a clip's line of the manifest."""
        act = self.performance(plan)
        return {
            'file': plan.file,
            'seed': plan.seed,
            'index': plan.index,
            'identity': plan.identity,
            'skin': self.look(plan).skin,
            'split': plan.split,
            'expressions': list(plan.expressions),
            'duration_s': len(act) / 60.0,
            'segments': [segment_entry(s) for s in act.segments],
            'nuisances': act.nuisances,
        }

    def make(self, plan: ClipPlan) -> dict:
        """Return a clip's arrays."""
        act = self.performance(plan)
        rng = np.random.default_rng([plan.seed, 5, plan.index])
        scene = self.stage.set_up(self.look(plan), act, rng)
        events, truth = record(self.stage, scene, act, rng)
        arrays = {name: getattr(events, name) for name in ('x', 'y', 't', 'p', 'width', 'height')}
        return dict(arrays, **{'truth_' + name: value for name, value in vars(truth).items()})


def segment_entry(segment) -> dict:
    """Return a segment for a manifest: names and int64 ns from the clip's start."""
    return dict(
        {'expression': segment.expression, 'recipe': segment.recipe},
        **{
            name + '_ns': int(round(getattr(segment, name + '_s') * 1e9))
            for name in ('onset_start', 'apex_start', 'offset_start', 'offset_end')
        },
    )


def write_clip(path: Path, arrays: dict):
    """Write an .npz aside, then rename: a file that is there is whole."""
    aside = path.with_name('.{}.{}'.format(path.name, os.getpid()))
    # Like np.savez_compressed, at the level that costs a tenth of the time.
    with zipfile.ZipFile(aside, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(name + '.npy', 'w', force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    aside.replace(path)


def write_manifest(out: Path, entries: list, arguments: argparse.Namespace):
    """Write manifest.json of the clips that are finished."""
    manifest = {
        'schema': SCHEMA,
        'classes': list(EXPRESSIONS),
        'width': 256,
        'height': 256,
        'frame_rate_hz': 60,
        'seed': arguments.seed,
        'planned': arguments.clips,
        'truth': 'truth_expression: the target per frame, neutral from an offset on; '
        'truth_intensity: of the expression shown or left',
        'licences': LICENCES,
        'clips': sorted(entries, key=lambda e: e['index']),
    }
    aside = out / '.manifest.json'
    aside.write_text(json.dumps(manifest, indent=1))
    aside.replace(out / 'manifest.json')


def synthesize(arguments: argparse.Namespace):
    """Make all clips that are not there yet."""
    out = Path(arguments.out)
    (out / 'clips').mkdir(parents=True, exist_ok=True)
    _refuse_other_seed(out, arguments.seed)
    plans = [plan_clip(arguments.seed, i) for i in range(arguments.clips)]
    studio = Studio(arguments.assets)  # also names what is missing, before workers start
    done = [p for p in plans if (out / p.file).is_file()]
    left = [p for p in plans if not (out / p.file).is_file()]
    entries = [studio.entry(p) for p in done]
    written = 0.0
    columns = (
        TextColumn('clips'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('ETA'),
        TimeRemainingColumn(),
        TextColumn('{task.fields[note]}'),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task('', total=len(plans), completed=len(done), note='')
        begin = time.monotonic()
        for count, entry in enumerate(_entries(left, out, arguments), 1):
            entries.append(entry)
            note = '{:.2f} clips/s'.format(count / (time.monotonic() - begin))
            progress.update(bar, advance=1, note=note)
            if time.monotonic() - written > MANIFEST_EVERY_S:
                write_manifest(out, entries, arguments)
                written = time.monotonic()
    write_manifest(out, entries, arguments)


def _entries(plans: list, out: Path, arguments: argparse.Namespace):
    if arguments.workers <= 1:
        _start_worker(out, arguments.assets)
        yield from map(_make_one, plans)
        return
    # Spawned, not forked: numba and OpenCV hold threads.
    with multiprocessing.get_context('spawn').Pool(
        arguments.workers, _start_worker, (out, arguments.assets)
    ) as pool:
        yield from pool.imap_unordered(_make_one, plans)


_worker = {}


def _start_worker(out: Path, assets):
    import cv2

    cv2.setNumThreads(1)
    _worker.update(out=out, studio=Studio(assets))


def _make_one(plan: ClipPlan) -> dict:
    studio = _worker['studio']
    write_clip(_worker['out'] / plan.file, studio.make(plan))
    return studio.entry(plan)


def _refuse_other_seed(out: Path, seed: int):
    manifest = out / 'manifest.json'
    if manifest.is_file():
        found = json.loads(manifest.read_text()).get('seed')
        if found != seed:
            raise Cs3dError(
                '{}: made with seed {}, not {}: take that seed or another folder'.format(
                    manifest, found, seed
                )
            )


def main(arguments: list | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog='python -m training.synthesize', description=__doc__)
    parser.add_argument('--out', required=True, help='folder of the data set')
    parser.add_argument('--clips', type=int, required=True)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument(
        '--assets',
        help='folder of ict_facekit/ and skins/ (default: $CS3D_ASSETS, else ../shared/data)',
    )
    options = parser.parse_args(arguments)
    try:
        synthesize(options)
    except Cs3dError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('stopped; the same command goes on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())

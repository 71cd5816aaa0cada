"""Makes the clips of a set: a person acts, is filmed, and an event camera watches."""

import hashlib
import threading
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.simulator import pixel
from training.data.acting.performance import FRAME_RATE_HZ, Performance, perform
from training.data.assets import load_assets
from training.data.clips import RecordedClip, pack_shard
from training.data.plan import ClipPlan, SetPlan, identity_number, split_skins
from training.data.rendering.faces import FaceModel
from training.data.rendering.looks import Look, draw_look
from training.data.rendering.scene import Scene, Stage, record
from training.data.world import CONDITIONS

LICENCES = {
    'morphable face': 'ICT-FaceKit, MIT, Copyright (c) 2020 USC Institute for Creative '
    'Technologies',
    'skins, brows, irises': 'MakeHuman, CC0 1.0',
}
# of training.data, and of the simulator what opens videos
BESIDE_THE_WORLD = {'inspect.py', 'card.py', 'compare.py', 'corpora', 'demo_recording.py'}
BESIDE_THE_WORLD |= {'sources.py', 'upsample.py', 'video.py'}


class Shard(NamedTuple):
    """Which clips of a set lie in a file."""

    number: int
    first: int
    end: int

    @property
    def name(self) -> str:
        """Return the file's name."""
        return 'shard_{:05d}.h5'.format(self.number)


class Studio:
    """Makes clips; one per thread, as it keeps the renderer's buffers."""

    def __init__(self, plan: SetPlan = SetPlan(), assets_folder=None):
        cv2.setNumThreads(1)  # the workers share the cores
        self.plan = plan
        self.model = FaceModel(load_assets(assets_folder))
        self.stage = Stage(self.model, plan.width, plan.height)
        self.skins = split_skins(self.model.assets.skins)

    def look(self, plan: ClipPlan) -> Look:
        """Return the person of a plan."""
        rng = np.random.default_rng(identity_number(plan))
        return draw_look(plan.identity, self.skins[plan.split], self.model, rng)

    def performance(self, plan: ClipPlan) -> Performance:
        """Return what happens in a plan's clip."""
        rng = np.random.default_rng([plan.seed, 4, plan.index])
        return perform(plan.expressions, rng, CONDITIONS[plan.condition], self.plan.ingredients)

    def make(self, index: int) -> RecordedClip:
        """Return a clip of the set."""
        plan = self.plan.clip(index)
        look, act = self.look(plan), self.performance(plan)
        rng = np.random.default_rng([plan.seed, 5, index])
        scene = self.stage.set_up(
            look, act, rng, CONDITIONS[plan.condition], self.plan.ingredients
        )
        events, truth = record(self.stage, scene, act, rng)
        return RecordedClip(entry_of(plan, look, act, scene), events, truth)


def entry_of(plan: ClipPlan, look: Look, act: Performance, scene: Scene) -> dict:
    """Return what is known of a clip, in JSON's types."""
    return {
        'index': plan.index,
        'seed': plan.seed,
        'identity': plan.identity,
        'skin': look.skin,
        'split': plan.split,
        'condition': plan.condition,
        'expressions': list(plan.expressions),
        'label': plan.label,
        'duration_s': len(act) / FRAME_RATE_HZ,
        'segments': [segment_entry(segment) for segment in act.segments],
        'nuisances': list(act.nuisances),
        'sensor': {
            'preset': scene.preset,
            'settings': scene.pixels._asdict(),
            'gamma': scene.gamma,
        },
        'source': 'rendered',
    }


def segment_entry(segment) -> dict:
    """Return a segment for an entry: names and int64 ns from the clip's start."""
    return dict(
        {
            'expression': segment.expression,
            'recipe': segment.recipe,
            'intensity': min(1.0, float(segment.intensity)),
            'micro': segment.micro,
        },
        **{
            name + '_ns': int(round(getattr(segment, name + '_s') * 1e9))
            for name in ('onset_start', 'apex_start', 'offset_start', 'offset_end')
        },
    )


def _digest() -> str:
    digest = hashlib.sha256()
    folders = Path(__file__).parent, Path(pixel.__file__).parent
    for path in sorted(path for folder in folders for path in folder.rglob('*.py*')):
        if path.suffix in ('.py', '.pyx', '.pxd') and not BESIDE_THE_WORLD & set(path.parts):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


_VERSION = _digest()  # at import: of what runs, not of what is edited meanwhile


def world_version() -> str:
    """Return a digest of the code that decides what clips look like."""
    return _VERSION


def make_shard(plan: SetPlan, shard: Shard, assets_folder, version: str) -> bytes:
    """Return the content of a shard; runs on a worker."""
    if world_version() != version:
        raise Cs3dError(
            'a worker runs another version of this package ({}, not {}): install the same on all '
            'of them'.format(world_version(), version)
        )
    studio = _studio_of(plan, assets_folder)
    return pack_shard(studio.make(index) for index in range(shard.first, shard.end))


_own = threading.local()


def _studio_of(plan, assets_folder):
    """Return this thread's studio for a set; it is kept for the next shard."""
    key = plan, assets_folder
    if getattr(_own, 'key', None) != key:
        _own.studio, _own.key = Studio(plan, assets_folder), key
    return _own.studio

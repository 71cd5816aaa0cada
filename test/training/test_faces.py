"""Rendered faces: plans, pictures, truth."""

import json

import numpy as np
import pytest

pytest.importorskip('numba')
pytest.importorskip('cv2')

from training.data.assets import AssetsError, load_assets
from training.data.plan import SetPlan
from training.data.studio import Studio

CHIN = 8


@pytest.fixture(scope='module')
def studio(shared_data):
    return Studio(SetPlan(5, 256, 256), shared_data)


@pytest.fixture(scope='module')
def clip(studio):
    """Return (plan, truth) of the first happy clip of seed 5 that is no sequence."""
    plan = next(
        p for p in map(studio.plan.clip, range(99))
        if (p.expressions, p.condition) == (('happy',), 'standard')
    )  # fmt: skip
    return plan, studio.make(plan.index).truth


def test_the_box_holds_the_landmarks(clip):
    _, truth = clip
    low = truth.box[:, None, :2] - 1e-3
    high = low + truth.box[:, None, 2:] + 2e-3
    marks = truth.landmarks
    assert ((marks >= low) & (marks <= high)).all()


def test_the_box_has_the_proportions_of_the_field(clip, shared_data):
    boxes = json.loads((shared_data / 'videos' / 'boxes.json').read_text())['boxes']
    real = np.array([b[2] / b[3] for clip in boxes.values() for b in clip if b])
    shown = clip[1].box[:, 2] / clip[1].box[:, 3]
    assert real.min() - 0.15 < np.median(shown) < real.max() + 0.15


def test_the_persons_right_is_at_the_pictures_left(clip):
    jaw = clip[1].landmarks[0]
    assert jaw[0, 0] < jaw[CHIN, 0] < jaw[16, 0]


def test_missing_assets_are_named_with_the_cure(tmp_path):
    with pytest.raises(AssetsError, match=r'ict_face_light\.npz.*--assets'):
        load_assets(tmp_path)


def test_the_folder_of_the_assets_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('CS3D_ASSETS', str(tmp_path))
    with pytest.raises(AssetsError, match=str(tmp_path)):
        load_assets()

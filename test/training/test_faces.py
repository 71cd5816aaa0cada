"""Rendered faces: plans, pictures, truth."""

import json

import numpy as np
import pytest

pytest.importorskip('numba')
pytest.importorskip('cv2')

from training.data.assets import AssetsError, load_assets
from training.data.plan import SetPlan
from training.data.render import Camera, Light, Pose
from training.data.scene import record
from training.data.studio import Studio

NOSE_TIP, CHIN = 30, 8


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


def test_landmarks_of_a_face_at_rest_fall_where_it_is_drawn(studio):
    stage, model = studio.stage, studio.model
    stage._renderer.rest(model.neutral)
    camera = Camera(256, 256, 700.0, 700.0, (128.0, 128.0))
    shape = stage._renderer.shape(
        model.neutral, np.zeros(57, np.float32), np.zeros((2, 3)), np.zeros(2)
    )
    picture = stage._renderer.draw(
        shape,
        Pose(),
        camera,
        Light(np.array([0.0, 0.0, 1.0]), 0.6, 0.4),
        np.full((512, 1024), 0.5, np.float32),
        np.zeros((300, 300), np.float32),
    )
    marks = stage._renderer.project(shape, model.landmarks, Pose(), camera).round().astype(int)
    x, y = marks[:, 0], marks[:, 1]
    assert (picture[y, x] > 0.1).mean() > 0.9 and picture[y[NOSE_TIP], x[NOSE_TIP]] > 0.3


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


def test_float_light_has_no_steps(studio, clip):
    plan, _ = clip
    act = studio.performance(plan)
    scene = studio.stage.set_up(studio.look(plan), act, np.random.default_rng(0))
    frame, *_ = next(studio.stage.film(scene, act))
    assert frame.dtype == np.float32 and len(np.unique(frame)) > 4 * 256
    assert 0.0 <= frame.min() and frame.max() <= 255.0


def test_a_face_that_does_not_move_fires_nothing(studio, clip):
    plan, _ = clip
    act = studio.performance(plan)
    scene = studio.stage.set_up(studio.look(plan), act, np.random.default_rng(0))
    first, again = (studio.stage._film_frame(scene, act, 0)[0] for _ in range(2))
    assert np.array_equal(first, again)


def test_events_gather_at_the_onset(studio):
    plan = next(p for p in map(studio.plan.clip, range(200)) if p.expressions == ('surprised',))
    act = studio.performance(plan)
    for still in (act.pose, act.head_mm, act.body_mm, act.gaze, act.drift_px):
        still[:] = still[0]
    for name in [n for n in act.weights if n.startswith('eye')]:
        act.weights[name][:] = 0.0
    rng = np.random.default_rng(0)
    scene = studio.stage.set_up(studio.look(plan), act, rng)
    times = record(studio.stage, scene, act, rng)[0].t / 1e9
    segment = act.segments[0]
    onset = ((times > segment.onset_start_s - 0.1) & (times < segment.apex_start_s + 0.1)).mean()
    before = (times < segment.onset_start_s - 0.1).mean()
    assert onset > 0.25 > 5 * before


def test_missing_assets_are_named_with_the_cure(tmp_path):
    with pytest.raises(AssetsError, match=r'ict_face_light\.npz.*--assets'):
        load_assets(tmp_path)


def test_the_folder_of_the_assets_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('CS3D_ASSETS', str(tmp_path))
    with pytest.raises(AssetsError, match=str(tmp_path)):
        load_assets()

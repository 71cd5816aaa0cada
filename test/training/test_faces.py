"""Rendered faces: plans, pictures, truth."""

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('numba')
pytest.importorskip('cv2')

from cs3d_ros.events.recordings import open_recording
from cs3d_ros.inference.emotion import EXPRESSIONS
from training.data.assets import AssetsError, load_assets
from training.data.render import Camera, Light, Pose
from training.data.scene import record
from training.synthesize import Studio, main, plan_clip, split_skins

NOSE_TIP, CHIN = 30, 8


@pytest.fixture(scope='module')
def studio(shared_data):
    return Studio(shared_data)


@pytest.fixture(scope='module')
def clip(studio):
    """Return (plan, arrays) of the first happy clip of seed 5 that is no sequence."""
    plan = next(p for p in (plan_clip(5, i) for i in range(60)) if p.expressions == ('happy',))
    return plan, studio.make(plan)


def test_classes_are_balanced_in_every_split():
    plans = [plan_clip(1, i) for i in range(300)]
    test = [p.expressions[0] if p.expressions else 'neutral' for p in plans if p.split == 'test']
    assert {name: test.count(name) for name in EXPRESSIONS} == dict(
        dict.fromkeys(EXPRESSIONS, 4), neutral=6
    )


def test_no_identity_is_in_two_splits():
    owners = {}
    for plan in (plan_clip(2, i) for i in range(500)):
        owners.setdefault(plan.identity, set()).add(plan.split)
    assert all(len(splits) == 1 for splits in owners.values())


def test_no_skin_is_in_two_splits(studio):
    skins = split_skins(studio.model.assets.skins)
    names = [name for own in skins.values() for name in own]
    assert len(names) == len(set(names)) == len(studio.model.assets.skins)


def test_a_plan_does_not_depend_on_how_many_clips_are_asked_for():
    assert plan_clip(1, 7) == [plan_clip(1, i) for i in range(100)][7]


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
    _, arrays = clip
    low = arrays['truth_box'][:, None, :2] - 1e-3
    high = low + arrays['truth_box'][:, None, 2:] + 2e-3
    marks = arrays['truth_landmarks']
    assert ((marks >= low) & (marks <= high)).all()


def test_the_box_has_the_proportions_of_the_field(clip, shared_data):
    boxes = json.loads((shared_data / 'videos' / 'boxes.json').read_text())['boxes']
    real = np.array([b[2] / b[3] for clip in boxes.values() for b in clip if b])
    shown = clip[1]['truth_box'][:, 2] / clip[1]['truth_box'][:, 3]
    assert real.min() - 0.15 < np.median(shown) < real.max() + 0.15


def test_the_persons_right_is_at_the_pictures_left(clip):
    jaw = clip[1]['truth_landmarks'][0]
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
    plan = next(
        p for p in (plan_clip(5, i) for i in range(200)) if p.expressions == ('surprised',)
    )
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


def test_a_clip_is_the_same_when_made_again(studio, clip):
    plan, arrays = clip
    again = studio.make(plan)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


def test_workers_do_not_change_the_clips_and_finished_ones_are_kept(tmp_path, shared_data):
    one, two = tmp_path / 'one', tmp_path / 'two'
    common = ['--clips', '2', '--seed', '3', '--assets', str(shared_data)]
    assert main(['--out', str(one), '--workers', '1'] + common) == 0
    stamps = [p.stat().st_mtime_ns for p in sorted((one / 'clips').iterdir())]
    subprocess.run(
        [sys.executable, '-m', 'training.synthesize', '--out', str(two), '--workers', '2']
        + common,
        check=True,
        timeout=300,
    )
    for left, right in zip(sorted((one / 'clips').iterdir()), sorted((two / 'clips').iterdir())):
        a, b = np.load(left), np.load(right)
        assert a.files == b.files and all(np.array_equal(a[n], b[n]) for n in a.files)
    assert (one / 'manifest.json').read_text() == (two / 'manifest.json').read_text()
    assert main(['--out', str(one), '--workers', '1'] + common) == 0
    assert stamps == [p.stat().st_mtime_ns for p in sorted((one / 'clips').iterdir())]
    with open_recording(str(one / 'clips' / '00000.npz')) as recording:
        assert (recording.width, recording.height) == (256, 256)


def test_another_seed_in_the_same_folder_is_refused(tmp_path, shared_data, capsys):
    (tmp_path / 'manifest.json').write_text('{"seed": 1}')
    assert (
        main(
            [
                '--out',
                str(tmp_path),
                '--clips',
                '1',
                '--seed',
                '2',
                '--workers',
                '1',
                '--assets',
                str(shared_data),
            ]
        )
        == 1
    )
    assert 'seed 1' in capsys.readouterr().err


def test_missing_assets_are_named_with_the_cure(tmp_path):
    with pytest.raises(AssetsError, match=r'ict_face_light\.npz.*--assets'):
        load_assets(tmp_path)


def test_the_folder_of_the_assets_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('CS3D_ASSETS', str(tmp_path))
    with pytest.raises(AssetsError, match=str(tmp_path)):
        load_assets()

"""Scenes: what is drawn for a clip, what a switch or a condition changes, what is recorded."""

from dataclasses import fields, replace
from itertools import islice

import numpy as np
import pytest

pytest.importorskip('numba')
pytest.importorskip('cv2')

from cs3d_ros.events import EventBatch
from cs3d_ros.face import box_of_landmarks, face_square
from training.data.acting.action_units import ACTION_UNITS
from training.data.acting.hands import Hand
from training.data.acting.performance import perform
from training.data.assets import load_assets
from training.data.rendering.faces import FaceModel
from training.data.rendering.lights import TOTAL, draw_lights
from training.data.rendering.looks import OCCLUDERS, draw_look
from training.data.rendering.room import Room
from training.data.rendering.scene import Stage, draw_sensor, record
from training.data.rendering.wear import hat_cover, scarf_cover
from training.data.world import ACTED, CONDITIONS, Ingredients

ALL = Ingredients()
EYES, MOUTH = slice(36, 48), slice(48, 68)
BROWN_SKIN = 'middleage_darkskinned_male_diffuse_grey'


@pytest.fixture(scope='module')
def model(shared_data):
    return FaceModel(load_assets(shared_data))


@pytest.fixture(scope='module')
def stage(model):
    return Stage(model, 160, 160)


@pytest.fixture(scope='module')
def look(model):
    """Return a bearded man in a cap, with spectacles and a fringe."""
    look = draw_look('a', (BROWN_SKIN,), model, np.random.default_rng(3))
    return replace(
        look, headwear='cap', spectacles=2.0, lens=0.1, fringe=0.6, beard=0.7, face_scarf=False
    )


@pytest.fixture
def act():
    """Return a smile, a hand before the chin."""
    act = perform(('happy',), np.random.default_rng(2), duration_s=2.0)
    count = len(act)
    palm = np.tile(np.array([10.0, -110.0, 135.0], np.float32), (count, 1))
    act.hands[:] = [Hand(palm, np.zeros(count, np.float32), True)]
    return act


def set_up(stage, look, act, seed=1, condition='standard', ingredients=ALL, **more):
    rng = np.random.default_rng(seed)
    return stage.set_up(look, act, rng, CONDITIONS[condition], ingredients, **more)


def frame(stage, scene, act, k=0):
    """Return (picture in DN, landmarks, visible) of frame k."""
    picture, _, landmarks, visible = next(islice(stage.film(scene, act), k, None))
    return picture, landmarks, visible


# ---- switches

CHANGES = {
    'skin_texture': {'atlas'},
    'furrows': {'furrows'},
    'ambient_occlusion': set(),
    'cast_shadows': set(),
    'soft_eyes': {'atlas'},
    'hands': set(),
    'fringe': {'look', 'wear'},
    'spectacles': {'look', 'wear', 'head'},
    'headwear': {'look', 'wear', 'head', 'atlas'},
    'beards': {'look', 'atlas'},
    'moving_lights': {'lights'},
    'moving_background': {'room'},
    'camera_shake': {'shake_px'},
}


def same(one, other) -> bool:
    """Return whether two values drawn for a scene are the same, arrays and records included."""
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, '__dict__'):
        return same(list(vars(one).values()), list(vars(other).values()))
    return one == other


@pytest.mark.parametrize('name', CHANGES)
def test_a_switch_changes_only_what_it_names(stage, look, act, name):
    whole = set_up(stage, look, act)
    less = set_up(stage, look, act, ingredients=ALL.without(name))
    differ = {
        f.name
        for f in fields(whole)
        if f.name not in ('ingredients', 'furrows')
        and not same(getattr(whole, f.name), getattr(less, f.name))
    }
    if less.furrows is None:
        differ.add('furrows')
    assert differ <= CHANGES[name]


@pytest.mark.parametrize(
    'name',
    ['skin_texture', 'ambient_occlusion', 'cast_shadows', 'soft_eyes', 'hands', 'fringe',
     'spectacles', 'headwear', 'beards', 'furrows'],
)  # fmt: skip
def test_a_switch_of_the_looks_is_seen(stage, look, act, name):
    whole, less = (
        frame(stage, set_up(stage, look, act, ingredients=has), act, 70)[0]
        for has in (ALL, ALL.without(name))
    )
    assert np.abs(np.log((whole + 1) / (less + 1))).max() > 0.1


def test_soft_eyes_change_nothing_beside_the_eyes(stage, look, act):
    scenes = [set_up(stage, look, act, ingredients=has) for has in (ALL, ALL.without('soft_eyes'))]
    (whole, marks, _), (less, _, _) = (
        frame(stage, replace(scene, lens_px=0.0), act) for scene in scenes
    )
    rows, columns = np.nonzero(np.abs(whole - less) > 1e-3)
    low, high = marks[EYES].min(axis=0) - 3, marks[EYES].max(axis=0) + 3
    assert len(rows) > 10
    assert (columns >= low[0]).all() and (columns <= high[0]).all()
    assert (rows >= low[1]).all() and (rows <= high[1]).all()


def test_landmarks_are_those_of_the_bare_face(stage, look, act):
    bare = replace(look, headwear='none')
    scarf = replace(look, face_scarf=True, headwear='headscarf')
    marks = [frame(stage, set_up(stage, own, act), act, 60)[1] for own in (bare, scarf)]
    assert marks[0] == pytest.approx(marks[1], abs=1e-3)


# ---- light, room, camera


@pytest.mark.parametrize('seed', range(8))
def test_lights_begin_alike_whether_they_move_or_not(seed):
    moving, still = (
        draw_lights(120, 60.0, np.random.default_rng(seed), moves) for moves in (True, False)
    )
    assert np.array_equal(moving.lamps[0], still.lamps[0]) and moving.shine == still.shine
    assert (still.lamps == still.lamps[0]).all() and still.sweep is None


def test_lamps_are_two_to_four_of_one_total_and_some_move():
    drawn = [draw_lights(120, 60.0, np.random.default_rng(s), True) for s in range(60)]
    counts = {lights.lamps.shape[1] for lights in drawn}
    assert counts == {2, 3, 4}
    totals = [lights.lamps[0, :, 3].sum() + lights.ambient[0] for lights in drawn]
    assert np.median(totals) == pytest.approx(TOTAL, rel=0.02)
    assert np.linalg.norm(drawn[0].lamps[..., :3], axis=-1) == pytest.approx(1.0, abs=1e-5)
    moving = sum(bool(np.ptp(lights.lamps, axis=0).max() > 0.02) for lights in drawn)
    assert 15 < moving < 50


def test_a_room_that_does_not_move_is_the_same_in_all_frames():
    room = Room((90, 120), 50, 60.0, np.random.default_rng(0), moving=False)
    first = room.behind(0).copy()
    assert np.array_equal(first, room.behind(49)) and np.ptp(first) > 0


def test_a_shaken_room_shifts_as_a_whole():
    room = Room((90, 120), 5, 60.0, np.random.default_rng(1), moving=False)
    still = room.behind(0).copy()
    shifted = room.behind(0, np.array([3.0, -2.0])).copy()
    assert shifted[:-2, 3:] == pytest.approx(still[2:, :-3], abs=1e-6)


def test_some_rooms_move():
    rooms = [Room((90, 120), 60, 60.0, np.random.default_rng(s)) for s in range(40)]
    moving = [np.abs(r.behind(0).copy() - r.behind(59)).max() > 0.01 for r in rooms]
    assert 4 <= sum(moving) <= 28


def test_the_camera_shakes_face_and_room_together(stage, look, act):
    """A shift by whole pixels is a shift of the picture."""
    scene = set_up(stage, look, act, face_px=70.0)
    scene = replace(scene, lens_px=0.0, shake_px=np.zeros((len(act), 2)))
    moved = replace(scene, shake_px=np.tile([4.0, -3.0], (len(act), 1)))
    (still, marks, _), (shaken, shaken_marks, _) = (frame(stage, s, act) for s in (scene, moved))
    assert shaken[:-6, 4:-3] == pytest.approx(still[3:-3, :-7], abs=0.5)
    assert shaken_marks - marks == pytest.approx(np.tile([4.0, -3.0], (68, 1)), abs=1e-3)


# ---- conditions


@pytest.mark.parametrize('size', [(346, 260), (256, 256), (240, 180)])
def test_the_face_is_as_large_as_asked_for_on_every_sensor(model, look, act, size):
    stage = Stage(model, *size)
    scene = set_up(stage, look, act, face_px=120.0)
    picture, box, _, _ = next(stage.film(scene, act))
    assert picture.shape == size[::-1] and picture.dtype == np.float32
    assert 1.15 * max(box[2:]) == pytest.approx(120.0, rel=0.02)


@pytest.mark.parametrize('seed', range(6))
def test_a_clip_of_condition_distance_shows_a_small_face(stage, look, act, seed):
    marks = frame(stage, set_up(stage, look, act, seed, 'distance'), act)[1]
    side = face_square(box_of_landmarks(marks)).side
    assert 45.0 * 160 / 256 - 2 < side < 95.0 * 160 / 256 + 2


@pytest.mark.parametrize('by', OCCLUDERS)
def test_an_occluder_hides_landmarks(stage, look, act, by):
    act.hands.clear()
    act.pose[:] = 0.0
    bare = replace(look, headwear='none', spectacles=0.0, fringe=0.0)
    shares = [
        frame(stage, set_up(stage, own, act), act)[2].mean() for own in (bare, bare.occluded(by))
    ]
    assert shares[1] < shares[0] - 0.05


def test_occlusion_draws_all_occluders(stage, look, act):
    looks = [set_up(stage, look, act, seed, 'occlusion').look for seed in range(14)]
    assert {(w.face_scarf, w.lens > 0.8) for w in looks} == {(1, 0), (0, 1), (0, 0)}


@pytest.mark.parametrize('name', ['low_light_1', 'low_light_2', 'low_light_3'])
def test_low_light_is_the_same_picture_of_fewer_photons(stage, look, act, name):
    lit, dim = (set_up(stage, look, act, 4, condition) for condition in ('standard', name))
    assert dim.pixels.light == pytest.approx(CONDITIONS[name].light)
    assert (dim.preset, dim.gain == lit.gain, dim.camera == lit.camera) == (
        'low_light',
        True,
        True,
    )


def test_thresholds_spread_around_those_of_cameras():
    rng = np.random.default_rng(0)
    drawn = [draw_sensor(CONDITIONS['standard'], 0.2, rng) for _ in range(400)]
    on = np.array([sensor['pixels'].on_threshold for sensor in drawn])
    assert 0.06 < on.min() < 0.12 and 0.25 < on.max() < 0.4
    assert {sensor['preset'] for sensor in drawn} == set(CONDITIONS['standard'].presets)


def test_half_of_the_clips_see_display_values():
    rng = np.random.default_rng(1)
    gammas = [draw_sensor(CONDITIONS['standard'], 0.2, rng)['gamma'] for _ in range(400)]
    assert 160 < gammas.count(1.0) < 240 and set(gammas) == {1.0, 2.2}


def test_pixels_are_exposed_for_the_face(stage, look, act):
    """Neither lost in the dark nor all white, whatever lamps and skins were drawn."""
    act.hands.clear()
    for seed in range(5):
        scene = set_up(stage, look, act, seed)
        picture, marks, _ = frame(stage, scene, act)
        x, y = marks[27:36].mean(axis=0).astype(int)
        assert 12.0 < picture[y - 3 : y + 4, x - 3 : x + 4].mean() < 250.0


# ---- headwear


def test_a_face_scarf_covers_the_mouth_and_leaves_the_eyes(model, look):
    own = replace(look, face_scarf=True)
    marks = model.neutral[model.landmarks]
    cover = scarf_cover(own, marks)
    assert (cover[MOUTH] > 0).all() and (cover[EYES] < 0).all()


@pytest.mark.parametrize('kind', ['cap', 'beanie', 'headscarf'])
def test_headwear_leaves_eyes_and_mouth_free_and_covers_the_crown(model, kind):
    marks = model.neutral[model.landmarks]
    cover = hat_cover(kind, marks)
    assert (cover[EYES] < 0).all() and (cover[MOUTH] < 0).all()
    crown = model.neutral[model.neutral[: model.skin_count, 1].argmax()]
    assert hat_cover(kind, crown[None])[0] > 0


def test_lips_of_dark_skins_are_not_paler_than_their_skin_by_much(model):
    """A fixed albedo of lips is lighter than dark skin: it scales with it."""
    stage = Stage(model, 32, 32)
    own = draw_look('a', (BROWN_SKIN,), model, np.random.default_rng(0))
    own = replace(own, beard=0.0)
    atlas = stage._painter.atlas(own, np.random.default_rng(0), 1.0)[:, :512]
    lips = max((mask for mask in stage._painter.lips), key=np.sum) > 0.8
    tone = stage._painter.tone(own)
    assert 0.4 * tone < atlas[lips].mean() < 1.4 * tone


# ---- what is recorded


@pytest.fixture(scope='module')
def recorded(stage, look):
    act = perform(('surprised',), np.random.default_rng(5), duration_s=1.6)
    scene = set_up(stage, look, act, 6)
    return act, scene, record(stage, scene, act, np.random.default_rng(7))


def test_a_recording_is_events_and_truth_of_every_frame(recorded):
    act, _, (events, truth) = recorded
    count = len(act)
    assert isinstance(events, EventBatch) and (events.width, events.height) == (160, 160)
    assert len(events) > 1000 and events.t[-1] <= truth.t_ns[-1]
    assert {name: getattr(truth, name).shape for name in vars(truth)} == {
        't_ns': (count,), 'expression': (count,), 'intensity': (count,),
        'action_units': (count, len(ACTION_UNITS)), 'landmarks': (count, 68, 2),
        'box': (count, 4), 'pose': (count, 3), 'visible': (count,),
    }  # fmt: skip


def test_the_truth_tells_what_was_acted(recorded):
    act, _, (_, truth) = recorded
    assert [ACTED[k] for k in truth.expression] == act.expression
    assert np.array_equal(truth.action_units, act.action_units)
    assert truth.t_ns[60] == 1_000_000_000
    assert (truth.visible > 0.2).all() and (truth.visible <= 1.0).all()


def test_the_same_seeds_make_the_same_events(recorded, stage, look):
    act, scene, (events, _) = recorded
    again, _ = record(stage, scene, act, np.random.default_rng(7))
    assert all(np.array_equal(getattr(events, n), getattr(again, n)) for n in 'xytp')


def test_a_face_that_does_not_move_fires_nothing(stage, look, act):
    still = replace(
        set_up(stage, look, act, ingredients=ALL.without('moving_lights', 'moving_background')),
        shake_px=np.zeros((len(act), 2)),
    )
    for moving in (act.pose, act.head_mm, act.body_mm, act.gaze):
        moving[:] = moving[0]
    for curve in act.weights.values():
        curve[:] = curve[0]
    frames = [picture for picture, *_ in stage.film(still, act)]
    assert all(np.array_equal(frames[0], later) for later in frames[1:])


def test_events_gather_at_the_onset(stage, look):
    act = perform(('surprised',), np.random.default_rng(8), ingredients=ALL.without('cut_in'))
    act.hands.clear()
    for moving in (act.pose, act.head_mm, act.body_mm, act.gaze):
        moving[:] = moving[0]
    for name in [n for n in act.weights if n.startswith('eye')]:
        act.weights[name][:] = 0.0
    quiet = ALL.without('moving_lights', 'moving_background', 'camera_shake')
    scene = set_up(stage, replace(look, face_scarf=False), act, ingredients=quiet)
    scene = replace(scene, pixels=type(scene.pixels)())
    t = record(stage, scene, act, np.random.default_rng(0))[0].t / 1e9
    segment = act.segments[0]
    onset = ((t > segment.onset_start_s - 0.1) & (t < segment.apex_start_s + 0.1)).mean()
    before = (t < segment.onset_start_s - 0.1).mean()
    assert onset > 0.25 > 5 * before


def test_float_light_has_no_steps(stage, look, act):
    picture = frame(stage, set_up(stage, look, act), act)[0]
    assert len(np.unique(picture)) > 4 * 256 and 0.0 <= picture.min() and picture.max() <= 255.0

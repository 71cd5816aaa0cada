"""The renderer against closed forms: projection, lamps, shadows, triangles, edges, lines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip('numba')
pytest.importorskip('cv2')

from training.data.assets import load_assets
from training.data.rendering import kernels, overlay, raster, shading
from training.data.rendering.camera import PIVOT_MM, Camera, Pose, project
from training.data.rendering.faces import FaceModel, head_shape
from training.data.rendering.hand_mesh import POSTURES, hand
from training.data.rendering.lights import Lights, lamp
from training.data.rendering.render import Renderer, Wear

CAMERA = Camera(128, 128, 420.0, 700.0, (64.0, 64.0))
GREY = np.full((512, 1024), 0.5, np.float32)
NOTHING = np.zeros((128, 128), np.float32)
FRONT = lamp((0.0, 0.0, 1.0))
NOSE_TIP, MOUTH = 30, slice(48, 68)
HEAD_ON = Pose()


@pytest.fixture(scope='module')
def model(shared_data):
    return FaceModel(load_assets(shared_data))


@pytest.fixture(scope='module')
def renderer(model):
    """Return a renderer of the mean face at rest."""
    renderer = Renderer(model, 128, 128)
    renderer.rest(head_shape(model, np.zeros(100), np.zeros(model.skin_count)))
    return renderer


def draw(renderer, pose=HEAD_ON, lights=FRONT, weights=None, gaze=(0.0, 0.0), **more):
    own = renderer.model.shapes.weights(weights or {})
    return renderer.draw(own, np.array(gaze), pose, CAMERA, lights, 0, GREY, NOTHING, **more)


# ---- projection


def test_a_point_falls_where_a_pinhole_puts_it():
    x, y, depth = project(np.array([[30.0, -20.0, 100.0]]), 1.0, Pose(), CAMERA)
    assert (x[0], y[0], depth[0]) == pytest.approx((64 + 21.0, 64 + 14.0, 600.0))


def test_vertices_and_landmarks_share_one_projection():
    rng = np.random.default_rng(0)
    shape = rng.normal(0, 60, (20, 3)).astype(np.float32)
    follow = rng.uniform(0, 1, 20).astype(np.float32)
    pose = Pose(12.0, -8.0, 5.0, np.array([3.0, 1.0, -9.0]), np.array([1.0, 2.0, 3.0]))
    screen = np.zeros((20, 8), np.float32)
    kernels.place(
        shape, follow, np.array([[0, 20, 0, 0]]), pose.rotation(), pose.head_mm.astype('f4'),
        pose.body_mm.astype('f4'), PIVOT_MM, np.float32(420), np.float32(700), np.float32(64),
        np.float32(64), screen,
    )  # fmt: skip
    x, y, depth = project(shape, follow[:, None], pose, CAMERA)
    assert screen[:, :3] == pytest.approx(np.stack([x, y, 1 / depth], axis=-1), rel=1e-4)


def test_a_head_turned_to_its_left_looks_to_the_pictures_right():
    nose = np.array([[0.0, 0.0, 130.0]])
    assert project(nose, 1.0, Pose(yaw=20.0), CAMERA)[0][0] > 64.0


def test_no_normal_is_longer_than_one_whatever_blocks_are_drawn(model):
    """Triangles of the mouth's inside share vertices with the lips."""
    blocks = np.array([model.blocks[n] for n in ('head', 'torso', 'mouth')])
    normals = np.zeros_like(model.neutral)
    kernels.vertex_normals(model.neutral, model.triangles, blocks, normals)
    length = np.linalg.norm(
        normals[np.unique(model.triangles[blocks[0, 2] : blocks[0, 3]])], axis=1
    )
    assert length.max() < 1.0001 and (length > 0.9999).mean() > 0.999


# ---- light


def shaded(normals, lights, k=0, occlusion=1.0, cast=False, shape=None, blocks=None, **scene):
    """Return light and sheen of vertices that all are skin."""
    count = len(normals)
    shape = np.zeros((count, 3), np.float32) if shape is None else shape
    screen = np.zeros((count, 8), np.float32)
    shading.shade(
        shape, normals, np.ones(count, np.float32), np.array([[0, count, 0, 0]]),
        np.eye(3, dtype=np.float32), lights.lamps[k],
        np.array([lights.ambient[k], lights.shine], np.float32),
        np.zeros(5, np.float32) if lights.sweep is None else lights.sweep[k],
        np.full(count, occlusion, np.float32), scene.get('cells', shape),
        scene.get('grid', np.zeros((4, 4), np.float32)), cast, count, screen,
    )  # fmt: skip
    return screen[:, 3], screen[:, 4]


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(seed=st.integers(0, 1000), softness=st.floats(0.0, 1.0))
def test_a_sphere_is_lit_by_the_sum_of_its_lamps(seed, softness):
    rng = np.random.default_rng(seed)
    normals = unit(rng.normal(size=(50, 3)))
    toward = unit(rng.normal(size=(3, 3)))
    strength = rng.uniform(0.1, 0.8, 3)
    lamps = np.concatenate([toward, strength[:, None], np.full((3, 1), softness)], axis=1)
    lights = Lights(lamps[None].astype(np.float32), np.array([0.3], np.float32), 0.0)
    wrapped = np.maximum(0.0, (normals @ toward.T + softness) / (1 + softness))
    expected = 0.3 * (0.75 + 0.25 * normals[:, 1]) + wrapped @ strength
    assert shaded(normals, lights)[0] == pytest.approx(expected, abs=1e-4)


def test_sheen_is_brightest_half_way_between_lamp_and_viewer():
    lights = Lights(lamp((1.0, 0.0, 1.0)).lamps, np.array([0.2], np.float32), 0.1)
    normals = unit(np.array([[np.sin(a), 0.0, np.cos(a)] for a in np.radians([0.0, 22.5, 60.0])]))
    _, sheen = shaded(normals, lights)
    assert sheen[1] == pytest.approx(0.1 * 0.6, rel=1e-3) and sheen[1] > sheen[0] > sheen[2]


def test_a_passing_shadow_dims_the_first_lamp_where_it_is():
    sweep = np.array([[1.0, 0.0, 20.0, 10.0, 0.5]], np.float32)
    lights = Lights(FRONT.lamps, np.zeros(1, np.float32), 0.0, sweep)
    shape = np.array([[20.0, 0, 0], [30.0, 0, 0], [90.0, 0, 0]], np.float32)
    light, _ = shaded(unit(np.tile([[0.0, 0, 1]], (3, 1))), lights, shape=shape)
    assert light / 0.6 == pytest.approx([0.5, 1 - 0.5 * np.exp(-1), 1.0], abs=1e-3)


def test_a_plate_casts_a_shadow_with_soft_rims():
    """A plate of 60 mm hovers 40 mm over points in a row; the lamp stands right above."""
    plate = np.array([[-30, -30, 40], [30, -30, 40], [30, 30, 40], [-30, 30, 40]], np.float32)
    row = np.array([[x, 0.0, 0.0] for x in np.arange(-80.0, 81.0, 5.0)], np.float32)
    shape = np.concatenate([plate, row]) + np.array([0.0, *shading.SHADOW_CENTRE_MM], np.float32)
    normals = unit(np.tile([[0.0, 0.0, 1.0]], (len(shape), 1)))
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    cells = np.zeros_like(shape)
    grid = np.empty((shading.SHADOW_GRID,) * 2, np.float32)
    frame = shading.light_frame(np.array([0.0, 0.0, 1.0], np.float32))
    shading.light_depth(
        shape, normals, triangles, np.full(2, 2, np.uint8), 2,
        np.array([[0, len(shape), 0, 2]]), frame, cells, grid,
    )  # fmt: skip
    lights = Lights(FRONT.lamps, np.zeros(1, np.float32), 0.0)
    light, _ = shaded(normals, lights, cast=True, shape=shape, cells=cells, grid=grid)
    seen, far = light[4:] / 0.6, np.abs(row[:, 0])
    assert (seen[far < 25] == 0).all() and seen[far > 40] == pytest.approx(1.0)
    assert ((seen[(far > 26) & (far < 34)] > 0) & (seen[(far > 26) & (far < 34)] < 1)).all()


@pytest.mark.parametrize('toward', [(0, 0, 1), (0, 1, 0), (1, 0, 0), (-0.6, 0.64, 0.48)])
def test_the_light_has_a_frame_of_its_own(toward):
    frame = shading.light_frame(np.array(toward, np.float32))
    assert frame @ frame.T == pytest.approx(np.eye(3), abs=1e-6)
    assert frame[2] == pytest.approx(toward)


def test_half_the_light_is_half_the_picture(renderer):
    bright = Lights(FRONT.lamps, np.array([0.4], np.float32), 0.1)
    lamps = FRONT.lamps.copy()
    lamps[..., 3] *= 0.5
    dim = Lights(lamps, np.array([0.2], np.float32), 0.1)
    whole, half = draw(renderer, lights=bright), draw(renderer, lights=dim)
    assert whole.max() > 0.3 and half == pytest.approx(0.5 * whole, rel=1e-4, abs=1e-6)


# ---- pixels


def plain_triangles(screen, triangles, size):
    """Return (1 / depth, light) of triangles by the book, pixel by pixel, float64."""
    depth, value = np.zeros((size, size)), np.zeros((size, size))
    for a, b, c in triangles:
        p = screen[[a, b, c]].astype(float)
        edge = np.array([p[1, :2] - p[0, :2], p[2, :2] - p[0, :2]]).T
        for y in range(size):
            for x in range(size):
                w1, w2 = np.linalg.solve(edge, np.array([x + 0.5, y + 0.5]) - p[0, :2])
                w = np.array([1 - w1 - w2, w1, w2])
                if w.min() >= 0 and w @ p[:, 2] > depth[y, x]:
                    depth[y, x], value[y, x] = w @ p[:, 2], w @ p[:, 3]
    return depth, value


def painted(screen, triangles, size, atlas=None):
    """Return (depth, value) as the compiled loop draws them, all triangles two-sided."""
    depth, value = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    code, live = np.zeros((size, size), np.uint8), np.zeros((len(triangles), 5), np.int32)
    flags = np.ones(len(triangles), np.uint8)
    count = raster.raster(
        screen, triangles, flags, flags, np.array([[0, len(screen), 0, len(triangles)]]),
        np.ones((8, 8), np.float32) if atlas is None else atlas, depth, value, code, live,
    )  # fmt: skip
    return depth, value, code, live[:count]


@pytest.mark.parametrize('seed', range(5))
def test_triangles_hide_each_other_as_by_the_book(seed):
    rng = np.random.default_rng(seed)
    screen = np.zeros((12, 8), np.float32)
    screen[:, :2] = rng.uniform(-3, 19, (12, 2))
    screen[:, 2:4] = rng.uniform(0.1, 1.0, (12, 2))
    triangles = np.arange(12, dtype=np.int32).reshape(4, 3)
    depth, value, _, _ = painted(screen, triangles, 16)
    book = plain_triangles(screen, triangles, 16)
    assert (depth == pytest.approx(book[0], abs=1e-4)) and value == pytest.approx(
        book[1], abs=1e-3
    )


def edge_at(place, side=8):
    """Return a picture `side` px wide, bright left of an upright edge at a place."""
    size, end = (side, side), 2 * side
    screen = np.zeros((4, 8), np.float32)
    screen[:, :2] = [[-9, -9], [place, -9], [place, end], [-9, end]]
    screen[:, 2:4] = 1.0
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    depth, value, code, live = painted(screen, triangles, side)
    slot = np.zeros(size, np.int32)
    words = np.zeros((side, (side >> raster.WORD_BITS) + 2), np.uint64)
    count = raster.mark_edges(depth, code, np.float32(0.01), slot, words)
    depths, owners = np.zeros((count, 5), np.float32), np.zeros((count, 4), np.int32)
    raster.raster_edges(screen, triangles, live, slot, words, depths, owners)
    picture = np.zeros(size, np.float32)
    raster.resolve(
        screen, triangles, np.ones((8, 8), np.float32), value, depth, slot, depths, owners,
        np.zeros(size, np.float32), np.float32(1), picture,
    )  # fmt: skip
    return picture


# triangles of less than a word of pixels, and of more; edges within a word and where one ends
@pytest.mark.parametrize('side, column', [(8, 4), (40, 31), (40, 32), (80, 63), (80, 70)])
def test_a_slow_edge_crosses_a_pixel_in_four_steps(side, column):
    seen = [float(edge_at(column + k / 8 + 1 / 16, side)[3, column]) for k in range(8)]
    assert seen == pytest.approx([0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0])


@pytest.mark.parametrize('side, column', [(8, 4), (40, 31), (40, 32), (80, 63), (80, 70)])
def test_an_edge_changes_no_pixel_beside_it(side, column):
    picture = edge_at(column + 0.3, side)
    assert picture[:, :column] == pytest.approx(1.0) and (picture[:, column + 1 :] == 0.0).all()


def test_a_sheer_triangle_mixes_with_what_lies_behind_it():
    screen = np.zeros((3, 8), np.float32)
    screen[:, :2] = [[-20, -20], [40, -20], [-20, 40]]
    screen[:, 2], screen[:, 3], screen[:, 7] = 1.0, 0.2, 0.5
    picture, depth = np.full((8, 8), 0.8, np.float32), np.zeros((8, 8), np.float32)
    depth[2, 2] = 2.0  # something nearer stands there
    overlay.blend(
        screen, np.array([[0, 1, 2]], np.int32), np.array([0, 3, 0, 1]),
        np.ones((8, 8), np.float32), np.float32(0.6), picture, depth,
    )  # fmt: skip
    assert picture[5, 5] == pytest.approx(0.8 + 0.3 * (0.2 - 0.8)) and picture[2, 2] == 0.8


@pytest.mark.parametrize('radius', [0.2, 0.5, 1.5])
def test_a_line_covers_its_length_times_its_width(radius):
    points = np.array([[10.3, 20.2, 1.0], [50.8, 33.1, 1.0]], np.float32)
    picture, depth = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
    overlay.draw_strokes(
        points, np.full(2, radius, np.float32), np.array([0, 2]), np.ones(1, np.float32),
        np.float32(0), picture, depth,
    )  # fmt: skip
    length = np.hypot(40.5, 12.9)
    round_ends = np.pi * radius**2 + 1.0
    assert abs(picture.sum() - length * 2 * radius) < 0.04 * picture.sum() + round_ends


@pytest.mark.parametrize('gamma', [1.0, 2.2])
def test_exposure_follows_the_displays_curve(gamma):
    light = np.linspace(0.004, 2.0, 64, dtype=np.float32).reshape(8, 8)
    shown = light.copy()
    overlay.expose(shown, np.float32(0.7), overlay.display_curve(gamma))
    assert shown == pytest.approx(255 * np.minimum(1, 0.7 * light) ** (1 / gamma), abs=2e-3)


# ---- the face


def test_landmarks_fall_where_the_face_is_drawn(renderer):
    picture = draw(renderer)
    marks, seen = renderer.landmarks(HEAD_ON, CAMERA)
    x, y = np.floor(marks[seen]).astype(int).T
    assert (picture[y, x] > 0.05).all() and seen.sum() > 55


@pytest.mark.parametrize('yaw, gone', [(60.0, range(13, 17)), (-60.0, range(4))])
def test_a_head_turned_away_hides_the_far_jaw(renderer, yaw, gone):
    draw(renderer, Pose(yaw=yaw))
    _, seen = renderer.landmarks(Pose(yaw=yaw), CAMERA)
    near = [16 - k for k in gone]
    assert not seen[list(gone)].any() and seen[near].sum() >= 3


def test_a_hand_before_the_mouth_hides_it(renderer):
    palm = hand('flat', True) + np.array([0.0, -40.0, 150.0], np.float32)
    draw(renderer, hands={'hand_left': palm})
    hidden = ~renderer.landmarks(HEAD_ON, CAMERA)[1][MOUTH]
    draw(renderer)
    assert hidden.all() and renderer.landmarks(HEAD_ON, CAMERA)[1][MOUTH].all()


@pytest.mark.parametrize('posture', POSTURES)
def test_a_left_hand_mirrors_a_right_one(posture):
    assert hand(posture, True) * [-1, 1, 1] == pytest.approx(hand(posture, False))


def test_a_hands_thumb_is_on_the_side_of_its_owners_middle():
    left = hand('flat', True)  # seen from its back, at the picture's right
    thumb = left[-72:]
    assert thumb[:, 0].mean() > 20.0


def test_cloth_over_landmarks_hides_them(model):
    renderer = Renderer(model, 128, 128)
    covered = np.arange(68) >= 48
    head = head_shape(model, np.zeros(100), np.zeros(model.skin_count))
    renderer.rest(head, Wear(hidden=covered))
    draw(renderer)
    assert not renderer.landmarks(HEAD_ON, CAMERA)[1][MOUTH].any()


def test_eyeballs_turn_with_the_gaze(renderer):
    """The iris, dark on a white ball, moves to the picture's right when they look left."""
    atlas = GREY.copy()
    x, y, side = 516, 4, 248
    rows, columns = np.mgrid[:side, :side] - side / 2
    atlas[y : y + side, x : x + side] = np.where(np.hypot(rows, columns) < side / 5.2, 0.0, 1.0)
    places = []
    for gaze in ((0.0, 0.0), (20.0, 0.0)):
        weights = renderer.model.shapes.weights({'eyeWide': 1.0})
        picture = renderer.draw(weights, np.array(gaze), HEAD_ON, CAMERA, FRONT, 0, atlas,
                                NOTHING, soft_eyes=False)  # fmt: skip
        marks = renderer.landmarks(HEAD_ON, CAMERA)[0][42:48].round().astype(int)
        (left, top), (right, bottom) = marks.min(0), marks.max(0)
        eye = picture[top : bottom + 1, left : right + 1]
        places.append(float((np.arange(eye.shape[1]) * (eye < 0.1)).sum() / (eye < 0.1).sum()))
    assert places[1] > places[0] + 1.0


def test_an_open_mouth_is_dark_inside(renderer):
    atlas = np.full((512, 1024), 0.5, np.float32)
    weights = renderer.model.shapes.weights({'jawOpen': 0.5})
    picture = renderer.draw(weights, np.zeros(2), HEAD_ON, CAMERA, FRONT, 0, atlas, NOTHING)
    marks = renderer.landmarks(HEAD_ON, CAMERA)[0]
    x, y = (marks[62] * 0.35 + marks[66] * 0.65).astype(int)
    cheek = marks[[2, 31]].mean(axis=0).astype(int)
    assert 0.0 < picture[y, x] < 0.5 * picture[cheek[1], cheek[0]]


def test_a_shut_mouth_costs_no_inside(renderer):
    draw(renderer)
    before = renderer._screen[slice(*renderer.model.blocks['mouth'][:2])].copy()
    draw(renderer, Pose(yaw=5.0))
    after = renderer._screen[slice(*renderer.model.blocks['mouth'][:2])]
    assert np.array_equal(before, after)


def test_weights_of_a_clip_come_as_one_table(model):
    table = model.shapes.weights({'mouthSmile': np.array([0.1, 0.2]), 'jawOpen': np.ones(2)})
    names = model.shapes.names
    assert table.shape == (2, len(names)) and table[1, names.index('mouthSmile_R')] == np.float32(
        0.2
    )
    assert table.sum(axis=1) == pytest.approx([1.2, 1.4])


def test_a_foreign_blendshape_is_refused(model):
    with pytest.raises(ValueError, match='noseWiggle'):
        model.shapes.weights({'noseWiggle': 1.0})

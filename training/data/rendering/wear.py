"""What people have on: headwear and scarves, spectacles, a fringe; what of it hides the face."""

import numpy as np

from training.data.rendering.faces import FaceModel, HeadShape
from training.data.rendering.looks import Look
from training.data.rendering.render import Wear
from training.data.rendering.sheets import LENS_POINTS, hairline_distance, is_ear, smoothstep

HAT_MM = {'cap': 5.0, 'beanie': 6.0, 'headscarf': 8.0}  # thickness over the flattened hair
FACE_SCARF_MM = 5.0
FACE_SCARF_GIVE = 0.1  # cloth follows the face a little
SMOOTHINGS = 25  # cloth bridges nostrils and lips
LOCKS = 70  # of a full fringe
LOCK_POINTS = 8
LOCK_MM = (0.7, 2.2)  # radius
RIM_POINTS = 2 * LENS_POINTS


def hat_cover(kind: str, points: np.ndarray) -> np.ndarray:
    """Return how far inside the hat points of the neutral head lie, mm; below 0 is outside."""
    if kind == 'cap':
        return np.where(is_ear(points), -9.0, hairline_distance(points) - 4.0)
    if kind == 'beanie':
        ears = (np.abs(points[..., 0]) > 74.0) & (points[..., 1] < 40.0)
        return np.where(ears, -9.0, hairline_distance(points) + 14.0)
    if kind == 'headscarf':
        x, y = points[..., 0] / 67.0, (points[..., 1] - 8.0) / 91.0
        oval = 70.0 * (np.sqrt(x * x + y * y) - 1.0)
        return np.where(points[..., 2] < 8.0, 20.0, oval)
    return np.full(points.shape[:-1], -99.0)


def scarf_cover(look: Look, points: np.ndarray) -> np.ndarray:
    """Return how far below the upper hem of a face scarf points lie, mm."""
    if not look.face_scarf:
        return np.full(points.shape[:-1], -99.0)
    hem = (-14.0, 2.0, 12.0)[look.seed % 3]  # over the mouth only, over the nose's tip, higher
    return hem + 0.1 * np.abs(points[..., 0]) - points[..., 1]


def clothed(look: Look, model: FaceModel) -> np.ndarray:
    """Return the thickness in mm of hair and cloth on each vertex of the skin."""
    skin = model.neutral[: model.skin_count]
    hair = model.scalp * look.hair_mm
    hat = smoothstep(hat_cover(look.headwear, skin) / 14.0)
    scarf = smoothstep(scarf_cover(look, skin) / 7.0)
    hair = hair * (1 - 0.6 * hat)
    return hair + hat * HAT_MM.get(look.headwear, 0.0) + scarf * FACE_SCARF_MM


def bridge(vertices: np.ndarray, look: Look, model: FaceModel):
    """Smooth the skin under a face scarf in place."""
    if not look.face_scarf:
        return
    count = model.skin_count
    cover = smoothstep(scarf_cover(look, model.neutral[:count]) / 7.0)[:, None]
    faces = model.triangles[: model.blocks['head'][3]]
    faces = faces[(faces < count).all(axis=1)]
    start, end = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    degree = np.maximum(1, np.bincount(start, minlength=count))[:, None]
    for _ in range(SMOOTHINGS):
        skin = vertices[:count]
        mean = np.stack(
            [np.bincount(start, skin[end, k], minlength=count) for k in range(3)], axis=-1
        )
        vertices[:count] += (cover * (mean / degree - skin)).astype(np.float32)


def dress(look: Look, model: FaceModel, head: HeadShape) -> Wear:
    """Return what a person has on, in the shape of their head."""
    skin = model.neutral[: model.skin_count]
    blocks = ['torso']
    if look.headwear == 'headscarf' or (look.long_hair and look.headwear != 'headscarf'):
        blocks.append('curtain')
    if look.headwear == 'cap':
        blocks.append('visor')
    give = np.ones(len(model.neutral), np.float32)
    give[: model.skin_count] -= smoothstep(hat_cover(look.headwear, skin) / 7.0)
    scarf = smoothstep(scarf_cover(look, skin) / 7.0)
    give[: model.skin_count] -= (1 - FACE_SCARF_GIVE) * np.minimum(scarf, give[: len(skin)])
    marks = model.neutral[model.landmarks]
    hidden = (hat_cover(look.headwear, marks) > 0) | (scarf_cover(look, marks) > 0)
    strokes = _fringe(look, model, head) + _spectacles(look, model, head)
    lens_opacity = look.lens if look.spectacles else 0.0
    return Wear(tuple(blocks), give, strokes, lens_opacity, look.face_scarf, hidden)


def _spectacles(look: Look, model: FaceModel, head: HeadShape) -> tuple:
    """Return the lines of a pair of glasses; their lenses are put into the head's vertices."""
    if not look.spectacles:
        return ()
    rng = np.random.default_rng([look.seed, 1])
    wide, high = rng.uniform(22.0, 27.0), rng.uniform(15.0, 21.0)
    power = rng.uniform(2.0, 4.0)  # from round to square
    albedo = float(rng.uniform(0.01, 0.15))
    rest = np.array([model.neutral[e].mean(axis=0) for e in model.eyes]).mean(axis=0)
    shift = (head.eye_centres.mean(axis=0) - rest) * np.array([1.0, 1.0, 0.7])
    apart = abs(float(head.eye_centres[0, 0] - head.eye_centres[1, 0])) / 2 + 2.0
    angle = np.linspace(0.0, 2 * np.pi, RIM_POINTS + 1)
    x, y = (np.sign(v) * np.abs(v) ** (2 / power) for v in (np.cos(angle), np.sin(angle)))
    lens = model.blocks['lenses'][0]
    lines = []
    for k, side in enumerate((-1.0, 1.0)):
        across = side * (apart + wide * x)
        rim = np.stack([across, 33.0 + high * y, 109.0 - 0.004 * across**2], axis=-1) + shift
        lines.append(rim)
        own = slice(lens + k * (LENS_POINTS + 1), lens + k * (LENS_POINTS + 1) + LENS_POINTS)
        head.vertices[own] = rim[:-1:2]
        head.vertices[own.stop] = rim[:-1].mean(axis=0)
        outer = side * (apart + wide)
        lines.append(
            np.array([[outer, 38.0, 95.0], [1.05 * outer, 38.0, 88.0],
                      [side * 74.0, 39.0, 40.0], [side * 77.0, 38.0, 5.0]]) + shift
        )  # fmt: skip
    inner = apart - wide
    lines.append(
        np.array([[-inner, 36.0, 108.0], [0.0, 39.0, 111.0], [inner, 36.0, 108.0]]) + shift
    )
    radius = look.spectacles / 2
    return tuple((points, np.full(len(points), radius), albedo) for points in lines)


def _fringe(look: Look, model: FaceModel, head: HeadShape) -> tuple:
    """Return locks of hair that fall from the hairline over the forehead."""
    if not look.fringe or look.headwear in ('beanie', 'headscarf'):
        return ()
    rng = np.random.default_rng([look.seed, 2])
    count = int(LOCKS * look.fringe)
    along = np.linspace(0.0, 1.0, LOCK_POINTS)
    root = np.sort(rng.uniform(-56.0, 56.0, count))
    parting = -np.sign(look.fringe_sweep) * rng.uniform(0.0, 30.0)
    spread = look.fringe_sweep + 0.25 * (root - parting) + rng.normal(0.0, 6.0, count)
    top = 118.0 - 0.004 * root**2 - look.hairline_mm
    fall = look.fringe_mm * rng.uniform(0.75, 1.1, count)
    x = np.clip(root[:, None] + spread[:, None] * along**1.5, -64.0, 64.0)
    y = top[:, None] - fall[:, None] * along
    points = _on_skin(np.stack([x, y], axis=-1).reshape(-1, 2), model, head)
    points = points.reshape(count, LOCK_POINTS, 3)
    radius = rng.uniform(*LOCK_MM, count)[:, None] * np.interp(along, (0, 0.6, 1), (1.2, 1, 0.25))
    albedo = 1.2 * look.hair_albedo * np.exp(rng.normal(0.0, 0.35, count))
    return tuple(
        (points[k], radius[k], float(albedo[k])) for k in rng.permutation(count)
    )  # fmt: skip


def _on_skin(flat: np.ndarray, model: FaceModel, head: HeadShape) -> np.ndarray:
    """Return where (x, y) of the neutral face lie on a head, lifted off its skin."""
    neutral = model.neutral[: model.skin_count]
    front = np.flatnonzero((neutral[:, 2] > 25.0) & (neutral[:, 1] > -50.0))
    gap = ((flat[:, None] - neutral[front, :2]) ** 2).sum(axis=-1)
    near = np.argpartition(gap, 4, axis=1)[:, :4]
    weight = 1.0 / (np.take_along_axis(gap, near, axis=1) + 1.0)
    weight /= weight.sum(axis=1, keepdims=True)
    base = (head.vertices[front[near]] * weight[..., None]).sum(axis=1)
    normal = (head.normals[front[near]] * weight[..., None]).sum(axis=1)
    rest = (neutral[front[near], :2] * weight[..., None]).sum(axis=1)
    base[:, :2] += flat - rest  # the nearest vertices are not quite there
    return base + 5.0 * normal

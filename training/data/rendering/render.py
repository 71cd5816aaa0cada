"""A small renderer: float light, smooth shading, soft shadows, fine edges, one core."""

from dataclasses import dataclass

import numpy as np

from training.data.rendering import kernels, overlay, raster, shading
from training.data.rendering.camera import PIVOT_MM, Camera, Pose, project
from training.data.rendering.faces import FaceModel, HeadShape
from training.data.rendering.lights import Lights
from training.data.rendering.sheets import CASTER

RING_MM = (4.5, 11.0)  # radii at which hollows are felt
MOUTH_SHUT_MM = 0.9  # a smaller lip gap hides the inside (lips at rest are 0.76 apart)
HIDDEN_MM = 6.0  # a landmark that far behind what is seen there is hidden
LASH_OPACITY = 0.3  # opaque strips are thick mascara
MOVED_MM = 0.4  # where no shape moves the skin more, its hollows do not change
NO_SWEEP = np.zeros(5, np.float32)


@dataclass(frozen=True)
class Wear:
    """What a person has on: the parts that are no skin."""

    blocks: tuple = ('torso',)  # of the model, besides the head
    give: np.ndarray | None = None  # (N,) how far a vertex follows the expressions
    strokes: tuple = ()  # of (points (n, 3) mm in head axes, radius mm (n,), albedo)
    lens_opacity: float = 0.0
    covers_mouth: bool = False  # its inside is of the scarf's albedo and not dark
    hidden: np.ndarray | None = None  # (68,) bool: landmarks under cloth


class Renderer:
    """
    Draws one model again and again; buffers are kept between frames.

    Parameters
    ----------
    model : FaceModel
    width, height : int
        Size of the picture in pixels.
    """

    def __init__(self, model: FaceModel, width: int = 256, height: int = 256):
        self.model, self.width, self.height = model, width, height
        count, size = len(model.neutral), (height, width)
        self._shape, self._normals, self._cells = (
            np.zeros((count, 3), np.float32) for _ in range(3)
        )
        self._screen = np.zeros((count, 8), np.float32)
        self._screen[:, 5:7], self._screen[:, 7] = model.uv, model.alpha
        self._live = np.empty((len(model.triangles), 5), np.int32)
        self._depth, self._value = np.empty(size, np.float32), np.empty(size, np.float32)
        self._code, self._slot = np.empty(size, np.uint8), np.empty(size, np.int32)
        self._words = np.empty((height, (width >> raster.WORD_BITS) + 2), np.uint64)
        most = height * width // 3  # edge pixels
        self._depths = np.empty((most, raster.SAMPLES + 1), np.float32)
        self._owners = np.empty((most, raster.SAMPLES), np.int32)
        self._shadow = np.empty((shading.SHADOW_GRID,) * 2, np.float32)
        self._rings = np.empty((2, model.skin_count, kernels.RING_SIZE), np.int32)
        for radius, rings in zip(RING_MM, self._rings):
            kernels.find_rings(model.neutral[: model.skin_count], np.float32(radius), rings)
        self._moving = _moving_skin(model)
        self._occlusion = np.ones(model.skin_count, np.float32)
        self._give = np.ones(count, np.float32)

    def rest(self, head: HeadShape, wear: Wear = Wear(), occlusion: bool = True):
        """Take a person: hollows are felt as a change from the resting shape."""
        self._head, self._wear, self._feels = head, wear, occlusion
        model = self.model
        kernels.vertex_normals(
            head.vertices, model.triangles, np.array([model.blocks['head']]), self._normals
        )
        self._rest_hollow = np.zeros((model.skin_count, 2), np.float32)
        kernels.hollow(
            head.vertices, self._normals, np.arange(model.skin_count), self._rings,
            self._rest_hollow,
        )  # fmt: skip
        self._hollow = self._rest_hollow.copy()
        self._occlusion[:] = 1.0
        self._give[:] = 1.0 if wear.give is None else wear.give
        if wear.strokes:
            points, radius, albedo = zip(*wear.strokes)
            start = np.cumsum([0] + [len(line) for line in points])
            self._strokes = np.concatenate(points), np.concatenate(radius), start, np.array(albedo)

    def draw(
        self,
        weights: np.ndarray,
        gaze_deg: np.ndarray,
        pose: Pose,
        camera: Camera,
        lights: Lights,
        k: int,
        atlas: np.ndarray,
        behind: np.ndarray,
        level: float = 1.0,
        hands: dict | None = None,
        cast: bool = True,
        soft_eyes: bool = True,
    ) -> np.ndarray:
        """
        Return the picture: linear light, float32 (height, width), about 0..1.

        Parameters
        ----------
        weights : np.ndarray [shape=(57,), dtype=float32]
            Of the blendshapes.
        gaze_deg : np.ndarray [shape=(2,)]
            Yaw (to the person's left) and pitch (down): eyeLook* shapes move the lids only.
        pose : Pose
        camera : Camera
        lights : Lights
        k : int
            Frame of the lights.
        atlas : np.ndarray [dtype=float32]
            Albedo of all surfaces, 0..1.
        behind : np.ndarray [shape=(height, width), dtype=float32]
            The background.
        level : float
            Light of its brightness 1.
        hands : dict, optional
            {'hand_left' or 'hand_right': vertices in head axes, mm}.
        cast : bool
            Whether the first lamp casts shadows.
        soft_eyes : bool
            Whether lids shade the eyeballs.
        """
        model, shape = self.model, self._shape
        self.points = self._head.points + (weights @ model.point_deltas).reshape(-1, 3)
        gap = float(np.linalg.norm(self.points[68] - self.points[69]))
        hands = hands or {}
        inside = gap > MOUTH_SHUT_MM or self._wear.covers_mouth
        names = ['head', *self._wear.blocks, *hands] + ['mouth'] * inside
        opaque = np.array([model.blocks[n] for n in names])
        sheer = ['lashes'] + ['lenses'] * (self._wear.lens_opacity > 0)
        every = np.array([model.blocks[n] for n in names + sheer])
        last = len(model.neutral) if inside else model.blocks['mouth'][0]
        kernels.deform(
            self._head.vertices, weights, model.shapes.start, model.shapes.index,
            model.shapes.delta, self._give, last, shape,
        )  # fmt: skip
        look = Pose(yaw=float(gaze_deg[0]), pitch=float(gaze_deg[1])).rotation()
        for eye, centre in zip(model.eyes, self._head.eye_centres):
            kernels.turn(shape, eye, centre, look)
        for name, vertices in hands.items():
            shape[slice(*model.blocks[name][:2])] = vertices
        rotation = pose.rotation()
        self._place(every, rotation, pose, camera)
        self._shade(every, opaque, rotation, lights, k, cast)
        self._darken(gap if inside else 0.0, soft_eyes)
        picture = self._paint(opaque, atlas, behind, level, camera)
        self._overlay(picture, atlas, pose, camera, lights, k)
        return picture

    def _place(self, blocks, rotation, pose: Pose, camera: Camera):
        kernels.vertex_normals(self._shape, self.model.triangles, blocks, self._normals)
        kernels.place(
            self._shape, self.model.follow, blocks, rotation,
            pose.head_mm.astype(np.float32), pose.body_mm.astype(np.float32), PIVOT_MM,
            np.float32(camera.focal_px), np.float32(camera.distance_mm),
            np.float32(camera.centre[0]), np.float32(camera.centre[1]), self._screen,
        )  # fmt: skip

    def _shade(self, every, opaque, rotation, lights: Lights, k: int, cast: bool):
        model = self.model
        if self._feels:
            kernels.hollow(self._shape, self._normals, self._moving, self._rings, self._hollow)
            kernels.occlude(self._hollow, self._rest_hollow, self._occlusion)
        frame = shading.light_frame(rotation.T @ lights.lamps[k, 0, :3])  # seen from the head
        if cast:
            shading.light_depth(
                self._shape, self._normals, model.triangles, model.flags, CASTER, opaque, frame,
                self._cells, self._shadow,
            )  # fmt: skip
        shading.shade(
            self._shape, self._normals, model.follow, every, rotation, lights.lamps[k],
            np.array([lights.ambient[k], lights.shine], np.float32),
            NO_SWEEP if lights.sweep is None else lights.sweep[k], self._occlusion, self._cells,
            self._shadow, cast, model.skin_count, self._screen,
        )  # fmt: skip

    def _darken(self, gap: float, soft_eyes: bool):
        """Darken the eyeballs by the lids and, where it is open, the mouth by its depth."""
        model, points = self.model, self.points
        if gap > 0 and not self._wear.covers_mouth:
            self._darken_mouth(gap)
        if not soft_eyes:
            return
        for eye, first in zip(model.eyes, (42, 36)):
            lids = points[first : first + 6].astype(np.float32)
            shading.darken_eye(
                self._shape, eye, lids[1:3, 1].mean(), lids[4:6, 1].mean(), lids[:, 0].min(),
                lids[:, 0].max(), self._screen,
            )  # fmt: skip

    def _darken_mouth(self, gap: float):
        model, points = self.model, self.points
        shading.darken_mouth(
            self._shape, model.blocks['mouth'][0], model.teeth,
            np.float32(points[60:68, 2].mean()),
            np.float32(min(1.0, max(0.12, (gap - 0.5) / 5.0))), self._screen,
        )  # fmt: skip

    def _paint(self, opaque, atlas, behind, level, camera: Camera) -> np.ndarray:
        model = self.model
        self._depth[:], self._code[:] = 0.0, 0
        live = raster.raster(
            self._screen, model.triangles, model.flags, model.material, opaque, atlas,
            self._depth, self._value, self._code, self._live,
        )  # fmt: skip
        jump = (2.5 * camera.distance_mm / camera.focal_px + 1.5) / camera.distance_mm
        count = raster.mark_edges(
            self._depth, self._code, np.float32(jump), self._slot, self._words
        )
        self._depths[:count] = 0.0
        raster.raster_edges(
            self._screen, model.triangles, self._live[:live], self._slot, self._words,
            self._depths, self._owners,
        )  # fmt: skip
        picture = np.empty((self.height, self.width), np.float32)
        raster.resolve(
            self._screen, model.triangles, atlas, self._value, self._depth, self._slot,
            self._depths, self._owners, behind, np.float32(level), picture,
        )  # fmt: skip
        return picture

    def _overlay(self, picture, atlas, pose: Pose, camera: Camera, lights: Lights, k: int):
        """Lay over what is thin or sheer: lashes, lenses, frames, locks of hair."""
        model, wear = self.model, self._wear
        for name, opacity in (('lashes', LASH_OPACITY), ('lenses', wear.lens_opacity)):
            if opacity > 0:
                overlay.blend(
                    self._screen, model.triangles, np.array(model.blocks[name]), atlas,
                    np.float32(opacity), picture, self._depth,
                )  # fmt: skip
        if not wear.strokes:
            return
        points, radius, start, albedo = self._strokes
        light = float(lights.ambient[k] + 0.6 * lights.lamps[k, :, 3].sum())
        x, y, depth = project(points, 1.0, pose, camera)
        overlay.draw_strokes(
            np.stack([x, y, 1.0 / depth], axis=-1).astype(np.float32),
            (radius * camera.focal_px / depth).astype(np.float32), start,
            (albedo * light).astype(np.float32), np.float32(HIDDEN_MM / camera.distance_mm),
            picture, self._depth,
        )  # fmt: skip

    def project(self, points: np.ndarray, pose: Pose, camera: Camera) -> np.ndarray:
        """Return where landmarks of a face (68, 3) fall in the picture, (68, 2) px."""
        follow = self.model.follow[self.model.landmarks][:, None]
        x, y, _ = project(points, follow, pose, camera)
        return np.stack([x, y], axis=-1).astype(np.float32)

    def landmarks(self, pose: Pose, camera: Camera) -> tuple:
        """Return landmarks (68, 2) px of the picture just drawn, and which nothing hides."""
        model = self.model
        follow = model.follow[model.landmarks][:, None]
        x, y, depth = project(self.points[:68], follow, pose, camera)
        column, row = np.floor(x).astype(int), np.floor(y).astype(int)
        seen = (column >= 0) & (row >= 0) & (column < self.width) & (row < self.height)
        nearest = self._depth[np.where(seen, row, 0), np.where(seen, column, 0)]
        seen &= nearest * (depth - HIDDEN_MM) <= 1.0
        if self._wear.hidden is not None:
            seen &= ~self._wear.hidden
        return np.stack([x, y], axis=-1).astype(np.float32), seen


def _moving_skin(model: FaceModel) -> np.ndarray:
    """Return the skin's vertices that expressions move and that look forward."""
    shapes = model.shapes
    far = np.abs(shapes.delta).max(axis=1) > MOVED_MM
    moved = np.unique(shapes.index[far])
    moved = moved[moved < model.skin_count]
    return moved[model.neutral[moved, 2] > 20.0].astype(np.int32)

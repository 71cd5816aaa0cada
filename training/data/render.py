"""A small renderer: float light, smooth shading, soft shadows, 2x2 supersampling, one core."""

from dataclasses import dataclass, field

import numpy as np

from training.data import kernels
from training.data.faces import FaceModel, vertex_normals
from training.data.kernels import SAMPLES, SHADOW_GRID

RING_MM = (4.5, 11.0)  # radii at which hollows are felt
MOUTH_SHUT_MM = 0.9  # a smaller lip gap hides the inside (lips at rest are 0.76 apart)
HIDDEN_MM = 6.0  # a landmark that far behind what is seen there is hidden
PIVOT_MM = np.array([0.0, -85.0, 5.0], np.float32)  # the head turns about the top of the neck


@dataclass(frozen=True)
class Camera:
    """A pinhole in front of the face; the picture's y looks down."""

    width: int
    height: int
    focal_px: float
    distance_mm: float  # from the face's centre
    centre: tuple  # px, where the face's centre falls at rest


@dataclass(frozen=True)
class Light:
    """One lamp and what the room sends back."""

    direction: np.ndarray  # (3,) unit vector towards the lamp, camera axes
    strength: float
    ambient: float
    shine: float = 0.06  # sheen of the skin


@dataclass
class Pose:
    """Where head and body are in one frame: degrees, and mm of shift."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    head_mm: np.ndarray = field(default_factory=lambda: np.zeros(3))
    body_mm: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def rotation(self) -> np.ndarray:
        """Return the matrix (3, 3): roll, then pitch (down is +), then yaw (to the left is +)."""
        yaw, pitch, roll = np.radians([self.yaw, self.pitch, self.roll])
        around_y = np.array(
            [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        )
        around_x = np.array(
            [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
        )
        around_z = np.array(
            [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
        )
        return (around_y @ around_x @ around_z).astype(np.float32)


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
        count = len(model.neutral)
        self._shape = np.empty((count, 3), np.float32)
        self._normals = np.empty((count, 3), np.float32)
        self._camera = np.empty((count, 3), np.float32)
        self._screen = np.empty((count, 6), np.float32)  # x, y, 1/depth, light, sheen, spare
        self._occlusion = np.ones(count, np.float32)
        self._depth = np.empty((height * SAMPLES, width * SAMPLES), np.float32)
        self._value = np.empty_like(self._depth)
        self._shadow = np.empty((SHADOW_GRID, SHADOW_GRID), np.float32)
        self.rings = tuple(
            kernels.rings(model.neutral[: model.skin_count], radius) for radius in RING_MM
        )
        self._rest_hollow = None

    def rest(self, vertices: np.ndarray):
        """Take a person's resting shape: hollows are felt as a change from it."""
        vertex_normals(vertices, self.model.triangles, self._normals)
        self._rest_hollow = kernels.hollow(vertices, self._normals, *self.rings)

    def shape(
        self,
        vertices: np.ndarray,
        weights: np.ndarray,
        eye_centres: np.ndarray,
        gaze_deg: np.ndarray,
    ) -> np.ndarray:
        """
        Return the vertices (N, 3) of a face; a view that the next call overwrites.

        Parameters
        ----------
        vertices : np.ndarray [shape=(N, 3)]
            At rest, mm.
        weights : np.ndarray [shape=(57,), dtype=float32]
            Of the blendshapes.
        eye_centres : np.ndarray [shape=(2, 3)]
        gaze_deg : np.ndarray [shape=(2,)]
            Yaw (to the person's left) and pitch (down): eyeLook* shapes move the lids only.
        """
        shapes = self.model.shapes
        kernels.deform(vertices, weights, shapes.start, shapes.index, shapes.delta, self._shape)
        turn = Pose(yaw=float(gaze_deg[0]), pitch=float(gaze_deg[1])).rotation()
        for eye, centre in zip(self.model.eyes, eye_centres):
            kernels.turn(self._shape, eye, np.asarray(centre, np.float32), turn)
        return self._shape

    def draw(
        self,
        shape: np.ndarray,
        pose: Pose,
        camera: Camera,
        light: Light,
        atlas: np.ndarray,
        background: np.ndarray,
        shift: tuple = (0.0, 0.0),
        long_hair: bool = False,
        lines: tuple = (),
    ) -> np.ndarray:
        """
        Return the picture: linear light, float32 (height, width), about 0..1.

        Parameters
        ----------
        shape : np.ndarray [shape=(N, 3)]
        pose : Pose
        camera : Camera
        light : Light
        atlas : np.ndarray [dtype=float32]
            Albedo of all surfaces, 0..1.
        background : np.ndarray [dtype=float32]
            Larger than the picture by at least the shift.
        shift : tuple
            Where the picture's corner lies in the background, px.
        long_hair : bool
        lines : tuple
            Of (points (n, 3) mm in head axes, thickness in mm, albedo): spectacles.
        """
        model = self.model
        rotation = pose.rotation()
        vertex_normals(shape, model.triangles, self._normals)
        hollow = kernels.hollow(shape, self._normals, *self.rings)
        rest = hollow if self._rest_hollow is None else self._rest_hollow
        kernels.occlude(hollow, rest, self._occlusion)
        toward = light.direction.astype(np.float32)
        local = rotation.T @ toward  # the lamp, seen from the head
        frame = kernels.light_frame(local)
        self._shadow[:] = -1e6
        kernels.light_depth(
            shape, self._normals, model.triangles, model.flags, frame, self._shadow
        )
        kernels.place(
            shape,
            self._normals,
            model.follow,
            rotation,
            pose.head_mm.astype(np.float32),
            pose.body_mm.astype(np.float32),
            PIVOT_MM,
            camera.focal_px * SAMPLES,
            np.float32(camera.distance_mm),
            camera.centre[0] * SAMPLES,
            camera.centre[1] * SAMPLES,
            self._camera,
            self._screen,
        )
        kernels.shade(
            shape,
            self._normals,
            model.follow,
            rotation,
            toward,
            np.float32(light.strength),
            np.float32(light.ambient),
            np.float32(light.shine),
            self._occlusion,
            frame,
            self._shadow,
            model.skin_count,
            self._screen,
        )
        inside = self._shade_hollows(shape)
        self._value[:] = -1.0
        self._depth[:] = 0.0
        last = len(model.triangles) - (0 if long_hair else model.curtain_triangles)
        kernels.raster(
            self._screen,
            model.uv,
            model.triangles[:last],
            model.flags,
            inside,
            atlas,
            self._depth,
            self._value,
        )
        for points, thickness, albedo in lines:
            self._line(
                points, thickness, albedo * (light.ambient + 0.5 * light.strength), pose, camera
            )
        picture = np.empty((self.height, self.width), np.float32)
        kernels.resolve(
            self._value, background, np.float32(shift[0]), np.float32(shift[1]), picture
        )
        return picture

    def _shade_hollows(self, shape: np.ndarray) -> bool:
        """Darken the inside of the mouth by depth and the eyeballs by the lids; True if open."""
        model = self.model
        marks = shape[model.landmarks]
        upper, lower = model.lip_gap
        gap = float(np.linalg.norm(shape[upper] - shape[lower]))
        lips = float(marks[60:68, 2].mean())
        open_teeth = min(1.0, max(0.12, (gap - 0.5) / 5.0))
        kernels.darken_mouth(
            shape,
            model.mouth_inside,
            model.teeth,
            np.float32(lips),
            np.float32(open_teeth),
            self._screen,
        )
        for eye, lid in zip(model.eyes, ((43, 44), (37, 38))):
            kernels.darken_eye(shape, eye, np.float32(marks[list(lid), 1].mean()), self._screen)
        return gap > MOUTH_SHUT_MM

    def _line(self, points, thickness, value, pose, camera):
        place = (points - PIVOT_MM) @ pose.rotation().T + PIVOT_MM + pose.head_mm
        depth = camera.distance_mm - place[:, 2]
        scale = camera.focal_px * SAMPLES / depth
        x = camera.centre[0] * SAMPLES + place[:, 0] * scale
        y = camera.centre[1] * SAMPLES - place[:, 1] * scale
        kernels.stroke(
            x.astype(np.float32),
            y.astype(np.float32),
            (thickness / 2 * scale).astype(np.float32),
            np.float32(value),
            self._value,
        )

    def project(
        self, shape: np.ndarray, index: np.ndarray, pose: Pose, camera: Camera
    ) -> np.ndarray:
        """Return where vertices of the head fall in the picture, (n, 2) px."""
        x, y, _ = self._place(shape, index, pose, camera)
        return np.stack([x, y], axis=-1)

    def seen(self, shape: np.ndarray, pose: Pose, camera: Camera) -> np.ndarray:
        """Return bool (68,): landmarks of the picture just drawn that nothing hides."""
        x, y, depth = self._place(shape, self.model.landmarks, pose, camera)
        height, width = self._depth.shape
        column = (x * SAMPLES).astype(int)
        row = (y * SAMPLES).astype(int)
        inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
        nearest = self._depth[np.where(inside, row, 0), np.where(inside, column, 0)]
        return inside & (nearest * (depth - HIDDEN_MM) <= 1.0)

    def _place(self, shape, index, pose, camera) -> tuple:
        """Return where vertices of the head fall in the picture: x, y in px, depth in mm."""
        follow = self.model.follow[index][:, None]
        turned = (shape[index] - PIVOT_MM) @ pose.rotation().T + PIVOT_MM + pose.head_mm
        place = follow * turned + (1 - follow) * (shape[index] + pose.body_mm)
        depth = camera.distance_mm - place[:, 2]
        scale = camera.focal_px / depth
        return (
            camera.centre[0] + place[:, 0] * scale,
            camera.centre[1] - place[:, 1] * scale,
            depth,
        )

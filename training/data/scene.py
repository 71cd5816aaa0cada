"""One clip: a person, a performance, a lamp, a camera and the event camera's pixels."""

from dataclasses import dataclass

import cv2
import numpy as np

from cs3d_ros.events import EventBatch
from cs3d_ros.face import box_of_landmarks
from cs3d_ros.face.align import MARGIN
from cs3d_ros.simulator.pixel import PixelModel, PixelSettings
from training.data.assets import DISPLAY_GAMMA
from training.data.clips import Truth
from training.data.faces import FaceModel, head_shape
from training.data.furrows import FurrowLayer
from training.data.materials import Look, Painter, spectacles
from training.data.performance import FRAME_RATE_HZ, Performance
from training.data.render import SAMPLES, Camera, Light, Pose, Renderer
from training.data.textures import background
from training.data.world import ACTED, CONDITIONS, Condition, Ingredients

DISTANCE_MM = (450.0, 1100.0)
THRESHOLD = (0.12, 0.35)  # contrast thresholds, natural log units
VIDEO_THRESHOLD = (0.1, 0.25)  # display values have 1 / 2.2 of the contrast of light
THRESHOLD_SKEW = 0.06  # deviation of ln(ON / OFF)
VIDEO_SHARE = 0.5  # of clips see display values (as a simulator behind a video does)
FACE_DN = (45.0, 150.0)  # exposure: the face's mean, DN of linear light
VIDEO_FACE_DN = (95.0, 185.0)  # the same in display values
LENS_PX = (0.0, 0.9)  # blur of the lens, sigma
PAD_PX = 24  # how much larger than the picture the background is
TEXELS_PER_MM = 2.05  # of the skin texture in the middle of the face
FACE_MM = 162.0  # height of the face box


@dataclass(frozen=True)
class Scene:
    """All that stays the same during a clip."""

    look: Look
    camera: Camera
    light: Light
    atlas: np.ndarray
    furrows: FurrowLayer
    background: np.ndarray
    lines: tuple
    vertices: np.ndarray
    eye_centres: np.ndarray
    gain: float  # DN per unit of light
    gamma: float  # 1: linear light; 2.2: display values
    pixels: PixelSettings
    lens_px: float


class Stage:
    """Sets up and films scenes; keeps the renderer's buffers and the painter's maps."""

    def __init__(self, model: FaceModel, width: int = 256, height: int = 256):
        self.model = model
        self.width, self.height = width, height
        self._renderer = Renderer(model, width, height)
        self._painter = Painter(model)

    def set_up(
        self,
        look: Look,
        act: Performance,
        rng: np.random.Generator,
        condition: Condition = CONDITIONS['standard'],
        ingredients: Ingredients = Ingredients(),
        face_px: float | None = None,
    ) -> Scene:
        """
        Return a scene around a person; camera, light, room and sensor are drawn.

        Parameters
        ----------
        look : Look
        act : Performance
            Its first frame sets the exposure and where the face stands.
        rng : np.random.Generator
        condition : Condition
            How the clip is watched.
        ingredients : Ingredients
            What is left out changes nothing else.
        face_px : float, optional
            Side of the face square in the picture; drawn from the condition if not given.
        """
        model = self.model
        head = head_shape(model, look.coefficients, look.hair_mm)
        self._renderer.rest(head.vertices)
        side = float(rng.uniform(*condition.face_px) * self.height / 256)
        side = float(face_px or side)
        camera = self._frame_face(head, act, side, rng)
        texels_per_px = TEXELS_PER_MM * FACE_MM * MARGIN / side
        blur = 0.5 * texels_per_px / SAMPLES
        atlas = self._painter.atlas(look, rng, blur)
        light = _lamp(rng)
        room = background(rng, (self.height + 2 * PAD_PX, self.width + 2 * PAD_PX))
        video = rng.random() < VIDEO_SHARE
        level = np.exp(rng.uniform(*np.log(VIDEO_THRESHOLD if video else THRESHOLD)))
        skew = np.exp(rng.normal(0, THRESHOLD_SKEW) / 2)
        draft = Scene(
            look,
            camera,
            light,
            atlas,
            FurrowLayer(self._painter.furrows, atlas, look.wrinkles, blur),
            room,
            spectacles(look.spectacles, np.random.default_rng(look.seed))
            if look.spectacles
            else (),
            head.vertices,
            head.eye_centres,
            1.0,
            DISPLAY_GAMMA if video else 1.0,
            PixelSettings(float(level * skew), float(level / skew)),
            float(rng.uniform(*LENS_PX)),
        )
        picture, box, _, _ = self._film_frame(draft, act, 0)
        x, y, w, h = (int(v) for v in box)
        face = picture[max(0, y + h // 4) : y + 3 * h // 4, max(0, x + w // 4) : x + 3 * w // 4]
        wanted = rng.uniform(*(VIDEO_FACE_DN if video else FACE_DN))
        wanted = 255.0 * (wanted / 255.0) ** draft.gamma
        mean = float(max(1e-4, face.mean()))
        return Scene(
            **{**draft.__dict__, 'background': room * np.float32(mean), 'gain': wanted / mean}
        )

    def film(self, scene: Scene, act: Performance):
        """Yield (frame float32 DN, box (4,), landmarks (68, 2), visible share) per frame."""
        for k in range(len(act)):
            light, box, landmarks, visible = self._film_frame(scene, act, k)
            if scene.lens_px > 0.3:
                light = cv2.GaussianBlur(light, (0, 0), scene.lens_px)
            light *= np.float32(scene.gain)
            np.minimum(light, 255.0, out=light)
            if scene.gamma != 1.0:
                light = 255.0 * (light / np.float32(255.0)) ** np.float32(1 / scene.gamma)
            yield light, box, landmarks, visible

    def _film_frame(self, scene: Scene, act: Performance, k: int) -> tuple:
        weights = {name: float(values[k]) for name, values in act.weights.items()}
        scene.furrows.apply(weights)
        shape = self._renderer.shape(
            scene.vertices, self.model.shapes.weights(weights), scene.eye_centres, act.gaze[k]
        )
        pose = _pose(act, k)
        shift = np.clip(act.drift_px[k], -PAD_PX + 2, PAD_PX - 2) + PAD_PX
        picture = self._renderer.draw(
            shape,
            pose,
            scene.camera,
            scene.light,
            scene.atlas,
            scene.background,
            tuple(shift),
            scene.look.long_hair,
            scene.lines,
        )
        box, landmarks = self._truth(shape, pose, scene.camera)
        return (
            picture,
            box,
            landmarks,
            float(self._renderer.seen(shape, pose, scene.camera).mean()),
        )

    def _truth(self, shape: np.ndarray, pose: Pose, camera: Camera) -> tuple:
        landmarks = self._renderer.project(shape, self.model.landmarks, pose, camera)
        box = np.array(box_of_landmarks(landmarks), np.float32)
        return box, landmarks.astype(np.float32)

    def _frame_face(self, head, act: Performance, side: float, rng) -> Camera:
        """Return a camera that shows the first frame's face square `side` px wide, off-centre."""
        distance = float(rng.uniform(*DISTANCE_MM))
        trial = Camera(self.width, self.height, 1000.0, distance, (0.0, 0.0))
        pose = _pose(act, 0)
        box, _ = self._truth(head.vertices, pose, trial)
        focal = 1000.0 * side / (MARGIN * max(box[2], box[3]))
        middle = (box[:2] + box[2:] / 2) * (focal / 1000.0)
        room = np.maximum(0.0, (np.array([self.width, self.height]) - side) / 2) + 0.04 * side
        wanted = np.array([self.width, self.height]) / 2 + rng.uniform(-1, 1, 2) * 0.9 * room
        return Camera(self.width, self.height, focal, distance, tuple(wanted - middle))


def record(
    stage: Stage, scene: Scene, act: Performance, rng: np.random.Generator
) -> tuple[EventBatch, Truth]:
    """
    Return the events of a clip, and its ground truth per frame.

    Parameters
    ----------
    stage : Stage
    scene : Scene
    act : Performance
    rng : np.random.Generator
        Seeds the sensor's noise.
    """
    pixels = PixelModel(stage.width, stage.height, scene.pixels)
    times = (np.arange(len(act)) * 1_000_000_000 // FRAME_RATE_HZ).astype(np.int64)
    batches, boxes, landmarks, visible = [], [], [], []
    for t_ns, (frame, box, marks, seen) in zip(times, stage.film(scene, act)):
        batches.append(pixels.push(frame, int(t_ns)))
        boxes.append(box)
        landmarks.append(marks)
        visible.append(seen)
    events = EventBatch(
        *(np.concatenate([getattr(batch, name) for batch in batches]) for name in 'xytp'),
        stage.width,
        stage.height,
    )
    return events, Truth(
        t_ns=times,
        expression=np.array([ACTED.index(name) for name in act.expression], np.uint8),
        intensity=act.intensity.astype(np.float32),
        action_units=getattr(act, 'action_units', np.zeros((len(act), 0), np.float32)),
        landmarks=np.array(landmarks, np.float32),
        box=np.array(boxes, np.float32),
        pose=act.pose.astype(np.float32),
        visible=np.array(visible, np.float32),
    )


def _pose(act: Performance, k: int) -> Pose:
    yaw, pitch, roll = act.pose[k]
    return Pose(yaw, pitch, roll, act.head_mm[k], act.body_mm[k])


def _lamp(rng: np.random.Generator) -> Light:
    azimuth, height = np.radians(rng.uniform(-65, 65)), np.radians(rng.uniform(0, 60))
    direction = np.array(
        [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
    )
    ambient = rng.uniform(0.25, 0.7)
    return Light(direction, 1.15 - ambient, ambient, float(rng.uniform(0.0, 0.12)))

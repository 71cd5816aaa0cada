"""One clip: a person, a performance, lamps, a room, a camera and the event camera's pixels."""

from dataclasses import dataclass

import cv2
import numpy as np

from cs3d_ros.events import EventBatch
from cs3d_ros.face import box_of_landmarks
from cs3d_ros.face.align import MARGIN
from cs3d_ros.simulator.pixel import PRESETS, PixelModel, PixelSettings, dimmed
from training.data.acting.performance import FRAME_RATE_HZ, Performance
from training.data.assets import DISPLAY_GAMMA
from training.data.clips import Truth
from training.data.rendering.camera import Camera, Pose
from training.data.rendering.faces import FaceModel, HeadShape, head_shape
from training.data.rendering.furrows import FurrowLayer
from training.data.rendering.hand_mesh import POSTURES, hand
from training.data.rendering.lights import TOTAL, Lights, draw_lights
from training.data.rendering.looks import OCCLUDERS, Look
from training.data.rendering.materials import Painter
from training.data.rendering.overlay import display_curve, expose
from training.data.rendering.render import Renderer, Wear
from training.data.rendering.room import Room
from training.data.rendering.wear import bridge, clothed, dress
from training.data.world import ACTED, CONDITIONS, Condition, Ingredients

DISTANCE_MM = (450.0, 1100.0)
THRESHOLD_SPREAD = (0.75, 1.5)  # of a clip's thresholds around the preset's
VIDEO_CONTRAST = 0.72  # display values have less contrast than light: thresholds follow
THRESHOLD_SKEW = 0.06  # deviation of ln(ON / OFF)
VIDEO_SHARE = 0.5  # of clips see display values (as a simulator behind a video does)
FACE_DN = (45.0, 150.0)  # exposure: the face's mean, DN of linear light
VIDEO_FACE_DN = (95.0, 185.0)  # the same in display values
FACE_LIGHT = 0.6 * TOTAL  # light on a face per albedo: median of 40 scenes, deviation 0.11
LENS_PX = (0.0, 0.9)  # blur of the lens, sigma
SHAKE_SHARE, SHAKE_PX = 0.25, (0.3, 1.8)  # of clips; its deviation at a height of 256 px
TEXELS_PER_MM = 2.05  # of the skin texture in the middle of the face
FACE_MM = 162.0  # height of the face box
PIXEL_BLUR = 0.35  # of a pixel: textures finer than that would sparkle


@dataclass(frozen=True)
class Scene:
    """All that is drawn for a clip."""

    look: Look
    ingredients: Ingredients
    camera: Camera
    lights: Lights
    room: Room
    shake_px: np.ndarray  # (F, 2)
    atlas: np.ndarray
    furrows: FurrowLayer | None
    head: HeadShape
    wear: Wear
    hands: tuple  # vertices of the left and the right hand about their palms
    brightness: float  # of the room, in units of the picture
    gain: float  # DN per unit of light
    gamma: float  # 1: linear light; 2.2: display values
    preset: str
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
        Return a scene around a person; camera, lights, room and sensor are drawn.

        Parameters
        ----------
        look : Look
        act : Performance
            Its first frame tells where the face stands.
        rng : np.random.Generator
        condition : Condition
            How the clip is watched.
        ingredients : Ingredients
            What is left out changes nothing else.
        face_px : float, optional
            Side of the face square in the picture; drawn from the condition if not given.
        """
        # Each part draws from a stream of its own, so that none disturbs another.
        rngs = [np.random.default_rng(seed) for seed in rng.integers(1 << 62, size=7)]
        camera_rng, cloth_rng, light_rng, room_rng, shake_rng, sensor_rng, cover_rng = rngs
        occluder = str(cover_rng.choice(OCCLUDERS))
        postures = [hand(str(cover_rng.choice(POSTURES)), left) for left in (True, False)]
        tone = self._painter.tone(look)
        if condition.occlusion:
            look = look.of(ingredients).occluded(occluder)
        else:
            look = look.of(ingredients)
        head = head_shape(self.model, look.coefficients, clothed(look, self.model))
        bridge(head.vertices, look, self.model)
        wear = dress(look, self.model, head)
        side = camera_rng.uniform(*condition.face_px) * self.height / 256
        side = float(face_px or side)
        camera = self._frame_face(head, act, side, camera_rng)
        blur = PIXEL_BLUR * TEXELS_PER_MM * FACE_MM * MARGIN / side
        atlas = self._painter.atlas(look, cloth_rng, blur, ingredients)
        furrows = FurrowLayer(
            self._painter.furrows, self.model.shapes, atlas, look.wrinkles, blur
        )  # fmt: skip
        size = (self.height, self.width)
        return Scene(
            look=look,
            ingredients=ingredients,
            camera=camera,
            lights=draw_lights(len(act), FRAME_RATE_HZ, light_rng, ingredients.moving_lights),
            room=Room(size, len(act), FRAME_RATE_HZ, room_rng, ingredients.moving_background),
            shake_px=_shake(len(act), self.height, shake_rng) * ingredients.camera_shake,
            atlas=atlas,
            furrows=furrows if ingredients.furrows else None,
            head=head,
            wear=wear,
            hands=tuple(postures),
            brightness=tone * FACE_LIGHT,
            **draw_sensor(condition, tone * FACE_LIGHT, sensor_rng),
        )

    def film(self, scene: Scene, act: Performance):
        """Yield (frame float32 DN, box (4,), landmarks (68, 2), visible (68,)) of each frame."""
        self._renderer.rest(scene.head, scene.wear, scene.ingredients.ambient_occlusion)
        weights = self.model.shapes.weights(act.weights)
        gain, curve = np.float32(scene.gain / 255.0), display_curve(scene.gamma)
        for k in range(len(act)):
            picture = self._draw(scene, act, k, weights[k])
            pose, camera = _pose(act, k), scene.camera.moved(scene.shake_px[k])
            landmarks, visible = self._renderer.landmarks(pose, camera)
            if scene.lens_px > 0.3:
                picture = cv2.GaussianBlur(picture, (0, 0), scene.lens_px)
            expose(picture, gain, curve)
            yield picture, np.array(box_of_landmarks(landmarks), np.float32), landmarks, visible

    def _draw(self, scene: Scene, act: Performance, k: int, weights: np.ndarray) -> np.ndarray:
        """Return the light of one frame, about 0..1."""
        has, shake = scene.ingredients, scene.shake_px[k]
        if scene.furrows is not None:
            scene.furrows.apply(weights)
        return self._renderer.draw(
            weights,
            act.gaze[k],
            _pose(act, k),
            scene.camera.moved(shake),
            scene.lights,
            k,
            scene.atlas,
            scene.room.behind(k, shake),
            scene.brightness * float(scene.lights.room[k]),
            _hands(scene, act, k) if has.hands else {},
            has.cast_shadows,
            has.soft_eyes,
        )

    def _frame_face(self, head: HeadShape, act: Performance, side: float, rng) -> Camera:
        """Return a camera that shows the first frame's face square `side` px wide, off-centre."""
        distance = float(rng.uniform(*DISTANCE_MM))
        trial = Camera(self.width, self.height, 1000.0, distance, (0.0, 0.0))
        box = np.array(
            box_of_landmarks(self._renderer.project(head.points[:68], _pose(act, 0), trial))
        )
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
    pixels = PixelModel(stage.width, stage.height, scene.pixels, int(rng.integers(1 << 62)))
    times = (np.arange(len(act)) * 1_000_000_000 // FRAME_RATE_HZ).astype(np.int64)
    batches, shown = [], []
    for t_ns, (frame, *truth) in zip(times, stage.film(scene, act)):
        batches.append(pixels.push(frame, int(t_ns)))
        shown.append(truth)
    boxes, landmarks, visible = (np.array(column, np.float32) for column in zip(*shown))
    events = EventBatch(
        *(np.concatenate([getattr(batch, name) for batch in batches]) for name in 'xytp'),
        stage.width,
        stage.height,
    )
    return events, Truth(
        t_ns=times,
        expression=np.array([ACTED.index(name) for name in act.expression], np.uint8),
        intensity=act.intensity.astype(np.float32),
        action_units=act.action_units,
        landmarks=landmarks,
        box=boxes,
        pose=act.pose.astype(np.float32),
        visible=visible.mean(axis=1),
    )


def _pose(act: Performance, k: int) -> Pose:
    yaw, pitch, roll = act.pose[k]
    return Pose(yaw, pitch, roll, act.head_mm[k], act.body_mm[k])


def _hands(scene: Scene, act: Performance, k: int) -> dict:
    """Return the vertices of the hands in sight, in head axes."""
    out = {}
    for own in act.hands:
        if not np.isfinite(own.mm[k]).all():
            continue
        turn = Pose(roll=-float(own.roll_deg[k])).rotation()  # 90: to the person's left
        name = 'hand_left' if own.left else 'hand_right'
        out[name] = scene.hands[0 if own.left else 1] @ turn.T + own.mm[k].astype(np.float32)
    return out


def _shake(frames: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Return (F, 2) px of a camera held by hand: tremor of 0.5 to 9 Hz, for some clips."""
    t = np.arange(frames) / FRAME_RATE_HZ
    size = rng.uniform(*SHAKE_PX) * height / 256
    path = np.zeros((frames, 2))
    for rate in np.exp(rng.uniform(np.log(0.5), np.log(9.0), 6)):
        path += np.sin(2 * np.pi * (rate * t[:, None] + rng.random(2))) / (1 + rate)
    path *= size / max(1e-6, path.std())
    return path * (rng.random() < SHAKE_SHARE)


def draw_sensor(condition: Condition, face_light: float, rng: np.random.Generator) -> dict:
    """Return exposure, gamma and the pixels' settings around a preset of the condition."""
    preset = condition.presets[int(rng.random() * len(condition.presets))]
    video = rng.random() < VIDEO_SHARE
    wanted = rng.uniform(*(VIDEO_FACE_DN if video else FACE_DN))
    gamma = DISPLAY_GAMMA if video else 1.0
    level = np.exp(rng.uniform(*np.log(THRESHOLD_SPREAD))) * (VIDEO_CONTRAST if video else 1.0)
    skew = np.exp(rng.normal(0.0, THRESHOLD_SKEW) / 2)
    settings = PRESETS[preset]
    settings = settings._replace(
        on_threshold=float(settings.on_threshold * level * skew),
        off_threshold=float(settings.off_threshold * level / skew),
    )
    return {
        'preset': preset,
        'gamma': gamma,
        'gain': float(255.0 * (wanted / 255.0) ** gamma / face_light),
        'pixels': dimmed(settings, condition.light / settings.light),  # `light` is of a lit room
        'lens_px': float(rng.uniform(*LENS_PX)),
    }

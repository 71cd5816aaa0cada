"""How fast faces are rendered: one core, all of it, from blendshapes to DN."""

import importlib.util
from typing import Callable

import numpy as np

from benchmarks.measure import print_rates, time_work

SENSORS = ((256, 256), (346, 260))
FACE_SHARE = 0.6  # side of the face square over the picture's height, the middle of the standard
PEOPLE = 4  # skins, wear and lamps differ
FRAMES = 60  # of each
REPEATS = 5


def filming(stage, scenes: list) -> Callable[[], None]:
    """Return work that films the first frames of every scene."""

    def work():
        for scene, act in scenes:
            for _, (frame, *_) in zip(range(FRAMES), stage.film(scene, act)):
                assert frame.dtype == np.float32

    return work


def main() -> None:
    """Print the tables; a line instead where numba or the morphable face is missing."""
    if importlib.util.find_spec('numba') is None:
        print('\nrendering: left out, numba is not installed')
        return
    import cv2

    from training.data.acting.performance import perform
    from training.data.assets import AssetsError, load_assets
    from training.data.rendering.faces import FaceModel
    from training.data.rendering.looks import draw_look
    from training.data.rendering.scene import Stage

    try:
        model = FaceModel(load_assets())
    except AssetsError as error:
        print('\nrendering: left out, {}'.format(error))
        return
    cv2.setNumThreads(1)
    for width, height in SENSORS:
        stage, scenes = Stage(model, width, height), []
        for seed in range(PEOPLE):
            rng = np.random.default_rng(seed)
            look = draw_look('person', model.assets.skins, model, rng)
            act = perform(('happy',), rng, duration_s=2.0)
            scenes.append((stage.set_up(look, act, rng, face_px=FACE_SHARE * height), act))
        rows = [('film', time_work(filming(stage, scenes), REPEATS), None)]
        rows += [
            ('person {}'.format(k), time_work(filming(stage, [scene]), REPEATS), FRAMES)
            for k, scene in enumerate(scenes)
        ]
        print_rates(
            'Rendering, {}x{}, one core'.format(width, height), 'frames/s', PEOPLE * FRAMES, rows
        )


if __name__ == '__main__':
    main()

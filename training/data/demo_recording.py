"""
Make the recording that the package ships: ``python -m training.data.demo_recording -o FILE``.

Writes FILE (.aedat4 or .npz) and, beside it, the ground truth as .json.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events.recordings import write_recording
from cs3d_ros.simulator.pixel import PixelSettings
from training.data.acting.performance import FRAME_RATE_HZ, Segment, act_out
from training.data.plan import SetPlan
from training.data.rendering.looks import draw_look
from training.data.rendering.scene import record
from training.data.studio import LICENCES, Studio, segment_entry
from training.data.world import Ingredients

SENSOR = (240, 180)  # of the DAVIS240; small, so that the file is
FACE_PX = 118.0
DURATION_S = 13.5
TIMELINE = (
    Segment('happy', '', 1.6, 2.15, 3.5, 4.1),
    Segment('surprised', '', 5.7, 6.05, 7.3, 7.9),
    Segment('disgusted', '', 9.6, 10.1, 11.4, 12.0),
)
BOX_EVERY_S = 0.1
THRESHOLD = 0.3  # keeps the file below 3 MB, as does a still room
QUIET = Ingredients().without('camera_shake', 'moving_background', 'moving_lights')


def make(seed: int, assets=None) -> tuple:
    """Return (events of the recording, its ground truth as a dict)."""
    width, height = SENSOR
    studio = Studio(SetPlan(width=width, height=height), assets)
    rng = np.random.default_rng([seed, 9])
    look = draw_look('demo', studio.skins['test'], studio.model, rng)
    act = act_out(list(TIMELINE), DURATION_S, [], rng)
    scene = studio.stage.set_up(look, act, rng, ingredients=QUIET, face_px=FACE_PX)
    scene = replace(scene, pixels=PixelSettings(THRESHOLD, THRESHOLD), gamma=1.0)
    events, shown = record(studio.stage, scene, act, rng)
    step = int(BOX_EVERY_S * FRAME_RATE_HZ)
    boxes = [
        [round(k / FRAME_RATE_HZ, 3)] + [round(float(v), 1) for v in shown.box[k]]
        for k in range(0, len(act), step)
    ]
    segments = [
        dict(
            segment_entry(s),
            **{
                n: getattr(s, n)
                for n in ('onset_start_s', 'apex_start_s', 'offset_start_s', 'offset_end_s')
            },
        )
        for s in act.segments
    ]
    truth = {
        'about': 'a rendered face; neutral outside of the segments; times from the first frame',
        'made_by': 'python -m training.data.demo_recording --seed {}'.format(seed),
        'width': width,
        'height': height,
        'duration_s': DURATION_S,
        'events': len(events),
        'contrast_threshold': THRESHOLD,
        'skin': look.skin,
        'segments': segments,
        'boxes_t_x_y_w_h': boxes,
        'licences': LICENCES,
        'notice': (studio.model.assets.folder / 'ict_facekit' / 'LICENSE').read_text(),
    }
    return events, truth


def main(arguments: list | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m training.data.demo_recording', description=__doc__
    )
    parser.add_argument('-o', '--output', required=True, help='.aedat4 or .npz')
    parser.add_argument('--seed', type=int, default=22)
    parser.add_argument('--assets', help='folder of ict_facekit/ and skins/')
    options = parser.parse_args(arguments)
    try:
        events, truth = make(options.seed, options.assets)
        write_recording(options.output, [events], *SENSOR)
    except Cs3dError as error:
        print(error, file=sys.stderr)
        return 1
    Path(options.output).with_suffix('.json').write_text(json.dumps(truth, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())

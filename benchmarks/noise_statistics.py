"""
Noise of the preset ``noisy`` beside that of v2e: rates over brightness, and when it is dated.

    python -m benchmarks.noise_statistics V2E    V2E: a checkout of github.com/SensorsINI/v2e

Needs torch and what v2e's emulator imports. docs/simulator.md has the tables.
"""

import argparse
import logging
import os
import sys
import time

import numpy as np

from benchmarks.simulator import CLIP, read_clip
from cs3d_ros.simulator import PRESETS, PixelModel

SIZE = 128  # px, width and height of the still pictures
SECONDS = 20
FPS = 30
BRIGHTNESS_DN = (0, 20, 64, 127, 192, 255)


def of_v2e(frames, seed: int = 42):
    """Return (t in s, p, index of the frame) of v2e's events; its parameters are the preset's."""
    from v2ecore.emulator import EventEmulator

    logging.disable(logging.WARNING)
    ours = PRESETS['noisy']
    emulator = EventEmulator(
        pos_thres=ours.on_threshold,
        neg_thres=ours.off_threshold,
        sigma_thres=ours.threshold_sigma,
        cutoff_hz=ours.cutoff_hz,
        leak_rate_hz=ours.leak_rate_hz,
        shot_noise_rate_hz=ours.shot_noise_hz,
        noise_rate_cov_decades=ours.leak_spread,
        leak_jitter_fraction=0.1,
        refractory_period_s=0.0,
        seed=seed,
        device='cpu',
    )
    found = [np.empty((0, 3))]
    for i, frame in enumerate(frames):
        events = emulator.generate_events(frame, i / FPS)
        if events is not None and len(events):
            found.append(np.stack([events[:, 0], events[:, 3] > 0, np.full(len(events), i)], 1))
    return np.concatenate(found).T


def of_ours(frames, seed: int = 42):
    """Return the same of the pixel model's."""
    height, width = frames[0].shape
    pixels = PixelModel(width, height, PRESETS['noisy'], seed)
    found = []
    for i, frame in enumerate(frames):
        batch = pixels.push(frame, round(i * 1e9 / FPS))
        found.append(np.stack([batch.t * 1e-9, batch.p, np.full(len(batch), i)], 1))
    return np.concatenate(found).T


def place_in_frame(t, frame):
    """Return where between two frames events are dated, 0 to 1."""
    return t * FPS - (frame - 1)


def still_table() -> None:
    """Print rates and dates of still pictures."""
    print('\n| still picture, DN | v2e ON | OFF | ours ON | OFF | v2e in the last tenth | ours |')
    print('|---|---|---|---|---|---|---|')
    for dn in BRIGHTNESS_DN:
        frames = [np.full((SIZE, SIZE), dn, np.uint8)] * (SECONDS * FPS + 1)
        cells = []
        shares = []
        for make in (of_v2e, of_ours):
            t, p, frame = make(frames)
            per_pixel = SIZE * SIZE * SECONDS
            cells += ['{:.3f}'.format(np.count_nonzero(p == k) / per_pixel) for k in (1, 0)]
            shares.append('{:.0%}'.format((place_in_frame(t, frame) > 0.9).mean()))
        print('| {} | {} |'.format(dn, ' | '.join(cells + shares)))


def clip_table() -> None:
    """Print totals and dates of the clip."""
    frames = read_clip()
    print('\n| the clip, 346 x 260 | ON | OFF | in the first tenth | in the last | frames/s |')
    print('|---|---|---|---|---|---|')
    for name, make in (('v2e', of_v2e), ('ours', of_ours)):
        begin = time.process_time()
        t, p, frame = make(frames)
        seconds = time.process_time() - begin
        place = place_in_frame(t, frame)
        print(
            '| {} | {:,} | {:,} | {:.0%} | {:.0%} | {:.0f} |'.format(
                name,
                np.count_nonzero(p == 1),
                np.count_nonzero(p == 0),
                (place <= 0.1).mean(),
                (place > 0.9).mean(),
                len(frames) / seconds,
            )
        )


def main() -> None:
    """Run v2e and the pixel model on the same frames."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('v2e', help='checkout of github.com/SensorsINI/v2e')
    sys.path.insert(0, parser.parse_args().v2e)
    import torch

    torch.set_num_threads(1)
    still_table()
    if os.path.exists(CLIP):
        clip_table()


if __name__ == '__main__':
    main()

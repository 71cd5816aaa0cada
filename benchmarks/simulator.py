"""Grey frames to events: the pixel model beside what PyPI has for it, on a video of a face."""

import os

import cv2
import numpy as np

from benchmarks.measure import print_rates, time_work
from benchmarks.scene import HEIGHT, WIDTH
from cs3d_ros.simulator import PRESETS, PixelModel, PixelSettings, Video

CLIP = os.path.join(
    os.path.dirname(__file__), '..', '..', 'shared', 'data', 'videos', 'neutral_to_smile.mp4'
)
FPS = 30
ON, OFF = 0.2, 0.23  # unlike, as at equal ones ties of bytes are decided by rounding alone
FLOOR_DN = 0.255  # evlib: 0.001 of white


def read_clip() -> list:
    """Return the frames of the clip, uint8, as a DAVIS346 would see them."""
    with Video(CLIP) as video:
        return [
            cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame, _ in video
        ]


def ours(frames, settings: PixelSettings):
    """Return the work of the pixel model, whose result are the counts of ON and OFF."""
    pixels = PixelModel(WIDTH, HEIGHT, settings)

    def work():
        pixels.reset()
        counts = np.zeros(2, int)
        for i, frame in enumerate(frames):
            batch = pixels.push(frame, round(i * 1e9 / FPS))
            counts += batch.on_count, len(batch) - batch.on_count
        return counts

    return work


def evlib_peer(frames):
    """Return the work of evlib, which takes the plain logarithm and dates events at the frame."""
    import torch
    from evlib.simulation.config import ESIMConfig
    from evlib.simulation.esim import ESIMSimulator

    torch.set_num_threads(1)
    config = ESIMConfig(ON, OFF, 0.0, device='cpu', dtype='float32')

    def work():
        simulator = ESIMSimulator(config)
        counts = np.zeros(2, int)
        for i, frame in enumerate(frames):
            _, _, _, p = simulator.process_frame(frame, i / FPS)
            counts += np.count_nonzero(p > 0), np.count_nonzero(p < 0)
        return counts

    # DN whose lin-log level is evlib's, moved up by a constant that no contrast sees
    levels = [np.log(np.maximum(frame, FLOOR_DN)) + 1.4 for frame in frames]
    alike = [np.where(v > np.log(20), np.exp(v), v * 20 / np.log(20)) for v in levels]
    assert np.allclose(work(), ours(alike, PixelSettings(ON, OFF))(), rtol=1e-3), work()
    return work


def eventcv_peer(frames, settings: PixelSettings, upsample: str = 'off'):
    """Return the work of eventcv, which linearises sRGB."""
    import eventcv

    stack = np.stack(frames)

    def work():
        return len(
            eventcv.simulate(
                stack,
                fps=FPS,
                upsample=upsample,
                pos_thres=settings.on_threshold,
                neg_thres=settings.off_threshold,
                sigma_thres=settings.threshold_sigma,
                cutoff_hz=settings.cutoff_hz,
                leak_rate_hz=settings.leak_rate_hz,
                shot_noise_rate_hz=settings.shot_noise_hz,
                refractory_us=0,
            )
        )

    if not settings.cutoff_hz:  # its low pass is v2e's
        alike = ours(frames, settings._replace(srgb=True))().sum()
        assert abs(work() / alike - 1) < 0.02, (work(), alike)
    return work


def eventify_peer(frames):
    """Return the work of eventify-dvs, which compares each frame with the last and forgets."""
    from eventify.dvs import frame_to_event_tuples

    times = [i * 1_000_000 // FPS for i in range(len(frames))]

    def work():
        return sum(
            len(frame_to_event_tuples(*pair, *span, ON, 1.0))
            for pair, span in zip(zip(frames, frames[1:]), zip(times, times[1:]))
        )

    steps = [
        np.diff(np.log(np.stack(pair) + np.float32(1)), axis=0) for pair in zip(frames, frames[1:])
    ]
    assert work() == sum(int(np.floor(np.abs(step) / ON).sum()) for step in steps)
    return work


def add_peer(rows, name, make, *args) -> None:
    """Add a peer's row, or say that it is not there."""
    try:
        work = make(*args)
    except ImportError as error:
        print('peer left out: {} ({})'.format(name, error))
        return
    rows.append((name, time_work(work, 5), None))


def main() -> None:
    """Print the tables of this part."""
    if not os.path.exists(CLIP):
        print('simulator left out: ../shared/data/videos is not there')
        return
    cv2.setNumThreads(1)
    frames = read_clip()
    rows = []
    for name in ('clean', 'ideal'):
        settings = PRESETS[name]
        rows.append((name, time_work(ours(frames, settings)), None))
    floats = [frame.astype(np.float32) for frame in frames]
    rows.append(('clean, float32 frames', time_work(ours(floats, PRESETS['clean'])), None))
    clean = PRESETS['clean']._replace(on_threshold=ON, off_threshold=OFF)
    add_peer(rows, 'evlib', evlib_peer, frames)
    add_peer(rows, 'eventcv, upsampling off', eventcv_peer, frames, clean)
    add_peer(rows, 'eventify-dvs, which keeps no state', eventify_peer, frames)
    title = 'Grey frames of {} x {} to events, {}'
    print_rates(title.format(WIDTH, HEIGHT, 'without noise'), 'frames/s', len(frames) - 1, rows)
    rows = []
    for name in ('noisy', 'davis346', 'imx636', 'low_light'):
        settings = PRESETS[name]
        rows.append((name, time_work(ours(frames, settings)), None))
    add_peer(rows, 'eventcv, upsampling off', eventcv_peer, frames, PRESETS['noisy'])
    add_peer(rows, 'eventcv', eventcv_peer, frames, PRESETS['noisy'], 'adaptive')
    print_rates(title.format(WIDTH, HEIGHT, 'with noise'), 'frames/s', len(frames) - 1, rows)


if __name__ == '__main__':
    main()

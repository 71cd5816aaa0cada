"""
Put a real face beside rendered ones: ``python -m training.data.compare VIDEO -o figure.png``.

The video and rendered people who show the same expression pass the same pixel model, at the same
size. Measured of each, in the square that the networks look into: events per second and (eye
distance)², cells hit and saturated per period, the shares of mouth and eyes, and the sum of the
onset with and without polarity. The figures are also printed.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events import EventBatch, FrameSettings, SquareAccumulator, concatenate
from cs3d_ros.face import box_of_landmarks, face_square
from cs3d_ros.simulator import PRESETS, Video, simulate_video
from training.data.acting.performance import act_out
from training.data.acting.timeline import Segment
from training.data.corpora.align import STEADY_S, find_landmarks, smoothed
from training.data.corpora.facemesh import FaceMesh
from training.data.plan import SetPlan
from training.data.rendering.looks import draw_look
from training.data.rendering.scene import record
from training.data.studio import Studio
from training.data.world import ACTED, Condition, Ingredients

CELLS = 56  # a side; the grid of the trial whose figures docs/synthetic-data.md repeats
SATURATED = 4  # net events of a cell within a period: an event frame of step 32 is at its end
PRESET = 'clean'
ONSET_S = 0.5  # taken where the video is busiest, if no onset is given
RENDERED_START_S = 1.0  # of the onset, which lasts as long as the real one
MOUTH_REACH, EYE_REACH = 0.5, 0.36  # radii in eye distances
FRAMES_SHOWN = 5
SEED = 11


class Watched(NamedTuple):
    """A face, its events, and when it moves from neutral to an expression."""

    name: str
    events: EventBatch
    t_ns: np.ndarray  # (F,) int64
    landmarks: np.ndarray  # (F, 68, 2) px
    onset_ns: tuple  # start, end


class Measures(NamedTuple):
    """What the events of one face look like in the square."""

    onset_rate: float  # events per s and (eye distance)² during the onset
    steady_rate: float  # the same outside of it
    cells_hit: float  # share of the cells with events, per period of the onset
    saturated: float  # share of the hit cells at SATURATED net events or more
    mouth: float  # share of the onset's events around the mouth
    eyes: float  # share around both eyes
    sum_all: np.ndarray  # (CELLS, CELLS) events of the onset
    sum_signed: np.ndarray  # (CELLS, CELLS) ON minus OFF


def measure(watched: Watched) -> Measures:
    """Return the measures of a face."""
    start, end = watched.onset_ns
    reach = _eye_distance(watched.landmarks)
    onset = _in_square(watched, start, end)
    before = _in_square(watched, int(watched.t_ns[0]), start)
    after = _in_square(watched, end, int(watched.t_ns[-1]))
    steady_s = (watched.t_ns[-1] - watched.t_ns[0] - (end - start)) * 1e-9
    on, off = _square_sums(watched, start, end)
    hit, saturated = _cells(watched)
    return Measures(
        len(onset) / ((end - start) * 1e-9) / reach**2,
        (len(before) + len(after)) / max(steady_s, 1e-3) / reach**2,
        hit,
        saturated,
        *_shares(onset, watched, reach),
        on + off,
        on - off,
    )


def _eye_distance(landmarks: np.ndarray) -> float:
    right, left = landmarks[:, 36:42].mean(axis=1), landmarks[:, 42:48].mean(axis=1)
    return float(np.median(np.linalg.norm(right - left, axis=1)))


def _squares(watched: Watched, start: int, end: int):
    """Yield (events, face square) per frame of the truth within [start, end)."""
    edges = np.append(watched.t_ns, watched.t_ns[-1] + 1)
    for k in range(len(watched.t_ns)):
        first, last = max(start, int(edges[k])), min(end, int(edges[k + 1]))
        if first < last:
            square = face_square(box_of_landmarks(watched.landmarks[k]))
            yield watched.events.between(first, last), square


def _in_square(watched: Watched, start: int, end: int) -> EventBatch:
    """Return the events of [start, end) that lie in the face square."""
    parts = []
    for batch, square in _squares(watched, start, end):
        half = square.side / 2
        inside = (np.abs(batch.x - square.cx) < half) & (np.abs(batch.y - square.cy) < half)
        parts.append(_kept(batch, inside))
    empty = EventBatch.empty(watched.events.width, watched.events.height)
    return concatenate(parts or [empty])


def _kept(batch: EventBatch, mask: np.ndarray) -> EventBatch:
    columns = (getattr(batch, name)[mask] for name in 'xytp')
    return EventBatch.trusted(*columns, batch.width, batch.height)


def _square_sums(watched: Watched, start: int, end: int) -> tuple:
    """Return float (CELLS, CELLS) of ON and of OFF events, following the face."""
    sums = [np.zeros((CELLS, CELLS)) for _ in range(2)]
    accumulator = SquareAccumulator(FrameSettings(CELLS, step=1))
    for batch, square in _squares(watched, start, end):
        for polarity, total in enumerate(sums):
            accumulator.add(_kept(batch, batch.p == polarity), square)
            total += np.abs(accumulator.take().astype(float) - 128)
    return sums[1], sums[0]


def _cells(watched: Watched) -> tuple:
    """Return the shares of cells hit, and of those saturated, mean over the onset's periods."""
    period = FrameSettings().period_ns
    accumulator = SquareAccumulator(FrameSettings(CELLS, step=16))
    hit, saturated = [], []
    for start in range(watched.onset_ns[0], watched.onset_ns[1] - period + 1, period):
        for batch, square in _squares(watched, start, start + period):
            accumulator.add(batch, square)
        net = np.abs(accumulator.take().astype(int) - 128) // 16
        hit.append(np.mean(net > 0))
        saturated.append(np.sum(net >= SATURATED) / max(1, np.sum(net > 0)))
    return float(np.mean(hit)), float(np.mean(saturated))


def _shares(onset: EventBatch, watched: Watched, reach: float) -> tuple:
    """Return the shares of events around the mouth and around the eyes."""
    k = np.clip(np.searchsorted(watched.t_ns, onset.t, side='right') - 1, 0, None)
    marks = watched.landmarks[k]
    place = np.stack([onset.x, onset.y], axis=-1).astype(float)

    def near(points, radius):
        return np.linalg.norm(place - marks[:, points].mean(axis=1), axis=1) < radius * reach

    eyes = near(slice(36, 42), EYE_REACH) | near(slice(42, 48), EYE_REACH)
    return float(near(slice(48, 68), MOUTH_REACH).mean()), float(eyes.mean())


def watch_video(path: Path, onset_s: tuple | None, preset: str = PRESET) -> Watched:
    """
    Return a real face as the pixel model sees it.

    Parameters
    ----------
    path : Path
        Video of one face.
    onset_s : (float, float), optional
        When it moves from neutral to the expression; the busiest half second by default.
    preset : str
        Of `cs3d_ros.simulator.PRESETS`.
    """
    events = concatenate(simulate_video(str(path), settings=PRESETS[preset]))
    with Video(str(path)) as video:
        pictures, t_ns = zip(*video)
        fps = video.info.fps
    t_ns = np.array(t_ns, np.int64)
    landmarks = smoothed(find_landmarks(pictures, FaceMesh()), fps, STEADY_S)
    if onset_s is None:
        edges = np.arange(t_ns[0], max(t_ns[-1] - int(ONSET_S * 1e9), t_ns[0] + 1), 33_333_333)
        starts = np.searchsorted(events.t, edges)
        ends = np.searchsorted(events.t, edges + int(ONSET_S * 1e9))
        busiest = int(edges[np.argmax(ends - starts)])
        onset = busiest, busiest + int(ONSET_S * 1e9)
    else:
        onset = tuple(int(t_ns[0] + s * 1e9) for s in onset_s)
    return Watched(path.name, events, t_ns, landmarks, onset)


def watch_rendered(
    studio: Studio,
    expression: str,
    like: Watched,
    number: int,
    ingredients: Ingredients = Ingredients(),
    preset: str = PRESET,
) -> Watched:
    """
    Return a rendered person who shows an expression, as large as a real face and seen alike.

    Parameters
    ----------
    studio : Studio
        Of the real face's sensor size.
    expression : str
        One of ACTED.
    like : Watched
    number : int
        Another one is another person.
    ingredients : Ingredients
    preset : str
    """
    rng = np.random.default_rng([SEED, number])
    look = draw_look('person {}'.format(number), studio.skins['train'], studio.model, rng)
    apex_s = RENDERED_START_S + (like.onset_ns[1] - like.onset_ns[0]) * 1e-9
    segment = Segment(expression, '', RENDERED_START_S, apex_s, apex_s + 1.2, apex_s + 1.7)
    act = act_out([segment], apex_s + 2.2, [], rng, ingredients=ingredients)
    face_px = float(np.median([face_square(box_of_landmarks(m)).side for m in like.landmarks]))
    condition = Condition('beside a real face', face_px=(face_px, face_px), pose_deg=(4, 3, 2))
    scenes = (
        studio.stage.set_up(
            look, act, np.random.default_rng([SEED, number, k]), condition, ingredients, face_px
        )
        for k in range(64)
    )
    # A video holds display values, so what is rendered beside it must, too.
    scene = next(scene for scene in scenes if scene.gamma != 1.0)
    scene = replace(scene, pixels=PRESETS[preset])
    events, truth = record(studio.stage, scene, act, rng)
    onset = tuple(int(s * 1e9) for s in (RENDERED_START_S, apex_s))
    return Watched(look.identity, events, truth.t_ns, truth.landmarks, onset)


def correlations(real: Measures, rendered: list) -> tuple:
    """Return how the real onset's sums correlate with the mean of the rendered: all, signed."""
    return tuple(
        float(
            np.corrcoef(
                getattr(real, name).ravel(),
                np.mean([getattr(m, name) for m in rendered], axis=0).ravel(),
            )[0, 1]
        )
        for name in ('sum_all', 'sum_signed')
    )


def table(real: Measures, rendered: list) -> list:
    """Return lines of text: each measure of the real face, and of the rendered its range."""
    rows = (
        ('events per s and (eye distance)², onset', 'onset_rate', '{:.1f}'),
        ('the same, before and after', 'steady_rate', '{:.1f}'),
        ('cells hit per period', 'cells_hit', '{:.2f}'),
        ('hit cells at ±4 events or more', 'saturated', '{:.2f}'),
        ('share of the mouth', 'mouth', '{:.2f}'),
        ('share of the eyes', 'eyes', '{:.2f}'),
    )
    lines = ['{:42} {:>6}  {}'.format('', 'real', 'rendered: median (5 to 95 %)')]
    for label, name, form in rows:
        low, middle, high = np.percentile([getattr(m, name) for m in rendered], (5, 50, 95))
        shown = [form.format(v) for v in (getattr(real, name), middle, low, high)]
        lines.append('{:42} {:>6}  {} ({} to {})'.format(label, *shown))
    lines.append(
        'onset maps, correlation with the rendered mean: all events {:.2f}, signed {:.2f}'.format(
            *correlations(real, rendered)
        )
    )
    return lines


def draw(path: Path, real: Watched, rendered: list, expression: str, lines: list):
    """Write the figure: onset frames and sums of the real face and of rendered ones, the table."""
    import matplotlib.pyplot as plt

    shown = [real] + rendered[:3]
    columns = FRAMES_SHOWN + 2
    figure, axes = plt.subplots(
        len(shown), columns, figsize=(1.7 * columns, 1.85 * len(shown) + 2.1), dpi=75
    )
    for row, watched in zip(axes, shown):
        measures = measure(watched)
        for axis, frame in zip(row, _onset_frames(watched)):
            axis.imshow(frame, cmap='gray', vmin=0, vmax=255)
        reach = np.percentile(measures.sum_all, 99.5)
        row[-2].imshow(measures.sum_all, cmap='magma', vmin=0, vmax=reach)
        row[-1].imshow(measures.sum_signed, cmap='RdBu_r', vmin=-reach, vmax=reach)
        row[0].set_ylabel(watched.name)
    axes[0, -2].set_title('onset, all')
    axes[0, -1].set_title('onset, ON − OFF')
    axes[0, 0].set_title('event frames of the onset: {}'.format(expression), loc='left')
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    height = figure.get_figheight()
    figure.subplots_adjust(0.03, 2.0 / height, 0.995, 1 - 0.3 / height, 0.03, 0.06)
    figure.text(0.03, 1.85 / height, '\n'.join(lines), va='top', family='monospace')
    figure.savefig(path)
    plt.close(figure)


def _onset_frames(watched: Watched) -> list:
    """Return FRAMES_SHOWN event frames, spread over the onset."""
    period = FrameSettings().period_ns
    start, end = watched.onset_ns
    accumulator = SquareAccumulator(FrameSettings())
    frames = []
    for begin in np.linspace(start, end - period, FRAMES_SHOWN).astype(np.int64):
        for batch, square in _squares(watched, int(begin), int(begin) + period):
            accumulator.add(batch, square)
        frames.append(accumulator.take())
    return frames


def main(arguments: list | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog='python -m training.data.compare', description=__doc__)
    parser.add_argument('video', type=Path, help='of one face')
    parser.add_argument('-o', '--output', type=Path, required=True, help='.png')
    parser.add_argument('--expression', default='happy', choices=ACTED, help='what it shows')
    parser.add_argument(
        '--onset',
        type=float,
        nargs=2,
        metavar=('START', 'END'),
        help='s from the first frame (default: the busiest half second)',
    )
    parser.add_argument('--preset', default=PRESET, choices=sorted(PRESETS))
    parser.add_argument('--people', type=int, default=8, help='rendered, beside the real one')
    parser.add_argument('--without', nargs='+', default=[], metavar='INGREDIENT')
    parser.add_argument('--assets', help='folder of ict_facekit/ and skins/')
    options = parser.parse_args(arguments)
    try:
        ingredients = Ingredients().without(*options.without)
        real = watch_video(options.video, options.onset, options.preset)
        sensor = SetPlan(width=real.events.width, height=real.events.height)
        studio = Studio(sensor, options.assets)
        rendered = [
            watch_rendered(studio, options.expression, real, k, ingredients, options.preset)
            for k in range(max(1, options.people))
        ]
    except (Cs3dError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    lines = table(measure(real), [measure(w) for w in rendered])
    draw(options.output, real, rendered, options.expression, lines)
    print('\n'.join(lines))
    return 0


if __name__ == '__main__':
    sys.exit(main())

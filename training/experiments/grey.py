"""
The same network on grey frames: how the events' advantage in poor light is measured.

A grey camera watches the very scenes of a set (``training.experiments.grey_camera``); windows of
its frames are cut at the same times, around the same boxes, misplaced as those of events are, and
a network of the same settings learns from them by the same recipe.
"""

from pathlib import Path

import numpy as np

from cs3d_ros.face import Box, face_square
from cs3d_ros.face.align import MARGIN
from training.augment import Variation, varied_square, wandering
from training.data.clips import ClipSet, DataError, write_whole
from training.data.studio import Studio
from training.dataset import DataSet
from training.experiments.campaign import content_of, finish
from training.experiments.examine import Examiner
from training.experiments.grey_camera import cut_again, film, pack, plan_of, unpack
from training.experiments.paper import LIGHT, run_of
from training.experiments.views import write_view
from training.synthesize import local_workers
from training.targets import CLIP_FRAMES
from training.windows import TRACKER_LAG_NS

CLIPS_PER_TASK = 8
# Of what varies events, what a grey camera knows as well: where the face is thought to be.
KINDS = ('mirror', 'crop', 'rotation')


class GreySet(DataSet):
    """
    The clips of one split as a grey camera saw them; the rest is as in DataSet.

    Parameters
    ----------
    pictures : Path
        Folder of what was filmed.
    """

    def __init__(self, pictures: Path, *args, **kwargs):
        self._pictures = pictures
        super().__init__(*args, **kwargs)

    def _add(self, clips, index):
        before = len(self.clips)
        super()._add(clips, index)
        for clip in self.clips[before:]:
            path = picture_path(self._pictures, clips.entries[index]['index'])
            clip.pictures, clip.squares = unpack(path)

    def cut(self, window, variation=Variation(), rng=None) -> np.ndarray:
        """Return the grey frames (16, size, size) uint8 of a window, black outside its clip."""
        clip, period_ns, size = window.clip, self.settings.period_ns, self.settings.size
        starts = window.end_ns + period_ns * np.arange(-CLIP_FRAMES, 0)
        boxes = clip.boxes_at(starts - TRACKER_LAG_NS)
        wander = wandering(len(boxes), variation.wander, rng)
        frames = np.zeros((CLIP_FRAMES, size, size), np.uint8)
        for frame, start_ns, box, shift in zip(frames, starts, boxes, wander):
            number = round(start_ns / period_ns)
            if 0 <= number < len(clip.pictures):
                square = varied_square(face_square(Box(*box), MARGIN), variation, shift)
                frame[:] = cut_again(clip.pictures[number], clip.squares[number], square, size)
        return frames[:, :, ::-1] if variation.mirror else frames


class Grey:
    """
    What a network answers to grey frames of a set's scenes.

    Parameters
    ----------
    data : Path
        A set of training.synthesize.
    out : Path
        Of the pictures, which may be deleted afterwards, and of trainings.
    scale : Scale
    clips : int
        Filmed, of those that differ in nothing but light; the first of the set.
    workers : int
        Processes that film.
    say : callable

    Attributes
    ----------
    view : Path
        The set of the clips that were filmed, as events.
    """

    def __init__(self, data: Path, out: Path, scale, clips: int, workers: int, say=print):
        self._out, self._scale, self._say = Path(out), scale, say
        self._pictures = self._out / 'grey' / content_of(data)
        lit = [entry['index'] for entry in ClipSet(data).entries if entry['condition'] in LIGHT]
        filmed = set(sorted(lit)[:clips])
        film_all(data, sorted(filmed), self._pictures, workers, say)
        self.view = write_view(
            self._out / 'views' / 'grey',
            [data],
            lambda entry: entry if entry['index'] in filmed else None,
        )
        self._examiner = Examiner([self.view], self._out / 'views' / 'grey-test', self.open)

    def open(self, folders, split, settings, size) -> GreySet:
        """Return a split of grey windows, as training.train asks for it."""
        frames = settings.frame_settings(size)
        return GreySet(self._pictures, folders, split, settings=frames, kinds=settings.augment)

    def judge(self, entry, seed: int) -> dict:
        """Return accuracy and mean recall of an entry's network by condition."""
        run = run_of(entry, [self.view], self._scale, seed, 'grey', {'augment': KINDS})
        trained = finish(run, self._out, self._say, self.open)
        return {} if trained.failed else self._examiner.summary(trained)['conditions']


def film_all(data: Path, numbers, folder: Path, workers: int, say=print) -> None:
    """
    Film the clips of a set that were not filmed yet.

    Raises
    ------
    DataError
        If their scenes cannot be drawn again, or the pictures cannot be kept.
    """
    left = [number for number in numbers if not picture_path(folder, number).exists()]
    if not left:
        return
    plan = plan_of(data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError('{} cannot be made: {}'.format(folder, error)) from error
    tasks = [left[k : k + CLIPS_PER_TASK] for k in range(0, len(left), CLIPS_PER_TASK)]
    with local_workers(workers) as client:
        futures = [client.submit(_film_some, plan, task, folder, pure=False) for task in tasks]
        for done, future in enumerate(futures, 1):
            future.result()
            say('filmed {} of {} clips'.format(min(done * CLIPS_PER_TASK, len(left)), len(left)))


def _film_some(plan, numbers, folder):
    studio = Studio(plan)
    for number in numbers:
        write_whole(picture_path(folder, number), pack(film(studio, number)))


def picture_path(folder: Path, number: int) -> Path:
    """Return where the pictures of a clip lie."""
    return folder / 'clip_{:06d}.npz'.format(number)

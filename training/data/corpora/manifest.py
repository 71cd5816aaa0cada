"""
Any folder with a list of its clips: ``manifest.csv``, one line per clip, a header in the first.

    path,subject,label,onset,apex,fall,offset,fps,start,end
    anna/smile.mp4,anna,happy,0.55,0.8,2.2,2.4,,,
    ben/frown,ben,angry,,,,,120,,
    recordings/cleo.aedat4,cleo,neutral,,,,,,12.0,20.0

``path``, ``subject`` and ``label`` must be there, the others may be empty or missing:

- ``path``: a video, a folder of numbered pictures, or an event recording, from the manifest's
  folder on.
- ``subject``: who is seen; no subject is in two splits.
- ``label``: one of training.data.world.ACTED; ``neutral`` also where nobody expresses anything.
- ``onset``, ``apex``, ``fall``, ``offset``: s from the first frame of the clip, when the
  expression begins to show, is wholly there, begins to fade, is gone. Without ``fall`` it fades
  from the apex on; without ``offset`` too it stays until the clip ends.
- ``fps``: of pictures; of a video whose file tells a wrong rate.
- ``start``, ``end``: s of the file between which the clip lies.
"""

import math
from pathlib import Path

from training.data.corpora.samples import (
    CorpusError,
    Found,
    Misfit,
    MisfitError,
    Sample,
    Timing,
    check_timing,
)
from training.data.corpora.tables import read_csv
from training.data.corpora.words import translated

REQUIRED = ('path', 'subject', 'label')
TIMES = ('onset', 'apex', 'fall', 'offset')
COLUMNS = REQUIRED + TIMES + ('fps', 'start', 'end')
NAME = 'manifest.csv'


def read_manifest(root: Path, manifest: Path | None = None) -> Found:
    """
    Return what a manifest lists.

    Parameters
    ----------
    root : Path
        The folder that holds all clips; what lies elsewhere is refused.
    manifest : Path, optional
        ``manifest.csv`` in it by default.

    Raises
    ------
    CorpusError
        If there is no such file, or its columns are others.
    """
    manifest = manifest or root / NAME
    if not manifest.is_file():
        raise CorpusError(
            '{} is not there: make it, with the columns {} ({} must be filled)'.format(
                manifest, ','.join(COLUMNS), ', '.join(REQUIRED)
            )
        )
    rows = read_csv(manifest)
    header = [name.strip().lower() for name in next(rows, [])]
    _check_header(manifest, header)
    samples, misfits = [], []
    for line, cells in enumerate(rows, 2):
        if not any(cell.strip() for cell in cells):
            continue
        row = dict(zip(header, (cell.strip() for cell in cells)))
        try:
            if len(cells) > len(header):
                raise MisfitError('the line has {} cells, not {}'.format(len(cells), len(header)))
            samples.append(_read_row(row, root, manifest.parent))
        except MisfitError as error:
            name = 'line {}: {}'.format(line, row.get('path', ''))
            misfits.append(Misfit(name, str(error)))
    return Found(samples, misfits)


def _check_header(manifest, header):
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in REQUIRED if name not in header]
    if unknown or missing or len(set(header)) < len(header):
        raise CorpusError(
            '{} must begin with a line of column names out of {} ({} must be there), '
            'found {}'.format(manifest, ','.join(COLUMNS), ', '.join(REQUIRED), ','.join(header))
        )


def _read_row(row, root, folder):
    for name in REQUIRED:
        if not row.get(name):
            raise MisfitError('{} is empty'.format(name))
    path = inside(row['path'], root, folder)
    onset, apex, fall, offset = (_number(row, name) for name in TIMES)
    start, end, fps = _number(row, 'start'), _number(row, 'end'), _number(row, 'fps')
    if (end is not None and end <= (start or 0.0)) or (fps is not None and not fps > 0):
        raise MisfitError('end must lie after start, and fps above 0')
    return Sample(
        path,
        path.relative_to(root.resolve()).as_posix(),
        row['subject'],
        translated(row['label'], 'manifest'),
        _timing(onset, apex, fall, offset),
        fps,
        None if start is None and end is None else (start or 0.0, end),
    )


def _timing(onset, apex, fall, offset):
    if onset is None and apex is None and fall is None and offset is None:
        return None
    if onset is None or apex is None:
        raise MisfitError('onset and apex are known together or not at all')
    if fall is not None and offset is None:
        raise MisfitError('with a fall there is an offset, too')
    if offset is not None and fall is None:
        fall = apex
    return check_timing(Timing(onset, apex, fall, offset))


def _number(row, name):
    text = row.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise MisfitError('{} must be a number of 0 or more, found {!r}'.format(name, text))
    return value


def inside(name: str, root: Path, folder: Path) -> Path:
    """
    Return the path of a listed file, with links followed.

    Raises
    ------
    MisfitError
        If it does not exist below ROOT.
    """
    try:
        path = (folder / name).resolve()
        is_there = path.is_relative_to(root.resolve()) and path.exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, links in a circle
        is_there = False
    if not is_there:
        raise MisfitError('there is no such file below {}'.format(root))
    return path

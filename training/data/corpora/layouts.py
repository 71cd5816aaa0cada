"""How each corpus is laid out as it is published: which file is whose, and shows what.

What stands in a file's name or table is taken; what does not fit is listed. The tables below are
the corpora's own words. docs/corpora.md tells where each layout was found, and what was tried on
real files.
"""

import re
from pathlib import Path

from cs3d_ros.events.recordings import SUFFIXES as EVENT_SUFFIXES
from training.data.corpora.manifest import COLUMNS, read_manifest
from training.data.corpora.samples import (
    VIDEO_SUFFIXES,
    CorpusError,
    Found,
    Misfit,
    MisfitError,
    Sample,
    Timing,
    check_timing,
    list_files,
    list_pictures,
    picture_number,
)
from training.data.corpora.tables import read_csv, read_xlsx
from training.data.corpora.words import WORDS, translated

ADFES_NAME = re.compile(r'([FM]\d{2})-([A-Za-z]+)-(Face Forward|Turn Toward|Turn Away)', re.I)
ADFES_APEX_S = 5.0  # "the face held at apex for 5 seconds": the set's page, Stimulus set contents
CREMA_D_NAME = re.compile(r'(\d{4})_([A-Z]{3})_([A-Z]{3})_(LO|MD|HI|XX)$')
CASME2_FPS = 200.0  # Yan et al., CASME II, PLoS ONE 9(1), 2014
CASME2_COLUMNS = ('Subject', 'Filename', 'OnsetFrame', 'ApexFrame', 'OffsetFrame')
CASME2_EMOTION = 'Estimated Emotion'


def find_adfes(root: Path) -> Found:
    """Return the films of ADFES: ``F01-Joy-Face Forward.mpeg``, in any folders below ROOT."""

    def read(path):
        match = ADFES_NAME.match(path.stem)
        if not match:
            raise MisfitError(
                'the name tells no model, emotion and view (F01-Joy-Face Forward.mpeg)'
            )
        subject, word, view = match.groups()
        label = translated(word, 'adfes')
        is_timed = view.lower() == 'face forward' and label != 'neutral'
        return Sample(
            path,
            path.relative_to(root).as_posix(),
            subject.upper(),
            label,
            published_apex_s=ADFES_APEX_S if is_timed else None,
            details={'view': view.lower()},
        )

    return _read_videos(root, read, 'adfes')


def find_crema_d(root: Path) -> Found:
    """Return the clips of CREMA-D: ``VideoFlash/1001_IEO_ANG_HI.flv``."""

    def read(path):
        match = CREMA_D_NAME.match(path.stem)
        if not match:
            raise MisfitError('the name is no actor_sentence_EMOTION_level (1001_IEO_ANG_HI.flv)')
        if path.stat().st_size < 1024 and path.read_bytes().startswith(b'version https://git-lfs'):
            raise MisfitError('a pointer of Git LFS, not the video: run git lfs pull in its clone')
        subject, sentence, word, level = match.groups()
        return Sample(
            path,
            path.relative_to(root).as_posix(),
            subject,
            translated(word, 'crema-d'),
            details={'sentence': sentence, 'level': level},
        )

    return _read_videos(root, read, 'crema-d')


def find_szu_emodage(root: Path) -> Found:
    """
    Return the videos of SZU-EmoDage whose names tell one subject and one emotion.

    The names inside its Dynamic_faces.zip are in no public source: a name is taken where exactly
    one part is an emotion's word and exactly one other has digits, as in ``012_happiness.mp4``.
    """

    def read(path):
        parts = re.split(r'[\s_\-.]+', path.stem)
        words = [part for part in parts if part.lower() in WORDS['szu-emodage']]
        subjects = [part for part in parts if any(c.isdigit() for c in part)]
        if len(words) != 1 or len(subjects) != 1:
            raise MisfitError(
                'the name does not tell one subject and one emotion (012_happiness.mp4): list it '
                'in a manifest ({})'.format(','.join(COLUMNS))
            )
        return Sample(
            path,
            path.relative_to(root).as_posix(),
            subjects[0],
            translated(words[0], 'szu-emodage'),
        )

    return _read_videos(root, read, 'szu-emodage')


def find_casme2(root: Path) -> Found:
    """
    Return the sequences that the table of CASME II lists.

    ``CASME2-coding-*.xlsx`` lies anywhere below ROOT; the pictures are
    ``sub01/EP02_01f/img46.jpg`` (``reg_img46.jpg`` where they are cropped), numbered like the
    table's frames, in a folder such as ``CASME2_RAW_selected`` or ``Cropped``. The raw ones are
    preferred: the crop is made anew.
    """
    tables = list_files(root, ('.xlsx',))
    tables = [path for path in tables if path.name.lower().startswith('casme2-coding')]
    if len(tables) != 1:
        raise CorpusError(
            'CASME II needs one table CASME2-coding-*.xlsx below {}, found {}'.format(
                root, len(tables)
            )
        )
    folders = {}
    for path in sorted(root.rglob('sub*/*')):
        if path.is_dir():
            folders.setdefault((path.parent.name.lower(), path.name.lower()), []).append(path)
    return _read_each(
        read_xlsx(tables[0], CASME2_COLUMNS + (CASME2_EMOTION,)),
        lambda row: _read_casme2(row, root, folders),
        lambda row: 'sub{}/{}'.format(row['Subject'], row['Filename']),
    )


def _read_casme2(row, root, folders):
    subject = _subject_of(row['Subject'])
    name = str(row['Filename'] or '').strip()
    names = {
        path.relative_to(root).as_posix(): path
        for path in folders.get(('sub' + subject, name.lower()), [])
    }
    if not names:
        raise MisfitError('there is no folder sub{}/{}'.format(subject, name))
    chosen = min(names, key=lambda each: 'crop' in each.lower())
    return Sample(
        names[chosen],
        chosen,
        subject,
        translated(str(row[CASME2_EMOTION] or ''), 'casme2'),
        _casme2_timing(row, names[chosen]),
        CASME2_FPS,
        details={'action_units': str(row.get('Action Units') or '')},
    )


def _subject_of(value):
    try:
        return '{:02d}'.format(int(str(value).strip()))
    except ValueError:
        raise MisfitError('the subject must be a number, found {!r}'.format(value)) from None


def _casme2_timing(row, folder):
    """Return when the expression shows, from the number of the folder's first picture on."""
    numbers = [picture_number(path) for path in list_pictures(folder)]
    if not numbers or None in numbers:
        raise MisfitError('{} holds no numbered pictures'.format(folder.name))
    frames = [row[name] for name in CASME2_COLUMNS[2:]]
    if not all(str(frame).strip().isdigit() for frame in frames):
        return None  # the table has '/' where no apex was seen
    onset, apex, offset = ((int(frame) - numbers[0]) / CASME2_FPS for frame in frames)
    return check_timing(Timing(onset, apex, apex, offset))


def find_nefer(root: Path) -> Found:
    """
    Return the event recordings of NEFER with the emotions that their subjects reported.

    ``annotations/reported_emotions/*_event_subjective.csv`` has a line per picture frame: user,
    recording, picture, emotion. The recordings lie anywhere below ROOT under the same names, with
    or without the ``_cd`` that the table ends them with.
    """
    tables = [path for path in list_files(root, ('.csv',)) if 'event_subjective' in path.stem]
    if not tables:
        raise CorpusError(
            'NEFER needs annotations/reported_emotions/*_event_subjective.csv below {}'.format(
                root
            )
        )
    listed = {}
    for table in tables:
        for row in read_csv(table):
            if len(row) >= 4:
                listed.setdefault((row[0], row[1]), set()).add(row[-1])
    recordings = {}
    for path in list_files(root, EVENT_SUFFIXES) + list_files(root, ('.dat',)):
        recordings.setdefault(path.stem.removesuffix('_cd'), path)

    return _read_each(
        sorted(listed), lambda key: _read_nefer(key, listed[key], root, recordings), '/'.join
    )


def _read_nefer(key, words, root, recordings):
    user, recording = key
    path = recordings.get(recording.removesuffix('_cd'))
    if path is None:
        raise MisfitError('there is no event recording of this name')
    if path.suffix == '.dat':
        raise MisfitError(
            'DAT is not read: convert it with metavision_file_to_hdf5, or take its .raw file'
        )
    if len(words) != 1:
        raise MisfitError('the table gives it several emotions: {}'.format(sorted(words)))
    return Sample(
        path,
        path.relative_to(root).as_posix(),
        user.removeprefix('user_'),
        translated(next(iter(words)), 'nefer'),
    )


def _read_videos(root, read, corpus):
    """Return what each video is, and say so where there is none."""
    paths = list_files(root, VIDEO_SUFFIXES)
    if not paths:
        raise CorpusError(
            '{} holds no videos of {} ({}): is ROOT right? Any other layout goes through a '
            'manifest with the columns {}'.format(
                root, corpus, ', '.join(VIDEO_SUFFIXES), ','.join(COLUMNS)
            )
        )
    return _read_each(paths, read, lambda path: path.relative_to(root).as_posix())


def _read_each(items, read, name_of):
    """Return what each item is; those that do not fit under their names."""
    samples, misfits = [], []
    for item in items:
        try:
            samples.append(read(item))
        except MisfitError as error:
            misfits.append(Misfit(name_of(item), str(error)))
    return Found(samples, misfits)


LAYOUTS = {
    'adfes': find_adfes,
    'casme2': find_casme2,
    'szu-emodage': find_szu_emodage,
    'crema-d': find_crema_d,
    'nefer': find_nefer,
    'manifest': read_manifest,
}

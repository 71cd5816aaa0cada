"""What tells clips, sets of them, and cuts from others: digests of what decides them."""

import json
from hashlib import sha256
from pathlib import Path

import h5py

from training.data.clips import CURE, ClipSet, DataError

# Entries of rendered clips tell neither the sensor's size nor what the world is made of. Events by
# the frame and boxes of the face hardly ever agree by chance, and are read without the events.
TELLING = ('events/first', 'truth/box')


def digest(known) -> str:
    """Return 12 hex digits of what is known, in JSON's types."""
    return sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]


def clip_digest(clips: ClipSet, index: int) -> str:
    """
    Return 12 hex digits of a clip: of its entry, its sensor's size and what was recorded.

    A view that leaves an entry as it is leaves its digest, too.

    Raises
    ------
    DataError
        If the clip is damaged.
    """
    # no method of ClipSet: whatever decides how clips are made counts to the world's version
    path, number = clips._places[index]
    try:
        with h5py.File(path, 'r', locking=False) as shard:
            group = shard[str(number)]
            size = [int(group.attrs[side]) for side in ('width', 'height')]
            recorded = [sha256(group[name][:].tobytes()).hexdigest() for name in TELLING]
    except (OSError, KeyError, ValueError, RuntimeError) as error:  # h5py has no error of its own
        raise DataError('{} is no whole shard ({}): {}'.format(path, error, CURE)) from error
    return digest([clips.entries[index], size, recorded])


def clips_digest(clips: ClipSet) -> str:
    """Return 12 hex digits of clips, in their order; DataError if one is damaged."""
    return digest([clip_digest(clips, index) for index in range(len(clips))])


def fingerprint(folder: str | Path) -> str:
    """Return 12 hex digits of a set: its clips, and how it was made; DataError if it is none."""
    made = Path(folder) / 'set.json'
    return digest([made.read_text() if made.exists() else None, clips_digest(ClipSet(folder))])

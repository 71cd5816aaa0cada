"""
Sets made of clips of other sets, which they point to: nothing is copied.

The clips of a view's shards are external links of HDF5; whatever reads sets reads it, too. It
picks clips (of one condition, so many of a set) and may put them into other splits (folds).
"""

import json
from pathlib import Path

import h5py
import numpy as np

from training.data.clips import DataError, read_entries, write_whole

CLIPS_PER_SHARD = 32  # what is cut at once by one process, and then in its memory


def write_view(folder: Path, sources, choose) -> Path:
    """
    Write a view and return its folder.

    Parameters
    ----------
    folder : Path
        Made if it is not there; an older view in it is replaced.
    sources : sequence of paths
        Folders of shards; they must stay where they are.
    choose : callable
        Takes an entry, returns the one to stand in the view (the same, or with another split), or
        None to leave the clip out.

    Raises
    ------
    DataError
        If a source holds no shards, or nothing was chosen.
    """
    entries, links, attributes = _chosen(sources, choose)
    if not entries:
        raise DataError(
            'no clip of {} is left for {}: make more clips'.format(
                ', '.join(map(str, sources)), folder.name
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    written = set()
    for start in range(0, len(entries), CLIPS_PER_SHARD):
        some = slice(start, start + CLIPS_PER_SHARD)
        path = folder / 'view-{:04d}.h5'.format(start // CLIPS_PER_SHARD)
        write_whole(path, _packed(entries[some], links[some], attributes))
        written.add(path)
    for older in set(folder.glob('*.h5')) - written:
        older.unlink()
    return folder


def _chosen(sources, choose):
    """Return the entries that stand in a view, links to their clips, attributes for its shards."""
    entries, links, attributes = [], [], {}
    for source in map(Path, sources):
        shards = sorted(source.glob('*.h5'))
        if not shards:
            raise DataError(
                '{} holds no shards (.h5): make them by python -m training.synthesize or '
                'training.data.corpora'.format(source)
            )
        for path in shards:
            for number, entry in enumerate(read_entries(path)):
                chosen = choose(entry)
                if chosen is not None:
                    entries.append(chosen)
                    links.append(h5py.ExternalLink(str(path.resolve()), '/{}'.format(number)))
        with h5py.File(shards[0], 'r', locking=False) as shard:
            attributes = dict(shard.attrs)
    return entries, links, attributes


def _packed(entries, links, attributes) -> bytes:
    name = 'view {}'.format(id(entries))
    with h5py.File(name, 'w', driver='core', backing_store=False, libver='v110') as view:
        view['entries'] = np.frombuffer(json.dumps(entries).encode(), np.uint8)
        for number, link in enumerate(links):
            view[str(number)] = link
        view.attrs.update(attributes)
        view.flush()
        return view.id.get_file_image()

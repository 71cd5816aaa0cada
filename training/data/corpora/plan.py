"""What is converted into which shard, and what is done of it already."""

import csv
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from cs3d_ros.files import whole_file
from training.data.corpora.convert import Place
from training.data.corpora.samples import CorpusError, Found, Misfit, Sample
from training.data.world import CONDITIONS

CLIPS_PER_SHARD = 8  # what a kill costs at most, per worker
HELD_OUT = 0.1  # of the subjects, for validation and as many for tests
JOURNAL, REPORT = 'corpus.json', 'misfits.csv'


class Shard(NamedTuple):
    """Clips that are written into one file."""

    path: Path
    samples: list[Sample]
    places: list[Place]


def split_subjects(subjects, corpus: str, seed: int) -> dict[str, str]:
    """
    Return the split of each subject; of three or more, each split has one.

    Which it is depends on the seed and the names alone.
    """

    def rank(subject):
        return hashlib.sha256('{}/{}/{}'.format(seed, corpus, subject).encode()).digest()

    ranked = sorted(set(subjects), key=rank)
    held = max(1, round(HELD_OUT * len(ranked))) if len(ranked) > 2 else 0
    return {
        subject: 'val' if i < held else 'test' if i < 2 * held else 'train'
        for i, subject in enumerate(ranked)
    }


def plan_shards(found: Found, out: Path, corpus: str, condition: str, seed: int) -> list[Shard]:
    """Return all shards of a corpus, in the order of its samples."""
    splits = split_subjects((s.subject for s in found.samples), corpus, seed)
    places = [
        Place(i, splits[sample.subject], corpus, CONDITIONS[condition], seed)
        for i, sample in enumerate(found.samples)
    ]
    return [
        Shard(
            out / '{}-{:05d}.h5'.format(corpus, first // CLIPS_PER_SHARD),
            found.samples[first : first + CLIPS_PER_SHARD],
            places[first : first + CLIPS_PER_SHARD],
        )
        for first in range(0, len(found.samples), CLIPS_PER_SHARD)
    ]


class Journal:
    """
    What is done, kept in a folder beside its shards: a conversion goes on where it was stopped.

    Raises
    ------
    CorpusError
        If the folder holds shards that were made of other files or in another way.
    """

    def __init__(self, out: Path, corpus: str, condition: str, seed: int, found: Found):
        self._path, self._report = out / JOURNAL, out / REPORT
        self._planned = found.misfits
        listed = [(s.name, s.subject, s.label, s.timing, s.fps, s.span_s) for s in found.samples]
        self._made_of = {
            'corpus': corpus,
            'condition': condition,
            'seed': seed,
            'files': hashlib.sha256(json.dumps(listed).encode()).hexdigest(),
        }
        self._done = self._read()

    def _read(self):
        if not self._path.is_file():
            return {}
        try:
            found = json.loads(self._path.read_text())
            made_of, done = found['made_of'], found['done']
            done = {name: [Misfit(*m) for m in misfits] for name, misfits in done.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorpusError(
                '{} is damaged, delete it and the shards beside it: {}'.format(self._path, error)
            ) from error
        for name, value in self._made_of.items():
            if made_of.get(name) != value:
                raise CorpusError(
                    '{} was made with other {}: take another --out, or empty this one'.format(
                        self._path.parent, name
                    )
                )
        return done

    def is_done(self, shard: Shard) -> bool:
        """Tell whether a shard is there, or has no clip to hold."""
        misfits = self._done.get(shard.path.name)
        return misfits is not None and (shard.path.is_file() or len(misfits) == len(shard.samples))

    def enter(self, shard: Shard, misfits: list[Misfit]):
        """Remember that a shard is done, and which of its samples did not fit."""
        self._done[shard.path.name] = misfits
        self.write()

    @property
    def misfits(self) -> list[Misfit]:
        """All that did not fit so far."""
        return self._planned + [m for name in sorted(self._done) for m in self._done[name]]

    def write(self):
        """Write the journal, and the report of what did not fit."""
        with whole_file(str(self._path), error=CorpusError) as file:
            json.dump({'made_of': self._made_of, 'done': self._done}, file, indent=1)
        with whole_file(str(self._report), error=CorpusError) as file:
            writer = csv.writer(file)
            writer.writerow(Misfit._fields)
            writer.writerows(self.misfits)

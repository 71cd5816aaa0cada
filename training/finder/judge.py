"""How often the finder is right: its whole track, against the true boxes of rendered people."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cs3d_ros.face import Box, FaceFinder
from training.data.clips import ClipSet, DataError
from training.finder.maps import periods_of

RIGHT = 0.5  # least overlap of a right box


class Tally(NamedTuple):
    """What was said of the periods of some clips."""

    clips: int = 0
    periods: int = 0
    right: int = 0
    wrong: int = 0  # where no face was claimed, nothing is wrong
    overlap: float = 0.0  # sum over all boxes claimed

    def and_of(self, recorded, model: Path) -> 'Tally':
        """Return the tally with one clip more, followed from its beginning."""
        finder = FaceFinder(recorded.events.width, recorded.events.height, model=str(model))
        periods, overlaps = 0, []
        for end_ns, batch, box in periods_of(recorded):
            finder.add(batch)
            track = finder.step(end_ns)
            if not np.isfinite(box).all():
                continue  # a real corpus may not tell where the face is
            periods += 1
            if track:
                overlaps.append(track.box.overlap(Box(*box.tolist())))
        right = sum(overlap > RIGHT for overlap in overlaps)
        return Tally(
            self.clips + 1,
            self.periods + periods,
            self.right + right,
            self.wrong + len(overlaps) - right,
            self.overlap + sum(overlaps),
        )

    def row(self, name: str) -> str:
        """Return a line of the table."""
        claimed = self.right + self.wrong
        overlap = '{:.2f}'.format(self.overlap / claimed) if claimed else '–'
        right, wrong = (100 * part / max(1, self.periods) for part in (self.right, self.wrong))
        return '| {} | {} | {:.0f} | {:.0f} | {} |'.format(name, self.clips, right, wrong, overlap)


HEADER = (
    '| condition | clips | right, % of periods | wrong, % | mean overlap |\n|---|---|---|---|---|'
)


def picked(clips: ClipSet, split: str, most: int) -> list[int]:
    """
    Return the numbers of the clips of a split to judge on, at most so many of each condition.

    Raises
    ------
    DataError
        If the split is empty.
    """
    numbers, taken = [], Counter()
    for number, entry in enumerate(clips.entries):
        if entry['split'] == split and taken[entry['condition']] < most:
            taken[entry['condition']] += 1
            numbers.append(number)
    if not numbers:
        raise DataError('{} has no clips of {}'.format(clips.folder, split))
    return numbers


def judged(model: Path, clips: ClipSet, numbers: list[int]) -> str:
    """Return the table of a finder on the clips of these numbers, in Markdown."""
    tallies = {}
    for number in numbers:
        condition = clips.entries[number]['condition']
        tallies[condition] = tallies.get(condition, Tally()).and_of(clips[number], model)
    together = Tally(*map(sum, zip(*tallies.values())))
    rows = [tallies[name].row(name) for name in sorted(tallies)]
    return '\n'.join([HEADER, *rows, together.row('together')])

"""How large an experiment is: networks, seeds, and how long each network may learn."""

from typing import NamedTuple


class Scale(NamedTuple):
    """What all trainings of an experiment share, so that they may be compared."""

    width: float = 1.0  # of all networks
    size: int = 112  # of their frames, px
    seeds: tuple = (1, 2, 3)
    epochs: int = 30
    examples_per_epoch: int = 4096  # windows; of sequences as many fewer as training.train has it
    batch: int = 32  # windows; of sequences as many fewer
    minutes: float = 0.0  # at most, of each training; 0: as long as its epochs take
    threads: int = 2
    loaders: int = 1
    precision: str = 'bf16'
    variations: int = 0  # sequences that a training clip is cut into before; 0: not cut before

    def applied(self, settings: dict) -> dict:
        """Return settings of a network, made as wide and its frames as large as all others'."""
        return {**settings, 'width': self.width, 'size': self.size}

    def share(self, share: float) -> 'Scale':
        """Return the scale of trainings that last a share of the epochs and minutes."""
        return self._replace(
            epochs=max(1, round(share * self.epochs)), minutes=share * self.minutes
        )

    def note(self) -> str:
        """Return the scale in words, for the document."""
        limit = ', at most {:g} minutes each'.format(self.minutes) if self.minutes else ''
        cut = ', {} sequences cut of a clip'.format(self.variations) if self.variations else ''
        return (
            'widths × {:g}, frames of {} px, seeds {}, {} epochs of {:,} windows in batches of '
            '{}{}{}'
        ).format(
            self.width,
            self.size,
            ', '.join(map(str, self.seeds)),
            self.epochs,
            self.examples_per_epoch,
            self.batch,
            cut,
            limit,
        )

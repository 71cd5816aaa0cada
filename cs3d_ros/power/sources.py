"""What every kind of meter has in common: rails, readings that make sense, reasons."""

from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

from cs3d_ros import Cs3dError

# What a meter covers; `cs3d_ros.power.meter` says how TOTAL follows from it.
MACHINE = 'machine'  # all that the machine draws
SUPPLY = 'supply'  # all that it draws, but only while nothing without a meter supplies it
BOARD = 'board'  # the rails of a board, side by side
PART = 'part'  # a part that draws for itself: a processor, a graphics card
WIRED = 'wired'  # whatever somebody wired it to

MOST_TEXT = 64  # characters of a value that are read: numbers have 20, labels no more


class PowerError(Cs3dError):
    """Nothing measures, or not what is asked for."""


class Fault(NamedTuple):
    """How often a rail gave no reading that makes sense, and why the last time."""

    count: int
    reason: str


class PowerSource:
    """
    One kind of meter: names of its rails and their power now.

    A child answers for one rail in `_watts`. What it raises there as OSError or ValueError, and
    what no rail of this kind can draw, is left out, counted and kept in `faults`.

    Parameters
    ----------
    rails : iterable of str
        What `read` may answer for.
    problem : str, optional
        What of the source is not usable, with the cure.
    summed : iterable of str, optional
        The rails that make up what the source as a whole draws; all of them by default.

    Attributes
    ----------
    name : str
        ``ina3221``, ``rapl``, ``nvml`` ...
    covers : str
        `MACHINE`, `SUPPLY`, `BOARD`, `PART` or `WIRED`.
    most_w : float
        Above it a reading of a single rail is nonsense.
    faults : dict of str to Fault
        By rail, since the source was made.
    missing : dict of str to str
        Why a rail did not answer the last time, by rail.
    """

    name = ''
    covers = PART
    most_w = 1000.0

    def __init__(
        self,
        rails: Iterable[str] = (),
        problem: Optional[str] = None,
        summed: Optional[Iterable[str]] = None,
    ):
        self.rails = tuple(sorted(rails))
        self.problem = problem
        self.summed = self.rails if summed is None else tuple(sorted(summed))
        self.faults = {}  # type: Dict[str, Fault]
        self.missing = {}  # type: Dict[str, str]

    def read(self, now_s: float) -> Dict[str, float]:
        """
        Return the power of each rail, W; a rail without a valid reading is left out.

        Parameters
        ----------
        now_s : float
            Steady seconds, the same for all sources: counters become power by them.
        """
        self.missing = {}
        watts = {}
        for rail in self.rails:
            try:
                value = self._watts(rail, now_s)
                if value is None:
                    continue
                if not 0.0 <= value <= self.most_w:  # refuses NaN, too
                    raise ValueError('{:g} W cannot be'.format(value))
                watts[rail] = value
            except (OSError, ValueError) as error:
                reason = str(error)
                self.missing[rail] = reason
                count = self.faults[rail].count if rail in self.faults else 0
                self.faults[rail] = Fault(count + 1, reason)
        return watts

    def total(self, watts: Dict[str, float]) -> Optional[float]:
        """Return what the source as a whole draws, W, or None if a needed rail is missing."""
        if not self.summed or any(rail not in watts for rail in self.summed):
            return None
        return sum(watts[rail] for rail in self.summed)

    def silence(self) -> Optional[str]:
        """Return why `total` is not known now though all rails that are left answer, or None."""
        return self.problem if set(self.summed) - set(self.rails) else None

    def _watts(self, rail: str, now_s: float) -> Optional[float]:
        """Return the power of a rail, or None where it has nothing to say now."""
        raise NotImplementedError

    def _drop_forbidden(self, paths: Dict[str, Iterable[str]]) -> None:
        """Give up the rails whose files may not be read; say so in `problem`."""
        refused = []  # type: List[str]
        for rail in self.rails:
            closed = [path for path in paths[rail] if _is_forbidden(path)]
            if closed:
                self.rails = tuple(name for name in self.rails if name != rail)
                refused += closed
        if refused:
            self.problem = (
                'permission to read is missing, an administrator can give it: chmod a+r '
                + ' '.join(refused)
            )


class FileSource(PowerSource):
    """
    Rails whose power stands in files of the sys tree.

    Parameters
    ----------
    rails : dict of str to FileRail
        By name.
    summed
        As `PowerSource` takes it.
    """

    def __init__(self, rails: Dict[str, 'FileRail'], summed: Optional[Iterable[str]] = None):
        super().__init__(rails, summed=summed)
        self._files = rails
        self._drop_forbidden({name: rail.paths for name, rail in rails.items()})

    def _watts(self, rail: str, now_s: float) -> Optional[float]:
        return self._files[rail].watts()


class FileRail(NamedTuple):
    """The product of one or two integers, each in a file of its own, times a unit in W."""

    paths: Tuple[str, ...]
    unit_w: float

    def watts(self) -> float:
        """
        Return the power now.

        Raises
        ------
        OSError, ValueError
            If a file is not there, may not be read, or holds no number from zero on.
        """
        product = self.unit_w
        for path in self.paths:
            product *= read_count(path)
        return product


def problems_of(sources: List[PowerSource]) -> List[str]:
    """Return what of the sources is not usable, with the cures."""
    return ['{}: {}'.format(source.name, source.problem) for source in sources if source.problem]


def read_text(path: str) -> str:
    """Return the first words of a file; raises OSError or ValueError if it has none."""
    with open(path) as file:
        return file.read(MOST_TEXT).strip().strip('\0')


def read_label(path: str) -> str:
    """Return the first words of a file, none if it cannot be read."""
    try:
        return read_text(path)
    except (OSError, ValueError):  # UnicodeDecodeError is one
        return ''


def read_int(path: str) -> int:
    """
    Return the integer that a file holds.

    Raises
    ------
    OSError, ValueError
        If it cannot be read or holds something else; both name the file.
    """
    text = read_text(path)
    try:
        return int(text)
    except ValueError:
        raise ValueError('{} holds {!r}, no number'.format(path, text)) from None


def read_count(path: str) -> int:
    """Return the integer of a file, which may not be negative; raises as `read_int`."""
    value = read_int(path)
    if value < 0:
        raise ValueError('{} holds {}, less than nothing'.format(path, value))
    return value


def add_rail(rails: dict, name: str, rail) -> None:
    """Add a rail by its own label; where that is taken, by label and number."""
    number, free = 1, name
    while free in rails:
        number += 1
        free = '{} {}'.format(name, number)
    rails[free] = rail


def _is_forbidden(path: str) -> bool:
    try:
        read_text(path)
    except PermissionError:
        return True
    except (OSError, ValueError):
        pass  # may well come right: it is counted when it is read
    return False

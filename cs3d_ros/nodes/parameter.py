"""What a parameter of a node is, and the check of a value that it is given; no ROS in here."""

from typing import Any, List, NamedTuple, Optional, Tuple

ALWAYS = 'always'  # takes effect at once
START = 'start'  # only given at start
INACTIVE = 'inactive'  # may change while the node is not active, takes effect at activation


class Parameter(NamedTuple):
    """One parameter: its name, its default (which tells the type) and what it may be."""

    name: str
    default: Any  # bool, int, float, str, or a list of floats of fixed length
    text: str  # one sentence
    unit: str = ''
    lowest: Optional[float] = None  # bounds are part of the range
    highest: Optional[float] = None
    when: str = INACTIVE
    choices: Tuple[str, ...] = ()  # all that a string may be; empty means any

    def check(self, value: Any) -> Any:
        """
        Return the value in this parameter's type; a whole number will do for a float.

        Raises
        ------
        ValueError
            If the type is wrong or the value out of range; says what was expected.
        """
        if isinstance(self.default, (list, tuple)):
            return self._check_list(value)
        if isinstance(self.default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(self.default):
            raise ValueError(
                'parameter {} expects {}, got {!r}'.format(self.name, self.type_name, value)
            )
        self._check_range(value)
        if self.choices and value not in self.choices:
            raise ValueError(
                'parameter {} must be one of {}, got {!r}'.format(
                    self.name, ', '.join(self.choices), value
                )
            )
        return value

    def _check_list(self, value: Any) -> List[float]:
        if (
            isinstance(value, (str, bytes))
            or not hasattr(value, '__len__')
            or (len(value) != len(self.default))
        ):
            raise ValueError(
                'parameter {} expects {}, got {!r}'.format(self.name, self.type_name, value)
            )
        numbers = []
        for number in value:
            if type(number) not in (int, float):
                raise ValueError(
                    'parameter {} expects {}, got {!r}'.format(self.name, self.type_name, value)
                )
            self._check_range(number)
            numbers.append(float(number))
        return numbers

    def _check_range(self, value: Any) -> None:
        if self.lowest is not None and not self.lowest <= value <= self.highest:
            raise ValueError(
                'parameter {} must lie in {:g} to {:g}{}, got {!r}'.format(
                    self.name, self.lowest, self.highest, self.unit and ' ' + self.unit, value
                )
            )

    @property
    def type_name(self) -> str:
        """The type in words, for messages and tables."""
        if isinstance(self.default, (list, tuple)):
            return '{} floats'.format(len(self.default))
        return {bool: 'a bool', int: 'an int', float: 'a float', str: 'a string'}[
            type(self.default)
        ]

"""What options have in common."""

import argparse

MOST = 1e9  # as seconds 31 years: what is a thousand times longer is no int64 in ns


def number(text: str) -> float:
    """Return the number that a word is; NaN, infinity and the like are refused."""
    try:
        value = float(text)
    except ValueError:
        value = float('nan')
    if not abs(value) <= MOST:  # refuses NaN, too
        raise argparse.ArgumentTypeError(
            'a number from -{0:g} to {0:g} is expected, got {1}'.format(MOST, text)
        )
    return value

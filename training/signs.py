"""Signs that a training fails, in words: what was seen, what causes it, what to change."""

import json
import math
from pathlib import Path

import numpy as np
import torch

from cs3d_ros import Cs3dError
from training.checkpoints import DivergedError
from training.models.counter import activity, count, measured_macs

CLIP_NORM = 5.0  # longer gradients are shortened to it; CS3D's begin at 22 and fall below 10
LOUD_NORM = 40 * CLIP_NORM
LOST_IN_A_ROW = 16  # steps without a gradient that is a number, which end a training
RISE = 10.0  # of the median norm, over that of the first epoch
SILENT = 0.005  # share of a layer's outputs that fire; at theta 0.25 a healthy one has 0.2 to 0.4
MACS_TOLERANCE = 0.005  # share by which measured and counted multiply-adds may differ


class GradientWatch:
    """Lengths of gradients, before they are shortened, epoch by epoch."""

    def __init__(self):
        self._norms, self.first, self._lost = [], None, 0

    def note(self, norm: float) -> bool:
        """
        Take the length of one step's gradient; return whether a step can be made with it.

        Raises
        ------
        DivergedError
            If that was not so for LOST_IN_A_ROW steps.
        """
        self._norms.append(norm)
        self._lost = 0 if math.isfinite(norm) else self._lost + 1
        if self._lost == LOST_IN_A_ROW:
            raise DivergedError(
                'the gradients of {} steps in a row were no numbers: lower --learning-rate or '
                '--beta, or train with --precision fp32'.format(LOST_IN_A_ROW)
            )
        return not self._lost

    def end_epoch(self, beta=None, learning_rate=None) -> tuple[float, str | None]:
        """Return the median length of the epoch, and a warning if gradients explode."""
        finite = np.nan_to_num(self._norms, nan=np.inf, posinf=np.inf)
        self._norms = []
        median = float(np.median(finite)) if len(finite) else 0.0
        if self.first is None:
            self.first = median
        has_risen = median > RISE * self.first and median > CLIP_NORM
        if not (median > LOUD_NORM or has_risen):
            return median, None
        return median, (
            'gradients explode: their median length is {:.3g}, in the first epoch it was {:.3g}: '
            'lower --beta (now {}) or --learning-rate (now {})'.format(
                median, self.first, beta, learning_rate
            )
        )


def silence(network, clips: torch.Tensor) -> str | None:
    """Return a warning if layers of neurons fall silent on some clips, None if none does."""
    zeros = activity(network, clips).silent
    silent = {name: 1 - share for name, share in zeros.items() if 1 - share < SILENT}
    if not silent:
        return None
    return (
        '{} of {} SSN layers fall silent, theta is too large ({}): lower --theta (now {}) or '
        '--learning-rate'.format(
            len(silent),
            len(zeros),
            ', '.join('{} fires for {:.2%}'.format(*item) for item in silent.items()),
            getattr(network.settings, 'theta', None),
        )
    )


def costs_differ(network) -> str | None:
    """Return a warning if measured multiply-adds are not those that the counter tells."""
    counted, measured = count(network).macs, measured_macs(network)
    if abs(measured - counted) <= MACS_TOLERANCE * counted:
        return None
    return (
        'the network does {:.4g} G multiply-adds, counted are {:.4g} G: training.models.counter '
        'and the network disagree, so tell no cost of it'.format(measured / 1e9, counted / 1e9)
    )


def read_reference(path: Path) -> dict:
    """Return the report of the C3D to compare with; Cs3dError if it is none."""
    try:
        report = json.loads(Path(path).read_text())
        report['test']['expressions']['accuracy']
        return report
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Cs3dError(
            '{} is no report.json of a training ({}): name that of the C3D'.format(path, error)
        ) from error


def below_reference(report: dict, reference: dict) -> str | None:
    """Return a warning if a network is worse than the C3D of the same data."""
    own, its = (r['test']['expressions']['accuracy'] for r in (report, reference))
    if any(report.get(k) != reference.get(k) for k in ('test_clips', 'test_identities')):
        return (
            'the reference was judged on {} clips of {} identities, this on {} of {}: they do not '
            'compare'.format(
                *(r.get(k) for r in (reference, report) for k in ('test_clips', 'test_identities'))
            )
        )
    # older versions told no more than the numbers
    if reference.get('test_digest') not in (None, report.get('test_digest')):
        return 'the reference was judged on as many clips, but on others: they do not compare'
    if own >= its:
        return None
    return (
        'accuracy {:.3f} is below the {:.3f} of {} on the same data: a residual may be missing '
        '(y + x where a block keeps its channels, X + SA(TA(X)) around attention), or the '
        'attention be in the wrong order'.format(own, its, reference.get('model', 'the reference'))
    )

"""
What a network should take on a machine, from what its operators cost and the machine's peaks.

An operator takes the longer of its arithmetic and its memory traffic at the peaks, and a launch;
operators run one after the other. Neither caches nor fusion are thought of, and no machine reaches
its peaks everywhere: the answer tells machines and networks apart, and is a bound more than a
forecast. ``docs/jetson.md`` holds it against what was measured.

Source: Williams, Waterman, Patterson, Roofline: an insightful visual performance model for
multicore architectures, CACM 52(4), 2009.
"""

from typing import NamedTuple, Optional, Sequence

from cs3d_ros.inference.bundle import Bundle, BundleError, Operator
from cs3d_ros.inference.machines import Machine


class Prediction(NamedTuple):
    """
    What one inference should take.

    ``compute_s`` and ``memory_s`` are the sums over the operators that arithmetic bounds, and over
    those that memory does.
    """

    compute_s: float
    memory_s: float
    launch_s: float
    energy_j: Optional[float]  # were its whole power budget drawn for so long; None without one

    @property
    def time_s(self) -> float:
        """Time of one inference."""
        return self.compute_s + self.memory_s + self.launch_s


def counted_operators(bundle: Bundle) -> Sequence[Operator]:
    """Return the operators of a bundle; BundleError with the cure if nobody counted them."""
    if not bundle.operators:
        raise BundleError(
            '{0} does not say what its operators cost, as it was exported before bundles did: '
            'python -m training.stamp {0}'.format(bundle.path)
        )
    return bundle.operators


def predict(operators: Sequence[Operator], machine: Machine) -> Prediction:
    """
    Return what one inference should take on a machine.

    Examples
    --------
    >>> slow = Machine('slow', 10.0, 10.0, 4, 0.5, 2.0)
    >>> predict([Operator('Conv', 100, 5), Operator('Relu', 0, 10)], slow)
    Prediction(compute_s=20.0, memory_s=4.0, launch_s=1.0, energy_j=50.0)
    """
    compute_s = memory_s = 0.0
    for operator in operators:
        arithmetic_s = 2 * operator.macs / machine.flops
        traffic_s = operator.values * machine.value_bytes / machine.bytes_per_s
        if arithmetic_s > traffic_s:
            compute_s += arithmetic_s
        else:
            memory_s += traffic_s
    launch_s = machine.launch_s * len(operators)
    time_s = compute_s + memory_s + launch_s
    energy_j = None if machine.power_w is None else machine.power_w * time_s
    return Prediction(compute_s, memory_s, launch_s, energy_j)

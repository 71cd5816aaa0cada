"""
Publishes what the machine draws, and what one inference costs.

Out: ``power`` (statistics_msgs/MetricsMessage, reliable), once per window: one message per rail
and one for the total, unit W. In: ``/diagnostics``; whenever the inference node of the same
namespace tells there how many inferences it has done, one more message in mJ per inference.
"""

import time

from diagnostic_msgs.msg import DiagnosticArray
from statistics_msgs.msg import MetricsMessage

from cs3d_ros.nodes import messages
from cs3d_ros.nodes.lifecycle import ManagedNode, run
from cs3d_ros.power import EnergyPerInference, PowerMeter, RailStatistics, find_sources

PER_INFERENCE = 'energy_per_inference'


class Power(ManagedNode):
    """The node; two timers, one to read the meters and one to tell."""

    def __init__(self, **options):
        super().__init__('power', **options)
        self._meter = None
        self._problems = []
        self._values = {}

    def configure(self) -> None:
        sources = find_sources(self.settings['root'])
        self._problems = [
            '{}: {}'.format(source.name, source.problem) for source in sources if source.problem
        ]
        self._meter = PowerMeter(sources)
        self._publisher = self.output(MetricsMessage, 'power')
        if not self._meter.is_measuring:
            self.get_logger().warn(self._nothing())

    def activate(self) -> None:
        self._meter.take()
        self._energy = EnergyPerInference(self._meter)
        self._counted_ns = self.now_ns()
        self._values = {}
        self._periodic = [
            self.every(self.settings['sample_ms'] * 1e-3, self._meter.sample),
            self.every(self.settings['window_s'], self._tell),
        ]
        self._watched = self.input(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def deactivate(self) -> None:
        for timer in self._periodic:
            self.destroy_timer(timer)
        self.destroy_subscription(self._watched)

    def cleanup(self) -> None:
        self._meter = None

    def report(self):
        if not self._meter.is_measuring:
            return messages.WARN, self._nothing(), {}
        values = dict(self._values)
        if self._problems:
            values['not usable'] = '; '.join(self._problems)
        return messages.OK, 'measuring', values

    def _nothing(self) -> str:
        return 'this machine has no power meter that can be read (INA3221, RAPL, NVML){}'.format(
            ''.join('; ' + problem for problem in self._problems)
        )

    def _tell(self) -> None:
        window = self._meter.take()
        # The meter's clock is steady; what it differs from ROS time just now maps it.
        offset_ns = self.now_ns() - int(time.monotonic() * 1e9)
        start_ns, stop_ns = (int(s * 1e9) + offset_ns for s in (window.start_s, window.stop_s))
        for rail, statistics in sorted(window.rails.items()):
            self._values[rail + ' W'] = statistics.average
            self._publish(rail, 'W', statistics, start_ns, stop_ns)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        node = self.get_namespace().rstrip('/') + '/inference'
        for values in messages.diagnostic_values(message, node):
            if values.get('inferences', '').isdigit():
                self._count(int(values['inferences']))

    def _count(self, inferences: int) -> None:
        joules = self._energy.push(inferences)
        start_ns, self._counted_ns = self._counted_ns, self.now_ns()
        if joules is not None:
            millijoules = joules * 1e3
            self._values['mJ per inference'] = millijoules
            self._publish(
                PER_INFERENCE,
                'mJ',
                RailStatistics(millijoules, millijoules, millijoules, 0.0, 1),
                start_ns,
                self._counted_ns,
            )

    def _publish(self, source, unit, statistics, start_ns, stop_ns) -> None:
        self._publisher.publish(
            messages.statistics_message(
                self.get_fully_qualified_name(), source, unit, statistics, start_ns, stop_ns
            )
        )


def main(args=None) -> int:
    """Run the power node."""
    return run(Power, args)


if __name__ == '__main__':
    main()

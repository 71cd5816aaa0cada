"""
Publishes what the machine draws, and what one inference costs above idle.

Out: ``power`` (statistics_msgs/MetricsMessage, reliable), once per window: one message per rail
and one for the total, unit W; and ``energy_per_inference``, unit J, over the same window, where
the idle power that ``cs3d power --idle`` stored holds. In: ``/diagnostics``, on which the
inference node of the same namespace tells how many inferences it has done: while it does, windows
end when it tells.
"""

import time

from diagnostic_msgs.msg import DiagnosticArray
from statistics_msgs.msg import MetricsMessage

from cs3d_ros import power
from cs3d_ros.nodes import messages
from cs3d_ros.nodes.lifecycle import ManagedNode, run

PER_INFERENCE = 'energy_per_inference'
NO_ENERGY = 'no energy per inference: '
UNHEARD = NO_ENERGY + 'no inference node of this namespace tells its inferences'


class Power(ManagedNode):
    """The node; one timer reads the meters and ends the windows."""

    def __init__(self, **options):
        super().__init__('power', **options)
        self._meter = None

    def configure(self) -> None:
        self._publisher = self.output(MetricsMessage, 'power')
        self._idle_path = self.settings['idle_file'] or power.default_path()

    def activate(self) -> None:
        root = self.settings['root']
        self._sources = power.find_sources(root)
        self._meter = power.PowerMeter(self._sources)
        self._throttling = power.Throttling(root)
        if not self._meter.is_measuring:
            self.get_logger().warn(power.no_meter(self._sources))
        self._values = {}
        self._inferences, self._told_s = None, None  # at the window's begin; when last told
        self._note = UNHEARD  # on the energy per inference
        self._reading = self.every(self.settings['sample_ms'] * 1e-3, self._read)
        self._watched = self.input(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def deactivate(self) -> None:
        self.destroy_timer(self._reading)
        self.destroy_subscription(self._watched)

    def cleanup(self) -> None:
        self._meter = None

    def report(self):
        values = {
            '{} C'.format(zone): celsius
            for zone, celsius in power.temperatures(self.settings['root']).items()
        }
        values.update(self._values)
        for rail, count in self._meter.refused().items():
            values[rail + ' refused'] = count
        complaints = self._meter.complaints()
        throttled = self._throttling.push()
        if throttled:
            complaints.append('the machine is throttled: ' + ', '.join(throttled))
        if not self._meter.is_measuring:
            return messages.WARN, '; '.join([power.no_meter(self._sources)] + complaints), values
        values['total of'] = ' + '.join(self._meter.basis)
        if self._meter.problems:
            values['not usable'] = '; '.join(self._meter.problems)
        if complaints:
            return messages.WARN, '; '.join(complaints), values
        return messages.OK, '; '.join(['measuring'] + [self._note] * bool(self._note)), values

    def _read(self) -> None:
        self._meter.sample()
        # where inferences are told, _on_inferences ends the window, unless they stop
        patience = 1 if self._inferences is None else 2
        if self._meter.seconds >= patience * self.settings['window_s']:
            self._end_window(None)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        node = self.get_namespace().rstrip('/') + '/inference'
        for values in messages.diagnostic_values(message, node):
            if values.get('inferences', '').isdigit():
                self._on_inferences(int(values['inferences']))

    def _on_inferences(self, inferences: int) -> None:
        before_s, self._told_s = self._told_s, time.monotonic()
        window_s = self.settings['window_s']
        # a little early is near enough: the next report would come much too late
        if self._meter.seconds >= 0.9 * window_s:
            self._meter.sample()
            self._end_window(inferences)
        if before_s is not None and self._told_s - before_s > 2.0 * window_s:
            self._note = (
                NO_ENERGY
                + 'inference reports every {:.1f} s: window_s is shorter'.format(
                    self._told_s - before_s
                )
            )

    def _end_window(self, inferences) -> None:
        window = self._meter.take()
        # The meter's clock is steady; what it differs from ROS time just now maps it.
        offset_ns = self.now_ns() - int(time.monotonic() * 1e9)
        self._window_ns = [int(s * 1e9) + offset_ns for s in (window.start_s, window.stop_s)]
        self._values = {}
        for rail, statistics in sorted(window.rails.items()):
            self._values[rail + ' W'] = statistics.average
            self._publish(rail, 'W', statistics)
        before, self._inferences = self._inferences, inferences
        if None not in (before, inferences):
            self._note = self._tell_energy(window, inferences - before)
        elif before is not None:
            self._note = UNHEARD

    def _tell_energy(self, window: power.PowerWindow, count: int) -> str:
        """Publish what one inference costs; return what there is to say of it."""
        try:
            idle = power.load_idle(self._idle_path)
        except power.PowerError as error:
            return NO_ENERGY + str(error)
        misfit = idle.misfit(self._meter.basis, power.read_conditions(self.settings['root']))
        if misfit:
            return NO_ENERGY + misfit
        above_j = idle.energy_above(window)
        if count <= 0 or above_j is None:
            return NO_ENERGY + ('no inference in the last window' if count <= 0 else 'no total')
        joules = self._values['J per inference'] = above_j / count
        # of one inference among them nothing is known
        nan = float('nan')
        self._publish(PER_INFERENCE, 'J', power.RailStatistics(joules, nan, nan, nan, count))
        return 'less is drawn than when idle: ' + power.IDLE_CURE if joules < 0 else ''

    def _publish(self, source, unit, statistics) -> None:
        self._publisher.publish(
            messages.statistics_message(
                self.get_fully_qualified_name(), source, unit, statistics, *self._window_ns
            )
        )


def main(args=None) -> int:
    """Run the power node."""
    return run(Power, args)


if __name__ == '__main__':
    main()

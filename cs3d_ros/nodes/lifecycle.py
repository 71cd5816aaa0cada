"""What all our nodes share: declared parameters, life cycle, diagnostics, a process around it."""

import traceback
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ROSInterruptException
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile

from cs3d_ros import Cs3dError
from cs3d_ros.nodes import messages, parameters, topics
from cs3d_ros.nodes.parameter import ALWAYS, START, Parameter

OUTPUT_DEPTH = 10  # messages a slow subscriber may fall behind
# Messages that may come at once: an event after ten silent seconds closes 300 periods.
BURST = 400


class ManagedNode(LifecycleNode):
    """
    A lifecycle node whose parameters come from its table in `cs3d_ros.nodes.parameters`.

    A child fills `configure`, `activate`, `deactivate`, `cleanup` and `report`. What those raise
    as `Cs3dError` refuses the transition: the reason is logged and stands on ``/diagnostics``
    while the node lives on. Settings are taken as they are at `configure`; if they change before
    the activation, the node configures itself anew.

    Parameters
    ----------
    kind : str
        Name of the table, and of the node.
    options
        As `rclpy.node.Node` takes them, for several nodes in one process: ``namespace``,
        ``parameter_overrides``, ``context``.

    Attributes
    ----------
    settings : dict
        Every parameter's value; those that may change always do so here.
    is_active : bool
        Whether the node is active.
    """

    def __init__(self, kind: str, **options):
        super().__init__(kind, **options)
        self._kind = kind
        self._table = {parameter.name: parameter for parameter in parameters.TABLES[kind]}
        self.settings, self._refusals = self._declare()
        self.is_active = False
        self._is_stale = False
        self._problem = ''  # why the last transition was refused
        self._managed_publishers = []
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', OUTPUT_DEPTH)
        self.every(self.settings['diagnostics_s'], self.publish_diagnostics)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._survive_impossible_transitions()

    # For the children to fill.

    def configure(self) -> None:
        """Make settings, parts and publishers; raise Cs3dError if something is missing."""

    def activate(self) -> None:
        """Subscribe and start."""

    def deactivate(self) -> None:
        """Undo `activate`."""

    def cleanup(self) -> None:
        """Undo `configure`, also where that stopped half way."""

    def report(self) -> Tuple[bytes, str, Dict[str, object]]:
        """Return level, words and values for ``/diagnostics`` while active."""
        return messages.OK, 'active', {}

    # For the children to use.

    def now_ns(self) -> int:
        """Return ROS time, ns."""
        return self.get_clock().now().nanoseconds

    def every(self, period_s: float, callback: Callable[[], None]):
        """Return a timer on the steady clock, which simulated time does not stop."""
        return self.create_timer(period_s, callback, clock=self._steady_clock)

    def output(self, kind: type, topic: str, depth: int = OUTPUT_DEPTH, managed: bool = True):
        """Return a reliable publisher; if managed it is silent while inactive, and freed here."""
        create = self.create_lifecycle_publisher if managed else self.create_publisher
        try:
            publisher = create(
                kind,
                topic,
                QoSProfile(depth=depth),
                event_callbacks=topics.publisher_callbacks(self, topic),
            )
        except RuntimeError as error:  # RCLError is one
            raise Cs3dError(topics.in_use(topic, kind.__name__, error)) from error
        if managed:
            self._managed_publishers.append(publisher)
        return publisher

    def input(self, kind: type, topic: str, callback: Callable, depth: int):
        """Return a reliable subscription."""
        return topics.subscribe(self, kind, topic, callback, depth)

    def say(self, text: str) -> None:
        """Tell in the log and on ``/diagnostics`` what takes long in a transition."""
        if not self.context.ok():
            raise Cs3dError('the node was told to end: {}'.format(text))
        self.get_logger().info(text)
        self._report(messages.OK, text, {})

    def publish_diagnostics(self) -> None:
        """Say now how the node does, beside the saying at every period."""
        if self._problem:
            level, text, values = messages.ERROR, self._problem, {}
        elif self.is_active:
            level, text, values = self.report()
        else:
            level, text, values = messages.OK, 'not active', {}
        self._report(level, text, values)

    def _report(self, level, text, values):
        self._diagnostics.publish(
            messages.diagnostic_message(
                self.get_fully_qualified_name(), level, text, values, self.now_ns()
            )
        )

    def start(self) -> None:
        """Configure and activate, unless a lifecycle manager is to do it."""
        if (
            self.settings['autostart']
            and self.trigger_configure() == TransitionCallbackReturn.SUCCESS
        ):
            self.trigger_activate()

    def close(self) -> None:
        """Free everything, in whatever state, at the end of the process."""
        if self.is_active:
            self.is_active = False
            self.deactivate()
        self._free()

    # The life cycle.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._try(self._configure_all, state, super().on_configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._try(self._activate_all, state, super().on_activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.is_active = False
        return self._try(self.deactivate, state, super().on_deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._try(self._free, state, super().on_cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._try(self.close, state, super().on_shutdown)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        was_active, self.is_active = self.is_active, False
        try:
            if was_active:
                self.deactivate()
            self._free()
        except Exception:  # what is broken may not free well either
            self.get_logger().error(traceback.format_exc())
        return super().on_error(state)

    def _try(self, action: Callable[[], None], state: LifecycleState, inherited: Callable):
        self._problem = ''
        try:
            action()
            result = inherited(state)
            self.publish_diagnostics()
            return result
        except Cs3dError as error:
            self._problem = str(error)
            self.get_logger().error(self._problem)
            result = TransitionCallbackReturn.FAILURE
        except Exception as error:  # the lifecycle would swallow it
            self._problem = 'unexpected: {!r}'.format(error)
            self.get_logger().error(traceback.format_exc())
            result = TransitionCallbackReturn.ERROR
        self.publish_diagnostics()
        return result

    def _configure_all(self) -> None:
        if self._refusals:
            raise Cs3dError('; '.join(self._refusals.values()))
        try:
            self.configure()
        except Exception:
            self._free()
            raise
        self._is_stale = False

    def _activate_all(self) -> None:
        if self._is_stale:
            self._free()
            self._configure_all()
        self.activate()
        self.is_active = True
        self.get_logger().info('active')

    def _free(self) -> None:
        self.cleanup()
        while self._managed_publishers:
            self.destroy_lifecycle_publisher(self._managed_publishers.pop())

    def _survive_impossible_transitions(self) -> None:
        # rclpy lets the RCLError of a transition that the state does not allow out of the
        # service and so out of spin: one wrong request would end the process.
        for service in self.services:
            if service.srv_type is ChangeState:
                service.callback = self._answering(service.callback)

    def _answering(self, change_state: Callable) -> Callable:
        def answer(request, response):
            try:
                return change_state(request, response)
            except RuntimeError as error:  # RCLError is one
                self.get_logger().warn('transition refused: {}'.format(error))
                response.success = False
                return response

        return answer

    # Parameters.

    def _declare(self) -> Tuple[Dict[str, Any], Dict[str, str]]:
        # What was given at the start reaches only declared names; whatever else was given is
        # found nowhere but here.
        given = {name: parameter.value for name, parameter in self._parameter_overrides.items()}
        settings, refusals = parameters.check_values(self._kind, given)
        for parameter in self._table.values():
            self.declare_parameter(
                parameter.name,
                settings[parameter.name],
                _descriptor(parameter),
                ignore_override=True,
            )
        return settings, refusals

    def _on_set_parameters(self, changes: Sequence) -> SetParametersResult:
        values = {}
        for change in changes:
            parameter = self._table.get(change.name)
            if parameter is None:
                continue  # of ROS itself: rclpy refuses names that nobody declared
            if self.is_active and parameter.when != ALWAYS:
                return SetParametersResult(
                    successful=False,
                    reason=(
                        '{} may only change while the node is not active: deactivate it '
                        'first'.format(change.name)
                    ),
                )
            try:
                values[change.name] = parameter.check(change.value)
            except ValueError as error:
                return SetParametersResult(successful=False, reason=str(error))
        for name, value in values.items():
            self.settings[name] = value
            self._refusals.pop(name, None)
            self._is_stale |= self._table[name].when != ALWAYS
        return SetParametersResult(successful=True)


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=parameter.text,
        read_only=parameter.when == START,
        additional_constraints=', '.join(
            part
            for part in (
                parameter.unit,
                ' or '.join(parameter.choices),
                'change: {}'.format(parameter.when),
            )
            if part
        ),
    )
    if parameter.lowest is not None and isinstance(parameter.default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=float(parameter.lowest), to_value=float(parameter.highest)
            )
        ]
    elif parameter.lowest is not None and isinstance(parameter.default, int):
        descriptor.integer_range = [
            IntegerRange(from_value=int(parameter.lowest), to_value=int(parameter.highest), step=1)
        ]
    return descriptor


def run(node_class: Callable[[], ManagedNode], args: Optional[Sequence[str]] = None) -> int:
    """Run a node until SIGINT or SIGTERM; return the exit status of the process."""
    rclpy.init(args=args)
    node = None
    try:
        node = node_class()
        node.start()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException, ROSInterruptException):
        pass
    except RuntimeError:  # RCLError is one
        if rclpy.ok():  # else a callback was about to publish when the signal came
            raise
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0

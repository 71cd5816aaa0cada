"""
From a bundle to a plan of TensorRT, for the device of this machine.

Up to TensorRT 10 the builder chooses in what each layer computes, among what it is allowed; in 11
a network computes in the types of its ONNX file. Which of them is there shows in the API.
"""

import threading
import time
from typing import Any, Callable, Tuple

from cs3d_ros.inference.engine import EngineError
from cs3d_ros.inference.tensorrt_api import TensorRt
from cs3d_ros.runtime import first_line

PRECISIONS = ('fp16', 'fp32', 'int8')
WORKSPACE_BYTES = 1 << 28  # for kernels that want room; 8.2 gives them none by itself
TELL_EVERY_S = 10.0  # how far the building is


def build_plan(
    api: TensorRt, model: bytes, precision: str, tell: Callable[[str], None]
) -> Tuple[bytes, str]:
    """
    Return the plan of a bundle, and in words what it computes in.

    Parameters
    ----------
    model : bytes
        The bundle's file.
    precision : str
        One of PRECISIONS.
    tell : callable
        Takes a line of text every few seconds, as this may take minutes.

    Raises
    ------
    EngineError
        If TensorRT does not take the bundle, or the device does not compute so.
    """
    builder = api.make('Builder')
    network = builder.create_network(_creation_flags(api.module))
    parser = api.make('OnnxParser', network)
    if not parser.parse(model):
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise api.failure('does not read the bundle', *errors)
    config = builder.create_builder_config()
    _give_room(api.module, config)
    computes = _choose_precision(api, builder, network, config, precision)
    monitor = _monitor(api.module)
    if monitor:
        config.progress_monitor = monitor
    plan = _run_telling(
        api, lambda: builder.build_serialized_network(network, config), monitor, tell
    )
    if plan is None:
        raise api.failure('built no engine')
    return bytes(plan), computes


def _creation_flags(trt):
    # 8.x reads ONNX into nothing else; 11 has no other kind of network, and no flag for it.
    flag = getattr(trt.NetworkDefinitionCreationFlag, 'EXPLICIT_BATCH', None)
    return 0 if flag is None else 1 << int(flag)


def _give_room(trt, config):
    if hasattr(config, 'set_memory_pool_limit'):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    else:
        config.max_workspace_size = WORKSPACE_BYTES


def _choose_precision(api, builder, network, config, precision):
    """Set the flags that a precision takes; return in words what is computed in."""
    flags = api.module.BuilderFlag
    own = _types_of(api.module, network)
    if precision == 'int8' and own != 'int8':
        raise EngineError(
            'int8 needs a bundle that is quantised, python -m training.export --int8 writes one: '
            'take precision fp16 with this bundle'
        )
    if precision == 'fp32':
        config.clear_flag(flags.TF32)  # it has no more digits than fp16
    if hasattr(flags, 'FP16'):
        computes, why = _set_flags(flags, builder, config, precision, own)
    else:
        computes, why = own, 'this TensorRT computes in the types of the bundle'
    return computes if computes == precision else '{}, as {}'.format(computes, why)


def _set_flags(flags, builder, config, precision, own):
    """Allow the builder what a precision takes; return what is computed in, and why."""
    if own == 'int8':
        if not builder.platform_has_fast_int8:
            raise EngineError(
                'the bundle is quantised, and this device (a Jetson Nano, say) does not compute '
                'in int8: take a bundle in float'
            )
        config.set_flag(flags.INT8)
    is_half = own == 'fp16' or (precision != 'fp32' and builder.platform_has_fast_fp16)
    if is_half:
        config.set_flag(flags.FP16)  # beside int8, too, for what is not quantised
    if own == 'fp32':
        return 'fp16' if is_half else 'fp32', 'this device is not fast in fp16'
    return own, 'the bundle is'


def _types_of(trt, network):
    """Return the narrowest of the types that a network computes in by itself."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    if any(layer.type == trt.LayerType.QUANTIZE for layer in layers):
        return 'int8'
    is_half = any(layer.get_output(0).dtype == trt.DataType.HALF for layer in layers)
    return 'fp16' if is_half else 'fp32'


def _monitor(trt) -> Any:
    """Return what TensorRT 10 and later tells its progress to; None where it tells none."""
    if not hasattr(trt, 'IProgressMonitor'):
        return None

    class Monitor(trt.IProgressMonitor):
        """Keeps the phase that began last; phases lie inside one another."""

        def __init__(self):
            trt.IProgressMonitor.__init__(self)
            self.phases = {}  # name: steps that are done, steps; other threads write it
            self.is_cancelled = False

        def phase_start(self, phase_name, parent_phase, num_steps):
            self.phases[phase_name] = (0, num_steps)

        def step_complete(self, phase_name, step):
            self.phases[phase_name] = (step + 1, self.phases[phase_name][1])
            return not self.is_cancelled

        def phase_finish(self, phase_name):
            self.phases.pop(phase_name, None)

    return Monitor()


def _run_telling(api, work, monitor, tell):
    """
    Return what some work returns; in a thread, so that Ctrl-C is heard meanwhile.

    Raises
    ------
    EngineError
        If the work raises anything.
    """
    results, errors = [], []

    def run():
        try:
            results.append(work())
        except Exception as error:  # MemoryError, RuntimeError: whatever the bindings raise
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    begin_s = time.monotonic()
    thread.start()
    try:
        while True:
            thread.join(TELL_EVERY_S)
            if not thread.is_alive():
                break
            tell(_how_far(monitor, time.monotonic() - begin_s))
    finally:
        if monitor:
            monitor.is_cancelled = True
    if not errors:
        return results[0]
    (error,) = errors
    if isinstance(error, EngineError):
        raise error
    raise api.failure('built no engine', first_line(error)) from error


def _how_far(monitor, elapsed_s):
    phases = list(monitor.phases.items()) if monitor else []
    where = ', {}: {} of {}'.format(phases[-1][0], *phases[-1][1]) if phases else ''
    return 'building the engine for {:.0f} s{}'.format(elapsed_s, where)

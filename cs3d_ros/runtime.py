"""ONNX Runtime on the CPU, opened alike for every network of the package."""

import os
from typing import Tuple

from cs3d_ros import Cs3dError


class BundleError(Cs3dError):
    """An ONNX file that cannot serve: missing, damaged, contradicting itself, of another kind."""


def open_session(path: str, threads: int, optimise: bool = True):
    """Return an ONNX Runtime session on the CPU; BundleError if the file is no ONNX model."""
    path = str(path)
    if not os.path.isfile(path):
        raise BundleError('{} is not there: is the path of the bundle right?'.format(path))
    if not os.path.getsize(path):
        raise BundleError('{} is empty: export or copy the bundle again'.format(path))
    runtime = import_runtime()
    options = session_options(runtime, threads)
    if not optimise:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return runtime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    except runtime_errors(runtime) as error:
        raise BundleError(
            '{} does not load as an ONNX model, export or copy it again: {}'.format(
                path, first_line(error)
            )
        ) from error


def session_options(runtime, threads: int):
    """Return how sessions run on a robot: few threads, quiet, and no core kept awake."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors come as exceptions; warnings would print
    # Idle workers sleep instead of spinning: on a robot the core and its watts are wanted.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return options


def import_runtime():
    """Return the onnxruntime module; BundleError naming the cure where it is absent."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError('bundles need ONNX Runtime: pip install onnxruntime') from error
    return onnxruntime


def runtime_errors(runtime) -> Tuple[type, ...]:
    """Return the exceptions of ONNX Runtime, which share no base class of their own."""
    state = runtime.capi.onnxruntime_pybind11_state
    own = (getattr(state, name) for name in dir(state))
    # UnicodeDecodeError: it quotes the texts of a damaged file
    return tuple(
        kind for kind in own if isinstance(kind, type) and issubclass(kind, Exception)
    ) + (RuntimeError, UnicodeDecodeError)


def first_line(said) -> str:
    """Return the first line of what an error or a log says; of a silent one, its type."""
    return (str(said).strip().splitlines() or [type(said).__name__])[0]

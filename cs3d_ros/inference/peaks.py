"""
The peaks of this machine's processor, by short tests in ONNX Runtime, which runs the bundles.

Products of matrices for arithmetic, a pass over much memory for bandwidth, the smallest of
operators for what each of them costs besides: chains of one operator, a long one and a short one,
so that all else cancels.
"""

import time
from typing import Tuple

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.inference.machines import Machine, machine_name
from cs3d_ros.runtime import import_runtime, session_options

# Small enough for runs of a millisecond, of which some are undisturbed on a busy machine too.
SIDE = 384  # of the matrices
STREAMED = 1 << 22  # values that are read and written: 16 MB, the largest tensors of networks
PROBE_S = 2.0  # of each test, whose quickest run counts: what else the machine does only adds
PATIENCE = 5  # times as long a test may take, until a long chain takes longer than a short one
FLOAT, OPSET, IR_VERSION = 1, 13, 7  # numbers of onnx.proto


def measure_here(threads: int) -> Machine:
    """
    Return this processor as ONNX Runtime uses it, in float32; takes some seconds.

    Parameters
    ----------
    threads : int
        Of the runtime.

    Raises
    ------
    Cs3dError
        If the machine is so busy that nothing can be told.
    """
    return Machine(
        '{}, {} thread{}'.format(machine_name(), threads, 's' * (threads > 1)),
        flops=2 * SIDE**3 / _operator_s('MatMul', (SIDE, SIDE), 3, threads),
        bytes_per_s=2 * 4 * STREAMED / _operator_s('Neg', (STREAMED,), 2, threads),
        value_bytes=4,
        launch_s=_operator_s('Neg', (1,), 1001, threads),
    )


def _operator_s(kind: str, shape: Tuple[int, ...], length: int, threads: int) -> float:
    """Return the seconds of one operator, from chains of 1 and of ``length``."""
    short, long = (_session(_chain(kind, shape, count), threads) for count in (1, length))
    feed = {'x': np.zeros(shape, np.float32)}
    began_s = time.perf_counter()
    short_s, long_s = _run_s(short, feed), _run_s(long, feed)
    while time.perf_counter() - began_s < PROBE_S or long_s <= short_s:
        if time.perf_counter() - began_s > PATIENCE * PROBE_S:
            raise Cs3dError(
                'this machine is too busy to be measured: {} operators took no longer than one; '
                'end what else runs'.format(length)
            )
        short_s, long_s = min(short_s, _run_s(short, feed)), min(long_s, _run_s(long, feed))
    return (long_s - short_s) / (length - 1)


def _run_s(session, feed) -> float:
    began_s = time.perf_counter()
    session.run(None, feed)
    return time.perf_counter() - began_s


def _session(model: bytes, threads: int):
    runtime = import_runtime()
    options = session_options(runtime, threads)
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime.InferenceSession(model, options, providers=['CPUExecutionProvider'])


def _chain(kind: str, shape: Tuple[int, ...], count: int) -> bytes:
    """Return an ONNX model: x through so many operators of a kind, then the largest value."""
    graph, last = b'', 'x'
    for index in range(count):
        name = 'y{}'.format(index)
        inputs = ['x', last] if kind == 'MatMul' else [last]
        graph += _field(1, _node(kind, inputs, name))
        last = name
    graph += _field(1, _node('ReduceMax', [last], 'largest')) + _field(2, b'chain')
    graph += _field(11, _tensor('x', shape)) + _field(12, _tensor('largest', (1,) * len(shape)))
    return _field(1, IR_VERSION) + _field(7, graph) + _field(8, _field(2, OPSET))


# Protocol buffers by hand, since robots have no onnx package; numbers of fields from onnx.proto.


def _node(kind: str, inputs, output: str) -> bytes:
    names = b''.join(_field(1, name.encode()) for name in inputs)
    return names + _field(2, output.encode()) + _field(4, kind.encode())


def _tensor(name: str, shape: Tuple[int, ...]) -> bytes:
    sides = b''.join(_field(1, _field(1, side)) for side in shape)
    kind = _field(1, _field(1, FLOAT) + _field(2, sides))
    return _field(1, name.encode()) + _field(2, kind)


def _field(number: int, value) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])

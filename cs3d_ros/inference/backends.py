"""
Which engine runs a bundle: TensorRT where it can, ONNX Runtime everywhere else.

Engines of TensorRT are built for the device at their first start, which takes minutes on a Jetson,
compared with ONNX Runtime, and kept in a cache.
"""

import time
from typing import Callable

import numpy as np

from cs3d_ros.inference.bundle import read_bundle
from cs3d_ros.inference.cuda import Cuda
from cs3d_ros.inference.engine import (
    DEFAULT_THREADS,
    BackendError,
    Engine,
    EngineError,
    OnnxRuntimeEngine,
)
from cs3d_ros.inference.plans import (
    Key,
    PlanError,
    building,
    cache_folder,
    digest,
    plan_path,
    read_plan,
    write_plan,
)
from cs3d_ros.inference.tensorrt_api import TensorRt
from cs3d_ros.inference.tensorrt_build import PRECISIONS, build_plan
from cs3d_ros.inference.tensorrt_engine import TensorRtEngine
from cs3d_ros.inference.timing import event_like

BACKENDS = ('auto', 'tensorrt', 'onnxruntime')
# Differences of probabilities to ONNX Runtime that an engine may have, see `difference`. Rounding
# weights and activations to fp16 makes one of 0.006 (cs3d) and 0.00003 (cs3d_stream), weights that
# are wrong by a tenth one of 0.08 and more.
TOLERANCES = {'fp32': 1e-3, 'fp16': 0.02, 'int8': 0.05}
PROVING_RUNS = {'clip': 7, 'stream': 40}
# Of the frames: networks with a threshold jump least where much goes on.
PROVING_EVENTS_PER_CELL = 0.4


def open_engine(
    path: str,
    threads: int = DEFAULT_THREADS,
    backend: str = 'auto',
    precision: str = 'fp16',
    cache: str = '',
    tell: Callable[[str], None] = lambda text: None,
) -> Engine:
    """
    Return an engine for a bundle.

    Parameters
    ----------
    threads : int
        Of ONNX Runtime.
    backend : str
        'tensorrt', 'onnxruntime', or 'auto': TensorRT if it is installed, a device answers, and
        nothing goes wrong, else ONNX Runtime; ``reason`` and ``fault`` of the engine tell why.
    precision : str
        What TensorRT computes in: 'fp16', 'fp32' or 'int8'. ONNX Runtime computes in that of the
        bundle.
    cache : str
        Folder of built engines; empty for the user's own.
    tell : callable
        Takes a line of text at whatever takes long.

    Raises
    ------
    BundleError
        If the file is no bundle.
    EngineError
        If there is no such engine.

    Examples
    --------
    >>> engine = open_engine('cs3d_ros/models/cs3d.onnx')  # doctest: +SKIP
    >>> still = np.zeros(engine.bundle.input_shape, np.float32)  # doctest: +SKIP
    >>> probabilities, state = engine.run(still)  # doctest: +SKIP
    """
    for name, value, known in (
        ('backend', backend, BACKENDS),
        ('precision', precision, PRECISIONS),
    ):
        if value not in known:
            raise EngineError('{} is one of {}, got {!r}'.format(name, ', '.join(known), value))
    if backend == 'onnxruntime':
        return OnnxRuntimeEngine(path, threads)
    try:
        return open_tensorrt(path, precision, cache, tell)
    except BackendError as error:
        if backend == 'tensorrt':
            raise
        return OnnxRuntimeEngine(path, threads, 'as {}'.format(error))
    except EngineError as error:
        if backend == 'tensorrt':
            raise
        engine = OnnxRuntimeEngine(path, threads, 'as TensorRT fails')
        engine.fault = 'ONNX Runtime runs, as TensorRT fails: {}'.format(error)
        return engine


def open_tensorrt(
    path: str,
    precision: str = 'fp16',
    cache: str = '',
    tell: Callable[[str], None] = lambda text: None,
) -> TensorRtEngine:
    """
    Return the engine of a bundle from the cache, or build it for this device and keep it there.

    Parameters are those of :func:`open_engine`. ``fault`` of the engine tells if it was not kept.

    Raises
    ------
    BackendError
        If TensorRT is not installed, or no CUDA device answers.
    EngineError
        If it cannot be built, or answers otherwise than ONNX Runtime.
    """
    api, cuda, bundle = TensorRt(), Cuda(), read_bundle(path)
    with open(path, 'rb') as file:
        model = file.read()
    key = Key(digest(model), api.version, cuda.device, precision)
    folder = cache_folder(cache)
    kept = plan_path(folder, path, key)
    with building(folder, tell) as obstacle:
        try:
            plan, facts = read_plan(kept, key)
            return TensorRtEngine(api.load(plan), cuda, bundle, _told(key, facts, kept))
        except PlanError as error:
            tell(
                'building an engine of {} by TensorRT {} for {}, which may take minutes: '
                '{}'.format(path, key.tensorrt, key.device, error)
            )
        plan, facts = _build(api, model, precision, tell)
        engine = TensorRtEngine(api.load(plan), cuda, bundle, '')
        facts['difference'] = _proven(engine, precision, facts['computes'])
        if not obstacle:
            try:
                write_plan(kept, key, plan, facts)
            except EngineError as error:
                obstacle = str(error)
    engine.reason = _told(key, facts, 'kept nowhere' if obstacle else kept)
    if obstacle:
        engine.fault = (
            'the engine is not kept and will be built anew at every start, as {}: make room or '
            'give another folder for engines'.format(obstacle)
        )
    return engine


def _build(api, model, precision, tell):
    begin_s = time.monotonic()
    plan, computes = build_plan(api, model, precision, tell)
    facts = {'computes': computes, 'build_s': round(time.monotonic() - begin_s, 1)}
    tell('the engine was built in {:.0f} s'.format(facts['build_s']))
    return plan, facts


def _told(key, facts, kept):
    return 'TensorRT {} in {} on {}, built in {:.0f} s, within {:.1e} of ONNX Runtime, {}'.format(
        key.tensorrt,
        facts['computes'],
        key.device,
        facts['build_s'],
        facts['difference'],
        kept,
    )


def _proven(engine, precision, computes):
    """Return by how much an engine differs from ONNX Runtime; EngineError if by too much."""
    found = difference(engine, OnnxRuntimeEngine(engine.bundle.path))
    most = max(TOLERANCES[precision], TOLERANCES[computes.split(',')[0]])
    if found > most:
        raise EngineError(
            'TensorRT answers otherwise than ONNX Runtime, by {:.3f} where {} is allowed: take '
            'precision fp32 or backend onnxruntime, and please report it'.format(found, most)
        )
    return found


def difference(engine: Engine, other: Engine) -> float:
    """
    Return by how much the probabilities of two engines differ on made-up frames.

    The median over the runs, of the class that differs most: a soft spiking neuron with a
    threshold above 0 jumps there, and now and then rounding tips one over.
    """
    bundle = engine.bundle
    found, state, other_state = [], (), ()
    for seed in range(PROVING_RUNS[bundle.kind]):
        frames = event_like(bundle.input_shape, seed, PROVING_EVENTS_PER_CELL)
        answer, state = engine.run(frames, state)
        expected, other_state = other.run(frames, other_state)
        found.append(float(np.abs(answer - expected).max()))
    return float(np.median(found))

"""
What runs a bundle: ONNX Runtime here.

An engine has ``bundle``, the Bundle it runs, and ``run(frames, state) -> (probabilities, state)``.
It raises EngineError for what it cannot run and holds nothing between two runs: whatever a network
remembers goes out as ``state`` and comes back in. Any object that does so (TensorRT on a Jetson)
may stand where an engine is wanted.
"""

from typing import Tuple

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.inference import bundle as bundles

DEFAULT_THREADS = 2


class EngineError(Cs3dError):
    """An engine that cannot run what it was given."""


class OnnxRuntimeEngine:
    """
    A bundle on the CPU by ONNX Runtime, 1.10 (Python 3.6) or newer.

    Raises
    ------
    BundleError
        If the file is no bundle, see ``read_bundle``.
    EngineError
        If the network fails on stillness.
    """

    def __init__(self, path: str, threads: int = DEFAULT_THREADS):
        if threads < 1:
            raise ValueError('threads must be at least 1, got {}'.format(threads))
        self._session = bundles.open_session(path, threads)
        self.bundle = bundles.bundle_of_session(self._session, path)
        self._outputs = [bundles.OUTPUT_NAME]
        self._outputs += [bundles.NEXT + name for name in self.bundle.state]
        self._errors = bundles.runtime_errors(bundles.import_runtime())
        # The first run allocates and is slow; better here than at the first face.
        self.run(np.zeros(self.bundle.input_shape, np.float32))

    def run(self, frames: np.ndarray, state: Tuple = ()) -> Tuple[np.ndarray, Tuple]:
        """
        Return the probabilities for one clip or frame, and the state for the next run.

        Parameters
        ----------
        frames : np.ndarray [shape=bundle.input_shape, dtype=float32]
            ``(frame - 128) / 128``; a clip has its oldest frame first.
        state : tuple of np.ndarray [shapes=bundle.state_shapes, dtype=float32]
            What the last run returned; empty where a stream begins, and for a clip always.

        Returns
        -------
        probabilities : np.ndarray [shape=(bundle.output_count,), dtype=float32]
        state : tuple of np.ndarray

        Raises
        ------
        EngineError
            If a shape or dtype is another, or the network fails or answers NaN.
        """
        bundle = self.bundle
        self._check(bundle.input_name, frames, bundle.input_shape)
        state = tuple(state) or bundle.initial_state()
        if len(state) != len(bundle.state):
            raise EngineError(
                '{} has {} state tensors, got {}'.format(
                    bundle.path, len(bundle.state), len(state)
                )
            )
        feed = {bundle.input_name: frames}
        for name, tensor, shape in zip(bundle.state, state, bundle.state_shapes):
            self._check(name, tensor, shape)
            feed[name] = tensor
        try:
            answer, *state = self._session.run(self._outputs, feed)
        except self._errors as error:
            raise EngineError(
                '{} failed in ONNX Runtime: {}'.format(bundle.path, bundles.first_line(error))
            ) from error
        if not np.isfinite(answer).all():
            raise EngineError(
                '{} answered NaN or infinity: were {} and state finite?'.format(
                    bundle.path, bundle.input_name
                )
            )
        return answer[0], tuple(state)

    def _check(self, name, tensor, shape):
        is_array = isinstance(tensor, np.ndarray)
        if not is_array or tensor.dtype != np.float32 or tensor.shape != shape:
            raise EngineError(
                '{} reads {} as float32 {}, got {} {}'.format(
                    self.bundle.path,
                    name,
                    shape,
                    getattr(tensor, 'dtype', type(tensor).__name__),
                    getattr(tensor, 'shape', ''),
                )
            )


def open_engine(path: str, threads: int = DEFAULT_THREADS) -> OnnxRuntimeEngine:
    """
    Return an engine for a bundle; BundleError or EngineError if there is none.

    Examples
    --------
    >>> engine = open_engine('cs3d_ros/models/cs3d.onnx')  # doctest: +SKIP
    >>> still = np.zeros(engine.bundle.input_shape, np.float32)  # doctest: +SKIP
    >>> probabilities, state = engine.run(still)  # doctest: +SKIP
    """
    return OnnxRuntimeEngine(path, threads)

"""
What runs a bundle: ONNX Runtime here.

An engine has ``bundle``, the Bundle it runs, and ``run(clip, state) -> (probabilities, state)``.
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
        If the network fails on a still clip.
    """

    def __init__(self, path: str, threads: int = DEFAULT_THREADS):
        if threads < 1:
            raise ValueError('threads must be at least 1, got {}'.format(threads))
        self._session = bundles.open_session(path, threads)
        self.bundle = bundles.bundle_of_session(self._session, path)
        self._errors = bundles.runtime_errors(bundles.import_runtime())
        # The first run allocates and is slow; better here than at the first face.
        self.run(np.zeros(self.bundle.input_shape, np.float32))

    def run(self, clip: np.ndarray, state: Tuple = ()) -> Tuple[np.ndarray, Tuple]:
        """
        Return the probabilities for one clip, and the state for the next run.

        Parameters
        ----------
        clip : np.ndarray [shape=bundle.input_shape, dtype=float32]
            ``(frame - 128) / 128``, oldest frame first.
        state : tuple
            What the last run returned; empty at first and for bundles of kind ``clip``.

        Returns
        -------
        probabilities : np.ndarray [shape=(bundle.output_count,), dtype=float32]
        state : tuple

        Raises
        ------
        EngineError
            If shape or dtype is another, or the network fails or answers NaN.
        """
        wanted = self.bundle.input_shape
        if not isinstance(clip, np.ndarray) or clip.dtype != np.float32 or clip.shape != wanted:
            raise EngineError(
                '{} reads float32 {}, got {} {}'.format(
                    self.bundle.path,
                    wanted,
                    getattr(clip, 'dtype', type(clip).__name__),
                    getattr(clip, 'shape', ''),
                )
            )
        if len(state) != len(self.bundle.state):
            raise EngineError(
                '{} has {} state tensors, got {}'.format(
                    self.bundle.path, len(self.bundle.state), len(state)
                )
            )
        try:
            (answer,) = self._session.run([bundles.OUTPUT_NAME], {bundles.INPUT_NAME: clip})
        except self._errors as error:
            raise EngineError(
                '{} failed in ONNX Runtime: {}'.format(self.bundle.path, bundles.first_line(error))
            ) from error
        probabilities = answer[0]
        if not np.isfinite(probabilities).all():
            raise EngineError(
                '{} answered NaN or infinity: was the clip finite?'.format(self.bundle.path)
            )
        return probabilities, ()


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

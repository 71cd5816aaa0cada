"""
What runs a bundle: what every engine does alike, and the one by ONNX Runtime.

An engine has ``bundle``, the Bundle it runs, and ``run(frames, state) -> (probabilities, state)``.
It raises EngineError for what it cannot run and holds nothing between two runs: whatever a network
remembers goes out as ``state`` and comes back in. Any object that does so may stand where an
engine is wanted; ``open_engine`` chooses one.
"""

from typing import Tuple

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.inference.bundle import NEXT, OUTPUT_NAME, Bundle, bundle_of_session
from cs3d_ros.runtime import first_line, import_runtime, open_session, runtime_errors

DEFAULT_THREADS = 2


class EngineError(Cs3dError):
    """An engine that cannot run what it was given."""


class BackendError(EngineError):
    """A backend that this machine does not have."""


class Engine:
    """
    What every engine does alike: it checks what comes in and what goes out.

    A child fills ``_infer(frames, state) -> (answer, state)``; its answer has the shape of the
    network's, (1, output_count).

    Attributes
    ----------
    bundle : Bundle
    backend : str
        What computes: ``onnxruntime`` or ``tensorrt``.
    reason : str
        Which version of it, on what, and why it and no other.
    fault : str
        What went wrong where another backend was wanted and is there; empty if nothing did.
    """

    backend = ''
    fault = ''
    _TENSORS = (np.ndarray,)  # types of a state tensor

    def __init__(self, bundle: Bundle, reason: str):
        self.bundle = bundle
        self.reason = reason
        self._initial = bundle.initial_state()

    def run(self, frames: np.ndarray, state: Tuple = ()) -> Tuple[np.ndarray, Tuple]:
        """
        Return the probabilities for one clip or frame, and the state for the next run.

        Parameters
        ----------
        frames : np.ndarray [shape=bundle.input_shape, dtype=float32]
            ``(frame - 128) / 128``; a clip has its oldest frame first.
        state : tuple [shapes=bundle.state_shapes, dtype=float32]
            What a run returned, the last one or an older one; empty where a stream begins, and
            for a clip always. Arrays will do, too.

        Returns
        -------
        probabilities : np.ndarray [shape=(bundle.output_count,), dtype=float32]
        state : tuple
            Arrays, or what ``np.asarray`` makes arrays of: TensorRT leaves them on the device.

        Raises
        ------
        EngineError
            If a shape or dtype is another, the frames are not finite, or the network fails or
            answers NaN.
        """
        bundle = self.bundle
        self._check(bundle.input_name, frames, bundle.input_shape, (np.ndarray,))
        self._check_finite(frames)
        state = tuple(state) or self._initial
        if len(state) != len(bundle.state):
            raise EngineError(
                '{} has {} state tensors, got {}'.format(
                    bundle.path, len(bundle.state), len(state)
                )
            )
        for name, tensor, shape in zip(bundle.state, state, bundle.state_shapes):
            self._check(name, tensor, shape, self._TENSORS)
        answer, state = self._infer(frames, state)
        if not np.isfinite(answer).all():
            raise EngineError(
                '{} answered NaN or infinity: is the state that it was given finite, and are '
                'its own weights?'.format(bundle.path)
            )
        return answer[0], state

    def _infer(self, frames: np.ndarray, state: Tuple) -> Tuple[np.ndarray, Tuple]:
        raise NotImplementedError

    def _check(self, name, tensor, shape, types):
        if not isinstance(tensor, types) or tensor.dtype != np.float32 or tensor.shape != shape:
            raise EngineError(
                '{} reads {} as float32 {}, got {} {}'.format(
                    self.bundle.path,
                    name,
                    shape,
                    getattr(tensor, 'dtype', type(tensor).__name__),
                    getattr(tensor, 'shape', ''),
                )
            )

    def _check_finite(self, frames):
        # the answer does not tell: a ThresholdedRelu makes 0 of NaN
        is_finite = np.isfinite(frames)
        if not is_finite.all():
            raise EngineError(
                '{} reads finite values, got NaN or infinity in {} of {} of {}: make it of uint8 '
                'frames, (frame - 128) / 128'.format(
                    self.bundle.path,
                    frames.size - np.count_nonzero(is_finite),
                    frames.size,
                    self.bundle.input_name,
                )
            )


class OnnxRuntimeEngine(Engine):
    """
    A bundle on the CPU by ONNX Runtime, 1.10 (Python 3.6) or newer.

    Parameters
    ----------
    path : str
        Of the bundle.
    threads : int
    why : str
        Why ONNX Runtime; part of ``reason``.

    Raises
    ------
    BundleError
        If the file is no bundle, see ``read_bundle``.
    EngineError
        If the network fails on stillness.
    """

    backend = 'onnxruntime'

    def __init__(self, path: str, threads: int = DEFAULT_THREADS, why: str = 'as asked'):
        if threads < 1:
            raise ValueError('threads must be at least 1, got {}'.format(threads))
        self._session = open_session(path, threads)
        runtime = import_runtime()
        super().__init__(
            bundle_of_session(self._session, path),
            'ONNX Runtime {} on the CPU, {}'.format(runtime.__version__, why),
        )
        self._outputs = [OUTPUT_NAME]
        self._outputs += [NEXT + name for name in self.bundle.state]
        self._errors = runtime_errors(runtime)
        # The first run allocates and is slow; better here than at the first face.
        self.run(np.zeros(self.bundle.input_shape, np.float32))

    def _infer(self, frames, state):
        feed = dict(zip(self.bundle.state, state))
        feed[self.bundle.input_name] = frames
        try:
            answer, *state = self._session.run(self._outputs, feed)
        except self._errors as error:
            raise EngineError(
                '{} failed in ONNX Runtime: {}'.format(self.bundle.path, first_line(error))
            ) from error
        return answer, tuple(state)
